package fhir

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// ContactOf reads the phone, email and address that PatientGraph shows. now
// decides which entries' period is over.
func ContactOf(body []byte, now time.Time) (Contact, error) {
	p, err := ParsePatient(body, now)
	return p.Contact, err
}

// unusable is the error for a body that was not fetched but handed in.
func unusable(op string, err error) *Error {
	return &Error{Kind: Unusable, Op: op, Reason: "The resource is unusable: " + err.Error(), Err: err}
}

func contactOf(doc gjson.Result, now time.Time) Contact {
	var c Contact
	telecom := elements(member(doc, "telecom"))
	if i := pickTelecom(telecom, "phone", now); i >= 0 {
		c.Phone = str(telecom[i], "value")
	}
	if i := pickTelecom(telecom, "email", now); i >= 0 {
		c.Email = str(telecom[i], "value")
	}
	addresses := elements(member(doc, "address"))
	if i := pickAddress(addresses, now); i >= 0 {
		a := addressOf(addresses[i])
		c.Address = &a
	}
	return c
}

var useOrder = []string{"mobile", "home", "work", ""}

// pickTelecom finds the entry that is the patient's phone (or email): of that
// system, with a value, in use and not over; the lowest rank first, then by
// use, then by place. -1: none.
func pickTelecom(telecom []gjson.Result, system string, now time.Time) int {
	best, bestRank, bestUse := -1, 0.0, 0
	for i, entry := range telecom {
		if str(entry, "system") != system || strings.TrimSpace(str(entry, "value")) == "" || !current(entry, now) {
			continue
		}
		rank := float64(1 << 40)
		if r := member(entry, "rank"); r.Type == gjson.Number && r.Num > 0 {
			rank = r.Num
		}
		use := slices.Index(useOrder, str(entry, "use"))
		if use < 0 {
			use = len(useOrder)
		}
		if best < 0 || rank < bestRank || rank == bestRank && use < bestUse {
			best, bestRank, bestUse = i, rank, use
		}
	}
	return best
}

// pickAddress finds the address: the first current one with use home, else
// the first current one. An entry without text or any part is no address. A
// billing or postal one counts as current, for FHIR (datatypes#Address) has
// one assume that an address is current unless it says that it is old or
// temporary. -1: none.
func pickAddress(addresses []gjson.Result, now time.Time) int {
	first := -1
	for i, entry := range addresses {
		if !current(entry, now) || addressOf(entry).empty() {
			continue
		}
		if str(entry, "use") == "home" {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// Entries counts the entries of these fields (FieldPhone, FieldEmail,
// FieldAddress) that hold something, current or not: where one of two equal
// ones was removed, Contact looks as before.
func Entries(body []byte, fields []string) (count int) {
	doc := gjson.ParseBytes(body)
	for _, entry := range elements(member(doc, "telecom")) {
		if slices.Contains(fields, str(entry, "system")) && strings.TrimSpace(str(entry, "value")) != "" {
			count++
		}
	}
	for _, entry := range elements(member(doc, "address")) {
		if slices.Contains(fields, FieldAddress) && !addressOf(entry).empty() {
			count++
		}
	}
	return count
}

// current holds for a ContactPoint or Address that is neither old nor
// temporary and whose period is not over.
func current(entry gjson.Result, now time.Time) bool {
	use := str(entry, "use")
	return use != "old" && use != "temp" && !over(entry, now)
}

var partialDates = []struct {
	layout              string
	years, months, days int
}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {time.DateOnly, 0, 0, 1}}

// over tells whether an entry's period has ended. A date without time lasts
// to its end (FHIR datatypes#Period) in now's time zone. What is no date ends
// nothing.
func over(entry gjson.Result, now time.Time) bool {
	end := str(member(entry, "period"), "end")
	for _, p := range partialDates {
		if t, err := time.ParseInLocation(p.layout, end, now.Location()); err == nil {
			return !now.Before(t.AddDate(p.years, p.months, p.days))
		}
	}
	t, err := time.Parse(time.RFC3339, end)
	return err == nil && t.Before(now)
}

func addressOf(entry gjson.Result) Address {
	return Address{
		Text: str(entry, "text"), Lines: strs(member(entry, "line")),
		City: str(entry, "city"), District: str(entry, "district"), State: str(entry, "state"),
		PostalCode: str(entry, "postalCode"), Country: str(entry, "country"),
	}
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
	blank := func(s string) bool { return strings.TrimSpace(s) == "" }
	a.Lines = slices.DeleteFunc(slices.Clone(a.Lines), blank)
	for _, s := range []*string{&a.Text, &a.City, &a.District, &a.State, &a.PostalCode, &a.Country} {
		if blank(*s) {
			*s = ""
		}
	}
	return a
}

func (a Address) hasParts() bool {
	return slices.ContainsFunc(partNames, func(name string) bool { return a.part(name) != "" })
}

func (a Address) empty() bool { return a.Text == "" && !a.hasParts() }

func (a Address) equal(b Address) bool { return a.Text == b.Text && a.sameParts(b) }

func (a Address) sameParts(b Address) bool {
	return !slices.ContainsFunc(partNames, func(name string) bool { return a.part(name) != b.part(name) })
}

// Compose writes the parts as one text: "12 Main St, Apt 4, Springfield,
// MA 01101, US".
func (a Address) Compose() string {
	pieces := slices.Clone(a.Lines)
	pieces = append(pieces, a.District, a.City, strings.TrimSpace(a.State+" "+a.PostalCode), a.Country)
	pieces = slices.DeleteFunc(pieces, func(s string) bool { return s == "" })
	return strings.Join(pieces, ", ")
}
