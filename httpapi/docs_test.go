package httpapi

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"patientgraph/internal/sources"
)

// TestEveryCodeOfARequestIsDocumented: docs/errors.md has each code that stands in the
// source, and what gqlgen has of its own.
func TestEveryCodeOfARequestIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Errors of the request itself")
	codes := map[string]bool{"GRAPHQL_PARSE_FAILED": true, "GRAPHQL_VALIDATION_FAILED": true}
	said := regexp.MustCompile(`\b[cC]ode[A-Z]\w+ += "([A-Z_]+)"|"code":\s*"([A-Z_]+)"`)
	for _, dir := range []string{"../resolvers", "../auth", "."} {
		for _, source := range sources.Of(t, dir+"/*.go") {
			for _, m := range said.FindAllStringSubmatch(source, -1) {
				codes[m[1]+m[2]] = true
			}
		}
	}
	if len(codes) < 7 {
		t.Errorf("only %v are found in the source", codes)
	}
	for code := range codes {
		if !strings.Contains(table, "`"+code+"`") {
			t.Errorf("%s is not documented", code)
		}
	}
}
