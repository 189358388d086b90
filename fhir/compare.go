package fhir

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Missing names those of the fields (FieldPhone, FieldEmail, FieldAddress)
// whose value in have, what the server shows, is not the one wanted, nor another
// form of it (SameValue). Both must be read by ContactOf, want from the record
// that was intended: a ContactEdit holds less (the text of an address may be composed).
func Missing(have, want Contact, fields []string, region string) []string {
	return namesWhere(fields, func(field string) bool { return !SameValue(field, have, want, region) })
}

// Differing names those of the fields whose values are not the same to the letter.
func Differing(a, b Contact, fields []string) []string {
	return namesWhere(fields, func(field string) bool {
		switch field {
		case FieldPhone:
			return a.Phone != b.Phone
		case FieldEmail:
			return a.Email != b.Email
		case FieldAddress:
			return !sameAddress(a.Address, b.Address, Address.equal)
		}
		return true
	})
}

func namesWhere(fields []string, are func(field string) bool) (named []string) {
	for _, field := range fields {
		if are(field) {
			named = append(named, field)
		}
	}
	return named
}

func sameAddress(a, b *Address, same func(a, b Address) bool) bool {
	none := func(a *Address) bool { return a == nil || a.empty() }
	if none(a) || none(b) {
		return none(a) && none(b)
	}
	return same(*a, *b)
}

// addressInput maps the parts of a FHIR Address to the names of AddressInput.
var addressInput = map[string]string{
	"text": "text", "line": "lines", "city": "city", "district": "district",
	"state": "state", "postalCode": "postalCode", "country": "country",
}

// openEMRInput maps OpenEMR's column names in validationErrors to input paths.
var openEMRInput = map[string][]string{
	"email": {FieldEmail}, "email_direct": {FieldEmail},
	"phone": {FieldPhone}, "phone_home": {FieldPhone}, "phone_cell": {FieldPhone},
	"phone_biz": {FieldPhone}, "phone_contact": {FieldPhone},
	"address": {FieldAddress}, "street": {FieldAddress, "lines"}, "street_line_2": {FieldAddress, "lines"},
	"city": {FieldAddress, "city"}, "county": {FieldAddress, "district"}, "state": {FieldAddress, "state"},
	"postal_code": {FieldAddress, "postalCode"}, "country_code": {FieldAddress, "country"}, "country": {FieldAddress, "country"},
}

// openEMRColumns are those in its validationErrors that no edit changes.
var openEMRColumns = []string{"fname", "mname", "lname", "title", "sex", "DOB", "ss", "pubpid"}

var (
	elementPath = regexp.MustCompile(`^(?:Patient\.)?(telecom|address)(?:\[(\d+)\]|\.where\((.*?)\))?(?:\.(.*))?$`)
	whereSystem = regexp.MustCompile(`system\s*=\s*'(\w+)'`)
)

// InputFields maps, issue by issue, the first element that a server complains
// about to the path of the input field that set it, such as ["phone"] or
// ["address", "postalCode"]. Its expressions are FHIRPath, or names of OpenEMR's
// columns; record is the Patient as it was to be, and at when it was made. nil: none
// of ours, such as another entry's value.
func InputFields(record []byte, issues []Issue, at time.Time) [][]string {
	var shown *shownEntries // most refusals name no element
	valid := gjson.ValidBytes(record)
	fields := make([][]string, len(issues))
	for i, issue := range issues {
		for _, expression := range issue.Expression {
			if path, ok := openEMRInput[expression]; ok {
				fields[i] = slices.Clone(path)
			} else if m := elementPath.FindStringSubmatch(expression); m != nil && valid {
				if shown == nil {
					shown = readShown(record, at)
				}
				fields[i] = shown.field(m)
			}
			if fields[i] != nil {
				break
			}
		}
	}
	return fields
}

// shownEntries tells which entries of a body are the phone, the email and the
// address, -1 where there is none.
type shownEntries struct {
	telecoms, addresses   int // how many entries there are
	phone, email, address int
}

func readShown(record []byte, at time.Time) *shownEntries {
	telecoms, addresses := listed(record, "telecom"), listed(record, "address")
	return &shownEntries{
		telecoms: len(telecoms), addresses: len(addresses),
		phone: pickTelecom(telecoms, FieldPhone, at), email: pickTelecom(telecoms, FieldEmail, at),
		address: pickAddress(addresses, at),
	}
}

// field maps what elementPath found.
func (s *shownEntries) field(m []string) []string {
	index, count := -1, s.telecoms
	if m[1] == FieldAddress {
		count = s.addresses
	}
	if m[2] != "" {
		i, err := strconv.Atoi(m[2])
		if err != nil || i >= count {
			return nil
		}
		index = i
	}
	if m[1] == "telecom" {
		return s.telecomField(index, m[3])
	}
	if index >= 0 && index != s.address {
		return nil
	}
	part, _, _ := strings.Cut(m[4], ".")
	part, _, _ = strings.Cut(part, "[")
	if name, ok := addressInput[part]; ok {
		return []string{FieldAddress, name}
	}
	return []string{FieldAddress}
}

// telecomField: an entry by its index, or by where(system='phone'); without
// either it can only be told if the body has one of phone and email.
func (s *shownEntries) telecomField(index int, where string) []string {
	if m := whereSystem.FindStringSubmatch(where); m != nil {
		if m[1] == FieldPhone || m[1] == FieldEmail {
			return []string{m[1]}
		}
		return nil
	}
	means := func(picked int) bool { return picked >= 0 && (index < 0 || index == picked) }
	switch phone, email := means(s.phone), means(s.email); {
	case phone == email:
		return nil
	case phone:
		return []string{FieldPhone}
	}
	return []string{FieldEmail}
}

// Untouched reports whether a rejection is certainly about something that the
// edit did not change: a bad phone of another entry, stored earlier, say.
// base is the body that was edited, record the Patient as it was to be, fields
// what the edit set. It holds if each error among the issues names an element,
// and each element named stands in record as it did in base. An element that
// holds an edited one (Patient, or Patient.telecom), and one not understood,
// may be about the edit; a name of OpenEMR's columns is compared with fields.
func Untouched(base, record []byte, issues []Issue, fields []string) bool {
	if !gjson.ValidBytes(base) || !gjson.ValidBytes(record) {
		return false
	}
	bodies := bothBodies{was: gjson.ParseBytes(base), is: gjson.ParseBytes(record), pairs: map[string]*pair{}}
	errors := 0
	for _, issue := range issues {
		if severityRank(issue.Severity) != 0 {
			continue
		}
		if errors++; errors == maxIssues || len(issue.Expression) == 0 || len(issue.Expression) == maxExpressions {
			return false // of more issues and elements than that nothing is known
		}
		for _, expression := range issue.Expression {
			column, ok := openEMRInput[expression]
			switch {
			case slices.Contains(openEMRColumns, expression):
			case ok && slices.Contains(fields, column[0]), !ok && !bodies.same(expression):
				return false
			}
		}
	}
	return errors > 0
}

// topElement takes a path apart: the element of Patient, and which entry of
// it is meant.
var topElement = regexp.MustCompile(`^Patient\.(\w+)(?:\[x\])?` +
	`(?:\[(\d+)\]|\.where\(\s*system\s*=\s*'(\w+)'(?:\s+and\s+\w+\s*=\s*'\w+')*\s*\))?(?:\.\w.*)?$`)

// elementNames are the elements of an R4 Patient; a server may make up others
// for what we sent.
var elementNames = []string{
	"id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension", "identifier",
	"active", "name", "telecom", "gender", "birthDate", "deceased", "deceasedBoolean", "deceasedDateTime", "address",
	"maritalStatus", "multipleBirth", "multipleBirthBoolean", "multipleBirthInteger", "photo", "contact",
	"communication", "generalPractitioner", "managingOrganization", "link",
}

// bothBodies compares elements of a body before and after an edit; each element
// is looked up once, however often a server names it.
type bothBodies struct {
	was, is gjson.Result
	pairs   map[string]*pair
}

// pair is one element of Patient in both bodies.
type pair struct {
	same     bool           // byte for byte
	to       []gjson.Result // its entries after the edit
	more     map[string]int // how many more of an entry there are after the edit than before
	bySystem map[string]*[2]strings.Builder
}

func (b bothBodies) pair(name string) *pair {
	if p := b.pairs[name]; p != nil {
		return p
	}
	before, after := member(b.was, name), member(b.is, name)
	p := &pair{same: before.Raw == after.Raw}
	b.pairs[name] = p
	if p.same {
		return p
	}
	p.to, p.more, p.bySystem = elements(after), map[string]int{}, map[string]*[2]strings.Builder{}
	for i, entries := range [][]gjson.Result{elements(before), p.to} {
		for _, entry := range entries {
			p.more[entry.Raw] += 2*i - 1
			system := str(entry, "system")
			if p.bySystem[system] == nil {
				p.bySystem[system] = &[2]strings.Builder{}
			}
			p.bySystem[system][i].WriteString(entry.Raw + ",")
		}
	}
	return p
}

// same reports whether what the path names is certainly the same, byte for byte,
// in both bodies.
func (b bothBodies) same(path string) bool {
	m := topElement.FindStringSubmatch(path)
	if m == nil || !slices.Contains(elementNames, m[1]) {
		return false
	}
	p := b.pair(m[1])
	switch {
	case p.same:
		return true
	case m[3] != "":
		entries := p.bySystem[m[3]]
		return entries == nil || entries[0].String() == entries[1].String()
	case m[2] != "":
		// At whatever place the entry stood before. Where the edit made an entry
		// equal to another, nobody can say which of them is meant.
		i, err := strconv.Atoi(m[2])
		return err == nil && i < len(p.to) && p.more[p.to[i].Raw] <= 0
	}
	return false
}
