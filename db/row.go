package db

import (
	"encoding/json"
	"strings"
	"unicode"

	"github.com/uptrace/bun"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// row is a Patient as it is written.
type row struct {
	bun.BaseModel    `bun:"table:patients"`
	ID               string `bun:",pk"`
	FHIRID           string `bun:"fhir_id,nullzero"`
	FamilyName       string
	GivenName        string
	FullName         string
	NameKey          string
	BirthDate        string
	Gender           string
	Phone            string
	PhoneKey         string
	Email            string
	Address          string
	EmergencyContact string
	Allergies        string
	BloodType        string
	SyncState        SyncState
	LastSyncedAt     int64
	FHIRVersionID    string `bun:"fhir_version_id"`
	FHIRUpdatedAt    int64  `bun:"fhir_updated_at"`
	Version          int64
	CreatedAt        int64
	UpdatedAt        int64
}

// gram is one entry of the name index.
type gram struct {
	bun.BaseModel `bun:"table:patient_name_grams"`
	Gram          string
	PatientID     string
}

// toRow derives the keys. PostgreSQL cannot store U+0000 or what is no UTF-8:
// they become U+FFFD.
func toRow(p *Patient) *row {
	return &row{
		ID: p.ID, FHIRID: p.FHIRID,
		FamilyName: clean(p.FamilyName), GivenName: clean(p.GivenName), FullName: clean(p.FullName),
		NameKey: nameKey(p), BirthDate: clean(p.BirthDate), Gender: clean(p.Gender),
		Phone: clean(p.Phone), PhoneKey: digits(p.Phone), Email: clean(p.Email),
		Address: toJSON(p.Address, p.Address == nil), EmergencyContact: toJSON(p.EmergencyContact, p.EmergencyContact == nil),
		Allergies: toJSON(p.Allergies, len(p.Allergies) == 0), BloodType: clean(p.BloodType),
		SyncState: p.SyncState, LastSyncedAt: toMicros(p.LastSyncedAt),
		FHIRVersionID: clean(p.FHIRVersionID), FHIRUpdatedAt: toMicros(p.FHIRUpdatedAt),
		Version: p.Version, CreatedAt: toMicros(p.CreatedAt), UpdatedAt: toMicros(p.UpdatedAt),
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

func cut(s string) string {
	if runes := []rune(s); len(runes) > maxKey {
		return string(runes[:maxKey])
	}
	return s
}

// fold makes names comparable: compatibility forms (NFKC), letter case, white
// space and control characters do not matter.
func fold(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
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
