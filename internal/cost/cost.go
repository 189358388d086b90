// Package cost is the one way in which tests measure what a call takes. The product
// does not import it.
package cost

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Cost is what was spent while something ran, by the whole process: tests that
// measure it are not parallel.
type Cost struct {
	CPU   time.Duration
	Bytes uint64 // allocated
}

// Of returns what a call costs.
func Of(t testing.TB, call func()) Cost {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := cpu(t)
	call()
	used := cpu(t) - began
	runtime.ReadMemStats(&after)
	return Cost{used, after.TotalAlloc - before.TotalAlloc}
}

func cpu(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
