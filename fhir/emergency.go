package fhir

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// contactRole is HL7's table 0131, as R4, STU3 and CDA name it; its codes C and EP are
// an emergency contact. A code without a system is taken for one of this table, which is
// the one that FHIR binds relationship to.
var contactRole = []string{
	"http://terminology.hl7.org/CodeSystem/v2-0131", "http://hl7.org/fhir/v2/0131", "urn:oid:2.16.840.1.113883.18.58",
}

// emergencyContact finds whom Patient.contact says to call in an emergency: the first
// current one with a phone, else the first with a name; nil: none. One without a name
// is called by what it is to the patient, or by its number.
func emergencyContact(doc gjson.Result, now time.Time) *EmergencyContact {
	var found *EmergencyContact
	for _, entry := range elements(member(doc, "contact")) {
		relationship := elements(member(entry, "relationship"))
		if !slices.ContainsFunc(relationship, isEmergency) || !holds(member(entry, "period"), now) {
			continue
		}
		c := EmergencyContact{Name: contactName(entry), Relationship: relationshipWords(relationship)}
		telecom := elements(member(entry, "telecom"))
		if i := pickTelecom(telecom, "phone", now); i >= 0 {
			c.Phone = words(telecom[i], "value")
		}
		if c.Phone == "" && (c.Name == "" || found != nil) {
			continue
		}
		c.Name = cmp.Or(c.Name, c.Relationship, c.Phone)
		if found = &c; c.Phone != "" {
			break
		}
	}
	return found
}

// contactName is a person's name, else that of the organization.
func contactName(entry gjson.Result) string {
	name := member(entry, "name")
	return cmp.Or(words(name, "text"), strings.TrimSpace(fullName(words(name, "family"), strings.Join(strs(member(name, "given")), " "))),
		words(member(entry, "organization"), "display"))
}

// words is a text without the blanks around it.
func words(object gjson.Result, name string) string {
	return strings.TrimFunc(str(object, name), blank)
}

// isEmergency reports whether a CodeableConcept says that this is an emergency contact.
func isEmergency(concept gjson.Result) bool {
	return slices.ContainsFunc(elements(member(concept, "coding")), isEmergencyCode)
}

func isEmergencyCode(coding gjson.Result) bool {
	code := str(coding, "code")
	system, _, _ := strings.Cut(str(coding, "system"), "|") // some put the version behind it
	return (code == "C" || code == "EP") && (system == "" || slices.Contains(contactRole, system))
}

// relationshipWords says what the contact is to the patient. That it is an emergency
// contact is said only where nothing else is.
func relationshipWords(relationship []gjson.Result) string {
	var other, own, role string
	for _, concept := range relationship {
		said := &other
		if isEmergency(concept) {
			said = &own
		}
		*said = cmp.Or(*said, words(concept, "text"))
		for _, coding := range elements(member(concept, "coding")) {
			if display := words(coding, "display"); isEmergencyCode(coding) {
				role = cmp.Or(role, display)
			} else {
				*said = cmp.Or(*said, display)
			}
		}
	}
	return cmp.Or(other, own, role)
}
