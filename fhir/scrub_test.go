package fhir

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestScrub(t *testing.T) {
	t.Parallel()
	resource := []byte(`{"resourceType":"Patient","id":"a34bb9d5-039f","birthDate":"1949-11-14","gender":"female",
		"name":[{"text":"Jim Chalmers","family":"Chalmers","given":["Jim","An"]},{"family":"홍","given":["길동"],"text":"홍길동"}],
		"telecom":[{"system":"phone","value":"(555) 907-9875","use":"home"},{"system":"phone","value":"phone"},{"system":"phone","value":"invalid"},{"system":"email","value":"not-an-email"}],
		"address":[{"line":["1045 Schmitt Spur"],"city":"Ulm","state":"MA","postalCode":"0450","country":"US"}],
		"identifier":[{"system":"http://hl7.org/fhir/sid/us-ssn","value":"999-81-5679"}],
		"contact":[{"name":{"family":"Mutter"}}],
		"extension":[{"url":"u","valueString":"Cicely661 Pacocha935"}],
		"maritalStatus":{"text":"Never Married"}}`)
	for text, want := range map[string]string{
		"Email not-an-email is not a valid email":        "Email … is not a valid email",
		"Invalid phone format":                           "Invalid phone format",
		"phone: invalid (home)":                          "phone: invalid (home)",
		"UUID a34bb9d5-039f does not exist":              "UUID … does not exist",
		"Resource Patient/xyz.1 is not known":            "Resource Patient/… is not known",
		"(555) 907-9875 and 5559079875":                  "… and …",
		"One error for Jim, jim and JIM CHALMERS":        "One error for …, … and …",
		"An error for Jim":                               "The server refused a value", // An is a name here
		"Jimmy stays, Chalmersson":                       "Jimmy stays, …",
		"born 1949-11-14 at 1045 Schmitt Spur, Ulm":      "born … at …, …",
		"HAPI-0450: 0450 is no zip":                      "HAPI-0450: … is no zip",
		"홍길동은 길동이":                                       "…은 …이",
		"somebody.else@example.org wrote":                "… wrote",
		"+1 555 907 9875, 555%2D907%2D9875, 907-9875":    "…, …, …",
		"key (phone)=(010-1234-5678) of another":         "key (phone)=…) of another",
		"at 2026-11-25T19:46:52.719+00:00, HAPI-0450":    "at 2026-11-25T19:46:52.719+00:00, HAPI-0450",
		"id 00000000-0000-0000-0000-000000000000 is bad": "id 00000000-0000-0000-0000-000000000000 is bad",
		"no street called Schmitt":                       "no street called …",
		"ssn 999-81-5679, mother Mutter":                 "ssn …, mother …",
		"née Cicely661 Pacocha935":                       "née …",
		"Never Married, http://hl7.org/fhir/sid/us-ssn":  "…, http://hl7.org/fhir/sid/us-ssn",
		"status 200 of MA, US":                           "status 200 of …, …",
		"":                                               "",
	} {
		if got := SecretsOf(resource).Text(text, "value"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := SecretsOf([]byte("no JSON"), []byte(`{"id":"x-17"}`)).Text("value x-17", ""); got != "value …" {
		t.Errorf("several resources: %q", got)
	}
}

// Whatever a long enough value is, it does not survive standing alone.
func TestScrubHidesAnyValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := strings.TrimSpace(rapid.StringMatching(`[A-Za-z0-9+@.()\[\]*?\\|^$ ıİßſK-]{3,20}`).Draw(t, "value"))
		if len([]rune(value)) < 3 || isCommon(value) || strings.Contains(strings.ToLower("the value is wrong…"), strings.ToLower(value)) {
			t.Skip("too short, or words of the sentence itself")
		}
		resource := patientJSON("p", `"telecom":[{"value":`+quote(value)+`}]`)
		if got := SecretsOf(resource).Text("the value: "+value+" is wrong", "value"); strings.Contains(got, value) {
			t.Fatalf("%q survives in %q", value, got)
		}
	})
}

func isCommon(value string) bool {
	tokens := foldText(value).tokens
	return len(tokens) == 1 && commonWords[tokens[0].word]
}

// TestOnlyOrdinaryWordsAreLeftWhereNoPatientIsAtHand: what a server says of a read, a
// search or an export may name whom it likes.
func TestOnlyOrdinaryWordsAreLeftWhereNoPatientIsAtHand(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Missing or wrong bearer token":            "Missing or wrong bearer token",
		"No token to read Solveig Aune, born 1938": "No token to read … …, … …",
	} {
		for _, op := range []string{OpRead, OpSearch, OpHistory, OpCapabilities, OpExport} {
			a := answer{request: request{op: op, id: "p", want: "Patient"}, status: 401, header: http.Header{}, now: testNow,
				body: []byte(`{"message":` + quote(text) + `}`)}
			var e *Error
			if !errors.As(a.failure(), &e) || e.Reason != want {
				t.Errorf("%s, %q: %v, want %q", op, text, e, want)
			}
		}
	}
}

// The padding of a base64 value goes with it, whatever follows; a letter behind
// it is no padding's end, in whatever script.
func TestPaddingOfBase64(t *testing.T) {
	t.Parallel()
	const encoded = "c29sdmVpZzpodW50ZXI=" // solveig:hunter
	s := SecretsOf()
	s.addCredentials(strings.TrimRight(encoded, "="))
	for text, want := range map[string]string{
		"token " + encoded:               "token …",
		"token " + encoded + " is bad":   "token … is bad",
		"token '" + encoded + "' is bad": "token '…' is bad",
		"token «" + encoded + "» is bad": "token «…» is bad",
		"token “" + encoded + "” is bad": "token “…” is bad",
		"token " + encoded + "x":         "token …=x",
		"token " + encoded + "é":         "token …=é",
		"token " + encoded + "שלום":      "token …=שלום",
		"token " + encoded + "토큰":        "token …=토큰",
	} {
		if got := s.Text(text, "security"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
