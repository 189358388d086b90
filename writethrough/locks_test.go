package writethrough

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestWritesOfOnePatientNeverOverlap(t *testing.T) {
	t.Parallel()
	var l locks
	var inside, overlaps atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				release, err := l.acquire(context.Background(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) > 1 {
					overlaps.Add(1)
				}
				inside.Add(-1)
				release()
			}
		})
	}
	wg.Wait()
	if n := overlaps.Load(); n > 0 {
		t.Errorf("%d overlaps", n)
	}
	if len(l.held) != 0 {
		t.Errorf("%d locks are left behind", len(l.held))
	}
}

func TestDifferentPatientsDoNotWait(t *testing.T) {
	t.Parallel()
	var l locks
	releaseA, err := l.acquire(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer releaseA()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	releaseB, err := l.acquire(ctx, "b")
	if err != nil {
		t.Fatal("b waits for a")
	}
	releaseB()
}

func TestWaitingEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	var l locks
	release, err := l.acquire(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.acquire(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	release()
	if len(l.held) != 0 {
		t.Errorf("%d locks are left behind", len(l.held))
	}
}
