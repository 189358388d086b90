package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func mustParseOrigins(t *testing.T, entries string) Origins {
	t.Helper()
	origins, err := ParseOrigins(strings.Split(entries, ","))
	if err != nil {
		t.Fatal(err)
	}
	return origins
}

func TestOriginsAreAllowedAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for entries, c := range map[string]struct{ allowed, refused []string }{
		"https://app.example": {
			[]string{"https://app.example", "HTTPS://App.Example"},
			[]string{"http://app.example", "https://app.example:8443", "https://a.app.example", "https://app.example.evil.example", "https://app.example/", "app.example", "null", ""},
		},
		"capacitor://localhost, ionic://localhost,org.hospital.app://open,tauri://localhost,chrome-extension://abcdefghijklmnop": {
			[]string{"capacitor://localhost", "ionic://localhost", "org.hospital.app://open", "tauri://localhost", "chrome-extension://abcdefghijklmnop"},
			[]string{"http://localhost", "https://localhost", "capacitor://localhost:1", "ionic://localhost.evil.example", "null"},
		},
		"https://app.example:443,http://intra.example:80,https://dev.example:8443,http://[::1]:3000,http://127.0.0.1:5173": {
			[]string{"https://app.example", "http://intra.example", "https://dev.example:8443", "http://[::1]:3000", "http://127.0.0.1:5173"},
			[]string{"https://dev.example", "http://[::1]", "http://127.0.0.1:5174"},
		},
		"https://*.example.org": {
			[]string{"https://a.example.org", "https://a.b.example.org", "https://A-1.example.org"},
			[]string{
				"https://example.org", "http://a.example.org", "https://a.example.org:8443", "https://evilexample.org", "https://a.example.org.evil.example",
				"https://.example.org", "https://a..example.org", "https://evil.example/.example.org", "https://evil.example#.example.org", "https://u@a.example.org",
				"https://*.example.org", "null", "https://evil.example?.example.org",
			},
		},
		"https://*.example.org:8443,http://*.portal.example": {
			[]string{"https://a.example.org:8443", "http://b.portal.example"},
			[]string{"https://a.example.org", "https://a.example.org:443", "https://example.org:8443", "http://portal.example", "http://b.portal.example:80"},
		},
	} {
		origins := mustParseOrigins(t, entries)
		for _, origin := range c.allowed {
			if !origins.Allow(origin) {
				t.Errorf("%s: %q is refused", entries, origin)
			}
		}
		for _, origin := range c.refused {
			if origins.Allow(origin) {
				t.Errorf("%s: %q is allowed", entries, origin)
			}
		}
	}
}

func TestWithoutEntriesNoOriginIsAllowed(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"", "null", "http://localhost:3000", "https://app.example", "*"} {
		if (Origins{}).Allow(origin) {
			t.Errorf("%q is allowed", origin)
		}
	}
}

func TestTheDemoAllowsWhatThisMachineServes(t *testing.T) {
	t.Parallel()
	origins := Origins{local: true}
	for origin, allowed := range map[string]bool{
		"http://localhost": true, "http://localhost:3000": true, "http://127.0.0.1:5173": true, "http://[::1]:8081": true, "capacitor://localhost": true,
		"null": false, "": false, "http://localhost.evil.example": false, "http://evil.example": false, "http://localhost:3000@evil.example": false,
		"http://evil.example:80#@localhost": false, "http://192.168.0.7:3000": false, "http://127.0.0.1.evil.example": false, "//localhost": false,
	} {
		if origins.Allow(origin) != allowed {
			t.Errorf("%q: allowed is %v", origin, !allowed)
		}
	}
}

func TestAnEntryThatIsNoOriginIsNamed(t *testing.T) {
	t.Parallel()
	for entry, says := range map[string]string{
		"*": "is *", "null": "is null", "NULL": "is null", "": "is no origin", "app.example": "is no origin", "https://app.example/": "is no origin",
		"https://app.example/x": "is no origin", "https://u:pw-secret@app.example": "is no origin", "https://app.example?pw-secret": "is no origin",
		"https://app.example#x": "is no origin", "https://": "is no origin", "file://": "is no origin", "https://app example": "is no origin",
		"https://*": "has a *", "https://*example.org": "has a *", "https://app.*": "has a *", "https://a.*.example.org": "has a *", "*://app.example": "has a *",
		"https://app.example:*": "has a *", "*.example.org": "has a *", "https://*.*.example.org": "has a *",
		"https://*.org": "anybody", "https://*.co.uk": "anybody", "https://*.github.io": "anybody", "https://*.localhost": "anybody", "https://*.10.0.0.1": "anybody", "https://*.[::1]": "anybody",
		"https://포털.example": "xn--",
	} {
		_, err := ParseOrigins([]string{"https://good.example", entry})
		if err == nil || !strings.Contains(err.Error(), "entry 2 "+says) && !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "pw-secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", entry, err, says)
		}
	}
}

// preflight asks what a page may send, and returns the answer.
func preflight(t *testing.T, origins Origins, origin, method, headers string) *http.Response {
	t.Helper()
	handler := crossOrigin(slog.New(slog.DiscardHandler), origins)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a preflight went on to what needs a token")
	}))
	r := httptest.NewRequest(http.MethodOptions, "/graphql", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", method)
	if headers != "" {
		r.Header.Set("Access-Control-Request-Headers", headers)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func TestPreflightsAreAnsweredForWhatClientsSend(t *testing.T) {
	t.Parallel()
	origins := mustParseOrigins(t, "ionic://localhost,https://portal.example")
	for name, sent := range map[string]string{
		"Apollo":        "accept,apollo-require-preflight,apollographql-client-name,apollographql-client-version,authorization,content-type",
		"not sorted":    "x-request-id, tracestate, apollographql-client-version",
		"in capitals":   "Traceparent,Baggage,Sentry-Trace",
		"issue's list":  "traceparent,tracestate,baggage,sentry-trace,x-request-id,idempotency-key,accept-language",
		"Apollo Kotlin": "x-apollo-operation-id,x-apollo-operation-name",
		"B3":            "b3,x-b3-sampled,x-b3-spanid,x-b3-traceid",
		"none":          "",
	} {
		for _, origin := range []string{"ionic://localhost", "https://portal.example"} {
			h := preflight(t, origins, origin, http.MethodPost, sent).Header
			told := strings.Split(h.Get("Access-Control-Allow-Headers"), ",")
			for header := range strings.SplitSeq(sent, ",") {
				if header != "" && !slices.Contains(told, strings.ToLower(strings.TrimSpace(header))) {
					t.Errorf("%s: %s is not allowed: %v", name, header, h)
				}
			}
			if h.Get("Access-Control-Allow-Origin") != origin || h.Get("Access-Control-Allow-Methods") != "GET, POST" || h.Get("Access-Control-Max-Age") == "" ||
				!strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %s: %v", name, origin, h)
			}
		}
	}
}

func TestAPreflightIsToldNothingThatItMayNot(t *testing.T) {
	t.Parallel()
	origins := mustParseOrigins(t, "https://portal.example,https://*.example.org")
	for name, c := range map[string]struct{ origin, method string }{
		"null":           {"null", http.MethodPost},
		"another origin": {"https://evil.example", http.MethodPost},
		"no origin":      {"", http.MethodPost},
		"bare domain":    {"https://example.org", http.MethodPost},
		"method":         {"https://portal.example", http.MethodDelete},
	} {
		answer := preflight(t, origins, c.origin, c.method, "content-type")
		for header := range answer.Header {
			if strings.HasPrefix(header, "Access-Control-") {
				t.Errorf("%s: %s is %q", name, header, answer.Header.Get(header))
			}
		}
		if !strings.Contains(strings.Join(answer.Header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: a cache would give this answer to others: %v", name, answer.Header)
		}
	}
	h := preflight(t, origins, "https://portal.example", http.MethodPost, "x-evil,content-type").Header
	if allowed := h.Get("Access-Control-Allow-Headers"); strings.Contains(allowed, "evil") || !strings.Contains(allowed, "content-type") {
		t.Errorf("a header that is not known: %v", h)
	}
}

func TestARefusedOriginIsInTheLog(t *testing.T) {
	t.Parallel()
	for origin, line := range map[string]string{
		"https://portal.example":     "",
		"https://records.example":    "", // our own page
		"":                           "",
		"https://elsewhere.example":  `"origin":"https://elsewhere.example"`,
		"ionic://localhost":          `"origin":"ionic://localhost"`,
		"null":                       `"origin":"(none that a browser sends)"`,
		"https://a.example/Okoro?b=": `"origin":"https://a.example"`,
	} {
		o, log := logged()
		request := httptest.NewRequest(http.MethodPost, "https://records.example/graphql", nil)
		if origin != "" {
			request.Header.Set("Origin", origin)
		}
		crossOrigin(o.Log, mustParseOrigins(t, "https://portal.example"))(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), request)
		if text := log.String(); (text == "") != (line == "") || !strings.Contains(text, line) || strings.Contains(text, "Okoro") || strings.Contains(text, "INFO") {
			t.Errorf("%q: the log has %q, want %q", origin, text, line)
		}
	}
}
