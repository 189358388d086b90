package record

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"patientgraph/db"
	"patientgraph/fhir"
)

// New returns a FHIR Patient as it enters the cache. Its number is the current
// identifier of numberSystem ("" = none is); the others of that system are aliases.
func New(p fhir.Patient, numberSystem string) db.NewPatient {
	n := db.NewPatient{FHIRID: p.ID, Replaces: p.Replaces, State: State(p), NumberSystem: numberSystem}
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
		Inactive:      p.Inactive,
		Deceased:      p.Deceased,
		ReplacedBy:    p.ReplacedBy,
		FHIRContact:   (*db.EmergencyContact)(p.Emergency),
		OtherNames:    otherNames(p.OtherNames),
		OtherPhones:   p.OtherPhones,
		FHIRVersionID: p.VersionID,
		FHIRUpdatedAt: p.LastUpdated,
	}
}

func otherNames(names []fhir.Name) (cached []db.Name) {
	for _, n := range names {
		cached = append(cached, db.Name(n))
	}
	return cached
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

// Same reports whether two versions of a Patient show the same. What is searched
// only is not compared: a server may store the other numbers in a form of its own.
func Same(a, b db.FHIRState) bool {
	if !sameAddress(a.Address, b.Address) || (a.FHIRContact == nil) != (b.FHIRContact == nil) ||
		a.FHIRContact != nil && *a.FHIRContact != *b.FHIRContact {
		return false
	}
	a.FHIRContact = b.FHIRContact
	a.Address, a.FHIRVersionID, a.FHIRUpdatedAt = b.Address, b.FHIRVersionID, b.FHIRUpdatedAt
	a.OtherNames, a.OtherPhones = b.OtherNames, b.OtherPhones
	return reflect.DeepEqual(a, b)
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
	var contacts []any
	for _, c := range []*db.EmergencyContact{row.EmergencyContact, row.FHIRContact} {
		if c != nil {
			contacts = append(contacts, map[string]any{"name": map[string]any{"text": c.Name}, "note": c.Relationship, "value": c.Phone})
		}
	}
	names := []map[string]any{}
	for _, n := range append([]db.Name{{Family: row.FamilyName, Given: row.GivenName, Text: row.FullName}}, row.OtherNames...) {
		names = append(names, map[string]any{"family": n.Family, "given": n.Given, "text": n.Text})
	}
	text, _ := json.Marshal(map[string]any{ // strings always encode
		"id": row.FHIRID, "birthDate": row.BirthDate, "value": append([]string{row.ID, row.Phone, row.Email}, row.OtherPhones...),
		"name": names,
		"address": map[string]any{"text": a.Text, "line": a.Lines, "city": a.City, "district": a.District,
			"state": a.State, "postalCode": a.PostalCode, "country": a.Country},
		"contact": contacts, "link": row.ReplacedBy,
		"allergies": row.Allergies, "bloodType": row.BloodType,
	})
	return text
}
