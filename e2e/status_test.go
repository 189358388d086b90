package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
)

// An answer with a status that HTTP does not know is an unusable one, for a
// write as for /readyz; it stops nothing.
func TestStatusThatHTTPDoesNotKnow(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.(*net.TCPConn).Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 000 Solveig Aune\r\nContent-Type: application/fhir+json\r\nContent-Length: 2\r\n\r\n{}")
	}))
	defer server.Close()
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, PatientJSON("a1", Number))
	p := StartWith(t, server.URL+"/fhir", databaseURL)
	answer := p.Update(Object{"patientId": Number, "phone": NewPhone})
	Want(t, answer, Object{"__typename": "FhirUnavailable"})
	p.Get("/readyz?verbose")
	if log := p.Log.String(); strings.Contains(log, "panic") || strings.Contains(log, "Solveig") {
		t.Error(log)
	}
}

func TestReadyzSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	p := StartWith(t, "http://127.0.0.1:1/fhir", "sqlite::memory:")
	// Reads go on without the FHIR server.
	for path, answer := range map[string]string{"/readyz": `{"database":"ok"}`, "/readyz?verbose": `{"database":"ok","fhir":"unavailable"}`} {
		if status, body := p.Get(path); status != http.StatusOK || strings.TrimSpace(body) != answer {
			t.Errorf("%s: status %d, %s", path, status, body)
		}
	}
	if status, _ := p.Get("/healthz"); status != http.StatusOK {
		t.Errorf("healthz: status %d", status)
	}
	if status, _ := p.Get("/"); status != http.StatusNotFound {
		t.Errorf("the playground answers %d outside the demo", status)
	}
}
