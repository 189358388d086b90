package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/internal/locked"
)

// schemaCommand is what `patientgraph schema` prints.
func schemaCommand(t *testing.T, flags ...string) string {
	t.Helper()
	var out, log locked.Buffer
	if err := Run(t.Context(), append([]string{"schema"}, flags...), &out, &log); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheSchemaIsToldInTheSameWayByHTTPAndCommand(t *testing.T) {
	t.Parallel()
	p := StartWith(t, "http://127.0.0.1:1/fhir", dbtest.SQLite(t), "SCHEMA_PUBLIC=true").As("")
	for path, told := range map[string]string{
		"/schema.graphql":     schemaCommand(t),
		"/possibleTypes.json": schemaCommand(t, "--possible-types"),
	} {
		if status, body := p.Get(path); status != http.StatusOK || body != told {
			t.Errorf("%s: %d\n%s\nthe command says\n%s", path, status, body, told)
		}
	}
}

func TestPossibleTypesAreThoseOfTheSchema(t *testing.T) {
	t.Parallel()
	type file struct{ PossibleTypes map[string][]string }
	var told, among file
	if err := json.Unmarshal([]byte(schemaCommand(t, "--possible-types")), &told); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(requestFile(t, "possible-types.json"), &among); err != nil {
		t.Fatal(err)
	}
	for name, members := range among.PossibleTypes {
		if !slices.Equal(told.PossibleTypes[name], members) {
			t.Errorf("%s may be %v, want %v", name, told.PossibleTypes[name], members)
		}
	}
	if members := told.PossibleTypes["UpdatePatientContactResult"]; len(members) != 7 {
		t.Errorf("UpdatePatientContactResult may be %v", members)
	}
}

func TestTheSchemaAsIntrospectionShowsIt(t *testing.T) {
	t.Parallel()
	type schema struct {
		Directives []struct{ Name string }
		Types      []struct{ Name string }
	}
	var told struct {
		Schema *schema `json:"__schema"`
	}
	if err := json.Unmarshal([]byte(schemaCommand(t, "--json")), &told); err != nil || told.Schema == nil || len(told.Schema.Types) < 30 {
		t.Fatalf("%v %+v", err, told)
	}
	for _, d := range told.Schema.Directives {
		if d.Name == "defer" {
			t.Error("@defer is advertised, and nothing carries it out")
		}
	}
}

func TestDeferIsUnknown(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "INTROSPECTION=true")
	answer := s.Post(Body(t, `{ patient(id: "`+Number+`") { id ... @defer { phone } } }`, nil))
	if answer.ErrorCode() != "GRAPHQL_VALIDATION_FAILED" || answer.Object["data"] != nil {
		t.Errorf("%v", answer.Object)
	}
	data := s.Query(`{ __schema { directives { name } } }`, nil)
	if text := JSON(t, data); strings.Contains(text, "defer") || !strings.Contains(text, `"skip"`) {
		t.Error(text)
	}
}

func TestWhoMayHaveTheSchema(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		settings []string
		public   bool
	}{
		{nil, false},
		{[]string{"INTROSPECTION=true"}, true},
		{[]string{"SCHEMA_PUBLIC=true"}, true},
		{[]string{"SCHEMA_PUBLIC=false", "INTROSPECTION=true"}, false},
	} {
		p := StartWith(t, "http://127.0.0.1:1/fhir", dbtest.SQLite(t), c.settings...)
		for _, path := range []string{"/schema.graphql", "/possibleTypes.json"} {
			want := http.StatusUnauthorized
			if c.public {
				want = http.StatusOK
			}
			if status, body := p.As("").Get(path); status != want {
				t.Errorf("%v %s without a token: %d %s", c.settings, path, status, body)
			}
			if status, _ := p.As(Token(t, auth.RoleAnalyst, "")).Get(path); status != http.StatusOK {
				t.Errorf("%v %s with a token: %d", c.settings, path, status)
			}
		}
	}
}

func TestTheSchemaMayBeKeptAndAskedForAgain(t *testing.T) {
	t.Parallel()
	p := StartWith(t, "http://127.0.0.1:1/fhir", dbtest.SQLite(t), "SCHEMA_PUBLIC=true")
	ask := func(method string, headers ...string) *http.Response {
		t.Helper()
		response, err := http.DefaultClient.Do(p.Request(method, "/schema.graphql", "", headers...))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	first := ask(http.MethodGet)
	etag := first.Header.Get("Etag")
	if etag == "" || !strings.Contains(first.Header.Get("Cache-Control"), "no-cache") || !strings.HasPrefix(first.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%v", first.Header)
	}
	if again := ask(http.MethodGet, "If-None-Match", etag); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again: %d", again.StatusCode)
	}
	if head := ask(http.MethodHead); head.StatusCode != http.StatusOK || head.Header.Get("Etag") != etag {
		t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
	}
	if posted := ask(http.MethodPost); posted.StatusCode != http.StatusMethodNotAllowed || posted.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", posted.StatusCode, posted.Header)
	}
}
