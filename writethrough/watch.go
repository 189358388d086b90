package writethrough

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"patientgraph/db"
)

// Await returns an update once it is settled, or as it stands when this process
// stops. A database that fails is asked again. db.ErrNotFound.
func (w *Writer) Await(ctx context.Context, operationID string) (*Update, error) {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.stopping, cancel)()
	for {
		u, err := w.ContactUpdate(ctx, operationID)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, db.ErrNotFound), errors.Is(err, db.ErrUnreadable), err == nil && !u.State.Open():
			return u, err
		case err != nil:
			if sleep(wait, w.tick()) != nil {
				return nil, err
			}
			continue
		}
		ended, leave := w.watcher.join(u.OperationID, w.watchJournal)
		select {
		case <-ended:
			leave()
		case <-wait.Done():
			leave()
			return u, ctx.Err()
		}
	}
}

// Stopping is closed when this process takes no more writes: what waits here ends.
func (w *Writer) Stopping() <-chan struct{} { return w.stopping.Done() }

// watchJournal asks for all updates that are waited for with one query at a
// time, as long as there are any.
func (w *Writer) watchJournal() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		var ids []string
		select {
		case <-w.stopping.Done():
			return
		case <-w.watcher.look:
			if ids = w.watcher.hinted(); len(ids) == 0 {
				continue // the last round has seen to them
			}
		case <-ticker.C:
			if ids = w.watcher.all(); ids == nil {
				return
			}
		}
		ctx, cancel := context.WithTimeout(w.stopping, databaseTimeout)
		open, err := w.Store.StillOpen(ctx, ids)
		cancel()
		if err == nil { // else they are asked for again
			w.watcher.wake(ids, open)
		}
	}
}

// watcher knows who waits for the end of which update. Its zero value is
// ready.
type watcher struct {
	mu      sync.Mutex
	waited  map[string]*waited // by update
	running bool
	hints   map[string]bool // updates that may have ended just now
	look    chan struct{}   // holds an element while there are hints
}

// waited is an update that somebody waits for.
type waited struct {
	by    int
	ended chan struct{} // closed when the journal says that it is no longer open
}

// join waits for one more update until leave is called, and starts watching
// if nothing is watched.
func (w *watcher) join(id string, watch func()) (ended <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waited == nil {
		w.waited, w.hints, w.look = map[string]*waited{}, map[string]bool{}, make(chan struct{}, 1)
	}
	if !w.running {
		w.running = true
		go watch()
	}
	o := w.waited[id]
	if o == nil {
		o = &waited{ended: make(chan struct{})}
		w.waited[id] = o
	}
	o.by++
	return o.ended, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if o.by--; o.by == 0 && w.waited[id] == o {
			delete(w.waited, id)
		}
	}
}

// all returns every update that is waited for. nil: there is none, and the
// watching ends.
func (w *watcher) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.hints)
	w.running = len(w.waited) > 0
	return slices.Collect(maps.Keys(w.waited))
}

// hint has an update looked at without waiting for the next round, if
// somebody waits for it.
func (w *watcher) hint(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waited[id] == nil {
		return
	}
	w.hints[id] = true
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// hinted returns the updates that hint named since.
func (w *watcher) hinted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := slices.Collect(maps.Keys(w.hints))
	clear(w.hints)
	return ids
}

// wake tells those who wait for one of these updates that it ended, but for
// those still open.
func (w *watcher) wake(ids, open []string) {
	stillOpen := make(map[string]bool, len(open))
	for _, id := range open {
		stillOpen[id] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if o := w.waited[id]; o != nil && !stillOpen[id] {
			close(o.ended)
			delete(w.waited, id)
		}
	}
}
