package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"patientgraph/app"
	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

// errorCode returns extensions.code of the first error.
func errorCode(answer object) string {
	errors, _ := answer["errors"].([]any)
	if len(errors) == 0 {
		return ""
	}
	first, _ := errors[0].(map[string]any)
	code, _ := object(first).at("extensions", "code").(string)
	return code
}

// withoutMeta returns a resource with its keys sorted and without meta, which
// is the server's own; numbers keep their digits.
func withoutMeta(t testing.TB, resource string) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(resource))
	decoder.UseNumber()
	var decoded map[string]any
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	delete(decoded, "meta")
	text, err := json.Marshal(decoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRequestsThatAreNoOperation(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check := s.untouched()
		admin := token(t, auth.RoleAdmin, "")
		update := func(input string) string {
			query, err := json.Marshal("mutation { updatePatientContact(input: " + input + ") { __typename } }")
			if err != nil {
				t.Fatal(err)
			}
			return `{"query":` + string(query) + `}`
		}
		for name, c := range map[string]struct {
			body, code string
		}{
			"syntax error":      {`{"query":"{ patient("}`, "GRAPHQL_PARSE_FAILED"},
			"unknown field":     {`{"query":"{ patient(id: \"x\") { ssn } }"}`, "GRAPHQL_VALIDATION_FAILED"},
			"unknown input":     {update(`{patientId: "` + number + `", fax: "1"}`), "GRAPHQL_VALIDATION_FAILED"},
			"wrong type":        {update(`{patientId: "` + number + `", phone: 5}`), "GRAPHQL_VALIDATION_FAILED"},
			"missing argument":  {`{"query":"mutation { updatePatientContact { __typename } }"}`, "GRAPHQL_VALIDATION_FAILED"},
			"wrong variable":    {`{"query":"query($n: Int) { patients(first: $n) { totalCount } }","variables":{"n":"many"}}`, "GRAPHQL_VALIDATION_FAILED"},
			"bad date":          {`{"query":"{ patients(filter: {birthDate: \"1990-13\"}) { totalCount } }"}`, "BAD_USER_INPUT"},
			"page too large":    {`{"query":"{ patients(first: 201) { totalCount } }"}`, "BAD_USER_INPUT"},
			"page of none":      {`{"query":"{ patients(first: 0) { totalCount } }"}`, "BAD_USER_INPUT"},
			"both ends":         {`{"query":"{ patients(first: 1, last: 1) { totalCount } }"}`, "BAD_USER_INPUT"},
			"forged cursor":     {`{"query":"{ patients(after: \"Zm9v\") { nodes { id } } }"}`, "BAD_USER_INPUT"},
			"too many patients": {`{"query":"{` + aliases(1000) + `}"}`, "LIMIT_EXCEEDED"},
			"too many tokens":   {`{"query":"{` + aliases(2000) + `}"}`, "LIMIT_EXCEEDED"},
			"costly page":       {`{"query":"{` + costly(100) + `}"}`, "LIMIT_EXCEEDED"},
			"introspection":     {`{"query":"{ __schema { types { name } } }"}`, "BAD_USER_INPUT"},
		} {
			_, answer := s.post(admin, c.body)
			if code := errorCode(answer); code != c.code {
				t.Errorf("%s: code %q, want %q: %v", name, code, c.code, answer["errors"])
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
	p := startWith(t, "http://127.0.0.1:1/fhir", "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	for name, body := range map[string]string{
		"malformed": `{"query":`, "empty": ``, "array": `[]`, "binary": "\x00\xff\xfe", "number": `5`,
	} {
		status, answer := p.post(admin, body)
		if status < 400 || status > 499 || errorCode(answer) != "BAD_USER_INPUT" || strings.Contains(fmt.Sprint(answer), "body:") {
			t.Errorf("%s: status %d, %v", name, status, answer)
		}
	}
	status, answer := p.post(admin, `{"query":"{ viewer { role } }"}`, "Content-Type", "text/plain")
	if status != http.StatusUnsupportedMediaType || errorCode(answer) != "BAD_USER_INPUT" {
		t.Errorf("text/plain: status %d, %v", status, answer)
	}
	status, answer = p.post(admin, `{"query":"{ viewer { role } }","variables":{"x":"`+strings.Repeat("x", 10<<20)+`"}}`)
	if status != http.StatusRequestEntityTooLarge || errorCode(answer) != "LIMIT_EXCEEDED" {
		t.Errorf("10 MB: status %d, %v", status, answer)
	}
}

func TestAGetOnlyQueries(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	check := s.untouched()
	for query, code := range map[string]string{
		"query=" + url.QueryEscape(`{ viewer { role } }`): "",
		"query=" + url.QueryEscape(`mutation { updatePatientContact(input: {patientId: "`+number+`", phone: "010-9876-5432"}) { __typename } }`): "BAD_USER_INPUT",
		"variables=%7B&query=" + url.QueryEscape(`{ viewer { role } }`):                                                                          "BAD_USER_INPUT",
		"": "GRAPHQL_VALIDATION_FAILED",
	} {
		request, err := http.NewRequest(http.MethodGet, s.url+"/graphql?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token(t, auth.RoleAdmin, ""))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer := object{}
		err = json.NewDecoder(response.Body).Decode(&answer)
		response.Body.Close()
		if err != nil || errorCode(answer) != code {
			t.Errorf("GET %s: %v, %v, want code %q", query, answer, err, code)
		}
	}
	check()
}

func TestInputThatBreaksOurRules(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check, requests := s.untouched(), len(s.fhir.Requests())
		admin := token(t, auth.RoleAdmin, "")
		for name, c := range map[string]struct {
			input object
			field string
		}{
			"nothing to change":  {object{}, `[]`},
			"empty phone":        {object{"phone": ""}, `["phone"]`},
			"blank phone":        {object{"phone": " \t"}, `["phone"]`},
			"long phone":         {object{"phone": strings.Repeat("1", 65)}, `["phone"]`},
			"half a megabyte":    {object{"phone": strings.Repeat("1", 500_000)}, `["phone"]`},
			"control character":  {object{"phone": "010\u0000"}, `["phone"]`},
			"escape":             {object{"address": object{"city": "Seoul\u001b[31m"}}, `["address","city"]`},
			"no email":           {object{"email": "not-an-email"}, `["email"]`},
			"empty address":      {object{"address": object{}}, `["address"]`},
			"empty line":         {object{"address": object{"lines": []string{"ok", ""}}}, `["address","lines","1"]`},
			"too many lines":     {object{"address": object{"lines": strings.Split(strings.Repeat("x ", 11), " ")[:11]}}, `["address","lines"]`},
			"long expected":      {object{"phone": "1", "expectedVersion": strings.Repeat("1", 65)}, `["expectedVersion"]`},
			"line break in city": {object{"address": object{"city": "a\nb"}}, `["address","city"]`},
		} {
			c.input["patientId"] = number
			answer := s.updateContact(admin, c.input)
			want(t, answer, object{"__typename": "InvalidInput", "code": "INVALID_INPUT", "retryable": false})
			faults, _ := answer["fieldErrors"].([]any)
			if len(faults) == 0 {
				t.Errorf("%s: no field errors", name)
				continue
			}
			if field, _ := json.Marshal(faults[0].(map[string]any)["field"]); string(field) != c.field {
				t.Errorf("%s: field %s, want %s", name, field, c.field)
			}
		}
		if now := len(s.fhir.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		check()

		all := s.updateContact(admin, object{"patientId": number, "phone": "", "email": "x", "address": object{"city": ""}})
		if faults := all["fieldErrors"].([]any); len(faults) != 3 {
			t.Errorf("%d faults, want all 3: %v", len(faults), faults)
		}
	})
}

func TestMessagesFollowAcceptLanguage(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	body := `{"query":"mutation { updatePatientContact(input: {patientId: \"` + number + `\", email: \"x\"}) { ... on InvalidInput { message fieldErrors { message rule } } } }"}`
	for header, message := range map[string]string{
		"ko-KR,ko;q=0.9,en;q=0.8": "이메일: 올바른 이메일 주소여야 합니다",
		"en-US":                   "email: must be an email address",
		"fr":                      "email: must be an email address",
		"":                        "email: must be an email address",
		"\xff;;q=x":               "email: must be an email address",
	} {
		_, answer := s.post(token(t, auth.RoleAdmin, ""), body, "Accept-Language", header)
		want(t, answer, object{"data.updatePatientContact.message": message})
	}
}

func TestPhoneRegion(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "PHONE_REGION", "KR")
	admin := token(t, auth.RoleAdmin, "")
	want(t, s.updateContact(admin, object{"patientId": number, "phone": "invalid-phone"}), object{"__typename": "InvalidInput"})
	want(t, s.updateContact(admin, object{"patientId": number, "phone": "010-2345-6789"}), object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-2345-6789"})
}

func TestEveryScriptInEveryTextField(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		text := "한글 😀 ß İ Ω \" \\ % _ <b>&amp;"
		answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "address": object{
			"text": text, "lines": []string{text}, "city": text, "district": text, "state": text, "country": text, "postalCode": "04524😀",
		}})
		want(t, answer, object{"__typename": "UpdatePatientContactSuccess"})
		want(t, s.patient(number), object{"address": object{
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
			s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
			check := s.untouched()
			s.fhir.SetFault("", fhirtest.Fault{On: http.MethodGet, Status: http.StatusOK, Body: body, ContentType: "application/fhir+json"})
			answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-1"})
			want(t, answer, object{"__typename": "FhirUnavailable", "applied": "NO"})
			check()
		})
	}
}

func TestWithoutAToken(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	for name, bearer := range map[string]string{"none": "", "garbage": "x.y.z", "unsigned": "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ."} {
		status, answer := s.post(bearer, `{"query":"{ viewer { role } }"}`)
		if status != http.StatusUnauthorized || errorCode(answer) != "UNAUTHENTICATED" {
			t.Errorf("%s: status %d, %v", name, status, answer)
		}
	}
}

func TestAnalystSeesNoIdentifiers(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		analyst := token(t, auth.RoleAnalyst, "")
		want(t, s.query(analyst, patientQuery, object{"id": number}), object{
			"patient.familyName": nil, "patient.givenName": nil, "patient.fullName": nil, "patient.phone": nil, "patient.email": nil,
			"patient.address": nil, "patient.emergencyContact": nil, "patient.birthDate": nil, "patient.birthYear": 1990, "patient.gender": "MALE",
		})
		for _, arguments := range []string{`filter: {name: "길동"}`, `filter: {phone: "010"}`, `filter: {birthDate: "1990"}`, `orderBy: NAME_ASC`, `orderBy: BIRTH_DATE_DESC`} {
			body, _ := json.Marshal(object{"query": `{ patients(` + arguments + `) { totalCount } }`})
			_, answer := s.post(analyst, string(body))
			if code := errorCode(answer); code != "BAD_USER_INPUT" {
				t.Errorf("%s: code %q: %v", arguments, code, answer)
			}
		}
		want(t, s.query(token(t, auth.RolePatient, number), `{ patients { totalCount nodes { id fullName } } }`, nil), object{
			"patients": object{"totalCount": 1, "nodes": []object{{"id": number, "fullName": "홍길동"}}},
		})
		want(t, s.query(token(t, "stranger", ""), `{ patients { totalCount } viewer { role } }`, nil), object{"patients.totalCount": 0, "viewer.role": "stranger"})
	})
}

func TestBadSettingsStopTheStart(t *testing.T) {
	t.Parallel()
	good := map[string]string{"FHIR_BASE_URL": "http://127.0.0.1:1/fhir", "JWT_SECRET": testSecret, "DATABASE_URL": "sqlite::memory:", "LISTEN_ADDR": "127.0.0.1:0"}
	for name, c := range map[string]struct{ setting, value, names string }{
		"no secret":           {"JWT_SECRET", "", "JWT_SECRET"},
		"short secret":        {"JWT_SECRET", "short", "JWT_SECRET"},
		"two kinds of tokens": {"JWT_JWKS_URL", "https://issuer.example/jwks", "JWT_JWKS_URL"},
		"no address":          {"LISTEN_ADDR", "nowhere", "LISTEN_ADDR"},
		"no database":         {"DATABASE_URL", "mysql://x", "DATABASE_URL"},
		"database elsewhere":  {"DATABASE_URL", "sqlite:/nonexistent/dir/x.db", "DATABASE_URL"},
		"no URL":              {"FHIR_BASE_URL", "hapi", "FHIR_BASE_URL"},
		"password in URL":     {"FHIR_BASE_URL", "http://u:topsecret@127.0.0.1/fhir", "FHIR_BASE_URL"},
		"no token":            {"FHIR_AUTH", "bearer", "FHIR_TOKEN"},
		"later auth":          {"FHIR_AUTH", "client_credentials", "FHIR_AUTH"},
		"timeout":             {"FHIR_TIMEOUT", "1ns", "FHIR_TIMEOUT"},
		"no duration":         {"FHIR_TIMEOUT", "soon", "fhir-timeout"},
		"region":              {"PHONE_REGION", "XX", "PHONE_REGION"},
		"server":              {"FHIR_SERVER", "epic", "fhir-server"},
		"origin":              {"CORS_ORIGINS", "*", "CORS_ORIGINS"},
		"secret file":         {"JWT_SECRET_FILE", "/nonexistent/secret", "JWT_SECRET"},
		"demo with database":  {"FHIR_BASE_URL", "", "FHIR_BASE_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := map[string]string{}
			for k, v := range good {
				settings[k] = v
			}
			if name == "secret file" {
				settings["JWT_SECRET"] = ""
			}
			settings[c.setting] = c.value
			var out, log syncBuffer
			err := app.Run(context.Background(), nil, func(name string) string { return settings[name] }, &out, &log)
			if err == nil || !strings.Contains(err.Error(), c.names) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the start ended with %v, want one line that names %s", err, c.names)
			}
			if err != nil && strings.Contains(err.Error(), "topsecret") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestImportReportsBadLinesAndGoesOn(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		ndjson := testPatient("a1", number) + "\n{broken\n\n" + `{"resourceType":"Observation","id":"o"}` + "\n" + testPatient("a2", "P-2025-000009") +
			"\n" + `{"resourceType":"Patient","id":5}` + "\n" + `{"resourceType":"Patient","id":"a/b"}`
		out, err := importInto(t, databaseURL, ndjson)
		if err == nil || !strings.Contains(out, `"line":2`) || !strings.Contains(out, `"line":4`) || !strings.Contains(out, "2 new, 0 updated, 0 kept as they were, 4 bad lines") {
			t.Errorf("import ended with %v and said\n%s", err, out)
		}
		if strings.Contains(out, "길동") {
			t.Error("the report holds patient data")
		}
		out, err = importInto(t, databaseURL, testPatient("a1", number))
		if err != nil || !strings.Contains(out, "1 kept") {
			t.Errorf("the second import ended with %v and said\n%s", err, out)
		}
	})
}
