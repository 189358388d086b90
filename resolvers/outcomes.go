package resolvers

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/graph"
	"patientgraph/writethrough"
)

// What FhirUnavailable recommends when the FHIR server gave no hint.
const defaultRetryAfter = 5 * time.Second

func notPermitted() *graph.NotPermitted {
	return &graph.NotPermitted{Message: "you may not change this patient", Code: graph.ErrorCodeNotPermitted}
}

func profileNotPermitted() *graph.NotPermitted {
	return &graph.NotPermitted{
		Message: "you may not change all of these fields of this patient; nothing was changed", Code: graph.ErrorCodeNotPermitted,
	}
}

func patientNotFound() *graph.PatientNotFound {
	return &graph.PatientNotFound{Message: "there is no patient with this id", Code: graph.ErrorCodePatientNotFound}
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
		Message: "the record was changed by somebody else; look at it and try again",
		Code:    graph.ErrorCodeUpdateConflict, Retryable: true, OperationID: operationID,
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
	case writethrough.Rejected:
		detail := "FHIR server rejected the update"
		if e.Untouched {
			detail += " because of an element that this update does not change"
		}
		return fhirRejected(e, graph.ErrorCodeFhirRejected, detail), nil
	case writethrough.NotApplied:
		return fhirRejected(e, graph.ErrorCodeFhirNotApplied, "FHIR server did not save all of the update"), nil
	case writethrough.PatientGone:
		return fhirRejected(e, graph.ErrorCodeFhirPatientGone, "the patient is gone from the FHIR server"), nil
	case writethrough.Unavailable:
		return fhirUnavailable(e, graph.ErrorCodeFhirUnavailable), nil
	case writethrough.Timeout:
		return fhirUnavailable(e, graph.ErrorCodeFhirTimeout), nil
	case writethrough.OutcomeUnknown:
		return fhirUnavailable(e, graph.ErrorCodeFhirOutcomeUnknown), nil
	case writethrough.AuthFailed:
		return fhirUnavailable(e, graph.ErrorCodeFhirAuthFailed), nil
	case writethrough.RateLimited:
		return fhirUnavailable(e, graph.ErrorCodeFhirRateLimited), nil
	default:
		return nil, r.internal(ctx, err)
	}
}

func fhirRejected(e *writethrough.Error, code graph.ErrorCode, detail string) *graph.FhirRejected {
	rejected := &graph.FhirRejected{
		Message: e.Reason, Code: code, Detail: detail, OperationID: e.OperationID, Issues: make([]*graph.FhirIssue, 0, len(e.Issues)),
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

func fhirUnavailable(e *writethrough.Error, code graph.ErrorCode) *graph.FhirUnavailable {
	u := &graph.FhirUnavailable{
		Message: "FHIR server communication failed", Code: code, Detail: e.Reason,
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

// profileConflict tells what stands in the way of a profile change.
func (r *Resolver) profileConflict(ctx context.Context, v auth.Viewer, id string, e db.ProfileEdit) (graph.UpdatePatientProfileResult, error) {
	row, err := r.Store.Patient(ctx, id)
	if errors.Is(err, db.ErrNotFound) {
		return patientNotFound(), nil
	}
	if err != nil {
		return nil, r.internal(ctx, err)
	}
	operation := r.NewID()
	r.Log.InfoContext(ctx, "profile update conflict for patient "+row.ID, "operation", operation)
	return updateConflict(v, operation, row, differingProfile(row, e)), nil
}

// contactEdit says what an input asks for: omitted leaves, null clears.
func contactEdit(input graph.UpdatePatientContactInput) fhir.ContactEdit {
	e := fhir.ContactEdit{
		SetPhone: input.Phone.IsSet(), Phone: value(input.Phone.Value()),
		SetEmail: input.Email.IsSet(), Email: value(input.Email.Value()),
		SetAddress: input.Address.IsSet(),
	}
	if a := input.Address.Value(); a != nil {
		e.Address = &fhir.Address{
			Text: value(a.Text), Lines: a.Lines, City: value(a.City), District: value(a.District),
			State: value(a.State), PostalCode: value(a.PostalCode), Country: value(a.Country),
		}
	}
	return e
}

// profileFields names the fields that an input sets, be it to null.
func profileFields(input graph.UpdatePatientProfileInput) auth.ProfileFields {
	return auth.ProfileFields{
		EmergencyContact: input.EmergencyContact.IsSet(),
		Allergies:        input.Allergies.IsSet(), BloodType: input.BloodType.IsSet(),
	}
}

func profileEdit(input graph.UpdatePatientProfileInput) db.ProfileEdit {
	e := db.ProfileEdit{
		SetEmergencyContact: input.EmergencyContact.IsSet(),
		SetAllergies:        input.Allergies.IsSet(), Allergies: input.Allergies.Value(),
		SetBloodType: input.BloodType.IsSet(), BloodType: value(input.BloodType.Value()),
	}
	if c := input.EmergencyContact.Value(); c != nil {
		e.EmergencyContact = &db.EmergencyContact{Name: c.Name, Relationship: value(c.Relationship), Phone: value(c.Phone)}
	}
	return e
}

// differingProfile returns the fields of the edit whose value in row is not
// the requested one.
func differingProfile(row *db.Patient, e db.ProfileEdit) []string {
	var fields []string
	if e.SetEmergencyContact && !sameContact(row.EmergencyContact, e.EmergencyContact) {
		fields = append(fields, "emergencyContact")
	}
	if e.SetAllergies && !slices.Equal(row.Allergies, e.Allergies) {
		fields = append(fields, "allergies")
	}
	if e.SetBloodType && row.BloodType != e.BloodType {
		fields = append(fields, "bloodType")
	}
	return fields
}

func sameContact(a, b *db.EmergencyContact) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
