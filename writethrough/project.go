package writethrough

import (
	"encoding/json"
	"slices"

	"patientgraph/db"
	"patientgraph/fhir"
)

// State returns what the cache holds of a FHIR Patient.
func State(p fhir.Patient) db.FHIRState {
	return db.FHIRState{
		FamilyName:    p.FamilyName,
		GivenName:     p.GivenName,
		FullName:      p.FullName,
		BirthDate:     p.BirthDate,
		Gender:        p.Gender,
		Phone:         p.Contact.Phone,
		Email:         p.Contact.Email,
		Address:       cacheAddress(p.Contact.Address),
		FHIRVersionID: p.VersionID,
		FHIRUpdatedAt: p.LastUpdated,
	}
}

func cacheAddress(a *fhir.Address) *db.Address {
	if a == nil {
		return nil
	}
	return &db.Address{
		Text: a.Text, Lines: a.Lines, City: a.City, District: a.District,
		State: a.State, PostalCode: a.PostalCode, Country: a.Country,
	}
}

// withState returns a copy of row that shows st.
func withState(row db.Patient, st db.FHIRState) *db.Patient {
	row.FHIRState = st
	return &row
}

// differing returns the fields of the edit whose value in row is not the
// requested one.
func differing(row *db.Patient, e fhir.ContactEdit) []string {
	var fields []string
	if e.SetPhone && row.Phone != e.Phone {
		fields = append(fields, fhir.FieldPhone)
	}
	if e.SetEmail && row.Email != e.Email {
		fields = append(fields, fhir.FieldEmail)
	}
	if e.SetAddress && !sameAddress(row.Address, cacheAddress(e.Address)) {
		fields = append(fields, fhir.FieldAddress)
	}
	return fields
}

// moved tells whether one of the fields of the edit shows another value in
// shown than in row.
func moved(row *db.Patient, shown db.FHIRState, e fhir.ContactEdit) bool {
	return e.SetPhone && row.Phone != shown.Phone ||
		e.SetEmail && row.Email != shown.Email ||
		e.SetAddress && !sameAddress(row.Address, shown.Address)
}

func sameAddress(a, b *db.Address) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Text == b.Text && slices.Equal(a.Lines, b.Lines) && a.City == b.City &&
		a.District == b.District && a.State == b.State && a.PostalCode == b.PostalCode && a.Country == b.Country
}

// cachedValues puts the values of a row as a Patient holds them, for
// fhir.SecretsOf: also those that the FHIR server should not know.
func cachedValues(p *db.Patient) []byte {
	a, c := p.Address, p.EmergencyContact
	if a == nil {
		a = &db.Address{}
	}
	if c == nil {
		c = &db.EmergencyContact{}
	}
	text, _ := json.Marshal(map[string]any{ // strings always encode
		"id": p.FHIRID, "birthDate": p.BirthDate, "value": []string{p.ID, p.Phone, p.Email},
		"name": map[string]any{"family": p.FamilyName, "given": p.GivenName, "text": p.FullName},
		"address": map[string]any{"text": a.Text, "line": a.Lines, "city": a.City, "district": a.District,
			"state": a.State, "postalCode": a.PostalCode, "country": a.Country},
		"contact":   map[string]any{"name": map[string]any{"text": c.Name}, "note": c.Relationship, "value": c.Phone},
		"allergies": p.Allergies, "bloodType": p.BloodType,
	})
	return text
}
