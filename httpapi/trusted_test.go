package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

const (
	listedMe = "query Me {\n  viewer {\n    role\n    __typename\n  }\n}"
	meID     = "0fc8b3b6e2a4d1c7b5f0a9e8d7c6b5a4938271605f4e3d2c1b0a9f8e7d6c5b4a"
	unlisted = "query Other {\n  viewer {\n    role\n  }\n}"
)

// trusting is /graphql with a list of documents, which the test may change.
type trusting struct {
	http.Handler
	documents *TrustedDocuments
	file      string
	clock     *wait.Clock
	log       *locked.Buffer
}

func newTrusting(t *testing.T, list string, enforce bool, o Options) *trusting {
	t.Helper()
	quiet, log := logged()
	tr := &trusting{file: filepath.Join(t.TempDir(), "documents.json"), clock: wait.NewClock(time.Now()), log: log}
	tr.write(t, list)
	documents, err := OpenTrustedDocuments(tr.file, enforce, quiet.Log, tr.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	o.Log, o.TrustedDocuments, tr.documents = quiet.Log, documents, documents
	tr.Handler = endpoint(t, o)
	return tr
}

// write replaces the file as those do who deploy: by another one of its name.
func (tr *trusting) write(t *testing.T, list string) {
	t.Helper()
	next := tr.file + ".next"
	if err := os.WriteFile(next, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, tr.file); err != nil {
		t.Fatal(err)
	}
}

// code is what became of a request: the code of its error, "" if it was answered.
func (tr *trusting) code(t *testing.T, body string) string {
	t.Helper()
	_, code := read(t, ask(tr, http.MethodPost, "/graphql", body))
	return code
}

func manifest(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func sent(query string) string { return fmt.Sprintf(`{"query":%q}`, query) }

func TestOnlyListedOperationsAreAnswered(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), true, Options{})
	for name, c := range map[string]struct{ body, code string }{
		"by its id":                       {named(t, meID, ""), ""},
		"by its hash":                     {named(t, sha256Of(listedMe), ""), ""},
		"by documentId":                   {`{"documentId":"` + meID + `"}`, ""},
		"by its text":                     {sent(listedMe), ""},
		"by its text and its id":          {named(t, meID, listedMe), ""},
		"by its text and its hash":        {named(t, sha256Of(listedMe), listedMe), ""},
		"another's id with its text":      {named(t, "settled", listedMe), "BAD_USER_INPUT"},
		"its id with another text":        {named(t, meID, unlisted), "BAD_USER_INPUT"},
		"an unlisted text":                {sent(unlisted), "BAD_USER_INPUT"},
		"an unlisted text and its hash":   {named(t, sha256Of(unlisted), unlisted), "BAD_USER_INPUT"},
		"a listed text with a blank more": {sent(listedMe + " "), "BAD_USER_INPUT"},
		"a text that does not parse":      {sent("{"), "BAD_USER_INPUT"},
		"an unlisted hash":                {named(t, sha256Of(unlisted), ""), "PERSISTED_QUERY_NOT_SUPPORTED"},
		"an unlisted id":                  {`{"doc_id":"7"}`, "PERSISTED_QUERY_NOT_SUPPORTED"},
		"the schema":                      {sent("{ __schema { queryType { name } } }"), "BAD_USER_INPUT"},
		"a listed subscription":           {named(t, "settled", ""), "GRAPHQL_VALIDATION_FAILED"}, // it is let through as far as its variables
	} {
		if code := tr.code(t, c.body); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
	if n := strings.Count(tr.log.String(), `"an operation is not in TRUSTED_DOCUMENTS"`); n != 4 {
		t.Errorf("of 4 texts that are not listed the log has %d:\n%s", n, tr.log)
	}
	if strings.Contains(tr.log.String(), "viewer") || !strings.Contains(tr.log.String(), sha256Of(unlisted)) {
		t.Errorf("the log has %s", tr.log)
	}
}

func TestAStreamTakesListedOperationsOnly(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), true, Options{})
	for body, want := range map[string]string{
		named(t, meID, ""): `{"data":{"viewer":{"role":"admin","__typename":"Viewer"}}}`, sent(unlisted): "listed operations only",
		`{"documentId":"settled","variables":{}}`:                                 `operationId`,
		sent(`subscription { contactUpdateSettled(operationId: "x") { state } }`): "listed operations only",
	} {
		response := ask(tr, http.MethodPost, "/graphql", body, "Accept", "text/event-stream")
		if text, _ := io.ReadAll(response.Body); want != "operationId" && !strings.Contains(string(text), want) || strings.Contains(string(text), "listed operations only") != (want == "listed operations only") {
			t.Errorf("%s: %s", body, text)
		}
	}
}

func TestRelaysListOfDocuments(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, "\ufeff"+manifest(t, "relay-documents.json"), true, Options{})
	const text = "query MeQuery {\n  viewer {\n    role\n  }\n}\n"
	for body, want := range map[string]string{
		`{"doc_id":"9f1a5c0c3a0a3d1f2f6a3b8f2a7e4d11","variables":{}}`: "", sent(text): "", named(t, sha256Of(text), ""): "",
		`{"documentId":"sha256:18a2d6d0b9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c1"}`: "",
		sent(unlisted): "BAD_USER_INPUT",
	} {
		if code := tr.code(t, body); code != want {
			t.Errorf("%s: %q, want %q", body, code, want)
		}
	}
}

func TestTheModeThatOnlyLogs(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), false, Options{})
	for _, body := range []string{named(t, meID, ""), sent(unlisted), sent(unlisted), named(t, sha256Of(unlisted), unlisted), named(t, sha256Of(unlisted), "")} {
		if code := tr.code(t, body); code != "" {
			t.Errorf("%s: %q", body, code)
		}
	}
	if code := tr.code(t, named(t, "nobody's", "")); code != "PERSISTED_QUERY_NOT_FOUND" {
		t.Errorf("a hash that nobody has sent: %q", code)
	}
	if n := strings.Count(tr.log.String(), `"an operation is not in TRUSTED_DOCUMENTS"`); n != 1 {
		t.Errorf("the log has the document %d times:\n%s", n, tr.log)
	}
}

// GraphiQL asks for the schema first, and says how nowhere.
func TestTheSchemaCanBeAskedForWhereIntrospectionIsOn(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), true, Options{Introspection: true})
	for query, want := range map[string]string{
		"query IntrospectionQuery { __schema { queryType { name } types { ...T } } } fragment T on __Type { name }": "",
		`{ __type(name: "Patient") { name } __typename }`:                                                           "",
		"{ __schema { queryType { name } } viewer { role } }":                                                       "BAD_USER_INPUT",
		"query A { __typename } query B { viewer { role } }":                                                        "BAD_USER_INPUT",
		"{ ...F } fragment F on Query { viewer { role } }":                                                          "BAD_USER_INPUT",
		"{ ... { viewer { role } } __typename }":                                                                    "BAD_USER_INPUT",
		"{ __schema: viewer { role } }":                                                                             "BAD_USER_INPUT",
		"mutation { __typename }":                                                                                   "BAD_USER_INPUT",
		"fragment F on Query { __typename }":                                                                        "BAD_USER_INPUT",
		"{ " + strings.Repeat("__typename ", 6000) + "}":                                                            "BAD_USER_INPUT",
		"": "BAD_USER_INPUT",
	} {
		if code := tr.code(t, sent(query)); code != want {
			t.Errorf("%.100s: %q, want %q", query, code, want)
		}
	}
}

func TestAListThatChangesIsReadAgain(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), true, Options{})
	want := func(when, listed, refused string) {
		t.Helper()
		if code := tr.code(t, sent(listed)); code != "" {
			t.Errorf("%s: what is listed gives %q", when, code)
		}
		if code := tr.code(t, sent(refused)); code != "BAD_USER_INPUT" {
			t.Errorf("%s: what is not listed gives %q", when, code)
		}
	}
	other := fmt.Sprintf(`{"1": %q}`, unlisted)
	want("at first", listedMe, unlisted)
	tr.write(t, other)
	want("within the second", listedMe, unlisted)
	tr.clock.Pass(trustedLookEvery)
	want("after it", unlisted, listedMe)

	for name, broken := range map[string]string{"empty": "", "cut off": other[:len(other)-9], "no operation": "{}", "no document": `{"1": "{"}`} {
		tr.write(t, broken)
		for range 3 {
			tr.clock.Pass(trustedLookEvery)
			want(name, unlisted, listedMe)
		}
	}
	if err := os.Remove(tr.file); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tr.clock.Pass(trustedLookEvery)
		want("away", unlisted, listedMe)
	}
	if n := strings.Count(tr.log.String(), "TRUSTED_DOCUMENTS cannot be read again"); n != 5 {
		t.Errorf("of 5 times that it could not be read the log has %d:\n%s", n, tr.log)
	}
	tr.write(t, manifest(t, "apollo-manifest.json"))
	tr.clock.Pass(trustedLookEvery)
	want("back", listedMe, unlisted)
}

// TestAListThatCannotBeOpenedIsTriedAgain though the file has not changed meanwhile.
func TestAListThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	t.Parallel()
	tr := newTrusting(t, manifest(t, "apollo-manifest.json"), true, Options{})
	opens := false
	tr.documents.read = func(path string) (*documentList, os.FileInfo, error) {
		if !opens {
			return nil, nil, errors.New("too many open files")
		}
		return readDocuments(path)
	}
	tr.write(t, fmt.Sprintf(`{"1": %q}`, unlisted))
	for range 3 {
		tr.clock.Pass(trustedLookEvery)
		if code := tr.code(t, sent(listedMe)); code != "" {
			t.Errorf("while it cannot be opened: %q", code)
		}
	}
	if n := strings.Count(tr.log.String(), "TRUSTED_DOCUMENTS cannot be read again"); n != 1 {
		t.Errorf("the log has it %d times:\n%s", n, tr.log)
	}
	opens = true
	tr.clock.Pass(trustedLookEvery)
	if code := tr.code(t, sent(unlisted)); code != "" {
		t.Errorf("now it can: %q", code)
	}
}

func TestAListThatCannotBeUsedSaysWhy(t *testing.T) {
	t.Parallel()
	for list, says := range map[string]string{
		``:   "no JSON object",
		`[]`: "no JSON object",
		`{}`: "lists no operation",
		`{"format":"apollo-persisted-query-manifest","version":1,"operations":[]}`:                                                       "lists no operation",
		`{"format":"another","operations":[{"id":"1","body":"{ __typename }"}]}`:                                                         "not of the format",
		`{"operations":[{"id":"1","body":"{ __typename }"}]}`:                                                                            "not of the format",
		`{"format":"apollo-persisted-query-manifest","operations":{"1":"x"}}`:                                                            "not of the format",
		`{"format":"apollo-persisted-query-manifest","operations":[{"id":"1"}]}`:                                                         "operation 1",
		`{"format":"apollo-persisted-query-manifest","operations":[{"body":"{ __typename }"}]}`:                                          "has no id",
		`{"format":"apollo-persisted-query-manifest","operations":[{"id":"1","body":"{ a }"},{"id":"1","body":"{ b }"}]}`:                "there twice",
		`{"name":"patientgraph-web","version":"1.0.0"}`:                                                                                  "no GraphQL document",
		`{"format":"apollo-persisted-query-manifest","operations":[{"id":"1","body":"{ a }"}],"operations":[{"id":"2","body":"{ b }"}]}`: `has "operations" twice`,
		`{"format":"x","operations":[{"id":"1","body":"{ a }"}],"format":"apollo-persisted-query-manifest"}`:                             `has "format" twice`,
		`{"format":"apollo-persisted-query-manifest","operations":[{"id":"1","body":"{ a }"},{"id":"2","id":"3","body":"{ b }"}]}`:       `operation 2, id "2", has "id" twice`,
		`{"format":"apollo-persisted-query-manifest","operations":[{"id":"1","body":"{ a }","b\u006fdy":"{ b }"}]}`:                      `operation 1, id "1", has "body" twice`,
		`{"format":"apollo-persisted-query-manifest","operations":[{"ID":"1","body":"{ a }"}]}`:                                          "has no id",
		`{"format":"apollo-persisted-query-manifest","operations":[{"id":1,"body":"{ a }"}]}`:                                            "has no id",
		`{"1":"{ a }","1":"{ b }"}`:                      "there twice",
		`{"1":{"text":"{ __typename }"}}`:                "no text",
		`{"1":"fragment F on Query { __typename }"}`:     "no GraphQL document with an operation",
		`{"1":"{ ` + strings.Repeat("id ", 6000) + `}"}`: "5000 tokens",
	} {
		file := filepath.Join(t.TempDir(), "documents.json")
		if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		quiet, _ := logged()
		if _, err := OpenTrustedDocuments(file, true, quiet.Log, time.Now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.100s: %v, want %q", list, err, says)
		}
	}
	quiet, _ := logged()
	for _, path := range []string{filepath.Join(t.TempDir(), "away.json"), t.TempDir()} {
		if _, err := OpenTrustedDocuments(path, true, quiet.Log, time.Now); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}
