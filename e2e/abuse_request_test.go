package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/internal/cost"
)

// TestAbuseLongTextsUnderManyNames asks for 40 KB of allergies of each of eight patients
// under ninety names: 2 KB in, 29 MB out.
func TestAbuseLongTextsUnderManyNames(t *testing.T) {
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL, "LOG_LEVEL=info")
	const patients, escaped = 8, 200 * 2
	allergies := make([]string, 100)
	for i := range allergies {
		allergies[i] = strings.Repeat(`"`, escaped/2) // two bytes of JSON each
	}
	for n := range patients {
		number := fmt.Sprintf("P-2025-9%05d", n)
		MustImport(t, databaseURL, PatientJSON(fmt.Sprintf("long%d", n), number))
		saved := s.Query(`mutation($a: [String!]) { updatePatientProfile(input: {patientId: "`+number+`", allergies: $a}) { __typename } }`, Object{"a": allergies})
		Want(t, saved, Object{"updatePatientProfile.__typename": "UpdatePatientProfileSuccess"})
	}
	var answer Answer
	ask := func(times int) cost.Cost {
		body := Body(t, fmt.Sprintf(`{ patients(first: %d) { nodes { %s} } }`, patients, repeated(times, "a%d: allergies ")), nil)
		return cost.Of(t, func() { answer = s.Post(body) })
	}
	var whole cost.Cost
	for _, times := range []int{1, 45} { // below the limit it is answered whole
		whole = ask(times)
		if answer.ErrorCode() != "" || answer.Size < times*patients*len(allergies)*escaped {
			t.Errorf("%d times: %d bytes, code %q", times, answer.Size, answer.ErrorCode())
		}
	}
	abuse := ask(90)
	code, size := answer.ErrorCode(), answer.Size
	t.Logf("whole %v, %d bytes; abuse %v, %d bytes allocated, %d sent", whole.CPU, whole.Bytes, abuse.CPU, abuse.Bytes, size)
	if code != "LIMIT_EXCEEDED" || size > 10_000 {
		t.Errorf("%d bytes, code %q", size, code)
	}
	if abuse.Bytes > whole.Bytes {
		t.Errorf("it took %d bytes, the longest answer %d", abuse.Bytes, whole.Bytes)
	}
}

// TestAbuseVariablesThatMultiply sends a megabyte of variables that would be many
// times as large in memory, or that recurse.
func TestAbuseVariablesThatMultiply(t *testing.T) {
	s := StartSystem(t, dbtest.SQLite(t), "LOG_LEVEL=info")
	const megabyte = 1<<20 - 500
	for name, c := range map[string]struct{ variables, code string }{
		"deep arrays":    {`{"id":` + strings.Repeat("[", megabyte/2) + strings.Repeat("]", megabyte/2) + `}`, "LIMIT_EXCEEDED"},
		"unclosed":       {`{"id":` + strings.Repeat("[", megabyte), "LIMIT_EXCEEDED"},
		"deep objects":   {`{"id":` + strings.Repeat(`{"a":`, megabyte/6) + `1` + strings.Repeat("}", megabyte/6) + `}`, "LIMIT_EXCEEDED"},
		"empty objects":  {`{"id":[` + strings.Repeat(`{},`, megabyte/3) + `{}]}`, "LIMIT_EXCEEDED"},
		"many numbers":   {`{"id":[` + strings.Repeat(`1,`, megabyte/2) + `1]}`, "LIMIT_EXCEEDED"},
		"many variables": {`{` + repeated(100_000, `"v%d":1,`) + `"id":"x"}`, "LIMIT_EXCEEDED"},
		"one long text":  {`{"id":"` + strings.Repeat("x", megabyte) + `"}`, ""},
	} {
		body := `{"query":"query($id: ID!) { patient(id: $id) { id } }","variables":` + c.variables + `}`
		var code string
		used := cost.Of(t, func() { code = s.Post(body).ErrorCode() })
		t.Logf("%-16s %v, %d bytes allocated", name, used.CPU, used.Bytes)
		if code != c.code {
			t.Errorf("%s: code %q, want %q", name, code, c.code)
		}
		if used.Bytes > maxAllocated {
			t.Errorf("%s: %d bytes allocated for %d", name, used.Bytes, len(body))
		}
	}
	query := url.Values{"query": {"{ viewer { role } }"}, "variables": {strings.Repeat("[", 5_000)}}
	if code := s.Send(s.Request(http.MethodGet, "/graphql?"+query.Encode(), "")).ErrorCode(); code != "LIMIT_EXCEEDED" {
		t.Errorf("by GET: code %q", code)
	}
}

// TestAbuseFiltersThatExpand searches for what is eighteen times as long once it is
// folded.
func TestAbuseFiltersThatExpand(t *testing.T) {
	s := StartSystem(t, dbtest.SQLite(t), "LOG_LEVEL=info")
	for _, filter := range []Object{
		{"name": strings.Repeat("\uFDFA", 340_000)}, {"phone": strings.Repeat("1", 1_000_000)}, {"name": strings.Repeat("a\u0301", 300_000)},
	} {
		body := Body(t, `query($f: PatientFilter) { patients(filter: $f) { totalCount } }`, Object{"f": filter})
		var code string
		used := cost.Of(t, func() { code = s.Post(body).ErrorCode() })
		if code != "BAD_USER_INPUT" || used.Bytes > maxAllocated {
			t.Errorf("code %q, %d bytes allocated for %d", code, used.Bytes, len(body))
		}
	}
}

// TestAbuseLongTextsUsedOften names a variable of a megabyte again and again.
func TestAbuseLongTextsUsedOften(t *testing.T) {
	s := StartSystem(t, dbtest.SQLite(t), "LOG_LEVEL=info")
	const megabyte = 1<<20 - 40_000
	for name, query := range map[string]string{
		"ids":              `query($v: ID!) { ` + repeated(45, "p%d: patient(id: $v) { id } ") + `}`,
		"operations":       `query($v: ID!) { ` + repeated(45, "p%d: contactUpdate(operationId: $v) { state } ") + `}`,
		"times":            `query($v: DateTime) { ` + repeated(45, "p%d: patients(first: 1, filter: {updatedSince: $v}) { nodes { id } } ") + `}`,
		"names":            `query($v: String) { ` + repeated(45, "p%d: patients(first: 1, filter: {name: $v}) { nodes { id } } ") + `}`,
		"cursors":          `query($v: String) { ` + repeated(45, "p%d: patients(first: 1, after: $v) { nodes { id } } ") + `}`,
		"fields of inputs": `mutation($v: String) { ` + repeated(9, "m%d: updatePatientContact(input: {patientId: \"x\", phone: $v, email: $v, address: {text: $v, city: $v, state: $v}}) { __typename } ") + `}`,
		"keys":             `mutation($v: String) { ` + repeated(9, "m%d: updatePatientContact(input: {patientId: \"x\", phone: \"1\", idempotencyKey: $v, expectedVersion: $v}) { __typename } ") + `}`,
	} {
		body := Body(t, query, Object{"v": strings.Repeat("x", megabyte)})
		var code string
		used := cost.Of(t, func() { code = s.Post(body).ErrorCode() })
		t.Logf("%-18s %v, %d bytes allocated", name, used.CPU, used.Bytes)
		if code != "LIMIT_EXCEEDED" || used.Bytes > maxAllocated {
			t.Errorf("%s: code %q, %d bytes allocated", name, code, used.Bytes)
		}
	}
	// A number counts as well where a text is wanted.
	number := `{"query":"mutation($x: String!) { m: updatePatientProfile(input: {patientId: \"x\", allergies: [` + strings.Repeat("$x ", 100) + `]}) { __typename } }","variables":{"x":1.` + strings.Repeat("0", megabyte) + `}}`
	if code := s.Post(number).ErrorCode(); code != "LIMIT_EXCEEDED" {
		t.Errorf("a number of a megabyte: code %q", code)
	}
	// Nor is it repeated where the fault is in its name.
	answer := s.Post(`{"query":"query($f: PatientFilter) { patients(filter: $f) { totalCount } }","variables":{"f":{"` + strings.Repeat("x", megabyte) + `":1}}}`)
	if answer.Status >= 500 || answer.Size > 2_000 {
		t.Errorf("an unknown member: status %d, %d bytes", answer.Status, answer.Size)
	}
}

// TestAbuseCachesStaySmall sends a thousand different queries of the size that is
// kept, and of the greatest size.
func TestAbuseCachesStaySmall(t *testing.T) {
	s := StartSystem(t, dbtest.SQLite(t), "LOG_LEVEL=info")
	s.Patient(Number)
	before := liveHeap()
	for i := range 1_000 {
		query := fmt.Sprintf(`{x%d:viewer{role}patient(id:"x"){`, i) +
			strings.Repeat("id phone email gender active version fhirId deceased birthDate bloodType ", 40) + repeated(90, "a%d:id ") +
			"}}" + strings.Repeat(" ", 2_000*(i%2)) // one in two is too long to be kept
		if short := len(query) <= 4<<10; short != (i%2 == 0) {
			t.Fatalf("a query of %d bytes", len(query))
		}
		if code := s.Post(Body(t, query, nil)).ErrorCode(); code != "" {
			t.Fatalf("code %q", code)
		}
	}
	if after := liveHeap(); after > before+64<<20 {
		t.Errorf("%d MiB are kept", (after-before)>>20)
	} else {
		t.Logf("%.1f MiB are kept", float64(int64(after-before))/(1<<20))
	}
}

// TestAbuseOddValuesAreRefused sends literals and variables that are no values of
// their types: each is the caller's error, not ours.
func TestAbuseOddValuesAreRefused(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "INTROSPECTION=true")
	for query, variables := range map[string]string{
		`{ patients(first: 99999999999999999999) { totalCount } }`:                                                  `{}`,
		`{ patients(first: 5000000000) { totalCount } }`:                                                            `{}`,
		`{ patients(first: 1e400) { totalCount } }`:                                                                 `{}`,
		`{ patients(first: -1) { totalCount } }`:                                                                    `{}`,
		`query($n: Int) { patients(first: $n) { nodes { id } } }`:                                                   `{"n":1e999}`,
		`query($n: Int, $m: Int) { a: patients(first: $n) { nodes { id } } b: patients(first: $m) { totalCount } }`: `{"n":"99999999999","m":1.5}`,
		`query($f: PatientFilter) { patients(filter: $f) { nodes { id } } }`:                                        `{"f":[{"name":"x"}]}`,
		`query($f: PatientFilter = {name: 5}) { patients(filter: $f) { nodes { id } } }`:                            `{}`,
		`query($f: PatientFilter) { patients(filter: $f) { nodes { id } } } `:                                       `{"f":{"updatedSince":"9999999999-01-01T00:00:00Z"}}`,
		`query($f: PatientFilter) { patients(filter: $f) { nodes { id } } }  `:                                      `{"f":{"gender":7}}`,
		`query($o: PatientOrder) { patients(orderBy: $o) { nodes { id } } }`:                                        `{"o":"name_asc"}`,
		`query($o: PatientOrder) { patients(orderBy: $o) { nodes { id } } } `:                                       `{"o":{}}`,
		`query($i: ID!) { patient(id: $i) { id } }`:                                                                 `{"i":{"a":1}}`,
		`query($i: ID!) { patient(id: $i) { id } } `:                                                                `{"i":null}`,
		`query($b: Boolean!) { viewer { role @include(if: $b) } }`:                                                  `{"b":"x"}`,
		`mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }`:               `{"i":{"patientId":["x"],"phone":{}}}`,
		`mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } } `:              `{"i":"x"}`,
		`mutation { updatePatientContact(input: {patientId: 99999999999999999999999, phone: 1}) { __typename } }`:   `{}`,
		`mutation($i: UpdatePatientProfileInput!) { updatePatientProfile(input: $i) { __typename } }`:               `{"i":{"patientId":"x","allergies":[["x"]]}}`,
		`{ __type(name: 5) { name } }`:                                                                              `{}`,
		`subscription { contactUpdateSettled(operationId: "x") { state } }`:                                         `{}`,
		`query A { viewer { role } } query B { viewer { role } }`:                                                   `{}`,
		`fragment F on Patient { id }`:                                                                              `{}`,
		`{ ...F }`:                                                                                                  `{}`,
		`{ ...F } fragment F on Nothing { id }`:                                                                     `{}`,
		`{ viewer { role @skip } }`:                                                                                 `{}`,
		`{ viewer { role @skip(if: "x") } }`:                                                                        `{}`,
	} {
		answer := s.Post(`{"query":` + JSON(t, query) + `,"variables":` + variables + `}`)
		if code := answer.ErrorCode(); code == "" || code == "INTERNAL" || answer.Status >= 500 {
			t.Errorf("%s with %s: status %d, %v", query, variables, answer.Status, answer)
		}
	}
}

// TestAbuseMembersInAnotherCase sends bodies that encoding/json would take for others.
func TestAbuseMembersInAnotherCase(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for _, body := range []string{
		`{"QUERY":"{ viewer { role } }"}`,
		`{"query":"{ viewer { role } }","Query":"{ patients { totalCount } }"}`,
		`{"query":"query($id: ID!) { patient(id: $id) { id } }","variableſ":{"id":"x"}}`,
		`{"query":"{ viewer { role } }","query":"{ patients { totalCount } }"}`,
	} {
		answer := s.Post(body)
		if answer.Status != http.StatusBadRequest || answer.ErrorCode() != "BAD_USER_INPUT" || answer.At("data") != nil {
			t.Errorf("%s: status %d, %v", body, answer.Status, answer)
		}
	}
	Want(t, s.Query(`{ viewer { role } }`, nil), Object{"viewer.role": "admin"})
}

// TestAbuseSuggestionsHideTheSchema asks for names that are nearly right, over each
// way of asking, in the document and in variables.
func TestAbuseSuggestionsHideTheSchema(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for query, hidden := range map[string]string{
		`{ patient(id: "x") { phon } }`:                                                   "phone",
		`{ patiens { totalCount } }`:                                                      "patients",
		`{ patients(firts: 1) { totalCount } }`:                                           `"first"`,
		`{ patients(filter: {nam: "x"}) { totalCount } }`:                                 `"name"`,
		`{ patients(filter: {gender: MALES}) { totalCount } }`:                            `"MALE"`,
		`{ patients(orderBy: "NAME_ASC") { totalCount } }`:                                "Did you mean",
		`query($x: PatientFilte) { patient(id: $x) { id } }`:                              `"PatientFilter"`,
		`{ patient(id: "x") { ... on Patien { id } } }`:                                   `"Patient"`,
		`mutation { updatePatientContact(input: {patientId: "x"}) { operationId } }`:      "UpdatePatientContactSuccess\"",
		`mutation { updatePatientContac(input: {patientId: "x"}) { __typename } }`:        "updatePatientContact\"",
		`{ patient { id } }`:                                                              "Did you mean",
		`{ patient(id: "x") }`:                                                            "Did you mean",
		`query($f: PatientFilter) { patients(filter: $f) { totalCount @includ(if: 1) } }`: "include\"",
	} {
		for _, request := range []*http.Request{
			s.Request(http.MethodPost, "/graphql", Body(t, query, nil)),
			s.Request(http.MethodPost, "/graphql", Body(t, query, nil), "Accept", "text/event-stream"),
			s.Request(http.MethodGet, "/graphql?"+url.Values{"query": {query}}.Encode(), ""),
		} {
			if plain := answerText(t, request); !strings.Contains(plain, `"errors"`) || strings.Contains(plain, hidden) || strings.Contains(plain, "Did you mean") {
				t.Errorf("%s %s: %s", request.Method, query, plain)
			}
		}
	}
	for variables, hidden := range map[string]string{
		`{"f":{"nam":"x"}}`: `"name"`, `{"f":{"gender":"MALES"}}`: `"MALE"`, `{"f":{"gender":7}}`: "MALE", `{"o":"NAME_AS"}`: `NAME_ASC`, `{"f":{"birthDat":"1990"}}`: `birthDate`,
	} {
		plain := answerText(t, s.Request(http.MethodPost, "/graphql", `{"query":"query($f: PatientFilter, $o: PatientOrder) { patients(filter: $f, orderBy: $o) { totalCount } }","variables":`+variables+`}`))
		if !strings.Contains(plain, `"errors"`) || strings.Contains(plain, hidden) || strings.Contains(plain, "Did you mean") {
			t.Errorf("%s: %s", variables, plain)
		}
	}
}

// answerText is the body of an answer, its quoted quotes plain.
func answerText(t *testing.T, request *http.Request) string {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(body), `\"`, `"`)
}
