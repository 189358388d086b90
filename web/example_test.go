package web

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func newExample(t testing.TB, p ExamplePage) http.Handler {
	t.Helper()
	h, err := ExampleHandler(p)
	if err != nil {
		t.Fatalf("ExampleHandler: %v", err)
	}
	return h
}

// assets are the paths that the page loads, script first.
func assets(t testing.TB, page string) (script, style string) {
	t.Helper()
	found := regexp.MustCompile(`(?:src|href)="\./(assets/[^"]+\.(?:js|css))"`).FindAllStringSubmatch(page, -1)
	if len(found) != 2 {
		t.Fatalf("the page loads %v", found)
	}
	return "/app/" + found[0][1], "/app/" + found[1][1]
}

func TestExampleAnswers(t *testing.T) {
	t.Parallel()
	h := newExample(t, ExamplePage{})
	script, style := assets(t, body(t, request(t, h, "GET", "/app/")))
	wantAnswers(t, h, examplePolicy, []answer{
		{"GET", "/app/", 200, "text/html; charset=utf-8", "no-store"},
		{"HEAD", "/app/", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", script, 200, "text/javascript; charset=utf-8", forever},
		{"GET", style, 200, "text/css; charset=utf-8", forever},
		{"GET", "/app/icon.svg", 200, "image/svg+xml", "no-cache"},
		{"GET", "/app/LICENSES.md", 200, "text/plain; charset=utf-8", "no-cache"},
		{"GET", "/app", 308, "", ""},
		{"POST", "/app/", 405, "text/plain; charset=utf-8", ""},
		{"GET", "/app/index.html", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/app/assets/", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/app/../web.go", 404, "text/plain; charset=utf-8", ""},
	})
	// A proxy may have put a path before ours: the browser is led on from where it is.
	if to := request(t, h, "GET", "/app").Header.Get("Location"); to != "app/" {
		t.Errorf("/app leads to %q", to)
	}
}

func TestExampleHasItsSettings(t *testing.T) {
	t.Parallel()
	page := body(t, request(t, newExample(t, ExamplePage{BasePath: "/apps/records", SignIns: []SignIn{{Role: "</script><b>", Token: "t"}}}), "GET", "/app/"))
	config := regexp.MustCompile(`<script type="application/json" id="config">(.*?)</script>`).FindStringSubmatch(page)
	if config == nil {
		t.Fatalf("no settings in %s", page)
	}
	var told struct {
		Endpoint string
		SignIns  []SignIn
	}
	if err := json.Unmarshal([]byte(config[1]), &told); err != nil {
		t.Fatal(err)
	}
	if told.Endpoint != "/apps/records/graphql" || len(told.SignIns) != 1 || told.SignIns[0].Role != "</script><b>" {
		t.Errorf("the page is told %+v", told)
	}
}

// TestExampleIsSmall: what the first load brings, compressed as it is sent.
func TestExampleIsSmall(t *testing.T) {
	t.Parallel()
	h := newExample(t, ExamplePage{})
	script, style := assets(t, body(t, request(t, h, "GET", "/app/")))
	sum := 0
	for _, path := range []string{"/app/", script, style, "/app/icon.svg"} {
		r := request(t, h, "GET", path, "Accept-Encoding", "gzip")
		sent := body(t, r)
		sum += len(sent)
		if r.Header.Get("Content-Encoding") != "gzip" {
			continue // too short for it
		}
		unzipped, err := gzip.NewReader(strings.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(unzipped)
		if err != nil || string(plain) != body(t, request(t, h, "GET", path)) {
			t.Errorf("%s is another file when compressed (%v)", path, err)
		}
	}
	t.Logf("%d bytes", sum)
	if sum > 200_000 {
		t.Errorf("the first load is %d bytes", sum)
	}
}
