package mirror

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patientgraph/internal/sources"
)

// TestEveryLogLineIsDocumented: docs/operations.md has each line that the mirror logs. Of a
// long one it may have the begin alone, with an ellipsis.
func TestEveryLogLineIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Log lines")
	table, _, _ = strings.Cut(table, "\n## ")
	var documented []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	lines := []string{errManyMissing.Error()}
	logged := regexp.MustCompile(`\bLog\.(?:Info|Warn|Error)\("([^"]+)"`)
	for _, source := range sources.Of(t, "*.go") {
		for _, m := range logged.FindAllStringSubmatch(source, -1) {
			lines = append(lines, m[1])
		}
	}
	if len(lines) < 20 {
		t.Errorf("only %d log lines are found in the source", len(lines))
	}
	for _, line := range lines {
		if !slices.ContainsFunc(documented, func(is string) bool { return isLine(is, line) }) {
			t.Errorf("%q is not documented", line)
		}
	}
}

func isLine(documented, line string) bool {
	begin, isShortened := strings.CutSuffix(documented, "…")
	return documented == line ||
		isShortened && len(begin) > 10 && strings.HasPrefix(line, strings.TrimRight(begin, " ;")) ||
		strings.HasSuffix(line, " ") && strings.HasPrefix(documented, line) // the rest is a value
}
