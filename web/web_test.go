package web

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"reflect"
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

// built is the path of the one file that vite has named so, with its hash.
func built(t testing.TB, name string) string {
	t.Helper()
	found, err := fs.Glob(static, "static/"+name)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", name, found, err)
	}
	return "/" + found[0]
}

// forever is of files whose names change with what they hold.
const forever = "public, max-age=31536000, immutable"

// answer is what a request is answered.
type answer struct {
	method, path string
	status       int
	contentType  string
	cache        string
}

// wantAnswers asks for each, with the policy.
func wantAnswers(t *testing.T, h http.Handler, policy string, answers []answer) {
	t.Helper()
	for _, want := range answers {
		t.Run(want.method+want.path, func(t *testing.T) {
			t.Parallel()
			r := request(t, h, want.method, want.path)
			content := body(t, r)
			got := answer{want.method, want.path, r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Cache-Control")}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if empty := content == ""; empty != (want.method == "HEAD" || want.status == 308) {
				t.Errorf("body has %d bytes", len(content))
			}
			if allow := r.Header.Get("Allow"); (allow == "GET, HEAD") != (want.status == 405) {
				t.Errorf("Allow = %q", allow)
			}
			if got := r.Header.Get("Content-Security-Policy"); got != policy {
				t.Errorf("policy = %q", got)
			}
		})
	}
}

func TestHandlerAnswers(t *testing.T) {
	t.Parallel()
	script := built(t, "index-*.js")
	wantAnswers(t, newHandler(t, Page{}), policy, []answer{
		{"GET", "/", 200, "text/html; charset=utf-8", "no-store"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", script, 200, "text/javascript; charset=utf-8", forever},
		{"HEAD", script, 200, "text/javascript; charset=utf-8", forever},
		{"GET", built(t, "graphql.worker-*.js"), 200, "text/javascript; charset=utf-8", forever},
		{"GET", built(t, "index-*.css"), 200, "text/css; charset=utf-8", forever},
		{"GET", built(t, "codicon-*.ttf"), 200, "font/ttf", forever},
		{"GET", "/static/licenses.txt", 200, "text/plain; charset=utf-8", "no-cache"},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"DELETE", script, 405, "text/plain; charset=utf-8", ""},
		{"GET", "/static", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/static/", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/static/index.html", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/static/../web.go", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/favicon.ico", 404, "text/plain; charset=utf-8", ""},
		{"POST", "/graphql", 404, "text/plain; charset=utf-8", ""},
	})
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
		"default-src": "'none'", "script-src": "'self'", "worker-src": "'self'", "connect-src": "'self'", "font-src": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'",
	} {
		if directives[name] != want {
			t.Errorf("%s %s, want %s", name, directives[name], want)
		}
	}
	if strings.Contains(policy, "http") || strings.Contains(policy, "unsafe-eval") || strings.Contains(policy, "*") {
		t.Errorf("the policy is too wide: %s", policy)
	}
}

func TestScriptsAreSentCompressed(t *testing.T) {
	t.Parallel()
	script := built(t, "monaco-editor-*.js")
	r := request(t, newHandler(t, Page{}), "GET", script, "Accept-Encoding", "gzip")
	sent := body(t, r)
	if whole, err := static.ReadFile(script[1:]); err != nil || r.Header.Get("Content-Encoding") != "gzip" || len(sent) > len(whole)/3 {
		t.Errorf("%q, %d bytes of %d (%v)", r.Header.Get("Content-Encoding"), len(sent), len(whole), err)
	}
}

// TestPageLoadsNothingFromElsewhere looks at what the page and its stylesheets load. A
// browser confirms it in e2e's TestGraphiQL.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	h := newHandler(t, Page{BasePath: "/apps/records"})
	page := body(t, request(t, h, "GET", "/"))
	loads := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(loads) < 4 {
		t.Fatalf("the page loads only %v", loads)
	}
	for _, load := range loads {
		target := load[1]
		if target == "data:," || target == "/apps/records/schema.graphql" {
			continue
		}
		inside, ours := strings.CutPrefix(target, "/apps/records/")
		if r := request(t, h, "GET", "/"+inside); !ours || r.StatusCode != http.StatusOK {
			t.Errorf("the page loads %s, which answers %d", target, r.StatusCode)
		}
	}
	if regexp.MustCompile(`<script>|<style|\son[a-z]+=`).MatchString(page) {
		t.Error("the page has inline script or style, which the policy blocks")
	}
	sheets, err := fs.Glob(static, "static/*.css")
	if err != nil || len(sheets) == 0 {
		t.Fatal(sheets, err)
	}
	for _, sheet := range sheets {
		css := body(t, request(t, h, "GET", "/"+sheet))
		if strings.Contains(css, "url(data:font") || strings.Contains(css, "url(data:application") {
			t.Errorf("%s brings a font, which the policy blocks", sheet)
		}
		for _, load := range regexp.MustCompile(`@import[^;]*|url\(["']?[^d"'][^)]{0,40}`).FindAllString(css, -1) {
			target := strings.Trim(strings.TrimPrefix(load, "url("), `"'`)
			if !strings.HasPrefix(target, "#") && !strings.HasPrefix(target, "./codicon-") {
				t.Errorf("%s loads %s", sheet, load)
			}
		}
	}
}

func TestPageConfig(t *testing.T) {
	t.Parallel()
	const hostile = "query Q { a(x: \"</script><script>alert(1)</script>\") } # 홍길동 <!--"
	want := config{
		BasePath: "/apps/records",
		SignIns:  []SignIn{{Role: "patient", Patient: "P-2025-000001", Token: "abc.def"}},
		Examples: []Example{{Name: "Q", Group: "analysts", Title: "One", TitleKo: "하나", Query: hostile, Variables: `{"a": 1}`}},
	}
	page := body(t, request(t, newHandler(t, Page(want)), "GET", "/"))
	_, rest, ok := strings.Cut(page, `id="config">`)
	raw, _, ok2 := strings.Cut(rest, "</script>")
	if !ok || !ok2 {
		t.Fatalf("no config in %s", page)
	}
	var got config
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatalf("config %s: %v", raw, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config = %+v\nwant     %+v", got, want)
	}
}
