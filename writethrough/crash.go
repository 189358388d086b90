//go:build crashtest

package writethrough

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The crash test's build kills itself at a step of the protocol:
// PATIENTGRAPH_KILL_AT=after-sent:3 the third time it comes by.
var (
	killStep, killCount = killAt(os.Getenv("PATIENTGRAPH_KILL_AT"))
	passed              atomic.Int64
)

func killAt(setting string) (step string, count int64) {
	if setting == "" {
		return "", 0
	}
	step, number, _ := strings.Cut(setting, ":")
	count, err := strconv.ParseInt(number, 10, 64)
	if err != nil || count < 1 {
		panic("PATIENTGRAPH_KILL_AT must be <step>:<n>")
	}
	return step, count
}

func reached(step string) {
	if step == killStep && passed.Add(1) == killCount {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // cannot fail
		select {}
	}
}

// tracePut makes the moment known in which the PUT has left.
func tracePut(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { reached(stepPutLeft) },
	})
}

// testTimings shortens what a crash test would wait for.
func testTimings(c *Config) {
	for name, setting := range map[string]*time.Duration{"PATIENTGRAPH_LEASE": &c.Lease, "PATIENTGRAPH_SETTLE": &c.SettleWindow} {
		if value := os.Getenv(name); value != "" {
			d, err := time.ParseDuration(value)
			if err != nil {
				panic(fmt.Sprintf("%s: %v", name, err))
			}
			*setting = d
		}
	}
}
