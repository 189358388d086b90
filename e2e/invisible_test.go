package e2e_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
)

// TestInvisibleCharactersStayOutside: the FHIR server and the answer have the value
// without what nobody sees, and the same value typed clean changes nothing.
func TestInvisibleCharactersStayOutside(t *testing.T) {
	t.Parallel()
	type typed struct{ Field, Typed, Sent string }
	cases := []typed{
		{"phone", "０１０－２３４５－６７８９\u00A0", "010-2345-6789"},
		{"phone", "\t01\u202F42\u202F68\u202F53\u202F00\r\n", "01 42 68 53 00"},
		{"email", "\u202Akim@po\u00ADst.example\u202C", "kim@post.example"},
	}
	file, err := os.Open("testdata/invisible.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var c typed
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		for i, c := range cases {
			puts := s.Puts()
			for _, value := range []string{c.Typed, c.Sent} {
				Want(t, s.Update(Object{"patientId": Number, c.Field: value}), Object{
					"__typename": "UpdatePatientContactSuccess", "patient." + c.Field: c.Sent,
				})
				Want(t, s.Patient(Number), Object{c.Field: c.Sent})
				if !strings.Contains(s.Stored(), `"value":"`+c.Sent+`"`) {
					t.Errorf("case %d: the FHIR server has %s", i, s.Stored())
				}
			}
			if n := s.Puts() - puts; n != 1 {
				t.Errorf("case %d: %d PUTs, want 1", i, n)
			}
			Want(t, s.Update(Object{"patientId": LocalNumber, c.Field: c.Typed}), Object{
				"__typename": "UpdatePatientContactSuccess", "patient." + c.Field: c.Sent,
			})
		}
	})
}

func TestInvisibleCharactersInAnAddress(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		shown := Object{
			"text": "تهران، خانه\u200Cها 5\nایران", "lines": []string{"خانه\u200Cها 5", "Rue du Bac"}, "city": "تهران",
			"district": "क्\u200Dष", "state": "서울", "postalCode": "50667", "country": "IR",
		}
		pasted := Object{
			"text": "\uFEFF" + shown["text"].(string) + "\u200C\r\n", "lines": []string{"\u200Fخانه\u200Cها 5\u00A0", "Rue\u00A0du\u200B Bac"},
			"city": "\u2067تهران\u2069", "district": "क्\u200Dष\u3000", "state": "서\u200D울", "postalCode": "506\u00AD67\u200C", "country": "\u202AIR\u202C",
		}
		Want(t, s.Update(Object{"patientId": Number, "address": pasted}), Object{
			"__typename": "UpdatePatientContactSuccess", "patient.address": shown,
		})
		if !strings.Contains(s.Stored(), `"line":["خانه`+"\u200C"+`ها 5","Rue du Bac"]`) {
			t.Errorf("the FHIR server has %s", s.Stored())
		}
		puts := s.Puts()
		Want(t, s.Update(Object{"patientId": Number, "address": shown}), Object{"__typename": "UpdatePatientContactSuccess", "patient.address": shown})
		if n := s.Puts() - puts; n != 0 {
			t.Errorf("the same address typed clean made %d PUTs", n)
		}
	})
}

// TestNothingButInvisibleCharactersIsInvalid: also as one part of an address that has
// others, and in the profile.
func TestNothingButInvisibleCharactersIsInvalid(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		check, requests := s.Untouched(), len(s.FHIR.Requests())
		for _, nothing := range []string{"\u200B", "\uFEFF\u00A0", "\u3000 \t", "\u2066\u2069\u200D", "\u2800\uFE0F\u3164", strings.Repeat("\u00AD", 100_000)} {
			for field, input := range map[string]Object{
				`["phone"]`:                {"phone": nothing, "email": "new@example.org"},
				`["email"]`:                {"phone": NewPhone, "email": nothing},
				`["address","text"]`:       {"address": Object{"city": "Seoul", "text": nothing}},
				`["address","lines","1"]`:  {"address": Object{"lines": []string{"1 Main St", nothing}}},
				`["address","city"]`:       {"address": Object{"text": "Seoul", "city": nothing}},
				`["address","district"]`:   {"address": Object{"city": "Seoul", "district": nothing}},
				`["address","state"]`:      {"address": Object{"city": "Seoul", "state": nothing}},
				`["address","postalCode"]`: {"address": Object{"city": "Seoul", "postalCode": nothing}},
				`["address","country"]`:    {"address": Object{"city": "Seoul", "country": nothing}},
			} {
				input["patientId"] = Number
				answer := s.Update(input)
				faults, _ := answer["fieldErrors"].([]any)
				if len(faults) != 1 || JSON(t, faults[0].(map[string]any)["field"]) != field {
					t.Errorf("%s: %v", field, answer)
				}
			}
		}
		for _, contact := range []Object{{"name": "\u200B"}, {"name": "Kim", "phone": "\u200E"}, {"name": "Kim", "relationship": "\u2060"}} {
			answer := s.Query(profileMutation, Object{"input": Object{"patientId": Number, "emergencyContact": contact}})
			Want(t, answer, Object{"updatePatientProfile.__typename": "InvalidInput"})
		}
		if now := len(s.FHIR.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		check()
	})
}

func TestInvisibleCharactersInTheProfile(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		answer := s.Query(profileMutation, Object{"input": Object{
			"patientId": Number, "allergies": []string{"la\u00ADtex\u00A0"},
			"emergencyContact": Object{"name": "\u202Bعلی\u200Cرضا\u202C", "relationship": " 어머니\u200B", "phone": "\u2066０１０ 1\u2069"},
		}})
		Want(t, answer, Object{"updatePatientProfile.__typename": "UpdatePatientProfileSuccess"})
		Want(t, s.Patient(Number), Object{
			"allergies": []string{"latex"}, "emergencyContact": Object{"name": "علی\u200Cرضا", "relationship": "어머니", "phone": "010 1", "source": "LOCAL"},
		})
	})
}

func TestInvisibleCharactersInASearch(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		const count = `query($f: PatientFilter) { patients(filter: $f) { totalCount } }`
		for _, filter := range []Object{
			{"phone": "\u202A010\u00AD-1111-2222\u202C"}, {"phone": "０１０－１１１１－２２２２\u3000"}, {"phone": OldPhone, "name": "\uFEFF홍길동\u00A0"}, {"name": "길\u200B동"},
		} {
			Want(t, s.Query(count, Object{"f": filter}), Object{"patients.totalCount": 2})
		}
		for _, filter := range []Object{{"phone": "\u200B"}, {"phone": "\u00A0"}, {"name": "\u2060\u3000"}} {
			if answer := s.Post(Body(t, count, Object{"f": filter})); answer.ErrorCode() != "BAD_USER_INPUT" {
				t.Errorf("%+q: %v", filter, answer)
			}
		}
	})
}

// TestInvisibleCharactersAreNoOtherRequest: neither for the rules of a region nor for an
// idempotencyKey.
func TestInvisibleCharactersAreNoOtherRequest(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "PHONE_REGION=KR")
	first := s.Update(Object{"patientId": Number, "phone": "\u2067０１０-2345\u00AD-6789\u2069", "idempotencyKey": "k"})
	Want(t, first, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-2345-6789"})
	again := s.Update(Object{"patientId": Number, "phone": "010-2345-6789", "idempotencyKey": "k"})
	Want(t, again, Object{"operationId": first["operationId"]})
	if n := s.Puts(); n != 1 {
		t.Errorf("%d PUTs, want 1", n)
	}
	// The bounds count what is left.
	long := strings.Repeat("\u200B", 64) + "010-2345-6780"
	Want(t, s.Update(Object{"patientId": Number, "phone": long}), Object{"patient.phone": "010-2345-6780"})
}
