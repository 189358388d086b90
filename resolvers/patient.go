package resolvers

import (
	"strconv"
	"strings"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// toPatient shows a row to a viewer. Columns that were not selected are zero
// and not asked for. For a viewer who may not see direct identifiers those
// are null; one who may write the record but not read it sees nothing of what it
// says of the patient.
func toPatient(row *db.Patient, v auth.Viewer) *graph.Patient {
	p := &graph.Patient{
		ID:           row.ID,
		Gender:       graph.GenderUnknown,
		IsSynced:     row.FHIRID != "",
		LastSyncedAt: optionalTime(row.LastSyncedAt),
		SyncState:    graph.SyncState(row.SyncState),
		Version:      strconv.FormatInt(row.Version, 36),
		CreatedAt:    row.CreatedAt,
		UpdatedAt:    row.UpdatedAt,
	}
	if !v.SeesRecord(row.ID) {
		return p
	}
	p.BirthYear = birthYear(row.BirthDate)
	p.Gender = toGender(row.Gender)
	p.Allergies = append([]string{}, row.Allergies...)
	p.BloodType = optional(row.BloodType)
	p.FhirID = optional(row.FHIRID)
	if !v.SeesIdentifiers() {
		return p
	}
	p.FamilyName = optional(row.FamilyName)
	p.GivenName = optional(row.GivenName)
	p.FullName = optional(row.FullName)
	p.BirthDate = (*graph.PartialDate)(optional(row.BirthDate))
	p.Phone = optional(row.Phone)
	p.Email = optional(row.Email)
	if a := row.Address; a != nil {
		p.Address = &graph.Address{
			Text: optional(a.Text), Lines: append([]string{}, a.Lines...),
			City: optional(a.City), District: optional(a.District), State: optional(a.State),
			PostalCode: optional(a.PostalCode), Country: optional(a.Country),
		}
	}
	if c := row.EmergencyContact; c != nil {
		p.EmergencyContact = &graph.EmergencyContact{
			Name: c.Name, Relationship: optional(c.Relationship), Phone: optional(c.Phone),
		}
	}
	return p
}

// expectedVersion reads a version that a client sent back: 0 when none was
// given, -1, which no record has, when this server never wrote it.
func expectedVersion(s *string) int64 {
	if s == nil {
		return 0
	}
	n, err := strconv.ParseInt(*s, 36, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 36) != *s {
		return -1
	}
	return n
}

// toGender maps a FHIR AdministrativeGender code; what FHIR does not define
// is unknown.
func toGender(code string) graph.Gender {
	if g := graph.Gender(strings.ToUpper(code)); g.IsValid() {
		return g
	}
	return graph.GenderUnknown
}

// birthYear reads the year off YYYY, YYYY-MM or YYYY-MM-DD.
func birthYear(date string) *int {
	if len(date) < 4 {
		return nil
	}
	year, err := strconv.Atoi(date[:4])
	if err != nil {
		return nil
	}
	return &year
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
