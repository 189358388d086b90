package resolvers

import (
	"context"
	"sync"
	"time"

	"patientgraph/db"
)

// changes knows who follows which patient. Its zero value is ready.
type changes struct {
	mu        sync.Mutex
	followers map[*follower]bool
	byName    map[name]map[*follower]bool
	watched   bool
}

// name is what a patient is known by: the number may move to another one.
type name struct{ number, fhirID string }

// follower is told by changed, which holds an element, that its patient may have
// changed. It does not block who tells, and loses nothing: the state is read afterwards.
type follower struct {
	names   []name
	changed chan struct{}
}

// follow adds a follower under the names, in place of those that it had.
func (c *changes) follow(f *follower, names ...name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(f)
	if c.followers == nil {
		c.followers, c.byName = map[*follower]bool{}, map[name]map[*follower]bool{}
	}
	c.followers[f], f.names = true, names
	for _, n := range names {
		if c.byName[n] == nil {
			c.byName[n] = map[*follower]bool{}
		}
		c.byName[n][f] = true
	}
}

func (c *changes) leave(f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(f)
}

func (c *changes) forget(f *follower) {
	delete(c.followers, f)
	for _, n := range f.names {
		if delete(c.byName[n], f); len(c.byName[n]) == 0 {
			delete(c.byName, n)
		}
	}
}

// wake tells those who follow a patient.
func (c *changes) wake(row db.ChangedRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range []name{{number: row.ID}, {fhirID: row.FHIRID}} {
		for f := range c.byName[n] {
			f.wake()
		}
	}
}

func (f *follower) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// goOn reports whether anybody follows anything; if not, the watching ends.
func (c *changes) goOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = len(c.followers) > 0
	return c.watched
}

// How often changes by other processes are looked for, the pause afterwards, and how
// many are asked for at once.
const (
	watchEvery   = 500 * time.Millisecond
	watchPause   = 20 * time.Millisecond
	rowsAtOnce   = 500
	watchTimeout = 10 * time.Second
)

// watchChanges makes sure that this process looks for changes from now on. All followers
// share what is found, and every database is asked in the same way, also behind a pooler.
// LISTEN and NOTIFY of PostgreSQL are not used: a transaction that notifies takes a lock
// of the whole server when it commits, so writers would commit one after the other.
func (r *Resolver) watchChanges(ctx context.Context) error {
	c := &r.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	seen, err := r.Store.LastChange(ctx)
	if err == nil {
		c.watched = true
		go r.lookForChanges(seen)
	}
	return err
}

// lookForChanges tells followers of changes after one, as long as there are any.
func (r *Resolver) lookForChanges(seen int64) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-r.Writer.Stopping():
			return
		case <-r.Store.Wrote(): // by this process
		case <-ticker.C:
			if !r.changes.goOn() {
				return
			}
		}
		seen = r.tellChanged(seen)
		time.Sleep(watchPause) // many writers are told of together
	}
}

// tellChanged returns up to which change followers were told. What a database that fails does
// not tell is looked for again.
func (r *Resolver) tellChanged(seen int64) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
	defer cancel()
	_, _ = r.Store.NumberChanges(ctx) // what has a number is told all the same
	for {
		rows, err := r.Store.ChangedRows(ctx, seen, rowsAtOnce)
		if err != nil {
			return seen
		}
		for _, row := range rows {
			r.changes.wake(row)
			seen = row.Seq
		}
		if len(rows) < rowsAtOnce {
			return seen
		}
	}
}
