package auth

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"patientgraph/internal/locked"
)

func TestMiddleware(t *testing.T) {
	t.Parallel()
	good := sign(t, jwt.SigningMethodHS256, testSecret, "", doctorClaims())
	expired := sign(t, jwt.SigningMethodHS256, testSecret, "", with(doctorClaims(), "exp", testStart.Add(-time.Hour).Unix()))
	const invalid = `Bearer error="invalid_token", error_description="the token is invalid"`
	tests := []struct {
		name      string
		headers   []string
		challenge string // empty: let through
	}{
		{"valid", []string{"Bearer " + good}, ""},
		{"scheme in other case", []string{"bEARER " + good}, ""},
		{"more spaces", []string{"Bearer   " + good + " "}, ""},
		{"none", nil, "Bearer"},
		{"empty", []string{""}, "Bearer"},
		{"other scheme", []string{"Basic YTpi"}, "Bearer"},
		{"scheme alone", []string{"Bearer "}, "Bearer"},
		{"token alone", []string{good}, "Bearer"},
		{"expired", []string{"Bearer " + expired}, `Bearer error="invalid_token", error_description="the token has expired"`},
		{"changed", []string{"Bearer " + good + "x"}, invalid},
		{"garbage", []string{"Bearer \x00\xff"}, invalid},
		{"two tokens in one header", []string{"Bearer " + good + ", Bearer " + good}, invalid},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, `Bearer error="invalid_token", error_description="more than one Authorization header"`},
		{"two headers, one empty", []string{"", "Bearer " + good}, `Bearer error="invalid_token", error_description="more than one Authorization header"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var logged locked.Buffer
			v, _ := newTestVerifier(t, Config{Secret: testSecret, Log: slog.New(slog.NewTextHandler(&logged, nil))})
			handler := v.Middleware(refused)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if viewer, ok := FromContext(r.Context()); !ok || viewer.Subject != "dr-kim" || viewer.Role != RoleDoctor {
					t.Errorf("viewer in the context = %+v, %v", viewer, ok)
				}
				w.WriteHeader(http.StatusTeapot)
			}))
			r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
			r.Header["Authorization"] = tt.headers
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)

			if tt.challenge == "" {
				if w.Code != http.StatusTeapot {
					t.Errorf("status = %d, body %s", w.Code, w.Body)
				}
				return
			}
			checkUnauthenticated(t, w, tt.challenge)
			if strings.Contains(logged.String(), good[:20]) || strings.Contains(w.Body.String(), good[:20]) {
				t.Error("the token is in the log or in the answer")
			}
		})
	}
}

func refused(w http.ResponseWriter, _ *http.Request, reason string) {
	http.Error(w, reason, http.StatusUnauthorized)
}

func checkUnauthenticated(t *testing.T, w *httptest.ResponseRecorder, challenge string) {
	t.Helper()
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status = %d, want 401", w.Code)
	}
	if got := w.Header().Get("WWW-Authenticate"); got != challenge {
		t.Errorf("WWW-Authenticate = %q, want %q", got, challenge)
	}
	if w.Body.Len() == 0 {
		t.Error("no reason is given")
	}
}
