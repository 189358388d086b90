package app

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// withUserTimeout sets TCP_USER_TIMEOUT (RFC 5482), which connections take over from
// what listens.
func withUserTimeout(timeout time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds()))
		})
		if err != nil {
			return err
		}
		return failed
	}
}
