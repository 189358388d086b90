package fhir

import (
	"html"
	"regexp"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	maxNarrative = 256 << 10 // a longer one is not searched, and counts as showing the value
	maxGone      = 20        // values that are looked for in it; real addresses have less than ten
	maxGoneWord  = 100       // letters; of a longer value its beginning is looked for
)

// refreshNarrative takes text out where the server generated it and it shows a
// value that is gone, for a narrative must not contradict the data (FHIR
// narrative.html). Another one may hold what a person wrote: it stays, and stale
// says that it shows such a value.
func refreshNarrative(body []byte, gone []string) (out []byte, stale bool) {
	doc := gjson.ParseBytes(body)
	text := member(doc, "text")
	if len(gone) == 0 || !shows(str(text, "div"), gone) {
		return body, false
	}
	if str(text, "status") == "generated" {
		return removeMember(body, doc, "text"), false
	}
	return body, true
}

var tag = regexp.MustCompile(`<[^>]*>`)

// shows reports whether a div shows one of the values, also in an attribute (a
// mailto:), in other case and width, and however a number is grouped.
func shows(div string, values []string) bool {
	if len(div) > maxNarrative {
		return true
	}
	if div == "" {
		return false
	}
	// With the tags taken out, for one may stand within a value, and with them.
	words := " " + plainWords(tag.ReplaceAllString(div, " ")) + " " + plainWords(div) + " "
	for _, value := range values[:min(len(values), maxGone)] {
		if pattern := valuePattern(value); pattern != nil && pattern.MatchString(words) {
			return true
		}
	}
	return false
}

// valuePattern finds a value among plainWords, with blanks anywhere in it. Of a
// number of eight digits and more the last eight will do: the rest may be written
// as +82 10 or as 010. nil: the value has no letter or digit.
func valuePattern(value string) *regexp.Regexp {
	letters := []rune(strings.ReplaceAll(plainWords(value), " ", ""))
	if len(letters) == 0 {
		return nil
	}
	begin, end := " ", " "
	const tail = 8
	switch isNumber := !strings.ContainsFunc(string(letters), func(r rune) bool { return !unicode.IsDigit(r) }); {
	case isNumber && len(letters) >= tail:
		begin, letters = "", letters[len(letters)-tail:]
	case len(letters) > maxGoneWord:
		end, letters = "", letters[:maxGoneWord]
	}
	quoted := make([]string, len(letters))
	for i, r := range letters {
		quoted[i] = regexp.QuoteMeta(string(r))
	}
	return regexp.MustCompile(begin + strings.Join(quoted, " ?") + end)
}

// plainWords are the words and numbers of a text with one blank between them,
// whatever their case. A letter of a script that puts no blanks is a word.
func plainWords(text string) string {
	var b strings.Builder
	for _, r := range cases.Fold().String(norm.NFKC.String(html.UnescapeString(text))) {
		switch {
		case unicode.IsDigit(r): // of whatever script
			b.WriteRune('0' + digitValue(r))
		case isEastAsianLetter(r):
			b.WriteString(" " + string(r) + " ")
		case unicode.IsLetter(r) || unicode.IsMark(r):
			b.WriteRune(r)
		case !unicode.Is(unicode.Cf, r): // else invisible: a soft hyphen, say
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
