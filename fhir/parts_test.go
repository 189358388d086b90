package fhir

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// TestPartsOfValues: a value that was cut, inflected, glued, spelled out or
// repeated in part is hidden; what only looks like it stays.
func TestPartsOfValues(t *testing.T) {
	t.Parallel()
	secrets := SecretsOf(patientJSON("p", `"birthDate":"1978-04-17",
		"name":[{"family":"Ångström","given":["Solveig","Thea"]},{"family":"Παπαδοπούλου","given":["Анастасия"]},{"family":"Fielding","given":["Invali"]}],
		"identifier":[{"value":"780417-2345671"},{"value":"123456789"}],
		"telecom":[{"system":"phone","value":"01012345678"},{"system":"email","value":"sangstrom@fjord.no"}],
		"address":[{"line":["Fjordgata 8"],"city":"Ålesund","postalCode":"6002"}]`))
	for text, want := range map[string]string{
		"value too long: 'Solvei":                           "value too long: '…",
		"value too long: 'Ångst' or ANGSTR":                 "value too long: '…' or …",
		"value too long: 'Παπαδοπ":                          "value too long: '…",
		"Solveigs record, Ångströms, Анастасией":            "… record, …, …",
		"FHIRSolveig PATIENTSOLVEIG xsolveig":               "… … …",
		"no login solveigthea78, 2solveigs2":                "no login …, …",
		"getSolveigName, SolveigXYZ, my_xSolveig_y":         "…, …, my_…_y",
		"no row Aaangstroemx":                               "no row …",
		"it ends with 5678, 345678, 6789, 45-6789, 23 45":   "it ends with …, …, …, …, …",
		"no mail to fjord.no":                               "no mail to …",
		"S o l v e i g, S-o-l-v-e-i-g, S.O.L.V.E.I.G":       "…, …, …",
		"А н а с т а с и я and A\u030a n g s t r o\u0308 m": "… and …",
		"%53+%6F+%6c+%76+%65+%69+%67 is bad":                "… is bad",

		"Sol and Sole are short":            "Sol and Sole are short",
		"the field is invalid":              "the field is invalid",
		"status 567, 4567 or 9012 or 45679": "status 567, … or 9012 or 45679",
		"version 7.0.3 in 2026":             "version 7.0.3 in 2026",
		"a b c d of J. S. Bach":             "a b c d of J. S. Bach",
	} {
		if got := secrets.Text(text, "value"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for expression, want := range map[string]string{
		"Patient.birthDate[1978]":                 "Patient.birthDate[…]",
		"Patient.identifier[780].identifier[417]": "Patient.identifier[…].identifier[…]",
		"Patient.telecom[5678]":                   "Patient.telecom[…]",
		"Patient.name[0].Solveig":                 "Patient.name[0].…",
		"Patient.telecom[17].value":               "Patient.telecom[17].value",
	} {
		if got := secrets.Scrub(Issue{Expression: []string{expression}}).Expression[0]; got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
}

// TestPartsOfNumbersLeaveUUIDs: the error's number is what an operator looks for.
func TestPartsOfNumbersLeaveUUIDs(t *testing.T) {
	t.Parallel()
	secrets := SecretsOf(patientJSON("p", `"identifier":[{"value":"100000000"}],"telecom":[{"value":"2026112619"}]`))
	for _, text := range []string{
		`Search ID "00000000-0000-0000-0000-000000000000" does not exist`,
		"Resource was deleted at 2026-11-26T19:22:59.442+00:00",
	} {
		if got := secrets.Text(text, "value"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// partial are disguises of one word of five letters and more, in a script that
// puts blanks between words.
var partial = map[string]func(string) string{
	"cut":         func(s string) string { r := []rune(s); return string(r[:max(4, (len(r)+1)/2)]) },
	"cut, quoted": func(s string) string { r := []rune(s); return "'" + string(r[:len(r)-1]) },
	"inflected":   func(s string) string { return s + "s" },
	"capitals":    func(s string) string { return "PATIENT" + strings.ToUpper(s) },
	"glued":       func(s string) string { return "FHIR" + s },
	"small":       func(s string) string { return "x" + strings.ToLower(s) + "thea78" },
	"camel":       func(s string) string { return "get" + s + "Name" },
	"underscores": func(s string) string { return "idx_" + s + "q_key" },
	"blanks":      func(s string) string { return eachRune(s, func(r rune) string { return string(r) + " " }) },
	"dots":        func(s string) string { return strings.Join(strings.Split(s, ""), ".") },
	"hyphens":     func(s string) string { return strings.ToUpper(strings.Join(strings.Split(s, ""), "-")) },
}

// letters are those of a text and its digits, plain, with nothing between.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if isWord(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, seen(s))
}

// TestNoPartSurvives: half of a word and four digits of a number are as good as
// the whole.
func TestNoPartSurvives(t *testing.T) {
	t.Parallel()
	var names []string
	for name := range partial {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"Solveig", "Bjørnstad", "Müller", "Ålesund", "Ångström", "Nguyễn", "Иванова", "Παπαδοπούλου", "Schmitt", "Straßer", "Mueller", "Aasen"}).Draw(t, "word")
		number := rapid.StringMatching(`0[1-9]{2}-[1-9][0-9]{3}-[0-9]{4}`).Draw(t, "number")
		body := patientJSON("p", `"name":[{"family":`+quote(word)+`}],"telecom":[{"value":`+quote(number)+`}]`)
		digits := strings.ReplaceAll(number, "-", "")
		from := rapid.IntRange(0, len(digits)-4).Draw(t, "from")
		part := digits[from:rapid.IntRange(from+4, len(digits)).Draw(t, "to")]
		at := rapid.IntRange(0, len(part)).Draw(t, "at")
		quoted := partial[rapid.SampledFrom(names).Draw(t, "disguise")](word)
		if rapid.Bool().Draw(t, "encoded") {
			quoted = eachRune(quoted, func(r rune) string { return percentOf(string(r)) })
		}
		text := "Qq " + quoted + " qq " + strings.TrimSpace(part[:at]+rapid.SampledFrom([]string{"", " ", "-", ") "}).Draw(t, "gap")+part[at:]) + " qq"
		got := SecretsOf(body).Text(text, "value")
		if half := letters(partial["cut"](word)); strings.Contains(letters(got), half) {
			t.Fatalf("%q is left of %q in %q, of %q", half, word, got, text)
		}
		if _, rest, ok := strings.Cut(got, " qq "); !ok || strings.ContainsAny(rest, part) {
			t.Fatalf("some of %q is left in %q, of %q", part, got, text)
		}
	})
}
