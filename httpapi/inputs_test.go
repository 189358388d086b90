package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Every kind of JSON value for every kind of input, as a literal and as a variable: what is
// of another type ends the request before anything is carried out.
func TestAnArgumentOfAnotherTypeEndsTheRequest(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	for name, place := range map[string]struct {
		operation, field, kind, code string
		takes                        []string
	}{
		"String":              {"mutation", `updatePatientContact(input: {patientId: "P-1", phone: %s})`, "String", "GRAPHQL_VALIDATION_FAILED", []string{`"x"`}},
		"String of an object": {"mutation", `updatePatientProfile(input: {patientId: "P-1", emergencyContact: {name: %s}})`, "String!", "GRAPHQL_VALIDATION_FAILED", []string{`"x"`}},
		"String of a list":    {"mutation", `updatePatientProfile(input: {patientId: "P-1", allergies: [%s]})`, "String!", "GRAPHQL_VALIDATION_FAILED", []string{`"x"`}},
		"list":                {"mutation", `updatePatientProfile(input: {patientId: "P-1", allergies: %s})`, "[String!]", "GRAPHQL_VALIDATION_FAILED", []string{`"x"`, `["x"]`}},
		"ID":                  {"query", `patient(id: %s)`, "ID!", "GRAPHQL_VALIDATION_FAILED", []string{`"x"`, `5`, `99999999999`}},
		"Int":                 {"query", `patients(first: %s)`, "Int", "GRAPHQL_VALIDATION_FAILED", []string{`5`}},
		"Boolean":             {"query", `patients(filter: {includeInactive: %s})`, "Boolean", "GRAPHQL_VALIDATION_FAILED", []string{`true`}},
		"enum":                {"query", `patients(orderBy: %s)`, "PatientOrder", "GRAPHQL_VALIDATION_FAILED", nil},
		"DateTime":            {"query", `patients(filter: {updatedSince: %s})`, "DateTime", "BAD_USER_INPUT", []string{`"2026-01-02T03:04:05Z"`}},
		"PartialDate":         {"query", `patients(filter: {birthDate: %s})`, "PartialDate", "BAD_USER_INPUT", []string{`"1990-01"`}},
	} {
		for _, value := range []string{`"x"`, `"2026-01-02T03:04:05Z"`, `"1990-01"`, `"name_asc"`, `5`, `99999999999`, `99999999999999999999`, `10.50`, `1e+21`, `true`, `["x"]`, `[5]`} {
			takes := false
			for _, taken := range place.takes {
				takes = takes || value == taken || taken == `"x"` && value[0] == '"'
			}
			selection := "{ __typename }"
			literal, _ := json.Marshal(map[string]any{"query": place.operation + " { " + fmt.Sprintf(place.field, value) + selection + " }"})
			variable, _ := json.Marshal(map[string]any{
				"query":     place.operation + " ($v: " + place.kind + ") { " + fmt.Sprintf(place.field, "$v") + selection + " }",
				"variables": map[string]json.RawMessage{"v": json.RawMessage(value)},
			})
			for form, body := range map[string][]byte{"literal": literal, "variable": variable} {
				if value == `["x"]` && name == "String of a list" && form == "literal" {
					continue // a list in a list
				}
				response := ask(handler, http.MethodPost, "/graphql", string(body), "Accept", asGraphQL)
				status := response.StatusCode
				answer, code := read(t, response)
				_, executed := answer["data"]
				want := place.code
				if form == "literal" && value == "99999999999999999999" {
					want = "GRAPHQL_VALIDATION_FAILED" // gqlparser reads no such number
				}
				if takes && !executed || !takes && (executed || status != 400 || code != want) {
					t.Errorf("%s, %s as a %s: status %d, %v", name, value, form, status, answer)
				}
			}
		}
	}
}

// What is wrong with a variable is told in the words of GraphQL and JSON: gqlparser has those
// of Go, and other numbers than were sent.
func TestAVariableOfAnotherTypeIsToldWhatMayStandThere(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct {
		field  string
		values []string
		says   string
	}{
		"Int":           {"patients(first: $v) { totalCount }", []string{"1.5", "99999999999", "99999999999999999999", `"x"`, "true", "[1.5]", "{}"}, errNoInt.Error()},
		"Boolean":       {"patients(filter: {includeInactive: $v}) { totalCount }", []string{"5", "0", `"true"`, "[true]", "{}"}, errNoBoolean.Error()},
		"ID!":           {"patient(id: $v) { id }", []string{"1.5", "true", `["x"]`, "{}"}, errNoID.Error()},
		"String":        {"patients(filter: {name: $v}) { totalCount }", []string{"5", "true", `["x"]`, "{}"}, errNoString.Error()},
		"PatientOrder":  {"patients(orderBy: $v) { totalCount }", []string{"true", `["NAME_ASC"]`, "{}", `"name_asc"`}, errNoEnum.Error()},
		"PatientFilter": {"patients(filter: $v) { totalCount }", []string{"5", "true", `"x"`, `["x"]`}, "must be a PatientFilter, which is an object"},
	} {
		for _, value := range c.values {
			response := ask(endpoint(t, Options{}), http.MethodPost, "/graphql", `{"query":"query($v: `+kind+`) { `+c.field+` }","variables":{"v":`+value+`}}`)
			body, code := read(t, response)
			if message := body["errors"].([]any)[0].(map[string]any)["message"]; message != c.says || code != "GRAPHQL_VALIDATION_FAILED" {
				t.Errorf("%s for a %s: %v", value, kind, body)
			}
		}
	}
}

func TestAVariableThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	for variables, want := range map[string]string{
		`{}`:                                  "the request needs a value here, which is not null: $in",
		`{"in":null}`:                         "the request needs a value here, which is not null: $in",
		`{"in":{"phone":"1"}}`:                "the request needs a value here, which is not null: $in.patientId",
		`{"in":{"patientId":null}}`:           "the request needs a value here, which is not null: $in.patientId",
		`{"in":{"patientId":"P","nobody":1}}`: "unknown field in this value",
	} {
		request := `{"query":"mutation($in: UpdatePatientContactInput!) { updatePatientContact(input: $in) { __typename } }","variables":` + variables + `}`
		body, _ := read(t, ask(endpoint(t, Options{}), http.MethodPost, "/graphql", request))
		if message := body["errors"].([]any)[0].(map[string]any)["message"]; message != want {
			t.Errorf("%s: %v", variables, body)
		}
		body, _ = read(t, ask(endpoint(t, Options{}), http.MethodPost, "/graphql", request, "Accept-Language", "ko"))
		if message := body["errors"].([]any)[0].(map[string]any)["message"].(string); strings.Contains(want, "$") && !strings.HasPrefix(message, "다음 값이 필요합니다") {
			t.Errorf("in Korean, %s: %s", variables, message)
		}
	}
}
