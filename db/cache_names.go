package db

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Name is one of a patient's names; empty means absent.
type Name struct {
	Family string `json:"family,omitempty"`
	Given  string `json:"given,omitempty"`
	Text   string `json:"text,omitempty"`
}

// PostgreSQL refuses index entries over 2,704 bytes, and patients_by_name holds
// both keys and the patient's number.
const (
	maxSearchKey = 1600 // bytes of all names that are searched: some thirty names
	maxSortKey   = 64   // characters of each part of the name that is shown
)

// searchKey holds every name of a patient in the forms that a word of a search
// may be a part of, the name that is shown first.
func searchKey(st *FHIRState) string {
	key := ""
	for _, name := range append([]Name{{st.FamilyName, st.GivenName, st.FullName}}, st.OtherNames...) {
		for _, form := range name.forms() {
			if form != "" && !strings.Contains(key, form) && len(key)+len(separator)+len(form) <= maxSearchKey {
				key += separator + form
			}
		}
	}
	return strings.TrimPrefix(key, separator)
}

// forms lists the ways in which a name is found. Müller is typed Mueller too.
func (n Name) forms() []string {
	list := n.spelled()
	if out := (Name{spellOut(n.Family), spellOut(n.Given), spellOut(n.Text)}); out != n {
		list = append(list, out.spelled()...)
	}
	return list
}

// umlauts are letters that are written as two where a keyboard lacks them.
var umlauts = strings.NewReplacer("ä", "ae", "Ä", "ae", "ö", "oe", "Ö", "oe", "ü", "ue", "Ü", "ue", "å", "aa", "Å", "aa", "ø", "oe", "Ø", "oe")

func spellOut(s string) string { return umlauts.Replace(norm.NFC.String(atMost(s, maxFold))) }

// spelled gives "chalmers jim chalmers", but 서하윤서: where a script puts no blank
// between the parts, a word may span them, in either order. Within a part there
// are no blanks: Ji Min, Ji-min and Jimin are one name. The text is a form of its
// own where it says more.
func (n Name) spelled() []string {
	family, given := withoutBlanks(foldPart(n.Family)), withoutBlanks(foldPart(n.Given))
	parts := link(link(family, given), family)
	text := foldPart(n.Text)
	if !slices.ContainsFunc(strings.Fields(text), func(word string) bool { return !strings.Contains(parts, word) }) {
		return []string{parts}
	}
	return []string{parts, withoutBlanks(text)}
}

func withoutBlanks(s string) string { return strings.ReplaceAll(s, " ", "") }

// link puts a blank between two parts unless either side is Hangul, Han or Kana.
func link(a, b string) string {
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	if a == "" || b == "" || isEastAsian(last) || isEastAsian(first) {
		return a + b
	}
	return a + " " + b
}

func isEastAsian(r rune) bool {
	return r == 'ー' || unicode.In(r, unicode.Hangul, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// searchWords lists what of a search must each be found, the longest first; a
// word within another adds nothing.
func searchWords(name string) []string {
	words := strings.Fields(fold(name))
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(utf8.RuneCountInString(b), utf8.RuneCountInString(a)) })
	var distinct []string
	for _, word := range words {
		if !slices.ContainsFunc(distinct, func(longer string) bool { return strings.Contains(longer, word) }) {
			distinct = append(distinct, word)
		}
	}
	return distinct
}
