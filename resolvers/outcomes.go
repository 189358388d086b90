package resolvers

import (
	"context"
	"errors"
	"math"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/writethrough"
)

// What FhirUnavailable recommends when the FHIR server gave no hint.
const defaultRetryAfter = 5 * time.Second

func success(a *writethrough.Applied, v auth.Viewer) *graph.UpdatePatientContactSuccess {
	return &graph.UpdatePatientContactSuccess{Patient: toPatient(a.Patient, v), OperationID: a.OperationID}
}

func notPermitted() *graph.NotPermitted {
	return &graph.NotPermitted{Message: words[graph.ErrorCodeNotPermitted], Code: graph.ErrorCodeNotPermitted}
}

func profileNotPermitted() *graph.NotPermitted {
	return &graph.NotPermitted{Message: profileNotPermittedWords, Code: graph.ErrorCodeNotPermitted}
}

func patientNotFound() *graph.PatientNotFound {
	return &graph.PatientNotFound{Message: words[graph.ErrorCodePatientNotFound], Code: graph.ErrorCodePatientNotFound}
}

func invalidInput(faults []*graph.FieldError) *graph.InvalidInput {
	return &graph.InvalidInput{
		Message: faults[0].Message, Code: graph.ErrorCodeInvalidInput, FieldErrors: faults,
	}
}

func keyReused(ctx context.Context) *graph.InvalidInput {
	invalid := invalidInput([]*graph.FieldError{fault(ctx, []string{"idempotencyKey"}, "reused", "")})
	invalid.Code = graph.ErrorCodeIdempotencyKeyReused
	return invalid
}

// updateConflict shows the record as it is now. Which fields differ from what was
// asked tells their values to whoever guesses: not to one who may not read them.
func updateConflict(v auth.Viewer, operationID string, current *db.Patient, fields []string) *graph.UpdateConflict {
	if !v.SeesRecord(current.ID) {
		fields = nil
	}
	return &graph.UpdateConflict{
		Message: words[graph.ErrorCodeUpdateConflict], Code: graph.ErrorCodeUpdateConflict, Retryable: true, OperationID: operationID,
		Current: toPatient(current, v), ConflictingFields: append([]string{}, fields...),
	}
}

// contactFailure is the one place where a failed contact update becomes a
// union member; what it does not know is an internal error.
func (r *Resolver) contactFailure(ctx context.Context, v auth.Viewer, err error) (graph.UpdatePatientContactResult, error) {
	var e *writethrough.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, writethrough.ErrUnsure):
		return nil, r.internal(ctx, err)
	default:
		return nil, r.unchanged(ctx, err)
	}
	switch e.Kind {
	case writethrough.NotFound:
		return patientNotFound(), nil
	case writethrough.KeyReused:
		return keyReused(ctx), nil
	case writethrough.Conflict:
		return updateConflict(v, e.OperationID, e.Current, e.Conflicting), nil
	case writethrough.Rejected, writethrough.NotApplied, writethrough.PatientGone:
		return fhirRejected(e), nil
	case writethrough.Unavailable, writethrough.Timeout, writethrough.OutcomeUnknown, writethrough.AuthFailed, writethrough.RateLimited:
		return fhirUnavailable(e), nil
	default:
		return nil, r.internal(ctx, err)
	}
}

func fhirRejected(e *writethrough.Error) *graph.FhirRejected {
	code := graph.ErrorCode(e.Kind)
	rejected := &graph.FhirRejected{
		Message: e.Reason, Code: code, Detail: words[code], OperationID: e.OperationID, Issues: make([]*graph.FhirIssue, 0, len(e.Issues)),
	}
	if e.Untouched {
		rejected.Detail += untouchedWords
	}
	if e.HTTPStatus != 0 {
		rejected.HTTPStatus = &e.HTTPStatus
	}
	for _, i := range e.Issues {
		rejected.Issues = append(rejected.Issues, &graph.FhirIssue{
			Severity: i.Severity, Code: i.Code, Message: i.Message,
			Expression: append([]string{}, i.Expression...), Field: i.Field,
		})
	}
	return rejected
}

func fhirUnavailable(e *writethrough.Error) *graph.FhirUnavailable {
	u := &graph.FhirUnavailable{
		Message: unavailableWords, Code: graph.ErrorCode(e.Kind), Detail: e.Reason,
		Applied: graph.AppliedNo, OperationID: e.OperationID,
	}
	if e.Kind == writethrough.OutcomeUnknown {
		u.Applied = graph.AppliedUnknown
	}
	if u.Retryable = e.Kind != writethrough.AuthFailed; u.Retryable {
		after := e.RetryAfter
		if after <= 0 {
			after = defaultRetryAfter
		}
		seconds := int(math.Ceil(after.Seconds()))
		u.RetryAfterSeconds = &seconds
	}
	return u
}
