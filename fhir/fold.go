package fhir

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// folded is a text in the one form in which values are looked for: compatibility
// characters (full width, ligatures) as their plain ones, no case, no accents,
// nothing invisible, ASCII digits, all hyphens as "-", all blanks as one " ".
type folded struct {
	text     string
	tokens   []token
	from, to []int32 // for each byte of text: what stands for it in the original
}

// token is a run of letters, a run of digits, or one letter of a script that
// puts no blanks between words: a Korean particle follows a name as it is, and a
// number glued to a Latin name does not protect it.
type token struct {
	word     string // as folded, in the spelling without umlauts
	at, end  int    // in folded.text
	digits   bool
	glued    bool // of a script without blanks
	capitals bool // of capitals only
}

// unaccented spells letters that are not composed of a letter and an accent.
var unaccented = map[rune]string{
	'ø': "o", 'æ': "ae", 'œ': "oe", 'đ': "d", 'ð': "d", 'ł': "l", 'ħ': "h", 'ı': "i", 'þ': "th", 'ŋ': "n", 'ß': "ss",
}

// sameLetter has the letters that are written for each other in Arabic and Persian.
var sameLetter = map[rune]rune{'ة': 'ه', 'ى': 'ي', 'ی': 'ي', 'ک': 'ك'}

// umlauts makes Mueller, Müller and Muller one.
var umlauts = strings.NewReplacer("ae", "a", "oe", "o", "ue", "u", "aa", "a")

// foldText folds a text as it stands.
func foldText(text string) folded { return fold(glyphs(text)) }

func fold(list []glyph) folded {
	f := folder{caseless: cases.Fold()}
	for i := 0; i < len(list); {
		n := 1
		if list[i].r < utf8.RuneSelf {
			f.ascii(list[i])
		} else if list[i].r == hiddenRune { // else it became three dots
			f.add(hiddenRune, noLetter, list[i].from, list[i].to, false)
		} else {
			n = f.segment(list[i:])
		}
		i += n
	}
	f.endToken()
	return folded{f.out.String(), f.tokens, f.from, f.to}
}

type folder struct {
	out      strings.Builder
	from, to []int32
	tokens   []token
	open     *token
	kind     kindOfLetter
	caseless cases.Caser
}

type kindOfLetter int

const (
	noLetter kindOfLetter = iota
	aLetter
	aDigit
	aGlued
)

func (f *folder) ascii(g glyph) {
	switch r := g.r; {
	case r >= 'a' && r <= 'z':
		f.add(r, aLetter, g.from, g.to, false)
	case r >= 'A' && r <= 'Z':
		f.add(r+'a'-'A', aLetter, g.from, g.to, true)
	case r >= '0' && r <= '9':
		f.add(r, aDigit, g.from, g.to, false)
	case unicode.IsSpace(r):
		f.add(' ', noLetter, g.from, g.to, false)
	case unicode.IsControl(r): // invisible
	default:
		f.add(r, noLetter, g.from, g.to, false)
	}
}

// segment folds one character with all that is composed with it, and tells how
// many glyphs that took. Most accents are glyphs of their own, before or after
// the composition.
func (f *folder) segment(list []glyph) (n int) {
	var text []byte
	capital := unicode.IsUpper(list[0].r)
	from, to := list[0].from, list[0].to
	for n < len(list) {
		r := list[n].r
		if n > 0 && (r < utf8.RuneSelf || !isInvisible(r) && norm.NFKC.PropertiesString(string(r)).BoundaryBefore()) {
			break
		}
		if !isInvisible(r) {
			text = utf8.AppendRune(text, r)
		}
		to = list[n].to
		n++
	}
	for _, r := range f.caseless.String(string(norm.NFKC.Bytes(text))) {
		f.plain(r, from, to, capital)
	}
	return n
}

// plain adds a composed character without its accents.
func (f *folder) plain(r rune, from, to int, capital bool) {
	if unicode.Is(unicode.Hangul, r) {
		f.add(r, aGlued, from, to, false)
		return
	}
	for _, r := range norm.NFD.String(string(r)) {
		if same, known := sameLetter[r]; known {
			r = same
		}
		if r >= 'ぁ' && r <= 'ゖ' { // Hiragana as Katakana
			r += 'ァ' - 'ぁ'
		}
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me), isInvisible(r):
		case unaccented[r] != "":
			for _, r := range unaccented[r] {
				f.add(r, aLetter, from, to, capital)
			}
		case unicode.Is(unicode.Nd, r):
			f.add('0'+digitValue(r), aDigit, from, to, false)
		case unicode.IsSpace(r), unicode.Is(unicode.Z, r):
			f.add(' ', noLetter, from, to, false)
		case unicode.Is(unicode.Pd, r), r == '−', r == '⁃':
			f.add('-', noLetter, from, to, false)
		case r >= '\u02B0' && r <= '\u02FF': // modifiers such as the apostrophe of Oʼahu
			f.add(r, noLetter, from, to, false)
		case isWord(r) || unicode.Is(unicode.Mc, r):
			if unicode.In(r, withBlanks...) {
				f.add(r, aLetter, from, to, capital)
			} else {
				f.add(r, aGlued, from, to, false)
			}
		default:
			f.add(r, noLetter, from, to, false)
		}
	}
}

// withBlanks are the scripts whose words a value must match as a whole.
var withBlanks = []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Georgian}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// isInvisible reports whether a character may stand within a word without being
// seen. The four of Hangul are fillers.
func isInvisible(r rune) bool {
	switch r {
	case '\u115F', '\u1160', '\u3164', '\uFFA0':
		return true
	}
	return unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && !unicode.IsSpace(r)
}

// digitValue: Unicode's digits come in rows of ten from zero to nine.
func digitValue(r rune) rune {
	for _, row := range unicode.Nd.R16 {
		if r >= rune(row.Lo) && r <= rune(row.Hi) {
			return (r - rune(row.Lo)) % 10
		}
	}
	for _, row := range unicode.Nd.R32 {
		if r >= rune(row.Lo) && r <= rune(row.Hi) {
			return (r - rune(row.Lo)) % 10
		}
	}
	return 0
}

func (f *folder) add(r rune, kind kindOfLetter, from, to int, capital bool) {
	if kind != f.kind || kind == aGlued {
		f.endToken()
	}
	f.kind = kind
	at := f.out.Len()
	if r == ' ' && strings.HasSuffix(f.out.String(), " ") {
		return
	}
	f.out.WriteRune(r)
	for range f.out.Len() - at {
		f.from, f.to = append(f.from, int32(from)), append(f.to, int32(to))
	}
	if kind == noLetter {
		return
	}
	if f.open == nil {
		f.open = &token{at: at, digits: kind == aDigit, glued: kind == aGlued, capitals: kind == aLetter}
	}
	f.open.end = f.out.Len()
	f.open.capitals = f.open.capitals && capital
}

func (f *folder) endToken() {
	if f.open == nil {
		return
	}
	f.open.word = umlauts.Replace(f.out.String()[f.open.at:f.open.end])
	f.tokens = append(f.tokens, *f.open)
	f.open = nil
}
