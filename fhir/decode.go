package fhir

import (
	"html"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// glyph is one character of a text as a reader sees it, and the bytes of the
// text that stand for it: "é" may be written so, as %C3%A9, &eacute; or \u00e9.
type glyph struct {
	r        rune
	from, to int
}

// glyphs reads a text as it stands. A byte that is no UTF-8 counts as Latin-1.
func glyphs(text string) []glyph {
	list := make([]glyph, 0, len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			r = rune(text[i])
		}
		list = append(list, glyph{r, i, i + size})
		i += size
	}
	return list
}

// decodeRounds bounds how often a text is decoded: %25C3%25A9 needs two.
const decodeRounds = 3

// decoded resolves percent-encoding, HTML entities and the escapes of JSON.
// With lineBreaks, \n and its like count as blanks, else as two characters:
// "HOSPITAL\nora" may be meant either way.
func decoded(list []glyph, lineBreaks bool) []glyph {
	for range decodeRounds {
		next, changed := decodeOnce(list, lineBreaks)
		if !changed {
			break
		}
		list = next
	}
	return list
}

func decodeOnce(list []glyph, lineBreaks bool) (out []glyph, changed bool) {
	out = make([]glyph, 0, len(list))
	for i := 0; i < len(list); {
		var found []glyph
		n := 0
		switch list[i].r {
		case '%':
			found, n = percentEncoded(list[i:])
		case '&':
			found, n = entity(list[i:])
		case '\\':
			found, n = escape(list[i:], lineBreaks)
		}
		if n == 0 {
			found, n = list[i:i+1], 1
		} else {
			changed = true
		}
		out = append(out, found...)
		i += n
	}
	return out, changed
}

// hexAt reads exactly n hexadecimal digits.
func hexAt(list []glyph, at, n int) (value rune, ok bool) {
	if at+n > len(list) {
		return 0, false
	}
	for _, g := range list[at : at+n] {
		var digit rune
		switch {
		case g.r >= '0' && g.r <= '9':
			digit = g.r - '0'
		case g.r >= 'a' && g.r <= 'f':
			digit = g.r - 'a' + 10
		case g.r >= 'A' && g.r <= 'F':
			digit = g.r - 'A' + 10
		default:
			return 0, false
		}
		value = value<<4 | digit
	}
	return value, true
}

// percentEncoded reads %XX, as UTF-8 or else as Latin-1, and %uXXXX. It takes
// n glyphs; 0: it is none.
func percentEncoded(list []glyph) (found []glyph, n int) {
	if len(list) > 1 && (list[1].r == 'u' || list[1].r == 'U') {
		if r, ok := hexAt(list, 2, 4); ok {
			return []glyph{{r, list[0].from, list[5].to}}, 6
		}
	}
	var octets []byte
	for len(octets) < utf8.UTFMax && 3*len(octets) < len(list) && list[3*len(octets)].r == '%' {
		b, ok := hexAt(list, 3*len(octets)+1, 2)
		if !ok {
			break
		}
		octets = append(octets, byte(b))
	}
	if len(octets) == 0 {
		return nil, 0
	}
	r, size := utf8.DecodeRune(octets)
	if r == utf8.RuneError && size == 1 {
		r = rune(octets[0])
	}
	return []glyph{{r, list[0].from, list[3*size-1].to}}, 3 * size
}

const longestEntity = 34 // "&CounterClockwiseContourIntegral;"

// entity reads an HTML entity; one by number may lack its semicolon.
func entity(list []glyph) (found []glyph, n int) {
	if len(list) > 2 && list[1].r == '#' {
		return numberedEntity(list)
	}
	for end := 1; end < min(len(list), longestEntity); end++ {
		if r := list[end].r; r != ';' {
			if r > unicode.MaxASCII || !isWord(r) {
				return nil, 0
			}
			continue
		}
		name := make([]byte, 0, longestEntity)
		for _, g := range list[:end+1] {
			name = append(name, byte(g.r))
		}
		text := html.UnescapeString(string(name))
		if text == string(name) {
			return nil, 0
		}
		for _, r := range text {
			found = append(found, glyph{r, list[0].from, list[end].to})
		}
		return found, end + 1
	}
	return nil, 0
}

func numberedEntity(list []glyph) (found []glyph, n int) {
	base, at := 10, 2
	if list[2].r == 'x' || list[2].r == 'X' {
		base, at = 16, 3
	}
	digits := ""
	for at < len(list) && len(digits) < 8 {
		if _, err := strconv.ParseUint(string(list[at].r), base, 8); err != nil {
			break
		}
		digits += string(list[at].r)
		at++
	}
	value, err := strconv.ParseInt(digits, base, 32)
	if err != nil {
		return nil, 0
	}
	if at < len(list) && list[at].r == ';' {
		at++
	}
	return []glyph{{rune(value), list[0].from, list[at-1].to}}, at
}

// escape reads \uXXXX (also two of them for one character), \u{X}, \xXX and,
// if asked, the escapes of line breaks.
func escape(list []glyph, lineBreaks bool) (found []glyph, n int) {
	if len(list) < 2 {
		return nil, 0
	}
	one := func(r rune, n int) ([]glyph, int) { return []glyph{{r, list[0].from, list[n-1].to}}, n }
	switch list[1].r {
	case 'u', 'U':
		if high, ok := hexAt(list, 2, 4); ok {
			if low, ok := hexAt(list, 8, 4); ok && high>>10 == 0xD8>>2 && list[6].r == '\\' {
				return one(0x10000+(high&0x3FF)<<10+low&0x3FF, 12)
			}
			return one(high, 6)
		}
		for end := 4; end < min(len(list), 10); end++ {
			if value, ok := hexAt(list, 3, end-3); ok && list[2].r == '{' && list[end].r == '}' {
				return one(value, end+1)
			}
		}
	case 'x', 'X':
		if r, ok := hexAt(list, 2, 2); ok {
			return one(r, 4)
		}
	case 'n', 'r', 't', 'b', 'f':
		if lineBreaks {
			return one(' ', 2)
		}
	}
	return nil, 0
}
