package resolvers

import (
	"context"
	"errors"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

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

// profileConflict says what stands in the way of a profile change.
func (r *Resolver) profileConflict(ctx context.Context, v auth.Viewer, id string, fields []string, expected int64) (graph.UpdatePatientProfileResult, error) {
	row, err := r.Store.Patient(ctx, id)
	if errors.Is(err, db.ErrNotFound) {
		return patientNotFound(ctx), nil
	}
	if err != nil {
		return nil, r.unchanged(ctx, err)
	}
	operation := r.NewID()
	r.Log.InfoContext(ctx, "profile update conflict for patient "+row.ID, "patient", row.ID, "operation", operation, "outcome", graph.ErrorCodeUpdateConflict)
	return r.updateConflict(ctx, v, operation, row, row.ChangedSince(expected, fields), false), nil
}
