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
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"patientgraph/graph"
	"patientgraph/resolvers"
)

// newGraphQL returns the GraphQL server, with its limits.
func newGraphQL(o *server) http.Handler {
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: o.Resolver})
	s := handler.New(schema)
	answers := &answerLimit{}
	metrics := newStreamMetrics(o.Metrics)
	s.AddTransport(&webSockets{server: o, metrics: metrics, answers: answers})
	s.AddTransport(streams{o, metrics})
	s.AddTransport(singleTransport{})
	parsed := shortQueries{lru.New[*ast.QueryDocument](maxCachedQueries)}
	s.SetQueryCache(parsed)
	s.Use(tellErrors{o.faults})
	s.Use(noteOperation{})
	s.Use(persistedDocuments{seen: newDocumentCache(maxSeenDocuments), trusted: o.TrustedDocuments, introspection: o.Introspection})
	s.Use(documentLimits{parsed})
	s.Use(newCostLimit(schema.Schema()))
	s.Use(oneStream{})
	s.Use(inputTypes{schema.Schema()})
	s.Use(&operationDeadline{mutation: 2*o.FHIRTimeout + queryTimeout}) // a write waits for its turn, then talks to FHIR
	if o.PatientNumbers != nil {
		s.Use(viewerPatients{o.PatientNumbers, o.Log})
	}
	s.Use(answers)
	if o.Introspection {
		s.Use(extension.Introspection{})
	} else {
		s.AroundFields(noType)
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
