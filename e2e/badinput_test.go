package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

func TestRequestsThatAreNoOperation(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		check := s.Untouched()
		update := func(input string) string {
			return Body(t, "mutation { updatePatientContact(input: "+input+") { __typename } }", nil)
		}
		for name, c := range map[string]struct {
			body, code string
		}{
			"syntax error":      {`{"query":"{ patient("}`, "GRAPHQL_PARSE_FAILED"},
			"unknown field":     {`{"query":"{ patient(id: \"x\") { ssn } }"}`, "GRAPHQL_VALIDATION_FAILED"},
			"unknown input":     {update(`{patientId: "` + Number + `", fax: "1"}`), "GRAPHQL_VALIDATION_FAILED"},
			"wrong type":        {update(`{patientId: "` + Number + `", phone: 5}`), "GRAPHQL_VALIDATION_FAILED"},
			"missing argument":  {`{"query":"mutation { updatePatientContact { __typename } }"}`, "GRAPHQL_VALIDATION_FAILED"},
			"wrong variable":    {`{"query":"query($n: Int) { patients(first: $n) { totalCount } }","variables":{"n":"many"}}`, "GRAPHQL_VALIDATION_FAILED"},
			"bad date":          {`{"query":"{ patients(filter: {birthDate: \"1990-13\"}) { totalCount } }"}`, "BAD_USER_INPUT"},
			"page too large":    {`{"query":"{ patients(first: 201) { totalCount } }"}`, "BAD_USER_INPUT"},
			"page of none":      {`{"query":"{ patients(first: 0) { totalCount } }"}`, "BAD_USER_INPUT"},
			"both ends":         {`{"query":"{ patients(first: 1, last: 1) { totalCount } }"}`, "BAD_USER_INPUT"},
			"forged cursor":     {`{"query":"{ patients(after: \"Zm9v\") { nodes { id } } }"}`, "BAD_USER_INPUT"},
			"cursor of a count": {`{"query":"{ patients(before: \"Zm9v\") { totalCount } }"}`, "BAD_USER_INPUT"},
			"too many patients": {`{"query":"{` + aliases(1000) + `}"}`, "LIMIT_EXCEEDED"},
			"too many tokens":   {`{"query":"{` + aliases(2000) + `}"}`, "LIMIT_EXCEEDED"},
			"costly page":       {`{"query":"{` + costly(100) + `}"}`, "LIMIT_EXCEEDED"},
			"introspection":     {`{"query":"{ __schema { types { name } } }"}`, "BAD_USER_INPUT"},
		} {
			answer := s.Post(c.body)
			if code := answer.ErrorCode(); code != c.code {
				t.Errorf("%s: code %q, want %q: %v", name, code, c.code, answer.At("errors"))
			}
		}
		check()
	})
}

func aliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d: patient(id: \"x\") { id } `, i)
	}
	return b.String()
}

func costly(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d: patients(first: 200) { nodes { id } } `, i)
	}
	return b.String()
}

func TestBodiesThatAreNoJSON(t *testing.T) {
	t.Parallel()
	p := StartWith(t, "http://127.0.0.1:1/fhir", dbtest.SQLite(t))
	for name, body := range map[string]string{
		"malformed": `{"query":`, "empty": ``, "array": `[]`, "binary": "\x00\xff\xfe", "number": `5`,
	} {
		answer := p.Post(body)
		if answer.Status < 400 || answer.Status > 499 || answer.ErrorCode() != "BAD_USER_INPUT" || strings.Contains(fmt.Sprint(answer), "body:") {
			t.Errorf("%s: status %d, %v", name, answer.Status, answer)
		}
	}
	answer := p.Post(`{"query":"{ viewer { role } }"}`, "Content-Type", "text/plain")
	if answer.Status != http.StatusUnsupportedMediaType || answer.ErrorCode() != "BAD_USER_INPUT" {
		t.Errorf("text/plain: status %d, %v", answer.Status, answer)
	}
	answer = p.Post(`{"query":"{ viewer { role } }","variables":{"x":"` + strings.Repeat("x", 10<<20) + `"}}`)
	if answer.Status != http.StatusRequestEntityTooLarge || answer.ErrorCode() != "LIMIT_EXCEEDED" {
		t.Errorf("10 MB: status %d, %v", answer.Status, answer)
	}
}

func TestAGetOnlyQueries(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	check := s.Untouched()
	for query, code := range map[string]string{
		"query=" + url.QueryEscape(`{ viewer { role } }`): "",
		"query=" + url.QueryEscape(`mutation { updatePatientContact(input: {patientId: "`+Number+`", phone: "010-9876-5432"}) { __typename } }`): "BAD_USER_INPUT",
		"variables=%7B&query=" + url.QueryEscape(`{ viewer { role } }`):                                                                          "BAD_USER_INPUT",
		"": "BAD_USER_INPUT",
	} {
		answer := s.Send(s.Request(http.MethodGet, "/graphql?"+query, ""))
		if answer.ErrorCode() != code {
			t.Errorf("GET %s: %v, want code %q", query, answer, code)
		}
	}
	check()
}

func TestInputThatBreaksOurRules(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		check, requests := s.Untouched(), len(s.FHIR.Requests())
		for name, c := range map[string]struct {
			input Object
			field string
		}{
			"nothing to change":  {Object{}, `[]`},
			"empty phone":        {Object{"phone": ""}, `["phone"]`},
			"blank phone":        {Object{"phone": " \t"}, `["phone"]`},
			"long phone":         {Object{"phone": strings.Repeat("1", 65)}, `["phone"]`},
			"half a megabyte":    {Object{"phone": strings.Repeat("1", 500_000)}, `["phone"]`},
			"email as phone":     {Object{"phone": "ana@correo.example"}, `["phone"]`},
			"control character":  {Object{"phone": "010\u0000"}, `["phone"]`},
			"escape":             {Object{"address": Object{"city": "Seoul\u001b[31m"}}, `["address","city"]`},
			"no email":           {Object{"email": "not-an-email"}, `["email"]`},
			"empty address":      {Object{"address": Object{}}, `["address"]`},
			"address of nulls":   {Object{"address": Object{"text": nil, "lines": []string{}, "city": nil}}, `["address"]`},
			"empty line":         {Object{"address": Object{"lines": []string{"ok", ""}}}, `["address","lines","1"]`},
			"too many lines":     {Object{"address": Object{"lines": strings.Split(strings.Repeat("x ", 11), " ")[:11]}}, `["address","lines"]`},
			"long expected":      {Object{"phone": "1", "expectedVersion": strings.Repeat("1", 65)}, `["expectedVersion"]`},
			"line break in city": {Object{"address": Object{"city": "a\nb"}}, `["address","city"]`},
		} {
			c.input["patientId"] = Number
			answer := s.Update(c.input)
			Want(t, answer, Object{"__typename": "InvalidInput", "code": "INVALID_INPUT", "retryable": false})
			faults, _ := answer["fieldErrors"].([]any)
			if len(faults) == 0 {
				t.Errorf("%s: no field errors", name)
				continue
			}
			if field := JSON(t, faults[0].(map[string]any)["field"]); field != c.field {
				t.Errorf("%s: field %s, want %s", name, field, c.field)
			}
		}
		if now := len(s.FHIR.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		check()

		all := s.Update(Object{"patientId": Number, "phone": "", "email": "x", "address": Object{"city": ""}})
		if faults := all["fieldErrors"].([]any); len(faults) != 3 {
			t.Errorf("%d faults, want all 3: %v", len(faults), faults)
		}
	})
}

func TestMessagesFollowAcceptLanguage(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	body := `{"query":"mutation { updatePatientContact(input: {patientId: \"` + Number + `\", email: \"x\"}) { ... on InvalidInput { message fieldErrors { message rule } } } }"}`
	for header, message := range map[string]string{
		"ko-KR,ko;q=0.9,en;q=0.8": "이메일: name@example.org 형식이어야 합니다",
		"en-US":                   "email: must have the form name@example.org",
		"fr":                      "email: must have the form name@example.org",
		"":                        "email: must have the form name@example.org",
		"\xff;;q=x":               "email: must have the form name@example.org",
	} {
		answer := s.Post(body, "Accept-Language", header)
		Want(t, answer.Object, Object{"data.updatePatientContact.message": message})
	}
}

func TestPhoneRegion(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "PHONE_REGION=KR")
	Want(t, s.Update(Object{"patientId": Number, "phone": "invalid-phone"}), Object{"__typename": "InvalidInput"})
	Want(t, s.Update(Object{"patientId": Number, "phone": "010-2345-6789"}), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-2345-6789"})
}

func TestEveryScriptInEveryTextField(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		text := "한글 😀 ß İ Ω \" \\ % _ <b>&amp;"
		answer := s.Update(Object{"patientId": Number, "address": Object{
			"text": text, "lines": []string{text}, "city": text, "district": text, "state": text, "country": text, "postalCode": "04524😀",
		}})
		Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
		Want(t, s.Patient(Number), Object{"address": Object{
			"text": text, "lines": []string{text}, "city": text, "district": text, "state": text, "country": text, "postalCode": "04524😀",
		}})
	})
}

func TestHugeAndBrokenFHIRAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"100 MB":         `{"resourceType":"Patient","id":"a1","x":"` + strings.Repeat("x", 100<<20) + `"}`,
		"duplicate keys": `{"resourceType":"Patient","id":"a1","telecom":[],"telecom":[]}`,
		"no JSON":        `<html>`,
		"two values":     `{"resourceType":"Patient","id":"a1"}{}`,
		"other patient":  `{"resourceType":"Patient","id":"b2"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := StartSystem(t, dbtest.SQLite(t))
			check := s.Untouched()
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodGet, Status: http.StatusOK, Body: body, ContentType: "application/fhir+json"})
			answer := s.Update(Object{"patientId": Number, "phone": "010-1"})
			Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO"})
			check()
		})
	}
}

func TestWithoutAToken(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for name, bearer := range map[string]string{"none": "", "garbage": "x.y.z", "unsigned": "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ."} {
		answer := s.As(bearer).Post(`{"query":"{ viewer { role } }"}`)
		if answer.Status != http.StatusUnauthorized || answer.ErrorCode() != "UNAUTHENTICATED" {
			t.Errorf("%s: status %d, %v", name, answer.Status, answer)
		}
	}
}
