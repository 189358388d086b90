package writethrough

import (
	"errors"

	"patientgraph/db"
	"patientgraph/fhir"
)

// verdict is how an operation ends, before that is written down.
type verdict struct {
	state  db.UpdateState
	err    *Error        // nil only with UpdateApplied
	shown  *db.FHIRState // what the FHIR server shows now: the cache follows; nil leaves the cache
	told   *db.FHIRState // Applied and overwritten since: what the server showed in between
	landed string        // a PUT that named this ETag took effect
	gone   bool          // the FHIR server said that the patient is gone
	next   *db.FHIRState // Applied, as far as the history tells: the version that followed the one that the PUT named
}

// notSaved tells field by field what the server did not save.
func notSaved(missing []string) *Error {
	e := &Error{Kind: NotApplied, Reason: "the FHIR server does not show the requested values"}
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

// unknownVerdict says that nobody knows yet.
func unknownVerdict(cause error) verdict {
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

// issues names the input fields that the issues concern; body is what was sent.
func issues(f *fhir.Error, body []byte) []Issue {
	all := make([]Issue, 0, len(f.Issues))
	fields := fhir.InputFields(body, f.Issues)
	for i, issue := range f.Issues {
		all = append(all, Issue{Issue: issue, Field: fields[i]})
	}
	return all
}

func deletedBefore() *Error {
	return &Error{Kind: PatientGone, Reason: "the patient was deleted on the FHIR server"}
}

func neverTookEffect() *Error {
	return &Error{Kind: Unavailable, Reason: "the write never took effect"}
}

var fencedAnswer = encodeAnswer(neverTookEffect())
