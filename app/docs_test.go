package app

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patientgraph/internal/sources"
)

// TestEveryLogLineIsDocumented: the log lines of docs/operations.md have every line at ERROR
// of the whole program, and each line of the mirror. Of a long one they may have the beginning
// alone, with an ellipsis.
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
	for pattern, logged := range map[string]string{
		"../*/*.go":      `\.Error(?:Context)?\((?:(?:ctx|[\w.]+\(\)), )?"([^"]+)"|LevelError, "([^"]+)"`,
		"../mirror/*.go": `\.Log\.\w+\("([^"]+)"|errManyMissing = errors\.New\("([^"]+)"`,
	} {
		found := 0
		for path, source := range sources.Of(t, pattern) {
			for _, m := range regexp.MustCompile(logged).FindAllStringSubmatch(source, -1) {
				found++
				if line := m[1] + m[2]; !slices.ContainsFunc(documented, func(is string) bool { return isLine(is, line) }) {
					t.Errorf("%s: %q is not documented", path, line)
				}
			}
		}
		if found < 20 {
			t.Errorf("only %d log lines are found in %s", found, pattern)
		}
	}
}

func isLine(documented, line string) bool {
	begin, isShortened := strings.CutSuffix(documented, "…")
	return documented == line ||
		isShortened && len(begin) > 10 && strings.HasPrefix(line, strings.TrimRight(begin, " ;")) ||
		strings.HasSuffix(line, " ") && strings.HasPrefix(documented, line) || // the rest is a value
		strings.HasPrefix(documented, line+" for patient P-…") // which the event of an update is followed by
}

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

// TestLinksLeadSomewhere: each link of a document to a file of ours, or to a heading, finds it.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	checked := 0
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../examples/*/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllStringSubmatch(string(text), -1) {
				if strings.Contains(m[1], ":") { // elsewhere
					continue
				}
				target := page
				if m[1] != "" {
					target = filepath.Join(filepath.Dir(page), m[1])
				}
				content, err := os.ReadFile(target)
				if err != nil || m[2] != "" && !anchors(string(content))[m[2]] {
					t.Errorf("%s: %s leads nowhere (%v)", page, m[0], err)
				}
				checked++
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links are found", checked)
	}
}

// anchors are those that GitHub gives to headings.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		words := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(words, " ", "-")] = true
	}
	return found
}
