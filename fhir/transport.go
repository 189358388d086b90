package fhir

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// idleTimeout lies below the 5 s after which Apache and Node close an idle
// connection: a PUT sent just then would be Lost.
const idleTimeout = 4 * time.Second

// maxInterim bounds the interim answers (100, 103) before the real one. net/http
// as of Go 1.26 leaves that to whoever looks at them.
const maxInterim = 5

// Why no answer is waited for any longer.
var (
	errInterim = errors.New("an interim answer that means nothing, or too many of them")
	errFlood   = errors.New("more bytes than an answer may have")
)

// newTransport makes connections that bring at most maxBytes in answer to one
// request. net/http as of Go 1.26 goes on dialing after the request has ended,
// and what it dials takes one of the maxConns places until then, so timeout
// bounds the dial as well. For a proxy's answer to CONNECT net/http itself sets
// a minute.
func newTransport(maxConns int, maxBytes int64, timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{KeepAlive: 30 * time.Second, Timeout: timeout}
	// HTTP/1.1 only: net/http then repeats a PUT only when nothing of it was
	// written (HTTP/2 has more cases).
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			counting := &countingConn{Conn: conn, maxBytes: maxBytes}
			counting.budget.Store(maxBytes)
			return counting, nil
		},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           maxConns,
		MaxIdleConnsPerHost:    maxConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 256 << 10,
		Protocols:              &protocols,
	}
}

// countingConn counts the writes that may have let bytes out, and bounds what
// comes in: what is discarded on the way to a body (empty gzip members, say)
// takes time as well.
type countingConn struct {
	net.Conn
	writes   atomic.Int64
	maxBytes int64        // in answer to one request
	budget   atomic.Int64 // what is left of them for the request under way
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.budget.Add(-int64(n)) < 0 {
		return 0, errFlood
	}
	return n, err
}

// Write counts before it writes, so that nobody who looks in between believes
// that nothing left.
func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	n, err := c.Conn.Write(b)
	if n == 0 && err != nil {
		c.writes.Add(-1)
	}
	return n, err
}

// wire watches the connections that one request was given.
type wire struct {
	mu         sync.Mutex
	used       []usedConn
	unknown    bool
	tlsFailure bool
	asked      bool // a connection was looked for
	interim    int  // how many interim answers came
	ended      int  // the status of the one that ended the conversation; 0: none
}

type usedConn struct {
	conn   *countingConn
	before int64
}

func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked = true
		},
		Got1xxResponse: w.interimAnswer,
		GotConn: func(info httptrace.GotConnInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			conn := info.Conn
			for {
				switch c := conn.(type) {
				case *countingConn:
					w.used = append(w.used, usedConn{c, c.writes.Load()})
					c.budget.Store(c.maxBytes)
					return
				case *tls.Conn:
					conn = c.NetConn()
				default:
					w.unknown = true
					return
				}
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.tlsFailure = err != nil
		},
	})
}

// interimAnswer lets a few 100 and 103 pass. Any other means what was never
// asked for, and nobody could say when the real answer is to come.
func (w *wire) interimAnswer(status int, _ textproto.MIMEHeader) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interim++
	if (status == http.StatusContinue || status == http.StatusEarlyHints) && w.interim <= maxInterim {
		return nil
	}
	w.ended = status
	return errInterim
}

// endedBy is the status of the interim answer that ended the conversation; 0:
// none did.
func (w *wire) endedBy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

func (w *wire) wasAsked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// mayHaveSent tells whether a byte of the request can have left. It is asked
// after the round trip failed, when the connection is closed.
func (w *wire) mayHaveSent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.used {
		if u.conn.writes.Load() != u.before {
			return true
		}
	}
	return w.unknown
}

func (w *wire) handshakeFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tlsFailure
}

// request is one HTTP request and what its answer must hold.
type request struct {
	op, method, url string
	want            string   // resourceType of a good answer
	id              string   // the Patient's id, if it concerns one
	secrets         []string // values not to repeat, besides those of id and body
	body            []byte
	ifMatch         string
}

// answer is what came of a request: an HTTP answer, or err.
type answer struct {
	request
	status      int // 0: no answer
	header      http.Header
	body        []byte
	unread      string // why the body is not read, in words: no reader of JSON may see it; "": body holds all that came
	err         error  // no answer, or the body broke off
	sent        bool   // with err: a byte of the request may have left
	notAsked    bool   // with err: no request could be made
	tlsFailure  bool
	credentials []string // ours
	maxBody     int64
	doc         gjson.Result // the parsed body, set by failure when it is good
	now         time.Time
}

// exchange sends one request and reads the whole answer.
func (c *Client) exchange(ctx context.Context, r request) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var w wire
	a = answer{request: r, credentials: c.secrets, maxBody: c.maxBody}
	defer func() {
		a.now, a.sent, a.tlsFailure = c.now(), w.mayHaveSent(), w.handshakeFailed()
	}()

	req, err := http.NewRequestWithContext(w.trace(ctx), r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		a.err, a.notAsked = err, true
		return a
	}
	c.setHeader(req, r)
	// The transport itself, not an http.Client: no redirects, no cookies.
	res, err := c.transport.RoundTrip(req)
	switch interim := w.endedBy(); {
	case err != nil && interim != 0:
		a.status = interim
		return a
	case err != nil:
		a.err, a.notAsked = err, !w.wasAsked() && ctx.Err() == nil
		return a
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	if a.status == http.StatusSwitchingProtocols {
		return a // the body is the bare connection (net/http as of Go 1.26): no context ends a read of it
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, c.maxBody+1))
	a.take(body, err)
	return a
}

// take is the one way in for a body: what passes can be read by recursion, and
// what is built from it stays small.
func (a *answer) take(body []byte, err error) {
	if int64(len(body)) > a.maxBody || errors.Is(err, errFlood) {
		a.unread = fmt.Sprintf("more than %d bytes", a.maxBody)
		return
	}
	values := maxValues
	if a.want == "Patient" {
		values = maxPatientValues
	}
	a.err = err
	if err := jsonlimit.Check(body, maxDepth, values); err != nil {
		a.unread = "a body that is left unread: " + err.Error()
		return
	}
	a.body = body
}

func (c *Client) setHeader(req *http.Request, r request) {
	h := req.Header
	h.Set("Accept", "application/fhir+json")
	h.Set("User-Agent", c.userAgent)
	if c.auth != "" {
		h.Set("Authorization", c.auth)
	}
	switch r.op {
	case OpUpdate:
		h.Set("Content-Type", "application/fhir+json")
		h.Set("Prefer", "return=representation")
		if r.ifMatch != "" {
			h.Set("If-Match", r.ifMatch)
		}
		return
	case OpSearch:
		// An unknown parameter shall be an error, not an empty Bundle.
		h.Set("Prefer", "handling=strict")
	}
	// HAPI answers a repeated search from a cache for a minute otherwise.
	h.Set("Cache-Control", "no-cache")
}

// cause says in plain words why no answer came, and whether a deadline was it.
func cause(err error, tlsFailure bool) (reason string, timeout bool) {
	var netError net.Error
	var dnsError *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netError) && netError.Timeout():
		return "Connection timeout", true
	case errors.Is(err, context.Canceled):
		return "Request canceled", false
	case errors.As(err, &dnsError):
		return "Host not found", false
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Connection refused", false
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Host unreachable", false
	case tlsFailure:
		return "TLS handshake failed", false
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "Connection reset", false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(err.Error(), "server closed idle connection"): // net/http does not export it
		return "Connection closed before the answer was complete", false
	}
	return "Communication failed", false
}
