package fhir

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// How much of a record is looked for in a server's texts. Of a record that
// holds more no text is passed on: each is replaced by its issue's code in
// words. Real Patients stay below a tenth of it.
const (
	maxSecretBytes = 256 << 10
	maxBranches    = 150_000
	maxSecretDepth = 24   // tokens of one value: what follows the first 24 of a value is looked for word by word
	maxJSONValues  = 1e5  // in one resource
	maxSymbols     = 1000 // values without letter and digit
)

// Secrets are the values that a server's texts must not repeat: those of a
// patient and our credentials.
type Secrets struct {
	root      branch
	fragments map[string]bool     // words too short or too common to be hidden but beside a hidden one
	numbers   map[string]bool     // the digits of phone numbers and the like, however grouped
	dates     map[string]bool     // as 2006-01-02, 2006-01 or 2006
	birthDays map[string]bool     // year and day of the birth date, as "2006 2"
	dateParts map[string]datePart // the parts of the birth date, each by itself
	symbols   []string            // values without letter and digit, folded
	parts     parts
	damaged   parts // words of which letters were lost
	bytes     int
	branches  int
	tooMany   bool
	// commonOnly leaves nothing but words that are no value of anybody: what a
	// server says of a patient that is not at hand.
	commonOnly bool
}

// kind says how a value may be repeated.
type kind int

const (
	whole    kind = iota // as it stands: an id, a number, an e-mail address
	free                 // a part of a free text
	place                // a part of an address
	name                 // a part of a name
	composed             // of parts of a name that are values themselves
	private              // a credential: in whatever length
)

// SecretsOf takes the values of resources; what is no JSON has none.
func SecretsOf(resources ...[]byte) *Secrets {
	s := &Secrets{root: branch{}, fragments: map[string]bool{}, numbers: map[string]bool{}, dates: map[string]bool{}, birthDays: map[string]bool{},
		dateParts: map[string]datePart{}, parts: newParts(), damaged: newParts()}
	for _, resource := range resources {
		s.addResource(resource)
	}
	s.parts.sort()
	s.damaged.sort()
	return s
}

func (s *Secrets) addResource(resource []byte) {
	if len(resource) == 0 {
		return
	}
	if jsonlimit.Check(resource, maxDepth, maxJSONValues) != nil {
		s.tooMany = true
		return
	}
	if gjson.ValidBytes(resource) {
		s.collect(gjson.ParseBytes(resource), "", "")
	}
}

// addCredentials adds what we log in with, also as HTTP Basic encodes it.
func (s *Secrets) addCredentials(credentials ...string) {
	for _, c := range credentials {
		if c == "" {
			continue
		}
		s.add(c, private)
		s.add(base64.StdEncoding.EncodeToString([]byte(c)), private)
		if plain, err := base64.StdEncoding.DecodeString(c); err == nil && utf8.Valid(plain) {
			s.add(string(plain), private)
			if user, _, ok := strings.Cut(string(plain), ":"); ok {
				s.add(user, whole)
			}
		}
	}
	s.parts.sort()
}

// structural are the members whose strings are codes and addresses of
// definitions, not values of the patient, wherever they stand. A string with a
// blank is none of these.
var structural = setOf(`resourceType system use url code versionId lastUpdated source profile contentType language type
	status gender unit comparator mode implicitRules valueCode valueCanonical version`)

// collect adds what a resource holds: key is the member's name, parent that of
// the one around it.
func (s *Secrets) collect(v gjson.Result, key, parent string) {
	var family string
	var given []string
	v.ForEach(func(k, value gjson.Result) bool {
		name, above := k.Str, key
		if v.IsArray() {
			name, above = key, parent
		}
		switch {
		case name == "meta" && above == "": // of the version, not of the patient
		case value.Type == gjson.JSON:
			s.collect(value, name, above)
		case value.Type == gjson.Number && len(value.Raw) >= 4:
			s.add(value.Raw, whole)
		case value.Type == gjson.String:
			s.addString(strings.TrimPrefix(name, "_"), above, value.Str)
		}
		switch name {
		case "family":
			family = value.Str
		case "given":
			if given = strs(value); value.Type == gjson.String { // a cached row
				given = []string{value.Str}
			}
		}
		return !s.tooMany
	})
	for _, g := range append(given, strings.Join(given, " ")) {
		if family != "" && g != "" {
			s.add(family+" "+g, composed)
			s.add(g+" "+family, composed)
		}
	}
}

var dateAtStart = regexp.MustCompile(`^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:$|T)`)

// addString adds a member's string; parent is the name of what it stands in.
func (s *Secrets) addString(key, parent, text string) {
	switch {
	case structural[key] && !strings.ContainsAny(text, " \t\n\u00a0"):
		return
	case key == "data" && len(text) > 256: // of a photo; nobody reads its base64
		return
	case key == "value" || key == "id":
		s.add(text, whole)
		if local, domain, ok := strings.Cut(text, "@"); ok {
			s.add(local, whole)
			s.add(domain, whole)
		}
		return
	case key == "reference":
		s.add(text[strings.LastIndexByte(text, '/')+1:], whole)
		return
	}
	if m := dateAtStart.FindStringSubmatch(text[:min(len(text), 11)]); m != nil && key != "postalCode" {
		s.addDate(m[1], m[2], m[3], key == "birthDate")
		return
	}
	switch key {
	case "family", "given", "prefix", "suffix":
		s.add(text, name)
	case "line", "city", "district", "state", "postalCode", "country":
		s.add(text, place)
		if key == "postalCode" {
			s.addNumbers(foldText(text), whole) // 620 014
		}
	case "div":
		s.add(withoutTags(text), free)
	case "text":
		s.add(text, textOf(parent))
	default:
		s.add(text, free)
	}
}

// textOf tells what an element's text is.
func textOf(element string) kind {
	switch {
	case element == "name", strings.HasSuffix(element, "Name"):
		return name
	case element == "address", strings.HasSuffix(element, "Address"):
		return place
	}
	return free
}

// withoutTags puts a blank in the place of each tag.
func withoutTags(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "<")
		b.WriteString(before + " ")
		if _, text, _ = strings.Cut(rest, ">"); !found {
			return b.String()
		}
	}
}

// add adds a value as it stands and, where it may be repeated in part, each of
// its words.
func (s *Secrets) add(text string, k kind) {
	if s.bytes += len(text); s.bytes > maxSecretBytes {
		s.tooMany = true
		return
	}
	list := glyphs(text)
	s.addFolded(fold(list), k)
	if strings.ContainsAny(text, `%&\`) { // as a text is that repeats it
		s.addFolded(fold(decoded(list, false)), k)
	}
	if k != composed && k != private && strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		s.addDamaged(text)
	}
}

func (s *Secrets) addFolded(f folded, k kind) {
	if len(f.tokens) == 0 {
		s.addSymbols(strings.TrimSpace(f.text), k)
		return
	}
	s.addWhole(f, k)
	s.addNumbers(f, k)
	s.parts.add(f, k == name || k == place)
	if k == name || k == place || k == free {
		for i := 0; i < len(f.tokens); {
			n := 1
			for f.tokens[i].glued && i+n < len(f.tokens) && f.tokens[i+n].glued && f.tokens[i+n].at == f.tokens[i+n-1].end {
				n++
			}
			s.addWord(f.tokens[i:i+n], len(f.tokens), k)
			i += n
		}
	}
	if k != private {
		s.addJoined(f, k)
	}
}

// addJoined adds a value without what parts its words: "OBrien", "SolveigAune", and the
// "NW19EA" of NW1 9EA, whose digits become one number.
func (s *Secrets) addJoined(f folded, k kind) {
	n, joined, digits := len(f.tokens), "", false
	for _, t := range f.tokens {
		if t.glued || t.digits && k != place && k != whole {
			return
		}
		joined += f.text[t.at:t.end]
		digits = digits || t.digits
	}
	switch {
	case n < 2, n > 4 && !digits, n > 8, digits && len(joined) < 5: // "1 A" is in many texts
		return
	}
	f = foldText(joined)
	s.insert(f.tokens, hides)
	if !digits {
		s.parts.add(f, k == name || k == place)
	}
}

func (s *Secrets) addSymbols(text string, k kind) {
	if n := utf8.RuneCountInString(text); n == 0 || n < 3 && k != private {
		return
	}
	if len(s.symbols) == maxSymbols {
		s.tooMany = true
		return
	}
	s.symbols = append(s.symbols, text)
}

// addWhole adds a value as it stands. One that is as short or as common as words
// of a server's own counts only with its punctuation.
func (s *Secrets) addWhole(f folded, k kind) {
	letters, common := 0, true
	for _, t := range f.tokens {
		letters += utf8.RuneCountInString(f.text[t.at:t.end])
		common = common && (commonWords[t.word] || t.digits && t.end-t.at < 3)
	}
	one := len(f.tokens) == 1
	switch glued := f.tokens[0].glued; {
	case k == composed:
		s.insert(f.tokens, hidesEach)
	case k == private && one && common:
		s.insert(f.tokens, ambiguous)
	case k == private, !common && letters >= 3, glued && letters >= 2, common && letters >= 3 && !hasLetters(f):
		s.insert(f.tokens, hides)
	case utf8.RuneCountInString(strings.TrimSpace(f.text)) >= 3, k == whole && len(f.tokens) > 1: // also the id a1
		text := strings.TrimSpace(f.text)
		at := strings.Index(f.text, text)
		first, last := f.tokens[0].at, f.tokens[len(f.tokens)-1].end
		l := literal{f.text[at:first], f.text[first:last], f.text[last : at+len(text)]}
		if one && l.before+l.after == "" { // a common word
			return
		}
		if n := s.insert(f.tokens, noMatch); n != nil {
			n.literals = append(n.literals, l)
		}
	}
}

// isIdeographic reports whether two letters of a word's script say as much as a short word
// of another one.
func isIdeographic(letter string) bool {
	r, _ := utf8.DecodeRuneInString(letter)
	return unicode.In(r, unicode.Han, unicode.Hangul, unicode.Katakana)
}

func hasLetters(f folded) bool {
	for _, t := range f.tokens {
		if !t.digits {
			return true
		}
	}
	return false
}

// addNumbers adds the digits of a value, however they are grouped, and the last
// groups of a phone number.
func (s *Secrets) addNumbers(f folded, k kind) {
	if k != whole && k != private {
		return
	}
	digits, letters := "", hasLetters(f)
	for i, t := range f.tokens {
		if t.digits {
			digits += f.text[t.at:t.end]
		}
		if t.digits && t.end-t.at >= 4 && !letters {
			s.insert(f.tokens[i:i+1], hides)
		}
		if last := i == len(f.tokens)-1; !t.digits || last {
			if len(digits) >= 5 && len(digits) <= maxDigits {
				s.numbers[digits] = true
			}
			digits = ""
		}
	}
}

// addWord adds one word of a value that has so many tokens. A word of a script
// without blanks has several.
func (s *Secrets) addWord(word []token, of int, k kind) {
	if first := word[0]; first.digits || first.glued {
		s.addNumberOrGlued(word, k)
	} else {
		s.addLetters(first, k == name || k == place && of == 1, k)
	}
}

// addNumberOrGlued adds a number, or a word of a script without blanks:
//
//	                      name              place     free
//	several glued (길동)    hides             hides     hides, but not its beginning
//	one glued (김)         alone, fragment   fragment  -
//	digits, 3 and more    fragment          hides     hides
//	digits, 1 or 2        fragment          fragment  -
func (s *Secrets) addNumberOrGlued(word []token, k kind) {
	first := word[0]
	if longNumber := first.digits && len(first.word) >= 3; len(word) > 1 || longNumber && k != name {
		for n := 2; n < len(word) && n <= 4 && k != free && isIdeographic(first.word); n++ { // 서울 of 서울특별시
			s.insert(word[:n], hides)
		}
		s.insert(word, hides)
		return
	}
	if first.glued && k == name {
		s.insert(word, alone)
	}
	s.addFragment(first, k)
}

// addLetters adds a word of letters, by its size; entire is a word of a name, or
// a part of an address that is one word:
//
//	                        entire               place     free
//	one letter (J)          fragment             fragment  -
//	two capitals (MA)       capitals, of places  as below  as below
//	a common word (Will)    ambiguous, fragment  -         -
//	two letters (Li)        hides                fragment  -
//	three and more (Aune)   hides                hides     hides
func (s *Secrets) addLetters(t token, entire bool, k kind) {
	size := letterSize(t)
	switch common := commonWords[t.word]; {
	case size == 1:
		s.addFragment(t, k)
	case size == 2 && t.capitals && entire && k == place:
		s.insert([]token{t}, capitals)
	case common && entire:
		s.insert([]token{t}, ambiguous)
		s.addFragment(t, k)
	case common: // a free text and a street hold such words as server's texts do
	case size >= 3, entire:
		s.insert([]token{t}, hides)
	default:
		s.addFragment(t, k)
	}
}

// letterSize is the size of a word before it lost its umlauts: Ae has two. A
// letter beyond ASCII counts as its bytes, so that short words of other scripts
// are rather hidden.
func letterSize(t token) int { return max(utf8.RuneCountInString(t.word), t.end-t.at) }

// addFragment keeps what is too short to be hidden by itself. Those of a free
// text are as ordinary words are.
func (s *Secrets) addFragment(t token, k kind) {
	if k != free {
		s.fragments[t.word] = true
	}
}
