package db

import (
	"cmp"
	"slices"
)

// The fields that callers change. A row keeps for each the version at which its
// value last changed: a change of one does not stand in the way of another's, and
// nor does what else changes in a row.
const (
	phoneField = iota
	emailField
	addressField
	emergencyContactField
	allergiesField
	bloodTypeField
	changeable // how many
)

// fieldNames are the names of the fields in the API.
var fieldNames = [changeable]string{"phone", "email", "address", "emergencyContact", "allergies", "bloodType"}

// fieldTexts are the values of the fields as text, to be compared.
func (p *Patient) fieldTexts() [changeable]string {
	contact := cmp.Or(p.EmergencyContact, p.FHIRContact)
	return [changeable]string{clean(p.Phone), clean(p.Email), toJSON(p.Address), toJSON(contact), toJSON(p.Allergies), p.BloodType}
}

// moveVersions gives the row's new version to the fields that are written with
// another value than the one stored. If an older program wrote the row before, the
// others count as changed by that.
func (p *Patient) moveVersions() {
	texts, known := p.fieldTexts(), p.versionsAsOf == p.Version-1
	for field := range texts {
		switch {
		case texts[field] != p.stored[field]:
			p.versions[field] = p.Version
		case !known:
			p.versions[field] = p.Version - 1
		}
	}
	p.stored, p.versionsAsOf = texts, p.Version
}

// ChangedSince returns which of these fields changed after the row had this
// version: all of them if it never had it, for nobody has seen them so. It needs
// every column of the row.
func (p *Patient) ChangedSince(version int64, fields []string) []string {
	neverWas := version < 1 || version > p.Version
	var changed []string
	for field, name := range fieldNames {
		at := p.versions[field]
		if p.versionsAsOf != p.Version { // an older program wrote the row, and did not say what
			at = p.Version
		}
		if slices.Contains(fields, name) && (neverWas || version < at) {
			changed = append(changed, name)
		}
	}
	return changed
}
