package apptest

import (
	"fmt"

	"patientgraph/fhir/fhirsim"
)

// The patients of a System: Number is a1 on the FHIR server, LocalNumber is in the
// cache alone.
const (
	Number      = "P-2025-000001"
	LocalNumber = "P-2025-000002"
)

// OldPhone is the phone of every PatientJSON, NewPhone another one.
const (
	OldPhone = "010-1111-2222"
	NewPhone = "010-9876-5432"
)

// PatientJSON is a FHIR Patient with everything that must survive an edit.
func PatientJSON(fhirID, number string) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"extension":[{"url":"http://example.org/score","valueDecimal":0.05000}],"identifier":[{"system":%q,"value":%q}],"name":[{"use":"official","text":"홍길동","family":"홍","given":["길동"]}],"telecom":[{"system":"fax","value":"02-111-2222"},{"system":"phone","value":"010-1111-2222","use":"mobile"},{"system":"email","value":"old@example.org","use":"home"}],"gender":"male","birthDate":"1990-05","_birthDate":{"extension":[{"url":"http://example.org/source","valueString":"passport"}]},"address":[{"use":"home","line":["1 Main St"],"city":"Seoul","postalCode":"04524","country":"KR"}],"unknownElement":{"kept":true}}`,
		fhirID, fhirsim.DemoIdentifierSystem, number)
}

// PatientFields is every field of Patient.
const PatientFields = `id familyName givenName fullName birthDate birthYear gender phone email
  address { text lines city district state postalCode country }
  emergencyContact { name relationship phone source } allergies bloodType active deceased replacedBy
  fhirId isSynced lastSyncedAt syncState version createdAt updatedAt`

// PatientQuery asks for every field of the patient $id.
const PatientQuery = `query($id: ID!) { patient(id: $id) { ` + PatientFields + ` } }`

// Patient returns every field of a patient; nil when there is none to see.
func (c *Client) Patient(number string) Object {
	c.T.Helper()
	found, _ := c.Query(PatientQuery, Object{"id": number})["patient"].(map[string]any)
	return found
}

// Contact is what of a patient is compared with the FHIR server.
type Contact struct{ Phone, Email string }

// Seen is a patient as the cache shows it.
type Seen struct {
	Contact
	State, Version string
}

// Read returns a patient's contact. An error means that no answer came.
func (c *Client) Read(number string) (Seen, error) {
	c.T.Helper()
	data, err := c.Call(`query($id: ID!) { patient(id: $id) { phone email syncState version } }`, Object{"id": number})
	if err != nil {
		return Seen{}, err
	}
	text := func(field string) string { s, _ := data.At("patient", field).(string); return s }
	return Seen{Contact{text("phone"), text("email")}, text("syncState"), text("version")}, nil
}

// WantRead fails unless the cache has this phone and syncState.
func (c *Client) WantRead(number, phone, state string) {
	c.T.Helper()
	if now, err := c.Read(number); err != nil || now.Phone != phone || now.State != state {
		c.T.Errorf("the cache has %v (%v), want %s %s", now, err, phone, state)
	}
}
