package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/web"
)

// TestExampleQueries runs each of examples/queries as the page at / gets it, on each kind
// of server, as the role that its third line names: it answers the type that is said there.
// Together they show each way in which a contact update can end.
func TestExampleQueries(t *testing.T) {
	t.Parallel()
	said := saidOfExamples(t)
	for _, server := range []string{"hapi", "medplum", "openemr"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			demo := Start(t, "DEMO_SERVER="+server)
			page := pageOf(t, demo)
			as := map[string]*Client{}
			for _, signIn := range page.SignIns {
				as[signIn.Role] = demo.As(signIn.Token)
			}
			answered := map[string]bool{}
			for _, example := range page.Examples {
				if strings.Contains(example.Query, "#") {
					t.Errorf("the page shows all titles of %s:\n%s", example.Name, example.Query)
				}
				role, answer := said[example.Name][0], said[example.Name][1]
				var variables Object
				if example.Variables != "" {
					if err := json.Unmarshal([]byte(example.Variables), &variables); err != nil {
						t.Errorf("%s: %v", example.Name, err)
					}
				}
				query, field := withTypename(t, example.Query)
				if strings.HasPrefix(query, "subscription") {
					s := as[role].Subscribe(query)
					Want(t, as[role].Update(Object{"patientId": Number, "phone": "010-1234-0000"}), Object{"__typename": "UpdatePatientContactSuccess"})
					event, _ := s.Next()
					Want(t, event, Object{"data." + field + ".__typename": answer})
					s.Leave()
					continue
				}
				Want(t, as[role].Query(query, variables), Object{field + ".__typename": answer})
				if t.Failed() {
					t.Fatalf("%s as %s", example.Name, role)
				}
				answered[answer] = true
			}
			for _, answer := range []string{"UpdatePatientContactSuccess", "InvalidInput", "PatientNotFound", "NotPermitted", "UpdateConflict", "FhirRejected", "FhirUnavailable"} {
				if !answered[answer] && (answer != "UpdateConflict" || server != "openemr") {
					t.Errorf("no example shows %s", answer)
				}
			}
		})
	}
}

// TestOutsideTheDemoNoExampleWrites: what an example names is a patient of the demo.
func TestOutsideTheDemoNoExampleWrites(t *testing.T) {
	t.Parallel()
	page := pageOf(t, StartSystem(t, dbtest.SQLite(t), "PLAYGROUND=true").Product)
	if len(page.Examples) < 5 || len(page.SignIns) > 0 {
		t.Errorf("the page has %d examples, and tokens of %v", len(page.Examples), page.SignIns)
	}
	for _, example := range page.Examples {
		if query, _ := withTypename(t, example.Query); !strings.HasPrefix(query, "query") || strings.Contains(query, "P-2025") {
			t.Errorf("an example of the page: %s", query)
		}
	}
}

// saidOfExamples are the role and the answer of each example, by its name.
func saidOfExamples(t *testing.T) map[string][2]string {
	t.Helper()
	names, err := filepath.Glob("../examples/queries/*.graphql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	said := map[string][2]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^# role: (\w+); answer: (\w+).*\n\w+ (\w+)`).FindStringSubmatch(string(text))
		if m == nil {
			t.Fatalf("%s says no role and answer", name)
		}
		said[m[3]] = [2]string{m[1], m[2]}
	}
	return said
}

// pageOf is what the page at / is given.
func pageOf(t *testing.T, p *Product) (page web.Page) {
	t.Helper()
	_, html := p.Get("/")
	_, rest, _ := strings.Cut(html, `id="config">`)
	given, _, _ := strings.Cut(rest, "</script>")
	if err := json.Unmarshal([]byte(given), &page); err != nil {
		t.Fatalf("%v:\n%s", err, html)
	}
	return page
}

// withTypename adds __typename to the first field of an operation, and returns the
// field's name too.
func withTypename(t *testing.T, text string) (query, field string) {
	t.Helper()
	document, err := parser.ParseQuery(&ast.Source{Input: text})
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	first := document.Operations[0].SelectionSet[0].(*ast.Field)
	first.SelectionSet = append(first.SelectionSet, &ast.Field{Name: "__typename", Alias: "__typename"})
	var out strings.Builder
	formatter.NewFormatter(&out).FormatQueryDocument(document)
	return out.String(), first.Alias
}
