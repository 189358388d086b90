package app

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAbuseClientsThatVanishAreCutOff: as far as the server can tell the link of this one
// is down, for nothing that is sent to it arrives any more.
func TestAbuseClientsThatVanishAreCutOff(t *testing.T) {
	t.Parallel()
	listener, err := listen(t.Context(), "127.0.0.1:0", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := client.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	err = raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for err == nil && time.Since(began) < 30*time.Second {
		_, err = conn.Write([]byte(":\n\n"))
		time.Sleep(100 * time.Millisecond)
	}
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
