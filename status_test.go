package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"patientgraph/auth"
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
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	if out, err := importInto(t, databaseURL, testPatient("a1", number)); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	p := startWith(t, server.URL+"/fhir", databaseURL)
	answer := p.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": newPhone})
	want(t, answer, object{"__typename": "FhirUnavailable"})
	get(t, p.url+"/readyz?verbose")
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "Solveig") {
		t.Error(log)
	}
}
