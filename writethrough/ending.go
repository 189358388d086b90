package writethrough

import (
	"context"
	"errors"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
	"patientgraph/writethrough/judge"
)

// ending is how an update ends, before that is written down.
type ending struct {
	state   db.UpdateState
	outcome *Outcome
	heard   judge.Heard   // UpdateUnknown: how the FHIR server answered
	shown   *db.FHIRState // what the FHIR server shows now: the cache follows; nil leaves the cache
	instead *db.FHIRState // applied and overwritten since: what the caller is shown in place of shown
	fence   bool          // no other PUT that named the same version can land
	gone    bool          // the FHIR server said that the patient is gone
}

// notApplied ends an update of which nothing took effect.
func notApplied(o *Outcome) ending { return ending{state: db.UpdateNotApplied, outcome: o} }

// unknown says that nobody knows yet.
func unknown(f *fhir.Error) ending { return ending{state: db.UpdateUnknown, outcome: notKnown(f)} }

// evidence is what a ruling is based on beside its Case.
type evidence struct {
	failure  *fhir.Error // how the PUT failed; nil: the server said OK
	unseen   error       // why something could not be seen
	status   int         // of the OK
	intended []byte      // the record that the PUT was to make
}

// rule does what a ruling says: it remembers what the next PUT must know, and
// returns how the update ends if there is none.
func (u *update) rule(ctx context.Context, c judge.Case, r judge.Ruling, s judge.Sight, found evidence) (ending, judge.Next) {
	e := endingOf(r, s)
	e.heard = c.Heard
	cause := found.failure
	switch {
	case c.Earlier && c.Heard != judge.OK && c.Heard != judge.Unchanged && c.Heard != judge.Created:
		e.heard = judge.Nothing // the answer was not about the sending whose fate is open
	case c.Read == judge.SeenGone && found.failure != nil:
		errors.As(found.unseen, &cause)
	}
	if c.Earlier && c.Heard == judge.NotSent {
		cause = u.lost
	}
	switch {
	case r.Why == judge.WhyNotSent && u.stopping.Err() != nil:
		e.outcome = u.notNow(cause)
	case r.Why == judge.WhyRefused:
		e.outcome = &Outcome{
			Code: Rejected, Reason: cause.Reason, HTTPStatus: cause.Status, Issues: issues(cause, found.intended, u.put.At), cause: cause,
			Untouched: fhir.Untouched(u.base.JSON, found.intended, cause.Issues, u.change.Edit.Fields()),
		}
	case r.Why == judge.WhyForbidden:
		e.outcome = &Outcome{Code: Forbidden, Reason: cause.Reason, HTTPStatus: cause.Status, Issues: issues(cause, found.intended, u.put.At), cause: cause}
	case r.Why == judge.WhyConflict:
		e.outcome = u.conflictWith(*e.shown, u.changed(s)).outcome
	default:
		e.outcome = outcomeFor(r, c.Heard, s, cause, found.status)
	}
	if r.Alarm {
		u.alarm(ctx, u.row.ID, u.id)
	}
	switch r.Next {
	case judge.SendAgain:
		u.lost = cause
	case judge.MergeAgain:
		u.lost, u.busy = nil, nil
		if r.Why == judge.WhyBusy {
			u.busy = cause
		}
		if e.shown != nil {
			u.seen = e.shown
		}
	case judge.LookAgain:
		return e, judge.End
	}
	return e, r.Next
}

// endingOf is what a ruling writes down.
func endingOf(r judge.Ruling, s judge.Sight) ending {
	e := ending{state: db.UpdateState(r.State), fence: r.Fence, gone: r.Gone || r.State == judge.Rejected && s.Read == judge.SeenGone}
	if r.Follow {
		st := record.State(*s.Now)
		e.shown = &st
	}
	if r.ShowFollowed {
		st := record.State(*s.Followed)
		e.instead = &st
	}
	return e
}

// alarm says that a PUT made a patient anew: somebody must look at it.
func (w *Writer) alarm(ctx context.Context, patientID, operationID string) {
	w.metrics.resurrected.Inc()
	w.Log.ErrorContext(ctx, "ALARM: a PUT created or resurrected a patient that was gone from the FHIR server",
		"patient", patientID, "operation", operationID)
}

// conflictWith ends an update with a conflict. The cache follows the truth, so
// that the caller's next try starts from the version reported.
func (u *update) conflictWith(st db.FHIRState, changed []string) ending {
	row := *u.row
	row.FHIRState = st
	return ending{state: db.UpdateConflict, outcome: conflict(u.change, &row, changed), shown: &st}
}

func conflict(c Change, current *db.Patient, changed []string) *Outcome {
	return &Outcome{
		Code: Conflict, Reason: "the record was changed by somebody else",
		Patient: current, Conflicting: changed, Busy: c.ExpectedVersion == 0 || len(changed) == 0,
	}
}

// finish writes down how the update ended, and the cache with it. If the
// database fails now, the caller still hears the truth, and the end is written
// down later. errAgain: the row moved on since the update began.
func (u *update) finish(ctx context.Context, e ending) (*Outcome, error) {
	c := u.closing(e)
	reached(stepBeforeCommit)
	row, err := u.writeEnd(c)
	reached(stepAfterCommit)
	switch {
	case errors.Is(err, db.ErrVersionMismatch):
		bound, cancel := uncancelled(ctx)
		defer cancel()
		row, err := u.Store.Patient(bound, u.row.ID)
		if err != nil {
			u.giveUp()
			return nil, err
		}
		u.row, u.attempt = row, 0
		return nil, errAgain
	case errors.Is(err, db.ErrLostLease):
		u.endLease(u.id)
		return u.takenOver(ctx, e)
	case err != nil && !u.sent && e.outcome.Code == Success: // the values were there already, and the cache cannot follow
		u.giveUp()
		return nil, err
	case err != nil:
		u.Log.ErrorContext(ctx, "how a contact update ended could not be written down yet",
			"patient", u.row.ID, "operation", u.id, "state", e.state, "error", err)
		row = u.asShown(e)
		u.storeLater(c, row)
	default:
		u.endLease(u.id)
	}
	return e.tell(u.id, row), nil
}

// writeEnd writes down how an update ended, and the cache with it.
func (w *Writer) writeEnd(c db.Closing) (*db.Patient, error) {
	row, err := w.Store.CloseUpdate(c)
	w.metrics.countCached(err)
	return row, err
}

// closing is what of an ending is written down.
func (u *update) closing(e ending) db.Closing {
	c := db.Closing{
		ID: u.id, Owner: u.owner, PatientID: u.row.ID, State: e.state, Answer: e.outcome.encode(), Heard: string(e.heard),
		Gone: e.gone, Shown: e.shown, ShownInstead: e.instead, At: u.Now(), FencedAnswer: fencedAnswer,
		TryAgain: e.outcome.Busy,
	}
	if e.fence {
		c.LandedETag = u.put.IfMatch
	}
	if len(u.earlier) == 0 {
		c.Row = u.row
	}
	if e.state == db.UpdateUnknown {
		c.RetryIn = e.outcome.RetryAfter
	}
	if !u.sent {
		c.IfVersion, c.IfFHIRVersion = u.row.Version, u.row.FHIRVersionID // only from SENT on does the journal keep others from the row
	}
	return c
}

// tell completes the outcome of an update.
func (e ending) tell(id string, row *db.Patient) *Outcome {
	e.outcome.OperationID, e.outcome.Patient = id, row
	return e.outcome
}

// asShown is the patient as the FHIR server shows it, not as the cache does.
func (u *update) asShown(e ending) *db.Patient {
	row := *u.row
	for _, st := range []*db.FHIRState{e.shown, e.instead} {
		if st != nil {
			row.FHIRState = *st
		}
	}
	if u.sent {
		row.SyncState = db.Pending
	}
	if e.instead != nil { // the row never has these values
		row.Version = 0
	}
	return &row
}

// takenOver ends an update that another process took over because this one
// stood still. What the other found out is the answer, unless the FHIR server
// told us more: then the other's finding is corrected.
func (u *update) takenOver(ctx context.Context, e ending) (*Outcome, error) {
	bound, cancel := uncancelled(ctx)
	defer cancel()
	line, err := u.Store.ContactUpdate(bound, u.id)
	landed := u.sent && e.shown != nil && (e.state == db.UpdateApplied || e.state == db.UpdateRejected)
	switch {
	case err == nil && !landed, err == nil && !line.State.Open() && line.State != db.UpdateNotApplied:
		o, err := outcomeOf(line)
		if err == nil {
			o.known = u.asShown(e)
		}
		return o, err
	case errors.Is(err, db.ErrNotFound) && !u.sent: // the database crashed: ACCEPTED is not durable
		return &Outcome{
			Code: Unavailable, OperationID: u.id, known: u.asShown(e), Reason: "the database forgot the operation; nothing was sent", cause: err,
		}, nil
	case !landed:
		return &Outcome{Code: OutcomeUnknown, OperationID: u.id, known: u.asShown(e), Reason: "the journal cannot be read", cause: err}, nil
	case err != nil, line.State == db.UpdateNotApplied:
		u.reopen(u.id, u.row.ID)
	}
	return e.tell(u.id, u.asShown(e)), nil
}

// giveUp closes an update because the database failed: nothing was sent, or the
// FHIR server refused what was.
func (u *update) giveUp() {
	e := notApplied(&Outcome{Code: Unavailable, Reason: "the database failed; nothing took effect"})
	c := db.Closing{
		ID: u.id, Owner: u.owner, PatientID: u.row.ID, State: e.state, Answer: e.outcome.encode(), At: u.Now(),
		Shown: u.seen, // the conflict may have been with our own PUT
	}
	if _, err := u.writeEnd(c); err == nil || errors.Is(err, db.ErrLostLease) || errors.Is(err, db.ErrNotFound) {
		u.endLease(u.id)
		return
	}
	u.storeLater(c, nil)
}

// storeLater keeps an end that the database did not take; row is what the caller
// is shown of the patient. Should others take the update over meanwhile, they
// may let the patient be written.
func (u *update) storeLater(c db.Closing, row *db.Patient) {
	c.Row = nil
	if c.Shown != nil {
		c.IfVersion, c.IfFHIRVersion = u.row.Version, u.row.FHIRVersionID
	}
	end := &unstored{end: c}
	if c.State != db.UpdateNotApplied && !c.TryAgain { // which no key remembers
		end.told = &db.ContactUpdate{
			ID: u.id, PatientID: u.row.ID, State: c.State, Answer: c.Answer, Patient: row,
			Actor: u.change.Actor, IdempotencyKey: u.change.IdempotencyKey, Digest: u.change.digest(),
		}
	}
	u.keepUnstored(end)
}
