package httpapi

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"
)

// TestAbuseALookIsShared counts how often a part of the system is asked.
func TestAbuseALookIsShared(t *testing.T) {
	t.Parallel()
	now, asked := time.Now(), 0
	failure := error(nil)
	l := &look{
		name: "database", log: slog.New(slog.DiscardHandler), keep: time.Second, now: func() time.Time { return now },
		ask: func(context.Context) error { asked++; return failure },
	}
	for range 100 {
		if !l.reachable() {
			t.Fatal("not reachable")
		}
	}
	failure = io.ErrUnexpectedEOF
	if asked != 1 || !l.reachable() {
		t.Errorf("asked %d times within a second", asked)
	}
	now = now.Add(time.Second)
	for range 2 {
		if l.reachable() {
			t.Error("still reachable")
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times within two seconds", asked)
	}
}
