package writethrough

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/writethrough/judge"
)

// reconcileUntil settles what was left open, until ctx ends.
func (w *Writer) reconcileUntil(ctx context.Context) {
	ticker := time.NewTicker(w.tick())
	defer ticker.Stop()
	var cleaned time.Time
	var settling sync.WaitGroup
	defer settling.Wait()
	ended, busy := make(chan struct{}, settleAtOnce), 0
	for {
		// It does not wait for what it starts: one patient whose reads hang must
		// not keep the others. Nor does it claim what it cannot start: a claim
		// holds the patient.
		free := settleAtOnce - busy
		claimed := w.reconcile(ctx, "", free, func(settle func()) {
			settling.Go(func() {
				settle()
				ended <- struct{}{}
			})
		})
		busy += claimed
		if time.Since(cleaned) >= cleanInterval {
			cleaned = time.Now()
			if n, err := w.Store.CleanUpdates(ctx, w.Keep); err != nil {
				w.Log.Error("the journal could not be cleaned up", "error", err)
			} else if n > 0 {
				w.Log.Debug("journal cleaned up", "deleted", n)
			}
		}
		for waiting := true; waiting; {
			select {
			case <-ended:
				busy--
				waiting = claimed < free // else there is more to claim
			case <-ticker.C:
				waiting = false
			case <-ctx.Done():
				return
			}
		}
	}
}

// reconcilePatient settles what of one patient was left open.
func (w *Writer) reconcilePatient(ctx context.Context, patientID string) {
	var settling sync.WaitGroup
	w.reconcile(ctx, patientID, settleAtOnce, settling.Go)
	settling.Wait()
}

// reconcile takes over updates whose leases ran out, of one patient or,
// with "", of any, at most limit of them, and has start settle each. Every
// claim has an owner of its own: the process that began an update may be
// this one, alive behind a lease that ran out.
func (w *Writer) reconcile(ctx context.Context, patientID string, limit int, start func(settle func())) (claimed int) {
	if limit == 0 || ctx.Err() != nil {
		return 0
	}
	owner := w.NewID()
	updates, err := w.Store.ClaimUpdates(owner, patientID, w.Lease, limit)
	if err != nil {
		w.away.Store(true)
		w.Log.ErrorContext(ctx, "unsettled contact updates could not be looked up", "error", err)
		return 0
	}
	if w.away.CompareAndSwap(true, false) {
		w.Log.InfoContext(ctx, "the database answers again")
	}
	for _, u := range updates {
		w.keepLease(u.ID, owner)
		start(func() {
			defer w.endLease(u.ID)
			w.settle(ctx, u, owner)
		})
	}
	return len(updates)
}

// settle finds out how an update ended that nobody works on, and writes it down;
// or that it is not known yet. Meanwhile nobody else writes the patient.
func (w *Writer) settle(ctx context.Context, line db.ContactUpdate, owner string) {
	defer func() {
		if cause := recover(); cause != nil { // one line must not end the process
			w.metrics.panics.Inc()
			w.Log.ErrorContext(ctx, "panic while a contact update was being settled", "operation", line.ID, "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
		}
	}()
	if w.storeEnd(line, owner) {
		return
	}
	e := ending{state: db.UpdateUnknown}
	err := w.hold(ctx, line, owner)
	if err == nil {
		e, err = w.findOut(ctx, line)
	}
	retryIn := max(w.tick(), min(line.SentFor/4, time.Minute))
	var f *fhir.Error
	if errors.As(err, &f) {
		retryIn = max(retryIn, f.RetryAfter)
	}
	if err != nil && e.state == db.UpdateUnknown && !errors.Is(err, db.ErrBusy) {
		reason := err.Error()
		if isGone(err) {
			reason = "the FHIR server says that the patient is gone"
		}
		w.Log.WarnContext(ctx, "the outcome of a contact update is still not known", "patient", line.PatientID, "operation", line.ID, "error", reason)
	}
	c := db.Closing{
		ID: line.ID, Owner: owner, PatientID: line.PatientID, State: e.state, Gone: e.gone,
		Shown: e.shown, ShownInstead: e.instead, At: w.Now(), RetryIn: retryIn,
	}
	if e.state == db.UpdateUnknown {
		c.Answer, c.Heard, c.Gone = line.Answer, line.Heard, e.gone || line.Gone
	} else {
		c.Answer = e.outcome.encode()
	}
	reached(stepBeforeSettled)
	_, err = w.writeEnd(c)
	reached(stepAfterSettled)
	switch {
	case errors.Is(err, db.ErrLostLease): // settled by somebody else
	case errors.Is(err, db.ErrUnreadable): // it waits until the row is mended
		w.Log.ErrorContext(ctx, "a contact update cannot be settled", "patient", line.PatientID, "operation", line.ID, "error", err)
	case err != nil: // its lease runs out, and it is tried again
		w.Log.DebugContext(ctx, "not settled now", "patient", line.PatientID, "operation", line.ID, "error", err)
	case e.state != db.UpdateUnknown:
		w.metrics.settled.WithLabelValues(string(e.state)).Inc()
		w.Log.InfoContext(ctx, "contact update settled", "patient", line.PatientID, "operation", line.ID, "state", e.state, "outcome", e.outcome.Code)
	}
}

// logPanic makes a line of the log of a panic, whose value may hold patient data, and
// lets the process end: what it left is settled by whoever runs next.
func (w *Writer) logPanic(during string) {
	if cause := recover(); cause != nil {
		w.Log.Error("panic: the process ends", "during", during, "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
		panic("the log has it")
	}
}

// storeEnd writes down an end that this process knew and the database did not
// take, or leaves it for another time. false: there is none, or the row has moved
// on since, and the update must be judged.
func (w *Writer) storeEnd(line db.ContactUpdate, owner string) bool {
	c, ok := w.unstoredEnd(line.ID)
	if !ok || line.State == db.UpdateUnknown { // others may have judged since
		return false
	}
	c.Owner = owner
	_, err := w.writeEnd(c)
	if err == nil || errors.Is(err, db.ErrVersionMismatch) {
		w.forgetUnstored(line.ID)
	}
	return !errors.Is(err, db.ErrVersionMismatch)
}

// hold keeps all others from writing the patient of an update: it may be
// UNKNOWN, and then they may. Once it is claimed, no write begins before it.
func (w *Writer) hold(ctx context.Context, u db.ContactUpdate, owner string) error {
	ctx, cancel := context.WithTimeout(ctx, w.Lease/2)
	defer cancel()
	for pause := pollAtFirst; u.State == db.UpdateUnknown; pause = min(2*pause, pollAtMost) {
		err := w.Store.HoldUpdate(u.ID, owner, u.PatientID)
		if err == nil || sleep(ctx, pause) != nil {
			return err
		}
	}
	return nil
}

// findOut asks the FHIR server what became of an update. The error is why
// something could not be seen.
func (w *Writer) findOut(ctx context.Context, line db.ContactUpdate) (ending, error) {
	if line.State == db.UpdateAccepted {
		return notApplied(&Outcome{Code: Unavailable, Reason: "the server stopped before anything was sent"}), nil
	}
	put, err := putOf(&line)
	if err != nil {
		return ending{state: db.UpdateUnknown}, err
	}
	put.Region = w.PhoneRegion
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	window, err := w.settleWindow(ctx)
	if err != nil {
		return ending{state: db.UpdateUnknown}, err
	}
	s, _, err := w.look(ctx, line.FHIRID, put, nil)
	c := caseOf(judge.Heard(line.Heard), s)
	c.When, c.WasGone = when(line.SentFor, window), line.Gone
	r := judge.Decide(c)
	if r.Alarm {
		w.alarm(ctx, line.PatientID, line.ID)
	}
	e := endingOf(r, s)
	if e.state == db.UpdateUnknown {
		return e, err
	}
	f := &fhir.Error{}
	errors.As(err, &f)
	e.outcome = outcomeFor(r, c.Heard, s, f, 0)
	if e.outcome.Code == PatientGone {
		e.outcome.Issues = nil // they may quote the patient, whose row is not at hand
	}
	return e, nil
}

// when says how long ago a PUT left.
func when(sentFor, window time.Duration) judge.When {
	switch {
	case sentFor >= historyWindows*window:
		return judge.VeryLate
	case sentFor > window:
		return judge.Late
	}
	return judge.Early
}

// putOf reads what the journal keeps of an update's PUT. db.ErrUnreadable.
func putOf(line *db.ContactUpdate) (judge.Put, error) {
	var p judge.Put
	err := line.Decode("put", line.Put, &p)
	p.IfMatch = line.IfMatch
	return p, err
}
