package app

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCheckIsDocumented: the table of checks in docs/operations.md, whose names
// stay as they are, has those that the source has, and no others.
func TestEveryCheckIsDocumented(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`(?:e\.add\(|\{)"([a-zA-Z ,]+)", (?:status|ok|limit|warning|failed|skipped|s|\(\*startup\))|const check = "([a-zA-Z ,]+)"`)
	made := map[string]bool{}
	for _, file := range []string{"startup.go", "examine.go", "doctor.go", "doctor_fhir.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(source), -1) {
			made[m[1]+m[2]] = true
		}
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| `check` | looks at |")
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]bool{}
	for row := range strings.SplitSeq(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			documented[m[1]] = true
		}
	}
	if len(made) < 15 {
		t.Errorf("only %d checks are found in the source", len(made))
	}
	for check := range made {
		if !documented[check] {
			t.Errorf("%q is not documented", check)
		}
	}
	for check := range documented {
		if !made[check] {
			t.Errorf("%q is documented, and nothing makes it", check)
		}
	}
}
