//go:build unix

package db

import (
	"fmt"
	"os"
	"syscall"
)

// mayWrite looks whether this process may write a file, or into a directory.
func mayWrite(path string) error {
	const write = 2
	if err := syscall.Access(path, write); err != nil {
		return fmt.Errorf("open database: %s cannot be written: %w", path, err)
	}
	return nil
}

// mayChmod reports whether a file's mode is ours to change.
func mayChmod(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || os.Geteuid() == 0 || stat.Uid == uint32(os.Geteuid())
}
