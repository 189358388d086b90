package web

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// introspection is a schema with one query and one subscription.
const introspection = `{"data":{"__schema":{"description":null,"queryType":{"name":"Query","kind":"OBJECT"},"mutationType":null,
"subscriptionType":{"name":"Subscription","kind":"OBJECT"},"directives":[],"types":[
{"kind":"OBJECT","name":"Query","description":"What can be read.","specifiedByURL":null,"fields":[{"name":"patient","description":"One patient.",
"args":[{"name":"id","description":null,"type":{"kind":"SCALAR","name":"ID","ofType":null},"defaultValue":null,"isDeprecated":false,"deprecationReason":null}],
"type":{"kind":"SCALAR","name":"String","ofType":null},"isDeprecated":false,"deprecationReason":null}],
"inputFields":null,"interfaces":[],"enumValues":null,"possibleTypes":null},
{"kind":"OBJECT","name":"Subscription","description":null,"specifiedByURL":null,"fields":[{"name":"changed","description":null,"args":[],
"type":{"kind":"SCALAR","name":"String","ofType":null},"isDeprecated":false,"deprecationReason":null}],
"inputFields":null,"interfaces":[],"enumValues":null,"possibleTypes":null},
{"kind":"SCALAR","name":"String","description":null},{"kind":"SCALAR","name":"ID","description":null},{"kind":"SCALAR","name":"Boolean","description":null}]}}}`

// observed is what testdata/driver.js saw in the page.
type observed struct {
	Problems, Tabs, Resources       []string
	Docs, Query, Variables, Headers string
	Result                          string
	Stored                          int
}

// fakeServer serves the page with the driver added to it, and a /graphql that
// records the operations it gets.
type fakeServer struct {
	*httptest.Server
	mu         sync.Mutex
	operations []operation
	strangers  []string // paths asked for that do not exist
	observed   chan observed
	hungUp     chan struct{} // closed when the page ends the endless stream
}

type operation struct {
	Query         string
	OperationName string
	Variables     map[string]any
	authorization string
	accept        string
}

func newFakeServer(t *testing.T, p Page) *fakeServer {
	t.Helper()
	page := newHandler(t, p)
	s := &fakeServer{observed: make(chan observed, 1), hungUp: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		page.ServeHTTP(recorded, r)
		for name, values := range recorded.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		_, _ = io.WriteString(w, strings.Replace(recorded.Body.String(), "<head>", `<head><script src="/driver.js"></script>`, 1))
	})
	mux.HandleFunc("GET /driver.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/driver.js") })
	mux.HandleFunc("POST /observed", func(w http.ResponseWriter, r *http.Request) {
		var o observed
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			t.Errorf("read what the driver saw: %v", err)
		}
		if strings.Contains(o.Query, "Endless") {
			select {
			case <-s.hungUp:
			case <-time.After(10 * time.Second):
				t.Error("the page stopped the subscription but still holds its stream")
			}
		}
		s.observed <- o
	})
	mux.Handle("GET /static/", page)
	mux.HandleFunc("POST /graphql", s.graphql)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.strangers = append(s.strangers, r.URL.Path)
		s.mu.Unlock()
		http.NotFound(w, r)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *fakeServer) graphql(w http.ResponseWriter, r *http.Request) {
	o := operation{authorization: r.Header.Get("Authorization"), accept: r.Header.Get("Accept")}
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.operations = append(s.operations, o)
	s.mu.Unlock()
	switch {
	case strings.Contains(o.Query, "__schema"):
		_, _ = io.WriteString(w, introspection)
	case strings.Contains(o.Query, "Endless"):
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: next\ndata: {\"data\":{\"changed\":\"LAST\"}}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(s.hungUp)
	case strings.Contains(o.accept, "text/event-stream"):
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{":\n\n", "event: next\ndata: {\"data\":{\"changed\":\"first\"}}\n\n: ping\n\nevent: next\ndata: {\"data\":{\"cha", "nged\":\"LAST\"}}\n\n", "event: complete\n\n"} {
			_, _ = io.WriteString(w, event)
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	default:
		_, _ = io.WriteString(w, `{"data":{"patient":"LAST 홍길동"}}`)
	}
}

// browse opens the page in a real browser until the driver reports.
func browse(t *testing.T, s *fakeServer) observed {
	t.Helper()
	chromium := os.Getenv("TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("needs a browser: set TEST_CHROMIUM to the path of a Chromium binary")
	}
	ctx, stop := context.WithCancel(t.Context())
	var output strings.Builder
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", s.URL)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // lets it end its children
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	var o observed
	reported := false
	select {
	case o = <-s.observed:
		reported = true
	case <-time.After(2 * time.Minute):
	}
	stop()
	err := cmd.Wait() // its exit status after an interrupt says nothing
	if !reported {
		t.Fatalf("the page has not reported in two minutes; chromium: %v\n%s", err, output.String())
	}
	return o
}

func TestInBrowser(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, query, accept, result string
	}{
		{"query", "query One($id: ID!) { patient(id: $id) }", "application/json", "LAST 홍길동"},
		{"subscription", "subscription Watch { changed }", "text/event-stream", "LAST"},
		{"stopped subscription", "subscription Endless { changed }", "text/event-stream", "LAST"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const variables = `{"id": "P-2025-000001"}`
			s := newFakeServer(t, Page{
				Token:    "demo.token",
				Examples: []Example{{Title: "First example", Query: tt.query, Variables: variables}, {Query: "query Another { patient }"}},
			})
			o := browse(t, s)

			if len(o.Problems) > 0 {
				t.Errorf("errors in the page: %q", o.Problems)
			}
			if !strings.HasPrefix(o.Query, "# First example\n"+tt.query) || o.Variables != variables {
				t.Errorf("editors hold %q with %q", o.Query, o.Variables)
			}
			if !strings.Contains(o.Headers, `"Authorization": "Bearer demo.token"`) {
				t.Errorf("headers editor holds %q", o.Headers)
			}
			if !strings.Contains(o.Result, tt.result) {
				t.Errorf("result = %q, want %q", o.Result, tt.result)
			}
			if !strings.Contains(o.Docs, "Query") {
				t.Errorf("the documentation shows %q", o.Docs)
			}
			if len(o.Tabs) != 2 || !strings.Contains(o.Tabs[1], "Another") {
				t.Errorf("tabs = %q", o.Tabs)
			}
			if o.Stored != 0 {
				t.Errorf("%d items are left in the browser's storage", o.Stored)
			}
			for _, resource := range o.Resources {
				if !strings.HasPrefix(resource, s.URL+"/") && !strings.HasPrefix(resource, "data:") {
					t.Errorf("the page loaded %s", resource)
				}
			}
			checkOperations(t, s, tt.accept)
		})
	}
}

// checkOperations looks at what reached the server: introspection, then the
// example, both with the token.
func checkOperations(t *testing.T, s *fakeServer, accept string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.strangers) > 0 {
		t.Errorf("the page asked for %q", s.strangers)
	}
	if len(s.operations) < 2 {
		t.Fatalf("operations = %+v", s.operations)
	}
	for _, o := range s.operations {
		if o.authorization != "Bearer demo.token" {
			t.Errorf("%s: Authorization = %q", o.OperationName, o.authorization)
		}
	}
	last := s.operations[len(s.operations)-1]
	if last.Variables["id"] != "P-2025-000001" || !strings.Contains(last.accept, accept) {
		t.Errorf("last operation = %+v", last)
	}
}
