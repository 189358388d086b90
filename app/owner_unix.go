//go:build unix

package app

import (
	"os"
	"syscall"
)

// isOurs reports whether a file belongs to the user of this process.
func isOurs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == uint32(os.Geteuid())
}
