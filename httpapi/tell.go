package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"patientgraph/resolvers"
)

// tellErrors sends the errors of an answer in the language of its caller, and says in
// Retry-After too when to try again: clients and proxies look there.
type tellErrors struct{ *faults }

func (tellErrors) ExtensionName() string                   { return "TellErrors" }
func (tellErrors) Validate(graphql.ExecutableSchema) error { return nil }

// InterceptOperation is also for what ends before it is carried out.
func (t tellErrors) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	respond := next(ctx)
	return func(ctx context.Context) *graphql.Response {
		response := told(ctx, respond(ctx))
		if response != nil {
			t.countUnavailable(response.Errors...)
		}
		return response
	}
}

// InterceptResponse is for what is no operation: it cannot be read, or is refused.
func (tellErrors) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	return told(ctx, next(ctx))
}

func told(ctx context.Context, response *graphql.Response) *graphql.Response {
	if response == nil {
		return nil
	}
	after := 0
	for _, e := range response.Errors {
		e.Message = resolvers.Say(ctx, e.Message)
		seconds, _ := e.Extensions["retryAfterSeconds"].(int)
		after = max(after, seconds)
	}
	if header := infoOf(ctx).header; header != nil && after > 0 && !isSubscription(ctx) {
		header.Set("Retry-After", strconv.Itoa(after))
	}
	return response
}

// isSubscription is for what has its header sent before its answers.
func isSubscription(ctx context.Context) bool {
	operation := graphql.GetOperationContext(ctx).Operation
	return operation != nil && operation.Operation == ast.Subscription
}

// maxAcceptLanguage bounds the header, in bytes: browsers send less.
const maxAcceptLanguage = 256

// withLanguage finds out in which language a caller is told messages, and says so.
func withLanguage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		languages := strings.Join(r.Header.Values("Accept-Language"), ",")
		if len(languages) > maxAcceptLanguage {
			languages = ""
		}
		if languages != "" {
			r = r.WithContext(resolvers.WithAcceptLanguage(r.Context(), languages))
		}
		if !isWebSocket(r) { // the answers of a WebSocket have no headers
			infoOf(r.Context()).header = w.Header()
			w.Header().Set("Content-Language", resolvers.Language(r.Context()))
			w.Header().Add("Vary", "Accept-Language")
		}
		next.ServeHTTP(w, r)
	})
}

var _ interface {
	graphql.OperationInterceptor
	graphql.ResponseInterceptor
} = tellErrors{}
