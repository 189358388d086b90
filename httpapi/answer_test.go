package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"patientgraph/resolvers"
)

// TestAbuseLargeAnswersShareABound makes answers of 15 MiB until they do not fit beside
// the others: two of one caller, eight in all. A small one does.
func TestAbuseLargeAnswersShareABound(t *testing.T) {
	t.Parallel()
	l := newAnswerLimit()
	var answers []*answerSize
	made := func(caller, text string) (string, error) {
		size := &answerSize{to: &recipient{caller: caller}}
		answers = append(answers, size)
		value, err := l.InterceptField(withInfo(t.Context(), &requestInfo{size: size}),
			func(context.Context) (any, error) { return text, nil })
		shown, _ := value.(string)
		return shown, err
	}
	large := strings.Repeat("x", 15<<20)
	for i, caller := range []string{"a", "a", "a", "b", "b", "b", "c", "c", "d", "d", "e"} {
		fits := i != 2 && i != 5 && caller != "e"
		if text, err := made(caller, large); (text == large && err == nil) != fits || !fits && !strings.Contains(fmt.Sprint(err), "try again") {
			t.Errorf("answer %d, to %s: %d bytes, %v", i+1, caller, len(text), err)
		}
	}
	if text, err := made("a", "small, but longer than what is not counted at all, in this text"); text == "" || err != nil {
		t.Errorf("a small one: %q, %v", text, err)
	}
	for _, size := range answers {
		l.release(size)
	}
	if !l.large.isEmpty() {
		t.Errorf("%v are still taken", l.large.taken)
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
		text, err := writeJSON(value)
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
	l := newAnswerLimit()
	known(l.middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
	}))).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	if !l.large.isEmpty() {
		t.Errorf("%v are still taken", l.large.taken)
	}
}

// TestAbuseAnswersOfNamesAndShortTextsAreCounted: an answer that InterceptField sees
// nothing of is counted when it is whole, by what is not yet counted of it.
func TestAbuseAnswersOfNamesAndShortTextsAreCounted(t *testing.T) {
	t.Parallel()
	l := newAnswerLimit()
	answer := func(info *requestInfo, long, data int) *graphql.Response {
		return l.InterceptResponse(withInfo(t.Context(), info), func(ctx context.Context) *graphql.Response {
			if _, err := l.InterceptField(ctx, func(context.Context) (any, error) { return strings.Repeat("x", long), nil }); err != nil {
				t.Error(err)
			}
			return &graphql.Response{Data: []byte(strings.Repeat("x", data))}
		})
	}
	to := &recipient{caller: "a"} // one WebSocket
	var waiting []func()
	for i, c := range []struct{ long, data, taken int }{ // under way to it are then
		{0, 32 << 10, 0},
		{0, 32 << 10, 0},
		{0, 1 << 10, 1 << 10},
		{2 << 20, 1 << 20, 2<<20 + 1<<10}, // the data is shorter: a text was counted by what it takes at most
		{1 << 20, 6 << 20, 8<<20 + 1<<10},
	} {
		info := &requestInfo{}
		waiting = append(waiting, l.begin(info, to))
		if response := answer(info, c.long, c.data); len(response.Errors) > 0 || len(response.Data) != c.data || l.large.all != int64(c.taken) {
			t.Errorf("answer %d: %v, %d bytes are taken, want %d", i, response.Errors, l.large.all, c.taken)
		}
	}
	for data, want := range map[int]string{maxAnswer + 1: resolvers.CodeLimitExceeded, maxAnswer: ""} {
		info := &requestInfo{}
		sent := l.begin(info, to)
		response := answer(info, 0, data)
		if says := fmt.Sprint(response.Errors); len(response.Errors) > 0 && (want == "" || string(response.Data) != "null") || want != "" && len(response.Errors) == 0 {
			t.Errorf("%d bytes: %s", data, says)
		}
		sent()
	}
	var largest, refused requestInfo
	sent := l.begin(&largest, to)
	answer(&largest, 0, maxAnswer)
	l.begin(&refused, to)
	taken := l.large.all
	if response := answer(&refused, 0, 8<<20); len(response.Errors) != 1 || response.Errors[0].Extensions["code"] != resolvers.CodeUnavailable || string(response.Data) != "null" {
		t.Errorf("more than a caller's share: %v", response.Errors)
	}
	if l.large.all != taken {
		t.Errorf("a refused answer takes %d bytes", l.large.all-taken)
	}
	for _, sent := range append(waiting, sent) {
		sent()
	}
	if !l.large.isEmpty() || to.underWay.Load() != 0 {
		t.Errorf("%v are still taken, %d under way", l.large.taken, to.underWay.Load())
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
