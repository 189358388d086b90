package record

import (
	"encoding/json"
	"slices"
	"strings"

	"patientgraph/db"
	"patientgraph/fhir"
)

// New returns a FHIR Patient as it enters the cache. Its number is the current
// identifier of numberSystem ("" = none is); the others of that system are aliases.
func New(p fhir.Patient, numberSystem string) db.NewPatient {
	n := db.NewPatient{FHIRID: p.ID, State: State(p), NumberSystem: numberSystem}
	chosen := number(p.Identifiers, numberSystem)
	for i, id := range p.Identifiers {
		value := strings.TrimSpace(id.Value)
		switch {
		case i == chosen:
			n.Number = value
		case value != "":
			n.Identifiers = append(n.Identifiers, db.Identifier{
				System: id.System, Value: value, Alias: numberSystem != "" && id.System == numberSystem,
			})
		}
	}
	return n
}

// numberUses ranks Identifier.use where several numbers are current: the most
// trusted one first, one that is temporary last (FHIR R4, identifier-use).
var numberUses = []string{"official", "usual", "", "secondary", "temp"}

// number returns which identifier is the patient number, -1 if none is.
func number(identifiers []fhir.Identifier, system string) int {
	best, bestRank := -1, len(numberUses)+1
	for i, id := range identifiers {
		if system == "" || id.System != system || !id.Current || strings.TrimSpace(id.Value) == "" {
			continue
		}
		rank := slices.Index(numberUses, id.Use)
		if rank < 0 {
			rank = len(numberUses)
		}
		if rank < bestRank {
			best, bestRank = i, rank
		}
	}
	return best
}

// State returns what a row shows of a FHIR Patient.
func State(p fhir.Patient) db.FHIRState {
	return db.FHIRState{
		FamilyName:    p.FamilyName,
		GivenName:     p.GivenName,
		FullName:      p.FullName,
		BirthDate:     p.BirthDate,
		Gender:        p.Gender,
		Phone:         p.Contact.Phone,
		Email:         p.Contact.Email,
		Address:       address(p.Contact.Address),
		FHIRVersionID: p.VersionID,
		FHIRUpdatedAt: p.LastUpdated,
	}
}

func address(a *fhir.Address) *db.Address {
	if a == nil {
		return nil
	}
	cached := db.Address(*a)
	return &cached
}

// Edit returns a contact edit as it changes a row that FHIR does not have.
func Edit(e fhir.ContactEdit) db.ContactEdit {
	return db.ContactEdit{
		SetPhone: e.SetPhone, Phone: e.Phone, SetEmail: e.SetEmail, Email: e.Email,
		SetAddress: e.SetAddress, Address: address(e.Address),
	}
}

// Unmet returns the fields of the edit that are not shown as it asks.
func Unmet(shown db.FHIRState, e fhir.ContactEdit) []string {
	return Differing(shown, db.FHIRState{Phone: e.Phone, Email: e.Email, Address: address(e.Address)}, e)
}

// Differing returns the fields of the edit that a shows otherwise than b.
func Differing(a, b db.FHIRState, e fhir.ContactEdit) []string {
	var fields []string
	if e.SetPhone && a.Phone != b.Phone {
		fields = append(fields, fhir.FieldPhone)
	}
	if e.SetEmail && a.Email != b.Email {
		fields = append(fields, fhir.FieldEmail)
	}
	if e.SetAddress && !sameAddress(a.Address, b.Address) {
		fields = append(fields, fhir.FieldAddress)
	}
	return fields
}

// Same reports whether two versions of a Patient show the same.
func Same(a, b db.FHIRState) bool {
	if !sameAddress(a.Address, b.Address) {
		return false
	}
	a.Address, a.FHIRVersionID, a.FHIRUpdatedAt = b.Address, b.FHIRVersionID, b.FHIRUpdatedAt
	return a == b
}

func sameAddress(a, b *db.Address) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Text == b.Text && slices.Equal(a.Lines, b.Lines) && a.City == b.City &&
		a.District == b.District && a.State == b.State && a.PostalCode == b.PostalCode && a.Country == b.Country
}

// Resource puts the values of a row as a FHIR resource holds them, for
// fhir.SecretsOf: also those that the FHIR server should not know.
func Resource(row *db.Patient) []byte {
	var a db.Address
	if row.Address != nil {
		a = *row.Address
	}
	var c db.EmergencyContact
	if row.EmergencyContact != nil {
		c = *row.EmergencyContact
	}
	text, _ := json.Marshal(map[string]any{ // strings always encode
		"id": row.FHIRID, "birthDate": row.BirthDate, "value": []string{row.ID, row.Phone, row.Email},
		"name": map[string]any{"family": row.FamilyName, "given": row.GivenName, "text": row.FullName},
		"address": map[string]any{"text": a.Text, "line": a.Lines, "city": a.City, "district": a.District,
			"state": a.State, "postalCode": a.PostalCode, "country": a.Country},
		"contact":   map[string]any{"name": map[string]any{"text": c.Name}, "note": c.Relationship, "value": c.Phone},
		"allergies": row.Allergies, "bloodType": row.BloodType,
	})
	return text
}
