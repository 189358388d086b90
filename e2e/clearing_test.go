package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// requestFile is a file of testdata/requests.
func requestFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/requests/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// startWithEmails starts the product with a patient who has three emails.
func startWithEmails(t *testing.T, databaseURL string) *System {
	t.Helper()
	patient := string(requestFile(t, "three-emails.json"))
	patient = strings.Replace(patient, `"name"`, `"identifier":[{"system":"`+fhirsim.DemoIdentifierSystem+`","value":"`+Number+`"}],"name"`, 1)
	server, base := StartFHIR(t, fhirsim.Options{}, strings.Replace(patient, "lindgren-14", "a1", 1))
	stored, _, _ := server.Get("a1")
	MustImport(t, databaseURL, string(stored))
	return &System{Product: StartWith(t, base, databaseURL), FHIR: server}
}

// emails counts those on the FHIR server.
func emails(s *System) int { return strings.Count(s.Stored(), `"email"`) }

func TestClearingNeedsAGuard(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		check, requests := s.Untouched(), len(s.FHIR.Requests())
		for _, number := range []string{Number, LocalNumber} {
			for _, c := range []struct {
				input Object
				want  [][2]string // field and rule
			}{
				{Object{"email": nil, "address": nil, "phone": "08-555 01 21"}, [][2]string{{"email", "clear-unguarded"}, {"address", "clear-unguarded"}}},
				{Object{"phone": nil}, [][2]string{{"phone", "clear-unguarded"}}},
				{Object{"phone": nil, "expectedVersion": nil, "idempotencyKey": nil}, [][2]string{{"phone", "clear-unguarded"}}},
				{Object{"address": nil, "phone": "", "email": "x"}, [][2]string{{"phone", "min"}, {"email", "email"}, {"address", "clear-unguarded"}}},
			} {
				c.input["patientId"] = number
				answer := s.Update(c.input)
				Want(t, answer, Object{"__typename": "InvalidInput", "code": "INVALID_INPUT", "retryable": false})
				var got [][2]string
				faults, _ := answer["fieldErrors"].([]any)
				for _, f := range faults {
					got = append(got, [2]string{Object(f.(map[string]any))["field"].([]any)[0].(string), f.(map[string]any)["rule"].(string)})
				}
				if JSON(t, got) != JSON(t, c.want) {
					t.Errorf("%v: faults %v, want %v", c.input, got, c.want)
				}
			}
		}
		if now := len(s.FHIR.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		check()
		Want(t, s.Patient(LocalNumber), Object{"phone": OldPhone, "email": "old@example.org"})
	})
}

func TestTheGuardOfAClearingIsSaidInKorean(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	answer := s.Post(Body(t, ContactMutation, Object{"input": Object{"patientId": Number, "address": nil}}), "Accept-Language", "ko")
	if message := fmt.Sprint(answer.At("data", "updatePatientContact", "message")); !strings.HasPrefix(message, "주소: 값을 지우려면 expectedVersion") {
		t.Errorf("%q", message)
	}
}

// TestAClearingSentAgainClearsOnce: by its key or by its version. What comes next is
// shown.
func TestAClearingSentAgainClearsOnce(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startWithEmails(t, databaseURL)
		first := s.Update(Object{"patientId": Number, "email": nil, "idempotencyKey": "c-1"})
		Want(t, first, Object{"__typename": "UpdatePatientContactSuccess", "patient.email": "a@tva.example"})
		for range 2 {
			Want(t, s.Update(Object{"patientId": Number, "email": nil, "idempotencyKey": "c-1"}), first)
		}
		if n := emails(s); n != 2 {
			t.Errorf("%d emails are left: %s", n, s.Stored())
		}
		seen := s.Patient(Number)["version"]
		Want(t, s.Update(Object{"patientId": Number, "email": nil, "expectedVersion": seen}),
			Object{"__typename": "UpdatePatientContactSuccess", "patient.email": "a@tre.example"})
		Want(t, s.Update(Object{"patientId": Number, "email": nil, "expectedVersion": seen}),
			Object{"__typename": "UpdateConflict", "conflictingFields": []string{"email"}, "retryable": false, "current.email": "a@tre.example"})
		if n := emails(s); n != 1 {
			t.Errorf("%d emails are left: %s", n, s.Stored())
		}
	})
}
