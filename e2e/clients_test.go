package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// TestClients runs the clients of e2e/clients, each as its documentation shows, against
// the product.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"apollo", "graphql-sse", "graphql-ws", "relay", "urql"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			files := clientFiles(t)
			runNode(t, files, systemForClients(t).Product, client+".js")
		})
	}
}

// TestGraphQLOverHTTPAudits runs all audits of graphql-http.
func TestGraphQLOverHTTPAudits(t *testing.T) {
	t.Parallel()
	for _, introspection := range []string{"true", "false"} {
		t.Run("introspection "+introspection, func(t *testing.T) {
			t.Parallel()
			files := clientFiles(t)
			runNode(t, files, StartSystem(t, dbtest.SQLite(t), "INTROSPECTION="+introspection).Product, "audits.js")
		})
	}
}

// clientFiles returns a folder with e2e/clients and the packages that it needs.
func clientFiles(t *testing.T) string {
	t.Helper()
	installed := os.Getenv("TEST_NODE")
	if installed == "" {
		t.Skip("needs Node and packages from npm: copy e2e/clients/package*.json somewhere, run npm ci there, and set TEST_NODE to that folder")
	}
	files := t.TempDir()
	if err := os.CopyFS(files, os.DirFS("clients")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(files, "node_modules")); err != nil {
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

// runNode runs one file of e2e/clients against a product.
func runNode(t *testing.T, files string, p *Product, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = files
	cmd.Env = append(os.Environ(), "SERVER="+p.URL, "TOKEN="+TokenOf(t, Object{
		"role": auth.RolePatient, "sub": "carer", "patient_id": []string{Number, "P-2025-000003", "P-2025-000004", "P-2025-000009"},
	}))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("node %s: %v\n%s", args, err, out)
	}
}
