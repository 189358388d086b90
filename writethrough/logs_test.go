package writethrough

import (
	"log/slog"
	"strings"
	"testing"

	"patientgraph/internal/locked"
)

// The value of a panic may hold a patient.
func TestAPanicOfTheReconcilerIsALine(t *testing.T) {
	t.Parallel()
	var log locked.Buffer
	w := &Writer{Config: Config{Log: slog.New(slog.NewJSONHandler(&log, nil))}}
	defer func() {
		cause := recover()
		if text := log.String(); cause == nil || cause == "Okoro, born 1960" || strings.Contains(text, "Okoro") ||
			strings.Count(text, "\n") != 1 || !strings.Contains(text, `"level":"ERROR"`) || !strings.Contains(text, "logs_test.go") {
			t.Errorf("it goes on as %v; the log:\n%s", cause, text)
		}
	}()
	defer w.logPanic("a test")
	panic("Okoro, born 1960")
}
