package fhir

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// EditContact returns the Patient with the edit made in its bytes: all that
// neither was asked to change nor describes a value that changes stays byte for
// byte, and body itself comes back when nothing changes. It refuses (Unusable)
// what is no whole, unambiguous Patient.
//
// Phone and email: the entry that ContactOf shows gets the value. With none one
// is appended, a phone with use mobile, an email without use. Clearing takes the
// entry out and every other one with the same value, in whatever form; the next one
// in order then becomes the phone. Where Clears says what it was, that is taken out,
// whatever comes first by now.
//
// Address: Text alone replaces the text and takes the parts away, which would
// contradict it (FHIR datatypes#Address); the text that is already there
// changes nothing. Given parts, the address holds exactly those, and its text
// becomes the given Text, or is composed anew if there was one. With no address
// one with use home is appended, or a home address of blanks is filled; a nil or
// empty Address takes the entry out, and others with the same value. Strings that
// show nothing count as empty everywhere, for FHIR knows no blank string.
//
// What described an old value goes with it: the "_" sibling of the value and of
// each part that changes, the entry's valueExtensions, a generated narrative that
// shows it; a period.start becomes now's day. A part of the address that stays
// keeps its sibling, and use, type, rank, period.end and other extensions stay.
// An address that only gains a text has not changed. Doubts names what may be
// out of date.
func EditContact(body []byte, e ContactEdit, now time.Time, region string) ([]byte, Doubts, error) {
	if _, err := parsePatient(body); err != nil {
		return nil, Doubts{}, unusable(OpEdit, err)
	}
	c := editor{now: now, region: region}
	var clears Contact
	switch {
	case e.Clears != nil:
		clears = *e.Clears
	case len(e.Clearings()) > 0:
		clears = contactOf(gjson.ParseBytes(body), now)
	}
	if e.SetPhone {
		body = c.telecom(body, FieldPhone, e.Phone, clears.Phone)
	}
	if e.SetEmail {
		body = c.telecom(body, FieldEmail, e.Email, clears.Email)
	}
	if e.SetAddress {
		body = c.address(body, e.Address, clears.Address)
	}
	body, c.doubts.Narrative = refreshNarrative(body, c.gone)
	return body, c.doubts, nil
}

// editor edits one Patient.
type editor struct {
	now    time.Time
	region string   // where numbers are dialled, see SameValue
	gone   []string // the values that the edit took away
	doubts Doubts
}

// telecom sets a value, or takes out the one to clear.
func (c *editor) telecom(body []byte, system, value, clears string) []byte {
	telecom := listed(body, "telecom")
	if isBlank(value) {
		return c.removePoints(body, system, clears)
	}
	i := pickTelecom(telecom, system, c.now)
	if i < 0 {
		use := ""
		if system == FieldPhone {
			use = `,"use":"mobile"`
		}
		return appendEntry(body, "telecom", `{"system":`+quote(system)+`,"value":`+quote(value)+use+`}`)
	}
	old := str(telecom[i], "value")
	if old == value {
		return body
	}
	c.gone = append(c.gone, old)
	entry := setMember([]byte(telecom[i].Raw), gjson.Parse(telecom[i].Raw), "value", quote(value))
	entry = removeMember(entry, gjson.ParseBytes(entry), "_value")
	return replaceValue(body, telecom[i], c.dropShadow(entry))
}

// removePoints takes out the entries of a system that hold a value.
func (c *editor) removePoints(body []byte, system, value string) []byte {
	if value == "" {
		return body
	}
	c.gone = append(c.gone, value)
	gone := Contact{Phone: value, Email: value}
	return removeEntries(body, "telecom", func(entry gjson.Result) bool {
		p := pointOf(entry)
		return p.system == system && SameValue(system, Contact{Phone: p.value, Email: p.value}, gone, c.region)
	})
}

// address sets an address, or takes out the one to clear.
func (c *editor) address(body []byte, asked, clears *Address) []byte {
	addresses := listed(body, "address")
	i := pickAddress(addresses, c.now)
	var want Address
	if asked != nil {
		want = asked.withoutBlanks()
	}
	switch {
	case want.empty() && clears == nil:
		return body
	case want.empty():
		old := clears.withoutBlanks()
		c.goneFrom(old, want)
		return removeEntries(body, "address", func(entry gjson.Result) bool {
			a := addressOf(entry)
			return SameValue(FieldAddress, Contact{Address: &a}, Contact{Address: &old}, "")
		})
	case i < 0:
		if i = blankHome(addresses, c.now); i < 0 {
			return appendEntry(body, "address", newAddress(want))
		}
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
	if have.equal(want) {
		return body
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
	if same && have.Text == "" {
		return replaceValue(body, addresses[i], string(entry))
	}
	c.goneFrom(have, want)
	return replaceValue(body, addresses[i], c.dropShadow(entry))
}

// dropShadow takes off an entry what described its old value, and keeps the
// doubts about the rest.
func (c *editor) dropShadow(entry []byte) string {
	cleared, unknown := dropShadow(entry, c.now)
	c.doubts.add(unknown)
	return string(cleared)
}

// goneFrom notes what an address no longer holds. A code of a state or country
// is too short to be told from a word.
func (c *editor) goneFrom(have, want Address) {
	const minCode = 4
	note := func(old string, kept ...string) {
		if old != "" && !slices.Contains(kept, old) {
			c.gone = append(c.gone, old)
		}
	}
	note(have.Text, want.Text)
	note(have.PostalCode, want.PostalCode)
	note(have.City, want.City)
	note(have.District, want.District)
	if len(have.State) >= minCode {
		note(have.State, want.State)
	}
	if len(have.Country) >= minCode {
		note(have.Country, want.Country)
	}
	for _, line := range have.Lines {
		note(line, want.Lines...)
	}
}

// blankHome finds a current home address that has parts but of blanks only, as
// OpenEMR sends it for a patient without address. -1: none.
func blankHome(addresses []gjson.Result, now time.Time) int {
	return slices.IndexFunc(addresses, func(entry gjson.Result) bool {
		use := str(entry, "use")
		return (use == "home" || use == "") && current(use, member(entry, "period"), now) && addressOf(entry).empty() &&
			slices.ContainsFunc(partNames, func(name string) bool { return member(entry, name).Exists() })
	})
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

// removeEntries takes entries out of a top-level array, and with the last one the
// array, for FHIR knows no empty arrays.
func removeEntries(body []byte, name string, drop func(entry gjson.Result) bool) []byte {
	doc := gjson.ParseBytes(body)
	list := member(doc, name)
	places := children(list)
	if len(places) == 0 {
		return body
	}
	out := make([]byte, 0, len(body))
	out = append(out, body[:places[0].from]...)
	kept := 0
	for i, entry := range elements(list) {
		if drop(entry) {
			continue
		}
		from := places[i].from
		if kept++; kept > 1 { // with the comma before it
			from = places[i-1].to
		}
		out = append(out, body[from:places[i].to]...)
	}
	if kept == 0 {
		return removeMember(body, doc, name)
	}
	return append(out, body[places[len(places)-1].to:]...)
}
