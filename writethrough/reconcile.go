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
	"patientgraph/record"
)

// How much is settled at once, and how often settled updates are cleaned up.
const (
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

// reconcile takes over operations whose leases ran out, of one patient or,
// with "", of any, at most limit of them, and has start settle each. Every
// claim has an owner of its own: the process that began an operation may be
// this one, alive behind a lease that ran out.
func (w *Writer) reconcile(ctx context.Context, patientID string, limit int, start func(settle func())) (claimed int) {
	if limit == 0 || ctx.Err() != nil {
		return 0
	}
	owner := w.NewID()
	updates, err := w.Store.ClaimUpdates(owner, patientID, w.Lease, limit)
	if err != nil {
		w.Log.ErrorContext(ctx, "unsettled contact updates could not be looked up", "error", err)
		return 0
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

// settle finds out how an operation ended that nobody works on, and writes it
// down; or that it is not known yet. Meanwhile nobody else writes the patient.
func (w *Writer) settle(ctx context.Context, u db.ContactUpdate, owner string) {
	defer func() {
		if cause := recover(); cause != nil { // one line must not end the process
			w.Log.ErrorContext(ctx, "panic while a contact update was being settled", "operation", u.ID, "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
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
		reason := err.Error()
		if isGone(err) {
			reason = "the FHIR server says that the patient is gone"
		}
		w.Log.WarnContext(ctx, "the outcome of a contact update is still not known", "patient", u.PatientID, "operation", u.ID, "error", reason)
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
	case errors.Is(err, db.ErrUnreadable): // it waits until the row is mended
		w.Log.ErrorContext(ctx, "a contact update cannot be settled", "patient", u.PatientID, "operation", u.ID, "error", err)
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
	p, err := pastOf(&u)
	if err != nil {
		return verdict{}, err
	}
	told, err := toldSoFar(&u)
	if err != nil {
		return verdict{}, err
	}
	over := u.SentFor > w.SettleWindow
	now, err := w.read(ctx, u.FHIRID)
	var f *fhir.Error
	switch {
	case errors.As(err, &f) && f.Kind == fhir.Gone && told.Kind == PatientGone:
		return verdict{state: db.UpdateRejected, err: told}, nil
	case errors.As(err, &f) && f.Kind == fhir.Gone && over:
		v := patientGone(f)
		v.err.Issues = nil // they may quote the patient, whose row is not at hand
		return v, nil
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
		return p.ignored(v.shown), nil
	}
	return v, nil
}

// basis is what the journal keeps of what a PUT was based on.
type basis struct {
	fhir.Contact
	At time.Time `json:"at"` // when it was made
}

// intent is what the journal keeps of what a PUT holds.
type intent struct {
	fhir.Contact
	Entries int `json:"entries"`
}

// past is a PUT whose effect is to be found out.
type past struct {
	fhirID, etag   string
	base, intended fhir.Contact
	entries        int // fhir.Entries of the requested fields in it
	edit           fhir.ContactEdit
	at             time.Time // when it was made: which entries are current is judged as then
}

// pastOf reads what the journal keeps of an update's PUT. db.ErrUnreadable.
func pastOf(u *db.ContactUpdate) (past, error) {
	p := past{fhirID: u.FHIRID, etag: u.BaseETag}
	var from basis
	var to intent
	err := errors.Join(u.Decode("base", u.Base, &from), u.Decode("intended", u.Intended, &to), u.Decode("asked", u.Asked, &p.edit))
	p.base, p.at, p.intended, p.entries = from.Contact, from.At, to.Contact, to.Entries
	return p, err
}

// changed names the fields that the PUT was to change.
func (p past) changed() []string { return fhir.Missing(p.base, p.intended, p.edit.Fields()) }

// missing names the requested fields that a body does not hold.
func (p past) missing(body []byte) ([]string, error) {
	have, err := fhir.ContactOf(body, p.at)
	if err != nil {
		return nil, err
	}
	missing := fhir.Missing(have, p.intended, p.edit.Fields())
	if len(missing) > 0 || len(p.changed()) > 0 {
		return missing, nil
	}
	// The contact was to look as before (a phone removed that stands there
	// twice): then only the number of entries tells.
	if fhir.Entries(body, p.edit.Fields()) != p.entries {
		return p.edit.Fields(), nil
	}
	return nil, nil
}

// instead ends an operation where a body holds other values than its PUT had:
// it never took effect if they are the old ones; else they may be what the
// server made of it (cut, normalised, a part of it), and it must not be written
// again.
func (p past) instead(body []byte, shown *db.FHIRState) (verdict, error) {
	have, err := fhir.ContactOf(body, p.at)
	if err != nil {
		return verdict{}, err
	}
	if len(fhir.Missing(have, p.base, p.changed())) == 0 {
		v := notApplied(neverTookEffect())
		v.shown = shown
		return v, nil
	}
	missing, err := p.missing(body)
	return verdict{state: db.UpdateRejected, err: notSaved(missing), shown: shown}, err
}

// ignored ends an operation that the server said OK to, and of which nothing
// took effect.
func (p past) ignored(shown *db.FHIRState) verdict {
	fields := p.changed()
	if len(fields) == 0 {
		fields = p.edit.Fields()
	}
	return verdict{state: db.UpdateRejected, err: notSaved(fields), shown: shown}
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
	missing, err := p.missing(now.JSON)
	if err != nil {
		return verdict{}, false, err
	}
	st := record.State(patient)
	applied := verdict{state: db.UpdateApplied, shown: &st}
	moved := p.etag != "" && now.ETag != p.etag
	// Values that were there before say nothing until the version has moved.
	there := len(missing) == 0 && (moved || len(p.changed()) > 0)
	var next fhir.Resource
	var f *fhir.Error
	var afterErr error
	if moved {
		next, afterErr = w.after(ctx, p.fhirID, p.etag)
	}
	switch {
	case moved && afterErr == nil:
		return p.judgeNext(next, applied, there, w.Now())
	case isGone(afterErr) && there: // deleted before our PUT came, which made it anew
		return verdict{state: db.UpdateRejected, err: deletedBefore(), shown: &st, gone: true}, true, nil
	case there:
		return applied, true, nil
	case isGone(afterErr), errors.As(afterErr, &f) && f.Kind == fhir.Unusable: // after a deletion ours may have made it anew
		afterErr = nil
	}
	v, err = p.instead(now.JSON, &st)
	return v, false, errors.Join(err, afterErr)
}

// judgeNext judges by the version that directly followed the one that the PUT
// named: it is the PUT's, or the PUT can never land.
func (p past) judgeNext(next fhir.Resource, applied verdict, there bool, at time.Time) (v verdict, known bool, err error) {
	then, err := fhir.ParsePatient(next.JSON, at)
	if err != nil {
		return verdict{}, false, err
	}
	missing, err := p.missing(next.JSON)
	if err != nil {
		return verdict{}, false, err
	}
	st := record.State(then)
	applied.next = &st
	switch {
	case len(missing) == 0 && !there:
		applied.told = &st
		return applied, true, nil
	case len(missing) == 0, there:
		return applied, true, nil
	}
	v, err = p.instead(next.JSON, applied.shown)
	return v, true, err
}
