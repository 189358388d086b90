package httpapi

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/lexer"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// The limits of one request; docs/security.md has what a request at each of
// them costs.
const (
	maxBody         = 1 << 20  // bytes
	maxQuery        = 64 << 10 // bytes of the document
	maxTokens       = 5_000
	maxName         = 100 // characters: an unknown name is compared with every name of the schema
	maxNested       = 50  // brackets of any kind: the parser recurses
	maxDepth        = 20  // of fields
	maxIntrospected = 2   // lists of types within each other: as gqlparser 2.5.64 has it
	maxWithin       = 10  // fragments within each other: gqlgen merges the fields of each into the next
	maxFields       = 500 // of one object: gqlgen looks for each among those before it
	// Fields, fragments, directives, arguments and values, those of a fragment
	// counted wherever it is spread, and once for itself.
	maxParts = 3_000
	// Of one operation, those of a fragment counted wherever it is spread.
	maxRootFields = 50
	maxMutations  = 10 // each is a conversation with the FHIR server, one after the other
	maxAliases    = 100
	maxDirectives = 100
	// maxDirectivesAtOnce is of one field, fragment or operation: none may stand
	// there twice, and each that does is an error of its own.
	maxDirectivesAtOnce = 5
	maxList             = 1_000 // values of one list, in the document or in a variable
	maxOperations       = 50
	maxVariables        = 100    // of one operation: each use of one looks through them
	maxPairs            = 10_000 // fields with one name in the answer, and fragments spread side by side, are compared each with each other

	maxJSONDepth  = 32        // of the body, variables among it
	maxJSONValues = 10_000    // likewise, its brackets and commas: a value in memory can take fifty times its text
	maxBlanks     = 128 << 10 // bytes of it between values

	queryTimeout = 10 * time.Second
)

// limitExceeded is the error for a request that is over one of the limits.
func limitExceeded(format string, args ...any) *gqlerror.Error {
	return coded(resolvers.CodeLimitExceeded, fmt.Sprintf(format, args...))
}

// codedLimit gives the code and the words of a limit to the one rule of validation that is
// a limit: gqlparser's own error has no code, and does not say which.
func codedLimit(e *gqlerror.Error) {
	if e.Rule == rules.MaxIntrospectionDepth.Name {
		limit := limitExceeded("the query has more than %d of the lists fields, interfaces, possibleTypes and inputFields of introspection within each other", maxIntrospected)
		e.Message, e.Extensions = limit.Message, limit.Extensions
	}
}

// documentLimits refuses a document before anything walks it whose effort grows
// faster than the document. gqlgen 0.17.98 and gqlparser 2.5.64 have several such
// walks: the complexity of an operation expands fragments (40 of them that each
// spread the next one twice keep it busy for ever), and the rule that fields with
// one name must agree compares each with each other.
type documentLimits struct {
	known graphql.Cache[*ast.QueryDocument] // documents that have passed
}

func (documentLimits) ExtensionName() string                   { return "DocumentLimits" }
func (documentLimits) Validate(graphql.ExecutableSchema) error { return nil }

func (l documentLimits) MutateOperationParameters(ctx context.Context, request *graphql.RawParams) *gqlerror.Error {
	if err := checkLists(request.Variables); err != nil {
		return err
	}
	if _, passed := l.known.Get(ctx, request.Query); passed {
		return nil
	}
	if err := checkText(request.Query); err != nil {
		return err
	}
	document, err := parser.ParseQuery(&ast.Source{Input: request.Query})
	if err != nil {
		return nil // gqlgen finds the same and says it
	}
	return survey(document)
}

// checkLists looks at the lists of the variables.
func checkLists(value any) *gqlerror.Error {
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			if err := checkLists(member); err != nil {
				return err
			}
		}
	case []any:
		if len(v) > maxList {
			return listTooLong()
		}
		for _, element := range v {
			if err := checkLists(element); err != nil {
				return err
			}
		}
	}
	return nil
}

func listTooLong() *gqlerror.Error {
	return limitExceeded("a list has more than %d values", maxList)
}

// checkText looks at the tokens, for the parser keeps all and recurses.
func checkText(query string) *gqlerror.Error {
	if len(query) > maxQuery {
		return limitExceeded("the query has more than %d bytes", maxQuery)
	}
	tokens := lexer.New(&ast.Source{Input: query})
	nested := 0
	for n := 1; ; n++ {
		token, err := tokens.ReadToken()
		if err != nil || token.Kind == lexer.EOF {
			return nil // the parser finds the same error and says it
		}
		switch token.Kind {
		case lexer.BraceL, lexer.BracketL, lexer.ParenL:
			nested++
		case lexer.BraceR, lexer.BracketR, lexer.ParenR:
			nested--
		}
		switch {
		case n > maxTokens:
			return limitExceeded("the query has more than %d tokens", maxTokens)
		case nested > maxNested:
			return limitExceeded("the query nests more than %d brackets", maxNested)
		case token.Kind == lexer.Name && len(token.Value) > maxName:
			return limitExceeded("the query has a name of more than %d characters", maxName)
		}
	}
}

// shortQueries keeps the parsed form of queries, which takes some thirty times the
// memory of their text: a full cache has about 12 MiB (TestAbuseCachesStaySmall).
type shortQueries struct {
	graphql.Cache[*ast.QueryDocument]
}

const (
	maxCachedQuery   = 4 << 10 // bytes
	maxCachedQueries = 100
)

func (c shortQueries) Add(ctx context.Context, query string, parsed *ast.QueryDocument) {
	if len(query) <= maxCachedQuery {
		c.Cache.Add(ctx, query, parsed)
	}
}

// maxQueries is how many queries may be under way in a process: while the database
// hangs each waits for queryTimeout. Writes have their own bound, see
// writethrough, and so have the subscriptions of a viewer.
const (
	maxQueries         = 2_000
	maxQueriesOfViewer = 500
)

// operationDeadline ends what an operation waits for when its time is over, and lets no
// more than maxQueries wait, maxQueriesOfViewer of one viewer. A subscription has no such end.
type operationDeadline struct {
	mutation time.Duration
	queries  atomic.Int64        // under way
	ofViewer resolvers.PerViewer // the same
}

func (*operationDeadline) ExtensionName() string                   { return "OperationDeadline" }
func (*operationDeadline) Validate(graphql.ExecutableSchema) error { return nil }

func (d *operationDeadline) InterceptOperation(ctx context.Context, next graphql.OperationHandler) (respond graphql.ResponseHandler) {
	limit, end := queryTimeout, func() {}
	switch graphql.GetOperationContext(ctx).Operation.Operation {
	case ast.Mutation:
		limit = d.mutation
	case ast.Subscription:
		return next(ctx)
	default:
		var refused *gqlerror.Error
		if end, refused = d.beginQuery(ctx); refused != nil {
			return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{refused}})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	over := sync.OnceFunc(func() {
		cancel()
		end()
	})
	defer func() {
		if respond == nil { // next has panicked: nobody will call it
			over()
		}
	}()
	carryOut := next(ctx)
	return func(ctx context.Context) *graphql.Response {
		defer over()
		return carryOut(ctx)
	}
}

// beginQuery counts a query until it ends, or tells why it may not begin.
func (d *operationDeadline) beginQuery(ctx context.Context) (end func(), refused *gqlerror.Error) {
	viewer, _ := auth.FromContext(ctx)
	ended, ok := d.ofViewer.Begin(viewer, maxQueriesOfViewer)
	if !ok {
		return nil, unavailable(fmt.Sprintf("you have %d queries under way already: nothing was read; try again in a moment", maxQueriesOfViewer), 1)
	}
	end = func() {
		d.queries.Add(-1)
		ended()
	}
	if d.queries.Add(1) > maxQueries {
		end()
		return nil, unavailable(fmt.Sprintf("%d queries are under way already: nothing was read; try again in a moment", maxQueries), 1)
	}
	return end, nil
}
