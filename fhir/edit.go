package fhir

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

const absentReason = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

// EditContact returns the Patient with the edit made in its bytes: all that
// was not asked to change stays byte for byte, and body itself comes back when
// nothing changes. It refuses (Unusable) what is no whole, unambiguous Patient.
//
// Phone and email: the entry that ContactOf shows gets the value and keeps the
// rest, also the extensions on its value, save a data-absent-reason, which a
// value contradicts. With none an entry with use mobile is appended. Clearing
// takes the entry out; the next one in order then becomes the phone.
//
// Address: Text alone replaces the text and takes the parts away, which would
// contradict it (FHIR datatypes#Address); the text that is already there
// changes nothing. Given parts, the address holds exactly those, and its text
// becomes the given Text, or is composed anew if there was one. A part that
// changes loses its "_" sibling, which describes the old value (the street
// name and house number within a line, say). Use, type, period and extensions
// stay. With no address one with use home is appended; a nil or empty Address
// takes the entry out. Blank strings count as empty everywhere, for FHIR knows
// no blank string.
func EditContact(body []byte, e ContactEdit, now time.Time) ([]byte, error) {
	if _, err := parsePatient(body); err != nil {
		return nil, unusable(OpEdit, err)
	}
	if e.SetPhone {
		body = editTelecom(body, "phone", e.Phone, now)
	}
	if e.SetEmail {
		body = editTelecom(body, "email", e.Email, now)
	}
	if e.SetAddress {
		body = editAddress(body, e.Address, now)
	}
	return body, nil
}

func editTelecom(body []byte, system, value string, now time.Time) []byte {
	telecom := listed(body, "telecom")
	i := pickTelecom(telecom, system, now)
	blank := strings.TrimSpace(value) == ""
	switch {
	case blank && i < 0:
		return body
	case blank:
		return removeEntry(body, "telecom", i)
	case i < 0:
		return appendEntry(body, "telecom",
			`{"system":`+quote(system)+`,"value":`+quote(value)+`,"use":"mobile"}`)
	case str(telecom[i], "value") == value:
		return body
	}
	entry := setMember([]byte(telecom[i].Raw), gjson.Parse(telecom[i].Raw), "value", quote(value))
	return replaceValue(body, telecom[i], string(dropAbsentReason(entry)))
}

func editAddress(body []byte, asked *Address, now time.Time) []byte {
	addresses := listed(body, "address")
	i := pickAddress(addresses, now)
	var want Address
	if asked != nil {
		want = asked.withoutBlanks()
	}
	switch {
	case want.empty() && i < 0:
		return body
	case want.empty():
		return removeEntry(body, "address", i)
	case i < 0:
		return appendEntry(body, "address", newAddress(want))
	}

	have := addressOf(addresses[i])
	if !want.hasParts() && want.Text == have.Text {
		return body
	}
	same := want.sameParts(have)
	if want.hasParts() && want.Text == "" {
		want.Text = have.Text
		if have.Text != "" && !same {
			want.Text = want.Compose()
		}
	}
	// The entry by itself: the body may be large.
	entry := []byte(addresses[i].Raw)
	if want.Text != have.Text {
		entry = setPart(entry, "text", quote(want.Text))
	}
	if !same {
		for _, name := range partNames {
			if raw := want.part(name); raw == "" || raw != have.part(name) {
				entry = setPart(entry, name, raw)
			}
		}
	}
	return replaceValue(body, addresses[i], string(entry))
}

// setPart sets a part of an address, or removes it when raw is "", and removes
// its "_" sibling.
func setPart(entry []byte, name, raw string) []byte {
	if raw == "" {
		entry = removeMember(entry, gjson.ParseBytes(entry), name)
	} else {
		entry = setMember(entry, gjson.ParseBytes(entry), name, raw)
	}
	return removeMember(entry, gjson.ParseBytes(entry), "_"+name)
}

func newAddress(a Address) string {
	var b strings.Builder
	b.WriteString(`{"use":"home"`)
	if a.Text != "" {
		b.WriteString(`,"text":` + quote(a.Text))
	}
	for _, name := range partNames {
		if raw := a.part(name); raw != "" {
			b.WriteString(`,` + quote(name) + `:` + raw)
		}
	}
	return b.String() + "}"
}

// listed lists the entries of a top-level array.
func listed(body []byte, name string) []gjson.Result {
	return elements(member(gjson.ParseBytes(body), name))
}

func appendEntry(body []byte, name, raw string) []byte {
	doc := gjson.ParseBytes(body)
	if list := member(doc, name); list.IsArray() {
		return appendChild(body, list, raw)
	}
	return setMember(body, doc, name, "["+raw+"]")
}

// removeEntry takes out one entry of a top-level array, and with the last one
// the array, for FHIR knows no empty arrays.
func removeEntry(body []byte, name string, i int) []byte {
	doc := gjson.ParseBytes(body)
	list := member(doc, name)
	if len(elements(list)) == 1 {
		return removeMember(body, doc, name)
	}
	return removeChild(body, list, i)
}

// dropAbsentReason takes the data-absent-reason off an entry's value, and what
// would stay empty without it.
func dropAbsentReason(entry []byte) []byte {
	point := gjson.ParseBytes(entry)
	sibling := member(point, "_value")
	extensions := member(sibling, "extension")
	list := elements(extensions)
	i := slices.IndexFunc(list, func(e gjson.Result) bool { return str(e, "url") == absentReason })
	switch {
	case i < 0:
		return entry
	case len(list) > 1:
		return removeChild(entry, extensions, i)
	case len(children(sibling)) > 1:
		return removeMember(entry, sibling, "extension")
	}
	return removeMember(entry, point, "_value")
}
