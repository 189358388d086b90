package fhir

import "time"

// Address is the part of a FHIR Address (datatypes#Address) that PatientGraph
// reads and writes. Empty strings mean absent. The JSON form is for storage;
// it is not FHIR's.
type Address struct {
	Text       string   `json:"text,omitempty"`
	Lines      []string `json:"lines,omitempty"`
	City       string   `json:"city,omitempty"`
	District   string   `json:"district,omitempty"`
	State      string   `json:"state,omitempty"`
	PostalCode string   `json:"postalCode,omitempty"`
	Country    string   `json:"country,omitempty"`
}

// Contact holds the contact values of a Patient; empty or nil means absent.
type Contact struct {
	Phone   string   `json:"phone,omitempty"`
	Email   string   `json:"email,omitempty"`
	Address *Address `json:"address,omitempty"`
}

// ContactEdit says which contact values to change. A field whose Set flag is
// false stays as it is; a set field that is empty (nil for the address) is
// cleared.
type ContactEdit struct {
	SetPhone   bool     `json:"setPhone,omitempty"`
	Phone      string   `json:"phone,omitempty"`
	SetEmail   bool     `json:"setEmail,omitempty"`
	Email      string   `json:"email,omitempty"`
	SetAddress bool     `json:"setAddress,omitempty"`
	Address    *Address `json:"address,omitempty"`
	Clears     *Contact `json:"-"` // the values that clearing takes out; nil: those that are shown
}

// The names of the editable contact fields, as they appear in
// UpdatePatientContactInput.
const (
	FieldPhone   = "phone"
	FieldEmail   = "email"
	FieldAddress = "address"
)

// Fields lists the fields that the edit sets, in the order phone, email,
// address.
func (e ContactEdit) Fields() []string {
	var fields []string
	if e.SetPhone {
		fields = append(fields, FieldPhone)
	}
	if e.SetEmail {
		fields = append(fields, FieldEmail)
	}
	if e.SetAddress {
		fields = append(fields, FieldAddress)
	}
	return fields
}

// Clearings lists what the edit clears, each by itself.
func (e ContactEdit) Clearings() []ContactEdit {
	var list []ContactEdit
	if e.SetPhone && isBlank(e.Phone) {
		list = append(list, ContactEdit{SetPhone: true})
	}
	if e.SetEmail && isBlank(e.Email) {
		list = append(list, ContactEdit{SetEmail: true})
	}
	if e.SetAddress && (e.Address == nil || e.Address.withoutBlanks().empty()) {
		list = append(list, ContactEdit{SetAddress: true})
	}
	return list
}

// Patient holds the values of a FHIR Patient that PatientGraph shows. Empty
// strings and zero times mean absent.
type Patient struct {
	ID          string
	VersionID   string    // meta.versionId
	LastUpdated time.Time // meta.lastUpdated
	FamilyName  string
	GivenName   string // all given names, joined with a space
	FullName    string // name.text, else composed (no space between Hangul or Han parts)
	BirthDate   string // YYYY, YYYY-MM or YYYY-MM-DD
	Gender      string // FHIR code: male, female, other, unknown; "" when absent
	Identifiers []Identifier
	Contact     Contact
	Inactive    bool     // active is false
	Deceased    bool     // deceased[x] is true, or a time
	ReplacedBy  string   // whom it was merged into: a FHIR id, the URL of a Patient (see LocalID), or Nobody
	Replaces    []string // who was merged into it, likewise, without Nobody; not all of thousands
	Emergency   *EmergencyContact
	OtherNames  []Name   // current and former ones, the current first; not all of a thousand
	OtherPhones []string // every other number that can be dialled now (phone, sms, fax, pager); likewise
}

// EmergencyContact is an entry of Patient.contact: whom to call.
type EmergencyContact struct {
	Name         string
	Relationship string
	Phone        string
}

// Name is a HumanName of a Patient; an empty string means absent.
type Name struct {
	Family string
	Given  string // all given names, joined with a space
	Text   string
}

// Identifier is one entry of Patient.identifier.
type Identifier struct {
	System  string
	Value   string
	Use     string // usual, official, temp, secondary, old; "" when absent
	Current bool   // its use is not old, and its period has begun and is not over
}

// Resource is one Patient as the server sent it.
type Resource struct {
	ID   string
	ETag string // for If-Match: the ETag header as sent, or W/"versionId" where that cannot be sent back; "" when the server keeps no versions
	JSON []byte // the body, byte for byte

	Profile *Profile // how its server is written to; nil in a history
}
