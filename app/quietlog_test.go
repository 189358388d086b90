package app_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"patientgraph/app"
	. "patientgraph/app/apptest"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// TestAbuseLibrariesDoNotLogPatients lets a server send more than its
// Content-Length says: net/http would write the rest to stderr. Our own client
// keeps it from such an answer; another library's may not.
func TestAbuseLibrariesDoNotLogPatients(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				const body = `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				time.Sleep(20 * time.Millisecond) // the connection is idle by now
				fmt.Fprint(conn, `{"family":"Canary-Aune"}`)
			}()
		}
	}()
	var out locked.Buffer
	if err := app.Run(t.Context(), []string{"schema"}, func(string) string { return "" }, io.Discard, &out); err != nil {
		t.Fatal(err)
	}
	defer log.SetOutput(os.Stderr)
	client := &Client{T: t, URL: "http://" + listener.Addr().String()}
	wait.Until(t, "a line is logged: else this test tests nothing", func() bool {
		client.Get("/metadata")
		time.Sleep(50 * time.Millisecond) // the connection is idle until the rest comes
		return strings.Contains(out.String(), "default logger")
	})
	if strings.Contains(out.String(), "Canary") {
		t.Errorf("the log has %s", out.String())
	}
}
