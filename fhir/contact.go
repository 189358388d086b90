package fhir

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// ContactOf reads the phone, email and address that PatientGraph shows. now
// decides which entries are current.
func ContactOf(body []byte, now time.Time) (Contact, error) {
	p, err := ParsePatient(body, now)
	return p.Contact, err
}

// unusable is the error for a body that was not fetched but handed in.
func unusable(op string, err error) *Error {
	return &Error{Kind: Unusable, Op: op, Reason: "The resource is unusable: " + err.Error(), Err: err}
}

// Entry is an entry of telecom or address that may be shown: in use, current, and
// with a value.
type Entry struct {
	Use     string
	Contact Contact // its value, as what it is shown as
}

// Entries lists the entries that may be shown as a field, and says which one ContactOf
// shows; -1: there is none. body is one that ContactOf takes.
func Entries(body []byte, field string, now time.Time) (all []Entry, shown int) {
	shown = -1
	add := func(use string, c Contact, isShown bool) {
		if isShown {
			shown = len(all)
		}
		all = append(all, Entry{use, c})
	}
	if field == FieldAddress {
		list := listed(body, "address")
		best := pickAddress(list, now)
		for i, entry := range list {
			use, a := str(entry, "use"), addressOf(entry)
			if current(use, member(entry, "period"), now) && !a.empty() {
				add(use, Contact{Address: &a}, i == best)
			}
		}
		return all, shown
	}
	list := listed(body, "telecom")
	best := pickTelecom(list, field, now)
	for i, entry := range list {
		p := pointOf(entry)
		switch {
		case !p.isShown(field, now):
		case field == FieldPhone:
			add(p.use, Contact{Phone: p.value}, i == best)
		default:
			add(p.use, Contact{Email: p.value}, i == best)
		}
	}
	return all, shown
}

func contactOf(doc gjson.Result, now time.Time) Contact {
	var c Contact
	telecom := elements(member(doc, "telecom"))
	if i := pickTelecom(telecom, FieldPhone, now); i >= 0 {
		c.Phone = str(telecom[i], "value")
	}
	if i := pickTelecom(telecom, FieldEmail, now); i >= 0 {
		c.Email = str(telecom[i], "value")
	}
	addresses := elements(member(doc, "address"))
	if i := pickAddress(addresses, now); i >= 0 {
		a := addressOf(addresses[i])
		c.Address = &a
	}
	return c
}

// phoneSystems are the systems of a ContactPoint whose value is a phone number.
var phoneSystems = []string{"phone", "sms", "fax", "pager"}

// phonesOf lists the numbers that are the patient's now or are going to be: one
// that is old, or whose period is over, may be somebody else's.
func phonesOf(doc gjson.Result, now time.Time) []string {
	var list []string
	for _, entry := range elements(member(doc, "telecom")) {
		p := pointOf(entry)
		_, to, ends := bounds(str(p.period, "end"), now.Location())
		if slices.Contains(phoneSystems, p.system) && !isBlank(p.value) && p.use != "old" && (!ends || now.Before(to)) {
			list = append(list, p.value)
		}
	}
	return list
}

var useOrder = []string{"mobile", "home", "work", ""}

// pickTelecom finds the entry that is the patient's phone (or email): of that
// system, with a value, in use and current; the lowest rank first, then by use,
// then by place. An email address is no phone, whatever its system says. -1: none.
func pickTelecom(telecom []gjson.Result, system string, now time.Time) int {
	best, bestRank, bestUse := -1, 0.0, 0
	for i, entry := range telecom {
		p := pointOf(entry)
		if !p.isShown(system, now) {
			continue
		}
		use := slices.Index(useOrder, p.use)
		if use < 0 {
			use = len(useOrder)
		}
		if best < 0 || p.rank < bestRank || p.rank == bestRank && use < bestUse {
			best, bestRank, bestUse = i, p.rank, use
		}
	}
	return best
}

// point is what of a ContactPoint decides which one is shown. It is read in one
// pass: a hostile patient has hundreds of thousands.
type point struct {
	system, value, use string
	period             gjson.Result
	rank               float64
}

// isShown reports whether an entry may be shown as the phone (or email).
func (p point) isShown(system string, now time.Time) bool {
	return p.system == system && !isBlank(p.value) && current(p.use, p.period, now) &&
		!(system == FieldPhone && strings.Contains(p.value, "@"))
}

func pointOf(entry gjson.Result) point {
	p := point{rank: 1 << 40}
	if !entry.IsObject() {
		return p
	}
	entry.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "system":
			p.system = stringOf(v)
		case "value":
			p.value = stringOf(v)
		case "use":
			p.use = stringOf(v)
		case "period":
			p.period = v
		case "rank":
			if v.Type == gjson.Number && v.Num > 0 {
				p.rank = v.Num
			}
		}
		return true
	})
	return p
}

// pickAddress finds the address: the first current one with use home, else
// the first current one. An entry without text or any part, or with nothing but
// blanks in them (OpenEMR sends line [""] and city ""), is no address. A billing
// or postal one counts as current, for FHIR (datatypes#Address) has one assume
// that an address is current unless it says that it is old or temporary. -1:
// none.
func pickAddress(addresses []gjson.Result, now time.Time) int {
	first := -1
	for i, entry := range addresses {
		use := str(entry, "use")
		if !current(use, member(entry, "period"), now) || addressOf(entry).empty() {
			continue
		}
		if use == "home" {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// current reports whether a ContactPoint or Address is neither old nor temporary,
// and its period has begun and is not over.
func current(use string, period gjson.Result, now time.Time) bool {
	return use != "old" && use != "temp" && holds(period, now)
}

var partialDates = []struct {
	layout              string
	years, months, days int
}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {time.DateOnly, 0, 0, 1}}

// holds reports whether a period has begun and is not over. A date without time
// lasts from its beginning to its end (FHIR datatypes#Period) in now's time
// zone. What is no date bounds nothing.
func holds(period gjson.Result, now time.Time) bool {
	if from, _, ok := bounds(str(period, "start"), now.Location()); ok && now.Before(from) {
		return false
	}
	_, to, ok := bounds(str(period, "end"), now.Location())
	return !ok || now.Before(to)
}

// bounds are the first moment of a dateTime and the first one after it.
func bounds(date string, zone *time.Location) (from, to time.Time, ok bool) {
	if date == "" || len(date) > 64 {
		return from, to, false
	}
	for _, p := range partialDates {
		if len(date) != len(p.layout) {
			continue
		}
		if t, err := time.ParseInLocation(p.layout, date, zone); err == nil {
			return t, t.AddDate(p.years, p.months, p.days), true
		}
	}
	t, err := time.Parse(time.RFC3339, date)
	return t, t.Add(1), err == nil
}

// addressOf reads an Address; what holds nothing but blanks is not there.
func addressOf(entry gjson.Result) (a Address) {
	if !entry.IsObject() {
		return a
	}
	entry.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "text":
			a.Text = stringOf(v)
		case "line":
			a.Lines = strs(v)
		case "city":
			a.City = stringOf(v)
		case "district":
			a.District = stringOf(v)
		case "state":
			a.State = stringOf(v)
		case "postalCode":
			a.PostalCode = stringOf(v)
		case "country":
			a.Country = stringOf(v)
		}
		return true
	})
	return a.withoutBlanks()
}

// stringOf is a string's value; "" for anything else.
func stringOf(v gjson.Result) string {
	if v.Type == gjson.String {
		return v.Str
	}
	return ""
}

// partNames are the parts of an Address in FHIR's order.
var partNames = []string{"line", "city", "district", "state", "postalCode", "country"}

// part gives a part as JSON, "" when absent.
func (a Address) part(name string) string {
	if name == "line" {
		var quoted []string
		for _, line := range a.Lines {
			quoted = append(quoted, quote(line))
		}
		if quoted == nil {
			return ""
		}
		return "[" + strings.Join(quoted, ",") + "]"
	}
	value := map[string]string{"city": a.City, "district": a.District, "state": a.State,
		"postalCode": a.PostalCode, "country": a.Country}[name]
	if value == "" {
		return ""
	}
	return quote(value)
}

// withoutBlanks empties what holds nothing but spaces.
func (a Address) withoutBlanks() Address {
	a.Lines = slices.DeleteFunc(slices.Clone(a.Lines), isBlank)
	for _, s := range []*string{&a.Text, &a.City, &a.District, &a.State, &a.PostalCode, &a.Country} {
		if isBlank(*s) {
			*s = ""
		}
	}
	return a
}

func (a Address) hasParts() bool {
	a.Text = ""
	return !a.empty()
}

func (a Address) empty() bool {
	return len(a.Lines) == 0 && a.Text+a.City+a.District+a.State+a.PostalCode+a.Country == ""
}

func (a Address) equal(b Address) bool { return a.Text == b.Text && a.sameParts(b) }

func (a Address) sameParts(b Address) bool {
	return !slices.ContainsFunc(partNames, func(name string) bool { return a.part(name) != b.part(name) })
}
