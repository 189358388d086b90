package fhir

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tcpServer gives each connection to handle, with its number from 1.
func tcpServer(t *testing.T, handle func(conn *net.TCPConn, n int)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn), n)
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/fhir"
}

// readRequest reads one request with its body; nil when the peer is gone.
func readRequest(r *bufio.Reader) *http.Request {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil
	}
	return req
}

func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String() + "/fhir"
}

func TestBrokenConversations(t *testing.T) {
	t.Parallel()
	body := string(patientJSON("p", ""))
	after := func(do func(conn *net.TCPConn)) func(*net.TCPConn, int) {
		return func(conn *net.TCPConn, _ int) {
			if readRequest(bufio.NewReader(conn)) != nil {
				do(conn)
			}
		}
	}
	write := func(s string) func(*net.TCPConn) {
		return func(conn *net.TCPConn) { io.WriteString(conn, s) }
	}
	hang := func(s string) func(*net.TCPConn) {
		return func(conn *net.TCPConn) {
			write(s)(conn)
			io.Copy(io.Discard, conn)
		}
	}
	tests := []struct {
		name    string
		handle  func(*net.TCPConn, int) // nil: nobody listens
		kind    Kind
		reason  string
		timeout bool
	}{
		{"refused", nil, NotSent, "Connection refused", false},
		{"reset after reading", after(reset), Lost, "Connection reset", false},
		{"closed after reading", after(func(*net.TCPConn) {}), Lost, "Connection closed before the answer was complete", false},
		{"no answer", after(hang("")), Lost, "Connection timeout", true},
		{"slow head", after(hang("HTTP/1.1 200 OK\r\nContent-")), Lost, "Connection timeout", true},
		{"slow body", after(hang(okHead + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body[:9]))), Lost, "Connection timeout", true},
		{"truncated body", after(write(okHead + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)+9, body))), Lost, "Connection closed before the answer was complete", false},
		{"truncated chunk", after(write(okHead + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + body)), Lost, "Connection closed before the answer was complete", false},
		{"no HTTP", after(write("hello\r\n\r\n")), Lost, "Communication failed", false},
		{"ends early", after(write(okHead + fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", 9, body[:9]))), Unusable, "The answer is unusable: not one JSON value", false},
		{"error with a truncated body", after(write("HTTP/1.1 422 No\r\nContent-Length: 99\r\n\r\n{")), Rejected, "The server answered with status 422", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := closedPort(t)
			if tt.handle != nil {
				base = tcpServer(t, tt.handle)
			}
			c := newTestClient(t, base, func(o *Options) { o.Timeout = 300 * time.Millisecond })
			for op, call := range map[string]func() error{
				OpRead:   func() error { _, err := c.Read(t.Context(), "p"); return err },
				OpUpdate: func() error { _, err := c.Update(t.Context(), "p", []byte(body), ""); return err },
			} {
				e := asError(t, call(), tt.kind)
				if e.Op != op || e.Reason != tt.reason || e.Timeout != tt.timeout {
					t.Errorf("%s: %+v", op, e)
				}
				if strings.Contains(e.Error(), "127.0.0.1") || strings.Contains(e.Error(), "Patient/") {
					t.Errorf("address in %q", e.Error())
				}
			}
		})
	}
}

// A server that resets at once, before it reads: bytes may have left, or the
// write failed; never a second PUT on a connection that took bytes.
func TestResetBeforeReading(t *testing.T) {
	t.Parallel()
	base := tcpServer(t, func(conn *net.TCPConn, _ int) { reset(conn) })
	c := newTestClient(t, base, nil)
	for range 20 {
		_, err := c.Update(t.Context(), "p", patientJSON("p", ""), "")
		var e *Error
		if !errors.As(err, &e) || e.Kind != Lost && e.Kind != NotSent {
			t.Fatalf("got %v", err)
		}
	}
}

func TestPutIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, warm := range []bool{false, true} {
		t.Run(fmt.Sprintf("warm=%v", warm), func(t *testing.T) {
			t.Parallel()
			var puts atomic.Int32
			base := tcpServer(t, func(conn *net.TCPConn, _ int) {
				r := bufio.NewReader(conn)
				for req := readRequest(r); req != nil; req = readRequest(r) {
					if req.Method == http.MethodPut {
						puts.Add(1)
						reset(conn)
						return
					}
					body := patientJSON("p", "")
					fmt.Fprintf(conn, okHead+"Content-Length: %d\r\n\r\n%s", len(body), body)
				}
			})
			c := newTestClient(t, base, nil)
			if warm { // the PUT then goes out on a reused connection
				if _, err := c.Read(t.Context(), "p"); err != nil {
					t.Fatal(err)
				}
			}
			_, err := c.Update(t.Context(), "p", patientJSON("p", ""), "")
			asError(t, err, Lost)
			time.Sleep(50 * time.Millisecond) // a second one would come at once
			if n := puts.Load(); n != 1 {
				t.Errorf("%d PUTs", n)
			}
		})
	}
}

// A PUT that finds its idle connection closed goes out on a new one: nothing
// was written on the old.
func TestPutAfterIdleConnectionWasClosed(t *testing.T) {
	t.Parallel()
	var puts atomic.Int32
	base := tcpServer(t, func(conn *net.TCPConn, _ int) {
		if req := readRequest(bufio.NewReader(conn)); req != nil {
			if req.Method == http.MethodPut {
				puts.Add(1)
			}
			body := patientJSON("p", "")
			fmt.Fprintf(conn, okHead+"Content-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	c := newTestClient(t, base, nil)
	if _, err := c.Read(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := c.Update(t.Context(), "p", patientJSON("p", ""), ""); err != nil {
		t.Fatal(err)
	}
	if n := puts.Load(); n != 1 {
		t.Errorf("%d PUTs", n)
	}
}

func TestNotSentWhenNoConnectionIsFree(t *testing.T) {
	t.Parallel()
	got := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(got)
		<-r.Context().Done()
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, func(o *Options) { o.MaxConns = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := c.Read(ctx, "p")
		first <- err
	}()
	<-got
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err := c.Update(short, "p", patientJSON("p", ""), "")
	if e := asError(t, err, NotSent); !e.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v", e)
	}
	cancel()
	if e := asError(t, <-first, Lost); e.Reason != "Request canceled" || e.Timeout {
		t.Errorf("%+v", e)
	}
	_, err = c.Update(ctx, "p", patientJSON("p", ""), "")
	asError(t, err, NotSent)
}

func TestTLSFailures(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it would report the failed handshake
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for reason, base := range map[string]string{
		"the server's certificate is from an unknown authority": secure.URL,
		"the server does not speak TLS":                         strings.Replace(plain.URL, "http:", "https:", 1),
	} {
		_, err := newTestClient(t, base, nil).Update(t.Context(), "p", patientJSON("p", ""), "")
		if e := asError(t, err, NotSent); e.Reason != "TLS handshake failed: "+reason {
			t.Errorf("%q", e.Reason)
		}
	}
}

// countingWriter counts what a server could write before the client left.
type countingWriter struct {
	w io.Writer
	n *atomic.Int64
}

func (c countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func TestHugeAnswers(t *testing.T) {
	t.Parallel()
	const total = 100 << 20
	var written atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		var out io.Writer = countingWriter{w, &written}
		if strings.HasSuffix(r.URL.Path, "bomb") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			out = countingWriter{z, &written}
		}
		block := []byte(strings.Repeat("SQL Statement failed ", 1000))
		for n := 0; n < total; n += len(block) {
			if _, err := out.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, func(o *Options) { o.MaxBody = 1 << 20 })
	for _, id := range []string{"plain", "bomb"} {
		_, err := c.Update(t.Context(), id, patientJSON(id, ""), "")
		if e := asError(t, err, Unusable); e.Reason != "The server answered with more than 1048576 bytes (status 200)" {
			t.Errorf("%s: %q", id, e.Reason)
		}
		if id == "plain" && written.Load() > total/2 {
			t.Errorf("read %d bytes", written.Load())
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer secret" {
				t.Errorf("Authorization %q", r.Header.Get("Authorization"))
			}
			http.Redirect(w, r, thief.URL+r.URL.Path, status)
		}))
		c := newTestClient(t, server.URL, func(o *Options) { o.Auth = Auth{Mode: "bearer", Token: "secret"} })
		_, err := c.Read(t.Context(), "p")
		asError(t, err, Unusable)
		_, err = c.Update(t.Context(), "p", patientJSON("p", ""), "")
		e := asError(t, err, Unusable)
		if want := fmt.Sprintf("The server answered with a redirect, which is not followed (status %d)", status); e.Reason != want {
			t.Errorf("reason %q", e.Reason)
		}
		server.Close()
	}
	if stolen.Load() != 0 {
		t.Errorf("%d requests reached the other host", stolen.Load())
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err   error
		want  string
		cause Cause
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "fhir.invalid", IsNotFound: true}}, "Host not found", HostNotFound},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "Connection refused", ConnectionRefused},
		{&net.DNSError{Err: "timeout", IsTimeout: true}, "Connection timeout", 0},
		{errors.New("anything"), "Communication failed", 0},
		{errors.New("http: server closed idle connection"), "Connection closed before the answer was complete", 0},
	} {
		if got, _, why := cause(tt.err, false); got != tt.want || why != tt.cause {
			t.Errorf("%v: %q (%d), want %q", tt.err, got, why, tt.want)
		}
	}
}

// A write that let nothing out does not count; anything else does.
func TestCountingConn(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	go func() {
		if _, err := io.ReadFull(far, make([]byte, 2)); err == nil {
			far.Close()
		}
	}()
	c := &countingConn{Conn: near}
	w := wire{used: []usedConn{{c, 0}}}
	if n, err := c.Write([]byte("1234")); n != 2 || err == nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if !w.mayHaveSent() {
		t.Error("a part of a write is lost sight of")
	}
	before := c.writes.Load()
	if n, err := c.Write([]byte("5")); n != 0 || err == nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if c.writes.Load() != before {
		t.Error("a write of nothing counts")
	}
}

// HTTP/2 is not spoken even where it is offered: it repeats requests in more
// cases.
func TestSpeaksHTTP1(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		if r.ProtoMajor != 1 {
			t.Errorf("asked by %s", r.Proto)
		}
		if _, err := w.Write(patientJSON("p", "")); err != nil {
			t.Error(err)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newTestClient(t, server.URL, func(o *Options) { o.TLS.CA = ca })
	if _, err := c.Update(t.Context(), "p", patientJSON("p", ""), ""); err != nil {
		t.Fatal(err)
	}
}
