package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/graph"
	"patientgraph/resolvers"
	"patientgraph/web"
)

// handlerParts is what the HTTP handler is made of.
type handlerParts struct {
	log      *slog.Logger
	store    *db.Store
	probe    *fhir.Client // for readiness: it does not take connections from the writes
	verifier *auth.Verifier
	resolver *resolvers.Resolver
	metrics  *prometheus.Registry
	demo     *demo // nil outside the demo
}

// newHandler returns everything that is served over HTTP.
func newHandler(c *Config, p handlerParts) (http.Handler, error) {
	mux := http.NewServeMux()
	allowed := cors.New(cors.Options{
		AllowedOrigins: c.CORSOrigins, AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders:  []string{"Authorization", "Content-Type", "Accept-Language"},
		AllowOriginFunc: noOrigin(c.CORSOrigins), MaxAge: 600,
	})
	mux.Handle("/graphql", allowed.Handler(p.verifier.Middleware(checkedRequest(withLanguage(newGraphQL(c, p))))))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /readyz", newReadiness(p.log, p.store, p.probe))
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{}))
	if c.on(c.Playground) {
		page := web.Page{Endpoint: "/graphql"}
		if p.demo != nil {
			page.Token, page.Examples = p.demo.token, p.demo.examples()
		}
		playground, err := web.Handler(page)
		if err != nil {
			return nil, fmt.Errorf("playground: %w", err)
		}
		mux.Handle("/", playground)
	}
	if p.demo != nil {
		return guarded(onlyThisMachine(mux)), nil
	}
	return guarded(mux), nil
}

// onlyThisMachine refuses requests to another name than one of this machine: a
// page elsewhere could have its own name lead here, and read the demo's token.
func onlyThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !loopback(strings.Trim(host, "[]")) {
			writeError(w, http.StatusMisdirectedRequest, resolvers.CodeBadUserInput, "the demo answers to localhost and loopback addresses only")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// noOrigin refuses every origin when none is configured: the library would
// otherwise allow all.
func noOrigin(origins []string) func(string) bool {
	if len(origins) > 0 {
		return nil
	}
	return func(string) bool { return false }
}

// newGraphQL returns the GraphQL server, with its limits.
func newGraphQL(c *Config, p handlerParts) http.Handler {
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: p.resolver})
	s := handler.New(schema)
	s.AddTransport(transport.SSE{KeepAlivePingInterval: 15 * time.Second}) // a POST that accepts text/event-stream
	s.AddTransport(transport.POST{})
	s.AddTransport(transport.GET{})
	parsed := shortQueries{lru.New[*ast.QueryDocument](maxCachedQueries)}
	s.SetQueryCache(parsed)
	s.Use(documentLimits{parsed})
	s.Use(newCostLimit(schema.Schema()))
	s.Use(operationDeadline{2*c.FHIRTimeout + queryTimeout}) // a write waits for its turn, then talks to FHIR
	answers := &answerLimit{}
	s.Use(answers)
	s.Use(onlyQueries{})
	if c.on(c.Introspection) {
		s.Use(extension.Introspection{})
	} else {
		s.SetDisableSuggestion(true) // "did you mean" tells the schema too
		s.SetValidationRulesFn(rulesWithoutSuggestions)
	}
	s.SetErrorPresenter(presentError)
	s.SetRecoverFunc(func(ctx context.Context, cause any) error {
		return resolvers.Internal(ctx, p.log, resolvers.Panic(cause))
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
// must change nothing (GraphQL over HTTP).
type onlyQueries struct{}

func (onlyQueries) ExtensionName() string                   { return "OnlyQueries" }
func (onlyQueries) Validate(graphql.ExecutableSchema) error { return nil }

func (onlyQueries) MutateOperationContext(ctx context.Context, op *graphql.OperationContext) *gqlerror.Error {
	if ctx.Value(onlyQueries{}) == nil || op.Operation.Operation == ast.Query {
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
