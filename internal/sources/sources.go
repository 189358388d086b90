// Package sources reads the program's own source, for tests that hold the documentation
// to it. It must not know what they look for.
package sources

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Of returns the text of each Go file that a pattern names, but for tests, by its path.
func Of(t testing.TB, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	texts := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}
