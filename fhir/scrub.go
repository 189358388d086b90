package fhir

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

const hidden = "…"

// Scrub replaces patient values in a server's text by "…", so that it can be
// logged and passed on. Values are what the resources hold: telecom and
// identifier values, names, address parts, dates, ids, strings in extensions.
// E-mail addresses, numbers of seven digits and more (but dates and UUIDs) and
// ids in "Patient/<id>" go in any case. A value counts only as a whole word, from
// three letters on, and not where it is a word that such texts use themselves
// ("phone", "invalid").
func Scrub(reason string, resources ...[]byte) string {
	var values []string
	for _, resource := range resources {
		values = append(values, patientValues(resource)...)
	}
	return scrub(reason, values)
}

var (
	emailAddress = regexp.MustCompile(`[^\s<>"'(),;:=]+@[^\s<>"'(),;:=]+[^\s<>"'(),;:=.]`)
	patientPath  = regexp.MustCompile(`Patient/[A-Za-z0-9\-.]{1,64}`)
	// Seven digits and more, however they are grouped: a phone or identity
	// number, the patient's or another's. Dates and UUIDs are left.
	longNumber = regexp.MustCompile(`(?i)` + uuid + `|[+(]?\d(?:(?:[ \-./()]|%2[0BD]){0,3}\d){6,}`)
	dateOrUUID = regexp.MustCompile(`(?i)^(?:\d{4}-\d\d-\d\d|` + uuid + `)$`)
)

const uuid = `\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`

func scrub(text string, values []string) string {
	// The longest first, so that a value within another leaves no rest.
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, value := range slices.Compact(values) {
		text = hide(text, value)
	}
	text = emailAddress.ReplaceAllString(text, hidden)
	text = longNumber.ReplaceAllStringFunc(text, func(number string) string {
		if dateOrUUID.MatchString(number) {
			return number
		}
		return hidden
	})
	return patientPath.ReplaceAllString(text, "Patient/"+hidden)
}

// hide replaces a value where it stands as a whole word, in any case.
func hide(text, value string) string {
	value = strings.TrimSpace(value)
	if utf8.RuneCountInString(value) < minRunes(value) || commonWords[strings.ToLower(value)] {
		return text
	}
	// Not strings.ToLower and an index: lower case may have another length.
	pattern := regexp.MustCompile(`(?i)` + regexp.QuoteMeta(value))
	bounded := !isEastAsian(value) // particles follow a Korean name without a space
	var b strings.Builder
	rest := 0
	for _, at := range pattern.FindAllStringIndex(text, -1) {
		if bounded && !wholeWord(text, at[0], at[1]) || strings.HasSuffix(text[:at[0]], "HAPI-") {
			continue
		}
		b.WriteString(text[rest:at[0]] + hidden)
		rest = at[1]
	}
	return b.String() + text[rest:]
}

func minRunes(value string) int {
	if isEastAsian(value) {
		return 2
	}
	return 3
}

func wholeWord(text string, from, to int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	first, _ := utf8.DecodeRuneInString(text[from:])
	last, _ := utf8.DecodeLastRuneInString(text[:to])
	after, _ := utf8.DecodeRuneInString(text[to:])
	return !(isWord(before) && isWord(first)) && !(isWord(last) && isWord(after))
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// commonWords are the words of validators' texts: hiding one where a value
// happens to be the same would tell nothing less and spoil the text.
var commonWords = func() map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(`address and are attribute bad birth birthdate cannot city client code column
		constraint contact content could country date day does empty element email error exist expected failed family
		field fhir first for format found gender get given had has have home identifier invalid json known last line
		mail male female missing mobile month must name none not null number old other out parse patient phone please
		post put read request required resource server should state status street string system telecom temp text the
		time token type unknown update use uuid valid value version was with work year zip`) {
		words[w] = true
	}
	return words
}()

// secretKeys are the members whose strings are a patient's values, wherever
// they stand.
var secretKeys = map[string]bool{
	"value": true, "family": true, "given": true, "line": true, "city": true, "district": true, "state": true,
	"postalCode": true, "country": true, "birthDate": true, "deceasedDateTime": true,
	"valueString": true, "valueDate": true, "valueDateTime": true,
}

// patientValues lists the values of a resource; nil for what is no JSON.
func patientValues(resource []byte) []string {
	if !gjson.ValidBytes(resource) {
		return nil
	}
	doc := gjson.ParseBytes(resource)
	values := []string{str(doc, "id")}
	collect(doc, "", 1, &values)
	return values
}

func collect(v gjson.Result, key string, depth int, values *[]string) {
	if depth > maxDepth {
		return
	}
	v.ForEach(func(k, value gjson.Result) bool {
		name := k.Str
		if v.IsArray() {
			name = key
		}
		switch {
		case value.Type == gjson.JSON:
			collect(value, name, depth+1, values)
		case value.Type == gjson.String && (secretKeys[name] || name == "text" && (key == "name" || key == "address")):
			*values = append(*values, variants(name, value.Str)...)
		}
		return true
	})
}

// variants adds the forms in which servers repeat a value: a number's bare
// digits, the words of a name.
func variants(name, value string) []string {
	list := []string{value}
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, value)
	if len(digits) >= 7 && digits != value {
		list = append(list, digits)
	}
	switch name {
	case "text", "family", "given", "line":
		list = append(list, strings.Split(value, "\n")...)
		list = append(list, strings.Fields(value)...)
	}
	return list
}
