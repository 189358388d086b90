package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

func isKorean(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Hangul, r) })
}

// TestEveryMemberSpeaksTheLanguageOfItsCaller: message and detail, and of the FHIR
// server's own reason nothing is changed.
func TestEveryMemberSpeaksTheLanguageOfItsCaller(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "FHIR_TIMEOUT=1s")
	own := s.As(Token(t, auth.RolePatient, LocalNumber))
	for name, c := range map[string]struct {
		as       *Client
		fault    fhirsim.Fault
		input    Object
		typename string
		own      string // the FHIR server's own reason
	}{
		"InvalidInput":           {s.Client, fhirsim.Fault{}, Object{"email": "x"}, "InvalidInput", ""},
		"nothing to change":      {s.Client, fhirsim.Fault{}, Object{}, "InvalidInput", ""},
		"PatientNotFound":        {s.Client, fhirsim.Fault{}, Object{"patientId": "P-0", "phone": NewPhone}, "PatientNotFound", ""},
		"NotPermitted":           {own, fhirsim.Fault{}, Object{"phone": NewPhone}, "NotPermitted", ""},
		"UpdateConflict":         {s.Client, fhirsim.Fault{}, Object{"phone": NewPhone, "expectedVersion": "zz"}, "UpdateConflict", ""},
		"FhirRejected":           {s.Client, fhirsim.Fault{}, Object{"phone": "invalid-phone"}, "FhirRejected", "Invalid phone format"},
		"FhirRejected of ours":   {s.Client, fhirsim.Fault{On: "PUT", Status: http.StatusForbidden}, Object{"phone": NewPhone}, "FhirRejected", ""},
		"FhirUnavailable":        {s.Client, fhirsim.Fault{Close: true}, Object{"phone": NewPhone}, "FhirUnavailable", ""},
		"FhirUnavailable, a 503": {s.Client, fhirsim.Fault{Status: http.StatusServiceUnavailable}, Object{"phone": NewPhone}, "FhirUnavailable", ""},
		"FhirUnavailable, a 401": {s.Client, fhirsim.Fault{Status: http.StatusUnauthorized}, Object{"phone": NewPhone}, "FhirUnavailable", ""},
	} {
		s.FHIR.ClearFaults()
		s.FHIR.SetFault("", c.fault)
		if c.input["patientId"] == nil {
			c.input["patientId"] = Number
		}
		body := Body(t, ContactMutation, Object{"input": c.input})
		for header, korean := range map[string]bool{"ko": true, "ko-KR;q=0.9, en;q=0.3": true, "fr, ko;q=0.1": true, "en, ko;q=0.9": false, "ko;q=0, fr": false, "": false} {
			told, _ := c.as.Post(body, "Accept-Language", header).At("data", "updatePatientContact").(map[string]any)
			Want(t, told, Object{"__typename": c.typename})
			message, _ := told["message"].(string)
			switch detail, has := told["detail"].(string); {
			case c.own != "" && message != c.own:
				t.Errorf("%s in %q: the FHIR server's own reason is %q", name, header, message)
			case c.own == "" && isKorean(message) != korean, has && isKorean(detail) != korean, message == "":
				t.Errorf("%s in %q: %q, %q", name, header, message, detail)
			}
		}
	}
	data := s.Post(Body(t, `mutation { updatePatientProfile(input: {patientId: "P-0", bloodType: "A+"}) { ... on UserError { message } } }`, nil), "Accept-Language", "ko")
	if message, _ := data.At("data", "updatePatientProfile", "message").(string); !isKorean(message) {
		t.Errorf("a profile: %q", message)
	}
}

// A repeated request is told the same in the language of who asks now.
func TestAnAnswerIsToldAgainInAnotherLanguage(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	body := Body(t, ContactMutation, Object{"input": Object{"patientId": Number, "phone": NewPhone, "expectedVersion": "zz", "idempotencyKey": "k"}})
	told := func(language string) Object {
		answer, _ := s.Post(body, "Accept-Language", language).At("data", "updatePatientContact").(map[string]any)
		return answer
	}
	english, korean := told("en"), told("ko")
	if english["operationId"] != korean["operationId"] || isKorean(english["message"].(string)) || !isKorean(korean["message"].(string)) {
		t.Errorf("%v, then %v", english, korean)
	}
}

func TestAnswersSayTheirLanguage(t *testing.T) {
	t.Parallel()
	p := StartWith(t, "http://127.0.0.1:1/fhir", dbtest.SQLite(t))
	for header, want := range map[string]string{"ko-KR,ko;q=0.9,en-US;q=0.8": "ko", "en-GB": "en", "de": "en", "": "en", "*": "en", "en;q=0,*": "ko"} {
		response, err := http.DefaultClient.Do(p.Request(http.MethodPost, "/graphql", `{"query":"{ viewer { role } }"}`, "Accept-Language", header))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if is := response.Header.Get("Content-Language"); is != want || !strings.Contains(strings.Join(response.Header.Values("Vary"), ","), "Accept-Language") {
			t.Errorf("%q: Content-Language %q, Vary %q", header, is, response.Header.Values("Vary"))
		}
	}
}

// A refusal speaks the language of the caller wherever it comes from, and so does an
// answer to a client that offers to go on with another protocol (curl --http2).
func TestRefusalsSpeakTheLanguageOfTheCaller(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "RATE_LIMIT=1")
	const query = `{"query":"{ viewer { role } }"}`
	ask := func(c *Client, body string, headers ...string) (*http.Response, string) {
		response, text := fetch(t, c.Request(http.MethodPost, "/graphql", body, append(headers, "Accept-Language", "ko")...))
		if response.Header.Get("Content-Language") != "ko" || response.Header.Get("Vary") == "" {
			t.Errorf("status %d: Content-Language %q, Vary %q", response.StatusCode, response.Header.Get("Content-Language"), response.Header.Values("Vary"))
		}
		return response, text
	}
	ask(s.As("x"), query)
	ask(s.Client, "{")
	ask(s.Client, query, "Accept", "text/html")
	ask(s.Client, query, "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c")
	flood := s.As(TokenOf(t, Object{"sub": "flood", "role": "nurse"}))
	for range 3_000 { // it takes six unless each takes a second
		if response, text := ask(flood, query); response.StatusCode == http.StatusTooManyRequests {
			if !isKorean(text) {
				t.Errorf("429: %s", text)
			}
			return
		}
	}
	t.Error("no request was refused")
}

// Errors of the request that its user may see are told in the user's language; the name
// of an incident stays.
func TestErrorsOfTheRequestSpeakTheLanguageOfTheCaller(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL)
	if _, err := dbtest.Open(t, databaseURL).Exec(`ALTER TABLE patients RENAME TO gone`); err != nil {
		t.Fatal(err)
	}
	answer := s.Post(Body(t, PatientQuery, Object{"id": Number}), "Accept-Language", "ko")
	fault := Object(answer.At("errors").([]any)[0].(map[string]any))
	incident, _ := fault.At("extensions", "incident").(string)
	if message, _ := fault["message"].(string); answer.ErrorCode() != "INTERNAL" || !isKorean(message) || incident == "" || !strings.HasSuffix(message, incident) {
		t.Errorf("%v", fault)
	}
}
