package e2e_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
)

// TestAbuseAuditOfGraphQLServers makes the checks of the audit tool graphql-cop on a
// server as it runs in production. Its one finding that stays is that a GET may query.
func TestAbuseAuditOfGraphQLServers(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "LOG_LEVEL=info")
	for name, c := range map[string]struct{ query, code, says string }{
		"alias overloading":       {`query cop { ` + repeated(101, "alias%d:__typename \n") + `}`, "LIMIT_EXCEEDED", "50 root fields"},
		"aliases of one object":   {`query cop { viewer { ` + repeated(101, "alias%d:__typename \n") + `} }`, "LIMIT_EXCEEDED", "100 aliases"},
		"field duplication":       {`query cop { ` + strings.Repeat("__typename \n", 500) + `}`, "LIMIT_EXCEEDED", "50 root fields"},
		"directive overloading":   {`query cop { __typename @aa@aa@aa@aa@aa@aa@aa@aa@aa@aa }`, "LIMIT_EXCEEDED", "5 directives"},
		"circular fragments":      {`query cop { viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }`, "GRAPHQL_VALIDATION_FAILED", "spreads itself"},
		"circular introspection":  {`query cop { __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }`, "LIMIT_EXCEEDED", "more than 2 of the lists"},
		"introspection":           {`query cop { __schema { types { name fields { name } } } }`, "", "introspection disabled"},
		"introspection of a type": {`query cop { __type(name: "Patient") { fields { name } } }`, "", ""},
		"field suggestions":       {`query cop { patien { nam } viewer { rol } }`, "GRAPHQL_VALIDATION_FAILED", "Cannot query field"},
		"unhandled errors":        {`qwerty cop { abc }`, "GRAPHQL_PARSE_FAILED", "Unexpected Name"},
		"traces":                  {`query cop { __typename }`, "", ""},
	} {
		answer := s.Post(Body(t, c.query, nil), "X-Apollo-Tracing", "1", "Apollo-Federation-Include-Trace", "ftv1")
		text := JSON(t, answer.Object)
		if c.says != "" && !strings.Contains(JSON(t, answer.At("errors")), c.says) || c.code != "" && answer.ErrorCode() != c.code {
			t.Errorf("%s: want %s, %q: %.300s", name, c.code, c.says, text)
		}
		for _, told := range []string{"Did you mean", "patients", "stacktrace", "exception", "tracing", "ftv1", `"fields":[`} {
			if strings.Contains(text, told) {
				t.Errorf("%s: the answer has %q: %.300s", name, told, text)
			}
		}
	}

	batch := s.Post(`[` + strings.Repeat(`{"query":"query cop { __typename }"},`, 9) + `{"query":"query cop { __typename }"}]`)
	if batch.At("data") != nil || !strings.Contains(JSON(t, batch.Object), "batches are not supported") {
		t.Errorf("a batch: %v", batch.Object)
	}
	mutation := url.Values{"query": {`mutation cop { __typename }`}}.Encode()
	for name, request := range map[string]*http.Request{
		"a mutation by GET":       s.Request(http.MethodGet, "/graphql?"+mutation, ""),
		"a form":                  s.Request(http.MethodPost, "/graphql", mutation, "Content-Type", "application/x-www-form-urlencoded"),
		"a form with parts":       s.Request(http.MethodPost, "/graphql", mutation, "Content-Type", "multipart/form-data; boundary=x"),
		"plain text":              s.Request(http.MethodPost, "/graphql", `{"query":"mutation cop { __typename }"}`, "Content-Type", "text/plain"),
		"parameters of a POST":    s.Request(http.MethodPost, "/graphql?"+mutation, "", "Content-Type", "text/plain"),
		"a page for developers":   s.Request(http.MethodGet, "/graphql", "", "Accept", "text/html"),
		"GraphiQL":                s.Request(http.MethodGet, "/graphiql", "", "Accept", "text/html"),
		"GraphiQL at the root":    s.Request(http.MethodGet, "/", "", "Accept", "text/html"),
		"an Apollo playground":    s.Request(http.MethodGet, "/playground", "", "Accept", "text/html"),
		"a console of another":    s.Request(http.MethodGet, "/console", "", "Accept", "text/html"),
		"profiles of the process": s.Request(http.MethodGet, "/debug/pprof/", ""),
	} {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if text := string(body); err != nil || response.StatusCode < 400 && !strings.Contains(text, `"errors"`) || strings.Contains(text, `"data":{`) || strings.Contains(text, "<html") {
			t.Errorf("%s: status %d, %v, %.300s", name, response.StatusCode, err, text)
		}
	}
}
