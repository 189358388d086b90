package fhir

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// SameValue reports whether two contacts hold the same in a field (FieldPhone,
// FieldEmail, FieldAddress), be it in another form: servers keep values in their
// own. It is the one place that says what is a form and what is another value.
//
//   - phone: the same digits; with a region (PHONE_REGION) also the same number as
//     it is dialled from there. Words, * and what is an extension count too.
//     A word before the number does not.
//   - email: the same but for case, blanks and mailto: before it.
//   - address: each part the same but for case, blanks and punctuation. What stands
//     between two digits counts: 2-11 is not 21-1.
//
// Width and the composition of a character (NFC, NFD) are forms as well, an accent
// is none. An address without text or any part counts as none.
func SameValue(field string, a, b Contact, region string) bool {
	switch field {
	case FieldPhone:
		return samePhone(a.Phone, b.Phone, region)
	case FieldEmail:
		return a.Email == b.Email || emailForm(a.Email) == emailForm(b.Email)
	case FieldAddress:
		return sameAddress(a.Address, b.Address, func(a, b Address) bool { return a.form() == b.form() })
	}
	return false
}

func samePhone(a, b, region string) bool {
	return a == b || phoneForm(a) == phoneForm(b) || region != "" && a != "" && b != "" && dialled(a, region) == dialled(b, region)
}

// extension is what announces one, once punctuation is gone.
var extension = regexp.MustCompile(`([0-9])(?:ext|extn|extension|x)([0-9])`)

// phoneForm is a phone number without what only makes it readable. Letters stay: a
// number may be spelled with them. But a word before it says only what it is (tel:).
func phoneForm(s string) string {
	var b strings.Builder
	digits, begun := false, false
	for _, r := range caseless(s) {
		begun = begun || unicode.IsDigit(r) || strings.ContainsRune("+*#", r)
		switch {
		case !begun:
		case unicode.IsDigit(r):
			b.WriteRune('0' + digitValue(r))
			digits = true
		case r == '#': // another word for an extension
			b.WriteByte('x')
		case unicode.IsLetter(r), r == '*':
			b.WriteRune(r)
		}
	}
	if !digits {
		return s
	}
	return extension.ReplaceAllString(b.String(), "${1}x${2}")
}

// dialled is a number as it is dialled from everywhere; the text itself if it is none.
func dialled(s, region string) string {
	n, err := phonenumbers.Parse(s, region)
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return s
	}
	return phonenumbers.Format(n, phonenumbers.RFC3966) // E.164, and the extension
}

func emailForm(s string) string {
	form := strings.Map(func(r rune) rune {
		if blank(r) {
			return -1
		}
		return r
	}, caseless(s))
	return cmp.Or(strings.TrimPrefix(form, "mailto:"), s)
}

// caseless is a text without case, width and composition. ß stays: in an email it is
// another letter than ss.
func caseless(s string) string {
	parts := strings.Split(strings.ReplaceAll(norm.NFC.String(width.Fold.String(s)), "ẞ", "ß"), "ß")
	for i, part := range parts {
		parts[i] = cases.Fold().String(part)
	}
	return norm.NFC.String(strings.Join(parts, "ß"))
}

// form is an address without what only makes it readable. How its lines are divided
// counts as blanks do.
func (a Address) form() [7]string {
	return [...]string{
		textForm(a.Text, true), textForm(strings.Join(a.Lines, "\n"), true), textForm(a.City, true), textForm(a.District, true),
		textForm(a.State, true), textForm(a.PostalCode, false), textForm(a.Country, true),
	}
}

// WithoutAdditions returns what a server shows without what it added to an address by
// itself: a text that says what the parts say, and no less of it than the text that was
// wanted, and a country where none was wanted. A country that was there before was to
// go away: it is no addition.
func (c Contact) WithoutAdditions(want, before Contact) Contact {
	if c.Address == nil || want.Address == nil {
		return c
	}
	a, country := *c.Address, ""
	if want.Address.Country == "" && (before.Address == nil || textForm(before.Address.Country, true) != textForm(a.Country, true)) {
		country, a.Country = a.Country, ""
	}
	if want.Address.hasParts() && a.Text != "" && want.Address.isSaidBy(a.Text, country) {
		a.Text = want.Address.Text
	}
	c.Address = &a
	return c
}

// isSaidBy reports whether a text holds nothing but parts of the address and the
// country, and every part but the country that the address's own text holds.
func (a Address) isSaidBy(text, country string) bool {
	said, only := a.saidBy(text, country)
	own, ownOnly := a.saidBy(a.Text, "")
	for part := range own {
		only = only && said[part]
	}
	return only && ownOnly
}

// saidBy returns which parts but the country a text holds, and whether it holds nothing
// else.
func (a Address) saidBy(text, country string) (parts map[string]bool, only bool) {
	rest, parts := textForm(text, true), map[string]bool{}
	pieces := append(slices.Clone(a.Lines), a.City, a.District, a.State, a.PostalCode, a.Country, country)
	slices.SortStableFunc(pieces, func(a, b string) int { return len(b) - len(a) }) // MA stands in Main St, too
	for _, piece := range pieces {
		form := textForm(piece, true)
		if piece == a.PostalCode && !strings.Contains(rest, form) {
			form = textForm(piece, false)
		}
		if piece == "" || !strings.Contains(rest, form) {
			continue
		}
		rest = strings.Replace(rest, form, "\x00", 1)
		if piece != a.Country && piece != country {
			parts[piece] = true
		}
	}
	return parts, strings.Trim(rest, "\x00 〒") == "" // 〒 says that a postal code follows
}

// likePunctuation is no punctuation to Unicode: the minus sign and the tilde, as
// Japanese converters write dashes, and the apostrophes ʻ and ʼ.
const likePunctuation = "\u2212~\u02BB\u02BC"

// textForm leaves out blanks and punctuation, but for a sign that they stood between
// two digits where that counts.
func textForm(s string, counts bool) string {
	var b strings.Builder
	var before rune // the last one kept
	between := false
	runes := []rune(norm.NFD.String(cases.Fold().String(norm.NFD.String(width.Fold.String(s)))))
	for i, r := range runes {
		dash := r == 'ー' && i > 0 && unicode.IsDigit(runes[i-1]) && i+1 < len(runes) && unicode.IsDigit(runes[i+1])
		if blank(r) || unicode.IsPunct(r) || strings.ContainsRune(likePunctuation, r) || dash {
			between = true
			continue
		}
		if counts && between && unicode.IsDigit(before) && unicode.IsDigit(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		before, between = r, false
	}
	return cmp.Or(b.String(), s)
}

// blank reports whether a character shows nothing.
func blank(r rune) bool {
	return unicode.IsSpace(r) || r == '\u2800' || // a Braille cell without dots
		unicode.In(r, unicode.Z, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// isBlank reports whether a text shows nothing.
func isBlank(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return !blank(r) }) }
