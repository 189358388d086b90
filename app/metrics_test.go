package app

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patientgraph/fhir"
)

func TestAFHIRServerThatIsAwayAndComesBackIsTold(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := prometheus.NewRegistry()
	w := newFHIRWatch(r, slog.New(slog.NewTextHandler(&log, nil)))
	lost, ok, gone := fhir.Lost.String(), fhir.ResultOK, fhir.Gone.String()
	shown := func() string {
		answer := httptest.NewRecorder()
		promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return answer.Body.String()
	}
	for n, step := range []struct {
		interaction, result, says, down string
	}{
		{"read", lost, "", "0"},
		{"read", lost, "", "0"},
		{"read", gone, "", "0"}, // an answer of its own
		{"update", lost, "", "0"},
		{"metadata", fhir.NotSent.String(), "", "0"},
		{"read", fhir.ResultCanceled, "", "0"},
		{"token", ok, "", "0"}, // of another server
		{"search", lost, "the FHIR server cannot be reached or fails", "1"},
		{"search", lost, "", "1"},
		{"read", gone, "the FHIR server is reachable again", "0"},
		{"read", ok, "", "0"},
	} {
		log.Reset()
		w.observe(step.interaction, step.result, time.Millisecond)
		if text := log.String(); (text == "") != (step.says == "") || !strings.Contains(text, step.says) {
			t.Errorf("step %d: the log has %q, want %q", n, text, step.says)
		}
		if !strings.Contains(shown(), "\npatientgraph_fhir_down "+step.down+"\n") {
			t.Errorf("step %d: patientgraph_fhir_down is not %s", n, step.down)
		}
	}
	if text := shown(); !strings.Contains(text, `patientgraph_fhir_request_seconds_bucket{interaction="search",outcome="lost",le="0.005"} 2`) {
		t.Error("the histogram lacks the searches")
	}
}

// Whoever collects stderr gets one line of JSON for the error that ended the program,
// whatever the error holds.
func TestTheErrorThatEndsTheProgramIsALine(t *testing.T) {
	t.Parallel()
	failure := errors.Join(errors.New(`LISTEN_ADDR: "x"`), errors.New("and more"))
	for _, tt := range []struct {
		format string
		args   []string
		text   bool
	}{
		{"", nil, false}, {"json", nil, false}, {"auto", nil, false}, {"text", nil, true},
		{"json", []string{"serve", "--log-format=text"}, true}, {"text", []string{"--log-format", "json"}, false}, {"nonsense", []string{"--log-format"}, false},
	} {
		var out bytes.Buffer
		WriteFatal(tt.args, func(name string) string { return map[string]string{"LOG_FORMAT": tt.format}[name] }, &out, failure)
		want := `"level":"ERROR","msg":"ended by an error","error":"LISTEN_ADDR: \"x\"\nand more"}` + "\n"
		if tt.text {
			want = "patientgraph: LISTEN_ADDR: \"x\"\nand more\n"
		}
		if !strings.HasSuffix(out.String(), want) || !tt.text && strings.Count(out.String(), "\n") != 1 {
			t.Errorf("LOG_FORMAT=%s %q: %s", tt.format, tt.args, &out)
		}
	}
}

func TestAFaultOfTheProgramIsItsError(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), nil, func(string) string { panic("Okoro, born 1960") }, io.Discard, io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "panic: ") || strings.Contains(err.Error(), "Okoro") || !strings.Contains(err.Error(), "metrics_test.go") {
		t.Errorf("it ended with %v", err)
	}
}
