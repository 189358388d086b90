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
	var settling sync.WaitGroup
	defer settling.Wait()
	places := make(chan struct{}, settleAtOnce)
	start := func(settle func()) { // and does not wait: one patient whose reads hang must not keep the others
		settling.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			settle()
		})
	}
	for {
		w.reconcile(ctx, "", start)
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

// reconcilePatient settles what of one patient was left open.
func (w *Writer) reconcilePatient(ctx context.Context, patientID string) {
	var settling sync.WaitGroup
	w.reconcile(ctx, patientID, settling.Go)
	settling.Wait()
}

// reconcile takes over the operations whose leases ran out, of one patient or,
// with "", of all, and has start settle each. Every claim has an owner of its
// own: the process that began an operation may be this one, alive behind a
// lease that ran out.
func (w *Writer) reconcile(ctx context.Context, patientID string, start func(settle func())) {
	for claimed := claimAtOnce; claimed == claimAtOnce && ctx.Err() == nil; {
		owner := w.NewID()
		updates, err := w.Store.ClaimUpdates(owner, patientID, w.Lease, claimAtOnce)
		if err != nil {
			w.Log.ErrorContext(ctx, "unsettled contact updates could not be looked up", "error", err)
			return
		}
		claimed = len(updates)
		for _, u := range updates {
			w.keepLease(u.ID, owner)
			start(func() {
				defer w.endLease(u.ID)
				w.settle(ctx, u, owner)
			})
		}
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
	if c, ok := w.unsavedEnd(u.ID); ok && u.State != db.UpdateUnknown { // this process knew, and could not write it down
		c.Owner = owner
		_, err := w.Store.CloseUpdate(c)
		if err == nil || errors.Is(err, db.ErrVersionMismatch) {
			w.saved(u.ID)
		}
		if !errors.Is(err, db.ErrVersionMismatch) {
			return
		}
	}
	v := verdict{state: db.UpdateUnknown, gone: u.Gone}
	err := w.hold(ctx, u, owner)
	if err == nil {
		v, err = w.findOut(ctx, u)
	}
	retryIn := max(w.tick(), min(u.SentFor/4, time.Minute))
	var f *fhir.Error
	if errors.As(err, &f) {
		retryIn = max(retryIn, f.RetryAfter)
	}
	if err != nil && !errors.Is(err, db.ErrBusy) {
		w.Log.WarnContext(ctx, "the outcome of a contact update is still not known", "patient", u.PatientID, "operation", u.ID, "error", err)
		v = verdict{state: db.UpdateUnknown, gone: u.Gone || isGone(err)}
	}
	c := db.Closing{
		ID: u.ID, Owner: owner, PatientID: u.PatientID, State: v.state, Answer: encodeAnswer(v.err), Gone: v.gone,
		Shown: v.shown, Told: v.told, At: w.Now(), RetryIn: retryIn,
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
	var from basis
	var edit fhir.ContactEdit
	err = errors.Join(json.Unmarshal([]byte(u.Base), &from), json.Unmarshal([]byte(u.Intended), &p.intended), json.Unmarshal([]byte(u.Asked), &edit))
	if err != nil {
		return verdict{}, fmt.Errorf("read the journal: %w", err)
	}
	p.base, p.at, p.fields = from.Contact, from.At, edit.Fields()
	over := u.SentFor > w.SettleWindow
	now, err := w.read(ctx, u.FHIRID)
	told := toldSoFar(u)
	var f *fhir.Error
	switch {
	case errors.As(err, &f) && f.Kind == fhir.Gone && told.Kind == PatientGone:
		return verdict{state: db.UpdateRejected, err: told}, nil
	case errors.As(err, &f) && f.Kind == fhir.Gone && over:
		return patientGone(f), nil
	case err != nil:
		return verdict{}, err
	case told.Kind == PatientGone: // only what the patient looks like now was not known
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
	case told.SaidOK && v.state == db.UpdateNotApplied:
		v.state, v.err = db.UpdateRejected, notSaved(p.fields)
	}
	return v, nil
}

// basis is what the journal keeps of what a PUT was based on.
type basis struct {
	fhir.Contact
	At time.Time `json:"at"` // when it was made
}

// past is a PUT whose effect is to be found out.
type past struct {
	fhirID, etag   string
	base, intended fhir.Contact
	fields         []string
	at             time.Time // when it was made: which entries are current is judged as then
}

var allFields = []string{fhir.FieldPhone, fhir.FieldEmail, fhir.FieldAddress}

// changed names the fields that the PUT was to change.
func (p past) changed() []string { return fhir.Missing(p.base, p.intended, p.fields) }

// missing names the fields that do not have the values of the PUT.
func (p past) missing(have fhir.Contact) []string { return fhir.Missing(have, p.intended, p.fields) }

// instead ends an operation where other values are than its PUT had: it never
// took effect if they are the old ones; else they may be what the server made
// of it (cut, normalised, a part of it), and it must not be written again.
func (p past) instead(have fhir.Contact, shown *db.FHIRState) verdict {
	if len(fhir.Missing(have, p.base, p.changed())) == 0 {
		v := notApplied(neverTookEffect())
		v.shown = shown
		return v
	}
	return verdict{state: db.UpdateRejected, err: notSaved(p.missing(have)), shown: shown}
}

// whatLanded judges by what the server shows now what became of a PUT: applied
// (perhaps overwritten since), applied as something else, or not applied. It is
// not known if the PUT may still take effect: where the version has not moved,
// or there are none; nor where the history does not tell. Then the verdict
// holds once the PUT can no longer be under way.
func (w *Writer) whatLanded(ctx context.Context, p past, now fhir.Resource) (v verdict, known bool, err error) {
	patient, err := fhir.ParsePatient(now.JSON, w.Now())
	if err != nil {
		return verdict{}, false, err
	}
	have, err := fhir.ContactOf(now.JSON, p.at)
	if err != nil {
		return verdict{}, false, err
	}
	st := State(patient)
	applied := verdict{state: db.UpdateApplied, shown: &st}
	moved := p.etag != "" && now.ETag != p.etag
	// Values that were there before say nothing until the version has moved.
	there := len(p.missing(have)) == 0 && (moved || len(p.changed()) > 0)
	if !moved {
		if there {
			return applied, true, nil
		}
		return p.instead(have, &st), false, nil
	}
	next, err := w.after(ctx, p.fhirID, p.etag)
	var f *fhir.Error
	switch {
	case err == nil:
		return p.judgeNext(next, applied, there, w.Now())
	case isGone(err) && there: // deleted before our PUT came, which made it anew
		return verdict{state: db.UpdateRejected, err: deletedBefore(), shown: &st, gone: true}, true, nil
	case there:
		return applied, true, nil
	case isGone(err), errors.As(err, &f) && f.Kind == fhir.Unusable: // after a deletion ours may have made it anew
		return p.instead(have, &st), false, nil
	}
	return p.instead(have, &st), false, err
}

// judgeNext judges by the version that directly followed the one that the PUT
// named: it is the PUT's, or the PUT can never land.
func (p past) judgeNext(next fhir.Resource, applied verdict, there bool, at time.Time) (v verdict, known bool, err error) {
	then, err := fhir.ParsePatient(next.JSON, at)
	if err != nil {
		return verdict{}, false, err
	}
	had, err := fhir.ContactOf(next.JSON, p.at)
	switch {
	case err != nil:
		return verdict{}, false, err
	case len(p.missing(had)) == 0:
		applied.others = len(fhir.Missing(had, p.intended, allFields)) > 0
		if !there {
			told := State(then)
			applied.told = &told
		}
		return applied, true, nil
	case there:
		applied.others = true
		return applied, true, nil
	}
	return p.instead(had, applied.shown), true, nil
}
