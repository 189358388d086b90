package writethrough

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/internal/wait"
)

// journal is a Store of which only what Await uses is there; it counts.
type journal struct {
	Store
	mu      sync.Mutex
	states  map[string]db.UpdateState
	reads   int
	queries [][]string // what StillOpen was asked for
	fails   bool
}

func (j *journal) ContactUpdate(_ context.Context, id string) (*db.ContactUpdate, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reads++
	switch state, ok := j.states[id]; {
	case j.fails:
		return nil, errors.New("the database is away")
	case !ok:
		return nil, db.ErrNotFound
	default:
		return &db.ContactUpdate{ID: id, PatientID: "P-1", State: state, Answer: `{"kind":"unavailable"}`}, nil
	}
}

func (j *journal) Patient(context.Context, string, ...db.Column) (*db.Patient, error) {
	return &db.Patient{}, nil
}

func (j *journal) StillOpen(_ context.Context, ids []string) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queries = append(j.queries, ids)
	if j.fails {
		return nil, errors.New("the database is away")
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !j.states[id].Open() }), nil
}

func (j *journal) set(state db.UpdateState, ids ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range ids {
		j.states[id] = state
	}
}

func (j *journal) asked() (reads int, queries [][]string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reads, slices.Clone(j.queries)
}

// watching returns a Writer and its journal, with so many open updates.
func watching(updates int) (*Writer, *journal, []string) {
	j := &journal{states: map[string]db.UpdateState{}}
	for n := range updates {
		j.states[fmt.Sprint("op-", n)] = db.UpdateUnknown
	}
	w := New(Config{Store: j, Log: slog.New(slog.DiscardHandler), Timeout: time.Second, NewID: func() string { return "me" }, Now: time.Now})
	return w, j, slices.Sorted(maps.Keys(j.states))
}

// idle reports whether nothing is waited for and nothing runs on.
func (w *watcher) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waited) == 0 && !w.running
}

func (w *watcher) waiting() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.waited {
		n += o.by
	}
	return n
}

func TestAllWhoWaitCostOneQuery(t *testing.T) {
	t.Parallel()
	const waiters, updates = 600, 30
	w, j, ids := watching(updates)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan *Update, waiters)
	failed := make(chan error, waiters)
	for n := range waiters {
		go func() {
			u, err := w.Await(ctx, ids[n%updates])
			if err != nil {
				failed <- err
				return
			}
			ended <- u
		}()
	}
	wait.Until(t, "all wait", func() bool { return w.watcher.waiting() == waiters })
	_, before := j.asked()
	wait.Until(t, "six rounds", func() bool { _, now := j.asked(); return len(now) >= len(before)+6 })
	reads, queries := j.asked()
	if reads != waiters {
		t.Errorf("%d reads of single updates by %d who wait, want one each", reads, waiters)
	}
	for _, q := range queries[len(before)+1:] {
		if !slices.Equal(slices.Sorted(slices.Values(q)), ids) {
			t.Errorf("a round asked for %d updates, want each of %d once", len(q), updates)
		}
	}

	j.set(db.UpdateApplied, ids[0], ids[1]) // by another process
	for range 2 * waiters / updates {
		if u := <-ended; u.State != db.UpdateApplied || u.Outcome.Code != Success {
			t.Errorf("told %+v", u)
		}
	}
	if n := w.watcher.waiting(); n != waiters-2*waiters/updates || len(ended) > 0 {
		t.Errorf("%d wait on, and %d more were told", n, len(ended))
	}

	cancel() // everybody leaves
	for range waiters - 2*waiters/updates {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	wait.Until(t, "nothing is watched any more", w.watcher.idle)
}

// TestWhatEndsHereIsSeenAtOnce: the update is asked for by itself, out of
// turn, and only if somebody waits for it.
func TestWhatEndsHereIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	w, j, ids := watching(3)
	ended := make(chan *Update, 3)
	for _, id := range ids[:2] {
		go func() {
			u, err := w.Await(t.Context(), id)
			if err == nil {
				ended <- u
			}
		}()
	}
	wait.Until(t, "both wait", func() bool { return w.watcher.waiting() == 2 })
	alone := func() (n int) {
		_, queries := j.asked()
		for _, q := range queries {
			if len(q) == 1 && q[0] == ids[0] {
				n++
			}
		}
		return n
	}
	// A round may come just before, so that the hint is no news.
	wait.Until(t, "it is asked for by itself", func() bool { w.endLease(ids[0]); return alone() > 0 })
	if len(ended) > 0 {
		t.Error("an update that ended as UNKNOWN was told as settled")
	}
	w.endLease(ids[2])
	j.set(db.UpdateRejected, ids[0])
	w.endLease(ids[0])
	if u := <-ended; u.OperationID != ids[0] || u.State != db.UpdateRejected {
		t.Errorf("told %+v", u)
	}
	_, queries := j.asked()
	if slices.ContainsFunc(queries, func(q []string) bool { return slices.Contains(q, ids[2]) }) {
		t.Error("the journal was asked for what nobody waits for")
	}
}

func TestAwaitDuringAnOutageAndAtTheStop(t *testing.T) {
	t.Parallel()
	w, j, ids := watching(2)
	told := make(chan *Update, 2)
	for _, id := range ids {
		go func() {
			u, err := w.Await(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			told <- u
		}()
	}
	wait.Until(t, "both wait", func() bool { return w.watcher.waiting() == 2 })
	j.mu.Lock()
	j.fails = true
	j.mu.Unlock()
	_, before := j.asked()
	wait.Until(t, "two rounds fail", func() bool { _, now := j.asked(); return len(now) >= len(before)+2 })
	if len(told) > 0 {
		t.Fatalf("told %+v while the database is away", <-told)
	}
	j.set(db.UpdateApplied, ids[0])
	j.mu.Lock()
	j.fails = false
	j.mu.Unlock()
	if u := <-told; u.OperationID != ids[0] || u.State != db.UpdateApplied {
		t.Errorf("told %+v", u)
	}
	w.stop()
	if u := <-told; u == nil || u.OperationID != ids[1] || !u.State.Open() {
		t.Errorf("told %+v at the stop", u)
	}
	if u, err := w.Await(t.Context(), ids[1]); err != nil || !u.State.Open() {
		t.Errorf("after the stop: %+v, %v", u, err)
	}
	if _, err := w.Await(t.Context(), "none"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("an update that does not exist: %v", err)
	}
}
