package resolvers

import (
	"strings"
	"unicode"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/graph"
)

// What people paste from messengers and spreadsheets brings along characters that
// nobody sees. They are taken out before a value is checked, compared, sent or
// searched: two values that look the same are the same.

const (
	zeroWidthNonJoiner = '\u200C'
	brailleBlank       = '\u2800' // a symbol to Unicode, a blank to the eye
)

// visiblePoint cleans a phone or email: nothing invisible, no blanks around it,
// each blank in it a plain one, and full-width characters as the plain ones that
// they stand for.
func visiblePoint(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case isInvisible(r):
			return -1
		case isBlank(r) && !unicode.IsControl(r): // a tab within is refused later
			return ' '
		case r >= '！' && r <= '～': // the full-width forms of ASCII, in its order
			return r - '！' + '!'
		}
		return r
	}, s))
}

// visibleID cleans a patient number: nothing invisible and no blanks around it. What
// stands within it is the hospital's.
func visibleID(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return isInvisible(r) || isBlank(r) })
}

// visibleText cleans a name or a part of an address: nothing invisible but what a
// script needs, no blanks around it, no-break blanks as plain ones.
func visibleText(s string) string {
	var b strings.Builder
	var before rune // the last one that stays
	for _, r := range s {
		switch {
		case isInvisible(r) && !isNeeded(r, before):
			continue
		case r == '\u00A0', r == '\u2007', r == '\u202F', r == brailleBlank:
			r = ' '
		}
		b.WriteRune(r)
		before = r
	}
	// A non-joiner joins nothing at the end.
	return strings.TrimFunc(b.String(), func(r rune) bool { return isBlank(r) || r == zeroWidthNonJoiner })
}

// isInvisible reports whether nothing is seen of a character by itself: what
// Unicode lets displays ignore (Default_Ignorable_Code_Point: soft hyphens, zero
// width, directions, byte order marks, fillers) and the other format characters,
// but for the number signs of Arabic and the like, which are seen.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// isNeeded reports whether an invisible character changes how the one before it is
// written: a joiner (Persian, Indic scripts, emoji) or the choice of a form (the
// variants of a Han character).
func isNeeded(r, before rune) bool {
	if !unicode.In(before, unicode.L, unicode.M, unicode.So, unicode.Sk) {
		return false
	}
	switch r {
	case zeroWidthNonJoiner, '\u200D', '\u034F', '\u180E': // the joiners, of graphemes and of Mongolian vowels
		return !unicode.In(before, withoutJoiners...)
	}
	return unicode.Is(unicode.Variation_Selector, r) && !unicode.Is(unicode.Latin, before)
}

// withoutJoiners are scripts that join nothing, so that a joiner there was pasted.
var withoutJoiners = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Georgian,
	unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo,
}

func isBlank(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Z, r) || r == brailleBlank
}

// visibleContact returns the input as it is checked, compared and sent. Its number is
// what an idempotency key is compared by; which record it names, ownNumber says.
func visibleContact(input graph.UpdatePatientContactInput) graph.UpdatePatientContactInput {
	input.PatientID = visibleID(input.PatientID)
	input.Phone = visibleOmittable(input.Phone)
	input.Email = visibleOmittable(input.Email)
	if a := input.Address.Value(); a != nil {
		input.Address = graphql.OmittableOf(&graph.AddressInput{
			Text: visible(a.Text, visibleText), Lines: visibleList(a.Lines),
			City: visible(a.City, visibleText), District: visible(a.District, visibleText), State: visible(a.State, visibleText),
			PostalCode: visible(a.PostalCode, visibleText), Country: visible(a.Country, visibleText),
		})
	}
	return input
}

// visibleProfile returns the input as it is checked, compared and saved.
func visibleProfile(input graph.UpdatePatientProfileInput) graph.UpdatePatientProfileInput {
	input.PatientID = visibleID(input.PatientID)
	if c := input.EmergencyContact.Value(); c != nil {
		input.EmergencyContact = graphql.OmittableOf(&graph.EmergencyContactInput{
			Name: visibleText(c.Name), Relationship: visible(c.Relationship, visibleText), Phone: visible(c.Phone, visiblePoint),
		})
	}
	if input.Allergies.IsSet() {
		input.Allergies = graphql.OmittableOf(visibleList(input.Allergies.Value()))
	}
	return input
}

func visibleOmittable(point graphql.Omittable[*string]) graphql.Omittable[*string] {
	if !point.IsSet() {
		return point
	}
	return graphql.OmittableOf(visible(point.Value(), visiblePoint))
}

func visible(s *string, clean func(string) string) *string {
	if s == nil {
		return nil
	}
	cleaned := clean(*s)
	return &cleaned
}

// visibleList keeps nil, an empty list and every place of a list, be it blank.
func visibleList(list []string) []string {
	if list == nil {
		return nil
	}
	cleaned := make([]string, len(list))
	for i, s := range list {
		cleaned[i] = visibleText(s)
	}
	return cleaned
}
