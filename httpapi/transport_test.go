package httpapi

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/klauspost/compress/zstd"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// endpoint is /graphql as an admin reaches it. It has no cache: it answers what needs
// none.
func endpoint(t *testing.T, o Options) http.Handler {
	t.Helper()
	if o.Log == nil {
		quiet, _ := logged()
		o.Log = quiet.Log
	}
	o.Resolver = &resolvers.Resolver{}
	handler := known(withLanguage(negotiated(checkedRequest(newGraphQL(serverOf(o))))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		viewer := auth.Viewer{Role: auth.RoleAdmin}
		guarded(handler).ServeHTTP(w, r.WithContext(auth.WithViewer(r.Context(), viewer)))
	})
}

// patientRecorder is a recorder that never runs out of time.
type patientRecorder struct{ *httptest.ResponseRecorder }

func (patientRecorder) SetWriteDeadline(time.Time) error { return nil }

// ask sends a request; headers are names and values in turn.
func ask(handler http.Handler, method, target, body string, headers ...string) *http.Response {
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := patientRecorder{httptest.NewRecorder()}
	handler.ServeHTTP(recorder, request)
	return recorder.Result()
}

// read is an answer's body, and the code of its first error.
func read(t *testing.T, response *http.Response) (body map[string]any, code string) {
	t.Helper()
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatalf("the body is no JSON: %v", err)
	}
	errs, _ := body["errors"].([]any)
	if len(errs) > 0 {
		code, _ = errs[0].(map[string]any)["extensions"].(map[string]any)["code"].(string)
	}
	return body, code
}

const (
	asJSON    = "application/json"
	asGraphQL = "application/graphql-response+json"
)

func TestTheStatusOfAnAnswerFollowsItsMediaType(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	for name, c := range map[string]struct {
		body      string
		graphQL   int // status as application/graphql-response+json
		code      string
		noRequest bool // not well-formed: 400 in both
	}{
		"executed":                     {`{"query":"{ viewer { role } }"}`, 200, "", false},
		"null parameters":              {`{"query":"{ __typename }","variables":null,"operationName":null,"extensions":null}`, 200, "", false},
		"members nobody knows":         {`{"query":"{ __typename }","id":7,"extensions":{"some":"value"}}`, 200, "", false},
		"a document cut off":           {`{"query":"{"}`, 400, "GRAPHQL_PARSE_FAILED", false},
		"a document of blanks":         {`{"query":" \n "}`, 400, "GRAPHQL_VALIDATION_FAILED", false},
		"an unknown field":             {`{"query":"{ viewer { shoeSize } }"}`, 400, "GRAPHQL_VALIDATION_FAILED", false},
		"a variable of a wrong type":   {`{"query":"query($n: Int) { patients(first: $n) { totalCount } }","variables":{"n":"many"}}`, 400, "GRAPHQL_VALIDATION_FAILED", false},
		"a variable that is missing":   {`{"query":"query($id: ID!) { patient(id: $id) { id } }"}`, 400, "GRAPHQL_VALIDATION_FAILED", false},
		"an unknown operation":         {`{"query":"query A { __typename }","operationName":"B"}`, 400, "GRAPHQL_VALIDATION_FAILED", false},
		"one of two operations":        {`{"query":"query A { __typename } query B { __typename }"}`, 400, "GRAPHQL_VALIDATION_FAILED", false},
		"over a limit":                 {`{"query":"{ ` + strings.Repeat("__typename ", 6000) + `}"}`, 400, "LIMIT_EXCEEDED", false},
		"a subscription":               {`{"query":"subscription { patientChanged(id: \"x\") { id } }"}`, 400, "BAD_USER_INPUT", false},
		"introspection that is off":    {`{"query":"{ __schema { types { name } } }"}`, 200, "BAD_USER_INPUT", false},
		"a type without introspection": {`{"query":"{ __type(name: \"Patient\") { name } }"}`, 200, "", false},
		"no query":                     {`{"qeury":"{ __typename }"}`, 400, "BAD_USER_INPUT", true},
		"an empty query":               {`{"query":""}`, 400, "BAD_USER_INPUT", true},
		"null":                         {`null`, 400, "BAD_USER_INPUT", true},
		"an array":                     {`[{"query":"{ __typename }"}]`, 400, "BAD_USER_INPUT", true},
		"no JSON":                      {`{ "not a JSON`, 400, "BAD_USER_INPUT", true},
		"two values":                   {`{"query":"{ __typename }"}{}`, 400, "BAD_USER_INPUT", true},
		"a query that is a number":     {`{"query":0}`, 400, "BAD_USER_INPUT", true},
		"a query that is an object":    {`{"query":{"obj":"ect"}}`, 400, "BAD_USER_INPUT", true},
		"a name that is false":         {`{"query":"{ __typename }","operationName":false}`, 400, "BAD_USER_INPUT", true},
		"variables in a list":          {`{"query":"{ __typename }","variables":[7]}`, 400, "BAD_USER_INPUT", true},
		"variables that are a text":    {`{"query":"{ __typename }","variables":"{}"}`, 400, "BAD_USER_INPUT", true},
		"extensions that are 0":        {`{"query":"{ __typename }","extensions":0}`, 400, "BAD_USER_INPUT", true},
		"a byte that is no UTF-8":      {"{\"query\":\"{ __typename }\",\"variables\":{\"name\":\"Bj\xf6rn\"}}", 400, "BAD_USER_INPUT", true},
	} {
		for mediaType, want := range map[string]int{asGraphQL: c.graphQL, asJSON: 200} {
			if c.noRequest {
				want = 400
			}
			response := ask(handler, http.MethodPost, "/graphql", c.body, "Accept", mediaType)
			body, code := read(t, response)
			if response.StatusCode != want || code != c.code {
				t.Errorf("%s as %s: status %d, want %d; %v", name, mediaType, response.StatusCode, want, body)
			}
			if got := response.Header.Get("Content-Type"); got != mediaType+"; charset=utf-8" {
				t.Errorf("%s as %s: Content-Type %s", name, mediaType, got)
			}
			if _, has := body["data"]; has != (c.graphQL == 200) {
				t.Errorf("%s as %s: data: %v in %v", name, mediaType, has, body)
			}
			if response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: Cache-Control %q", name, response.Header.Get("Cache-Control"))
			}
		}
	}
}

func TestWhatIsNoRequestIsRefusedByItsStatus(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	const body = `{"query":"{ __typename }"}`
	for name, c := range map[string]struct {
		method, target, body string
		headers              []string
		status               int
		header, value        string // that the answer has; "": none is asked for
	}{
		"HEAD":                {"HEAD", "/graphql?query=%7B__typename%7D", "", nil, 405, "Allow", "GET, POST"},
		"OPTIONS":             {"OPTIONS", "/graphql", "", nil, 405, "Allow", "GET, POST"},
		"PUT":                 {"PUT", "/graphql", body, nil, 405, "Allow", "GET, POST"},
		"DELETE":              {"DELETE", "/graphql", "", nil, 405, "Allow", "GET, POST"},
		"a mutation by GET":   {"GET", "/graphql?query=" + url.QueryEscape("mutation { __typename }"), "", nil, 405, "Allow", "POST"},
		"and for a stream":    {"GET", "/graphql?query=" + url.QueryEscape("mutation { __typename }"), "", []string{"Accept", sse.mediaType}, 405, "Allow", "POST"},
		"one of several":      {"GET", "/graphql?operationName=B&query=" + url.QueryEscape("query A { __typename } mutation B { __typename }"), "", nil, 405, "Allow", "POST"},
		"plain text":          {"POST", "/graphql", body, []string{"Content-Type", "text/plain"}, 415, "Accept-Post", "application/json"},
		"a form":              {"POST", "/graphql", "query=%7B__typename%7D", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "Accept-Post", "application/json"},
		"a form of parts":     {"POST", "/graphql", "--x--", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "Accept-Post", "application/json"},
		"application/graphql": {"POST", "/graphql", "{ __typename }", []string{"Content-Type", "application/graphql"}, 415, "Accept-Post", "application/json"},
		"no Content-Type":     {"POST", "/graphql", body, []string{"Content-Type", ""}, 415, "Accept-Post", "application/json"},
		"two types":           {"POST", "/graphql", body, []string{"Content-Type", "application/json, text/plain"}, 415, "Accept-Post", "application/json"},
		"Latin-1":             {"POST", "/graphql", body, []string{"Content-Type", "application/json; charset=iso-8859-1"}, 415, "", ""},
		"compressed":          {"POST", "/graphql", body, []string{"Content-Encoding", "gzip"}, 415, "Accept-Encoding", "identity"},
		"HTML":                {"POST", "/graphql", body, []string{"Accept", "text/html"}, 406, "", ""},
		"the type is refused": {"POST", "/graphql", body, []string{"Accept", "application/json;q=0"}, 406, "", ""},
		"UTF-16":              {"POST", "/graphql", body, []string{"Accept", "application/json; charset=utf-16"}, 406, "", ""},
		"too large":           {"POST", "/graphql", `{"query":"{ __typename }","variables":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`, nil, 413, "", ""},
		"no parameters":       {"GET", "/graphql", "", nil, 400, "", ""},
		"a broken escape":     {"GET", "/graphql?query=%zz", "", nil, 400, "", ""},
		"a query twice":       {"GET", "/graphql?query=%7B__typename%7D&query=%7B__typename%7D", "", nil, 400, "", ""},
		"no UTF-8":            {"GET", "/graphql?query=%ff", "", nil, 400, "", ""},
		"variables no JSON":   {"GET", "/graphql?query=%7B__typename%7D&variables=x", "", nil, 400, "", ""},
		"variables a list":    {"GET", "/graphql?query=%7B__typename%7D&variables=[]", "", nil, 400, "", ""},
		"extensions a text":   {"GET", `/graphql?query=%7B__typename%7D&extensions="x"`, "", nil, 400, "", ""},
	} {
		response := ask(handler, c.method, c.target, c.body, c.headers...)
		body, code := read(t, response)
		if response.StatusCode != c.status || code == "" {
			t.Errorf("%s: status %d, want %d; %v", name, response.StatusCode, c.status, body)
		}
		if c.header != "" && response.Header.Get(c.header) != c.value {
			t.Errorf("%s: %s is %q", name, c.header, response.Header.Get(c.header))
		}
		if _, has := body["data"]; has {
			t.Errorf("%s: it has data: %v", name, body)
		}
	}
	if refusal, _ := read(t, ask(handler, http.MethodPut, "/graphql", "")); !strings.Contains(fmt.Sprint(refusal), "distinct connections mode") {
		t.Errorf("single connection mode of graphql-sse: %v", refusal)
	}
	response := ask(handler, http.MethodPost, "/graphql", body, "Content-Type", "application/json;charset=UTF-8", "Content-Encoding", "identity")
	if response.StatusCode != 200 {
		t.Errorf("UTF-8 that is said: status %d", response.StatusCode)
	}
}

func TestOneOfSeveralOperationsIsAskedFor(t *testing.T) {
	t.Parallel()
	body, _ := read(t, ask(endpoint(t, Options{}), http.MethodPost, "/graphql", `{"query":"query A { __typename } query B { __typename }"}`))
	if !strings.Contains(fmt.Sprint(body), "name the one to carry out as operationName") {
		t.Errorf("%v", body)
	}
}

func TestARefusalRepeatsNothingOfABody(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	const marked = "010-8877-6655"
	for _, body := range []string{
		`{"query":"{ __typename }","variables":{"phone":"` + marked + `"`, `{"query":"` + marked, `[{"phone":"` + marked + `"}]`,
		`{"query":"{ __typename }","variables":"` + marked + `"}`, `{"` + marked + `":1}`, marked,
	} {
		for _, accept := range []string{asJSON, asGraphQL, "text/event-stream", "text/html"} {
			response := ask(handler, http.MethodPost, "/graphql", body, "Accept", accept)
			text, _ := io.ReadAll(response.Body)
			if response.StatusCode < 400 || strings.Contains(string(text), marked) {
				t.Errorf("%s as %s: status %d, %s", body, accept, response.StatusCode, text)
			}
		}
	}
}

func TestAGETTakesItsParametersFromTheURL(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{Introspection: true})
	query := url.Values{
		"query":     {"query One($name: String!) { __type(name: $name) { name } } query Two { __typename }"},
		"variables": {`{"name":"Patient"}`}, "operationName": {"One"}, "extensions": {""}, "unknown": {"x"},
	}
	response := ask(handler, http.MethodGet, "/graphql?"+query.Encode(), "")
	body, _ := read(t, response)
	if got, _ := json.Marshal(body); response.StatusCode != 200 || string(got) != `{"data":{"__type":{"name":"Patient"}}}` {
		t.Errorf("status %d, %s", response.StatusCode, got)
	}
}

func TestLongAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{Introspection: true})
	for _, c := range []struct {
		query, accept, want string
	}{
		{"{ __schema { types { name description } } }", "gzip", "gzip"},
		{"{ __schema { types { name description } } }", "gzip, deflate, br, zstd", "zstd"},
		{"{ __schema { types { name description } } }", "zstd;q=0.5, gzip", "gzip"},
		{"{ __schema { types { name description } } }", "br", ""},
		{"{ __schema { types { name description } } }", "identity", ""},
		{"{ __typename }", "gzip, zstd", ""},
	} {
		response := ask(handler, http.MethodPost, "/graphql", `{"query":"`+c.query+`"}`, "Accept-Encoding", c.accept)
		if got := response.Header.Get("Content-Encoding"); got != c.want || !strings.Contains(strings.Join(response.Header.Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("%s, %s: Content-Encoding %q, Vary %q", c.query, c.accept, got, response.Header.Values("Vary"))
			continue
		}
		var plain io.Reader = response.Body
		var err error
		switch c.want {
		case "gzip":
			plain, err = gzip.NewReader(response.Body)
		case "zstd":
			plain, err = zstd.NewReader(response.Body)
		}
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Data map[string]any }
		if err := json.NewDecoder(plain).Decode(&body); err != nil || len(body.Data) != 1 {
			t.Errorf("%s, %s: %v, %v", c.query, c.accept, body, err)
		}
	}
}

func TestAnExecutedOperationThatFailsHasData(t *testing.T) {
	t.Parallel()
	response := withoutData(limitExceeded("too long"))
	body, err := answer{Response: response}.body()
	if err != nil || !strings.Contains(string(body), `"data":null`) {
		t.Errorf("%s, %v", body, err)
	}
	if status := (answer{Response: response}).statusAs(graphQLType); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestWhatWasNotExecutedSaysWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int{
		"BAD_USER_INPUT": 400, "GRAPHQL_VALIDATION_FAILED": 400, "LIMIT_EXCEEDED": 400, "UNAVAILABLE": 503, "INTERNAL": 500,
		"PERSISTED_QUERY_NOT_FOUND": 200, "PERSISTED_QUERY_NOT_SUPPORTED": 200,
	} {
		a := answer{Response: &graphql.Response{Errors: gqlerror.List{{Message: "x", Extensions: map[string]any{"code": code}}}}}
		if as, plain := a.statusAs(graphQLType), a.statusAs(jsonType); as != want || plain != 200 {
			t.Errorf("%s: %d as GraphQL, want %d; %d as JSON", code, as, want, plain)
		}
	}
}
