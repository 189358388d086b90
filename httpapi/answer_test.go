package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// TestAbuseLargeAnswersShareABound makes nine answers of 15 MiB at once: the ninth
// does not fit beside the others, and a small one does.
func TestAbuseLargeAnswersShareABound(t *testing.T) {
	t.Parallel()
	l := &answerLimit{}
	answers := make([]*answerSize, 9)
	made := func(i int, text string) (string, error) {
		answers[i] = &answerSize{}
		value, err := l.InterceptField(context.WithValue(context.Background(), answerSizeKey{}, answers[i]),
			func(context.Context) (any, error) { return text, nil })
		shown, _ := value.(string)
		return shown, err
	}
	large := strings.Repeat("x", 15<<20)
	for i := range 8 {
		if text, err := made(i, large); text != large || err != nil {
			t.Fatalf("answer %d: %v", i+1, err)
		}
	}
	if text, err := made(8, large); text != "" || err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("the ninth: %d bytes, %v", len(text), err)
	}
	if text, err := made(8, "small, but longer than what is not counted at all, in this text"); text == "" || err != nil {
		t.Errorf("a small one: %q, %v", text, err)
	}
	for _, size := range answers {
		l.release(size)
	}
	if left := l.large.Load(); left > 15<<20 { // of the one that was made again
		t.Errorf("%d bytes are still taken", left)
	}
	if !l.returning.Load() {
		t.Error("their memory is not given back")
	}
}

// TestAbuseAnswerSizes counts more than JSON takes, never less.
func TestAbuseAnswerSizes(t *testing.T) {
	t.Parallel()
	for _, value := range []any{
		strings.Repeat("x", 100), strings.Repeat("\"<&\\\n\x01", 100), strings.Repeat("한글😀", 100), []string{"a", strings.Repeat("\t", 99), ""},
	} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if counted := textBytes(value); counted < int64(len(text))-2*3 {
			t.Errorf("%.20s: %d counted, JSON has %d", text, counted, len(text))
		}
	}
}

// TestAbuseEachEventHasItsOwnSize sends two events of 10 MiB over one connection.
func TestAbuseEachEventHasItsOwnSize(t *testing.T) {
	t.Parallel()
	l := &answerLimit{}
	l.middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for range 2 {
			response := l.InterceptResponse(r.Context(), func(ctx context.Context) *graphql.Response {
				_, err := l.InterceptField(ctx, func(context.Context) (any, error) { return strings.Repeat("x", 10<<20), nil })
				if err != nil {
					t.Error(err)
				}
				return &graphql.Response{Data: []byte("{}")}
			})
			if len(response.Errors) > 0 {
				t.Error(response.Errors)
			}
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	if left := l.large.Load(); left != 0 {
		t.Errorf("%d bytes are still taken", left)
	}
}

// TestAbuseOperationsEnd wants every query and mutation to have a deadline that is
// let go of with its answer.
func TestAbuseOperationsEnd(t *testing.T) {
	t.Parallel()
	d := &operationDeadline{mutation: time.Hour}
	for operation, limit := range map[ast.Operation]time.Duration{ast.Query: queryTimeout, ast.Mutation: time.Hour, ast.Subscription: 0} {
		ctx := graphql.WithOperationContext(context.Background(), &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: operation}})
		var given context.Context
		respond := d.InterceptOperation(ctx, func(ctx context.Context) graphql.ResponseHandler {
			given = ctx
			return graphql.OneShot(&graphql.Response{})
		})
		deadline, has := given.Deadline()
		if has != (limit > 0) || has && time.Until(deadline) > limit {
			t.Errorf("a %s ends at %v, %v", operation, deadline, has)
		}
		if respond(given) == nil || has && given.Err() == nil {
			t.Errorf("a %s is not over with its answer", operation)
		}
	}
}
