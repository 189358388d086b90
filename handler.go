package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/graph"
	"patientgraph/resolvers"
	"patientgraph/web"
)

// The limits of one request. A page of 200 patients with every field costs
// about 6,000.
const (
	maxBody       = 1 << 20
	maxTokens     = 10_000
	maxComplexity = 20_000
	patientCost   = 10 // of one patient beside its fields
)

// handlerParts is what the HTTP handler is made of.
type handlerParts struct {
	log      *slog.Logger
	store    *db.Store
	fhir     *fhir.Client
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
	mux.Handle("/graphql", allowed.Handler(p.verifier.Middleware(limitBody(withLanguage(newGraphQL(c, p))))))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /readyz", ready(p))
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
	return mux, nil
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
	config := graph.Config{Resolvers: p.resolver}
	config.Complexity.Query.Patient = func(childComplexity int, _ string) int { return patientCost + childComplexity }
	config.Complexity.Query.Patients = func(childComplexity int, _ *graph.PatientFilter, _ *graph.PatientOrder, first *int, _ *string, last *int, _ *string) int {
		n := 20
		for _, size := range []*int{first, last} {
			if size != nil && *size > 0 && *size <= 200 { // others are refused by the resolver
				n = *size
			}
		}
		return patientCost + n*childComplexity
	}
	s := handler.New(graph.NewExecutableSchema(config))
	s.AddTransport(transport.SSE{KeepAlivePingInterval: 15 * time.Second}) // a POST that accepts text/event-stream
	s.AddTransport(transport.POST{})
	s.AddTransport(transport.GET{})
	s.SetQueryCache(shortQueries{lru.New[*ast.QueryDocument](1000)})
	s.SetParserTokenLimit(maxTokens)
	s.Use(extension.FixedComplexityLimit(maxComplexity))
	s.Use(onlyQueries{})
	if c.on(c.Introspection) {
		s.Use(extension.Introspection{})
	} else {
		s.SetDisableSuggestion(true) // "did you mean" tells the schema too
	}
	s.SetErrorPresenter(presentError)
	s.SetRecoverFunc(func(ctx context.Context, cause any) error {
		return resolvers.Internal(ctx, p.log, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
	})
	return s
}

// shortQueries keeps the parsed form of queries of up to 8 KiB: real ones are
// shorter, and longer ones could fill the memory.
type shortQueries struct {
	graphql.Cache[*ast.QueryDocument]
}

func (c shortQueries) Add(ctx context.Context, query string, parsed *ast.QueryDocument) {
	if len(query) <= 8<<10 {
		c.Cache.Add(ctx, query, parsed)
	}
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
	switch e.Extensions["code"] {
	case nil:
		if e.Extensions == nil {
			e.Extensions = map[string]any{}
		}
		e.Extensions["code"] = resolvers.CodeBadUserInput
	case "COMPLEXITY_LIMIT_EXCEEDED":
		e.Extensions["code"] = resolvers.CodeLimitExceeded
	case errcode.ParseFailed:
		if strings.HasPrefix(e.Message, "exceeded token limit") { // the parser has no code of its own for it
			e.Extensions["code"] = resolvers.CodeLimitExceeded
		}
	}
	return e
}

// limitBody refuses what is no GraphQL request and reads the body before
// anything parses it: at most maxBody.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case r.Method == http.MethodGet:
			if variables := r.URL.Query().Get("variables"); variables != "" && !json.Valid([]byte(variables)) {
				writeError(w, http.StatusBadRequest, resolvers.CodeBadUserInput, "variables is not JSON")
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), onlyQueries{}, true)))
			return
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", "GET, POST")
			writeError(w, http.StatusMethodNotAllowed, resolvers.CodeBadUserInput, "use GET or POST")
			return
		case mediaType != "application/json":
			writeError(w, http.StatusUnsupportedMediaType, resolvers.CodeBadUserInput, "send Content-Type: application/json")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeError(w, http.StatusRequestEntityTooLarge, resolvers.CodeLimitExceeded, "the request is larger than 1 MiB")
		case err != nil:
			writeError(w, http.StatusBadRequest, resolvers.CodeBadUserInput, "the request body did not arrive whole")
		case json.NewDecoder(bytes.NewReader(body)).Decode(&graphql.RawParams{}) != nil: // the SSE transport would write it to stderr
			writeError(w, http.StatusBadRequest, resolvers.CodeBadUserInput, "the body is not a GraphQL request: a JSON object with query and, if any, variables, operationName and extensions")
		default:
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		}
	})
}

// writeError answers in the shape of GraphQL.
func writeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{ // the client is gone if this fails
		map[string]any{"message": message, "extensions": map[string]any{"code": code}},
	}})
}

func withLanguage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(resolvers.WithAcceptLanguage(r.Context(), r.Header.Get("Accept-Language"))))
	})
}

// ready answers 200 when the database and the FHIR server can be reached. It
// says which one cannot, never why: that is in the log.
func ready(p handlerParts) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		databaseErr := p.store.Ping(ctx) // first: a slow FHIR server may use up the time
		_, fhirErr := p.fhir.Capabilities(ctx)
		checks := map[string]error{"database": databaseErr, "fhir": fhirErr}
		status, answer := http.StatusOK, map[string]string{}
		for name, err := range checks {
			answer[name] = "ok"
			if err != nil {
				p.log.WarnContext(ctx, "not ready", "check", name, "error", err)
				status, answer[name] = http.StatusServiceUnavailable, "unavailable"
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // the client is gone if this fails
	})
}
