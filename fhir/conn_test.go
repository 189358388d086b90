package fhir

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// smuggler answers each request well, and sends extra behind the answer in the
// same write. It counts the connections.
func smuggler(t *testing.T, secure *tls.Config, extra func(write func(string))) (base string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if secure != nil {
		l, scheme = tls.NewListener(l, secure), "https://"
	}
	conns = new(atomic.Int64)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for req := readRequest(r); req != nil; req = readRequest(r) {
					id := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
					good := goodAnswer(patientJSON(id, `"meta":{"versionId":"1"}`))
					if req.Method == http.MethodPut { // without a body net/http gives the connection on sooner
						good = "HTTP/1.1 204 No Content\r\nETag: W/\"1\"\r\n\r\n"
					}
					extra(func(s string) { io.WriteString(conn, good+s); good = "" })
				}
			}()
		}
	}()
	return scheme + l.Addr().String() + "/fhir", conns
}

func goodAnswer(body []byte) string {
	return fmt.Sprintf(okHead+"ETag: W/\"1\"\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// certificate gives the TLS settings of a server and of a client that trusts
// it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

const outcomeBody = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"of another patient"}]}`

// No patient is told an answer that came behind the answer to another.
func TestSecondAnswerReachesNobody(t *testing.T) {
	t.Parallel()
	head := func(status string) string {
		return "HTTP/1.1 " + status + "\r\nContent-Type: application/fhir+json\r\n"
	}
	withBody := func(status string) string {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head(status), len(outcomeBody), outcomeBody)
	}
	server, client := certificate(t)
	for name, extra := range map[string]func(write func(string)){
		"422":             func(write func(string)) { write(withBody("422 Unprocessable")) },
		"404":             func(write func(string)) { write(withBody("404 Not Found")) },
		"another patient": func(write func(string)) { write(goodAnswer(patientJSON("other", ""))) },
		"503":             func(write func(string)) { write(head("503 No") + "Content-Length: 0\r\n\r\n") },
		"interim first":   func(write func(string)) { write("HTTP/1.1 100 Continue\r\n\r\n" + withBody("422 No")) },
		"longer than any buffer": func(write func(string)) {
			write(head("422 No") + "X: " + strings.Repeat("x", 100<<10) + "\r\nContent-Length: 0\r\n\r\n")
		},
		"a record of its own": func(write func(string)) { write(""); write(withBody("404 Not Found")) },
		"one byte":            func(write func(string)) { write("H") },
	} {
		for scheme, settings := range map[string]*tls.Config{"http": nil, "https": server} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				base, _ := smuggler(t, settings, extra)
				c := newTestClient(t, base, func(o *Options) { o.MaxConns, o.Timeout = 4, time.Minute })
				c.tls.made = client
				var all sync.WaitGroup
				var answered atomic.Int64
				for n := range 16 {
					all.Go(func() {
						id := fmt.Sprintf("p%d", n)
						for range 5 {
							_, err := c.Read(t.Context(), id)
							if err == nil {
								_, err = c.Update(t.Context(), id, patientJSON(id, ""), "")
							}
							// One that arrives after the next request has left
							// cannot be told from its answer. The write that this
							// test calls a record of its own may come so late.
							var f *Error
							switch {
							case err == nil:
								answered.Add(1)
							case errors.As(err, &f) && f.Kind == Lost: // it came before the answer, and ended the connection
							case name != "a record of its own":
								t.Errorf("%s: %v (%v)", id, err, errors.Unwrap(err))
							}
						}
					})
				}
				all.Wait()
				if answered.Load() < 40 {
					t.Errorf("only %d of 80 were answered", answered.Load())
				}
			})
		}
	}
}

// What has arrived before a request leaves is never its answer, whatever
// net/http has seen of it.
func TestBytesBetweenRequests(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	for scheme, settings := range map[string]*tls.Config{"http": nil, "https": server} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			near, far := connected(t, settings, client)
			near.begin()
			if _, err := io.WriteString(far, goodAnswer([]byte("{}"))); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4096)
			if _, err := near.Read(b); err != nil || near.framing.state != ended {
				t.Fatalf("%v, state %d", err, near.framing.state)
			}
			if _, err := io.WriteString(far, goodAnswer([]byte("{}"))); err != nil {
				t.Fatal(err)
			}
			if err := near.counting.wait(); !errors.Is(err, errSurplus) { // until it has arrived
				t.Fatal(err)
			}
			near.counting.broken = nil // as if nobody had looked
			before := near.counting.writes.Load()
			near.begin()
			if n, err := near.Write([]byte("PUT")); n != 0 || !errors.Is(err, errSurplus) || near.counting.writes.Load() != before {
				t.Errorf("wrote %d bytes: %v", n, err)
			}
			if n, err := near.Read(b); n != 0 || !errors.Is(err, errSurplus) {
				t.Errorf("read %d bytes: %v", n, err)
			}
		})
	}
}

// connected gives both ends of a connection, the near one as the Client has it.
func connected(t *testing.T, server, client *tls.Config) (*framedConn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if server != nil {
			secure := tls.Server(conn, server)
			if err := secure.Handshake(); err != nil {
				t.Error(err)
			}
			conn = secure
		}
		accepted <- conn
	}()
	d := dialer{maxBytes: 1 << 20}
	var near net.Conn
	if server == nil {
		near, err = d.plain(t.Context(), "tcp", l.Addr().String())
	} else {
		near, err = d.secure(t.Context(), "tcp", l.Addr().String(), client)
	}
	if err != nil {
		t.Fatal(err)
	}
	far := <-accepted
	t.Cleanup(func() { near.Close(); far.Close() })
	return near.(*framedConn), far
}

// A TLS record of which only a part has come belongs to no answer either.
func TestPartOfARecord(t *testing.T) {
	t.Parallel()
	var r records
	for _, b := range []byte{23, 3, 3, 0, 2, 1, 2, 23, 3, 3, 1, 0} {
		r.take([]byte{b})
	}
	if !r.partial() || r.left != 256 {
		t.Errorf("%+v", r)
	}
	r.take(make([]byte, 256))
	if r.partial() {
		t.Errorf("%+v", r)
	}
}

// Good answers keep their connection, over TLS as well.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	for scheme, settings := range map[string]*tls.Config{"http": nil, "https": server} {
		base, conns := smuggler(t, settings, func(write func(string)) { write("") })
		c := newTestClient(t, base, nil)
		c.tls.made = client
		for range 50 {
			if _, err := c.Update(t.Context(), "p", patientJSON("p", ""), ""); err != nil {
				t.Fatal(err)
			}
		}
		if n := conns.Load(); n != 1 {
			t.Errorf("%s: %d connections", scheme, n)
		}
	}
}

func TestStatusBelow100(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"000", "001", "099"} {
		base := tcpServer(t, func(conn *net.TCPConn, _ int) {
			if readRequest(bufio.NewReader(conn)) != nil {
				io.WriteString(conn, "HTTP/1.1 "+status+" Solveig Aune\r\nContent-Type: application/fhir+json\r\nContent-Length: 2\r\n\r\n{}")
			}
		})
		c := newTestClient(t, base, nil)
		_, read := c.Read(t.Context(), "p")
		_, update := c.Update(t.Context(), "p", patientJSON("p", ""), "")
		_, capabilities := c.Capabilities(t.Context())
		_, after := c.After(t.Context(), "p", "a")
		for _, err := range []error{read, update, capabilities, after} {
			if e := asError(t, err, Unusable); e.Reason != "The server answered with a status that HTTP does not know" {
				t.Errorf("%s: %+v", status, e)
			}
		}
	}
	if reason, _, _ := cause(nil, false); reason == "" {
		t.Error("no cause, no words")
	}
}
