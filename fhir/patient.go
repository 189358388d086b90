package fhir

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

const (
	// maxShown bounds what one record shows: a page of 200 must fit into memory.
	maxShown = 64 << 10
	// maxIdentifiers bounds the identifiers, with the string headers of each. Real
	// Patients have a dozen of a hundred bytes. None is left out on the quiet, for
	// each may be the hospital's number.
	maxIdentifiers   = 64 << 10
	identifierHeader = 3 * 16
)

var (
	errShowsTooMuch    = errors.New("holds more than 64 KiB of names and contact values")
	errManyIdentifiers = errors.New("holds more than 64 KiB of identifiers")
)

// ParsePatient reads the values that PatientGraph shows. It refuses (Unusable)
// what is no whole, unambiguous Patient, and one that shows more than 64 KiB or
// has more than 64 KiB of identifiers. A value inside it that is no FHIR value (a
// birthDate 14/11/1949) counts as absent. An id is not required.
func ParsePatient(body []byte, now time.Time) (Patient, error) {
	p, _, err := readPatient(body, now)
	return p, err
}

// ParsePatientAsOf is ParsePatient, and ContactOf at another time, of a body that is read once.
func ParsePatientAsOf(body []byte, now, then time.Time) (Patient, Contact, error) {
	p, doc, err := readPatient(body, now)
	if err != nil {
		return Patient{}, Contact{}, err
	}
	var shown shown
	c := shown.keepContact(contactOf(doc, then))
	if shown.size > maxShown {
		return Patient{}, Contact{}, unusable(OpParse, errShowsTooMuch)
	}
	return p, c, nil
}

func readPatient(body []byte, now time.Time) (Patient, gjson.Result, error) {
	doc, err := parsePatient(body)
	if err != nil {
		return Patient{}, doc, unusable(OpParse, err)
	}
	meta := member(doc, "meta")
	var shown shown
	p := Patient{
		ID:        shown.keep(str(doc, "id")),
		VersionID: shown.keep(str(meta, "versionId")),
		BirthDate: shown.keep(birthDate(str(doc, "birthDate"))),
		Gender:    shown.keep(gender(str(doc, "gender"))),
		Contact:   shown.keepContact(contactOf(doc, now)),
		Inactive:  member(doc, "active").Type == gjson.False, Deceased: deceased(doc), ReplacedBy: shown.keep(replacedBy(doc)),
	}
	if c := emergencyContact(doc, now); c != nil {
		p.Emergency = &EmergencyContact{shown.keep(c.Name), shown.keep(c.Relationship), shown.keep(c.Phone)}
	}
	if t, err := time.Parse(time.RFC3339, str(meta, "lastUpdated")); err == nil {
		p.LastUpdated = t
	}
	names := namesOf(doc, now)
	if len(names) > 0 {
		p.FamilyName, p.GivenName = shown.keep(names[0].Family), shown.keep(names[0].Given)
		p.FullName = shown.keep(cmp.Or(names[0].Text, fullName(p.FamilyName, p.GivenName)))
	}
	for _, id := range elements(member(doc, "identifier")) {
		if value := str(id, "value"); value != "" {
			use := str(id, "use")
			p.Identifiers = append(p.Identifiers, Identifier{
				System: str(id, "system"), Value: value, Use: use,
				Current: use != "old" && holds(member(id, "period"), now),
			})
		}
	}
	if shown.size > maxShown {
		return Patient{}, doc, unusable(OpParse, errShowsTooMuch)
	}
	p.keepOthers(names, phonesOf(doc, now))
	p.Replaces = replaces(doc)
	if err := p.keepIdentifiers(); err != nil {
		return Patient{}, doc, unusable(OpParse, err)
	}
	return p, doc, nil
}

// shown counts what one record shows and copies it out of the body, which it
// would keep in memory otherwise. Of one that shows too much it copies no more.
type shown struct{ size int }

func (s *shown) keep(text string) string {
	if s.size += len(text); s.size > maxShown {
		return ""
	}
	return strings.Clone(text)
}

func (s *shown) keepContact(c Contact) Contact {
	c.Phone, c.Email = s.keep(c.Phone), s.keep(c.Email)
	if a := c.Address; a != nil {
		for _, text := range []*string{&a.Text, &a.City, &a.District, &a.State, &a.PostalCode, &a.Country} {
			*text = s.keep(*text)
		}
		s.size += 3 * len(a.Lines) // the cache keeps them as JSON
		for i, line := range a.Lines {
			a.Lines[i] = s.keep(line)
		}
	}
	return c
}

// Bounds of what is searched beside what is shown. Real Patients have a few names
// and numbers; of one with thousands the first are searched.
const (
	maxOthers = 8 << 10 // bytes of all names, and of all numbers
	maxOther  = 256     // bytes of one number, or of a part of a name
)

// keepOthers copies the names and numbers that are not shown out of the body.
func (p *Patient) keepOthers(names []Name, phones []string) {
	size := 0
	for _, n := range names[min(1, len(names)):] {
		n = Name{beginning(n.Family, maxOther), beginning(n.Given, maxOther), beginning(n.Text, maxOther)}
		if size += len(n.Family) + len(n.Given) + len(n.Text); size > maxOthers {
			break
		}
		p.OtherNames = append(p.OtherNames, Name{strings.Clone(n.Family), strings.Clone(n.Given), strings.Clone(n.Text)})
	}
	size = 0
	for _, phone := range phones {
		if len(phone) > maxOther || phone == p.Contact.Phone {
			continue // so much is no number
		}
		if size += len(phone); size > maxOthers {
			break
		}
		p.OtherPhones = append(p.OtherPhones, strings.Clone(phone))
	}
}

// beginning is what of a text fits into so many bytes.
func beginning(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

// keepIdentifiers copies the identifiers out of the body, unless they are too many.
func (p *Patient) keepIdentifiers() error {
	size := 0
	for _, id := range p.Identifiers {
		size += len(id.System) + len(id.Value) + len(id.Use) + identifierHeader
	}
	if size > maxIdentifiers {
		return errManyIdentifiers
	}
	for i, id := range p.Identifiers {
		id.System, id.Value, id.Use = strings.Clone(id.System), strings.Clone(id.Value), strings.Clone(id.Use)
		p.Identifiers[i] = id
	}
	return nil
}

// fullName composes "Jim Chalmers", but 홍길동: names in Hangul or Han put the
// family first and no space between.
func fullName(family, given string) string {
	if joined := strings.ReplaceAll(given, " ", ""); isEastAsian(family) && isEastAsian(joined) {
		return family + joined
	}
	return strings.TrimSpace(given + " " + family)
}

func birthDate(s string) string {
	for _, p := range partialDates {
		if _, err := time.Parse(p.layout, s); err == nil {
			return s
		}
	}
	return ""
}

// gender keeps FHIR's codes; OpenEMR 7.0 shows its own "unk" for unknown.
func gender(s string) string {
	switch s = strings.ToLower(s); s {
	case "male", "female", "other", "unknown":
		return s
	case "unk":
		return "unknown"
	}
	return ""
}
