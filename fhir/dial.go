package fhir

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// idleTimeout lies below the 5 s after which Apache and Node close an idle
// connection: a PUT sent just then would be Lost.
const idleTimeout = 4 * time.Second

// maxHeader bounds the head of an answer.
const maxHeader = 256 << 10

const handshakeTimeout = 10 * time.Second

// newTransport makes connections to base that bring at most maxBytes in answer
// to one request. net/http as of Go 1.26 goes on dialing after the request has
// ended, and what it dials takes one of the maxConns places until then, so
// timeout bounds the dial as well. For a proxy's answer to CONNECT net/http
// itself sets a minute. Where a proxy passes TLS through, changed TLS files are
// read at the next start only: net/http does that handshake.
func newTransport(base *url.URL, maxConns int, maxBytes int64, timeout time.Duration, files *tlsFiles) *http.Transport {
	// HTTP/1.1 only: net/http then repeats a PUT only when nothing of it was
	// written (HTTP/2 has more cases).
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           maxConns,
		MaxIdleConnsPerHost:    maxConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              &protocols,
	}
	d := dialer{net: net.Dialer{KeepAlive: 30 * time.Second, Timeout: timeout}, maxBytes: maxBytes}
	if !seesArrivals || tunnels(base) {
		// The answers on a connection cannot be told apart: one for each.
		t.DisableKeepAlives = true
		t.DialContext = d.unframed
		t.TLSClientConfig = files.config().Clone()
		return t
	}
	t.DialContext = d.plain
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return d.secure(ctx, network, address, files.config())
	}
	return t
}

// tunnels reports whether the bytes to base pass a proxy that does not look at
// them: what comes on such a connection is not HTTP from the first byte on.
func tunnels(base *url.URL) bool {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: base})
	if err != nil {
		return true
	}
	return proxy != nil && (base.Scheme == "https" || strings.HasPrefix(proxy.Scheme, "socks"))
}

type dialer struct {
	net      net.Dialer
	maxBytes int64
}

func (d *dialer) dial(ctx context.Context, network, address string) (*countingConn, error) {
	conn, err := d.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &countingConn{Conn: conn, maxBytes: d.maxBytes}
	c.budget.Store(d.maxBytes)
	if socket, ok := conn.(syscall.Conn); ok && seesArrivals {
		if c.socket, err = socket.SyscallConn(); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return c, nil
}

func (d *dialer) unframed(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.awaits = true
	return c, nil
}

func (d *dialer) plain(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &framedConn{Conn: c, counting: c}, nil
}

// secure does the TLS handshake as net/http would, which would leave no place
// for a framedConn above it.
func (d *dialer) secure(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.awaits = true // the handshake, and the session tickets that follow it
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	config.ServerName = host
	// Ours is sent whatever authorities the server names: the server can then
	// say what is wrong with ours.
	own := config.Certificates
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(own) == 0 {
			c.certificate = certificateLacking
			return &tls.Certificate{}, nil
		}
		c.certificate = certificateGiven
		return &own[0], nil
	}
	bounded, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn := tls.Client(c, config)
	err = conn.HandshakeContext(bounded)
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(conn.ConnectionState(), err)
	}
	if err != nil {
		c.Close()
		return nil, &handshakeError{c.certificate, err}
	}
	c.heard.Store(false)
	if conn.ConnectionState().Version < tls.VersionTLS13 { // the server has looked at ours already
		c.certificate = certificateNotAsked
	}
	return &framedConn{Conn: conn, counting: c}, nil
}
