package fhir

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// countingConn is the bare connection. It counts the writes that may have let
// bytes out, and bounds what comes in: what is discarded on the way to a body
// (empty gzip members, say) takes time as well.
type countingConn struct {
	net.Conn
	writes   atomic.Int64
	maxBytes int64        // in answer to one request
	budget   atomic.Int64 // what is left of them for the request under way

	socket  syscall.RawConn // nil: there is none, as in a test
	dry     bool            // Read takes nothing from the socket; set between reads only
	records records         // means something below TLS only

	certificate certificateState // of the TLS handshake above it, until the server has accepted our certificate
	heard       atomic.Bool      // anything since then

	mu     sync.Mutex
	awaits bool  // an answer, so bytes are welcome
	broken error // what came when none was awaited
}

func (c *countingConn) Read(b []byte) (int, error) {
	if c.dry {
		return 0, os.ErrDeadlineExceeded
	}
	if err := c.wait(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	c.records.take(b[:n])
	if n > 0 {
		c.heard.Store(true)
	}
	if c.budget.Add(-int64(n)) < 0 {
		return 0, errFlood
	}
	return n, err
}

// wait blocks until something has arrived, and notices what nobody asked for.
// It looks under the lock that begin takes: of what was there before a request
// began, one of the two sees it.
func (c *countingConn) wait() error {
	if c.socket == nil {
		return nil
	}
	var failed error
	err := c.socket.Read(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		failed = arrived(fd)
		if errors.Is(failed, errSurplus) && c.awaits {
			failed = nil
			return true
		}
		if failed != nil && c.broken == nil {
			c.broken = failed
		}
		return failed != nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// begin expects an answer. What has arrived before is none.
func (c *countingConn) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket != nil && !c.awaits && c.broken == nil {
		err := c.socket.Control(func(fd uintptr) { c.broken = arrived(fd) })
		if err != nil {
			c.broken = err
		}
	}
	c.awaits = true
	return c.broken
}

func (c *countingConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaits = false
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

// framedConn hands out one answer for each request. net/http as of Go 1.26
// gives a connection to the next request before it looks for bytes behind the
// answer, and would take them as the answer to that request.
type framedConn struct {
	net.Conn // counting itself, or TLS above it
	counting *countingConn

	mu      sync.Mutex
	framing framing
	broken  error
}

// begin is called when a request was given the connection, before it is
// written.
func (c *framedConn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil && c.framing.state != ended {
		c.broken = errSurplus
	}
	if c.broken == nil {
		c.broken = c.counting.begin()
	}
	if c.broken == nil {
		c.framing.begin()
	}
}

func (c *framedConn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

func (c *framedConn) Read(b []byte) (int, error) {
	if err := c.failure(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if n == 0 {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return 0, c.broken
	}
	used := c.framing.take(b[:n])
	if c.framing.state == ended {
		c.counting.end()
		c.broken = c.held()
		if used < n {
			c.broken = errSurplus
		}
	}
	if used == 0 {
		return 0, c.broken
	}
	return used, err
}

// held is errSurplus when TLS has taken more from the socket than it gave. A
// tls.Conn bears a read that times out (Go 1.26).
func (c *framedConn) held() error {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	c.counting.dry = true
	defer func() { c.counting.dry = false }()
	n, err := secure.Read(make([]byte, 1))
	switch {
	case n > 0, c.counting.records.partial():
		return errSurplus
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return err
}

// records follows the records of TLS (RFC 8446 section 5.1), to tell whether a
// part of one was read.
type records struct {
	header []byte
	left   int
}

func (r *records) take(b []byte) {
	for len(b) > 0 {
		if r.left == 0 {
			r.header = append(r.header, b[0])
			b = b[1:]
			if len(r.header) == 5 {
				r.left = int(r.header[3])<<8 | int(r.header[4])
				r.header = r.header[:0]
			}
			continue
		}
		n := min(r.left, len(b))
		r.left -= n
		b = b[n:]
	}
}

func (r *records) partial() bool { return r.left > 0 || len(r.header) > 0 }

func (c *framedConn) Write(b []byte) (int, error) {
	if err := c.failure(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
