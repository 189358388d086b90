package httpapi

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range said.FindAllStringSubmatch(string(source), -1) {
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
