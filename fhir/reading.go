package fhir

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

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
		r.findPart(i)
		r.findNumber(i)
		r.findGrouped(i)
		r.findUnknownMonth(i)
	}
	for i := 0; i < len(r.tokens) && len(r.secrets.dateParts) > 0; {
		i = r.findBirthDate(i)
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

// inSafe reports whether it lies within something safe and is not all of it.
func (r *reading) inSafe(from, to int) bool {
	return slices.ContainsFunc(r.safe, func(s span) bool {
		return from < s.to && to > s.from && (from > s.from || to < s.to)
	})
}

// findValue hides the values that begin with the i-th token, whole and as far as
// a cut left them.
func (r *reading) findValue(i int) {
	at, common := &r.secrets.root, true
	for j := i; j < len(r.tokens); j++ {
		t := r.tokens[j]
		if r.isHalf(t) && at.continues(t.word) {
			r.hidden = append(r.hidden, span{r.tokens[i].at, t.end})
		}
		if at = at.next[t.word]; at == nil {
			return
		}
		common = common && commonWords[t.word]
		m := r.matchHere(at, i, j)
		if endCut := r.cut && j == len(r.tokens)-1 && len(at.next) > 0; endCut && !common {
			m = hides // for it may be the longer value
		}
		if m != noMatch && !r.inSafe(r.tokens[i].at, t.end) {
			r.hideValue(m, i, j)
		}
	}
}

// matchHere is what the match of a value, the i-th to the j-th token, comes to
// as it is written here.
func (r *reading) matchHere(value *branch, i, j int) match {
	from, last, m := r.tokens[i].at, r.tokens[j], value.match
	if m == capitals && !last.capitals || m == alone && !r.isAlone(j) {
		m = noMatch
	}
	if m == noMatch && slices.ContainsFunc(value.literals, func(l literal) bool { return r.isLiteral(l, from, last.end) }) {
		m = hides
	}
	return m
}

// hideValue hides the i-th to the j-th token in the way that their match asks.
func (r *reading) hideValue(m match, i, j int) {
	from, last := r.tokens[i].at, r.tokens[j]
	switch {
	case m == ambiguous, m == alone && particles[last.word]:
		r.unsure = append(r.unsure, span{from, last.end})
	case m == hidesEach:
		for _, word := range r.tokens[i : j+1] {
			r.hidden = append(r.hidden, span{word.at, word.end})
		}
	default:
		r.hidden = append(r.hidden, span{from, r.paddingEnd(last.end)})
	}
}

// paddingEnd is where the "=" end that pad a base64 value up to at. Before a
// letter or digit they are no padding.
func (r *reading) paddingEnd(at int) int {
	rest := strings.TrimLeft(r.text[at:], "=")
	if next, _ := utf8.DecodeRuneInString(rest); rest != "" && isWord(next) {
		return at
	}
	return len(r.text) - len(rest)
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
	return len(between) <= maxGap && strings.Trim(between, betweenDigits) == "" &&
		r.isSafe(at.at) == r.isSafe(next.at)
}

func (r *reading) isSafe(at int) bool {
	return slices.ContainsFunc(r.safe, func(s span) bool { return s.from <= at && at < s.to })
}

// maxGap is how much may stand between two groups of digits of one number.
const maxGap = 3

// findGrouped hides a number of the record, or a part of one, that begins with
// the i-th token, with whatever between its digits.
func (r *reading) findGrouped(i int) {
	from, to := r.tokens[i].at, 0
	digits := make([]byte, 0, 2*maxDigits)
	part := !r.isSafe(from)
	for j := i; j < len(r.tokens) && len(digits) <= maxDigits; j++ {
		t := r.tokens[j]
		if !t.digits || j > i && t.at-r.tokens[j-1].end > maxGap {
			break
		}
		last := max(len(digits)-3, 0) // the fours before were looked at
		digits = append(digits, r.text[t.at:t.end]...)
		part = part && r.secrets.parts.hasFours(digits[last:])
		if (part && len(digits) >= 4 || r.secrets.numbers[string(digits)]) && !r.inSafe(from, t.end) {
			to = t.end
		}
	}
	if to > 0 {
		r.hidden = append(r.hidden, span{from, to})
	}
}

// findUnknownMonth hides the birth date that begins with the i-th token where its month is
// a word that we do not know: day, word and year in any order.
func (r *reading) findUnknownMonth(i int) {
	if len(r.secrets.birthDays) == 0 || i+2 >= len(r.tokens) {
		return
	}
	three := r.tokens[i : i+3]
	for _, order := range [][3]int{{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}} { // of day, word and year
		word := three[order[1]]
		if !word.digits && !word.glued && !commonWords[word.word] && r.secrets.birthDays[three[order[2]].word+" "+three[order[0]].word] &&
			three[1].at-three[0].end <= maxGap && three[2].at-three[1].end <= maxGap {
			r.hidden = append(r.hidden, span{three[0].at, three[2].end})
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
	join := func(t token) {
		if at := (span{t.at, t.end}); r.secrets.fragments[t.word] && !covered[at.from] && !r.isSafe(at.from) {
			r.hidden = append(r.hidden, at)
			cover(at)
		}
	}
	for _, t := range r.tokens {
		if r.beside(covered, t.at-1, -1) {
			join(t)
		}
	}
	for i := len(r.tokens) - 1; i >= 0; i-- {
		if r.beside(covered, r.tokens[i].end, 1) {
			join(r.tokens[i])
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
