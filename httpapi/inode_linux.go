package httpapi

import (
	"os"
	"syscall"
)

// inodeChange is when anything about a file has changed, which no tool can set as it can
// the time of modification.
func inodeChange(info os.FileInfo) syscall.Timespec {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return syscall.Timespec{}
	}
	return stat.Ctim
}
