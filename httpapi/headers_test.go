package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"patientgraph/web"
)

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	handler, _ := belowApps(t, func(o *Options) { o.OnlyLocal, o.Example = true, &web.ExamplePage{} })
	for _, target := range []string{
		"http://localhost/apps/records/healthz", "http://localhost/apps/records/graphql", "http://localhost/apps/records/", "http://localhost/apps/records/static/licenses.txt",
		"http://localhost/apps/records/app", "http://localhost/apps/records/app/", "http://localhost/apps/records/app/icon.svg", "http://localhost/apps/records/app/nothing",
		"http://localhost/apps/records/nothing", "http://localhost/elsewhere", "http://localhost/apps/records", "http://elsewhere.example/apps/records/healthz",
	} {
		h := get(handler, target).Header
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := h.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", target, name, got, value)
			}
		}
		if !strings.Contains(h.Get("Permissions-Policy"), "camera=()") {
			t.Errorf("%s: Permissions-Policy is %q", target, h.Get("Permissions-Policy"))
		}
		if policy := h.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %q", target, policy)
		}
		if h.Get("Server") != "" || h.Get("X-Powered-By") != "" || h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: %v", target, h)
		}
	}
	for _, page := range []string{"", "app/"} {
		if policy := get(handler, "http://localhost/apps/records/"+page).Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") {
			t.Errorf("the page %q cannot load its scripts: %q", page, policy)
		}
	}
}

// A browser that was told so by plain http, or by anybody's header, would be locked out
// of a server that has no TLS.
func TestOnlyWhoCameByHTTPSIsToldToStayThere(t *testing.T) {
	t.Parallel()
	handler, _ := belowApps(t, func(o *Options) { o.TrustedProxies = []string{"192.0.2.1"} })
	for name, c := range map[string]struct {
		peer, proto string
		told        bool
	}{
		"a proxy with TLS": {"192.0.2.1:99", "https", true},
		"a proxy without":  {"192.0.2.1:99", "http", false},
		"no word of it":    {"192.0.2.1:99", "", false},
		"anybody":          {"192.0.2.2:99", "https", false},
	} {
		for _, path := range []string{"/apps/records/", "/apps/records/graphql", "/nothing"} {
			r, w := httptest.NewRequest(http.MethodGet, path, nil), httptest.NewRecorder()
			r.RemoteAddr = c.peer
			r.Header.Set("X-Forwarded-Proto", c.proto)
			handler.ServeHTTP(w, r)
			if told := w.Header().Get("Strict-Transport-Security") == "max-age=31536000"; told != c.told {
				t.Errorf("%s, %s: %v", name, path, w.Header())
			}
		}
	}
}
