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
// whose value in have, what the server shows, is not the one wanted. Both must
// be read by ContactOf, want from the body that was sent: a ContactEdit holds
// less (the text of an address may be composed). An address without text or
// any part counts as none.
func Missing(have, want Contact, fields []string) []string {
	var missing []string
	for _, field := range fields {
		var same bool
		switch field {
		case FieldPhone:
			same = have.Phone == want.Phone
		case FieldEmail:
			same = have.Email == want.Email
		case FieldAddress:
			same = sameAddress(have.Address, want.Address)
		}
		if !same {
			missing = append(missing, field)
		}
	}
	return missing
}

func sameAddress(a, b *Address) bool {
	none := func(a *Address) bool { return a == nil || a.empty() }
	if none(a) || none(b) {
		return none(a) && none(b)
	}
	return a.equal(*b)
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

var (
	elementPath = regexp.MustCompile(`^(?:Patient\.)?(telecom|address)(?:\[(\d+)\]|\.where\((.*?)\))?(?:\.(.*))?$`)
	whereSystem = regexp.MustCompile(`system\s*=\s*'(\w+)'`)
)

// InputField maps the element that a server complains about to the path of the
// input field that set it, such as ["phone"] or ["address", "postalCode"].
// expression is an Issue's: FHIRPath, or the name of an OpenEMR column. sent
// is the body it speaks of. nil: none of ours, such as another entry's value.
func InputField(sent []byte, expression string) []string {
	if path, ok := openEMRInput[expression]; ok {
		return append([]string(nil), path...)
	}
	m := elementPath.FindStringSubmatch(expression)
	if m == nil || !gjson.ValidBytes(sent) {
		return nil
	}
	entries := elements(member(gjson.ParseBytes(sent), m[1]))
	index := -1
	if m[2] != "" {
		i, err := strconv.Atoi(m[2])
		if err != nil || i >= len(entries) {
			return nil
		}
		index = i
	}
	if m[1] == "telecom" {
		return telecomField(entries, index, m[3])
	}
	if index >= 0 && !oneOf(index, func(now time.Time) int { return pickAddress(entries, now) }) {
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
func telecomField(entries []gjson.Result, index int, where string) []string {
	if m := whereSystem.FindStringSubmatch(where); m != nil {
		if m[1] == FieldPhone || m[1] == FieldEmail {
			return []string{m[1]}
		}
		return nil
	}
	var fields []string
	for _, system := range []string{FieldPhone, FieldEmail} {
		picked := func(now time.Time) int { return pickTelecom(entries, system, now) }
		if index >= 0 && oneOf(index, picked) || index < 0 && picked(time.Time{}) >= 0 {
			fields = append(fields, system)
		}
	}
	if len(fields) != 1 {
		return nil
	}
	return fields
}

// oneOf tells whether the entry is picked at any time: before every period's
// end, or after all of them. Without the time of the edit that is as near as
// one can tell.
func oneOf(index int, pick func(time.Time) int) bool {
	return index == pick(time.Time{}) || index == pick(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
}

// Untouched tells whether a rejection is certainly about something that the
// edit did not change: a bad phone of another entry, stored earlier, say.
// base is the body that was edited, sent what EditContact made of it, fields
// what the edit set. It holds if each error among the issues names an element,
// and each element named stands in sent as it did in base. An element that
// holds an edited one (Patient, or Patient.telecom), and one not understood,
// may be about the edit; a name of OpenEMR's columns is compared with fields.
func Untouched(base, sent []byte, issues []Issue, fields []string) bool {
	if !gjson.ValidBytes(base) || !gjson.ValidBytes(sent) {
		return false
	}
	was, is := gjson.ParseBytes(base), gjson.ParseBytes(sent)
	errors := 0
	for _, issue := range issues {
		if severityRank(issue.Severity) != 0 {
			continue
		}
		if errors++; errors == maxIssues || len(issue.Expression) == 0 {
			return false // of more issues than that nothing is known
		}
		for _, expression := range issue.Expression {
			column, ok := openEMRInput[expression]
			switch {
			case ok && slices.Contains(fields, column[0]), !ok && !sameElement(was, is, expression):
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

// sameElement tells whether what the path names is certainly the same, byte
// for byte, in both bodies.
func sameElement(was, is gjson.Result, path string) bool {
	m := topElement.FindStringSubmatch(path)
	if m == nil || !slices.Contains(elementNames, m[1]) {
		return false
	}
	before, after := member(was, m[1]), member(is, m[1])
	if before.Raw == after.Raw {
		return true
	}
	from, to := elements(before), elements(after)
	switch {
	case m[3] != "":
		return slices.Equal(ofSystem(from, m[3]), ofSystem(to, m[3]))
	case m[2] != "":
		i, err := strconv.Atoi(m[2])
		return err == nil && i < len(to) && sameEntry(from, to, i)
	}
	return false
}

func ofSystem(entries []gjson.Result, system string) []string {
	var list []string
	for _, entry := range entries {
		if str(entry, "system") == system {
			list = append(list, entry.Raw)
		}
	}
	return list
}

// sameEntry tells whether the i-th entry stood in the array before the edit,
// at whatever place. Where the edit made an entry equal to another, nobody can
// say which of them is meant.
func sameEntry(from, to []gjson.Result, i int) bool {
	count := func(list []gjson.Result) (n int) {
		for _, entry := range list {
			if entry.Raw == to[i].Raw {
				n++
			}
		}
		return n
	}
	return count(to) <= count(from)
}
