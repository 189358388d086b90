package graph

import "github.com/99designs/gqlgen/graphql"

// The inputs of the mutations are written by hand because they carry the
// validation rules as tags (package resolvers runs the validator). An
// Omittable field tells omitted, null and value apart.

// UpdatePatientContactInput says which contact values to change.
type UpdatePatientContactInput struct {
	PatientID       string                           `json:"patientId" validate:"required,max=64,line"`
	Phone           graphql.Omittable[*string]       `json:"phone" validate:"omitempty,min=1,max=64,line,phone"`
	Email           graphql.Omittable[*string]       `json:"email" validate:"omitempty,max=254,email,line"`
	Address         graphql.Omittable[*AddressInput] `json:"address"`
	ExpectedVersion *string                          `json:"expectedVersion" validate:"omitempty,min=1,max=64,line"`
	IdempotencyKey  *string                          `json:"idempotencyKey" validate:"omitempty,min=1,max=128,line"`
}

// AddressInput is a whole address; an absent part is removed.
type AddressInput struct {
	Text       *string  `json:"text" validate:"omitempty,min=1,max=1000,text"`
	Lines      []string `json:"lines" validate:"omitempty,max=10,dive,min=1,max=255,line"`
	City       *string  `json:"city" validate:"omitempty,min=1,max=255,line"`
	District   *string  `json:"district" validate:"omitempty,min=1,max=255,line"`
	State      *string  `json:"state" validate:"omitempty,min=1,max=255,line"`
	PostalCode *string  `json:"postalCode" validate:"omitempty,min=1,max=32,line"`
	Country    *string  `json:"country" validate:"omitempty,min=1,max=255,line"`
}

// UpdatePatientProfileInput says which local-only values to change.
type UpdatePatientProfileInput struct {
	PatientID        string                                    `json:"patientId" validate:"required,max=64,line"`
	EmergencyContact graphql.Omittable[*EmergencyContactInput] `json:"emergencyContact"`
	Allergies        graphql.Omittable[[]string]               `json:"allergies" validate:"omitempty,max=100,dive,min=1,max=200,line"`
	BloodType        graphql.Omittable[*string]                `json:"bloodType" validate:"omitempty,oneof=A+ A- B+ B- AB+ AB- O+ O-"`
	ExpectedVersion  *string                                   `json:"expectedVersion" validate:"omitempty,min=1,max=64,line"`
}

// EmergencyContactInput is whom to call in an emergency.
type EmergencyContactInput struct {
	Name         string  `json:"name" validate:"required,max=200,line"`
	Relationship *string `json:"relationship" validate:"omitempty,min=1,max=100,line"`
	Phone        *string `json:"phone" validate:"omitempty,min=1,max=64,line"`
}
