package fhir

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
	"pgregory.net/rapid"
)

var (
	someFamilies = []string{"Aune", "Müller", "Bjørnstad", "O’Brien", "Nguyễn", "Li", "Wu", "Smith", "Иванова", "Παπαδοπούλου", "김", "남궁", "山田", "محمد", "כהן", "สมชาย", "शर्मा", "Abel", "Field", "İpek", "Straße", "Yundt842", "García-Lorca"}
	someGivens   = []string{"Solveig", "Zoë", "Bo", "Jo", "May", "An", "Do", "Will", "Анна", "Ελένη", "길동", "하늘", "花子", "فاطمة", "שרה", "วันดี", "प्रिया", "Anne-Marie", "Eden", "Nora"}
	someCities   = []string{"Ålesund", "서울특별시", "München", "東京", "Reading", "Ulm", "Saint-Denis", "Львів"}
	someLines    = []string{"Fjordgata 8", "1045 Schmitt Spur", "Hauptstraße 12b", "테헤란로 152", "12 Main St", "神宮前1丁目"}
)

// drawRecord draws a patient and lists what no text may repeat of it.
func drawRecord(t *rapid.T) (body []byte, values []string) {
	pick := func(label string, from []string) string {
		v := rapid.SampledFrom(from).Draw(t, label)
		values = append(values, v)
		return v
	}
	digits := rapid.StringMatching(`0[1-9]{2}-[1-9][0-9]{3}-[0-9]{4}`).Draw(t, "phone")
	email := rapid.StringMatching(`[a-z]{4,8}[0-9]{2}\.[a-z]{4,8}@[a-z]{4,8}\.org`).Draw(t, "email")
	born := time.Date(rapid.IntRange(1900, 2020).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month")), rapid.IntRange(1, 28).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
	note := rapid.StringMatching(`[bcdfghjk][aiou][bdfgklmn]{2}[aiou][lmnrs]{2} [qxz][aiou][bdfgklmn]{3}[aiou]`).Draw(t, "note")
	values = append(values, digits, email, note)
	for _, layout := range []string{"2006-01-02", "02.01.2006", "01/02/2006", "2 January 2006", "January 2, 2006", "20060102", "02-Jan-2006", "2006-01-02T00:00:00Z", "2006.1.2", "02.01.06", "Mon Jan 02 15:04:05 MST 2006"} {
		values = append(values, born.Format(layout))
	}
	resource := map[string]any{
		"resourceType": "Patient", "id": "p-1", "birthDate": born.Format(time.DateOnly),
		"name":    []any{map[string]any{"family": pick("family", someFamilies), "given": []string{pick("given", someGivens)}}},
		"telecom": []any{map[string]any{"system": "phone", "value": digits}, map[string]any{"system": "email", "value": email}},
		"address": []any{map[string]any{"line": []string{pick("line", someLines)}, "city": pick("city", someCities)}},
		"text":    map[string]any{"status": "generated", "div": "<div><p>" + html.EscapeString(note) + "</p></div>"},
		"contact": []any{map[string]any{"name": map[string]any{"text": pick("contact", someGivens) + " " + pick("contact", someFamilies)}}},
	}
	body, err := json.Marshal(resource)
	if err != nil {
		t.Fatal(err)
	}
	return body, values
}

func withoutMarks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

func eachRune(s string, as func(r rune) string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(as(r))
	}
	return b.String()
}

var disguises = map[string]func(string) string{
	"as it is":       func(s string) string { return s },
	"capitals":       strings.ToUpper,
	"small":          strings.ToLower,
	"decomposed":     norm.NFD.String,
	"compatibility":  norm.NFKD.String,
	"accents off":    func(s string) string { return norm.NFC.String(withoutMarks(s)) },
	"query":          url.QueryEscape,
	"path":           url.PathEscape,
	"all percent":    func(s string) string { return eachRune(s, func(r rune) string { return percentOf(string(r)) }) },
	"twice percent":  func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"entities":       html.EscapeString,
	"by number":      func(s string) string { return eachRune(s, func(r rune) string { return fmt.Sprintf("&#%d;", r) }) },
	"by hex":         func(s string) string { return eachRune(s, func(r rune) string { return fmt.Sprintf("&#x%X;", r) }) },
	"JSON":           func(s string) string { return eachRune(s, jsonEscape) },
	"zero width":     func(s string) string { return eachRune(s, func(r rune) string { return string(r) + "\u200b" }) },
	"soft hyphens":   func(s string) string { return eachRune(s, func(r rune) string { return string(r) + "\u00ad" }) },
	"full width":     width.Widen.String,
	"other hyphens":  func(s string) string { return strings.NewReplacer("-", "\u2011", " ", "\u00a0").Replace(s) },
	"minus":          func(s string) string { return strings.ReplaceAll(s, "-", "\u2212") },
	"dots":           func(s string) string { return strings.NewReplacer("-", ".", " ", ".").Replace(s) },
	"underscores":    func(s string) string { return strings.NewReplacer("-", "_", " ", "_").Replace(s) },
	"a number glued": func(s string) string { return s + "12" },
	"glued before":   func(s string) string { return "12" + s },
	"a letter":       func(s string) string { return "[" + s + "]x" },
	"doubled blanks": func(s string) string { return strings.ReplaceAll(s, " ", "  \t") },
}

func percentOf(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

func jsonEscape(r rune) string {
	if r > 0xFFFF {
		return string(r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// seen is a text as a reader makes it out, in words: independent of fold.
func seen(s string) string {
	for range 3 {
		if u, err := url.QueryUnescape(s); err == nil {
			s = u
		}
		s = html.UnescapeString(s)
		var u string
		if json.Unmarshal([]byte(`"`+strings.ReplaceAll(s, `"`, `'`)+`"`), &u) == nil {
			s = u
		}
	}
	s = withoutMarks(norm.NFKD.String(s))
	return " " + strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !isWord(r) && !unicode.Is(unicode.Mc, r) }), " ") + " "
}

// TestNoDisguiseSurvives: whatever a server repeats of a patient, and however it
// writes it, is not in what is passed on.
func TestNoDisguiseSurvives(t *testing.T) {
	t.Parallel()
	var names []string
	for name := range disguises {
		names = append(names, name)
	}
	templates := []string{"Patient %s is not valid", "the value '%s' of Patient.telecom[0]", "%s", "(%s)", "key=%s, see the log", "error,%s.", "%s: must match %s"}
	rapid.Check(t, func(t *rapid.T) {
		body, values := drawRecord(t)
		value := rapid.SampledFrom(values).Draw(t, "value")
		quoted := disguises[rapid.SampledFrom(names).Draw(t, "disguise")](value)
		text := strings.ReplaceAll(rapid.SampledFrom(templates).Draw(t, "template"), "%s", quoted)
		if rapid.Bool().Draw(t, "long") { // across the cut
			text = strings.Repeat("x", rapid.IntRange(0, 60).Draw(t, "shift")) + strings.Repeat(" "+text, 1+maxText/len(text))
		}
		got := SecretsOf(body).Text(text, "value")
		if strings.Contains(seen(got), seen(value)) {
			t.Fatalf("%q survives in %q, of %.300q", value, got, text)
		}
		if rest := strings.Trim(seen(got), " "); strings.HasPrefix(value, "0") && strings.Count(rest, value[len(value)-4:]) > 0 && len(value) == 13 {
			t.Fatalf("the end of %q survives in %q, of %.300q", value, got, text)
		}
	})
}

// TestNoTailSurvivesACut: however much is hidden before it, and wherever a long
// text is cut, no part of a name comes out.
func TestNoTailSurvivesACut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Solveig Aune", "남궁 하늘", "Zoë Ångström-Müller", "Nguyễn Thị Minh Khai"}).Draw(t, "name")
		body := patientJSON("p", `"name":[{"text":`+quote(name)+`}]`)
		quoted := disguises[rapid.SampledFrom([]string{"as it is", "all percent", "by number", "JSON", "decomposed"}).Draw(t, "disguise")](name)
		gap := rapid.SampledFrom([]string{" ", ", ", " and ", ""}).Draw(t, "gap")
		text := strings.Repeat("x", rapid.IntRange(0, 200).Draw(t, "shift")) + " " + strings.Repeat(quoted+gap, 2*maxText/len(quoted))
		got := SecretsOf(body).Text(text, "value")
		for _, r := range seen(got) {
			if !strings.ContainsRune(" and"+"xtheservrfudl", r) && !unicode.IsDigit(r) {
				t.Fatalf("%q is left of %q in %q, of %.200q", r, name, got, text)
			}
		}
		// What is passed on is cut again, and other values may be looked for in it.
		long := strings.Repeat("not valid ", 20+rapid.IntRange(0, 9).Draw(t, "more")) + strings.Repeat("y", rapid.IntRange(0, 90).Draw(t, "more still"))
		cut := SecretsOf().Text(long+" "+name+" "+strings.Repeat("not valid ", 40), "value")
		got = SecretsOf(body).Text(cut, "value")
		for part := range strings.FieldsSeq(seen(got)) {
			if len(part) > 3 && strings.Contains(seen(name), " "+part) {
				t.Fatalf("%q is left of %q in %q", part, name, got)
			}
		}
	})
}

// TestOrdinaryReasonsStay: what servers say without a patient's values stays as
// it is, for patients of whatever name that is no word of theirs.
func TestOrdinaryReasonsStay(t *testing.T) {
	t.Parallel()
	body := patientJSON("a34bb9d5-039f-4a87-8a06-aa0c0ecd4e6a", `"birthDate":"1938-04-17","gender":"female",
		"name":[{"text":"Solveig Aune","family":"Aune","given":["Solveig"],"prefix":["Mrs."]},{"family":"김","given":["길동"]}],
		"telecom":[{"system":"phone","value":"73 55 01 02","use":"home"},{"system":"email","value":"not-an-email"}],
		"identifier":[{"type":{"coding":[{"code":"MR","display":"Medical Record Number"}]},"system":"urn:x","value":"0389"}],
		"address":[{"use":"home","line":["Fjordgata 8"],"city":"Trondheim","postalCode":"0450","country":"NO"}],
		"meta":{"versionId":"17","lastUpdated":"2026-11-23T19:22:42.915+00:00"},
		"extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race","valueCode":"F"}]`)
	accented := patientJSON("p2", `"birthDate":"2001-01-01","name":[{"family":"Müller","given":["José","Zoë","Noël"]},{"family":"Öst"}],
		"address":[{"line":["Ås 1"],"city":"Helsinki"},{"city":"Århus"}]`)
	for _, reason := range []string{
		"Invalid phone format",
		"at least 1 of the elements is missing at [line: 1, column: 1]",
		"La valeur n’est pas autorisée ; öffentlich, Größe, ¿qué? – Pflichtfeld fehlt",
		"HAPI-0389: Failed to call access method: java.lang.IllegalArgumentException",
		"HAPI-0450: Failed to parse request body as JSON resource",
		"Patient.telecom[0].value: must match the pattern of a phone number",
		"phone must have at least 7 digits, not 3 (rule phone-1)",
		"Error 00000000-0000-0000-0450-000000001938, see the log",
		"OpenEMR 7.0.3 and HAPI FHIR 8.8.0 do not support this",
		"Constraint failed: phone-1: 'Invalid phone format'",
		"Profile reference 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient' has not been checked because it could not be found",
		"Resource was deleted at 2026-11-23T19:22:59.442+00:00",
		"Date of Birth must not be empty",
		"Unexpected end-of-input within/between Object entries at [line: 1, column: 27]",
		"Trying to update Patient/…/_history/1 but this is not the current version",
		"전화번호 형식이 올바르지 않습니다",
		"Téléphone invalide : format attendu",
	} {
		for _, body := range [][]byte{body, accented} {
			if got := SecretsOf(body).Text(reason, "value"); got != reason {
				t.Errorf("%q became %q", reason, got)
			}
		}
	}
	for _, path := range []string{"Patient.telecom[0].value", "Patient.name[0].family", "Patient", "Patient.deceased[x]", "phone_cell", "Patient.contact[2].address.postalCode"} {
		named := SecretsOf(patientJSON("p", `"name":[{"family":"Name","given":["Value","Patient"]}]`))
		if got := named.Scrub(Issue{Expression: []string{path}}).Expression[0]; got != path {
			t.Errorf("%s became %s", path, got)
		}
	}
}
