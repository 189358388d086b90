package writethrough

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"patientgraph/internal/wait"
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

func TestWritesOfOnePatientHaveTheirTurnInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l locks
		release, err := l.acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		turns := make(chan int, 10)
		for n := range 10 {
			go func() {
				release, err := l.acquire(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				turns <- n
				release()
			}()
			synctest.Wait() // until it stands in the queue
		}
		release()
		for n := range 10 {
			if turn := <-turns; turn != n {
				t.Errorf("turn %d was that of %d", n, turn)
			}
		}
	})
}

func TestTooManyWritesAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	var l locks
	ctx, leave := context.WithCancel(context.Background())
	gone, stop := context.WithCancel(ctx) // who comes with it waits for nothing
	stop()
	var waiting sync.WaitGroup
	of := func(patientID string, n int) {
		for range n {
			waiting.Go(func() {
				if release, err := l.acquire(ctx, patientID); err == nil {
					<-ctx.Done()
					release()
				}
			})
		}
	}
	of("a", maxWritesOfPatient)
	wait.Until(t, "all of a's writes wait", func() bool { return l.all() == maxWritesOfPatient })
	if _, err := l.acquire(gone, "a"); !errors.Is(err, errManyWritesOfPatient) {
		t.Errorf("one more of a: %v", err)
	}
	for n := range maxWrites - maxWritesOfPatient {
		of(fmt.Sprint(n), 1) // others are not kept out by a
	}
	wait.Until(t, "all writes wait", func() bool { return l.all() == maxWrites })
	for _, patientID := range []string{"0", "another"} {
		if _, err := l.acquire(gone, patientID); !errors.Is(err, errManyWrites) {
			t.Errorf("one more of %s: %v", patientID, err)
		}
	}
	leave()
	waiting.Wait()
	if l.users != 0 || len(l.held) != 0 {
		t.Errorf("%d places and %d locks are left behind", l.users, len(l.held))
	}
	release, err := l.acquire(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func (l *locks) all() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.users
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
