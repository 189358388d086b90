package fhir

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/internal/wait"
)

// answering starts a server that answers each request as write does, on a
// connection of its own, and waits for the client to hang up. open counts the
// connections that it did not.
func answering(t *testing.T, write func(conn *net.TCPConn)) (base string, open *atomic.Int64) {
	open = &atomic.Int64{}
	return tcpServer(t, func(conn *net.TCPConn, _ int) {
		open.Add(1)
		defer open.Add(-1)
		if readRequest(bufio.NewReader(conn)) == nil {
			return
		}
		write(conn)
		_, _ = io.Copy(io.Discard, conn)
	}), open
}

func text(s string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) { _, _ = io.WriteString(conn, s) }
}

// endless writes until the client hangs up.
func endless(head, again string, pause time.Duration) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		_, err := io.WriteString(conn, head)
		for err == nil {
			time.Sleep(pause)
			_, err = io.WriteString(conn, again)
		}
	}
}

const earlyHints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"

var emptyGzip = func() string {
	var b bytes.Buffer
	_ = gzip.NewWriter(&b).Close()
	return strings.Repeat(b.String(), 1000)
}()

// Whatever a server does instead of answering, the conversation ends by its
// deadline at the latest, and neither a connection nor a goroutine stays.
func TestEveryConversationEnds(t *testing.T) {
	body := string(patientJSON("p", ""))
	chunked := okHead + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	for _, tt := range []struct {
		name    string
		write   func(*net.TCPConn)
		kind    Kind
		status  int
		timeout bool
	}{
		{"101", text("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), Unusable, 101, false},
		{"101 that names no protocol", text("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Unusable, 101, false},
		{"101 with bytes behind", endless("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "x", time.Millisecond), Unusable, 101, false},
		{"102", text("HTTP/1.1 102 Processing\r\n\r\n"), Unusable, 102, false},
		{"199", text("HTTP/1.1 199 What\r\n\r\n"), Unusable, 199, false},
		{"103 for ever", endless("", earlyHints, 0), Unusable, 103, false},
		{"100 for ever", endless("", "HTTP/1.1 100 Continue\r\n\r\n", 0), Unusable, 100, false},
		{"103 and no more", text(earlyHints), Lost, 0, true},
		{"a head that does not end", endless("HTTP/1.1 200 OK\r\n", "X-A: b\r\n", 10*time.Millisecond), Lost, 0, true},
		{"a body that trickles", endless(okHead+"Content-Length: 9999\r\n\r\n", "{", 10*time.Millisecond), Lost, 200, true},
		{"chunks that trickle", endless(okHead+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n{\r\n", 10*time.Millisecond), Lost, 200, true},
		{"a trailer that does not come", text(chunked + "0\r\nX-A: "), Lost, 200, true},
		{"a trailer that does not end", endless(chunked+"0\r\n", "X-A: b\r\n", 10*time.Millisecond), Lost, 200, true},
		{"gzip that holds nothing, slowly", endless(okHead+"Content-Encoding: gzip\r\n\r\n", emptyGzip[:23], 10*time.Millisecond), Lost, 200, true},
		{"a malformed header", text("HTTP/1.1 200 OK\r\nETag: W/\"1\x01\"\r\n\r\n"), Unusable, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, open := answering(t, tt.write)
			c := newTestClient(t, base, func(o *Options) {
				o.Timeout = 10 * time.Second
				if tt.timeout {
					o.Timeout = 200 * time.Millisecond
				}
			})
			before := runtime.NumGoroutine()
			count := 50
			if tt.timeout {
				count = 5
			}
			for range count {
				_, err := c.Update(t.Context(), "p", []byte(body), "")
				if e := asError(t, err, tt.kind); e.Status != tt.status || e.Timeout != tt.timeout {
					t.Fatalf("%+v", e)
				}
			}
			gone(t, c, open, before)
		})
	}
}

// gone waits until nothing is left of the conversations.
func gone(t *testing.T, c *Client, open *atomic.Int64, goroutines int) {
	t.Helper()
	c.transport.CloseIdleConnections()
	defer func() {
		if t.Failed() {
			stacks := make([]byte, 64<<10)
			t.Logf("%d connections and %d more goroutines stay:\n%s", open.Load(), runtime.NumGoroutine()-goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}()
	wait.Until(t, "connections and goroutines have ended", func() bool { return open.Load() == 0 && runtime.NumGoroutine() <= goroutines+2 })
}

// No reader of JSON sees a body that would end the process, whatever was asked
// for and with whatever status it comes; nor does it tell that a patient is gone.
func TestDeepBodiesAreLeft(t *testing.T) {
	t.Parallel()
	var status int
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	calls := map[string]func() error{
		OpRead:         func() error { _, err := c.Read(t.Context(), "p"); return err },
		OpUpdate:       func() error { _, err := c.Update(t.Context(), "p", patientJSON("p", ""), ""); return err },
		OpHistory:      func() error { _, err := c.After(t.Context(), "p", `W/"1"`); return err },
		OpCapabilities: func() error { _, err := c.Capabilities(t.Context()); return err },
		OpSearch: func() error {
			for _, err := range everybody(t.Context(), c) {
				return err
			}
			return nil
		},
	}
	for _, body = range [][]byte{filled("", "[", ""), filled("", `{"a":`, ""), filled("[", "{},", "{}]")} {
		for _, status = range []int{200, 400, 404, 410, 500} {
			for op, call := range calls {
				var e *Error
				if err := call(); !errors.As(err, &e) || e.Kind == Gone || len(e.Issues) > 0 {
					t.Errorf("%s, %d: %v", op, status, err)
				}
			}
		}
	}
}

// A next link is remembered to the end of a search: it is not taken at any length.
func TestLongNextLink(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, `{"resourceType":"Bundle","link":[{"relation":"next","url":"/?`+strings.Repeat("x", 1<<20)+`"}]}`)
	}))
	defer server.Close()
	for _, err := range everybody(t.Context(), newTestClient(t, server.URL, nil)) {
		if e := asError(t, err, Unusable); e.Reason != "The answer is unusable: its next link is too long" {
			t.Error(e)
		}
	}
}

// A CapabilityStatement may be long, what is kept of it is not.
func TestLongCapabilities(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, `{"resourceType":"CapabilityStatement","software":{"name":"`+strings.Repeat("x", 1<<20)+`","version":"8"},"rest":[{"resource":[{"type":"Patient","interaction":[`+
			strings.Repeat(`{"code":"read"},`, 100_000)+`{}],"searchParam":[{"name":"`+strings.Repeat("x", 1<<20)+`"},{"name":"_id"}]}]}]}`)
	}))
	defer server.Close()
	caps, err := newTestClient(t, server.URL, nil).Capabilities(t.Context())
	if err != nil || caps.SoftwareName != "" || caps.SoftwareVersion != "8" || len(caps.Interactions) != maxWords || len(caps.SearchParams) != 1 {
		t.Errorf("%.100s %d %d %v", caps.SoftwareName, len(caps.Interactions), len(caps.SearchParams), err)
	}
}

// What doctor prints of a server makes no line of its own and moves no cursor.
func TestCapabilitiesArePrintable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, `{"resourceType":"CapabilityStatement","software":{"name":"S\n\u001b[2Jok    database: x\u2028y","version":"8\u202e\r9\u0085"},"fhirVersion":"4\u0000\u200b"}`)
	}))
	defer server.Close()
	caps, err := newTestClient(t, server.URL, nil).Capabilities(t.Context())
	if err != nil || caps.SoftwareName != "S [2Jok database: x y" || caps.SoftwareVersion != "8 9" || caps.FHIRVersion != "4" {
		t.Errorf("%+v, %v", caps, err)
	}
}

// A server may answer before it has read the request, and read no more of it.
func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	var open atomic.Int64
	base := tcpServer(t, func(conn *net.TCPConn, _ int) {
		open.Add(1)
		defer open.Add(-1)
		if _, err := conn.Read(make([]byte, 100)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
		for { // until the client hangs up, but without reading on
			time.Sleep(20 * time.Millisecond)
			if _, err := conn.Write([]byte{0}); err != nil {
				return
			}
		}
	})
	c := newTestClient(t, base, nil)
	before := runtime.NumGoroutine()
	for range 10 {
		_, err := c.Update(t.Context(), "p", filled(`{"resourceType":"Patient","id":"p","x":"`, "x", `"}`), "")
		if e := asError(t, err, Rejected); e.Status != 413 {
			t.Fatal(e)
		}
	}
	gone(t, c, &open, before)
}

// A few interim answers, as servers behind HTTP/2 proxies send them, are no harm.
func TestInterimAnswersPass(t *testing.T) {
	t.Parallel()
	body := patientJSON("p", "")
	base, _ := answering(t, text(earlyHints+earlyHints+"HTTP/1.1 100 Continue\r\n\r\n"+okHead+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)))
	if _, err := newTestClient(t, base, nil).Read(t.Context(), "p"); err != nil {
		t.Error(err)
	}
}

// What arrives is bounded, not only what it turns into: empty gzip members make
// no body, however many there are.
func TestFloodsAreCut(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"empty gzip members": okHead + "Content-Encoding: gzip\r\n\r\n",
		"a body":             okHead + "\r\n",
	} {
		var written atomic.Int64
		base, open := answering(t, func(conn *net.TCPConn) {
			_, err := io.WriteString(conn, head)
			for err == nil {
				_, err = io.WriteString(conn, emptyGzip)
				written.Add(int64(len(emptyGzip)))
			}
		})
		c := newTestClient(t, base, func(o *Options) { o.MaxBody, o.Timeout = 1<<20, time.Minute })
		_, err := c.Read(t.Context(), "p")
		if e := asError(t, err, Unusable); e.Reason != "The server answered with more than 1048576 bytes (status 200)" {
			t.Errorf("%s: %q", name, e.Reason)
		}
		wait.Until(t, "the connection of "+name+" is closed", func() bool { return open.Load() == 0 })
		if written.Load() > 32<<20 { // twice the body, and what the kernel holds
			t.Errorf("%s: %d bytes were taken", name, written.Load())
		}
	}
}

// Nor is a hanging handshake waited for, with the server or with a proxy.
func TestHangingHandshakes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	for name, prepare := range map[string]func(*http.Transport){
		"TLS":     func(*http.Transport) {},
		"CONNECT": func(tr *http.Transport) { tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()}) },
		"TLS with a proxy": func(tr *http.Transport) {
			tr.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: l.Addr().String()})
			tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // it never gets that far
		},
	} {
		c := newTestClient(t, "https://"+l.Addr().String(), func(o *Options) { o.Timeout = 200 * time.Millisecond })
		prepare(c.transport)
		_, err := c.Update(t.Context(), "p", patientJSON("p", ""), "")
		if e := asError(t, err, NotSent); !e.Timeout || e.NotAsked {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// What goes into If-Match is what the server sent, in all forms that servers
// send; else the versionId; else the patient cannot be read.
func TestETagsThatCanBeSentBack(t *testing.T) {
	t.Parallel()
	var etag, meta string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write(patientJSON("p", meta))
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	read := func() (string, error) {
		r, err := c.Read(t.Context(), "p")
		return r.ETag, err
	}
	for _, etag = range []string{"", `W/"1"`, `"1"`, `W/"b7e2-uuid"`, `1`, `W/1`, `"MTY3NDU2+/=="`, `"1-gzip"`, `"2024-01-01 10:00"`, `"a,b"`, `"*"`, `"` + strings.Repeat("1", 1000) + `"`} {
		if got, err := read(); got != etag || err != nil {
			t.Errorf("%q became %q, %v", etag, got, err)
		}
	}
	for _, etag = range []string{"\"1\t2\"", `*`, `"1","2"`, `W/"1", W/"2"`, `1, 2`, `"1`, `W/"`, `W/""`, `""`, `w/"1"`, `"é"`, "\"\xff\"", `"` + strings.Repeat("1", 1100) + `"`} {
		meta = `"meta":{"versionId":"7"}`
		if got, err := read(); got != `W/"7"` || err != nil {
			t.Errorf("%q became %q, %v", etag, got, err)
		}
		u, err := c.Update(t.Context(), "p", patientJSON("p", ""), `W/"7"`)
		if err != nil || u.Resource.ETag != `W/"7"` {
			t.Errorf("%q after a PUT became %q, %v", etag, u.Resource.ETag, err)
		}
		for _, meta = range []string{``, `"meta":{"versionId":"7\u0001"}`, `"meta":{"versionId":7}`, `"meta":{"versionId":"` + strings.Repeat("7", 65) + `"}`} {
			_, err := read()
			asError(t, err, Unusable)
		}
	}
}

// A request that cannot be made is told from a server that does not answer.
func TestRequestsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	base, _ := answering(t, func(*net.TCPConn) { t.Error("asked") })
	c := newTestClient(t, base, func(o *Options) { o.MaxBody = 1 << 10 })
	for name, call := range map[string]func() error{
		"If-Match": func() error {
			_, err := c.Update(t.Context(), "p", patientJSON("p", ""), "\"1\x01\"")
			return err
		},
		"a body that could never be read again": func() error {
			_, err := c.Update(t.Context(), "p", patientJSON("p", `"x":"`+strings.Repeat("x", 1<<10)+`"`), "")
			return err
		},
	} {
		if e := asError(t, call(), NotSent); !e.NotAsked {
			t.Errorf("%s: %+v", name, e)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Read(ended, "p")
	if e := asError(t, err, NotSent); e.NotAsked || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v", e)
	}
	_, err = newTestClient(t, closedPort(t), nil).Read(t.Context(), "p")
	if e := asError(t, err, NotSent); e.NotAsked {
		t.Errorf("%+v", e)
	}
}
