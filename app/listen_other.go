//go:build !linux

package app

import (
	"syscall"
	"time"
)

func withUserTimeout(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
