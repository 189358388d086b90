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

// separator stands between what is compared separately, so that no search
// matches across it.
const separator = "\x1f"

// keys are what a row is searched and sorted by, made of its FHIRState.
type keys struct {
	name   string // of the name that is shown: the order by name
	search string // of every name: see searchKey
	phones string // of every phone number, each between separators: see phoneKeys
}

func keysOf(st *FHIRState) keys {
	part := func(s string) string { return atMost(fold(s), maxSortKey) }
	return keys{
		name:   part(st.FamilyName) + separator + part(st.GivenName) + separator + part(st.FullName),
		search: searchKey(st),
		phones: strings.Join(phoneKeys(st), separator),
	}
}

// phoneList is the inverse of the phones' join.
func (k keys) phoneList() []string {
	return strings.FieldsFunc(k.phones, func(r rune) bool { return string(r) == separator })
}

// maxKey is how many characters of a part of a name, or of a phone, are searched
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

// fold makes texts comparable: compatibility forms such as full width (NFKC),
// letter case, accents, Hiragana or Katakana, what joins the parts of a name
// (hyphens, apostrophes) and what is invisible do not matter; other punctuation
// counts as a blank.
func fold(s string) string {
	// Folding can leave a form that has to be decomposed again.
	// Cherokee alone folds to capitals in x/text, some of it back and forth.
	s = norm.NFKD.String(strings.ToLower(cases.Fold().String(norm.NFKC.String(atMost(s, maxFold)))))
	var b strings.Builder
	for _, r := range s {
		switch plain, letter := unaccented[r]; {
		case letter:
			b.WriteString(plain)
		case isIgnored(r):
		case r == '\u2800', unicode.In(r, unicode.Z, unicode.P, unicode.Cc):
			b.WriteByte(' ')
		case r >= 'ァ' && r <= 'ヶ': // Katakana, in the order of Hiragana
			b.WriteRune(r - 'ァ' + 'ぁ')
		default:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(norm.NFC.String(b.String())), " ")
}

// unaccented are letters that are not composed of a letter and an accent, and
// the letters of Arabic that its languages write in two ways.
var unaccented = map[rune]string{
	'ø': "o", 'æ': "ae", 'œ': "oe", 'đ': "d", 'ð': "d", 'ł': "l", 'ħ': "h", 'ı': "i", 'þ': "th", 'ŋ': "n",
	'ى': "ي", 'ی': "ي", 'ک': "ك", 'ة': "ه",
}

// isIgnored reports whether a character of a decomposed text makes no difference:
// it is invisible, joins, or is an accent, also a vowel sign of Hebrew or Arabic.
// The signs of Indic scripts and of Kana make other letters.
func isIgnored(r rune) bool {
	switch {
	case unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Pd):
		return true
	case strings.ContainsRune("'`’‘‛ʻʼʽʾʿ′−ـ", r): // apostrophes, the minus sign, the stretched line of Arabic
		return true
	case r == '\u3099', r == '\u309A':
		return false
	}
	return unicode.In(r, unicode.Mn, unicode.Me) && unicode.In(r, unicode.Inherited, unicode.Hebrew, unicode.Arabic, unicode.Syriac)
}

// foldPart is fold of a part of a name, as far as it is compared.
func foldPart(s string) string { return cut(fold(s)) }

// grams lists, once each, the three characters (fewer at the end) from every
// position of a search key.
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
