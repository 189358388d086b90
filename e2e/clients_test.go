package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// TestClients runs the clients of e2e/clients, each as its documentation shows, against
// the product.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"apollo", "graphql-sse", "graphql-ws", "relay", "urql"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			files := clientFiles(t)
			if client == "relay" {
				runNode(t, files, "", "relay-compile.js", "relay.config.json")
			}
			runNode(t, files, systemForClients(t).URL, client+".js")
		})
	}
}

// TestClientsWithTrustedDocuments makes manifests with the tools of Apollo and of Relay,
// and runs their clients against a product that accepts nothing else.
func TestClientsWithTrustedDocuments(t *testing.T) {
	t.Parallel()
	t.Run("apollo", func(t *testing.T) {
		t.Parallel()
		files := clientFiles(t)
		runNode(t, files, "", "node_modules/@apollo/generate-persisted-query-manifest/cli.js")
		s := systemForClients(t, "TRUSTED_DOCUMENTS="+filepath.Join(files, "persisted-query-manifest.json"))
		runNode(t, files, s.URL, "apollo-manifest.js")
	})
	t.Run("relay", func(t *testing.T) {
		t.Parallel()
		files := clientFiles(t)
		runNode(t, files, "", "relay-compile.js", "relay.persisted.config.json")
		s := systemForClients(t, "TRUSTED_DOCUMENTS="+filepath.Join(files, "persisted_queries.json"))
		runNode(t, files, s.URL, "relay.js")
	})
}

// TestClientsOutliveAReplica: behind a proxy, a replica stops and another takes its place.
func TestClientsOutliveAReplica(t *testing.T) {
	t.Parallel()
	files, databaseURL := clientFiles(t), dbtest.SQLite(t)
	s := StartSystem(t, databaseURL)
	replica := s.Another(databaseURL)
	var serving atomic.Pointer[url.URL]
	serve := func(p *Product) {
		address, err := url.Parse(p.URL)
		if err != nil {
			t.Error(err)
		}
		serving.Store(address)
	}
	serve(s.Product)
	proxy := http.NewServeMux()
	proxy.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(serving.Load()) }})
	proxy.HandleFunc("/replace", func(http.ResponseWriter, *http.Request) {
		serve(replica)
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	runNode(t, files, server.URL, "restart.js")
}

// TestGraphQLOverHTTPAudits runs all audits of graphql-http.
func TestGraphQLOverHTTPAudits(t *testing.T) {
	t.Parallel()
	for _, introspection := range []string{"true", "false"} {
		t.Run("introspection "+introspection, func(t *testing.T) {
			t.Parallel()
			runNode(t, clientFiles(t), StartSystem(t, dbtest.SQLite(t), "INTROSPECTION="+introspection).URL, "audits.js")
		})
	}
}

// clientFiles returns a folder with e2e/clients, the packages that it needs, and the
// schema.
func clientFiles(t testing.TB) string {
	t.Helper()
	installed := os.Getenv("TEST_NODE")
	if installed == "" {
		t.Skip("needs Node and packages from npm: copy e2e/clients to somewhere else, run npm ci there, and set TEST_NODE to that folder")
	}
	files := t.TempDir()
	if err := os.CopyFS(files, os.DirFS("clients")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(files, "node_modules")); err != nil {
		t.Fatal(err)
	}
	var sdl, log locked.Buffer
	if err := Run(t.Context(), []string{"schema"}, &sdl, &log); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "schema.graphql"), []byte(sdl.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return files
}

// systemForClients has a patient for each way in which a contact update can end;
// scenario.js says which.
func systemForClients(t *testing.T, settings ...string) *System {
	t.Helper()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL, settings...)
	for id, number := range map[string]string{"refused": "P-2025-000003", "away": "P-2025-000004"} {
		resource := PatientJSON(id, number)
		if err := s.FHIR.Put([]byte(resource)); err != nil {
			t.Fatal(err)
		}
		MustImport(t, databaseURL, resource)
	}
	s.FHIR.SetFault("refused", fhirsim.Fault{On: http.MethodPut, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json",
		Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"Invalid phone format","expression":["Patient.telecom[1].value"]}]}`})
	s.FHIR.SetFault("away", fhirsim.Fault{Close: true})
	return s
}

// runNode runs a script among the client's files; server is the product that it asks.
func runNode(t *testing.T, files, server string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = files
	cmd.Env = append(os.Environ(), "SERVER="+server, "TOKEN="+TokenOf(t, Object{
		"role": auth.RolePatient, "sub": "carer", "patient_id": []string{Number, "P-2025-000003", "P-2025-000004", "P-2025-000009"},
	}))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node %s: %v\n%s", args, err, out)
	}
}

// TestClientsRunAsTheyAreDocumented: what TestClients runs stands in docs/clients.md to
// the letter, but for the server and the token.
func TestClientsRunAsTheyAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("clients/examples/*.js")
	if err != nil || len(examples) < 6 {
		t.Fatalf("the examples are %v (%v)", examples, err)
	}
	for _, file := range examples {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if block := "```js\n// " + name + "\n" + string(code) + "```\n"; name != "session.js" && !strings.Contains(string(page), block) {
			t.Errorf("docs/clients.md has not, as it runs,\n%s", block)
		}
	}
}

// TestClientVersionsAreDocumented holds docs/clients.md to what is installed.
func TestClientVersionsAreDocumented(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile("clients/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var installed struct{ Dependencies map[string]string }
	if err := json.Unmarshal(manifest, &installed); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([@a-z][^`]+)` ([0-9]+\\.[0-9.]+[0-9])").FindAllStringSubmatch(string(page), -1)
	if len(named) < 10 {
		t.Errorf("only %d versions are found in docs/clients.md", len(named))
	}
	for _, m := range named {
		if name, version := m[1], m[2]; !strings.HasPrefix(name, "com.") && installed.Dependencies[name] != version {
			t.Errorf("docs/clients.md says %s %s, installed is %q", name, version, installed.Dependencies[name])
		}
	}
}
