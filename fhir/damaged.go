package fhir

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// charsets are what UTF-8 is taken for. Of names in Latin letters it does not matter for
// which: see withLost.
var charsets = []*charmap.Charmap{charmap.Windows1252, charmap.Windows1251}

// reread reads UTF-8 that was taken for another charset as what it was, 山 of å±±, also
// where that happened twice; nil: there is none.
func reread(list []glyph, misread *charmap.Charmap) (again []glyph) {
	for range 2 {
		out := make([]glyph, 0, len(list))
		for i := 0; i < len(list); {
			r, n := utf8At(list[i:], misread)
			out = append(out, glyph{r, list[i].from, list[i+n-1].to})
			i += n
		}
		if len(out) == len(list) {
			break
		}
		list, again = out, out
	}
	return again
}

// utf8At is the character whose UTF-8 these glyphs begin with, each a byte, and how many
// they are; else it is the first glyph.
func utf8At(list []glyph, misread *charmap.Charmap) (rune, int) {
	if list[0].r < utf8.RuneSelf {
		return list[0].r, 1
	}
	octets := make([]byte, 0, utf8.UTFMax)
	for _, g := range list[:min(utf8.UTFMax, len(list))] {
		octet, ok := misread.EncodeRune(g.r)
		switch {
		case !ok && g.r < 0xA0: // what the charset has no sign for is shown as Latin-1 has it
			octet, ok = byte(g.r), true
		case g.r == ' ' && len(octets) > 0: // once a no-break space
			octet = 0xA0
		}
		if !ok || octet < utf8.RuneSelf {
			break
		}
		octets = append(octets, octet)
	}
	if r, n := utf8.DecodeRune(octets); n > 1 {
		return r, n
	}
	return list[0].r, 1
}

// lost stands for letters that were lost on the way: a letter that no name has, and that
// fold leaves as it is.
const lost = 'ʔ'

// signs are what ASCII has to put in the place of a letter.
const signs = "?*#_"

// withLost puts lost in the place of each run of characters beyond ASCII and of signs for
// them: M?ller, M��ller, MÃ?ller, Mьller and Müller become one. Punctuation alone is no letter.
func withLost(list []glyph) []glyph {
	out := make([]glyph, 0, len(list))
	for i := 0; i < len(list); {
		letters, end := false, i
		for ; end < len(list); end++ {
			r := list[end].r
			sign := strings.ContainsRune(signs, r)
			if r < utf8.RuneSelf && !sign {
				break
			}
			letters = letters || sign || r == '¿' || !unicode.IsPunct(r) && !unicode.IsMark(r) && !unicode.IsSpace(r) && !isInvisible(r)
		}
		switch {
		case letters:
			out = append(out, glyph{lost, list[i].from, list[end-1].to})
		case end == i:
			end++
			fallthrough
		default:
			out = append(out, list[i:end]...)
		}
		i = end
	}
	return out
}

// minKept is how many letters a word must keep to be looked for without a sign of what was
// lost: Mller, M ller. Shorter ones may be any words.
const minKept = 5

// addDamaged adds the words of a value as they are when letters beyond ASCII were lost, or
// their accents were: M?ller, Mu?ller.
func (s *Secrets) addDamaged(text string) {
	text = strings.Map(func(r rune) rune { // what is a sign in a value was not lost
		if strings.ContainsRune(signs, r) {
			return ' '
		}
		return r
	}, norm.NFC.String(text))
	apart := strings.Map(func(r rune) rune {
		if unicode.IsMark(r) {
			return rune(signs[0])
		}
		return r
	}, norm.NFD.String(text))
	for _, form := range []string{text, apart} {
		f := fold(withLost(glyphs(form)))
		for _, t := range f.tokens {
			pieces := strings.FieldsFunc(t.word, func(r rune) bool { return r == lost })
			kept := strings.Join(pieces, "")
			if kept == t.word || len(kept) < 2 || commonWords[foldWord(form[f.from[t.at]:f.to[t.end-1]])] {
				continue
			}
			s.damaged.addWord(t.word)
			s.damaged.addStem(t.word)
			if form != text || len(kept) < minKept || commonWords[foldWord(kept)] {
				continue
			}
			s.parts.stems[foldWord(kept)] = true
			if slices.ContainsFunc(pieces, func(piece string) bool { return len(piece) > 2 && !commonWords[piece] }) {
				s.insertWords(pieces, hides)
			}
		}
	}
}

// findDamaged gives the words that show a value of which letters were lost.
func (s *Secrets) findDamaged(list []glyph) (spans []span) {
	list = withLost(list)
	if len(s.damaged.stems) == 0 || !slices.ContainsFunc(list, func(g glyph) bool { return g.r == lost }) {
		return nil
	}
	f := fold(list)
	for _, t := range f.tokens {
		if strings.ContainsRune(t.word, lost) && (s.damaged.inWord(t.word) || s.damaged.isForm(t.word)) {
			spans = append(spans, span{int(f.from[t.at]), int(f.to[t.end-1])})
		}
	}
	return spans
}
