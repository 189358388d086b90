package httpapi

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestAbuseSlowReadersAreCut asks for a large answer and does not read it.
func TestAbuseSlowReadersAreCut(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	server := NewServer(guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(*guardedWriter).timeout = 200 * time.Millisecond
		_, err := w.Write(make([]byte, 64<<20))
		gone <- err
	})), log.New(io.Discard, "", 0))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-gone; err == nil { // it would wait for ever
		t.Error("64 MiB were written to a client that does not read")
	}
}
