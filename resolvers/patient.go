package resolvers

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/graph"
)

// toPatient shows a row to a viewer. Columns that were not selected are zero
// and not asked for. For a viewer who may not see direct identifiers those
// are null; one who may write the record but not read it sees nothing of what it
// says of the patient.
func (r *Resolver) toPatient(row *db.Patient, v auth.Viewer) *graph.Patient {
	p := &graph.Patient{}
	r.show(p, row, v)
	return p
}

// show is toPatient into the place of another one.
func (r *Resolver) show(p *graph.Patient, row *db.Patient, v auth.Viewer) {
	*p = graph.Patient{
		ID:           row.ID,
		Gender:       graph.GenderUnknown,
		Active:       true,
		IsSynced:     row.FHIRID != "",
		LastSyncedAt: optionalTime(&row.LastSyncedAt),
		SyncState:    r.syncState(row),
		Version:      strconv.FormatInt(row.Version, 36),
		ChangeSeq:    row.ChangeSeq,
		CreatedAt:    row.CreatedAt,
		UpdatedAt:    row.UpdatedAt,
	}
	if !v.SeesRecord(row.ID) {
		return
	}
	p.BirthYear = birthYear(row.BirthDate)
	p.Gender = toGender(row.Gender)
	p.Active = !row.Inactive
	p.Deceased = row.Deceased
	p.MergedInto = row.ReplacedBy
	p.Allergies = row.Allergies
	p.BloodType = optional(&row.BloodType)
	p.FhirID = optional(&row.FHIRID)
	if !v.SeesIdentifiers() {
		return
	}
	p.FamilyName = optional(&row.FamilyName)
	p.GivenName = optional(&row.GivenName)
	p.FullName = optional(&row.FullName)
	p.BirthDate = (*graph.PartialDate)(optional(&row.BirthDate))
	p.Phone = optional(&row.Phone)
	p.Email = optional(&row.Email)
	p.Address = toAddress(row.Address)
	p.EmergencyContact = emergencyContact(row)
}

func toAddress(a *db.Address) *graph.Address {
	if a == nil {
		return nil
	}
	return &graph.Address{
		Text: optional(&a.Text), Lines: append([]string{}, a.Lines...),
		City: optional(&a.City), District: optional(&a.District), State: optional(&a.State),
		PostalCode: optional(&a.PostalCode), Country: optional(&a.Country),
	}
}

// localContact shows to admins what a patient had here alone before it was linked; nil:
// the line of the journal was cleared by hand.
func localContact(row *db.Patient, v auth.Viewer) *graph.LinkedContact {
	if row == nil || v.Role != auth.RoleAdmin || !v.SeesRecord(row.ID) {
		return nil
	}
	return &graph.LinkedContact{Phone: optional(&row.Phone), Email: optional(&row.Email), Address: toAddress(row.Address)}
}

// emergencyContact is whom to call: who was recorded here goes before whom FHIR has.
func emergencyContact(row *db.Patient) *graph.EmergencyContact {
	c, source := row.EmergencyContact, graph.EmergencyContactSourceLocal
	if c == nil {
		c, source = row.FHIRContact, graph.EmergencyContactSourceFhir
	}
	if c == nil {
		return nil
	}
	return &graph.EmergencyContact{Name: c.Name, Relationship: optional(&c.Relationship), Phone: optional(&c.Phone), Source: source}
}

// survivor follows the records from the one that another was merged into (see
// fhir.Patient) to the one that is left, and returns its number; nil where the
// cache does not hold that one, or they lead round and round.
func (r *Resolver) survivor(ctx context.Context, mergedInto string) (*string, error) {
	for range maxMerges {
		id := fhir.LocalID(mergedInto, r.FHIRBase)
		if id == "" {
			return nil, nil
		}
		number, next, err := r.Store.MergedInto(ctx, id)
		switch {
		case errors.Is(err, db.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, err
		case next == "":
			return &number, nil
		}
		mergedInto = next
	}
	return nil, nil
}

// maxMerges bounds how far survivor goes.
const maxMerges = 50

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

// optional returns nil for a text that is empty, else the text itself, not a copy: the row is
// kept as long as what is made of it.
func optional(s *string) *string {
	if *s == "" {
		return nil
	}
	return s
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func optionalTime(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return t
}
