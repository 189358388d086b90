package httpapi

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patientgraph/auth"
	"patientgraph/internal/locked"
)

// logged returns Options whose log is the buffer.
func logged() (Options, *locked.Buffer) {
	var log locked.Buffer
	return Options{
		Log: slog.New(LogHandler(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))), Metrics: prometheus.NewRegistry(),
	}, &log
}

// serverOf is what New makes of Options, but for what only some requests need.
func serverOf(o Options) *server {
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	return &server{Options: o, faults: newFaults(o.Metrics), timing: timing{}.orUsual()}
}

// known gives a handler what accessLog and noteViewer give it, without the log.
func known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noteViewer(next).ServeHTTP(w, r.WithContext(withInfo(r.Context(), infoOf(r.Context()))))
	})
}

func TestRequestsAreNamedByThemselvesOrByUs(t *testing.T) {
	t.Parallel()
	for given, taken := range map[string]bool{
		"": false, "7f3a-22": true, "Root=1-67891233-abcdef012345678912345678": true, "urn:uuid:1": true, strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false, "a b": false, `"}{"level":"ERROR`: false, "김민수": false, "a\tb": false, "<b>": false,
	} {
		o, log := logged()
		request, answer := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		if given != "" {
			request.Header.Set("X-Request-Id", given)
		}
		accessLog(serverOf(o), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			o.Log.InfoContext(r.Context(), "something")
		})).ServeHTTP(answer, request)
		id := answer.Header().Get("X-Request-Id")
		if (id == given) != taken || id == "" {
			t.Errorf("%q became %q", given, id)
		}
		if n := strings.Count(log.String(), `"request_id":"`+id+`"`); n != 2 {
			t.Errorf("%q: %d lines have the id:\n%s", given, n, log)
		}
	}
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header["X-Request-Id"] = []string{"one", "two"}
	if id := requestID(request); id == "one" || id == "two" {
		t.Errorf("of two names %q was taken", id)
	}
}

// The value of a panic may hold a patient: the type is told, and where it was.
func TestAPanicIsOneLineAndAnAnswer(t *testing.T) {
	t.Parallel()
	o, log := logged()
	server := httptest.NewServer(accessLog(serverOf(o), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("Okoro, born 1960") })))
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	server.Close() // and the line is written
	if err != nil || answer.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), `"code":"INTERNAL"`) || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %d %v %s", err, answer.StatusCode, answer.Header, body)
	}
	if text := log.String(); strings.Contains(text+string(body), "Okoro") || !strings.Contains(text, `"level":"ERROR","msg":"internal error"`) ||
		!strings.Contains(text, "accesslog_test.go") || strings.Count(text, "\n") != 2 {
		t.Errorf("the log:\n%s", text)
	}
	if shown := gathered(o.Metrics); !strings.Contains(shown, "\npatientgraph_internal_errors_total 1\n") {
		t.Errorf("the metrics: %s", shown)
	}
}

// gathered is what /metrics shows.
func gathered(metrics *prometheus.Registry) string {
	shown := httptest.NewRecorder()
	promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}).ServeHTTP(shown, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return shown.Body.String()
}

func TestAPanicInTheMiddleOfAnAnswerCutsItOff(t *testing.T) {
	t.Parallel()
	o, log := logged()
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("the server hears %v", cause)
		}
		if !strings.Contains(log.String(), `"status":200`) {
			t.Errorf("the log:\n%s", log)
		}
	}()
	accessLog(serverOf(o), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{")) // to a recorder
		panic("fault")
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// Whatever a token says of a role, the log has words of ours.
func TestRolesInTheLogAreOurs(t *testing.T) {
	t.Parallel()
	for role, want := range map[auth.Role]string{auth.RoleNurse: `"role":"nurse"`, "Okoro 1960": `"role":"other"`} {
		o, log := logged()
		handler := accessLog(serverOf(o), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			isGraphQL(noteViewer(http.NotFoundHandler())).ServeHTTP(w, r.WithContext(auth.WithViewer(r.Context(), auth.Viewer{Role: role})))
		}))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/graphql", nil))
		if text := log.String(); !strings.Contains(text, want) || strings.Contains(text, "Okoro") {
			t.Errorf("%s: %s", role, text)
		}
	}
}
