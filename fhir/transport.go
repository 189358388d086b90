package fhir

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// maxInterim bounds the interim answers (100, 103) before the real one. net/http
// as of Go 1.26 leaves that to whoever looks at them.
const maxInterim = 5

// Why no answer is waited for any longer.
var (
	errInterim = errors.New("an interim answer that means nothing, or too many of them")
	errFlood   = errors.New("more bytes than an answer may have")
	errStatus  = errors.New("a status that HTTP does not know")
)

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
				case *framedConn:
					c.begin()
					conn = c.counting
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

// mayHaveSent reports whether a byte of the request can have left. It is asked
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

// explain says of a connection that ended at once whether the server had asked for a
// client certificate: in TLS 1.3 it refuses one after the handshake, by an alert that
// may be lost with the connection. One that takes it says more first (its tickets).
func (w *wire) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.used {
		if u.conn.certificate != certificateNotAsked && (!u.conn.heard.Load() || isAlert(err, "")) {
			return &handshakeError{u.conn.certificate, err}
		}
	}
	return err
}

// request is one HTTP request and what its answer must hold.
type request struct {
	op, method, url string
	want            string // resourceType of a good answer
	id              string // the Patient's id, if it concerns one
	body            []byte
	ifMatch         string
	compressed      bool          // the answer to a read may be compressed
	header          http.Header   // instead of what is usual
	timeout         time.Duration // 0: the client's
	// stream takes the body of a 200 as it comes, of any length; nil: it is read whole.
	stream func(io.Reader) error
}

// answer is what came of a request: an HTTP answer, or err.
type answer struct {
	request
	status     int // 0: no answer
	header     http.Header
	body       []byte
	tooLong    bool   // more came than an answer may have
	unread     string // why the body is not read, in words: no reader of JSON may see it; "": body holds all that came
	err        error  // no answer, or the body broke off
	sent       bool   // with err: a byte of the request may have left
	notAsked   bool   // with err: no request could be made
	tokenError *Error // no request could be made for want of a token
	tlsFailure bool
	ownSecrets []string // our credentials, which no text may repeat
	maxBody    int64
	doc        gjson.Result // the parsed body, set by failure when it is good
	now        time.Time
	sorted     bool  // failure has been asked, and
	sortedAs   error // has said this
}

// exchange sends one request and reads the whole answer. One that was refused for
// our credentials was not carried out: with another token it is sent once more.
func (c *Client) exchange(ctx context.Context, r request) answer {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.timeout, c.timeout))
	defer cancel()
	authorization, err := c.credentials.get(ctx, "")
	if err != nil {
		return answer{request: r, tokenError: err}
	}
	a := c.send(ctx, r, authorization)
	if !a.deniesToken() {
		return a
	}
	another, err := c.credentials.get(ctx, authorization)
	if err != nil {
		return answer{request: r, tokenError: err}
	}
	if another == "" {
		return a
	}
	a = c.send(ctx, r, another)
	if a.status != 0 {
		c.credentials.noteTaken(another, !a.deniesToken())
	}
	return a
}

// deniesToken reports whether the server refused our credentials, which another
// token may mend: 401, or OpenEMR's 400 for a session that was ended.
func (a *answer) deniesToken() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusBadRequest && a.sortBadRequest() == AuthFailed
}

func (c *Client) send(ctx context.Context, r request, authorization string) (a answer) {
	var w wire
	_, credential, _ := strings.Cut(authorization, " ")
	a = answer{request: r, ownSecrets: append([]string{credential}, c.secrets...), maxBody: c.maxBody}
	began := time.Now()
	defer func() {
		took := time.Since(began)
		a.now, a.sent, a.tlsFailure = c.now(), w.mayHaveSent(), w.handshakeFailed()
		c.observe(&a, took)
	}()

	req, err := http.NewRequestWithContext(w.trace(ctx), r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		a.err, a.notAsked = err, true
		return a
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	c.setHeader(req, r)
	// The transport itself, not an http.Client: no redirects, no cookies.
	res, err := c.transport.RoundTrip(req)
	switch interim := w.endedBy(); {
	case err != nil && interim != 0:
		a.status = interim
		return a
	case err != nil:
		a.err, a.notAsked = w.explain(err), !w.wasAsked() && ctx.Err() == nil
		return a
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	if a.status < 100 { // net/http as of Go 1.26 takes any three digits
		a.err = errStatus
		return a
	}
	if a.status == http.StatusSwitchingProtocols {
		return a // the body is the bare connection (net/http as of Go 1.26): no context ends a read of it
	}
	content, err := contentOf(res)
	if err != nil {
		a.err = err
		return a
	}
	if r.stream != nil && a.status == http.StatusOK {
		a.err = r.stream(content)
		return a
	}
	body, err := io.ReadAll(io.LimitReader(content, c.maxBody+1))
	a.take(body, err)
	return a
}

// contentOf is the body of an answer. net/http decompresses only where it was not said
// that nothing should be compressed; some do it all the same.
func contentOf(res *http.Response) (io.Reader, error) {
	if !res.Uncompressed && strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") && res.ContentLength != 0 {
		return gzip.NewReader(res.Body)
	}
	return res.Body, nil
}

// take is the one way in for a body: what passes can be read by recursion, and
// what is built from it stays small.
func (a *answer) take(body []byte, err error) {
	if int64(len(body)) > a.maxBody || errors.Is(err, errFlood) {
		a.tooLong, a.unread = true, fmt.Sprintf("more than %d bytes", a.maxBody)
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
	defer maps.Copy(h, r.header)
	h.Set("Accept", "application/fhir+json")
	h.Set("User-Agent", c.userAgent)
	if c.requestID != nil {
		if id := c.requestID(req.Context()); id != "" {
			h.Set("X-Request-Id", id)
		}
	}
	if r.op == OpSubscribe && r.body != nil {
		h.Set("Content-Type", "application/fhir+json")
		h.Set("Prefer", "return=representation")
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
	switch {
	case r.compressed:
		h.Set("Accept-Encoding", "gzip")
	case r.op == OpRead: // what compresses on the way may change the ETag
		h.Set("Accept-Encoding", "identity")
	}
	// HAPI answers a repeated search from a cache for a minute otherwise.
	h.Set("Cache-Control", "no-cache")
}

// cause says in plain words why no answer came, and whether a deadline was it.
func cause(err error, tlsFailure bool) (reason string, timeout bool, why Cause) {
	var netError net.Error
	var dnsError *net.DNSError
	var handshake *handshakeError
	switch {
	case err == nil:
		return "Communication failed", false, 0
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netError) && netError.Timeout():
		return "Connection timeout", true, 0
	case errors.Is(err, context.Canceled):
		return "Request canceled", false, 0
	case errors.As(err, &dnsError):
		return "Host not found", false, HostNotFound
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Connection refused", false, ConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Host unreachable", false, 0
	case errors.As(err, &handshake) && (tlsFailure || handshake.certificate != certificateNotAsked):
		reason, why = tlsReason(err, handshake.certificate)
		return reason, false, why
	case tlsFailure, isAlert(err, ""):
		reason, why = tlsReason(err, certificateNotAsked)
		return reason, false, why
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "Connection reset", false, 0
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(err.Error(), "server closed idle connection"): // net/http does not export it
		return "Connection closed before the answer was complete", false, 0
	}
	return "Communication failed", false, 0
}
