package resolvers

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/writethrough"
)

// TestErrorsAreDocumented: docs/errors.md has a row for each ErrorCode and for
// nothing else, with the member and the retryable that callers are told.
func TestErrorsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "\n## ")
	rows := map[graph.ErrorCode][]string{}
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(line, "`", ""), " | ")
		code := graph.ErrorCode(strings.TrimPrefix(cells[0], "| "))
		if !code.IsValid() || rows[code] != nil {
			t.Errorf("%s is no code of the schema, or has two rows", code)
		}
		rows[code] = cells
	}
	for _, code := range graph.AllErrorCode {
		row := rows[code]
		if row == nil {
			t.Errorf("docs/errors.md has no row for %s", code)
			continue
		}
		if strings.Contains(row[5], "not told yet") {
			continue
		}
		told := outcome(t, code)
		retryable := map[bool]string{true: "yes", false: "no"}[told.GetRetryable()]
		if member := strings.TrimPrefix(fmt.Sprintf("%T", told), "*graph."); row[1] != member || strings.TrimSuffix(row[2], " ³") != retryable || told.GetCode() != code {
			t.Errorf("%s is told as %s %s, retryable %s; docs/errors.md says %s, %s", code, member, told.GetCode(), retryable, row[1], row[2])
		}
	}
}

// outcome is what a caller is told with a code.
func outcome(t *testing.T, code graph.ErrorCode) graph.UserError {
	t.Helper()
	switch code {
	case graph.ErrorCodeInvalidInput:
		return invalidInput(t.Context(), []*graph.FieldError{{}})
	case graph.ErrorCodeNotPermitted:
		return notPermitted(t.Context())
	}
	r := &Resolver{Log: slog.New(slog.DiscardHandler)}
	result, err := r.contactResult(t.Context(), auth.Viewer{}, &writethrough.Outcome{Code: writethrough.Code(code), Patient: &db.Patient{}})
	if err != nil {
		t.Fatalf("%s: %v", code, err)
	}
	return result.(graph.UserError)
}
