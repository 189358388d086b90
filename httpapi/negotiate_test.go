package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheMediaTypeThatTheClientLikesBest(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"":                                  "application/json",
		"*/*":                               "application/json",
		"application/*":                     "application/json",
		"application/json":                  "application/json",
		"application/graphql-response+json": "application/graphql-response+json",
		"Application/GraphQL-Response+JSON; charset=UTF-8":                       "application/graphql-response+json",
		"application/graphql-response+json, application/json;q=0.9":              "application/graphql-response+json",
		"application/json;q=0.9,application/graphql-response+json":               "application/graphql-response+json",
		"application/graphql-response+json;q=0.2, application/json;q=.3":         "application/json",
		"application/json, application/graphql-response+json":                    "application/json",
		"*/*;q=0.1, application/graphql-response+json":                           "application/graphql-response+json",
		"application/json;q=0, */*":                                              "application/graphql-response+json",
		"application/*;q=0, */*":                                                 "text/event-stream",
		"text/html,application/xhtml+xml,*/*;q=0.8":                              "application/json",
		"application/json;q=high":                                                "application/json",
		"text/event-stream":                                                      "text/event-stream",
		"text/event-stream;q=0.5, application/json":                              "application/json",
		"application/json;q=0.5, text/event-stream":                              "text/event-stream",
		"multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json": "multipart/mixed",
		"application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed": "application/graphql-response+json",
		`application/json;profile="a,b\",c", text/event-stream;q=0.5`:                                                       "application/json",
		`text/event-stream;q=0.5;x=",text/html,", application/json;x="`:                                                     "text/event-stream",
		`text/html;x=", application/json`:                                                                                   "application/json",
		`text/event-stream;x="a,b";q=0.5, text/html;x=", application/json;q=0.4`:                                            "text/event-stream",
		`x="y, text/event-stream;q=0.5, application/json;q=0.9`:                                                             "application/json",
		`x="\`:                    "",
		"application/json;;q=0.5": "application/json",
		"application/json ; ;; q=0.5; , text/event-stream":           "text/event-stream",
		`application/json;;x=";;,";q=0.5;, text/event-stream;;q=0.4`: "application/json",
		";;application/json":                     "",
		"text/*":                                 "text/event-stream",
		"text/event-stream;q=abc":                "text/event-stream",
		"multipart/mixed":                        "",
		"text/html":                              "",
		"application/json;q=0":                   "",
		"application/json;charset=utf-16":        "",
		"application/graphql+json":               "",
		", ;, /, application, q=1":               "",
		"*/*;q=0":                                "",
		strings.Repeat("text/html;q=0.1,", 100):  "",
		strings.Repeat("text/html;q=0.1,", 4000): "application/json",
		strings.Repeat("*/*;q=0.1,", 100) + "x/": "application/json",
	} {
		request := httptest.NewRequest(http.MethodPost, "/graphql", nil)
		if accept != "" {
			request.Header.Set("Accept", accept)
		}
		got := ""
		if types := acceptable(request); len(types) > 0 {
			got = types[0].mediaType
		}
		if got != want {
			t.Errorf("%.100q: %q, want %q", accept, got, want)
		}
	}
}

// A client that lists every type it can read (urql does) gets a single answer, and one
// that likes a stream best, of a kind that there is not, what else it takes.
func TestAStreamIsForWhoLikesItBest(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	for accept, want := range map[string]string{
		"application/graphql-response+json, application/json, text/event-stream, multipart/mixed": "application/graphql-response+json; charset=utf-8",
		"text/event-stream":                   "text/event-stream",
		"text/event-stream, application/json": "text/event-stream",
		"application/*;q=0, */*":              "text/event-stream",
		"text/event-stream;q=abc":             "text/event-stream",
		"text/*":                              "text/event-stream",
		"multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json": "application/graphql-response+json; charset=utf-8",
	} {
		response := ask(handler, http.MethodPost, "/graphql", `{"query":"{ viewer { role } }"}`, "Accept", accept)
		if got := response.Header.Get("Content-Type"); got != want || response.StatusCode != 200 {
			t.Errorf("%s: status %d, %s", accept, response.StatusCode, got)
		}
	}
	refused := ask(handler, http.MethodPost, "/graphql", `{"query":"{ viewer { role } }"}`, "Accept", "multipart/mixed")
	if body, _ := read(t, refused); refused.StatusCode != 406 || !strings.Contains(fmt.Sprint(body), "multipart/mixed;subscriptionSpec=1.0") {
		t.Errorf("status %d, %v", refused.StatusCode, body)
	}
}

func TestAParameterMayBeEmpty(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"application/json;", "application/json;;charset=utf-8", "application/json; ;charset=UTF-8;"} {
		r := httptest.NewRequest("POST", "/graphql", nil)
		r.Header.Set("Content-Type", text)
		if bad := checkContent(httptest.NewRecorder(), r); bad != nil {
			t.Errorf("%s: %v", text, bad.err)
		}
	}
	r := httptest.NewRequest("POST", "/graphql", nil)
	r.Header["Content-Type"] = []string{"application/json", "text/plain"}
	if checkContent(httptest.NewRecorder(), r) == nil {
		t.Error("the second of two types is not looked at")
	}
}
