package writethrough

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

// maxAttempts bounds how often a change is merged again after somebody else
// changed the patient between our read and our PUT.
const maxAttempts = 3

// operation is one contact update of a patient that FHIR has.
type operation struct {
	*Writer
	id     string
	row    *db.Patient // the cached row that the change began with
	change Change
}

// run has the whole FHIR conversation. Of the time allowed, a quarter is kept
// for reading back what became of a PUT whose answer was lost.
func (o *operation) run(ctx context.Context) (*Applied, error) {
	start := time.Now()
	// Once a PUT has left, the caller's disconnect must not cancel it: what it
	// did has to reach the cache.
	settle, cancel := context.WithDeadline(context.WithoutCancel(ctx), start.Add(o.Timeout))
	defer cancel()
	put, cancelPut := context.WithDeadline(settle, start.Add(o.Timeout*3/4))
	defer cancelPut()
	read, cancelRead := context.WithDeadline(ctx, start.Add(o.Timeout*3/4))
	defer cancelRead()

	for range maxAttempts {
		base, err := o.FHIR.Read(read, o.row.FHIRID)
		if err != nil {
			return nil, o.failedBeforeSending(err)
		}
		body, err := o.merge(settle, base)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(body, base.JSON) {
			return o.confirm(settle, base.JSON, base.JSON, false)
		}
		if err := read.Err(); err != nil {
			return nil, &Error{Kind: Timeout, Reason: "Connection timeout", Err: err}
		}
		answer, err := o.FHIR.Update(put, o.row.FHIRID, body, base.ETag)
		if err == nil {
			return o.judge(settle, answer, body)
		}
		again, applied, err := o.failedPut(settle, err, base, body)
		if !again {
			return applied, err
		}
	}
	return nil, o.conflictNow(settle)
}

// merge edits what the server has now. With an expected version it is a
// conflict if the server moved on from what the cache showed the caller.
func (o *operation) merge(ctx context.Context, base fhir.Resource) ([]byte, error) {
	now := o.Now()
	if o.change.ExpectedVersion != 0 {
		p, err := fhir.ParsePatient(base.JSON, now)
		if err != nil {
			return nil, o.failedBeforeSending(err)
		}
		if moved(o.row, State(p), o.change.Edit) {
			return nil, o.conflictWith(ctx, p)
		}
	}
	body, err := fhir.EditContact(base.JSON, o.change.Edit, now)
	if err != nil {
		return nil, o.failedBeforeSending(err)
	}
	return body, nil
}

// judge looks at what a 2xx answer shows, not at its status.
func (o *operation) judge(ctx context.Context, answer fhir.Update, body []byte) (*Applied, error) {
	if !answer.Created {
		return o.confirm(ctx, answer.Resource.JSON, body, true)
	}
	return nil, o.created(ctx, answer.Status)
}

// created reports a PUT that was answered as a creation.
func (o *operation) created(ctx context.Context, status int) error {
	// The patient was deleted between our read and our PUT, and the PUT made
	// it anew: somebody must look at it.
	o.Log.ErrorContext(ctx, "ALARM: a PUT created or resurrected a patient that was gone from the FHIR server",
		"patient", o.row.ID, "operation", o.id)
	return &Error{Kind: PatientGone, Reason: "the patient was deleted on the FHIR server", HTTPStatus: status}
}

// confirm brings what the server shows into the cache and tells whether it
// holds what was asked. Only what was shown after a PUT of ours settles an
// earlier write whose outcome is unknown.
func (o *operation) confirm(ctx context.Context, shown, body []byte, afterPut bool) (*Applied, error) {
	now := o.Now()
	p, err := fhir.ParsePatient(shown, now)
	if err != nil {
		return nil, o.unknown(ctx, err)
	}
	missing, err := o.missing(shown, body)
	if err != nil {
		return nil, o.unknown(ctx, err)
	}
	row := o.save(ctx, p, afterPut)
	if len(missing) == 0 {
		return &Applied{OperationID: o.id, Patient: row}, nil
	}
	failed := &Error{Kind: NotApplied, Reason: "the FHIR server accepted the update but does not show the requested values"}
	for _, field := range missing {
		failed.Issues = append(failed.Issues, Issue{
			Issue: fhir.Issue{
				Severity: "error", Code: "not-applied", Expression: []string{},
				Message: "the requested " + field + " was not saved",
			},
			Field: []string{field},
		})
	}
	return nil, failed
}

// missing names the fields of which the server does not show what was sent.
func (o *operation) missing(shown, body []byte) ([]string, error) {
	have, err := fhir.ContactOf(shown, o.Now())
	if err != nil {
		return nil, err
	}
	want, err := fhir.ContactOf(body, o.Now())
	if err != nil {
		return nil, err
	}
	return fhir.Missing(have, want, o.change.Edit.Fields()), nil
}

// save writes what the server shows into the cache. If that fails the caller
// still hears the truth: the patient as FHIR shows it, said to be PENDING.
func (o *operation) save(ctx context.Context, p fhir.Patient, settles bool) *db.Patient {
	// FHIR's deadline may be nearly over; the cache gets a bound of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cacheTimeout)
	defer cancel()
	row, err := o.Store.ApplyFHIR(ctx, o.row.ID, State(p), settles, o.Now())
	if err != nil {
		o.Log.ErrorContext(ctx, "the FHIR server has a change that the cache could not store",
			"patient", o.row.ID, "operation", o.id, "error", err)
		row = withState(*o.row, State(p))
		row.SyncState = db.Pending
	}
	return row
}

// cacheTimeout bounds one cache write after the FHIR conversation.
const cacheTimeout = 10 * time.Second

// failedPut sorts out a PUT without a usable 2xx answer: merge again, or the
// end of the operation.
func (o *operation) failedPut(ctx context.Context, err error, base fhir.Resource, body []byte) (again bool, a *Applied, _ error) {
	var f *fhir.Error
	if !errors.As(err, &f) {
		return false, nil, o.unknown(ctx, err)
	}
	if f.Status == http.StatusCreated {
		return false, nil, o.created(ctx, f.Status)
	}
	switch f.Kind {
	case fhir.Rejected:
		return false, nil, rejected(f, body)
	case fhir.Gone:
		return false, nil, gone(f)
	case fhir.NotSent, fhir.AuthFailed:
		return false, nil, o.failedBeforeSending(err)
	case fhir.Conflict:
		return o.failedMatch(ctx, f, base, body)
	default:
		a, err = o.readBack(ctx, f, base, body)
		return false, a, err
	}
}

// failedMatch tells a real conflict from a rejection that only looks like one
// (HAPI's repository validation answers 412): the version moved, or not.
func (o *operation) failedMatch(ctx context.Context, f *fhir.Error, base fhir.Resource, body []byte) (bool, *Applied, error) {
	now, err := o.FHIR.Read(ctx, o.row.FHIRID)
	if err != nil {
		return false, nil, o.failedBeforeSending(err)
	}
	unmoved := now.ETag == base.ETag
	if base.ETag == "" {
		unmoved = bytes.Equal(now.JSON, base.JSON)
	}
	if unmoved {
		return false, nil, rejected(f, body)
	}
	if o.change.ExpectedVersion == 0 {
		return true, nil, nil
	}
	return false, nil, o.conflictNow(ctx)
}

// readBack asks the server what became of a PUT without a trustworthy answer.
func (o *operation) readBack(ctx context.Context, f *fhir.Error, base fhir.Resource, body []byte) (*Applied, error) {
	now, err := o.FHIR.Read(ctx, o.row.FHIRID)
	if err != nil {
		return nil, o.unknown(ctx, f)
	}
	missing, err := o.missing(now.JSON, body)
	switch {
	case err != nil:
		return nil, o.unknown(ctx, f)
	case len(missing) == 0 || f.Kind == fhir.Unusable && (f.Status == http.StatusOK || f.Status == http.StatusNoContent):
		// The values are there, or the server is done and said OK in a form
		// that tells nothing: what it shows now is the outcome.
		return o.confirm(ctx, now.JSON, body, true)
	case f.Kind == fhir.RateLimited && base.ETag != "" && now.ETag == base.ETag:
		return nil, &Error{Kind: RateLimited, Reason: f.Reason, HTTPStatus: f.Status, RetryAfter: f.RetryAfter, Err: f}
	default:
		return nil, o.unknown(ctx, f) // the PUT may still be under way
	}
}

// conflictNow reads the patient once more and reports the conflict with it.
func (o *operation) conflictNow(ctx context.Context) error {
	now, err := o.FHIR.Read(ctx, o.row.FHIRID)
	if err != nil {
		return o.failedBeforeSending(err)
	}
	p, err := fhir.ParsePatient(now.JSON, o.Now())
	if err != nil {
		return o.failedBeforeSending(err)
	}
	return o.conflictWith(ctx, p)
}

// conflictWith reports a conflict. The cache follows the truth, so that the
// caller's next try starts from the version reported.
func (o *operation) conflictWith(ctx context.Context, p fhir.Patient) error {
	return conflict(o.save(ctx, p, false), o.change.Edit)
}

// unknown reports an outcome that is not known, and the patient says so.
func (o *operation) unknown(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cacheTimeout)
	defer cancel()
	if _, err := o.Store.SetPending(ctx, o.row.ID, o.Now()); err != nil {
		o.Log.ErrorContext(ctx, "the cache could not mark a patient as PENDING",
			"patient", o.row.ID, "operation", o.id, "error", err)
	}
	e := &Error{Kind: OutcomeUnknown, Reason: "the FHIR server's answer could not be understood", Err: cause}
	var f *fhir.Error
	if errors.As(cause, &f) {
		e.Reason, e.HTTPStatus, e.RetryAfter = f.Reason, f.Status, f.RetryAfter
	}
	return e
}

// failedBeforeSending reports an error after which certainly nothing of this
// change was applied.
func (o *operation) failedBeforeSending(err error) error {
	var f *fhir.Error
	if !errors.As(err, &f) {
		return fmt.Errorf("ask FHIR server: %w", err)
	}
	e := &Error{Kind: Unavailable, Reason: f.Reason, HTTPStatus: f.Status, RetryAfter: f.RetryAfter, Err: f}
	switch {
	case f.Kind == fhir.Gone:
		return gone(f)
	case f.Kind == fhir.AuthFailed:
		e.Kind = AuthFailed
	case f.Kind == fhir.RateLimited:
		e.Kind = RateLimited
	case f.Timeout:
		e.Kind = Timeout
	}
	return e
}

func gone(f *fhir.Error) *Error {
	return &Error{Kind: PatientGone, Reason: "the FHIR server no longer has this patient", HTTPStatus: f.Status, Issues: issues(f, nil), Err: f}
}

func rejected(f *fhir.Error, body []byte) *Error {
	return &Error{Kind: Rejected, Reason: f.Reason, HTTPStatus: f.Status, Issues: issues(f, body), Err: f}
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

// report writes the one line per operation that operators look for, and gives
// the error its operation id.
func (o *operation) report(ctx context.Context, err error) {
	var e *Error
	errors.As(err, &e)
	level, line := slog.LevelError, ""
	switch {
	case err == nil:
		level, line = slog.LevelInfo, "FHIR update success for patient "+o.row.ID
	case e == nil:
		line = "FHIR server error for patient " + o.row.ID + ": " + err.Error()
	case e.Kind == Rejected || e.Kind == NotApplied || e.Kind == PatientGone:
		level, line = slog.LevelWarn, "FHIR validation failed for patient "+o.row.ID+": "+e.Reason
	case e.Kind == Conflict:
		level, line = slog.LevelWarn, "FHIR update conflict for patient "+o.row.ID
	case e.Kind == AuthFailed:
		line = "FHIR server error for patient " + o.row.ID + ": our credentials were refused, check FHIR_AUTH and its settings: " + e.Reason
	default:
		line = "FHIR server error for patient " + o.row.ID + ": " + e.Reason
	}
	if e != nil {
		e.OperationID = o.id
	}
	o.Log.Log(ctx, level, line, "operation", o.id)
}
