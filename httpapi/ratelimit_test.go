package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/auth"
	"patientgraph/internal/wait"
	"patientgraph/resolvers"
)

// request asks as a viewer with a token, and returns the answer.
func askAs(l requestRate, v auth.Viewer, token string, next http.HandlerFunc) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	l.middleware(next).ServeHTTP(answer, r.WithContext(auth.WithViewer(r.Context(), v)))
	return answer
}

func TestACallerAsksAtABoundedRate(t *testing.T) {
	t.Parallel()
	clock := wait.NewClock(time.Now())
	l := newRequestRate(10, clock.Now)
	passed := 0
	next := func(http.ResponseWriter, *http.Request) { passed++ }
	kim := auth.Viewer{Subject: "kim"}
	for range 60 {
		askAs(l, kim, "a", next)
	}
	if passed != 50 {
		t.Fatalf("%d requests passed, want 50", passed)
	}
	refused := askAs(l, kim, "another token of the same subject", next)
	if refused.Code != http.StatusTooManyRequests || refused.Header().Get("Retry-After") != "1" {
		t.Errorf("status %d, headers %v", refused.Code, refused.Header())
	}
	if body := refused.Body.String(); !strings.Contains(body, `"code":"`+resolvers.CodeLimitExceeded+`"`) || !strings.Contains(body, `"retryAfterSeconds":1`) ||
		!strings.Contains(body, "50 requests at once and then 10 in a second") || strings.Contains(body, `"data"`) {
		t.Errorf("the refusal: %s", body)
	}
	passed = 0
	for range 60 {
		askAs(l, auth.Viewer{Subject: "lee"}, "a", next) // another subject
		askAs(l, auth.Viewer{}, "one", next)             // no subject: each token counts by itself
		askAs(l, auth.Viewer{}, "two", next)
	}
	if passed != 150 {
		t.Errorf("%d requests of others passed, want 150", passed)
	}
	passed = 0
	clock.Pass(time.Second)
	for range 20 {
		askAs(l, kim, "a", next)
	}
	if passed != 10 {
		t.Errorf("%d requests passed after a second, want 10", passed)
	}
}

// One request of HTTP may be a WebSocket with any number of operations.
func TestEachOperationOfAConnectionCounts(t *testing.T) {
	t.Parallel()
	l := newRequestRate(2, wait.NewClock(time.Now()).Now)
	operations := func(ctx context.Context) (passed int) {
		for range 20 {
			if err := l.MutateOperationParameters(ctx, &graphql.RawParams{}); err == nil {
				passed++
			} else if err.Extensions["code"] != resolvers.CodeLimitExceeded || err.Extensions["retryAfterSeconds"] != 1 {
				t.Fatal(err)
			}
		}
		return passed
	}
	passed := 0
	askAs(l, auth.Viewer{Subject: "kim"}, "a", func(_ http.ResponseWriter, r *http.Request) { passed = operations(r.Context()) })
	if passed != 10 { // the handshake paid for the first
		t.Errorf("%d operations passed, want 10", passed)
	}
	if passed := operations(auth.WithViewer(t.Context(), auth.Viewer{Subject: "lee"})); passed != 10 {
		t.Errorf("%d operations of a connection passed whose token came after its handshake, want 10", passed)
	}
}

func TestNoRateIsNoBound(t *testing.T) {
	t.Parallel()
	l := newRequestRate(0, time.Now)
	for range 100 {
		if answer := askAs(l, auth.Viewer{}, "a", func(_ http.ResponseWriter, r *http.Request) {
			if err := l.MutateOperationParameters(r.Context(), nil); err != nil {
				t.Error(err)
			}
		}); answer.Code != http.StatusOK {
			t.Fatal(answer.Code)
		}
	}
}
