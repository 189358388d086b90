package db

import (
	"database/sql"
	"encoding/json"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// insertPatients is to be followed by the rows' values, as rowValues lists
// them.
const (
	insertPatients = `INSERT INTO patients (fhir_id, family_name, given_name, full_name, name_key, birth_date,
		gender, phone, phone_key, email, address, emergency_contact, allergies, blood_type,
		sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at, id) VALUES `
	rowColumns = 22
)

var updatePatient = prepared(`UPDATE patients SET fhir_id = ?, family_name = ?, given_name = ?, full_name = ?, name_key = ?, birth_date = ?,
		gender = ?, phone = ?, phone_key = ?, email = ?, address = ?, emergency_contact = ?, allergies = ?, blood_type = ?,
		sync_state = ?, last_synced_at = ?, fhir_version_id = ?, fhir_updated_at = ?, version = ?, created_at = ?, updated_at = ?
		WHERE id = ?`)

// maxCode is longer than any gender and date of FHIR: what is longer is none,
// and would not go into the index of the filters (see maxKey).
const maxCode = 32

// rowValues returns a Patient as it is written, with its keys. PostgreSQL
// cannot store U+0000 or what is no UTF-8: they become U+FFFD.
func rowValues(p *Patient) []any {
	return []any{
		sql.NullString{String: clean(p.FHIRID), Valid: p.FHIRID != ""},
		clean(p.FamilyName), clean(p.GivenName), clean(p.FullName), p.nameKey, atMost(clean(p.BirthDate), maxCode),
		atMost(clean(p.Gender), maxCode), clean(p.Phone), digits(p.Phone), clean(p.Email),
		toJSON(p.Address, p.Address == nil), toJSON(p.EmergencyContact, p.EmergencyContact == nil),
		toJSON(p.Allergies, len(p.Allergies) == 0), clean(p.BloodType),
		string(p.SyncState), toMicros(p.LastSyncedAt), clean(p.FHIRVersionID), toMicros(p.FHIRUpdatedAt),
		p.Version, toMicros(p.CreatedAt), toMicros(p.UpdatedAt), p.ID,
	}
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func toJSON(v any, absent bool) string {
	if absent {
		return ""
	}
	text, _ := json.Marshal(v) // strings and slices of them always encode
	return string(text)
}

// digits is what of a phone number is compared in a search.
func digits(phone string) string {
	return cut(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, phone))
}

// separator stands between the parts of a name key, so that no search matches
// across them.
const separator = "\x1f"

// nameKey is what a name is searched and sorted by: family, given and full
// name, each folded.
func nameKey(p *Patient) string {
	return cut(fold(p.FamilyName)) + separator + cut(fold(p.GivenName)) + separator + cut(fold(p.FullName))
}

// maxKey is how many characters of a name or phone are searched and sorted
// by: PostgreSQL refuses index entries over 2,704 bytes.
const maxKey = 128

func cut(s string) string { return atMost(s, maxKey) }

// atMost returns the first n characters, without looking at what follows them.
func atMost(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// longer reports whether s has more than n characters.
func longer(s string, n int) bool { return len(atMost(s, n)) < len(s) }

// maxFold is how many characters are folded: NFKC makes up to 18 of one
// (U+FDFA), and of many letters and marks the maxKey that are compared.
const maxFold = 8 * maxKey

// fold makes names comparable: compatibility forms (NFKC), letter case, white
// space and control characters do not matter.
func fold(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, atMost(s, maxFold))
	// Folding can leave a form that NFKC would change again.
	s = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
	return strings.Join(strings.Fields(s), " ")
}

// grams lists, once each, the three characters (fewer at the end) from every
// position of a name key.
func grams(key string) []string {
	runes := []rune(key)
	seen := make(map[string]bool, len(runes))
	list := make([]string, 0, len(runes))
	for i := range runes {
		g := string(runes[i:min(i+3, len(runes))])
		if !seen[g] {
			seen[g] = true
			list = append(list, g)
		}
	}
	return list
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
