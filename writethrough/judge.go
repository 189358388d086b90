package writethrough

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"patientgraph/db"
	"patientgraph/fhir"
)

// judge decides what became of a PUT: again means that it may be sent once
// more.
func (o *operation) judge(ctx context.Context, answer fhir.Update, err error, base fhir.Resource, body []byte) (v verdict, again bool) {
	var f *fhir.Error
	switch {
	case err == nil && answer.Created:
		return o.created(ctx, answer.Resource.JSON), false
	case err == nil:
		landed := base.ETag
		if answer.Resource.ETag == base.ETag { // nothing was written: it keeps no other PUT out
			landed = ""
		}
		v := o.confirm(answer.Resource.JSON, landed)
		if v.state == db.UpdateRejected && o.lost && answer.Resource.ETag == base.ETag {
			return o.unknownVerdict(nil), false // an earlier PUT may still take effect
		}
		return v, false
	case !errors.As(err, &f):
		return o.unknownVerdict(err), false
	case f.Status == http.StatusCreated:
		return o.created(ctx, nil), false
	}
	switch f.Kind {
	case fhir.Conflict:
		return o.failedMatch(ctx, f, base, body)
	case fhir.Lost, fhir.RateLimited, fhir.Unusable:
		return o.readBack(ctx, f, base)
	}
	// A definite refusal of this PUT; an earlier one may have landed.
	switch {
	case o.lost:
		return o.unknownVerdict(f), f.Kind == fhir.NotSent
	case f.Kind == fhir.Rejected:
		return o.rejected(f, base, body), false
	case f.Kind == fhir.Gone:
		return patientGone(f), false
	}
	return notApplied(unavailable(f)), f.Kind == fhir.NotSent
}

// created reports a PUT that was answered as a creation: the patient was
// deleted between our read and our PUT, and the PUT made it anew. Somebody
// must look at it. It lives there now, so the cache follows.
func (o *operation) created(ctx context.Context, shown []byte) verdict {
	o.resurrected(ctx, o.row.ID, o.id)
	v := verdict{state: db.UpdateRejected, err: &Error{
		Kind: PatientGone, Reason: "the patient was deleted on the FHIR server", HTTPStatus: http.StatusCreated,
	}}
	if shown == nil {
		now, err := o.FHIR.Read(ctx, o.row.FHIRID)
		if err != nil { // the reconciler brings the cache what it shows
			v.state, v.gone = db.UpdateUnknown, true
			return v
		}
		shown = now.JSON
	}
	if p, err := fhir.ParsePatient(shown, o.Now()); err == nil {
		st := State(p)
		v.shown = &st
	}
	return v
}

func (w *Writer) resurrected(ctx context.Context, patientID, operationID string) {
	w.metrics.resurrected.Inc()
	w.Log.ErrorContext(ctx, "ALARM: a PUT created or resurrected a patient that was gone from the FHIR server",
		"patient", patientID, "operation", operationID)
}

// confirm compares what the server shows after a PUT with what was asked.
func (o *operation) confirm(shown []byte, landed string) verdict {
	p, err := fhir.ParsePatient(shown, o.Now())
	if err != nil {
		return o.unknownVerdict(err)
	}
	st := State(p)
	if missing := fhir.Missing(p.Contact, o.intended, o.change.Edit.Fields()); len(missing) > 0 {
		return verdict{state: db.UpdateRejected, err: notSaved(missing), shown: &st}
	}
	return verdict{state: db.UpdateApplied, shown: &st, landed: landed}
}

// notSaved tells field by field what a server that said yes did not save.
func notSaved(missing []string) *Error {
	e := &Error{Kind: NotApplied, Reason: "the FHIR server accepted the update but does not show the requested values"}
	for _, field := range missing {
		e.Issues = append(e.Issues, Issue{
			Issue: fhir.Issue{
				Severity: "error", Code: "not-applied", Expression: []string{},
				Message: "the requested " + field + " was not saved",
			},
			Field: []string{field},
		})
	}
	return e
}

// failedMatch tells a real conflict from a rejection that only looks like one
// (HAPI's repository validation answers 412): the version moved, or not.
func (o *operation) failedMatch(ctx context.Context, f *fhir.Error, base fhir.Resource, body []byte) (verdict, bool) {
	now, err := o.FHIR.Read(ctx, o.row.FHIRID)
	if err != nil {
		return o.cannotRead(err), false
	}
	unmoved := now.ETag == base.ETag
	if base.ETag == "" {
		unmoved = bytes.Equal(now.JSON, base.JSON)
	}
	switch {
	case unmoved && o.lost: // an earlier PUT may still be under way
		return o.unknownVerdict(f), false
	case unmoved:
		return o.rejected(f, base, body), false
	case o.lost:
		return o.sinceLost(ctx, now, f)
	case o.change.ExpectedVersion != 0:
		return o.conflictShown(now), false
	}
	return verdict{}, true
}

// readBack asks the server what became of a PUT without a trustworthy answer.
func (o *operation) readBack(ctx context.Context, f *fhir.Error, base fhir.Resource) (verdict, bool) {
	now, err := o.FHIR.Read(ctx, o.row.FHIRID)
	if f.Kind == fhir.RateLimited && !o.lost && err == nil && base.ETag != "" && now.ETag == base.ETag {
		return notApplied(unavailable(f)), false
	}
	before := o.lost // also of an earlier PUT
	o.lost = true
	if err != nil {
		v := o.unknownVerdict(f)
		v.gone = isGone(err)
		return v, false
	}
	if f.Kind == fhir.Unusable && (f.Status == http.StatusOK || f.Status == http.StatusNoContent) {
		// The server is done and said OK in a form that tells nothing: what it
		// shows now is the outcome, unless somebody else has written since.
		if base.ETag == "" || now.ETag == base.ETag && !before || len(o.missing(now)) == 0 {
			return o.confirm(now.JSON, ""), false // who wrote them is not known
		}
	}
	return o.sinceLost(ctx, now, f)
}

// missing names the requested fields that the server does not show.
func (o *operation) missing(now fhir.Resource) []string {
	have, err := fhir.ContactOf(now.JSON, o.Now())
	if err != nil {
		return o.change.Edit.Fields()
	}
	return fhir.Missing(have, o.intended, o.change.Edit.Fields())
}

// sinceLost judges by what the server shows after a PUT whose effect is not
// known. On a server with versions a version that moved keeps that PUT from
// landing later, and one that did not move makes its repetition safe.
func (o *operation) sinceLost(ctx context.Context, now fhir.Resource, f *fhir.Error) (verdict, bool) {
	v, known, err := o.whatLanded(ctx, past{o.row.FHIRID, o.baseETag, o.base, o.intended, o.change.Edit.Fields()}, now)
	switch {
	case err != nil, !known && o.baseETag == "":
		return o.unknownVerdict(f), false
	case !known:
		return o.unknownVerdict(f), now.ETag == o.baseETag && f.RetryAfter == 0
	case v.gone:
		o.resurrected(ctx, o.row.ID, o.id)
		return v, false
	case v.state != db.UpdateNotApplied:
		return v, false
	case o.change.ExpectedVersion != 0:
		return o.conflictShown(now), false
	}
	o.lost = false // it did not land, and cannot any more
	return verdict{}, true
}

// cannotRead ends an operation that could not read the patient.
func (o *operation) cannotRead(err error) verdict {
	if o.lost {
		v := o.unknownVerdict(err)
		v.gone = isGone(err)
		return v
	}
	var f *fhir.Error
	switch {
	case o.stopping.Err() != nil:
		return notApplied(o.notNow(err))
	case !errors.As(err, &f): // the retry policy's own: the deadline, the caller gone
		return notApplied(&Error{Kind: Timeout, Reason: "Connection timeout", Err: err})
	case f.Kind == fhir.Gone:
		return patientGone(f)
	}
	return notApplied(unavailable(f))
}

// exhausted ends an operation whose last attempt could not be its last.
func (o *operation) exhausted(ctx context.Context, err error) verdict {
	var f *fhir.Error
	if o.lost || errors.As(err, &f) && f.Kind == fhir.NotSent {
		return o.cannotRead(err)
	}
	now, err := o.FHIR.Read(ctx, o.row.FHIRID)
	if err != nil {
		return o.cannotRead(err)
	}
	return o.conflictShown(now)
}

// conflictShown reports a conflict with what the server shows.
func (o *operation) conflictShown(now fhir.Resource) verdict {
	p, err := fhir.ParsePatient(now.JSON, o.Now())
	if err != nil {
		return o.cannotRead(err)
	}
	return o.conflictWith(State(p))
}

// conflictWith reports a conflict. The cache follows the truth, so that the
// caller's next try starts from the version reported.
func (o *operation) conflictWith(st db.FHIRState) verdict {
	return verdict{state: db.UpdateConflict, err: conflict(withState(*o.row, st), o.change.Edit), shown: &st}
}

// unknownVerdict says that nobody knows yet.
func (o *operation) unknownVerdict(cause error) verdict {
	e := &Error{Kind: OutcomeUnknown, Reason: "the FHIR server's answer could not be understood", Err: cause}
	var f *fhir.Error
	if errors.As(cause, &f) {
		e.Reason, e.HTTPStatus, e.RetryAfter = f.Reason, f.Status, f.RetryAfter
	}
	return verdict{state: db.UpdateUnknown, err: e}
}

// notApplied ends an operation of which nothing took effect.
func notApplied(e *Error) verdict { return verdict{state: db.UpdateNotApplied, err: e} }

func unavailable(f *fhir.Error) *Error {
	e := &Error{Kind: Unavailable, Reason: f.Reason, HTTPStatus: f.Status, RetryAfter: f.RetryAfter, Err: f}
	switch {
	case f.Kind == fhir.AuthFailed:
		e.Kind = AuthFailed
	case f.Kind == fhir.RateLimited:
		e.Kind = RateLimited
	case f.Timeout:
		e.Kind = Timeout
	}
	return e
}

func isGone(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && f.Kind == fhir.Gone
}

func patientGone(f *fhir.Error) verdict {
	return verdict{state: db.UpdateRejected, err: &Error{
		Kind: PatientGone, Reason: "the FHIR server no longer has this patient", HTTPStatus: f.Status, Issues: issues(f, nil), Err: f,
	}}
}

func (o *operation) rejected(f *fhir.Error, base fhir.Resource, body []byte) verdict {
	return verdict{state: db.UpdateRejected, err: &Error{
		Kind: Rejected, Reason: f.Reason, HTTPStatus: f.Status, Issues: issues(f, body), Err: f,
		Untouched: fhir.Untouched(base.JSON, body, f.Issues, o.change.Edit.Fields()),
	}}
}

func issues(f *fhir.Error, body []byte) []Issue {
	all := make([]Issue, 0, len(f.Issues))
	for _, i := range f.Issues {
		issue := Issue{Issue: i}
		for _, expression := range i.Expression {
			if issue.Field = fhir.InputField(body, expression); issue.Field != nil {
				break
			}
		}
		all = append(all, issue)
	}
	return all
}

// report writes the one line per operation that operators look for.
func (o *operation) report(ctx context.Context, err error) {
	var e *Error
	errors.As(err, &e)
	level, line := slog.LevelError, ""
	switch {
	case err == nil:
		level, line = slog.LevelInfo, "FHIR update success for patient "+o.row.ID
	case e == nil:
		line = "contact update failed for patient " + o.row.ID + ": " + err.Error()
	case e.Kind == Rejected || e.Kind == NotApplied || e.Kind == PatientGone:
		level, line = slog.LevelWarn, "FHIR validation failed for patient "+o.row.ID+": "+e.Reason
	case e.Kind == Conflict:
		level, line = slog.LevelWarn, "FHIR update conflict for patient "+o.row.ID
	case e.Kind == AuthFailed:
		line = "FHIR server error for patient " + o.row.ID + ": our credentials were refused, check FHIR_AUTH and its settings: " + e.Reason
	default:
		line = "FHIR server error for patient " + o.row.ID + ": " + e.Reason
	}
	o.Log.Log(ctx, level, line, "operation", o.id)
}
