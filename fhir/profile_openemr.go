package fhir

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// openEMR is OpenEMR 7.0.3 to 8.1. It merges a PUT by column, and fails over what its
// own GET shows: it is sent only what changes. Its version is "1" for ever.
var openEMR = &Profile{
	Name: "openemr", Versioning: VersionsNever, ReadsBack: true, partial: true, pagesByOffset: true,
	countHidesAll: true, // 7.0.3
	methods:       []method{byDay},
	Limits: []string{
		"OpenEMR stores no district, country or second line of an address",
		"no patient without gender and full birth date can be changed",
	},
	edit: editOpenEMR, strip: withoutPeriodStart,
	SettleTimeouts: 8, // 80 s unless set otherwise: MariaDB lets a statement wait 50 s for a row
}

// maxOpenEMRColumn is the length of its columns in characters; what is longer is cut
// without a word.
const maxOpenEMRColumn = 255

// openEMRUses are the uses of a ContactPoint that have a column. An email of another
// use is stored too, but shown with use home.
var openEMRUses = map[string][]string{FieldPhone: {"home", "mobile", "work"}, FieldEmail: {"home", "mobile"}}

// How OpenEMR is known by what it shows, beside the version "1" without an ETag: its
// address, or a code system that stands where an identifier's system should.
var openEMRPath = regexp.MustCompile(`/apis/[^/]+/fhir/?$`)

func hasOpenEMRNumber(doc gjson.Result) bool {
	return slices.ContainsFunc(elements(member(doc, "identifier")), func(identifier gjson.Result) bool {
		return str(identifier, "system") == "http://terminology.hl7.org/CodeSystem/v2-0203"
	})
}

// editOpenEMR sends resourceType, gender, birthDate, and the entries that change.
func editOpenEMR(body []byte, e ContactEdit, now time.Time, region string) (Edited, error) {
	doc, err := parsePatient(body)
	if err != nil {
		return Edited{}, unusable(OpEdit, err)
	}
	var cannot cannotApply
	edit := e
	if e.SetAddress {
		edit.Address = cannot.address(doc, e.Address, now)
	}
	record, _, err := EditContact(body, edit, now, region) // what no PUT touches is nothing to doubt
	if err != nil || bytes.Equal(record, body) && len(cannot) == 0 {
		return Edited{Record: body}, err
	}
	gender, birthDate := cannot.identity(doc)
	clears := e.Clears
	if clears == nil {
		shown := contactOf(doc, now)
		clears = &shown
	}
	var telecom []string
	if e.SetPhone {
		telecom = append(telecom, cannot.telecom(doc, FieldPhone, e.Phone, clears.Phone, now, region)...)
	}
	if e.SetEmail {
		telecom = append(telecom, cannot.telecom(doc, FieldEmail, e.Email, clears.Email, now, region)...)
	}
	if len(cannot) > 0 {
		return Edited{}, cannot.error()
	}
	sent := `{"resourceType":"Patient","gender":` + quote(gender) + `,"birthDate":` + quote(birthDate)
	if len(telecom) > 0 {
		sent += `,"telecom":[` + strings.Join(telecom, ",") + `]`
	}
	if e.SetAddress && changesAddress(body, record, now) {
		sent += `,"address":[` + openEMRAddress(edit.Address) + `]`
	}
	return Edited{Record: record, Body: []byte(sent + "}")}, nil
}

func changesAddress(was, is []byte, now time.Time) bool {
	before, after := contactOf(gjson.ParseBytes(was), now), contactOf(gjson.ParseBytes(is), now)
	return !sameAddress(before.Address, after.Address, Address.equal)
}

// openEMRAddress has all four parts, for each that is left out would be blanked. Line 2,
// district and country are never written.
func openEMRAddress(a *Address) string {
	var want Address
	if a != nil {
		want = *a
	}
	line := ""
	if len(want.Lines) > 0 {
		line = want.Lines[0]
	}
	return `{"use":"home","line":[` + quote(line) + `],"city":` + quote(want.City) +
		`,"state":` + quote(want.State) + `,"postalCode":` + quote(want.PostalCode) + `}`
}

// cannotApply collects why an edit cannot be made.
type cannotApply []Issue

func (c *cannotApply) add(path, reason string) {
	*c = append(*c, Issue{Severity: "error", Code: "not-supported", Message: reason, Expression: []string{path}})
}

func (c cannotApply) error() error {
	return &Error{Kind: CannotApply, Op: OpEdit, NotAsked: true, Reason: c[0].Message, Issues: c}
}

// identity returns what every PUT must hold besides the change: the patient's sex in
// the clinic's own word, for it is stored as sent, and the day of birth. Nothing is
// made up.
func (c *cannotApply) identity(doc gjson.Result) (gender, birthDate string) {
	switch gender = str(doc, "gender"); gender {
	case "male", "female":
		// The clinic's screens store Male and Female. Where the birth sex of such a
		// patient is unknown, it stores the word as FHIR writes it (until 7.0.4).
		if birthSex(doc) != "UNK" {
			gender = strings.ToUpper(gender[:1]) + gender[1:]
		}
	case "":
		c.add("Patient.gender", "OpenEMR takes no change of a patient whose gender is not entered; enter it in OpenEMR first")
	default:
		c.add("Patient.gender", "OpenEMR takes no change of a patient whose gender is neither male nor female without overwriting what the clinic has entered")
	}
	birthDate = str(doc, "birthDate")
	if _, err := time.Parse(time.DateOnly, birthDate); err != nil {
		c.add("Patient.birthDate", "OpenEMR takes no change of a patient whose full birth date is not entered; enter it in OpenEMR first")
	}
	return gender, birthDate
}

func birthSex(doc gjson.Result) string {
	for _, extension := range elements(member(doc, "extension")) {
		if strings.HasSuffix(str(extension, "url"), "/us-core-birthsex") {
			return str(extension, "valueCode")
		}
	}
	return ""
}

// telecom returns the entries that set a phone or an email. Clearing is an entry
// without a value, one for each column that holds the value to clear.
func (c *cannotApply) telecom(doc gjson.Result, system, value, clears string, now time.Time, region string) []string {
	list := elements(member(doc, "telecom"))
	path := "Patient.telecom.where(system='" + system + "')"
	if isBlank(value) {
		value = ""
		list = slices.DeleteFunc(slices.Clone(list), func(entry gjson.Result) bool {
			p := pointOf(entry)
			return clears == "" || p.system != system || !SameValue(system, Contact{Phone: p.value, Email: p.value}, Contact{Phone: clears, Email: clears}, region)
		})
	} else {
		if why := unstored(value); why != "" {
			c.add(path, why)
			return nil
		}
		switch i := pickTelecom(list, system, now); {
		case i >= 0 && str(list[i], "value") == value:
			return nil
		case i >= 0:
			list = list[i : i+1]
		default:
			list = []gjson.Result{gjson.Parse(`{"use":"` + map[string]string{FieldPhone: "mobile", FieldEmail: "home"}[system] + `"}`)}
		}
	}
	var entries []string
	for _, entry := range list {
		use := str(entry, "use")
		if !slices.Contains(openEMRUses[system], use) {
			c.add(path, "OpenEMR stores a "+system+" of use home, mobile or work only, and this one is of another")
			return nil
		}
		entries = append(entries, `{"system":`+quote(system)+`,"use":`+quote(use)+`,"value":`+quote(value)+`}`)
	}
	return entries
}

// unstored says why OpenEMR would not keep a value; "": it would.
func unstored(value string) string {
	switch {
	case utf8.RuneCountInString(value) > maxOpenEMRColumn:
		return "OpenEMR stores no value of more than 255 characters"
	case value == "0", value == "YYYY-MM-DD", value == "MM/DD/YYYY": // PHP's empty(), and what its forms show for no date
		return "OpenEMR takes the value " + value + " for none"
	}
	return ""
}

// address returns the address as the record will show it: what OpenEMR does not write
// stays. It may stay only where that is what was asked for, or where nothing was said
// and it still holds: a country, and a district in the same place.
func (c *cannotApply) address(doc gjson.Result, asked *Address, now time.Time) *Address {
	const path = "Patient.address"
	var have, want Address
	if list := elements(member(doc, "address")); len(list) > 0 {
		if i := pickAddress(list, now); i >= 0 {
			have = addressOf(list[i])
			if kind := str(list[i], "type"); kind != "" && kind != "both" { // as the patient's own is
				c.add(path, "OpenEMR shows an additional address of the patient, which a PUT does not change; change it in OpenEMR")
				return asked
			}
		}
	}
	if asked != nil {
		want = asked.withoutBlanks()
	}
	if want.empty() {
		if len(have.Lines) > 1 || have.District != "" || have.Country != "" {
			c.add(path, "OpenEMR cannot clear an address that has a second line, a district or a country; clear these in OpenEMR")
		}
		return nil
	}
	if want.Text != "" {
		if !want.hasParts() {
			c.add(path+".text", "OpenEMR stores no address as text; give lines, city, state and postalCode")
			return asked
		}
		// A text that says what the parts say is no value of its own.
		plain := want
		plain.Text = ""
		if textForm(want.Text, false) != textForm(plain.Compose(), false) {
			c.add(path+".text", "OpenEMR stores no text of an address beside its parts")
		}
		want.Text = ""
	}
	same := func(a, b Address) bool {
		return SameValue(FieldAddress, Contact{Address: &a}, Contact{Address: &b}, "")
	}
	place := func(a Address) Address { return Address{City: a.City, State: a.State, PostalCode: a.PostalCode} }
	if want.District == "" && same(place(want), place(have)) || same(Address{District: want.District}, Address{District: have.District}) {
		want.District = have.District
	} else {
		c.add(path+".district", "OpenEMR does not let the district of an address be changed or removed")
	}
	if want.Country == "" || same(Address{Country: want.Country}, Address{Country: have.Country}) {
		want.Country = have.Country
	} else {
		c.add(path+".country", "OpenEMR does not let the country of an address be changed")
	}
	second := func(a Address) (rest []string) {
		if len(a.Lines) > 1 {
			rest = a.Lines[1:]
		}
		return rest
	}
	if !slices.Equal(second(want), second(have)) {
		c.add(path+".line", "OpenEMR does not let the second line of an address be changed or removed")
	}
	for _, part := range []struct{ name, value string }{
		{"line", strings.Join(want.Lines[:min(1, len(want.Lines))], "")}, {"city", want.City}, {"state", want.State}, {"postalCode", want.PostalCode},
	} {
		if why := unstored(part.value); why != "" {
			c.add(path+"."+part.name, why)
		}
	}
	return &want
}

// withoutPeriodStart takes out when an address began: it is when the row was last
// written, by a clock that may be ahead of ours, or a year before the read. As
// content it would move by itself, and hide an address that has just been written.
func withoutPeriodStart(body []byte) []byte {
	addresses := member(gjson.ParseBytes(body), "address")
	var entries []string
	found := false
	for _, entry := range elements(addresses) {
		raw := []byte(entry.Raw)
		if period := member(gjson.ParseBytes(raw), "period"); member(period, "start").Exists() {
			found = true
			p := []byte(period.Raw)
			if p = removeMember(p, gjson.ParseBytes(p), "start"); len(children(gjson.ParseBytes(p))) > 0 {
				raw = replaceValue(raw, period, string(p))
			} else {
				raw = removeMember(raw, gjson.ParseBytes(raw), "period")
			}
		}
		entries = append(entries, string(raw))
	}
	if !found {
		return body
	}
	return replaceValue(body, addresses, "["+strings.Join(entries, ",")+"]")
}
