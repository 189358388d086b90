package resolvers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/writethrough"
)

// What FhirUnavailable recommends when the FHIR server gave no hint.
const defaultRetryAfter = 5 * time.Second

func notPermitted(ctx context.Context) *graph.NotPermitted {
	return &graph.NotPermitted{Message: Say(ctx, words[graph.ErrorCodeNotPermitted]), Code: graph.ErrorCodeNotPermitted}
}

func profileNotPermitted(ctx context.Context) *graph.NotPermitted {
	return &graph.NotPermitted{Message: Say(ctx, profileNotPermittedWords), Code: graph.ErrorCodeNotPermitted}
}

func patientNotFound(ctx context.Context) *graph.PatientNotFound {
	return &graph.PatientNotFound{Message: Say(ctx, words[graph.ErrorCodePatientNotFound]), Code: graph.ErrorCodePatientNotFound}
}

func invalidInput(ctx context.Context, faults []*graph.FieldError) *graph.InvalidInput {
	message := faults[0].Message
	if field := fieldName(ctx, faults[0].Field); field != "" {
		message = field + ": " + message
	}
	return &graph.InvalidInput{Message: message, Code: graph.ErrorCodeInvalidInput, FieldErrors: faults}
}

func keyReused(ctx context.Context) *graph.InvalidInput {
	invalid := invalidInput(ctx, []*graph.FieldError{fault(ctx, []string{"idempotencyKey"}, "reused", "")})
	invalid.Code = graph.ErrorCodeIdempotencyKeyReused
	return invalid
}

// updateConflict shows the record as it is now. Which fields changed is not for one
// who may not read them. busy: the same request may succeed later.
func (r *Resolver) updateConflict(ctx context.Context, v auth.Viewer, operationID string, current *db.Patient, fields []string, busy bool) *graph.UpdateConflict {
	if !v.SeesRecord(current.ID) {
		fields = nil
	}
	return &graph.UpdateConflict{
		Message: Say(ctx, words[graph.ErrorCodeUpdateConflict]), Code: graph.ErrorCodeUpdateConflict, Retryable: busy, OperationID: operationID,
		Current: r.toPatient(current, v), ConflictingFields: append([]string{}, fields...),
	}
}

// contactResult is the one place where the outcome of a contact update becomes a
// union member; what it does not know is an internal error.
func (r *Resolver) contactResult(ctx context.Context, v auth.Viewer, o *writethrough.Outcome) (graph.UpdatePatientContactResult, error) {
	switch o.Code {
	case writethrough.Success:
		return &graph.UpdatePatientContactSuccess{
			Patient: r.toPatient(o.Patient, v), OperationID: o.OperationID, Normalized: append([]string{}, o.Normalized...),
		}, nil
	case writethrough.NotFound:
		return patientNotFound(ctx), nil
	case writethrough.KeyReused:
		return keyReused(ctx), nil
	case writethrough.Conflict:
		return r.updateConflict(ctx, v, o.OperationID, o.Patient, o.Conflicting, o.Busy), nil
	case writethrough.Rejected, writethrough.CannotApply, writethrough.NotSaved, writethrough.PatientGone, writethrough.PatientInactive, writethrough.Forbidden:
		return r.fhirRejected(ctx, v, o), nil
	case writethrough.PatientReplaced:
		return r.patientReplaced(ctx, v, o), nil
	case writethrough.Unavailable, writethrough.Timeout, writethrough.OutcomeUnknown, writethrough.AuthFailed, writethrough.RateLimited:
		return r.fhirUnavailable(ctx, v, o), nil
	}
	return nil, r.internal(ctx, fmt.Errorf("contact update %s ended with code %q", o.OperationID, o.Code))
}

// contactFailed is what the caller hears when the database failed.
func (r *Resolver) contactFailed(ctx context.Context, err error) error {
	if errors.Is(err, writethrough.ErrUnsure) {
		return r.unsure(ctx, err)
	}
	return r.unchanged(ctx, err)
}

func (r *Resolver) fhirRejected(ctx context.Context, v auth.Viewer, o *writethrough.Outcome) *graph.FhirRejected {
	code := graph.ErrorCode(o.Code)
	rejected := &graph.FhirRejected{
		Message: Say(ctx, o.Reason), Code: code, Detail: Say(ctx, words[code]), OperationID: o.OperationID, Patient: r.toPatient(o.Patient, v), Issues: make([]*graph.FhirIssue, 0, len(o.Issues)),
	}
	if o.Untouched {
		rejected.Detail = Say(ctx, untouchedWords)
	}
	if o.HTTPStatus != 0 {
		rejected.HTTPStatus = &o.HTTPStatus
	}
	for _, i := range o.Issues {
		rejected.Issues = append(rejected.Issues, &graph.FhirIssue{
			Severity: i.Severity, Code: i.Code, Message: Say(ctx, i.Message),
			Expression: append([]string{}, i.Expression...), Field: i.Field,
		})
	}
	return rejected
}

// patientReplaced says which record to change instead, to who may read this one.
func (r *Resolver) patientReplaced(ctx context.Context, v auth.Viewer, o *writethrough.Outcome) *graph.FhirRejected {
	rejected := r.fhirRejected(ctx, v, o)
	if !v.SeesRecord(o.Patient.ID) {
		return rejected
	}
	number, err := r.survivor(ctx, o.Patient.ReplacedBy)
	if err != nil {
		r.Log.ErrorContext(ctx, "whom a patient was merged into could not be looked up", "operation", o.OperationID, "error", err)
	}
	if number != nil {
		rejected.Message += Say(ctx, ": change ") + *number
	}
	return rejected
}

func (r *Resolver) fhirUnavailable(ctx context.Context, v auth.Viewer, o *writethrough.Outcome) *graph.FhirUnavailable {
	u := &graph.FhirUnavailable{
		Message: Say(ctx, unavailableWords), Code: graph.ErrorCode(o.Code), Detail: Say(ctx, o.Reason),
		Applied: graph.AppliedNo, OperationID: o.OperationID, Patient: r.toPatient(o.Patient, v),
	}
	if o.Code == writethrough.OutcomeUnknown {
		u.Applied = graph.AppliedUnknown
	}
	if u.Retryable = o.Code != writethrough.AuthFailed; u.Retryable {
		after := o.RetryAfter
		if after <= 0 {
			after = defaultRetryAfter
		}
		seconds := int(math.Ceil(after.Seconds()))
		u.RetryAfterSeconds = &seconds
	}
	return u
}
