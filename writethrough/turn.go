package writethrough

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patientgraph/db"
)

// busy is what a caller hears whose turn did not come: nothing was sent, unless
// an earlier request with the same idempotency key did.
func (w *Writer) busy(ctx context.Context, c Change, cause error) (*Outcome, error) {
	if c.IdempotencyKey != "" {
		u, err := w.earlier(ctx, c)
		if err != nil {
			return nil, err
		}
		if u != nil {
			return answerTo(c, u)
		}
	}
	return w.notNow(cause), nil
}

func (w *Writer) notNow(cause error) *Outcome {
	if errors.Is(cause, errManyWrites) || errors.Is(cause, errManyWritesOfPatient) {
		return &Outcome{Code: Unavailable, Reason: cause.Error(), cause: cause}
	}
	if w.stopping.Err() != nil {
		return &Outcome{Code: Unavailable, Reason: "the server is shutting down; nothing was sent", cause: cause}
	}
	return &Outcome{Code: Unavailable, Reason: "an earlier write of this patient is still under way", cause: cause}
}

// begin accepts one change and sees it through. db.ErrBusy: somebody else
// writes this patient, or the key is in use.
func (w *Writer) begin(ctx context.Context, id string, c Change) (*Outcome, error) {
	line := db.ContactUpdate{
		ID: id, PatientID: c.PatientID, FHIRID: c.FHIRID, Actor: c.Actor, IdempotencyKey: c.IdempotencyKey, Digest: c.digest(),
	}
	w.keepLease(line.ID, w.owner)
	reached(stepBeforeAccepted)
	bound, cancel := uncancelled(ctx)
	defer cancel()
	begun, err := w.Store.BeginUpdate(bound, line, w.owner, w.Lease)
	switch {
	case err == nil:
		reached(stepAfterAccepted)
		u := &update{Writer: w, id: line.ID, row: begun.Patient, earlier: begun.Unresolved, change: c}
		return u.complete(ctx)
	case errors.Is(err, db.ErrNoFHIRID):
		w.endLease(line.ID)
		return w.updateLocal(ctx, c, line)
	}
	w.endLease(line.ID) // should it stand in the journal all the same, the lease runs out
	if errors.Is(err, db.ErrNotFound) {
		return noSuchPatient(), nil
	}
	return nil, err
}

// toldBefore returns what a request with the same idempotency key was told.
// While that one is under way elsewhere it waits for its end.
func (w *Writer) toldBefore(ctx context.Context, c Change) (*Outcome, error) {
	if c.IdempotencyKey == "" {
		return nil, nil
	}
	for pause := pollAtFirst; ; pause = min(2*pause, pollAtMost) {
		u, err := w.earlier(ctx, c)
		switch {
		case err != nil || u == nil:
			return nil, err
		case u.Digest != c.digest(), u.State != db.UpdateAccepted && u.State != db.UpdateSent, sleep(ctx, pause) != nil:
			return answerTo(c, u)
		case u.LeaseOver:
			w.reconcilePatient(ctx, c.PatientID)
		}
	}
}

// earlier finds the update with the same idempotency key; nil if there is none.
func (w *Writer) earlier(ctx context.Context, c Change) (*db.ContactUpdate, error) {
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	u, err := w.unstoredAnswer(c.Actor, c.IdempotencyKey), error(nil)
	if u == nil {
		u, err = w.Store.ContactUpdateByKey(ctx, c.Actor, c.IdempotencyKey, w.Keep)
	}
	switch {
	case errors.Is(err, db.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	}
	return u, nil
}

// answerTo is what a change is told whose idempotency key stands in the journal.
func answerTo(c Change, u *db.ContactUpdate) (*Outcome, error) {
	// The same words may mean another patient by now, whose number it has become.
	if u.Digest != c.digest() || u.PatientID != c.PatientID {
		return &Outcome{Code: KeyReused, Reason: "the idempotencyKey came with other content before"}, nil
	}
	return outcomeOf(u)
}

// waitForOther waits until no other process holds the patient, but at least
// about as long as pause. It is back at once then: the other may be about to write again.
func (w *Writer) waitForOther(ctx context.Context, c Change, pause time.Duration) error {
	for waited := false; ; waited, pause = true, min(2*pause, pollAtMost) {
		open, err := w.Store.HoldingUpdate(ctx, c.PatientID)
		switch {
		case errors.Is(err, db.ErrNotFound):
			if !waited {
				_ = sleep(ctx, pause) // perhaps something is being settled; the caller sees that its time is over
			}
			if c.IdempotencyKey == "" {
				return nil
			}
			// What was in the way may be a key that is past its time.
			_, err := w.Store.CleanUpdates(ctx, w.Keep)
			return err
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("look up open update: %w", err)
		case err == nil && open.LeaseOver:
			w.reconcilePatient(ctx, c.PatientID)
		}
		if sleep(ctx, pause) != nil {
			return nil // the caller sees that its time is over
		}
	}
}
