package fhir

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
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
// the whole text.
func (s *Secrets) Scrub(issue Issue) Issue {
	issue.Severity, issue.Code = known(severities, issue.Severity), known(issueTypes, issue.Code)
	issue.Message = s.Text(issue.Message, issue.Code)
	expressions := make([]string, 0, len(issue.Expression))
	for _, expression := range issue.Expression {
		if !isPath(expression) {
			expression, _ = s.hide(expression)
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

// pathPattern holds for a path of elements and indexes only; which are elements
// isPath knows.
var pathPattern = regexp.MustCompile(`^[A-Za-z_]+(?:\[(?:\d{1,4}|x)\])?(?:\.[A-Za-z]+(?:\[(?:\d{1,4}|x)\])?)*$`)

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

// apart puts blanks between the words of SolveigAune.
func apart(list []glyph) []glyph {
	out := make([]glyph, 0, len(list))
	for i, g := range list {
		if i > 0 && unicode.IsUpper(g.r) && unicode.IsLower(list[i-1].r) {
			out = append(out, glyph{' ', g.from, g.from})
		}
		out = append(out, g)
	}
	return out
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

// reading is one way to read a text, and what is to be hidden in it; all
// positions are in the folded text.
type reading struct {
	folded
	secrets *Secrets
	cut     bool
	safe    []span // what is no value whatever it holds: UUIDs, points in time
	hidden  []span
	unsure  []span // names that may be ordinary words here
}

// search reports whether what was found can be hidden.
func (r *reading) search() bool {
	r.findSafe()
	for i, t := range r.tokens {
		if r.secrets.commonOnly && !commonWords[t.word] && !(t.digits && t.end-t.at < 3) && !r.isSafe(t.at) {
			r.hidden = append(r.hidden, span{t.at, t.end})
		}
		r.findValue(i)
		r.findNumber(i)
		r.findGrouped(i)
	}
	r.findPatterns()
	r.joinFragments()
	for _, at := range r.unsure {
		if !slices.ContainsFunc(r.hidden, func(h span) bool { return h.from <= at.from && at.to <= h.to }) {
			return false
		}
	}
	return true
}

const uuid = `\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`

var (
	uuidPattern  = regexp.MustCompile(uuid)
	datePattern  = regexp.MustCompile(`\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:z|[+-]\d\d:?\d\d)?)?`)
	errorNumber  = regexp.MustCompile(`\bhapi-\d{4}\b`)
	emailAddress = regexp.MustCompile(`[^\s<>"'(),;:=]+@[^\s<>"'(),;:=]+[^\s<>"'(),;:=.]`)
	patientPath  = regexp.MustCompile(`\bpatient/([a-z0-9\-.]{1,64})`)
)

// findSafe finds what server's texts need: UUIDs (of errors), points in time
// but those of the record, and HAPI's numbers of errors.
func (r *reading) findSafe() {
	if strings.Count(r.text, "-") >= 4 {
		for _, at := range uuidPattern.FindAllStringIndex(r.text, -1) {
			r.safe = append(r.safe, span{at[0], at[1]})
		}
	}
	if strings.Contains(r.text, "-") {
		for _, at := range datePattern.FindAllStringIndex(r.text, -1) {
			date := r.text[at[0] : at[0]+len("2006-01-02")]
			if d := r.secrets.dates; !d[date] && !d[date[:7]] && !d[date[:4]] {
				r.safe = append(r.safe, span{at[0], at[1]})
			}
		}
		for _, at := range errorNumber.FindAllStringIndex(r.text, -1) {
			r.safe = append(r.safe, span{at[0], at[1]})
		}
	}
}

// inSafe holds for what lies within something safe and is not all of it.
func (r *reading) inSafe(from, to int) bool {
	return slices.ContainsFunc(r.safe, func(s span) bool {
		return from < s.to && to > s.from && (from > s.from || to < s.to)
	})
}

// findValue hides the longest value that begins with the i-th token.
func (r *reading) findValue(i int) {
	at := &r.secrets.root
	from, common := r.tokens[i].at, true
	for j := i; j < len(r.tokens); j++ {
		t := r.tokens[j]
		if j == len(r.tokens)-1 && r.isHalf(t) && at.continues(t.word) {
			r.hidden = append(r.hidden, span{from, t.end})
		}
		if at = at.next[t.word]; at == nil {
			return
		}
		common = common && commonWords[t.word]
		m := at.match
		if m == capitals && !t.capitals || m == alone && !r.isAlone(j) {
			m = noMatch
		}
		if m == noMatch && slices.ContainsFunc(at.literals, func(l literal) bool { return r.isLiteral(l, from, t.end) }) ||
			r.cut && j == len(r.tokens)-1 && len(at.next) > 0 && !common { // its end was cut off
			m = hides
		}
		switch {
		case m == noMatch, r.inSafe(from, t.end):
		case m == ambiguous, m == alone && particles[t.word]:
			r.unsure = append(r.unsure, span{from, t.end})
		case m == hidesEach:
			for _, word := range r.tokens[i : j+1] {
				r.hidden = append(r.hidden, span{word.at, word.end})
			}
		default:
			to := t.end
			if rest := strings.TrimLeft(r.text[to:], "="); rest == "" || !isWord(rune(rest[0])) { // base64
				to = len(r.text) - len(rest)
			}
			r.hidden = append(r.hidden, span{from, to})
		}
	}
}

// particles follow a Korean name; some are words by themselves, too (이: this).
var particles = setOf(`은 는 이 가 을 를 의 님 씨 와 과 도 께 에`)

// isAlone reports whether the i-th token, one letter, is a word by itself.
func (r *reading) isAlone(i int) bool {
	glued := func(i int) bool {
		return i > 0 && i < len(r.tokens) && r.tokens[i].glued && r.tokens[i].at == r.tokens[i-1].end
	}
	return !(glued(i) && r.tokens[i-1].glued) && (!glued(i+1) || particles[r.tokens[i+1].word] && !glued(i+2))
}

// isHalf reports whether a token is the last of a text that tidy cut, perhaps
// within a word.
func (r *reading) isHalf(t token) bool { return r.cut && r.text[t.end:] == hidden }

// continues reports whether a longer word than this leads on.
func (b *branch) continues(word string) bool {
	for next := range b.next {
		if len(next) > len(word) && strings.HasPrefix(next, word) {
			return true
		}
	}
	return false
}

func (r *reading) isLiteral(l literal, from, to int) bool {
	return r.text[from:to] == l.inner && strings.HasSuffix(r.text[:from], l.before) && strings.HasPrefix(r.text[to:], l.after)
}

// betweenDigits are what may stand between the digits of one number.
const betweenDigits = " -./()_+*#"

// findNumber hides the number of seven digits and more, however grouped, that
// begins with the i-th token: a phone or identity number, the patient's or
// another's.
func (r *reading) findNumber(i int) {
	if !r.tokens[i].digits || i > 0 && r.continues(i-1) {
		return
	}
	count, last := 0, i
	for ; ; last++ {
		count += r.tokens[last].end - r.tokens[last].at
		if !r.continues(last) {
			break
		}
	}
	from, to := r.tokens[i].at, r.tokens[last].end
	if count < 7 || r.inSafe(from, to) || slices.Contains(r.safe, span{from, to}) {
		return
	}
	if from > 0 && (r.text[from-1] == '+' || r.text[from-1] == '(') {
		from--
	}
	r.hidden = append(r.hidden, span{from, to})
}

// continues reports whether the number at the i-th token goes on with the next.
func (r *reading) continues(i int) bool {
	if i+1 >= len(r.tokens) || !r.tokens[i].digits || !r.tokens[i+1].digits {
		return false
	}
	at, next := r.tokens[i], r.tokens[i+1]
	between := r.text[at.end:next.at]
	return len(between) <= 3 && strings.Trim(between, betweenDigits) == "" &&
		r.isSafe(at.at) == r.isSafe(next.at)
}

func (r *reading) isSafe(at int) bool {
	return slices.ContainsFunc(r.safe, func(s span) bool { return s.from <= at && at < s.to })
}

// findGrouped hides a number of the record that begins with the i-th token,
// with whatever between its digits.
func (r *reading) findGrouped(i int) {
	digits := ""
	for j := i; j < len(r.tokens) && len(digits) <= maxDigits; j++ {
		t := r.tokens[j]
		if !t.digits || j > i && t.at-r.tokens[j-1].end > 3 {
			return
		}
		digits += r.text[t.at:t.end]
		if r.secrets.numbers[digits] && !r.inSafe(r.tokens[i].at, t.end) {
			r.hidden = append(r.hidden, span{r.tokens[i].at, t.end})
		}
	}
}

func (r *reading) findPatterns() {
	if strings.Contains(r.text, "@") {
		for _, at := range emailAddress.FindAllStringIndex(r.text, -1) {
			r.hidden = append(r.hidden, span{at[0], at[1]})
		}
	}
	if strings.Contains(r.text, "patient/") {
		for _, at := range patientPath.FindAllStringSubmatchIndex(r.text, -1) {
			r.hidden = append(r.hidden, span{at[2], at[3]})
		}
	}
	for _, value := range r.secrets.symbols {
		for from := 0; ; {
			at := strings.Index(r.text[from:], value)
			if at < 0 {
				break
			}
			r.hidden = append(r.hidden, span{from + at, from + at + len(value)})
			from += at + len(value)
		}
	}
}

// joinFragments hides also what stands beside something hidden and is a part of
// a value: 홍 before 길동, 8 after Fjordgata, 17 before April.
func (r *reading) joinFragments() {
	covered := make([]bool, len(r.text))
	cover := func(at span) {
		for i := at.from; i < at.to; i++ {
			covered[i] = true
		}
	}
	for _, at := range r.hidden {
		cover(at)
	}
	for i, c := range r.text {
		if c == hiddenRune {
			cover(span{i, i + len(hidden)})
		}
	}
	join := func(tokens []token) {
		if s := r.secrets; !s.fragments[tokens[0].word] && !(len(tokens) > 1 && s.fillers[tokens[0].word] && s.fragments[tokens[1].word]) {
			return
		}
		if at := (span{tokens[0].at, tokens[0].end}); !covered[at.from] && !r.isSafe(at.from) {
			r.hidden = append(r.hidden, at)
			cover(at)
		}
	}
	for i, t := range r.tokens {
		if r.beside(covered, t.at-1, -1) {
			join(r.tokens[i:min(i+2, len(r.tokens))])
		}
	}
	for i := len(r.tokens) - 1; i >= 0; i-- {
		if r.beside(covered, r.tokens[i].end, 1) {
			join([]token{r.tokens[i], r.tokens[max(i-1, 0)]})
		}
	}
}

// beside reports whether, going from at, something hidden comes after three
// blanks or signs at most.
func (r *reading) beside(covered []bool, at, step int) bool {
	for n := 0; n <= 3 && at >= 0 && at < len(covered); n++ {
		if covered[at] {
			return true
		}
		if c := r.text[at]; c >= utf8.RuneSelf || isWord(rune(c)) {
			return false
		}
		at += step
	}
	return false
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
