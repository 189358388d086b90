package writethrough

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

// judge decides what became of a PUT: again means that it may be sent once
// more.
func (o *operation) judge(ctx context.Context, answer fhir.Update, err error, base fhir.Resource, body []byte) (v verdict, again bool) {
	var f *fhir.Error
	switch {
	case err == nil && answer.Created:
		return o.created(ctx, answer.Resource.JSON), false
	case err == nil && (answer.Resource.JSON == nil || answer.Resource.ETag == "" || answer.Resource.ETag == base.ETag):
		return o.readOK(ctx, answer, base), false
	case err == nil:
		return o.answered(answer.Resource, base), false
	case !errors.As(err, &f):
		return unknownVerdict(err), false
	case f.Status == http.StatusCreated:
		return o.created(ctx, nil), false
	case f.Kind == fhir.NotSent && o.lost != nil: // an earlier one may have landed
		return unknownVerdict(f), true
	case f.Kind == fhir.NotSent:
		return notApplied(unavailable(f)), true
	}
	return o.readBack(ctx, f, base, body)
}

// readOK asks the server what it holds after it said OK without showing the
// patient as a new version. If that lacks the values it proves nothing by
// itself: the answer may have been an echo, or the read may lag behind. But
// the PUT is never sent again: it may have taken effect as something else.
func (o *operation) readOK(ctx context.Context, answer fhir.Update, base fhir.Resource) verdict {
	var err error
	for _, pause := range []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond} {
		if err = sleep(ctx, pause); err != nil {
			break
		}
		var now fhir.Resource
		if now, err = o.read(ctx, o.row.FHIRID); err != nil {
			break
		}
		if v, known := o.judgeOK(ctx, now, answer, base); known {
			return v
		}
	}
	o.lost = &fhir.Error{Kind: fhir.Unusable, Status: answer.Status, Reason: "The FHIR server said OK but does not show the requested values yet"}
	v := o.unread(err)
	v.err.SaidOK = true
	return v
}

// judgeOK judges by what the server shows after it said OK.
func (o *operation) judgeOK(ctx context.Context, now fhir.Resource, answer fhir.Update, base fhir.Resource) (v verdict, known bool) {
	if now.ETag == cmp.Or(answer.Resource.ETag, base.ETag) {
		v = o.answered(now, base)
		return v, v.state == db.UpdateApplied || answer.Resource.ETag != "" || o.lacking(answer.Resource.JSON)
	}
	v, known, err := o.whatLanded(ctx, o.past(), now)
	switch {
	case v.gone:
		o.resurrected(ctx, o.row.ID, o.id)
	case err == nil && known && v.state == db.UpdateNotApplied: // it took effect as nothing
		v = o.past().ignored(v.shown)
	}
	return v, err == nil && known
}

// lacking tells whether a body shows the patient without the values.
func (o *operation) lacking(body []byte) bool {
	missing, err := o.past().missing(body)
	return body != nil && err == nil && len(missing) > 0
}

// answered judges by what the server shows of a PUT that it answered with OK.
func (o *operation) answered(shown, base fhir.Resource) verdict {
	landed := base.ETag
	if shown.ETag == base.ETag { // nothing was written: it keeps no other PUT out
		landed = ""
	}
	v := o.confirm(shown.JSON, landed)
	if v.state == db.UpdateRejected && o.lost != nil && shown.ETag == base.ETag {
		return unknownVerdict(o.lost) // an earlier PUT may still take effect
	}
	return v
}

// created reports a PUT that was answered as a creation: the patient was
// deleted between our read and our PUT, and the PUT made it anew. Somebody
// must look at it. It lives there now, so the cache follows.
func (o *operation) created(ctx context.Context, shown []byte) verdict {
	o.resurrected(ctx, o.row.ID, o.id)
	told := deletedBefore()
	told.HTTPStatus = http.StatusCreated
	var err error
	if shown == nil {
		var now fhir.Resource
		now, err = o.read(ctx, o.row.FHIRID)
		shown = now.JSON
	}
	if err == nil {
		var v verdict
		if v, err = recreated(shown, o.Now(), told); err == nil {
			return v
		}
	}
	return verdict{state: db.UpdateUnknown, err: told, gone: true} // the reconciler brings the cache what it shows
}

// recreated ends an operation whose PUT made the patient anew.
func recreated(shown []byte, at time.Time, told *Error) (verdict, error) {
	p, err := fhir.ParsePatient(shown, at)
	if err != nil {
		return verdict{}, err
	}
	st := record.State(p)
	return verdict{state: db.UpdateRejected, err: told, shown: &st}, nil
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
		return unknownVerdict(err)
	}
	st := record.State(p)
	missing, err := o.past().missing(shown)
	if err != nil {
		return unknownVerdict(err)
	}
	if len(missing) > 0 {
		return verdict{state: db.UpdateRejected, err: notSaved(missing), shown: &st}
	}
	return verdict{state: db.UpdateApplied, shown: &st, landed: landed}
}

// readBack asks the server what became of a PUT whose answer shows nothing.
// Not even a refusal is proof that nothing was written: what stands between
// may have sent the PUT twice, or put its own answer in the place of the
// server's.
func (o *operation) readBack(ctx context.Context, f *fhir.Error, base fhir.Resource, body []byte) (verdict, bool) {
	now, err := o.read(ctx, o.row.FHIRID)
	refused := f.Kind != fhir.Lost && f.Kind != fhir.Unusable
	if refused && o.lost == nil {
		var again *fhir.Error
		switch {
		case err == nil:
			return o.sinceRefused(ctx, now, f, base, body)
		case errors.As(err, &again) && sameRefusal(f, again):
			return o.refused(again, base, body), false
		}
	}
	o.lost = f
	if err != nil {
		return o.unread(err), false
	}
	v, again := o.sinceLost(ctx, now)
	return v, again && !(refused && now.ETag == base.ETag)
}

// unread ends an operation that could not read what became of its PUT.
func (o *operation) unread(err error) verdict {
	v := unknownVerdict(o.lost)
	v.gone = isGone(err)
	return v
}

// sameRefusal tells whether the read after a refused PUT bears the refusal
// out: our credentials are not taken any more, or the patient is gone.
func sameRefusal(put, read *fhir.Error) bool {
	return read.Kind == fhir.Gone || read.Kind == fhir.AuthFailed && put.Kind == fhir.AuthFailed && read.Status == put.Status
}

// sinceRefused judges by what the server shows after it refused a PUT. The
// refusal holds unless it shows that the PUT took effect all the same. A
// conflict is one only if the patient changed: HAPI's repository validation
// answers 412 to a bad value.
func (o *operation) sinceRefused(ctx context.Context, now fhir.Resource, f *fhir.Error, base fhir.Resource, body []byte) (verdict, bool) {
	v, known, err := o.whatLanded(ctx, o.past(), now)
	unmoved := now.ETag == base.ETag
	if base.ETag == "" {
		unmoved = bytes.Equal(now.JSON, base.JSON)
	}
	switch {
	case err != nil && !(f.Kind == fhir.Conflict && v.shown != nil && wasAnswered(err)): // a conflict needs no history: what is there now is merged again
		return unknownVerdict(f), false
	case v.gone:
		o.resurrected(ctx, o.row.ID, o.id)
		return v, false
	case known && v.state == db.UpdateApplied && !(f.Kind == fhir.Conflict && o.change.ExpectedVersion != 0 && o.writtenByOthers(v, body)),
		f.Kind != fhir.Conflict && v.state == db.UpdateRejected && len(v.err.Issues) < len(o.past().changed()): // in part
		return v, false
	case unmoved:
		return o.refused(f, base, body), false
	case f.Kind != fhir.Conflict:
		end := o.refused(f, base, body)
		end.shown = v.shown // somebody has written since
		return end, false
	case o.change.ExpectedVersion != 0:
		return o.conflictShown(now), false
	}
	o.seen = v.shown
	return verdict{}, true
}

// wasAnswered tells a server that answers with a failure from one that does not
// answer.
func wasAnswered(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && f.Status != 0
}

// writtenByOthers tells whether the history shows that the values that are there
// did not come with the PUT.
func (o *operation) writtenByOthers(v verdict, sent []byte) bool {
	if v.next == nil {
		return false
	}
	p, err := fhir.ParsePatient(sent, o.Now())
	if err != nil {
		return true
	}
	return !record.Same(record.State(p), *v.next)
}

// refused ends an operation whose PUT the server refused.
func (o *operation) refused(f *fhir.Error, base fhir.Resource, body []byte) verdict {
	switch f.Kind {
	case fhir.Gone:
		return patientGone(f)
	case fhir.AuthFailed, fhir.RateLimited:
		return notApplied(unavailable(f))
	}
	return verdict{state: db.UpdateRejected, err: &Error{
		Kind: Rejected, Reason: f.Reason, HTTPStatus: f.Status, Issues: issues(f, body), Err: f,
		Untouched: fhir.Untouched(base.JSON, body, f.Issues, o.change.Edit.Fields()),
	}}
}

// sinceLost judges by what the server shows after a PUT whose effect is not
// known. On a server with versions a version that moved keeps that PUT from
// landing later, and one that did not move makes its repetition safe.
func (o *operation) sinceLost(ctx context.Context, now fhir.Resource) (verdict, bool) {
	v, known, err := o.whatLanded(ctx, o.past(), now)
	switch {
	case err != nil, !known && o.baseETag == "":
		return unknownVerdict(o.lost), false
	case !known:
		return unknownVerdict(o.lost), now.ETag == o.baseETag && o.lost.RetryAfter == 0
	case v.gone:
		o.resurrected(ctx, o.row.ID, o.id)
		return v, false
	case v.state != db.UpdateNotApplied:
		return v, false
	case o.change.ExpectedVersion != 0:
		return o.conflictShown(now), false
	}
	o.lost = nil // it did not land, and cannot any more
	return verdict{}, true
}

// cannotRead ends an operation that could not read the patient.
func (o *operation) cannotRead(err error) verdict {
	if o.lost != nil {
		return o.unread(err)
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
	if o.lost != nil || errors.As(err, &f) && f.Kind == fhir.NotSent {
		return o.cannotRead(err)
	}
	now, err := o.read(ctx, o.row.FHIRID)
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
	return o.conflictWith(record.State(p))
}

// conflictWith reports a conflict. The cache follows the truth, so that the
// caller's next try starts from the version reported.
func (o *operation) conflictWith(st db.FHIRState) verdict {
	row := *o.row
	row.FHIRState = st
	return verdict{state: db.UpdateConflict, err: conflict(&row, o.change.Edit), shown: &st}
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
