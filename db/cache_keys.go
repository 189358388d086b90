package db

import (
	"encoding/json"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxCode is longer than any gender and date of FHIR: what is longer is none,
// and would not go into the index of the filters (see maxKey).
const maxCode = 32

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func toJSON(v any) string {
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
func nameKey(st *FHIRState) string {
	return cut(fold(st.FamilyName)) + separator + cut(fold(st.GivenName)) + separator + cut(fold(st.FullName))
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
