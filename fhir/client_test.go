package fhir

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{
		"", "/fhir", "fhir.example", "ftp://fhir.example", "http:fhir", "http://", "http://user:secret@h/fhir", "http://user@h",
		"http://h/fhir?x=1", "http://h/fhir?", "http://h/fhir#", "http://h\x7f/secret",
	} {
		if _, err := NewClient(Options{BaseURL: base}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", base, err)
		}
	}
	for _, auth := range []Auth{
		{Mode: "digest"}, {Mode: "bearer"}, {Mode: "bearer", Token: "secret\n"}, {Mode: "basic"}, {Mode: "basic", Username: "a:b", Password: "secret"},
	} {
		if _, err := NewClient(Options{BaseURL: "http://h", Auth: auth}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", auth, err)
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var gotBody string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got, gotBody = r, string(body)
		w.Header().Set("Content-Type", "application/fhir+json")
		w.Header().Set("ETag", `W/"7"`)
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
		if _, err := w.Write(patientJSON("p.1", `"x":1.0`)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	c := newTestClient(t, server.URL+"/fhir/", func(o *Options) {
		o.Auth = Auth{Mode: "basic", Username: "u", Password: "p"}
		o.UserAgent = "test/1"
	})
	r, err := c.Read(t.Context(), "p.1")
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != "p.1" || r.ETag != `W/"7"` || string(r.JSON) != string(patientJSON("p.1", `"x":1.0`)) {
		t.Errorf("%+v", r)
	}
	check := func(method string, header map[string]string, body string) {
		t.Helper()
		if got.Method != method || got.URL.String() != "/fhir/Patient/p.1" || gotBody != body {
			t.Errorf("%s %s %q", got.Method, got.URL, gotBody)
		}
		for name, want := range header {
			if v := got.Header.Get(name); v != want {
				t.Errorf("%s: %q, want %q", name, v, want)
			}
		}
	}
	check("GET", map[string]string{"Accept": "application/fhir+json", "Cache-Control": "no-cache", "User-Agent": "test/1",
		"Authorization": "Basic dTpw", "Content-Type": "", "If-Match": "", "Prefer": ""}, "")

	sent := patientJSON("p.1", "")
	u, err := c.Update(t.Context(), "p.1", sent, `W/"6"`)
	if err != nil {
		t.Fatal(err)
	}
	if !u.Created || u.Status != 201 || u.Resource.ETag != `W/"7"` {
		t.Errorf("%+v", u)
	}
	check("PUT", map[string]string{"Content-Type": "application/fhir+json", "Prefer": "return=representation", "If-Match": `W/"6"`,
		"Cache-Control": ""}, string(sent))
	if _, err := c.Update(t.Context(), "p.1", sent, ""); err != nil || got.Header.Values("If-Match") != nil {
		t.Errorf("%v %v", err, got.Header)
	}
}

func TestIDsThatAreNone(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	for _, id := range []string{"", ".", "..", "a/b", "a?b", "a b", "é", "a\n", strings.Repeat("a", 65)} {
		_, err := c.Read(t.Context(), id)
		asError(t, err, Gone)
		_, err = c.Update(t.Context(), id, patientJSON("p", ""), "")
		asError(t, err, Gone)
	}
}

// A server that repeats our credentials does not get them to callers.
func TestCredentialsAreScrubbed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"message":"refused: `+r.Header.Get("Authorization")+` (secret-word)"}`)
	}))
	defer server.Close()
	for _, auth := range []Auth{{Mode: "bearer", Token: "secret-word"}, {Mode: "basic", Username: "me", Password: "secret-word"}} {
		c := newTestClient(t, server.URL, func(o *Options) { o.Auth = auth })
		_, err := c.Update(t.Context(), "pat-1", patientJSON("pat-1", `"gender":"female"`), "")
		if e := asError(t, err, AuthFailed); !strings.HasSuffix(e.Reason, " … (…)") {
			t.Error(e.Reason)
		}
	}
}

// A refusal that repeats what was sent is freed of it, in reason and issues.
func TestRefusalsAreScrubbed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, err := io.WriteString(w, `{"resourceType":"OperationOutcome","issue":[{"severity":"warning","diagnostics":"Chalmers?"},`+
			`{"severity":"error","diagnostics":"Invalid phone 555-1234 of Jim Chalmers (Patient/pat-1)","expression":["Patient.telecom.where(value='555-1234')"]}]}`)
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	_, err := c.Update(t.Context(), "pat-1", patientJSON("pat-1", `"name":[{"family":"Chalmers","given":["Jim"]}],"telecom":[{"value":"555-1234"}]`), "")
	e := asError(t, err, Rejected)
	if e.Reason != "Invalid phone … of … … (Patient/…)" || e.Issues[0].Message != e.Reason || e.Issues[1].Message != "…?" ||
		e.Issues[0].Expression[0] != "Patient.telecom.where(value='…')" {
		t.Errorf("%+v", e)
	}
	if e.Error() != "update patient: rejected (status 422): "+e.Reason {
		t.Error(e.Error())
	}
}

// A search is freed of what was asked for. What a server says of a read that
// failed may quote the patient: it is not repeated.
func TestQuestionsAreScrubbed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		if _, err := io.WriteString(w, `{"message":"no pat-1, no Chalmers, no 555-1234, no _count of 200"}`); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	_, err := c.Read(t.Context(), "pat-1")
	if e := asError(t, err, Rejected); e.Reason != "The server answered with status 400" || e.Issues != nil {
		t.Error(e.Reason)
	}
}

// TestSilentOK: FHIR http#return lets a server say OK without showing the
// patient; anything else that is no Patient is no answer of a FHIR server.
func TestSilentOK(t *testing.T) {
	t.Parallel()
	outcome := `{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}`
	for _, c := range []struct {
		name   string
		status int
		body   string
		kind   Kind // 0: a silent OK
	}{
		{"no content", 204, "", 0},
		{"minimal", 200, "", 0},
		{"white space", 200, " \r\n", 0},
		{"an OperationOutcome", 200, outcome, 0},
		{"created, minimal", 201, "", 0},
		{"created, an OperationOutcome", 201, outcome, 0},
		{"accepted", 202, "", Unusable},
		{"HTML", 200, "<html>", Unusable},
		{"two JSON values", 200, outcome + outcome, Unusable},
		{"another patient", 200, `{"resourceType":"Patient","id":"q"}`, Unusable},
		{"null", 200, "null", Unusable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", `W/"2"`)
				w.Header().Set("Content-Type", "application/fhir+json")
				w.WriteHeader(c.status)
				if _, err := io.WriteString(w, c.body); err != nil && c.status != 204 {
					t.Error(err)
				}
			}))
			defer server.Close()
			u, err := newTestClient(t, server.URL, nil).Update(t.Context(), "p", patientJSON("p", ""), "")
			if c.kind != 0 {
				asError(t, err, c.kind)
				return
			}
			if err != nil || u.Resource.JSON != nil || u.Resource.ETag != `W/"2"` || u.Created != (c.status == 201) {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
}

// TestCloseEndsTheConnections that are not in use.
func TestCloseEndsTheConnections(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write([]byte(`{"resourceType":"Patient","id":"a"}`))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := newTestClient(t, server.URL, nil)
	c.transport.IdleConnTimeout = 0 // else they end by themselves
	if _, err := c.Read(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is still open")
	}
}
