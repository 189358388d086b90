package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestErrorsDoNotRepeatValues: what is wrong with a value is said by its type and place.
func TestErrorsDoNotRepeatValues(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	const (
		filtered = "query($f: PatientFilter) { patients(filter: $f) { totalCount } }"
		secret   = "Solveig"
	)
	for query, c := range map[string]struct{ variables, says string }{
		"query a" + filtered[5:]:                                 {`{"f":{"gender":"Solveig Aune 1938-04-17"}}`, "valid Gender"},
		"query b" + filtered[5:]:                                 {`{"f":{"Solveig Aune":1}}`, "unknown field"},
		"query c" + filtered[5:]:                                 {`{"f":{"gender":"Solveig is not a valid Gender"}}`, "valid Gender"},
		`{ patients(filter: {gender: Solveig}) { totalCount } }`: {"", `"Gender" enum`},
		`{ patients(filter: {gender: "Solveig\" Did you mean x"}) { totalCount } }`:                       {"", `non-enum value`},
		`{ patients(first: "Solveig") { totalCount } }`:                                                   {"", "Int cannot represent"},
		`{ patients(first: Solveig) { totalCount } }`:                                                     {"", "Int cannot represent"},
		`{ patients(filter: "Solveig") { totalCount } }`:                                                  {"", "PatientFilter"},
		`{ patients(filter: {includeInactive: "Solveig: x, found y"}) { totalCount } }`:                   {"", "Boolean cannot represent"},
		`{ patient(id: {x: "Solveig"}) { id } }`:                                                          {"", "ID"},
		`{ patient(id: ["Solveig"]) { id } }`:                                                             {"", "ID"},
		`{ patient(id: "P-1" "Solveig") { id } }`:                                                         {"", "String"},
		`{ patient(id: "P-1") { id } } Solveig`:                                                           {"", "Unexpected Name"},
		`{ patient(id: "\q Solveig") { id } }`:                                                            {"", "<Invalid>"},
		`"\q Solveig" query { __typename }`:                                                               {"", "Invalid"},
		`{ __typename "\q Solveig" }`:                                                                     {"", "Invalid"},
		`{ patient(id: "\u00zz Solveig") { id } }`:                                                        {"", "<Invalid>"},
		`mutation { updatePatientContact(input: {patientId: "P-1", phone: ["Solveig"]}) { __typename } }`: {"", "String"},
		`mutation { updatePatientContact(input: {patientId: "P-1", phone: 4773550102}) { __typename } }`:  {"", "String"},
		`query($n: Int = 99999999999999999999) { patients(first: $n) { totalCount } }`:                    {"", ""},
		`query($f: Int = "Solveig") { patients(first: $f) { totalCount } }`:                               {"", ""},
	} {
		body, err := json.Marshal(map[string]any{"query": query, "variables": json.RawMessage(cmp.Or(c.variables, "{}"))})
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := read(t, ask(handler, http.MethodPost, "/graphql", string(body)))
		told := fmt.Sprint(answer["errors"])
		for _, value := range []string{secret, "Aune", "1938", "4773550102", "99999999999999999999"} {
			if strings.Contains(told, value) {
				t.Errorf("%s, %s: %s", query, c.variables, told)
			}
		}
		if answer["errors"] == nil || !strings.Contains(told, c.says) {
			t.Errorf("%s, %s: %s, want %q", query, c.variables, told, c.says)
		}
	}
}
