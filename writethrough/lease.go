package writethrough

import (
	"context"
	"errors"
	"maps"
	"time"

	"patientgraph/db"
)

// lease is what keeps an update from being taken over.
type lease struct {
	owner   string
	renewed time.Time
}

// keepLease has the lease of an update renewed until endLease.
func (w *Writer) keepLease(id, owner string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[id] = lease{owner, time.Now()}
}

func (w *Writer) endLease(id string) {
	w.mu.Lock()
	delete(w.running, id)
	w.mu.Unlock()
	w.watcher.hint(id)
}

// unstored is how an update ended, as long as the database does not take it.
type unstored struct {
	end  db.Closing
	told *db.ContactUpdate // what a retry with the same key is told; nil: it tries again
}

// keepUnstored has the end of an update written down as soon as the database
// takes it. Until then the update goes on holding its patient.
func (w *Writer) keepUnstored(u *unstored) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unstored[u.end.ID] = u
}

// unstoredEnd returns how this process knows that an update ended, if the
// database did not take that yet.
func (w *Writer) unstoredEnd(id string) (db.Closing, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.unstored[id]
	if !ok {
		return db.Closing{}, false
	}
	return u.end, true
}

// unstoredAnswer returns what a caller was told of whom the database knows less;
// nil if there is nothing.
func (w *Writer) unstoredAnswer(actor, key string) *db.ContactUpdate {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.unstored {
		if u.told != nil && u.told.Actor == actor && u.told.IdempotencyKey == key {
			return u.told
		}
	}
	return nil
}

// forgetUnstored forgets an end that stands in the journal.
func (w *Writer) forgetUnstored(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unstored, id)
}

// reopen corrects an update that took effect though it was settled as
// NOT_APPLIED, as soon as the database takes that.
func (w *Writer) reopen(id, patientID string) {
	err := w.Store.ReopenUpdate(id, patientID)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil || errors.Is(err, db.ErrLostLease) {
		delete(w.late, id)
		return
	}
	if w.late[id] == "" {
		w.Log.Error("a write took effect late, and the journal could not be corrected yet", "patient", patientID, "operation", id, "error", err)
	}
	w.late[id] = patientID
}

// Run keeps the leases of this process's updates and settles what crashes
// and lost answers left open, of any process. When ctx ends it takes no more
// writes, and it returns when those under way have ended, or abandon ends:
// what they leave is settled by whoever runs next.
func (w *Writer) Run(ctx, abandon context.Context) {
	defer w.logPanic("renewing leases")
	reconciled := make(chan struct{})
	go func() {
		defer close(reconciled)
		defer w.logPanic("settling contact updates")
		w.reconcileUntil(ctx)
	}()
	defer func() { <-reconciled }()
	defer w.stop()
	defer context.AfterFunc(ctx, w.stop)()
	go w.storeUntil(abandon)
	ticker := time.NewTicker(w.tick())
	defer ticker.Stop()
	for {
		w.renew()
		if ctx.Err() != nil && w.idle() {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if sleep(abandon, 20*time.Millisecond) != nil {
				return
			}
		}
	}
}

func (w *Writer) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.running) == 0 && len(w.unstored) == 0 && len(w.late) == 0
}

// renew extends the leases of updates that take long.
func (w *Writer) renew() {
	now := time.Now()
	ids := map[string][]string{} // by owner
	w.mu.Lock()
	for id, l := range w.running {
		if now.Sub(l.renewed) >= w.Lease/3 {
			ids[l.owner] = append(ids[l.owner], id)
			w.running[id] = lease{l.owner, now}
		}
	}
	w.mu.Unlock()
	for owner, ids := range ids {
		if err := w.Store.RenewUpdates(owner, ids, w.Lease); err != nil {
			w.Log.Error("leases could not be renewed", "operations", len(ids), "error", err)
		}
	}
}

// storeUntil writes down the ends that the database did not take at once.
func (w *Writer) storeUntil(abandon context.Context) {
	defer w.logPanic("writing down the ends of contact updates")
	for sleep(abandon, w.tick()) == nil {
		w.storeUnstored()
	}
}

func (w *Writer) storeUnstored() {
	w.mu.Lock()
	closings := make([]*db.Closing, 0, len(w.unstored))
	for _, u := range w.unstored {
		closings = append(closings, &u.end)
	}
	late := maps.Clone(w.late)
	w.mu.Unlock()
	for id, patientID := range late {
		w.reopen(id, patientID)
	}
	for _, c := range closings {
		_, err := w.writeEnd(*c)
		switch {
		case err == nil:
			w.Log.Info("how a contact update ended is written down now", "patient", c.PatientID, "operation", c.ID)
			w.forgetUnstored(c.ID)
			w.endLease(c.ID)
		case errors.Is(err, db.ErrLostLease):
			w.takenFrom(c)
		case errors.Is(err, db.ErrUnreadable): // this patient's row alone; finish has said so
		case errors.Is(err, db.ErrVersionMismatch), errors.Is(err, db.ErrNotFound):
			w.forgetUnstored(c.ID)
			w.endLease(c.ID)
		default: // the database fails still
			return
		}
	}
}

// takenFrom forgets an end whose update somebody else took over and judged,
// be it as UNKNOWN: the patient may have been written since. Until then it may
// be this process that takes it over.
func (w *Writer) takenFrom(c *db.Closing) {
	ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
	defer cancel()
	u, err := w.Store.ContactUpdate(ctx, c.ID)
	if err == nil && u.State != db.UpdateAccepted && u.State != db.UpdateSent || errors.Is(err, db.ErrNotFound) {
		w.forgetUnstored(c.ID)
		w.endLease(c.ID)
	}
}
