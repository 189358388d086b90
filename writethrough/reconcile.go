package writethrough

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

func neverTookEffect() *Error {
	return &Error{Kind: Unavailable, Reason: "the write never took effect"}
}

var fencedAnswer = encodeAnswer(neverTookEffect())

// How much is settled at once, and how often settled updates are cleaned up.
const (
	claimAtOnce   = 64
	settleAtOnce  = 8
	cleanInterval = 10 * time.Minute
)

// reconcileUntil settles what was left open, until ctx ends.
func (w *Writer) reconcileUntil(ctx context.Context) {
	ticker := time.NewTicker(w.tick())
	defer ticker.Stop()
	var cleaned time.Time
	for {
		w.reconcile(ctx, "")
		if time.Since(cleaned) >= cleanInterval {
			cleaned = time.Now()
			if n, err := w.Store.CleanUpdates(ctx, w.Keep); err != nil {
				w.Log.Error("the journal could not be cleaned up", "error", err)
			} else if n > 0 {
				w.Log.Debug("journal cleaned up", "deleted", n)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// reconciler is what owns the operations that are being settled: not those of
// this process, which may be alive behind a lease that ran out.
func (w *Writer) reconciler() string { return w.owner + "/reconciler" }

// reconcile takes over the operations whose leases ran out and finds out what
// became of them. The caller may hold the lock of one patient.
func (w *Writer) reconcile(ctx context.Context, locked string) {
	if ctx.Err() != nil {
		return
	}
	claimed, err := w.Store.ClaimUpdates(w.reconciler(), w.Lease, claimAtOnce)
	if err != nil {
		w.Log.ErrorContext(ctx, "unsettled contact updates could not be looked up", "error", err)
		return
	}
	var settling sync.WaitGroup
	places := make(chan struct{}, settleAtOnce)
	for _, u := range claimed {
		settling.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			w.settle(ctx, u, u.PatientID == locked)
		})
	}
	settling.Wait()
}

// settle finds out how an operation ended that nobody works on, and writes it
// down; or that it is not known yet. Meanwhile nobody else writes the patient.
func (w *Writer) settle(ctx context.Context, u db.ContactUpdate, locked bool) {
	v := verdict{state: db.UpdateUnknown, gone: u.Gone}
	release, err := w.hold(ctx, u, locked)
	if err == nil {
		defer release()
		v, err = w.findOut(ctx, u)
	}
	if err != nil && !errors.Is(err, db.ErrBusy) {
		w.Log.WarnContext(ctx, "the outcome of a contact update is still not known", "patient", u.PatientID, "operation", u.ID, "error", err)
		v = verdict{state: db.UpdateUnknown, gone: u.Gone || isGone(err)}
	}
	c := db.Closing{
		ID: u.ID, Owner: w.reconciler(), PatientID: u.PatientID, State: v.state, Answer: encodeAnswer(v.err), Gone: v.gone,
		Shown: v.shown, Told: v.told, At: w.Now(), RetryIn: max(w.tick(), min(u.SentFor/4, time.Minute)),
		LandedETag: v.landed, FencedAnswer: fencedAnswer,
	}
	if v.state == db.UpdateUnknown {
		c.Answer = u.Answer
	}
	reached(stepBeforeSettled)
	_, err = w.Store.CloseUpdate(c)
	reached(stepAfterSettled)
	switch {
	case errors.Is(err, db.ErrLostLease): // settled by somebody else
	case err != nil: // its lease runs out, and it is tried again
		w.Log.DebugContext(ctx, "not settled now", "patient", u.PatientID, "operation", u.ID, "error", err)
	case v.state != db.UpdateUnknown:
		w.metrics.settled.WithLabelValues(string(v.state)).Inc()
		w.Log.InfoContext(ctx, "contact update settled", "patient", u.PatientID, "operation", u.ID, "state", v.state)
	}
}

// hold keeps all others from writing the patient of an operation: it may be
// UNKNOWN, and then they may.
func (w *Writer) hold(ctx context.Context, u db.ContactUpdate, locked bool) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, w.Lease/2)
	defer cancel()
	release = func() {}
	if u.State != db.UpdateUnknown {
		return release, nil
	}
	if !locked {
		if release, err = w.locks.acquire(ctx, u.PatientID); err != nil {
			return nil, errors.Join(db.ErrBusy, err)
		}
	}
	for pause := pollAtFirst; ; pause = min(2*pause, pollAtMost) {
		if err = w.Store.HoldUpdate(u.ID, w.reconciler(), u.PatientID); err == nil {
			return release, nil
		}
		if sleep(ctx, pause) != nil {
			release()
			return nil, err
		}
	}
}

// findOut asks the FHIR server what became of an operation.
func (w *Writer) findOut(ctx context.Context, u db.ContactUpdate) (v verdict, err error) {
	if u.State == db.UpdateAccepted {
		return notApplied(&Error{Kind: Unavailable, Reason: "the server stopped before anything was sent"}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	p := past{fhirID: u.FHIRID, etag: u.BaseETag}
	var edit fhir.ContactEdit
	err = errors.Join(json.Unmarshal([]byte(u.Base), &p.base), json.Unmarshal([]byte(u.Intended), &p.intended), json.Unmarshal([]byte(u.Asked), &edit))
	if err != nil {
		return verdict{}, fmt.Errorf("read the journal: %w", err)
	}
	p.fields = edit.Fields()
	over := u.SentFor > w.SettleWindow
	now, err := w.FHIR.Read(ctx, u.FHIRID)
	var f *fhir.Error
	switch {
	case errors.As(err, &f) && f.Kind == fhir.Gone && over:
		return patientGone(f), nil
	case err != nil:
		return verdict{}, err
	}
	v, known, err := w.whatLanded(ctx, p, now)
	switch {
	case err != nil:
		return verdict{}, err
	case u.Gone && v.state == db.UpdateApplied: // it was gone, and shows our values now
		w.resurrected(ctx, u.PatientID, u.ID)
		v.state, v.err = db.UpdateRejected, &Error{Kind: PatientGone, Reason: "the patient was deleted on the FHIR server"}
	case !known && !over:
		return verdict{state: db.UpdateUnknown, gone: u.Gone}, nil
	}
	return v, nil
}

// past is a PUT whose effect is to be found out.
type past struct {
	fhirID, etag   string
	base, intended fhir.Contact
	fields         []string
}

// whatLanded judges by what the server shows now what became of a PUT: applied
// (perhaps overwritten since), applied in part, or not applied. It is not
// known if the PUT may still take effect: where the version has not moved, or
// there are none; nor where the history does not tell. Then the verdict holds
// once the PUT can no longer be under way.
func (w *Writer) whatLanded(ctx context.Context, p past, now fhir.Resource) (v verdict, known bool, err error) {
	patient, err := fhir.ParsePatient(now.JSON, w.Now())
	if err != nil {
		return verdict{}, false, err
	}
	st := State(patient)
	if len(fhir.Missing(patient.Contact, p.intended, p.fields)) == 0 {
		return verdict{state: db.UpdateApplied, shown: &st, landed: p.etag}, true, nil
	}
	never := notApplied(neverTookEffect())
	never.shown = &st
	if p.etag == "" || now.ETag == p.etag {
		return inPart(never, p, patient.Contact), false, nil
	}
	next, err := w.FHIR.After(ctx, p.fhirID, p.etag)
	var f *fhir.Error
	switch {
	case isGone(err): // the next version was a deletion, not ours
		return never, true, nil
	case errors.As(err, &f) && f.Kind == fhir.Unusable:
		return inPart(never, p, patient.Contact), false, nil
	case err != nil:
		return verdict{}, false, err
	}
	then, err := fhir.ParsePatient(next.JSON, w.Now())
	if err != nil {
		return verdict{}, false, err
	}
	if len(fhir.Missing(then.Contact, p.intended, p.fields)) == 0 {
		told := State(then)
		return verdict{state: db.UpdateApplied, shown: &st, told: &told, landed: p.etag}, true, nil
	}
	return inPart(never, p, then.Contact), true, nil
}

// inPart tells whether some of the fields that the PUT was to change hold the
// values it had, and others do not.
func inPart(never verdict, p past, shown fhir.Contact) verdict {
	changed := fhir.Missing(p.base, p.intended, p.fields)
	missing := fhir.Missing(shown, p.intended, changed)
	if len(missing) == 0 || len(missing) == len(changed) {
		return never
	}
	return verdict{state: db.UpdateRejected, err: notSaved(missing), shown: never.shown}
}
