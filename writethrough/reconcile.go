package writethrough

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

func deletedBefore() *Error {
	return &Error{Kind: PatientGone, Reason: "the patient was deleted on the FHIR server"}
}

func neverTookEffect() *Error {
	return &Error{Kind: Unavailable, Reason: "the write never took effect"}
}

var fencedAnswer = encodeAnswer(neverTookEffect())

// How much is settled at once, and how often settled updates are cleaned up.
const (
	claimAtOnce  = 256
	settleAtOnce = 64
	// After so many settle windows a history that cannot be read does not tell.
	historyWindows = 10
	cleanInterval  = 10 * time.Minute
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

// reconcile takes over the operations whose leases ran out and finds out what
// became of them: those of one patient or, with "", all. Every claim has an owner of its own: the process that began an
// operation may be this one, alive behind a lease that ran out.
func (w *Writer) reconcile(ctx context.Context, patientID string) {
	for claimed := claimAtOnce; claimed == claimAtOnce && ctx.Err() == nil; {
		owner := w.NewID()
		updates, err := w.Store.ClaimUpdates(owner, patientID, w.Lease, claimAtOnce)
		if err != nil {
			w.Log.ErrorContext(ctx, "unsettled contact updates could not be looked up", "error", err)
			return
		}
		claimed = len(updates)
		var settling sync.WaitGroup
		places := make(chan struct{}, settleAtOnce)
		for _, u := range updates {
			w.keepLease(u.ID, owner)
			settling.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				defer w.endLease(u.ID)
				w.settle(ctx, u, owner)
			})
		}
		settling.Wait()
	}
}

// settle finds out how an operation ended that nobody works on, and writes it
// down; or that it is not known yet. Meanwhile nobody else writes the patient.
func (w *Writer) settle(ctx context.Context, u db.ContactUpdate, owner string) {
	defer func() {
		if cause := recover(); cause != nil { // one line must not end the process
			w.Log.ErrorContext(ctx, "panic while a contact update was being settled", "operation", u.ID, "cause", cause, "stack", string(debug.Stack()))
		}
	}()
	v := verdict{state: db.UpdateUnknown, gone: u.Gone}
	err := w.hold(ctx, u, owner)
	if err == nil {
		v, err = w.findOut(ctx, u)
	}
	if err != nil && !errors.Is(err, db.ErrBusy) {
		w.Log.WarnContext(ctx, "the outcome of a contact update is still not known", "patient", u.PatientID, "operation", u.ID, "error", err)
		v = verdict{state: db.UpdateUnknown, gone: u.Gone || isGone(err)}
	}
	c := db.Closing{
		ID: u.ID, Owner: owner, PatientID: u.PatientID, State: v.state, Answer: encodeAnswer(v.err), Gone: v.gone,
		Shown: v.shown, Told: v.told, At: w.Now(), RetryIn: max(w.tick(), min(u.SentFor/4, time.Minute)),
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
	now, err := w.read(ctx, u.FHIRID)
	told := toldGone(u)
	var f *fhir.Error
	switch {
	case errors.As(err, &f) && f.Kind == fhir.Gone && told != nil:
		return verdict{state: db.UpdateRejected, err: told}, nil
	case errors.As(err, &f) && f.Kind == fhir.Gone && over:
		return patientGone(f), nil
	case err != nil:
		return verdict{}, err
	case told != nil: // only what the patient looks like now was not known
		return recreated(now.JSON, w.Now(), told)
	}
	v, known, err := w.whatLanded(ctx, p, now)
	switch {
	case err != nil && u.SentFor < historyWindows*w.SettleWindow:
		return verdict{}, err
	case v.state == "":
		return verdict{}, err
	case v.gone:
		w.resurrected(ctx, u.PatientID, u.ID)
	case u.Gone && v.state == db.UpdateApplied: // it was gone, and shows our values now
		w.resurrected(ctx, u.PatientID, u.ID)
		v.state, v.err = db.UpdateRejected, deletedBefore()
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

// changed names the fields that the PUT was to change.
func (p past) changed() []string { return fhir.Missing(p.base, p.intended, p.fields) }

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
	never, moved := notApplied(neverTookEffect()), p.etag != "" && now.ETag != p.etag
	never.shown = &st
	// Values that were there before say nothing until the version has moved.
	there := len(fhir.Missing(patient.Contact, p.intended, p.fields)) == 0 && (moved || len(p.changed()) > 0)
	if !moved && there {
		return verdict{state: db.UpdateApplied, shown: &st}, true, nil
	}
	if !moved {
		return inPart(never, p, patient.Contact), false, nil
	}
	next, err := w.after(ctx, p.fhirID, p.etag)
	var f *fhir.Error
	switch {
	case isGone(err) && there: // deleted before our PUT came, which made it anew
		return verdict{state: db.UpdateRejected, err: deletedBefore(), shown: &st, gone: true}, true, nil
	case there:
		return verdict{state: db.UpdateApplied, shown: &st}, true, nil
	case isGone(err), errors.As(err, &f) && f.Kind == fhir.Unusable: // after a deletion ours may have made it anew
		return inPart(never, p, patient.Contact), false, nil
	case err != nil:
		return inPart(never, p, patient.Contact), false, err
	}
	then, err := fhir.ParsePatient(next.JSON, w.Now())
	if err != nil {
		return verdict{}, false, err
	}
	if len(fhir.Missing(then.Contact, p.intended, p.fields)) == 0 {
		told := State(then)
		return verdict{state: db.UpdateApplied, shown: &st, told: &told}, true, nil
	}
	return inPart(never, p, then.Contact), true, nil
}

// inPart tells whether some of the fields that the PUT was to change hold the
// values it had, and others do not.
func inPart(never verdict, p past, shown fhir.Contact) verdict {
	changed := p.changed()
	missing := fhir.Missing(shown, p.intended, changed)
	if len(missing) == 0 || len(missing) == len(changed) {
		return never
	}
	return verdict{state: db.UpdateRejected, err: notSaved(missing), shown: never.shown}
}
