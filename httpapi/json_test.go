package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestJSONThatReadersUnderstandInDifferentWaysIsRefused: of a member given twice some take
// the first and some the last, and half of a surrogate pair becomes one mark whatever it
// is, so two keys would be one.
func TestJSONThatReadersUnderstandInDifferentWaysIsRefused(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	for variables, says := range map[string]string{
		`{"x":"\ud800"}`: `\ud800`, `{"x":"\uDFFF"}`: `\ud800`, `{"x":"a\ud83d\u0041"}`: `\ud800`, `{"x":"\ud83d\ud83d\ude00"}`: `\ud800`, `{"x":"\ud83d\\ude00"}`: `\ud800`,
		`{"\udc00":1}`: `\ud800`, `{"x":[{"y":["\ud83d"]}]}`: `\ud800`,
		`{"x":1,"x":1}`: "twice", `{"x":{"y":1,"\u0079":2}}`: "twice",
		`{"x":"\ud83d\ude00 \\ud800 \ufffd","y":{"x":1}}`: "", `null`: "",
		`[]`: "JSON object", `{"x":01}`: "no JSON", "{\"x\":\"\xed\xa0\x80\"}": "UTF-8",
	} {
		for form, response := range map[string]*http.Response{
			"body": ask(handler, http.MethodPost, "/graphql", `{"query":"{ viewer { role } }","variables":`+variables+`}`),
			"URL":  ask(handler, http.MethodGet, "/graphql?query=%7Bviewer%7Brole%7D%7D&variables="+url.QueryEscape(variables), ""),
		} {
			status := response.StatusCode
			answer, _ := read(t, response)
			told, _ := json.Marshal(answer["errors"])
			if says == "" && (status != 200 || answer["errors"] != nil) || says != "" && (status != 400 || !strings.Contains(strings.ReplaceAll(string(told), `\\`, `\`), says)) {
				t.Errorf("%s in the %s: status %d, %s, want %q", variables, form, status, told, says)
			}
		}
		if says == "" {
			continue
		}
		if _, end := parseMessage([]byte(`{"id":"1","type":"subscribe","payload":{"query":"x","variables":` + variables + `}}`)); end == nil {
			t.Errorf("%s is taken in a message of a WebSocket", variables)
		}
	}
	for _, member := range members {
		body := `{"query":"{ viewer { role } }","` + member + `":null,"` + member + `":null}`
		if status := ask(handler, http.MethodPost, "/graphql", body).StatusCode; status != 400 {
			t.Errorf("%s twice: status %d", member, status)
		}
	}
	for _, id := range []string{`a\ud800`, `a\udfff`} { // both would be one
		if _, end := parseMessage([]byte(`{"id":"` + id + `","type":"complete"}`)); end == nil {
			t.Errorf("the id %s is taken in a message of a WebSocket", id)
		}
	}
}
