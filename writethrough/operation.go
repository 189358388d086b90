package writethrough

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

// maxAttempts bounds how often one operation sends a PUT: again because
// somebody else changed the patient between our read and our PUT, or because
// the answer was lost and If-Match makes the repetition safe.
const maxAttempts = 3

// operation is one contact update of a patient that FHIR has. It holds the
// patient in the journal.
type operation struct {
	*Writer
	id      string
	row     *db.Patient // the cached row that the change began with
	unknown []db.ContactUpdate
	change  Change

	attempt  int
	seen     *db.FHIRState // what the server showed after a conflict; nil: there was none
	sent     bool          // a PUT may have left
	lost     *fhir.Error   // how the one failed whose effect is not known; nil: there is none
	baseETag string        // what the last PUT named in If-Match
	base     fhir.Contact  // what it was based on
	intended fhir.Contact  // what it holds
	entries  int           // fhir.Entries of the requested fields in it
	before   []byte        // the Patient as it was last read
	at       time.Time     // when it was made
}

// past is the operation's last PUT.
func (o *operation) past() past {
	return past{o.row.FHIRID, o.baseETag, o.base, o.intended, o.entries, o.change.Edit, o.at}
}

// seeThrough has the conversation with the FHIR server and writes down how it
// ended.
func (o *operation) seeThrough(ctx context.Context) (applied *Applied, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			o.endLease(o.id) // others find out what became of it
			panic(cause)
		}
	}()
	for {
		v, err := o.run(ctx)
		if err == nil {
			applied, err = o.finish(ctx, v)
		} else { // nothing was sent: the database failed
			o.giveUp()
		}
		if !errors.Is(err, errAgain) {
			o.report(ctx, err)
			return applied, err
		}
	}
}

// run has the whole FHIR conversation. Of the time allowed, a quarter is kept
// for reading back what became of a PUT whose answer was lost. An error means
// that the journal could not be written, and that nothing was sent.
func (o *operation) run(ctx context.Context) (verdict, error) {
	if v, refused := o.refuse(); refused {
		return v, nil
	}
	start := time.Now()
	// Once a PUT has left, the caller's disconnect must not cancel it: what it
	// did has to reach the cache.
	settle, cancel := context.WithDeadline(context.WithoutCancel(ctx), start.Add(o.Timeout))
	defer cancel()
	put, cancelPut := context.WithDeadline(settle, start.Add(o.Timeout*3/4))
	defer cancelPut()
	read, cancelRead := context.WithDeadline(ctx, start.Add(o.Timeout*3/4))
	defer cancelRead()
	defer context.AfterFunc(o.stopping, cancelRead)()

	signal := noSignal
	defer func() { // also after a panic: others may try then
		soon := ctx.Err() != nil && time.Since(start) < o.Timeout/4
		if signal == silence && (soon || o.stopping.Err() != nil) { // the caller did not wait, or we did not
			signal = noSignal
		}
		o.circuit.record(o.row.ID, signal)
	}()
	v, err := o.converse(read, put, settle)
	if v.shown == nil && !v.state.Open() && !isKind(v.err, PatientGone) {
		v.shown = o.seen // the conflict may have been with our own PUT: the cache follows however it ends
	}
	signal = signalOf(v.err)
	o.scrub(v.err)
	return v, err
}

// scrub frees what the FHIR server said of the values that the patient has or
// had, here and there: those in the PUT are gone from it already. The cause is
// replaced too, for it may be logged.
func (o *operation) scrub(e *Error) {
	var f *fhir.Error
	if e == nil || !errors.As(e.Err, &f) || len(f.Issues) == 0 {
		return
	}
	secrets := fhir.SecretsOf(o.before, record.Resource(o.row))
	clean := *f
	clean.Issues = slices.Clone(f.Issues)
	for n, issue := range f.Issues {
		clean.Issues[n] = secrets.Scrub(issue)
		if issue.Message == f.Reason { // else the reason is in our own words
			clean.Reason = clean.Issues[n].Message
		}
	}
	if e.Reason == f.Reason {
		e.Reason = clean.Reason
	}
	e.Issues = slices.Clone(e.Issues)
	for n := range e.Issues {
		e.Issues[n].Issue = secrets.Scrub(e.Issues[n].Issue)
	}
	e.Err = &clean
}

// refuse tells what need not be tried.
func (o *operation) refuse() (verdict, bool) {
	if o.change.ExpectedVersion != 0 && o.change.ExpectedVersion != o.row.Version {
		return verdict{state: db.UpdateConflict, err: conflict(o.row, o.change.Edit)}, true
	}
	if v, wait := o.notFenced(""); wait { // without versions nothing keeps its late PUT from undoing ours
		return v, true
	}
	if !o.circuit.allows(o.row.ID) {
		return notApplied(&Error{
			Kind: Unavailable, Reason: "the FHIR server does not answer; no write is sent to it for a moment",
			RetryAfter: o.circuit.retryAfter(),
		}), true
	}
	return verdict{}, false
}

// notFenced refuses an operation that would not keep an earlier one, whose PUT
// named this version, from taking effect after it.
func (o *operation) notFenced(etag string) (verdict, bool) {
	for _, u := range o.unknown {
		if u.BaseETag == etag {
			return notApplied(&Error{
				Kind: Unavailable, Reason: "the outcome of an earlier write of this patient is not known yet",
				RetryAfter: max(o.SettleWindow-u.SentFor, time.Second),
			}), true
		}
	}
	return verdict{}, false
}

func (o *operation) converse(read, put, settle context.Context) (verdict, error) {
	for {
		o.attempt++
		base, err := o.read(read, o.row.FHIRID)
		if err != nil {
			return o.cannotRead(err), nil
		}
		o.before = base.JSON
		if o.lost != nil && base.ETag != o.baseETag {
			if v, again := o.sinceLost(settle, base); !again {
				return v, nil
			}
		}
		body, v, done := o.merge(base)
		if done {
			return v, nil
		}
		if err := o.markSent(base); err != nil {
			return o.cannotMark(err)
		}
		// By the clock: a process that stood still may come by before its timers.
		if deadline, _ := read.Deadline(); read.Err() != nil || time.Now().After(deadline) {
			return o.cannotRead(&fhir.Error{Kind: fhir.NotSent, Reason: "Connection timeout", Timeout: true, Err: read.Err()}), nil
		}
		answer, err := o.FHIR.Update(tracePut(put), o.row.FHIRID, body, base.ETag)
		reached(stepAnswerCame)
		v, again := o.judge(settle, answer, err, base, body)
		if !again {
			return v, nil
		}
		if o.attempt == maxAttempts {
			return o.exhausted(settle, err), nil
		}
		if sleep(put, time.Duration(o.attempt)*50*time.Millisecond) != nil {
			return o.cannotRead(err), nil
		}
	}
}

// merge edits what the server has now. It is done when the server shows the
// values already, or when the caller expected another version.
func (o *operation) merge(base fhir.Resource) (body []byte, v verdict, done bool) {
	now := o.Now()
	p, err := fhir.ParsePatient(base.JSON, now)
	if err != nil {
		return nil, o.cannotRead(err), true
	}
	st := record.State(p)
	if o.seen != nil {
		o.seen = &st
	}
	if o.change.ExpectedVersion != 0 && len(record.Differing(o.row.FHIRState, st, o.change.Edit)) > 0 {
		return nil, o.conflictWith(st), true
	}
	body, err = fhir.EditContact(base.JSON, o.change.Edit, now)
	if err != nil {
		return nil, o.cannotRead(err), true
	}
	if bytes.Equal(body, base.JSON) {
		if v, wait := o.notFenced(base.ETag); wait {
			return nil, v, true
		}
		return nil, verdict{state: db.UpdateApplied, shown: &st}, true
	}
	if o.lost != nil && base.ETag == o.baseETag {
		return body, verdict{}, false // the same PUT again
	}
	o.base, o.at, o.entries = p.Contact, now, fhir.Entries(body, o.change.Edit.Fields())
	if o.intended, err = fhir.ContactOf(body, now); err != nil {
		return nil, o.cannotRead(err), true
	}
	return body, verdict{}, false
}

// markSent writes into the journal that a PUT is about to leave, also when it
// leaves again.
func (o *operation) markSent(base fhir.Resource) error {
	was, _ := json.Marshal(basis{only(o.base, o.change.Edit), o.at}) // strings always encode
	intended, _ := json.Marshal(intent{only(o.intended, o.change.Edit), o.entries})
	reached(stepBeforeSent)
	if err := o.Store.SendUpdate(o.id, o.owner, o.row.ID, base.ETag, string(was), string(intended)); err != nil {
		return err
	}
	reached(stepAfterSent)
	o.sent, o.baseETag = true, base.ETag
	return nil
}

// only returns of a contact what the edit is about: nothing else of it is ever
// compared, and the journal does not keep it.
func only(c fhir.Contact, e fhir.ContactEdit) fhir.Contact {
	if !e.SetPhone {
		c.Phone = ""
	}
	if !e.SetEmail {
		c.Email = ""
	}
	if !e.SetAddress {
		c.Address = nil
	}
	return c
}

// cannotMark is the end of an operation that may not send its PUT.
func (o *operation) cannotMark(err error) (verdict, error) {
	switch {
	case o.lost != nil: // of an earlier attempt
		return unknownVerdict(o.lost), nil
	case errors.Is(err, db.ErrLostLease):
		return notApplied(&Error{Kind: Unavailable, Reason: "this server stood still for too long; nothing was sent", Err: err}), nil
	}
	return verdict{}, err
}

// finish writes down how the operation ended, and the cache with it. If the
// database fails now, the caller still hears the truth, and the end is written
// down later. errAgain: the row moved on since the operation began.
func (o *operation) finish(ctx context.Context, v verdict) (*Applied, error) {
	c := db.Closing{
		ID: o.id, Owner: o.owner, PatientID: o.row.ID, State: v.state, Answer: encodeAnswer(v.err),
		Gone: v.gone, Shown: v.shown, Told: v.told, At: o.Now(), LandedETag: v.landed,
		FencedAnswer: fencedAnswer,
	}
	if len(o.unknown) == 0 {
		c.Row = o.row
	}
	if v.state == db.UpdateUnknown {
		c.RetryIn = v.err.RetryAfter
	}
	if !o.sent {
		c.IfVersion = o.row.Version // only from SENT on does the journal keep others from the row
	}
	reached(stepBeforeCommit)
	row, err := o.Store.CloseUpdate(c)
	reached(stepAfterCommit)
	switch {
	case errors.Is(err, db.ErrVersionMismatch):
		bound, cancel := uncancelled(ctx)
		defer cancel()
		row, err := o.Store.Patient(bound, o.row.ID)
		if err != nil {
			o.giveUp()
			return nil, err
		}
		o.row, o.attempt = row, 0
		return nil, errAgain
	case errors.Is(err, db.ErrLostLease):
		o.endLease(o.id)
		return o.takenOver(ctx, v)
	case err != nil && !o.sent && v.err == nil: // the values were there already, and the cache cannot follow
		o.giveUp()
		return nil, err
	case err != nil:
		o.Log.ErrorContext(ctx, "how a contact update ended could not be written down yet",
			"patient", o.row.ID, "operation", o.id, "state", v.state, "error", err)
		row = o.unsavedRow(v)
		o.saveLater(c, row)
	default:
		o.endLease(o.id)
	}
	if v.err == nil {
		return &Applied{OperationID: o.id, Patient: row}, nil
	}
	v.err.OperationID = o.id
	if v.err.Kind == Conflict {
		v.err.Current = row
	}
	return nil, v.err
}

// unsavedRow is the patient as the FHIR server shows it, not as the cache does.
func (o *operation) unsavedRow(v verdict) *db.Patient {
	row := *o.row
	if v.shown != nil {
		row.FHIRState = *v.shown
	}
	if v.told != nil {
		row.FHIRState = *v.told
	}
	if o.sent {
		row.SyncState = db.Pending
	}
	return &row
}

// takenOver ends an operation that another process took over because this one
// stood still. What the other found out is the answer, unless the FHIR server
// told us more: then the other's finding is corrected.
func (o *operation) takenOver(ctx context.Context, v verdict) (*Applied, error) {
	bound, cancel := uncancelled(ctx)
	defer cancel()
	u, err := o.Store.ContactUpdate(bound, o.id)
	landed := o.sent && v.shown != nil && v.state != db.UpdateConflict
	switch {
	case err == nil && !landed, err == nil && !u.State.Open() && u.State != db.UpdateNotApplied:
		return decodeAnswer(u)
	case errors.Is(err, db.ErrNotFound) && !o.sent: // the database crashed: ACCEPTED is not durable
		return nil, &Error{Kind: Unavailable, Reason: "the database forgot the operation; nothing was sent", Err: err}
	case !landed:
		return nil, &Error{Kind: OutcomeUnknown, OperationID: o.id, Reason: "the journal cannot be read", Err: err}
	case err != nil, u.State == db.UpdateNotApplied:
		o.reopen(o.id, o.row.ID)
	}
	if v.err == nil {
		return &Applied{OperationID: o.id, Patient: o.unsavedRow(v)}, nil
	}
	v.err.OperationID = o.id
	return nil, v.err
}

// giveUp closes an operation because the database failed: nothing was sent, or
// the FHIR server refused what was.
func (o *operation) giveUp() {
	v := notApplied(&Error{Kind: Unavailable, Reason: "the database failed; nothing took effect"})
	c := db.Closing{
		ID: o.id, Owner: o.owner, PatientID: o.row.ID, State: v.state, Answer: encodeAnswer(v.err), At: o.Now(),
		Shown: o.seen, // the conflict may have been with our own PUT
	}
	if _, err := o.Store.CloseUpdate(c); err == nil || errors.Is(err, db.ErrLostLease) || errors.Is(err, db.ErrNotFound) {
		o.endLease(o.id)
		return
	}
	o.saveLater(c, nil)
}

// saveLater keeps an end that the database did not take; row is what the caller
// is told of the patient. Should others take the operation over meanwhile, they
// may let the patient be written.
func (o *operation) saveLater(c db.Closing, row *db.Patient) {
	c.Row = nil
	if c.Shown != nil {
		c.IfVersion = o.row.Version
	}
	u := &unsaved{end: c}
	if c.State != db.UpdateNotApplied { // which no key remembers
		u.told = &db.ContactUpdate{
			ID: o.id, PatientID: o.row.ID, State: c.State, Answer: c.Answer, Patient: row,
			Actor: o.change.Actor, IdempotencyKey: o.change.IdempotencyKey, Digest: o.change.digest(),
		}
	}
	o.keepUnsaved(u)
}
