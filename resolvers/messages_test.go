package resolvers

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/graph"
)

func inKorean(t *testing.T) context.Context { return WithAcceptLanguage(t.Context(), "ko") }

func isKorean(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Hangul, r) })
}

// Whatever a write can end with is told in Korean too: the words of this package, and the
// reasons of our own that writethrough and fhir give.
func TestWhatAWriteEndsWithIsKnownInKorean(t *testing.T) {
	t.Parallel()
	texts := []string{profileNotPermittedWords, untouchedWords, unavailableWords}
	for _, text := range words {
		texts = append(texts, text)
	}
	for _, source := range []struct {
		files string
		says  *regexp.Regexp
		least int
	}{
		{"../writethrough/*.go", regexp.MustCompile(`Reason:? *:?=? "([^"]+)"`), 18},
		{"../fhir/transport.go", regexp.MustCompile(`return "([A-Z][a-z][^"]+)", (?:true|false)`), 8},
		{"../fhir/words.go", regexp.MustCompile(`"(The server [^"(]+)"`), 12},
		{"../fhir/profile_openemr.go", regexp.MustCompile(`(?:c\.add\([^"]*(?:"[^" ]+", )?|return )"(OpenEMR [^"]+[^" ])"`), 9},
	} {
		files, err := filepath.Glob(source.files)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, said := range source.says.FindAllStringSubmatch(string(code), -1) {
				found++
				texts = append(texts, said[1])
			}
		}
		if found < source.least {
			t.Errorf("only %d reasons are found in %s", found, source.files)
		}
	}
	ctx := inKorean(t)
	for _, text := range texts {
		if !isKorean(Say(ctx, text)) {
			t.Errorf("%q is told as %q", text, Say(ctx, text))
		}
		if told := Say(t.Context(), text); told != text {
			t.Errorf("%q is told as %q without a language", text, told)
		}
	}
}

// So are the errors of the request that its user may see.
func TestWhatEndsARequestIsKnownInKorean(t *testing.T) {
	t.Parallel()
	says := regexp.MustCompile("(?:requestError\\(ctx, Code\\w+, |unavailable\\(ctx, |errors\\.New\\(|fmt\\.Errorf\\(|fmt\\.Sprintf\\()(\"(?:[^\"\\\\]|\\\\.)+\"|`[^`]+`)")
	found := 0
	for _, file := range []string{"page.go", "cursor.go", "contact.go", "feed.go", "rate.go", "resolver.go", "subscriptions.go", "../graph/scalars.go"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range says.FindAllStringSubmatch(string(code), -1) {
			text, err := strconv.Unquote(said[1])
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "%s") || strings.Contains(text, "%T") { // for the log
				continue
			}
			found++
			text = strings.NewReplacer("%d", "7", "%v", "7s").Replace(text)
			if told := Say(inKorean(t), text); !isKorean(told) || strings.Contains(told, "#") {
				t.Errorf("%s: %q is told as %q", file, text, told)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d texts are found", found)
	}
}

func TestWhatStandsInAMessageStaysInKorean(t *testing.T) {
	t.Parallel()
	ctx := inKorean(t)
	for text, kept := range map[string][]string{
		"The server answered with an empty body (status 503)":                                                  {"503"},
		"internal error; tell the operator this incident id: 0198c0de-0000-7000-8000-000000000123":             {"0198c0de-0000-7000-8000-000000000123"},
		"No access to the FHIR server: the authorization server answered with status 502":                      {"502", "authorization"},
		"a patient may change the own record 60 times at once and then every 1s: try again in 3 s":             {"60", "1", "3"},
		"this mutation changed nothing: the database is away: try again later":                                 nil,
		"this mutation changed nothing, others of the request may have: the database is away: try again later": nil,
		"The server gave a reason that may hold patient data (unknown)":                                        {"(unknown)"},
		"this mutation changed nothing: internal error; tell the operator this incident id: 0198c0de":          {"0198c0de"},
		"the database did not answer in time: try again later, or ask for less at once":                        nil,
		"this record was merged into another":                                                                  nil,
		"you have 50 subscriptions already, and may have no more at once: end one first":                       {"50"},
		"it is not known whether this mutation changed anything; read the patient before you send it again: x": {": x"},
	} {
		told := Say(ctx, text)
		if !isKorean(told) || strings.Contains(told, "#") {
			t.Errorf("%q is told as %q", text, told)
		}
		for _, part := range kept {
			if !strings.Contains(told, part) {
				t.Errorf("%q is told as %q, without %s", text, told, part)
			}
		}
	}
	for _, own := range []string{"Invalid phone format", "Value 12 is not valid", ""} { // of the FHIR server
		if told := Say(ctx, own); told != own {
			t.Errorf("the FHIR server's own %q is told as %q", own, told)
		}
	}
}

func TestEveryRuleAndFieldIsKnownInKorean(t *testing.T) {
	t.Parallel()
	for rule := range rules {
		for _, path := range [][]string{{"phone"}, {"allergies"}} {
			if f := fault(inKorean(t), path, rule, "5"); !isKorean(f.Message) || strings.ContainsAny(f.Message, "{#") {
				t.Errorf("%s: %q", rule, f.Message)
			}
		}
	}
	if f := fault(t.Context(), []string{"phone"}, "min", "1"); f.Message != "must not be empty" || !isKorean(fault(inKorean(t), f.Field, "min", "1").Message) {
		t.Errorf("%q", f.Message)
	}
	for _, begin := range begins {
		if korean[begin] == "" {
			t.Errorf("%q begins a message, and has no Korean words", begin)
		}
	}
}

// A form shows the message beside its field, which it calls by its own name.
func TestAFieldErrorDoesNotRepeatItsField(t *testing.T) {
	t.Parallel()
	v, err := NewValidation("KR")
	if err != nil {
		t.Fatal(err)
	}
	set := func(text string) graphql.Omittable[*string] { return graphql.OmittableOf(&text) }
	empty, long := "", strings.Repeat("x", 300)
	for _, ctx := range []context.Context{t.Context(), inKorean(t)} {
		faults := v.Profile(ctx, graph.UpdatePatientProfileInput{PatientID: "P-1"})
		for _, contact := range []graph.UpdatePatientContactInput{
			{PatientID: empty}, {PatientID: "P-1", Phone: set("1"), Email: set("x")}, {PatientID: long, ExpectedVersion: &empty, IdempotencyKey: &long},
		} {
			faults = append(faults, v.Contact(ctx, contact)...)
		}
		if len(faults) < 7 {
			t.Fatalf("%d faults", len(faults))
		}
		for _, f := range faults {
			if name := fieldName(ctx, f.Field); name != "" && strings.Contains(f.Message, name) {
				t.Errorf("%v: %q", f.Field, f.Message)
			}
		}
		if told := invalidInput(ctx, []*graph.FieldError{fault(ctx, []string{"address", "lines", "0"}, "line", "")}).Message; !strings.HasPrefix(told, fieldName(ctx, []string{"lines", "0"})+": ") {
			t.Errorf("the message of the whole does not name its field: %q", told)
		}
	}
}

func TestTheLanguageThatTheCallerLikesBest(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"":                        "en",
		"ko-KR,ko;q=0.9,en;q=0.8": "ko",
		"en-GB, ko;q=0.9":         "en",
		"de":                      "en",
		"*":                       "en",
		"en;q=0,*":                "ko",
		"EN-us;q=0.0, * ;q=0.1":   "ko",
		"ko;q=0,*":                "en",
		"*;q=0,ko;q=0.1":          "ko",
		"*, en;q=0.1":             "ko",
		"*;q=0.1, en":             "en",
		"de, *;q=0.5":             "en",
		"en;q=0, de, *;q=0.2":     "ko",
		"en;q=0.5, ko, *;q=0.1":   "ko",
		"*;q=0":                   "en",
		"en;q=0":                  "en", // nothing that we speak is wanted
		"ko;q=0.9, no_tag!!;q=5":  "ko",
		"!, ko":                   "ko",
		",,":                      "en",
	} {
		if got := Language(WithAcceptLanguage(t.Context(), header)); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
