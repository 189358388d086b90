package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

// fetch makes a request and returns the answer, whose body is read.
func fetch(t *testing.T, request *http.Request) (response *http.Response, body string) {
	t.Helper()
	response, err := http.DefaultTransport.RoundTrip(request) // which follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

// TestPagesMayCallAndReadEveryAnswer: from an app's scheme and from a portal, refusals
// and streams too; nobody else's page may.
func TestPagesMayCallAndReadEveryAnswer(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "CORS_ORIGINS=ionic://localhost,https://portal.example,https://*.clinic.example")
	nobody := s.As("")
	response, body := fetch(t, nobody.Request(http.MethodOptions, "/graphql", "", "Origin", "ionic://localhost",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-request-id, tracestate, apollographql-client-version"))
	h := response.Header
	if response.StatusCode != http.StatusNoContent || body != "" || h.Get("Access-Control-Allow-Origin") != "ionic://localhost" || !strings.Contains(h.Get("Vary"), "Origin") {
		t.Errorf("the preflight: %d %v", response.StatusCode, h)
	}
	for _, header := range []string{"authorization", "content-type", "x-request-id", "tracestate", "apollographql-client-version"} {
		if !strings.Contains(h.Get("Access-Control-Allow-Headers"), header) {
			t.Errorf("the preflight lacks %s: %v", header, h)
		}
	}
	query := `{"query":"{ viewer { role } }"}`
	stream := Body(t, "subscription { contactUpdateSettled(operationId: \"none\") { state } }", nil)
	for name, c := range map[string]struct {
		request *http.Request
		status  int
	}{
		"an answer":      {s.Request(http.MethodPost, "/graphql", query), 200},
		"by GET":         {s.Request(http.MethodGet, "/graphql?query=%7Bviewer%7Brole%7D%7D", ""), 200},
		"no token":       {nobody.Request(http.MethodPost, "/graphql", query), 401},
		"too long":       {s.Request(http.MethodPost, "/graphql", strings.Repeat(" ", 1<<20+1)), 413},
		"another type":   {s.Request(http.MethodPost, "/graphql", query, "Content-Type", "application/x-www-form-urlencoded"), 415},
		"a stream's end": {s.Request(http.MethodPost, "/graphql", stream, "Accept", "text/event-stream"), 200},
	} {
		for origin, allowed := range map[string]bool{
			"ionic://localhost": true, "https://portal.example": true, "https://north.clinic.example": true,
			"null": false, "https://clinic.example": false, "https://portal.example.evil.example": false, "http://localhost:3000": false,
		} {
			request := c.request.Clone(t.Context())
			request.Body, _ = c.request.GetBody()
			request.Header.Set("Origin", origin)
			response, _ := fetch(t, request)
			h := response.Header
			if response.StatusCode != c.status {
				t.Errorf("%s from %s: status %d, want %d", name, origin, response.StatusCode, c.status)
			}
			if got := h.Get("Access-Control-Allow-Origin"); (got == origin) != allowed || !allowed && got != "" {
				t.Errorf("%s from %s: allowed for %q", name, origin, got)
			}
			for _, exposed := range []string{"Retry-After", "WWW-Authenticate", "X-Request-Id"} {
				if strings.Contains(h.Get("Access-Control-Expose-Headers"), exposed) != allowed {
					t.Errorf("%s from %s: exposed is %q", name, origin, h.Get("Access-Control-Expose-Headers"))
				}
			}
			if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
				t.Errorf("%s from %s: Vary is %q", name, origin, h.Values("Vary"))
			}
		}
	}
}

// TestTheRequestIDGoesToTheFHIRServer with all that a write asks of it; what the mirror
// asks belongs to no request.
func TestTheRequestIDGoesToTheFHIRServer(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "SYNC_INTERVAL=100ms")
	s.Post(Body(t, ContactMutation, Object{"input": Object{"patientId": Number, "phone": NewPhone}}), "X-Request-Id", "portal-4711")
	s.Post(Body(t, ContactMutation, Object{"input": Object{"patientId": Number, "email": "new@mail.example"}}), "X-Request-Id", "not plain {}")
	looks := func() (n int) {
		for _, r := range s.FHIR.Requests() {
			if r.ID == "" && strings.Contains(r.Path, "Patient") {
				n++
			}
		}
		return n
	}
	wait.Until(t, "the mirror looks", func() bool { return looks() > 0 })
	puts, reads := []string{}, 0
	for _, r := range s.FHIR.Requests() {
		id := r.Header.Get("X-Request-Id")
		switch {
		case r.Method == http.MethodPut:
			puts = append(puts, id)
		case r.Method == http.MethodGet && r.ID == "a1" && id == "portal-4711":
			reads++
		case r.ID == "" && id != "":
			t.Errorf("%s %s has the id %q", r.Method, r.Path, id)
		}
	}
	if len(puts) != 2 || puts[0] != "portal-4711" || reads == 0 || !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(puts[1]) {
		t.Errorf("the PUTs have the ids %q, %d reads have the first", puts, reads)
	}
}

// TestTheLogNamesTheClientBehindTrustedProxies and nobody whom anybody else names.
func TestTheLogNamesTheClientBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	for trusted, client := range map[string]string{"127.0.0.0/8": "203.0.113.7", "10.0.0.0/8": "127.0.0.1", "": "127.0.0.1"} {
		s := StartSystem(t, dbtest.SQLite(t), "TRUSTED_PROXIES="+trusted)
		response, _ := fetch(t, s.Request(http.MethodPost, "/graphql", `{"query":"{ viewer { role } }"}`,
			"X-Forwarded-For", "198.51.100.99, 203.0.113.7", "X-Forwarded-Proto", "https", "X-Request-Id", "proxied"))
		wantLine(t, s.Log, "GraphQL request", Object{"request_id": "proxied", "client": client})
		if secure := response.Header.Get("Strict-Transport-Security") != ""; secure != (trusted == "127.0.0.0/8") {
			t.Errorf("TRUSTED_PROXIES=%s: %v", trusted, response.Header)
		}
	}
}

// TestTheDemoBelowAPath: behind a proxy that passes the path on, under another host.
func TestTheDemoBelowAPath(t *testing.T) {
	t.Parallel()
	p, demo := startDemo(t, "BASE_PATH=/apps/records")
	if !strings.Contains(p.Stdout.String(), p.URL+"/apps/records/\n") || !strings.Contains(p.Stdout.String(), "curl "+p.URL+"/apps/records/graphql ") {
		t.Errorf("the demo says:\n%s", p.Stdout)
	}
	inner, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(inner))
	defer proxy.Close()
	get := func(location string) (*http.Response, string) {
		response, err := proxy.Client().Get(location)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(text)
	}
	response, page := get(proxy.URL + "/apps/records") // and it leads to the page
	if got := response.Request.URL.String(); got != proxy.URL+"/apps/records/" || response.StatusCode != http.StatusOK {
		t.Fatalf("the page is at %s: %d", got, response.StatusCode)
	}
	files := regexp.MustCompile(`(?:src|href)="([^"]*/static/[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(files) < 2 {
		t.Errorf("the page names %v", files)
	}
	paths := []string{"/apps/records/healthz", "/apps/records/readyz", "/apps/records/metrics"}
	for _, file := range files {
		paths = append(paths, file[1])
	}
	for _, path := range paths {
		if response, _ := get(proxy.URL + path); response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
	for _, path := range []string{"/", "/graphql", "/healthz", "/readyz", "/metrics", "/static/licenses.txt", "/apps", "/apps/recordsx"} {
		if response, _ := get(proxy.URL + path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d outside", path, response.StatusCode)
		}
	}
	demo.URL += "/apps/records"
	Want(t, demo.Query("{ viewer { role } }", nil), Object{"viewer.role": "admin"})
}

// TestPagesOfThisMachineMayCallTheDemo whatever port their own server has.
func TestPagesOfThisMachineMayCallTheDemo(t *testing.T) {
	t.Parallel()
	_, demo := startDemo(t, "CORS_ORIGINS=https://portal.example")
	for origin, allowed := range map[string]bool{
		"http://localhost:5173": true, "http://127.0.0.1:3000": true, "http://localhost": true, "https://portal.example": true,
		"http://192.0.2.1:3000": false, "http://localhost.evil.example": false, "null": false,
	} {
		response, _ := fetch(t, demo.Request(http.MethodPost, "/graphql", `{"query":"{ viewer { role } }"}`, "Origin", origin))
		if got := response.Header.Get("Access-Control-Allow-Origin"); (got == origin) != allowed || !allowed && got != "" {
			t.Errorf("%s: allowed for %q", origin, got)
		}
	}
}
