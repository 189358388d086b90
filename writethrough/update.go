package writethrough

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
	"patientgraph/writethrough/judge"
)

// update is one contact update of a patient that FHIR has, seen through by the
// process that began it. It holds the patient in the journal.
type update struct {
	*Writer
	id      string
	row     *db.Patient        // the cached row that the change began with
	earlier []db.ContactUpdate // updates of the patient that are unresolved
	change  Change

	attempt int
	sent    bool          // a PUT may have left
	put     judge.Put     // the last PUT
	lost    *fhir.Error   // how the PUT failed whose fate is open; nil: there is none
	busy    *fhir.Error   // how the server said that it was busy, and showed nothing of the PUT; nil: it did not
	first   *fhir.Contact // what the server showed before the first PUT: what a clearing takes out
	base    fhir.Resource // the Patient as it was last read to be changed
	seen    *db.FHIRState // what the server showed after a PUT that lost to another write; nil: none did
}

// complete has the conversation with the FHIR server and writes down how it
// ended.
func (u *update) complete(ctx context.Context) (o *Outcome, err error) {
	began := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			u.endLease(u.id) // others find out what became of it
			panic(cause)
		}
	}()
	for {
		e, err := u.run(ctx)
		if err == nil {
			o, err = u.finish(ctx, e)
		} else { // nothing was sent: the database failed
			u.giveUp()
		}
		if !errors.Is(err, errAgain) {
			u.report(ctx, u.row.ID, u.id, o, err, time.Since(began))
			return o, err
		}
	}
}

// run has the whole FHIR conversation. Of the time allowed, a quarter is kept
// for reading back what became of a PUT whose answer was lost. An error means
// that the journal could not be written, and that nothing was sent.
func (u *update) run(ctx context.Context) (ending, error) {
	if e, refused := u.refuse(ctx); refused {
		return e, nil
	}
	start := time.Now()
	// Once a PUT has left, the caller's disconnect must not cancel it: what it
	// did has to reach the cache.
	settleCtx, cancel := context.WithDeadline(context.WithoutCancel(ctx), start.Add(u.Timeout))
	defer cancel()
	putCtx, cancelPut := context.WithDeadline(settleCtx, start.Add(u.Timeout*3/4))
	defer cancelPut()
	readCtx, cancelRead := context.WithDeadline(ctx, start.Add(u.Timeout*3/4))
	defer cancelRead()
	defer context.AfterFunc(u.stopping, cancelRead)()

	signal := noSignal
	defer func() { // also after a panic: others may try then
		soon := ctx.Err() != nil && time.Since(start) < u.Timeout/4
		if signal == silence && (soon || u.stopping.Err() != nil) { // the caller did not wait, or we did not
			signal = noSignal
		}
		u.circuit.record(u.row.ID, signal)
	}()
	e, err := u.attempts(readCtx, putCtx, settleCtx)
	if err != nil {
		signal = answered
		return e, err
	}
	if e.shown == nil && !e.state.Open() && e.outcome.Code != PatientGone {
		e.shown = u.seen // the conflict may have been with our own PUT: the cache follows however it ends
	}
	signal = signalOf(e.outcome)
	u.scrub(e.outcome)
	return e, nil
}

// refuse ends what need not be tried.
func (u *update) refuse(ctx context.Context) (ending, bool) {
	if u.change.ExpectedVersion != 0 {
		if changed := u.row.ChangedSince(u.change.ExpectedVersion, u.change.Edit.Fields()); len(changed) > 0 {
			return ending{state: db.UpdateConflict, outcome: conflict(u.change, u.row, changed)}, true
		}
	}
	if e, wait := u.mustWait(ctx, ""); wait { // without versions nothing keeps its late PUT from undoing ours
		return e, true
	}
	if !u.circuit.allows(u.row.ID) {
		return notApplied(&Outcome{
			Code: Unavailable, Reason: "the FHIR server does not answer; no write is sent to it for a moment",
			RetryAfter: u.circuit.retryAfter(),
		}), true
	}
	return ending{}, false
}

// mustWait refuses an update that would not keep an earlier one, whose PUT
// named this version, from taking effect after it.
func (u *update) mustWait(ctx context.Context, etag string) (ending, bool) {
	for _, earlier := range u.earlier {
		if fhir.IsSameVersion(earlier.IfMatch, etag) {
			window, err := u.settleWindow(ctx)
			if err != nil { // nobody knows what the server is: it is settled no earlier
				window = settleAtLeast
			}
			return notApplied(&Outcome{
				Code: Unavailable, Reason: "the outcome of an earlier write of this patient is not known yet",
				RetryAfter: max(window-earlier.SentFor, time.Second),
			}), true
		}
	}
	return ending{}, false
}

func (u *update) attempts(readCtx, putCtx, settleCtx context.Context) (ending, error) {
	for {
		u.attempt++
		base, err := u.read(readCtx, u.row.FHIRID)
		if err != nil {
			return u.cannotRead(readCtx, err), nil
		}
		u.base = base
		if (u.lost != nil || u.busy != nil) && !fhir.IsSameVersion(base.ETag, u.put.IfMatch) { // somebody has written: was it ours, or can it still land?
			if e, next := u.resolve(settleCtx); next != judge.MergeAgain {
				return e, nil
			}
		}
		edited, e, done := u.merge(readCtx)
		if done {
			return e, nil
		}
		if err := u.markSent(); err != nil {
			return u.cannotMark(err)
		}
		// By the clock: a process that stood still may come by before its timers.
		if deadline, _ := readCtx.Deadline(); readCtx.Err() != nil || time.Now().After(deadline) {
			return u.cannotRead(readCtx, &fhir.Error{Kind: fhir.NotSent, Reason: "Connection timeout", Timeout: true, Err: readCtx.Err()}), nil
		}
		answer, err := u.FHIR.Update(tracePut(putCtx), u.row.FHIRID, edited.Body, base.ETag)
		reached(stepAnswerCame)
		deadline, _ := putCtx.Deadline()
		e, next := u.findFate(settleCtx, answer, err, edited.Record, time.Until(deadline))
		pause := time.Duration(u.attempt) * 50 * time.Millisecond
		if u.busy != nil {
			pause = max(pause, u.busy.RetryAfter)
		}
		if next == judge.End || u.attempt == maxAttempts || sleep(putCtx, pause) != nil {
			return e, nil
		}
	}
}

// merge edits what the server has now. It is done when the record is out of use,
// when the server shows the values already, or when it shows other ones in these
// fields than the caller has seen.
func (u *update) merge(ctx context.Context) (edited fhir.Edited, e ending, done bool) {
	now := u.Now()
	p, err := fhir.ParsePatient(u.base.JSON, now)
	if err != nil {
		return edited, u.cannotRead(ctx, err), true
	}
	st := record.State(p)
	if u.seen != nil {
		u.seen = &st
	}
	if o := outOfUse(st); o != nil {
		if u.lost != nil { // a PUT may have landed before, or may land yet
			return edited, unknown(u.lost), true
		}
		return edited, ending{state: db.UpdateRejected, outcome: o, shown: &st}, true
	}
	changed := record.Differing(u.row.FHIRState, st, u.change.Edit)
	if u.change.ExpectedVersion != 0 && len(changed) > 0 {
		return edited, u.conflictWith(st, changed), true
	}
	if !u.sent {
		u.first = &p.Contact
	}
	if u.sent && u.isReplaced() {
		if u.busy != nil && u.put.IfMatch == "" { // nothing tells whether ours landed before
			return edited, unknown(u.busy), true
		}
		return edited, u.conflictWith(st, changed), true
	}
	edit := u.change.Edit
	edit.Clears = u.first
	edited, err = u.base.Profile.Edit(u.base.JSON, edit, now, u.PhoneRegion)
	var f *fhir.Error
	switch {
	case errors.As(err, &f) && f.Kind == fhir.CannotApply && u.lost == nil:
		return edited, ending{state: db.UpdateRejected, outcome: cannotApply(f, u.base.JSON, now), shown: &st}, true
	case err != nil:
		return edited, u.cannotRead(ctx, err), true
	}
	if bytes.Equal(edited.Record, u.base.JSON) {
		if e, wait := u.mustWait(ctx, u.base.ETag); wait {
			return edited, e, true
		}
		return edited, ending{state: db.UpdateApplied, outcome: &Outcome{Code: Success}, shown: &st}, true
	}
	if u.lost != nil { // the same PUT again
		return edited, ending{}, false
	}
	if u.put, err = judge.NewPut(u.base, p.Contact, edited.Record, edit, now, u.PhoneRegion); err != nil {
		return edited, u.cannotRead(ctx, err), true
	}
	u.reportDoubts(ctx, edited.Doubts)
	return edited, ending{}, false
}

// isReplaced reports whether a value that was to be cleared is gone since the first
// PUT, and something else stands there than what that left.
func (u *update) isReplaced() bool {
	for _, clear := range u.change.Edit.Clearings() {
		clear.Clears = u.first
		body, _, err := fhir.EditContact(u.base.JSON, clear, u.Now(), u.PhoneRegion)
		missing, seenErr := u.put.Missing(u.base.JSON)
		if err == nil && bytes.Equal(body, u.base.JSON) && seenErr == nil && slices.Contains(missing, clear.Fields()[0]) {
			return true
		}
	}
	return false
}

// reportDoubts says what the edit left although it may describe an old value.
func (u *update) reportDoubts(ctx context.Context, d fhir.Doubts) {
	for _, url := range d.Extensions {
		u.Log.WarnContext(ctx, "an extension of the edited entry of patient "+u.row.ID+" is kept; does it describe the old value?", "url", url, "patient", u.row.ID, "operation", u.id)
	}
	if d.Narrative {
		u.Log.WarnContext(ctx, "the narrative of patient "+u.row.ID+" may be out of date: it shows an old value and was not generated", "patient", u.row.ID, "operation", u.id)
	}
}

// markSent writes into the journal that a PUT is about to leave, also when it
// leaves again.
func (u *update) markSent() error {
	text, _ := json.Marshal(u.put) // strings and numbers always encode
	reached(stepBeforeSent)
	if err := u.Store.SendUpdate(u.id, u.owner, u.row.ID, u.put.IfMatch, string(text)); err != nil {
		return err
	}
	reached(stepAfterSent)
	u.sent = true
	return nil
}

// cannotMark ends an update that may not send its PUT.
func (u *update) cannotMark(err error) (ending, error) {
	switch {
	case u.lost != nil: // of an earlier attempt
		return unknown(u.lost), nil
	case errors.Is(err, db.ErrLostLease):
		return notApplied(&Outcome{Code: Unavailable, Reason: "this server stood still for too long; nothing took effect", cause: err}), nil
	}
	return ending{}, err
}

// cannotRead ends an update that could not read the patient to change it.
func (u *update) cannotRead(ctx context.Context, err error) ending {
	if u.lost != nil {
		e := unknown(u.lost)
		e.gone = isGone(err)
		return e
	}
	var f *fhir.Error
	switch {
	case u.stopping.Err() != nil:
		return notApplied(u.notNow(err))
	case !errors.As(err, &f): // the retry policy's own: the deadline, the caller gone
		return notApplied(&Outcome{Code: Timeout, Reason: "Connection timeout", cause: err})
	case f.Kind == fhir.Gone:
		return ending{state: db.UpdateRejected, outcome: patientGone(f), gone: true}
	case f.Kind == fhir.Forbidden:
		return u.cannotSee(ctx, f)
	}
	return notApplied(unavailable(f))
}

// cannotSee ends an update whose patient we may not read: refused for this one, or
// for all, that is to say for us.
func (u *update) cannotSee(ctx context.Context, refusal *fhir.Error) ending {
	others, err := u.FHIR.ReadsOthers(ctx)
	var f *fhir.Error
	switch {
	case errors.As(err, &f):
		return notApplied(unavailable(f))
	case !others:
		return notApplied(unavailable(refusal))
	}
	return ending{state: db.UpdateRejected, outcome: &Outcome{
		Code: Forbidden, Reason: "the FHIR server does not show us this patient", HTTPStatus: refusal.Status, cause: refusal,
	}}
}

// findFate finds out what became of the PUT, and what comes next. The ending is for
// the case that nothing may come any more. intended is the record that the PUT makes.
func (u *update) findFate(ctx context.Context, answer fhir.Update, err error, intended []byte, left time.Duration) (ending, judge.Next) {
	var f *fhir.Error
	if err != nil && !errors.As(err, &f) {
		f = &fhir.Error{Kind: fhir.Lost, Reason: "the FHIR server's answer could not be understood", Err: err}
	}
	heard := hear(answer, err, u.put, u.base.Profile.ReadsBack)
	for look := 0; ; look++ {
		h, s, seenErr := u.see(ctx, heard, answer, f)
		c := caseOf(h, s)
		c.Earlier, c.Outdated, c.Wait = u.lost != nil, u.outdated(s), f != nil && f.RetryAfter != 0 && (h != judge.Busy || f.RetryAfter >= left)
		c.ByOthers = c.Outdated && s.Followed != nil && u.writtenByOthers(*s.Followed, intended)
		r := judge.Decide(c)
		if r.Next == judge.LookAgain && look < len(pauses) && sleep(ctx, pauses[look]) == nil {
			continue
		}
		return u.rule(ctx, c, r, s, evidence{f, seenErr, answer.Status, intended})
	}
}

// see returns what is seen of a PUT that was answered so. The version that it
// made, in the answer or read, needs no history.
func (u *update) see(ctx context.Context, h judge.Heard, answer fhir.Update, f *fhir.Error) (judge.Heard, judge.Sight, error) {
	if h == judge.NotSent {
		return h, judge.Sight{Read: judge.Unread, History: judge.Silent}, nil
	}
	if h == judge.Shown || h == judge.Created && answer.Resource.JSON != nil {
		if s, err := u.put.SeeOwn(answer.Resource, u.Now()); err == nil {
			return h, s, nil
		}
		if h == judge.Shown { // nothing that can be read
			h = judge.OK
		}
	}
	s, now, err := u.look(ctx, u.row.FHIRID, u.put, u.base.JSON)
	var read *fhir.Error
	switch {
	case h == judge.OK && now.ETag == answer.Resource.ETag && u.put.IsNew(now):
		if own, err := u.put.SeeOwn(now, u.Now()); err == nil {
			return judge.Shown, own, nil
		}
	case s.Read == judge.Unread && f != nil && errors.As(err, &read) && read.Kind == f.Kind && read.Status == f.Status &&
		(f.Kind == fhir.AuthFailed || f.Kind == fhir.Forbidden):
		s.Read = judge.SeenDenied
		if h == judge.Forbidden {
			others, askErr := u.FHIR.ReadsOthers(ctx)
			switch {
			case askErr != nil:
				s.Read = judge.Unread
			case !others:
				h = judge.Denied
			}
		}
	}
	return h, s, err
}

// resolve judges a PUT whose fate is open by what was just read.
func (u *update) resolve(ctx context.Context) (ending, judge.Next) {
	s, err := u.lookAt(ctx, u.row.FHIRID, u.put, u.base, nil)
	c := caseOf(judge.Nothing, s)
	c.Earlier, c.Outdated = true, u.outdated(s)
	r := judge.Decide(c)
	return u.rule(ctx, c, r, s, evidence{failure: cmp.Or(u.lost, u.busy), unseen: err})
}

// changed returns the fields of the edit that do not show any more, or did not in
// the version that followed, what they showed when the update began.
func (u *update) changed(s judge.Sight) []string {
	var differing []string
	for _, p := range []*fhir.Patient{s.Now, s.Followed} {
		if p != nil {
			differing = append(differing, record.Differing(u.row.FHIRState, record.State(*p), u.change.Edit)...)
		}
	}
	return slices.DeleteFunc(u.change.Edit.Fields(), func(field string) bool { return !slices.Contains(differing, field) })
}

// outdated reports whether the caller named a version, and has not seen what
// these fields hold now.
func (u *update) outdated(s judge.Sight) bool {
	return u.change.ExpectedVersion != 0 && len(u.changed(s)) > 0
}

// writtenByOthers reports whether the version that followed is not the one that
// the PUT makes: then the values that are there did not come with it.
func (u *update) writtenByOthers(next fhir.Patient, intended []byte) bool {
	p, err := fhir.ParsePatient(intended, u.Now())
	if err != nil {
		return true
	}
	if len(fhir.Missing(next.Contact.WithoutAdditions(p.Contact, u.put.Base), p.Contact, []string{fhir.FieldPhone, fhir.FieldEmail, fhir.FieldAddress}, u.PhoneRegion)) == 0 {
		next.Contact = p.Contact // the server keeps them in its own form
	}
	return !record.Same(record.State(p), record.State(next))
}

// scrub frees what the FHIR server said of the values that the patient has or
// had, here and there: those in the PUT are gone from it already. The cause is
// replaced too, for it may be logged.
func (u *update) scrub(o *Outcome) {
	var f *fhir.Error
	if !errors.As(o.cause, &f) || len(f.Issues) == 0 {
		return
	}
	secrets := fhir.SecretsOf(u.base.JSON, record.Resource(u.row))
	clean := *f
	clean.Issues = slices.Clone(f.Issues)
	for n, issue := range f.Issues {
		clean.Issues[n] = secrets.Scrub(issue)
		if issue.Message == f.Reason { // else the reason is in our own words
			clean.Reason = clean.Issues[n].Message
		}
	}
	if o.Reason == f.Reason {
		o.Reason = clean.Reason
	}
	o.Issues = slices.Clone(o.Issues)
	for n := range o.Issues {
		o.Issues[n].Issue = secrets.Scrub(o.Issues[n].Issue)
	}
	o.cause = &clean
}
