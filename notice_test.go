package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoticeNamesWhatIsInside: the modules in the program, and the packages of npm in its
// pages.
func TestNoticeNamesWhatIsInside(t *testing.T) {
	t.Parallel()
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.Fields(string(modules))
	if len(inside) < 50 {
		t.Errorf("go list shows only %v", inside)
	}
	for _, pattern := range []string{"web/*/package.json", "examples/*/package.json"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			var manifest struct{ Dependencies map[string]string }
			if err := json.Unmarshal(text, &manifest); err != nil {
				t.Fatal(err)
			}
			for name := range manifest.Dependencies {
				inside = append(inside, strings.Replace(name, "@graphiql/", "@graphiql/*", 1))
			}
		}
	}
	for _, name := range inside {
		name, _, _ = strings.Cut(name, "*")
		if !regexp.MustCompile(`(^|[\s(])` + regexp.QuoteMeta(name) + `($|[\s,.*])`).Match(notice) {
			t.Errorf("NOTICE has no %s", name)
		}
	}
}
