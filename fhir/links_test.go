package fhir

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/sjson"
)

// A server behind a proxy that names itself in its links as it knows itself.
func TestLinksToAnotherHost(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("testdata/links/page.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		base, link string
		asked      string // with FHIR_REWRITE_LINKS: HOST is our base's
		host       string // which the refusal names
	}{
		"as HAPI names a page":         {"/api/fhir", "http://app-node-3:9090/fhir?_getpages=7d1e&_getpagesoffset=2&_count=2", "/api/fhir?_getpages=7d1e&_getpagesoffset=2&_count=2", "http://app-node-3:9090"},
		"TLS ends at the proxy":        {"/api/fhir", "https://HOST/api/fhir?page=2", "/api/fhir?page=2", "https://HOST"},
		"another port":                 {"/fhir", "http://127.0.0.1:1/fhir/Patient?page=2", "/fhir/Patient?page=2", "http://127.0.0.1:1"},
		"IPv6":                         {"/fhir", "http://[2001:db8::1]:8080/fhir?page=2", "/fhir?page=2", "http://[2001:db8::1]:8080"},
		"the proxy adds a path":        {"/tenant/7/r4", "http://inner/r4/Patient?page=2", "/tenant/7/r4/Patient?page=2", "http://inner"},
		"the proxy drops a path":       {"/r4", "http://inner/hapi/r4/Patient/_search?page=2", "/r4/Patient/_search?page=2", "http://inner"},
		"a page with a path":           {"/api/fhir", "http://inner/fhir/_page/7?id=3", "/api/fhir/_page/7?id=3", "http://inner"},
		"another path altogether":      {"/api/r4", "http://inner/internal?page=2", "/api/r4?page=2", "http://inner"},
		"no path here":                 {"", "http://inner/fhir/Patient?page=2", "/Patient?page=2", "http://inner"},
		"above the base on our host":   {"/api/fhir", "http://HOST/admin?page=2", "/api/fhir?page=2", "http://HOST"},
		"with a password":              {"/fhir", "http://u:secret@inner/fhir?page=2", "/fhir?page=2", "http://inner"},
		"escaped":                      {"/fhir", "http://inner/fhir/Patient?page=a%2Fb%20c", "/fhir/Patient?page=a%2Fb%20c", "http://inner"},
		"a host in other letters":      {"/fhir", "http://병원.example/fhir?page=2", "/fhir?page=2", `http://\ubcd1\uc6d0.example`},
		"a host with something hidden": {"/fhir", "http://inner%E2%80%AE/fhir?page=2", "/fhir?page=2", `http://inner\u202e`},
	} {
		for _, rewrite := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", rewritten: ", rewrite), func(t *testing.T) {
				t.Parallel()
				var asked atomic.Value
				var pages atomic.Int32
				var server *httptest.Server
				server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/fhir+json")
					if pages.Add(1) > 1 {
						asked.Store(r.URL.RequestURI())
						fmt.Fprint(w, bundle("", "page-3"))
						return
					}
					link := strings.Replace(tt.link, "HOST", strings.TrimPrefix(server.URL, "http://"), 1)
					first, err := sjson.SetBytes(page, "link.1.url", link)
					if err != nil {
						t.Error(err)
					}
					_, _ = w.Write(first)
				}))
				defer server.Close()
				c := newTestClient(t, server.URL+tt.base, func(o *Options) { o.RewriteLinks = rewrite })
				var ids []string
				var failure error
				for r, err := range everybody(t.Context(), c) {
					if failure = err; err == nil {
						ids = append(ids, r.ID)
					}
				}
				if rewrite {
					if failure != nil || strings.Join(ids, " ") != "page-1 page-2 page-3" || asked.Load() != tt.asked {
						t.Errorf("%v, %v, asked %v", failure, ids, asked.Load())
					}
					return
				}
				host := strings.Replace(tt.host, "HOST", strings.TrimPrefix(server.URL, "http://"), 1)
				want := "leads away from FHIR_BASE_URL, to " + host + "; with FHIR_REWRITE_LINKS=true"
				if e := asError(t, failure, Unusable); e.Cause != LeadsAway || strings.Join(ids, " ") != "page-1 page-2" || !strings.Contains(e.Error(), want) || strings.Contains(e.Error(), "secret") || pages.Load() != 1 {
					t.Errorf("%v, %d requests", e, pages.Load())
				}
			})
		}
	}
}

// Where a link leads nowhere that we may go, nobody is asked, rewritten or not.
func TestLinksThatAreNeverFollowed(t *testing.T) {
	t.Parallel()
	for _, link := range []string{
		"http://HOST/fhir/%2e%2e/admin?page=2", "/fhir/..%2fadmin?page=2", "file:///etc/passwd", "data:application/json,{}", "mailto:a@b.example", "http:///fhir?page=2", "http://[::1/fhir", "http://HOST:port/fhir",
	} {
		for _, rewrite := range []bool{false, true} {
			var asked atomic.Int32
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Content-Type", "application/fhir+json")
				fmt.Fprint(w, bundle(strings.ReplaceAll(link, "HOST", strings.TrimPrefix(server.URL, "http://")), "a"))
			}))
			c := newTestClient(t, server.URL+"/fhir", func(o *Options) { o.RewriteLinks = rewrite })
			var failure error
			for _, err := range everybody(t.Context(), c) {
				failure = err
			}
			server.Close()
			if asError(t, failure, Unusable); asked.Load() != 1 {
				t.Errorf("%s, rewritten: %v: %d requests", link, rewrite, asked.Load())
			}
		}
	}
}

// A link without a host is one of the server's own; one that names another is refused
// whatever is there, and rewritten it is asked of our base alone.
func TestLinksWithoutAHostAndToTheInside(t *testing.T) {
	t.Parallel()
	for link, tt := range map[string]struct{ plain, rewritten string }{ // what is asked; "": nothing
		"?page=2":                               {"/fhir/Patient?page=2", "/fhir/Patient?page=2"},
		"Patient?page=2":                        {"/fhir/Patient?page=2", "/fhir/Patient?page=2"},
		"/fhir?page=2":                          {"/fhir?page=2", "/fhir?page=2"},
		"//HOST/fhir?page=2":                    {"/fhir?page=2", "/fhir?page=2"},
		"//inner/fhir?page=2":                   {"", "/fhir?page=2"},
		"/admin?page=2":                         {"", "/fhir?page=2"},
		"http://HOST/fhir/../admin?page=2":      {"", "/fhir?page=2"},
		"http://inner/fhir/../admin?page=2":     {"", "/fhir?page=2"},
		"../admin?page=2":                       {"", "/fhir?page=2"},
		"http://169.254.169.254/latest/?page=2": {"", "/fhir?page=2"},
		"http://[::1]:1/fhir?page=2":            {"", "/fhir?page=2"},
		"ftp://HOST/fhir?page=2":                {"", "/fhir?page=2"},
		"http://u:secret@HOST/fhir?page=2":      {"", "/fhir?page=2"},
	} {
		for rewrite, want := range map[bool]string{false: tt.plain, true: tt.rewritten} {
			var asked []string
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.RequestURI())
				w.Header().Set("Content-Type", "application/fhir+json")
				if len(asked) > 1 {
					fmt.Fprint(w, bundle("", "b"))
					return
				}
				fmt.Fprint(w, bundle(strings.ReplaceAll(link, "HOST", strings.TrimPrefix(server.URL, "http://")), "a"))
			}))
			c := newTestClient(t, server.URL+"/fhir", func(o *Options) { o.RewriteLinks = rewrite })
			var failure error
			for _, err := range everybody(t.Context(), c) {
				failure = err
			}
			server.Close()
			if got := strings.Join(asked[1:], " "); got != want || (failure == nil) != (want != "") {
				t.Errorf("%s, rewritten: %v: asked %q, %v", link, rewrite, got, failure)
			}
		}
	}
}

// What looks like progress and is none ends, also where links are rewritten.
func TestRewrittenLinksComeToAnEnd(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		fmt.Fprint(w, bundle(fmt.Sprintf("http://inner/fhir?page=%d", asked.Add(1)), "a"))
	}))
	defer server.Close()
	c := newTestClient(t, server.URL+"/fhir", func(o *Options) { o.RewriteLinks = true })
	var failure error
	for _, err := range everybody(t.Context(), c) {
		failure = err
	}
	if e := asError(t, failure, Unusable); !strings.Contains(e.Reason, errNoProgress.Error()) || asked.Load() > 6 {
		t.Errorf("%v after %d pages", e, asked.Load())
	}
}
