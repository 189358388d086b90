package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"patientgraph/graph"
	"patientgraph/resolvers"
)

// newGraphQL returns the GraphQL server, with its limits.
func newGraphQL(s *server) http.Handler {
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: s.Resolver})
	h := executor.New(schema)
	answers := newAnswerLimit()
	documents := persistedDocuments{seen: newDocumentCache(maxSeenDocuments), trusted: s.TrustedDocuments, introspection: s.Introspection}
	deadline := &operationDeadline{mutation: 2*s.FHIRTimeout + queryTimeout} // a write waits for its turn, then talks to FHIR
	viewers := viewerPatients{s.PatientNumbers, s.Log}
	parsed := shortQueries{lru.New[*ast.QueryDocument](maxCachedQueries)}
	h.SetQueryCache(parsed)
	// What one of these does to a query of one patient, plans must do too, or leave it to them.
	h.Use(tellErrors{s.faults})
	h.Use(noteOperation{})
	h.Use(documents)
	h.Use(documentLimits{parsed})
	h.Use(newCostLimit(schema.Schema()))
	h.Use(oneStream{})
	h.Use(inputTypes{schema.Schema()})
	h.Use(deadline)
	h.Use(viewers)
	h.Use(answers)
	if s.Introspection {
		h.Use(extension.Introspection{})
	} else {
		h.AroundFields(noType)
		h.SetDisableSuggestion(true) // "did you mean" tells the schema too
		h.SetDefaultRulesFn(rulesWithoutSuggestions)
	}
	h.SetErrorPresenter(func(ctx context.Context, err error) *gqlerror.Error {
		e := presentError(ctx, err)
		s.countInternal(e)
		return e
	})
	h.SetRecoverFunc(func(ctx context.Context, cause any) error {
		return resolvers.Internal(ctx, s.Log, resolvers.Panic(cause))
	})
	delivery := delivery{newStreamMetrics(s.Metrics), answers}
	sockets, told := newWebSockets(s, delivery), streams{s, delivery}
	single := singleTransport{newPlans(s.Resolver, documents, deadline, viewers, answers)}
	return answers.middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isWebSocket(r):
			sockets.Do(w, r, h)
		case infoOf(r.Context()).agreed.stream != nil:
			told.Do(w, r, h)
		default:
			single.Do(w, r, h)
		}
	}))
}

// rulesWithoutSuggestions suggests no name of the schema for one that is wrong. What a
// request lacks is named all the same: who may ask has the schema, see httpapi/schema.go.
// SetDisableSuggestion (gqlgen 0.17.98) does so for two of the rules only.
func rulesWithoutSuggestions() *rules.Rules {
	r := rules.NewDefaultRules()
	for _, rule := range []validator.Rule{
		rules.KnownArgumentNamesRuleWithoutSuggestions, rules.KnownTypeNamesRuleWithoutSuggestions,
		rules.ValuesOfCorrectTypeRuleWithoutSuggestions,
	} {
		r.RemoveRule(strings.TrimSuffix(rule.Name, "WithoutSuggestions"))
		r.AddRule(rule.Name, rule.RuleFunc)
	}
	return r
}

// noType answers __type without introspection as if there were no such type: a client
// that asks for one hears no more than that (graphql-http's audits ask so).
func noType(ctx context.Context, next graphql.Resolver) (any, error) {
	if field := graphql.GetFieldContext(ctx); field.Field.Name == "__type" && field.Field.ObjectDefinition.Name == "Query" {
		return nil, nil
	}
	return next(ctx)
}

// presentError gives every error a code. What has none yet comes from reading
// arguments: everything else that resolvers return is coded.
func presentError(ctx context.Context, err error) *gqlerror.Error {
	e := graphql.DefaultErrorPresenter(ctx, err)
	codedLimit(e)
	reworded(e)
	if e.Extensions["code"] == nil {
		if e.Extensions == nil {
			e.Extensions = map[string]any{}
		}
		e.Extensions["code"] = resolvers.CodeBadUserInput
	}
	if e.Message == "unknown field" { // and the last of its path is not ours, but the caller's
		e.Message, e.Path = "unknown field in this value", e.Path[:max(len(e.Path)-1, 0)]
	}
	e.Message = shortened(withoutValues(e.Message))
	if slices.ContainsFunc(e.Path, isLongName) { // of a variable
		e.Path = nil
	}
	return e
}

// maxMessage bounds what an error repeats of the request.
const maxMessage = 500

func isLongName(element ast.PathElement) bool {
	name, ok := element.(ast.PathName)
	return ok && len(name) > maxName
}

func shortened(message string) string {
	if runes := []rune(message); len(runes) > maxMessage {
		return string(runes[:maxMessage]) + "…"
	}
	return message
}
