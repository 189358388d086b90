package fhir

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	hiddenRune = '…'
	hidden     = string(hiddenRune)
	// maxText bounds what of a server's text is looked at: more than is passed on
	// of it, less than what costs time.
	maxText = 2 << 10
	// maxDigits is the longest number that is looked for however it is grouped.
	maxDigits = 24
)

// Scrub makes an issue's texts fit to be logged and passed on: severity and code
// are FHIR's own, messages and expressions are short and free of the secrets.
// What stands for a secret is replaced by "…". E-mail addresses, numbers of seven
// digits and more (but dates and UUIDs) and ids in "Patient/<id>" go in any case.
//
// Both sides are compared in one folded form, whatever the encoding (see fold),
// and as words: so an ordinary word of such texts that is a value, too
// ("invalid"), is left where the value is no name. Where it is a name, or the
// record is too large to be looked through, the code in words takes the place of
// the whole text. Longer values are found in part, too (see parts).
func (s *Secrets) Scrub(issue Issue) Issue {
	issue.Severity, issue.Code = known(severities, issue.Severity), known(issueTypes, issue.Code)
	issue.Message = s.Text(issue.Message, issue.Code)
	expressions := make([]string, 0, len(issue.Expression))
	for _, expression := range issue.Expression {
		if !isPath(expression) {
			expression, _ = s.hide(expression)
			expression = longIndex.ReplaceAllString(expression, "["+hidden+"]")
		}
		expressions = append(expressions, expression)
	}
	issue.Expression = expressions
	return issue
}

// Text scrubs one text of an issue with that code.
func (s *Secrets) Text(text, code string) string {
	text, safe := s.hide(text)
	if !safe {
		return inWords(known(issueTypes, code))
	}
	return text
}

// hide hides the secrets in a text; "…" and false where it cannot be made safe.
func (s *Secrets) hide(text string) (string, bool) {
	text, cut := cutText(text)
	if strings.TrimSpace(text) == "" {
		if cut {
			return hidden, false
		}
		return "", true
	}
	if showsInside(text, cut) {
		return internalError, true
	}
	if s.tooMany {
		return hidden, false
	}
	spans, safe := s.find(text, cut || strings.HasSuffix(text, hidden))
	if !safe {
		return hidden, false
	}
	var b strings.Builder
	rest := 0
	for _, at := range spans {
		b.WriteString(text[rest:at.from] + hidden)
		rest = at.to
	}
	b.WriteString(text[rest:])
	text = tidy(b.String())
	return text, text != hidden
}

// pathPattern matches a path of elements and indexes only. isPath knows which
// are elements.
var pathPattern = regexp.MustCompile(`^[A-Za-z_]+(?:\[(?:\d{1,2}|x)\])?(?:\.[A-Za-z]+(?:\[(?:\d{1,2}|x)\])?)*$`)

// longIndex is an index that may be a year or a part of a number. No list of a
// patient is so long.
var longIndex = regexp.MustCompile(`\[\d{3,}\]`)

// isPath reports whether an expression can hold nothing of a patient: it is
// made of the names of elements, or a column of OpenEMR's.
func isPath(expression string) bool {
	if openEMRInput[expression] != nil {
		return true
	}
	if !pathPattern.MatchString(expression) {
		return false
	}
	for part := range strings.SplitSeq(expression, ".") {
		name, _, _ := strings.Cut(part, "[")
		if name != "Patient" && !slices.Contains(elementNames, name) && !slices.Contains(elementParts, name) {
			return false
		}
	}
	return true
}

// cutText cuts a text to what is looked at, at a blank: no half of a word and of
// an encoding stays.
func cutText(text string) (string, bool) {
	if len(text) <= maxText {
		return text, false
	}
	return text[:strings.LastIndexAny(text[:maxText], " \t\n")+1], true
}

// find gives what to hide, in order; false where a word may be a name or not.
// What is encoded is looked at in each way in which it may be meant.
func (s *Secrets) find(text string, cut bool) (spans []span, safe bool) {
	plain := glyphs(text)
	readings := [][]glyph{plain}
	if strings.ContainsAny(text, `%&\`) {
		readings = append(readings, decoded(plain, false))
	}
	if strings.Contains(text, `\`) {
		readings = append(readings, decoded(plain, true))
	}
	last := readings[len(readings)-1]
	for _, list := range readings {
		spans = append(spans, s.findDamaged(list)...)
	}
	for _, misread := range charsets {
		if again := reread(last, misread); again != nil {
			readings = append(readings, again)
		}
	}
	if letters := together(last); len(letters) < len(last) {
		readings = append(readings, letters)
	}
	if camels := apart(plain); len(camels) > len(plain) {
		readings = append(readings, camels)
	}
	for _, list := range readings {
		r := reading{folded: fold(list), secrets: s, cut: cut}
		if !r.search() {
			return nil, false
		}
		for _, at := range r.hidden {
			spans = append(spans, span{int(r.from[at.from]), int(r.to[at.to-1])})
		}
	}
	return merged(spans), true
}

// apart puts blanks between the words of SolveigAune and of SAune.
func apart(list []glyph) []glyph {
	out := make([]glyph, 0, len(list))
	for i, g := range list {
		if i > 0 && unicode.IsUpper(g.r) && (unicode.IsLower(list[i-1].r) ||
			unicode.IsUpper(list[i-1].r) && i+1 < len(list) && unicode.IsLower(list[i+1].r)) {
			out = append(out, glyph{' ', g.from, g.from})
		}
		out = append(out, g)
	}
	return out
}

// together takes out the one sign that parts each of three single letters and
// more: S o l v e i g, S-o-l-v-e-i-g.
func together(list []glyph) []glyph {
	out := make([]glyph, 0, len(list))
	for i := 0; i < len(list); {
		var letters []glyph
		n, end := 0, i
		for at := i; ; at = end + 1 {
			to := singleLetter(list, at)
			if to == 0 {
				break
			}
			letters = append(letters, list[at:to]...)
			n, end = n+1, to
		}
		if n < 3 {
			letters, end = list[i:i+1], i+1
		}
		out = append(out, letters...)
		i = end
	}
	return out
}

// singleLetter is where the word of one letter ends that begins at i, with its
// accents; 0: there is none.
func singleLetter(list []glyph, i int) int {
	joined := func(i int) bool { return unicode.IsMark(list[i].r) || isInvisible(list[i].r) }
	if i >= len(list) || !unicode.IsLetter(list[i].r) || i > 0 && (isWord(list[i-1].r) || joined(i-1)) {
		return 0
	}
	for i++; i < len(list) && joined(i); i++ {
	}
	if i < len(list) && isWord(list[i].r) {
		return 0
	}
	return i
}

// merged puts spans in order, and together where they meet.
func merged(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out []span
	for _, at := range spans {
		if n := len(out); n > 0 && at.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, at.to)
			continue
		}
		out = append(out, at)
	}
	return out
}

// Signs of a page or of SQL inside a text.
var (
	markup     = regexp.MustCompile(`</?[A-Za-z!][^>]*>`)
	markupOpen = regexp.MustCompile(`</?[A-Za-z!][^>]*$`)
	sql        = regexp.MustCompile(`(?is)\bSQLSTATE\b|\bsql statement\b|\binsert into \S|\bupdate \S+ set \b|\bdelete from \S|\bselect\b.+\bfrom\b.+\bwhere\b|\b(?-i:SELECT)\b.+\b(?-i:FROM)\b|\.sql\.`)
)

// showsInside reports whether a text shows the inside of the server.
func showsInside(text string, cut bool) bool {
	return strings.Contains(text, "<") && (markup.MatchString(text) || cut && markupOpen.MatchString(text)) || sql.MatchString(text)
}

// tidy makes a scrubbed text fit for a log line and a message: no control
// characters, at most maxReason runes.
func tidy(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, hidden))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason-1])
		if at := strings.LastIndexByte(text, ' '); at > len(text)/2 { // no half words
			text = text[:at]
		}
		text += hidden
	}
	return text
}
