package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/klauspost/compress/gzhttp"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

// singleTransport gives a GET or a POST its one answer, as GraphQL over HTTP says.
// gqlgen's own (0.17.98) look at no q of Accept, answer application/json with 422, and
// an operation that did not begin with "data": null.
type singleTransport struct{ plans *plans }

func (t singleTransport) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	info := infoOf(r.Context())
	if plan, asked := t.plans.find(info.parameters); plan != nil {
		began := time.Now()
		if data, ok := t.plans.carryOut(r.Context(), plan, asked); ok {
			info.operation.Store(&plan.operation)
			answer{Response: &graphql.Response{Data: data}, cacheable: isCacheable(r, info.parameters)}.write(w, r, info.agreed.single)
			return
		}
		rest, cancel := context.WithDeadline(r.Context(), began.Add(queryTimeout))
		defer cancel()
		r = r.WithContext(rest)
	}
	t.execute(r, exec).write(w, r, info.agreed.single)
}

// isCacheable reports whether who asked may keep the answer: a GET that names its document.
func isCacheable(r *http.Request, asked *graphql.RawParams) bool {
	return asked.Query == "" && r.Method == http.MethodGet
}

// answer is what became of an operation.
type answer struct {
	*graphql.Response
	status    int  // 0: as the media type and what the response holds have it
	cacheable bool // it is of a persisted query, and may be kept by who asked
}

// begin reads an operation that came by a method. The status is 0 but for what that
// method cannot ask for.
func begin(ctx context.Context, exec graphql.GraphExecutor, params graphql.RawParams, method string) (
	_ context.Context, _ *graphql.OperationContext, status int, errs gqlerror.List,
) {
	params.ReadTime.Start, params.ReadTime.End = graphql.Now(), graphql.Now()
	ctx = graphql.StartOperationTrace(ctx)
	rc, errs := exec.CreateOperationContext(ctx, &params)
	if errs == nil && method == http.MethodGet && rc.Operation.Operation == ast.Mutation {
		status = http.StatusMethodNotAllowed
		errs = gqlerror.List{badInput("a GET request can query or subscribe, and not change anything: use POST")}
	}
	return graphql.WithOperationContext(ctx, rc), rc, status, errs
}

func (t singleTransport) execute(r *http.Request, exec graphql.GraphExecutor) answer {
	parameters := infoOf(r.Context()).parameters
	ctx, operation, status, errs := begin(r.Context(), exec, *parameters, r.Method)
	refused := func(errs ...*gqlerror.Error) *graphql.Response { return exec.DispatchError(ctx, errs) }
	switch {
	case errs != nil:
		return answer{Response: refused(errs...), status: status}
	case operation.Operation.Operation == ast.Subscription:
		return answer{Response: refused(badInput("a subscription has more than one answer: put " + streamTypes + " first in Accept, or use a WebSocket with the subprotocol " + transportWS))}
	}
	respond, ctx := exec.DispatchOperation(ctx, operation)
	response := respond(ctx)
	if response == nil { // its time was over before it began
		response = refused(notInTime())
	}
	if len(response.Errors) > 0 {
		return answer{Response: response}
	}
	t.plans.learn(operation)
	return answer{Response: response, cacheable: isCacheable(r, parameters)}
}

func (a answer) write(w http.ResponseWriter, r *http.Request, mediaType string) {
	body, err := a.body()
	if err != nil {
		panic(fmt.Errorf("write an answer: %w", err))
	}
	status := a.status
	if status == 0 {
		status = a.statusAs(mediaType)
	}
	header := w.Header()
	setMediaType(w, mediaType)
	switch {
	case status == http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case a.cacheable:
		tag := entityTag(r, mediaType, body)
		header.Set("ETag", tag)
		header.Set("Cache-Control", "private, no-cache") // kept by who asked, and shown after asking us again
		for _, name := range []string{"Authorization", "Accept"} {
			header.Add("Vary", name) // Accept-Language and Accept-Encoding are there already
		}
		if matches(r.Header.Values("If-None-Match"), tag) {
			header.Add("Vary", "Accept-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	send := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client is gone if this fails
	}
	if len(body) < gzhttp.DefaultMinSize {
		header.Add("Vary", "Accept-Encoding") // as that library does
		send(w, r)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	gzhttp.GzipHandler(http.HandlerFunc(send)).ServeHTTP(w, r) // compressed, as the client takes it
}

// body has no data where the operation did not begin (GraphQL section 7.1). The data are
// JSON already.
func (a answer) body() ([]byte, error) {
	if a.Data != nil && len(a.Errors) == 0 && len(a.Extensions) == 0 {
		return slices.Concat([]byte(`{"data":`), a.Data, []byte("}")), nil
	}
	if a.Data == nil {
		return writeJSON(struct {
			Errors     gqlerror.List  `json:"errors"`
			Extensions map[string]any `json:"extensions,omitempty"`
		}{a.Errors, a.Extensions})
	}
	return writeJSON(a.Response)
}

// statusAs is the status of an answer. As application/json every well-formed request has
// 200: the clients that ask for that take another status for a fault of the network.
func (a answer) statusAs(mediaType string) int {
	if mediaType == jsonType || a.Data != nil {
		return http.StatusOK
	}
	switch a.Errors[0].Extensions["code"] {
	case codePersistedQueryNotFound, codePersistedQueryNotSupported:
		return http.StatusOK // as Apollo's server says it: its clients for iOS read no other
	case resolvers.CodeUnavailable:
		return http.StatusServiceUnavailable
	case resolvers.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// entityTag names an answer for who asked: made with the token, it tells nobody else
// (who reads the log of a proxy) what the answer may have been. It is weak, for the
// same answer is sent compressed and as it is.
func entityTag(r *http.Request, mediaType string, body []byte) string {
	sum := hmac.New(sha256.New, []byte(r.Header.Get("Authorization")))
	sum.Write([]byte(mediaType))
	sum.Write(body)
	return fmt.Sprintf(`W/"%x"`, sum.Sum(nil)[:16])
}

// matches reports whether an If-None-Match names the tag (RFC 9110 section 13.1.2).
func matches(ifNoneMatch []string, tag string) bool {
	for given := range strings.SplitSeq(strings.Join(ifNoneMatch, ","), ",") {
		given = strings.TrimSpace(given)
		if given == "*" || strings.TrimPrefix(given, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
