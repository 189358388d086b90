package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func newHandler(t testing.TB, p Page) http.Handler {
	t.Helper()
	h, err := Handler(p)
	if err != nil {
		t.Fatalf("Handler: %v", err)
	}
	return h
}

func request(t testing.TB, h http.Handler, method, target string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHandlerAnswers(t *testing.T) {
	t.Parallel()
	h := newHandler(t, Page{})
	tests := []struct {
		method, path string
		status       int
		contentType  string
		cache        string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "no-store"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", "/static/graphiql.min.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"GET", "/static/react.production.min.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"GET", "/static/react-dom.production.min.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"GET", "/static/page.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"GET", "/static/page.css", 200, "text/css; charset=utf-8", "no-cache"},
		{"GET", "/static/graphiql.min.css", 200, "text/css; charset=utf-8", "no-cache"},
		{"GET", "/static/graphiql.LICENSE.txt", 200, "text/plain; charset=utf-8", "no-cache"},
		{"HEAD", "/static/page.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"DELETE", "/static/page.js", 405, "text/plain; charset=utf-8", ""},
		{"GET", "/static", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/static/", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/static/index.html", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/static/../web.go", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/favicon.ico", 404, "text/plain; charset=utf-8", ""},
		{"POST", "/graphql", 404, "text/plain; charset=utf-8", ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			t.Parallel()
			r := request(t, h, tt.method, tt.path)
			content := body(t, r)
			if r.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", r.StatusCode, tt.status)
			}
			if got := r.Header.Get("Content-Type"); got != tt.contentType {
				t.Errorf("Content-Type = %q, want %q", got, tt.contentType)
			}
			if got := r.Header.Get("Cache-Control"); got != tt.cache {
				t.Errorf("Cache-Control = %q, want %q", got, tt.cache)
			}
			if empty := content == ""; empty != (tt.method == "HEAD") {
				t.Errorf("body has %d bytes", len(content))
			}
			if allow := r.Header.Get("Allow"); (allow == "GET, HEAD") != (tt.status == 405) {
				t.Errorf("Allow = %q", allow)
			}
			for name, want := range securityHeaders {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestPolicyAllowsThisServerAlone(t *testing.T) {
	t.Parallel()
	policy := request(t, newHandler(t, Page{}), "GET", "/").Header.Get("Content-Security-Policy")
	directives := map[string]string{}
	for d := range strings.SplitSeq(policy, ";") {
		name, sources, _ := strings.Cut(strings.TrimSpace(d), " ")
		directives[name] = sources
	}
	for name, want := range map[string]string{
		"default-src": "'none'", "script-src": "'self'", "connect-src": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'",
	} {
		if directives[name] != want {
			t.Errorf("%s %s, want %s", name, directives[name], want)
		}
	}
	if strings.Contains(policy, "http") || strings.Contains(policy, "unsafe-eval") || strings.Contains(policy, "*") {
		t.Errorf("the policy is too wide: %s", policy)
	}
}

func TestStaticFilesAreRevalidated(t *testing.T) {
	t.Parallel()
	h := newHandler(t, Page{})
	etag := request(t, h, "GET", "/static/page.js").Header.Get("ETag")
	if etag == "" || etag == request(t, h, "GET", "/static/page.css").Header.Get("ETag") {
		t.Fatalf("ETag = %q, want one of the file's own", etag)
	}
	if r := request(t, h, "GET", "/static/page.js", "If-None-Match", etag); r.StatusCode != http.StatusNotModified {
		t.Errorf("status with the same ETag = %d, want 304", r.StatusCode)
	}
	if r := request(t, h, "GET", "/static/page.js", "If-None-Match", `"old"`); r.StatusCode != http.StatusOK {
		t.Errorf("status with another ETag = %d, want 200", r.StatusCode)
	}
}

// TestPageLoadsNothingFromElsewhere looks at every file that is ours, and at
// what the page and the stylesheet load. A browser confirms it in
// TestInBrowser.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	h := newHandler(t, Page{})
	absolute := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	for _, path := range []string{"/", "/static/page.js", "/static/page.css"} {
		if found := absolute.FindString(body(t, request(t, h, "GET", path))); found != "" {
			t.Errorf("%s refers to %s", path, found)
		}
	}
	page := body(t, request(t, h, "GET", "/"))
	loads := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(loads) < 6 {
		t.Fatalf("the page loads only %v", loads)
	}
	for _, load := range loads {
		target := load[1]
		if target == "data:," || target == "/schema.graphql" {
			continue
		}
		if r := request(t, h, "GET", target); r.StatusCode != http.StatusOK {
			t.Errorf("the page loads %s, which answers %d", target, r.StatusCode)
		}
	}
	if regexp.MustCompile(`<script>|<style|\son[a-z]+=`).MatchString(page) {
		t.Error("the page has inline script or style, which the policy blocks")
	}
	css := body(t, request(t, h, "GET", "/static/graphiql.min.css"))
	for _, load := range regexp.MustCompile(`@import[^;]*|url\(["']?[^d"'][^)]{0,40}`).FindAllString(css, -1) {
		if !strings.HasPrefix(strings.Trim(strings.TrimPrefix(load, "url("), `"'`), "#") {
			t.Errorf("graphiql.min.css loads %s", load)
		}
	}
}

// pageConfig reads what the page hands to page.js.
func pageConfig(t *testing.T, p Page) config {
	t.Helper()
	page := body(t, request(t, newHandler(t, p), "GET", "/"))
	_, rest, ok := strings.Cut(page, `id="config">`)
	raw, _, ok2 := strings.Cut(rest, "</script>")
	if !ok || !ok2 {
		t.Fatalf("no config in %s", page)
	}
	var c config
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		t.Fatalf("config %s: %v", raw, err)
	}
	return c
}

func TestPageConfig(t *testing.T) {
	t.Parallel()
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		c := pageConfig(t, Page{})
		if c.Endpoint != "/graphql" || c.Headers["Authorization"] != "Bearer " || len(c.Tabs) != 1 || c.Tabs[0].Query != "" {
			t.Errorf("config = %+v", c)
		}
	})
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		const hostile = "query Q { a(x: \"</script><script>alert(1)</script>\") } # 홍길동 <!--"
		c := pageConfig(t, Page{
			Endpoint: "/api/graphql", Token: "abc.def", Headers: map[string]string{"Accept-Language": "ko"},
			Query: hostile, Variables: `{"a": 1}`,
			Examples: []Example{{Title: "Wrong phone", Note: "FHIR refuses it.\nThe cache stays.", Query: "\nmutation M { b }\n", Variables: `{"b": 2}`}, {Query: "query N { c }"}},
		})
		want := config{
			Endpoint: "/api/graphql",
			Headers:  map[string]string{"Authorization": "Bearer abc.def", "Accept-Language": "ko"},
			Tabs: []tab{
				{hostile, `{"a": 1}`},
				{"# Wrong phone\n# FHIR refuses it.\n# The cache stays.\nmutation M { b }\n", `{"b": 2}`},
				{"query N { c }\n", ""},
			},
		}
		got, _ := json.Marshal(c)
		expected, _ := json.Marshal(want)
		if string(got) != string(expected) {
			t.Errorf("config = %s\nwant     %s", got, expected)
		}
	})
}

func TestEndpointElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"https://example.org/graphql", "//example.org/graphql", "graphql"} {
		if _, err := Handler(Page{Endpoint: endpoint}); err == nil {
			t.Errorf("Handler accepted the endpoint %q", endpoint)
		}
	}
}
