package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"patientgraph/auth"
	"patientgraph/internal/wait"
	"patientgraph/resolvers"
)

// askAs asks as a viewer with a token.
func askAs(l requestRate, v auth.Viewer, token string, next http.HandlerFunc) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	known((&server{rate: l}).admitted(next)).ServeHTTP(answer, r.WithContext(auth.WithViewer(r.Context(), v)))
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
func TestEachOperationOfAWebSocketCounts(t *testing.T) {
	t.Parallel()
	used := 0
	messages := []string{initMessage}
	for n := range 20 {
		messages = append(messages, fmt.Sprintf(`{"type":"subscribe","id":"%d","payload":{"query":"{ viewer { role } }"}}`, n))
	}
	s := server{Options: Options{Used: func() { used++ }}, rate: newRequestRate(2, wait.NewClock(time.Now()).Now)}
	conn := dial(t, listening(t, s, nil), websocket.DialOptions{}, messages...)
	passed, refused := 0, 0
	for passed+refused < 20 {
		_, text, err := conn.Read(t.Context())
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.Contains(string(text), `"type":"complete"`):
			passed++
		case strings.Contains(string(text), resolvers.CodeLimitExceeded) && strings.Contains(string(text), `"retryAfterSeconds":1`):
			refused++
		}
	}
	if passed != 10 || used != 10 {
		t.Errorf("%d operations passed, %d were told of, want 10", passed, used)
	}
}

func TestNoRateIsNoBound(t *testing.T) {
	t.Parallel()
	l := newRequestRate(0, time.Now)
	for range 100 {
		if answer := askAs(l, auth.Viewer{}, "a", func(http.ResponseWriter, *http.Request) {}); answer.Code != http.StatusOK {
			t.Fatal(answer.Code)
		}
	}
}
