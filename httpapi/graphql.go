package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"patientgraph/graph"
	"patientgraph/resolvers"
)

// newGraphQL returns the GraphQL server, with its limits.
func newGraphQL(o Options) http.Handler {
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: o.Resolver})
	s := handler.New(schema)
	answers := &answerLimit{}
	metrics := newStreamMetrics(o.Metrics)
	s.AddTransport(&webSockets{Options: o, metrics: metrics, answers: answers})
	s.AddTransport(streams{o, metrics})
	s.AddTransport(transport.POST{})
	s.AddTransport(transport.GET{})
	parsed := shortQueries{lru.New[*ast.QueryDocument](maxCachedQueries)}
	s.SetQueryCache(parsed)
	s.Use(noteOperation{})
	s.Use(documentLimits{parsed})
	s.Use(newCostLimit(schema.Schema()))
	s.Use(operationDeadline{2*o.FHIRTimeout + queryTimeout}) // a write waits for its turn, then talks to FHIR
	if o.PatientNumbers != nil {
		s.Use(viewerPatients{o.PatientNumbers, o.Log})
	}
	s.Use(answers)
	s.Use(onlyQueries{})
	s.Use(onlyStreams{})
	if o.Introspection {
		s.Use(extension.Introspection{})
	} else {
		s.SetDisableSuggestion(true) // "did you mean" tells the schema too
		s.SetValidationRulesFn(rulesWithoutSuggestions)
	}
	s.SetErrorPresenter(func(ctx context.Context, err error) *gqlerror.Error {
		e := presentError(ctx, err)
		o.countInternal(e)
		return e
	})
	s.SetRecoverFunc(func(ctx context.Context, cause any) error {
		return resolvers.Internal(ctx, o.Log, resolvers.Panic(cause))
	})
	return answers.middleware(s)
}

// rulesWithoutSuggestions names no part of the schema that the caller did not
// name. SetDisableSuggestion (gqlgen 0.17.98) does so for two of the rules only.
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

// onlyQueries refuses mutations in a request whose context holds it: a GET
// must change nothing (GraphQL over HTTP). A subscription changes nothing.
type onlyQueries struct{}

func (onlyQueries) ExtensionName() string                   { return "OnlyQueries" }
func (onlyQueries) Validate(graphql.ExecutableSchema) error { return nil }

func (onlyQueries) MutateOperationContext(ctx context.Context, op *graphql.OperationContext) *gqlerror.Error {
	if ctx.Value(onlyQueries{}) == nil || op.Operation.Operation != ast.Mutation {
		return nil
	}
	return &gqlerror.Error{
		Message: "a GET request can only query; use POST", Extensions: map[string]any{"code": resolvers.CodeBadUserInput},
	}
}

// presentError gives every error a code. What has none yet comes from reading
// arguments: everything else that resolvers return is coded.
func presentError(ctx context.Context, err error) *gqlerror.Error {
	e := graphql.DefaultErrorPresenter(ctx, err)
	if strings.HasPrefix(e.Message, "json request body could not be decoded") { // gqlgen would repeat the body
		e.Message = "the request body is not a GraphQL request in JSON"
	}
	if e.Extensions["code"] == nil {
		if e.Extensions == nil {
			e.Extensions = map[string]any{}
		}
		e.Extensions["code"] = resolvers.CodeBadUserInput
	}
	e.Message = shortened(e.Message)
	if slices.ContainsFunc(e.Path, isLongName) { // of a variable's member
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

// maxAcceptLanguage bounds the header, in bytes: browsers send less.
const maxAcceptLanguage = 256

func withLanguage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		languages := r.Header.Get("Accept-Language")
		if len(languages) > maxAcceptLanguage {
			languages = ""
		}
		next.ServeHTTP(w, r.WithContext(resolvers.WithAcceptLanguage(r.Context(), languages)))
	})
}
