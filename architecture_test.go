package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"patientgraph/auth"
)

// TestImportsPointOneWay holds the layering: each package may import only the
// packages of ours that are listed for it. What only tests use (app/apptest,
// db/dbtest, internal) is in no list of the product's.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		".":                    {"app"},
		"app":                  {"auth", "db", "examples/queries", "fhir", "fhir/fhirsim", "graph", "httpapi", "mirror", "resolvers", "web", "writethrough"},
		"app/apptest":          {"app", "auth", "db/dbtest", "fhir", "fhir/fhirsim", "internal/locked", "internal/wait"},
		"auth":                 {"jsonlimit"},
		"benchmarks":           {},
		"db":                   {"jsonlimit"},
		"db/dbtest":            {},
		"e2e":                  {},
		"examples/queries":     {"web"},
		"fhir":                 {"jsonlimit"},
		"fhir/fhirsim":         {"jsonlimit"},
		"graph":                {},
		"httpapi":              {"auth", "graph", "jsonlimit", "resolvers", "web"},
		"internal/apidoc":      {},
		"internal/cost":        {},
		"internal/locked":      {},
		"internal/oauthserver": {},
		"internal/recordings":  {},
		"internal/sources":     {},
		"internal/testca":      {},
		"internal/wait":        {},
		"jsonlimit":            {},
		"mirror":               {"db", "fhir", "jsonlimit", "record"},
		"proofs":               {},
		"record":               {"db", "fhir"},
		"resolvers":            {"auth", "db", "fhir", "graph", "writethrough"},
		"web":                  {},
		"writethrough":         {"db", "fhir", "record", "writethrough/judge"},
		"writethrough/judge":   {"fhir"},
	}
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		may, known := allowed[dir]
		if !known {
			t.Errorf("%s: say in this test what package %s may import", path, dir)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, found := strings.CutPrefix(imported, "patientgraph/")
			if found && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s", path, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRolesStandInOneTable: a new role is one edit, in auth/roles.go. A file
// that names most of the roles is a second list.
func TestRolesStandInOneTable(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") || filepath.ToSlash(path) == "auth/roles.go" ||
			!slices.Contains([]string{".go", ".graphqls", ".sql"}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var named []string
		for _, role := range auth.Roles() {
			if regexp.MustCompile(`\b` + regexp.QuoteMeta(role) + `\b`).Match(text) {
				named = append(named, role)
			}
		}
		if len(named) > len(auth.Roles())/2 {
			t.Errorf("%s names the roles %v: auth.Roles lists them", path, named)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
