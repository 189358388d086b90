package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// named is a request that names its document by a hash, with the query if there is one.
func named(t *testing.T, hash, query string) string {
	t.Helper()
	request := map[string]any{"extensions": map[string]any{persistedQuery: map[string]any{"version": 1, "sha256Hash": hash}}}
	if query != "" {
		request["query"] = query
	}
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// asURL is the same as parameters of a GET.
func asURL(t *testing.T, body string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatal(err)
	}
	values := url.Values{}
	for name, value := range members {
		if text, isText := value.(string); isText {
			values.Set(name, text)
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		values.Set(name, string(text))
	}
	return "/graphql?" + values.Encode()
}

func TestAHashIsAnsweredOnceItsQueryCame(t *testing.T) {
	t.Parallel()
	const query = "query Me { viewer { role } }"
	hash := sha256Of(query)
	for _, mediaType := range []string{asJSON, asGraphQL} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			handler := endpoint(t, Options{})
			send := func(body string) (map[string]any, string, int) {
				target := "/graphql"
				if method == http.MethodGet {
					target, body = asURL(t, body), ""
				}
				response := ask(handler, method, target, body, "Accept", mediaType)
				answer, code := read(t, response)
				return answer, code, response.StatusCode
			}
			for step, c := range []struct{ body, code, message string }{
				{named(t, hash, ""), "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"},
				{named(t, hash, query), "", ""},
				{named(t, hash, ""), "", ""},
				{named(t, sha256Of("{ __typename }"), ""), "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"},
			} {
				answer, code, status := send(c.body)
				if status != 200 || code != c.code || c.code == "" && fmt.Sprint(answer["data"]) != "map[viewer:map[role:admin]]" {
					t.Errorf("%s as %s, step %d: status %d, %v", method, mediaType, step, status, answer)
				}
				if c.message != "" && !strings.Contains(fmt.Sprint(answer["errors"]), "message:"+c.message) {
					t.Errorf("%s as %s, step %d: %v", method, mediaType, step, answer)
				}
			}
		}
	}
}

// What a client of Apollo sends first, whole.
func TestAClientThatSendsItsHashFirst(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/hash-only.json")
	if err != nil {
		t.Fatal(err)
	}
	answer, code := read(t, ask(endpoint(t, Options{}), http.MethodPost, "/graphql", string(body)))
	if code != "PERSISTED_QUERY_NOT_FOUND" {
		t.Error(answer)
	}
}

func TestADocumentIsKeptOnlyIfItIsGood(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"it does not parse": "{ viewer { role }", "it is not valid": "{ viewer { shoeSize } }", "no operation": "fragment F on Viewer { role }",
		"over a limit": "{ " + strings.Repeat("__typename ", 6000) + "}", "too costly": "{ " + repeatedCounts(50) + "}",
	} {
		handler := endpoint(t, Options{})
		hash := sha256Of(query)
		if answer, code := read(t, ask(handler, http.MethodPost, "/graphql", named(t, hash, query))); code == "" {
			t.Errorf("%s: it is answered: %v", name, answer)
		}
		if answer, code := read(t, ask(handler, http.MethodPost, "/graphql", named(t, hash, ""))); code != "PERSISTED_QUERY_NOT_FOUND" {
			t.Errorf("%s: it was kept: %v", name, answer)
		}
	}
}

func repeatedCounts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "c%d: patients { totalCount } ", i)
	}
	return b.String()
}

func TestAHashThatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	const query = "{ viewer { role } }"
	hash := sha256Of(query)
	for name, body := range map[string]string{
		"of another query":       named(t, sha256Of("{ __typename }"), query),
		"in upper case":          named(t, strings.ToUpper(hash), query),
		"none":                   `{"extensions":{"persistedQuery":{"version":1}}}`,
		"a number":               `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":7}}}`,
		"a text":                 `{"extensions":{"persistedQuery":"` + hash + `"}}`,
		"of another version":     `{"query":"` + query + `","extensions":{"persistedQuery":{"version":2,"sha256Hash":"` + hash + `"}}}`,
		"of a version not named": `{"extensions":{"persistedQuery":{"sha256Hash":"` + hash + `"}}}`,
	} {
		response := ask(handler, http.MethodPost, "/graphql", body, "Accept", asGraphQL)
		if answer, code := read(t, response); code != "BAD_USER_INPUT" || response.StatusCode != 400 {
			t.Errorf("%s: status %d, %v", name, response.StatusCode, answer)
		}
	}
	if answer, code := read(t, ask(handler, http.MethodPost, "/graphql", named(t, hash, ""))); code != "PERSISTED_QUERY_NOT_FOUND" {
		t.Errorf("one of them was kept: %v", answer)
	}
	if answer, code := read(t, ask(handler, http.MethodPost, "/graphql", `{"query":"`+query+`","extensions":{"persistedQuery":null}}`)); code != "" {
		t.Errorf("null: %v", answer)
	}
}

func TestADocumentIsNamedInEveryWay(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	const query = "query Me($with: Boolean!) { viewer { role @include(if: $with) } }"
	hash := sha256Of(query)
	register := `{"query":"` + query + `","variables":{"with":true},"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}}`
	if answer, code := read(t, ask(handler, http.MethodPost, "/graphql", register)); code != "" {
		t.Fatal(answer)
	}
	for name, body := range map[string]string{
		"documentId":               `{"documentId":"` + hash + `","variables":{"with":true}}`,
		"documentId with a prefix": `{"documentId":"sha256:` + hash + `","variables":{"with":true}}`,
		"doc_id":                   `{"doc_id":"` + hash + `","query":null,"variables":{"with":true}}`,
	} {
		for _, accept := range []string{asJSON, "text/event-stream"} {
			response := ask(handler, http.MethodPost, "/graphql", body, "Accept", accept)
			if text, _ := io.ReadAll(response.Body); !strings.Contains(string(text), `{"data":{"viewer":{"role":"admin"}}}`) {
				t.Errorf("%s as %s: %s", name, accept, text)
			}
		}
	}
	response := ask(handler, http.MethodGet, "/graphql?documentId=sha256:"+hash+`&variables={"with":true}`, "")
	if answer, code := read(t, response); code != "" {
		t.Errorf("by GET: %v", answer)
	}
}

func TestAGETOfAPersistedQueryCanBeKeptByWhoAsked(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{Introspection: true})
	const query = "{ viewer { role } }"
	hash := sha256Of(query)
	target := asURL(t, named(t, hash, ""))
	if _, code := read(t, ask(handler, http.MethodGet, target, "")); code != "PERSISTED_QUERY_NOT_FOUND" {
		t.Fatal(code)
	}
	registered := ask(handler, http.MethodGet, asURL(t, named(t, hash, query)), "")
	if registered.Header.Get("ETag") != "" || registered.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("with its query: %v", registered.Header)
	}
	one := ask(handler, http.MethodGet, target, "", "Authorization", "Bearer one")
	tag := one.Header.Get("ETag")
	vary := strings.Join(one.Header.Values("Vary"), ", ")
	if one.StatusCode != 200 || !strings.HasPrefix(tag, `W/"`) || one.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("status %d, %v", one.StatusCode, one.Header)
	}
	for _, name := range []string{"Authorization", "Accept", "Accept-Language", "Accept-Encoding"} {
		if !strings.Contains(vary+",", name+",") {
			t.Errorf("Vary is %s, without %s", vary, name)
		}
	}
	for given, want := range map[string]int{tag: 304, strings.TrimPrefix(tag, "W/"): 304, `"x", ` + tag: 304, "*": 304, `W/"x"`: 200, "": 200} {
		again := ask(handler, http.MethodGet, target, "", "Authorization", "Bearer one", "If-None-Match", given)
		body, _ := io.ReadAll(again.Body)
		if again.StatusCode != want || (want == 304) != (len(body) == 0) || again.Header.Get("ETag") != tag || again.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("If-None-Match %s: status %d, %q, %v", given, again.StatusCode, body, again.Header)
		}
	}
	if other := ask(handler, http.MethodGet, target, "", "Authorization", "Bearer two", "If-None-Match", tag); other.StatusCode != 200 {
		t.Errorf("another token: status %d", other.StatusCode)
	}
	if other := ask(handler, http.MethodGet, target, "", "Authorization", "Bearer one", "If-None-Match", tag, "Accept", asGraphQL); other.StatusCode != 200 {
		t.Errorf("another media type: status %d", other.StatusCode)
	}
	const refused = "{ __schema { queryType { name } } }"
	without := endpoint(t, Options{})
	ask(without, http.MethodPost, "/graphql", named(t, sha256Of(refused), refused))
	for name, response := range map[string]*http.Response{
		"a POST":             ask(handler, http.MethodPost, "/graphql", named(t, hash, ""), "If-None-Match", "*"),
		"a GET of a text":    ask(handler, http.MethodGet, "/graphql?query="+url.QueryEscape(query), "", "If-None-Match", "*"),
		"a field that fails": ask(without, http.MethodGet, asURL(t, named(t, sha256Of(refused), "")), "", "If-None-Match", "*"),
		"an error":           ask(handler, http.MethodGet, target+"&operationName=Other", "", "If-None-Match", "*"),
	} {
		if response.StatusCode != 200 || response.Header.Get("ETag") != "" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d, %v", name, response.StatusCode, response.Header)
		}
	}
}

func TestAPersistedMutationIsRefusedByGET(t *testing.T) {
	t.Parallel()
	const mutation = "mutation { __typename }"
	handler := endpoint(t, Options{})
	hash := sha256Of(mutation)
	if answer, code := read(t, ask(handler, http.MethodPost, "/graphql", named(t, hash, mutation))); code != "" {
		t.Fatal(answer)
	}
	response := ask(handler, http.MethodGet, asURL(t, named(t, hash, "")), "")
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "POST" {
		t.Errorf("status %d, Allow %q", response.StatusCode, response.Header.Get("Allow"))
	}
}

func TestTheDocumentsOfClientsTakeSoMuchMemoryAndNoMore(t *testing.T) {
	t.Parallel()
	cache := newDocumentCache(10 * (1000 + documentOverhead))
	document := func(n int) string { return fmt.Sprintf("%-1000d", n) }
	for n := range 100 {
		cache.add(sha256Of(document(n)), document(n))
		cache.get(sha256Of(document(0))) // used all the time
	}
	kept := 0
	for n := range 100 {
		if text, found := cache.get(sha256Of(document(n))); found {
			kept++
			if text != document(n) {
				t.Errorf("%d became another", n)
			}
		}
	}
	if _, found := cache.get(sha256Of(document(0))); kept != 10 || !found || cache.bytes > cache.max {
		t.Errorf("%d are kept, %d bytes; the one in use: %v", kept, cache.bytes, found)
	}
	cache.add("an id of a list", document(0))
	if _, found := cache.get("an id of a list"); found {
		t.Error("a text is kept under what is not its hash")
	}
	cache.add(sha256Of(strings.Repeat("x", cache.max)), strings.Repeat("x", cache.max))
	if cache.bytes > cache.max {
		t.Errorf("%d bytes are kept", cache.bytes)
	}
}
