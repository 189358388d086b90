//go:build unix

package fhir

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// seesArrivals: arrived can tell what lies in a socket.
const seesArrivals = true

// arrived looks without waiting whether anything lies in the socket: nil when
// nothing does, errSurplus for bytes, io.EOF or another error when the server
// has ended the connection. It takes nothing out.
func arrived(fd uintptr) error {
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return nil
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		case n > 0:
			return errSurplus
		default:
			return io.EOF
		}
	}
}
