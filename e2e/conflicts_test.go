package e2e_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// profile makes one profile edit of Number and returns its answer.
func profile(s *System, input Object) Object {
	s.T.Helper()
	input["patientId"] = Number
	answer, _ := s.Query(`mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename
		... on UserError { retryable } ... on UpdateConflict { conflictingFields } } }`, Object{"input": input})["updatePatientProfile"].(map[string]any)
	return answer
}

// TestOtherFieldsAreNoConflict takes the requests of a file, of a patient that the
// FHIR server has and of one in the cache alone.
func TestOtherFieldsAreNoConflict(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		for _, number := range []string{Number, LocalNumber} {
			seen := s.Patient(number)["version"]
			want := map[float64]Object{
				1: {"__typename": "UpdatePatientContactSuccess"},
				2: {"__typename": "UpdatePatientContactSuccess", "patient.email": "joris@nieuw.example"},
				3: {"__typename": "UpdateConflict", "conflictingFields": []string{"email", "address"}, "retryable": false},
			}
			for line := range bytes.Lines(requestFile(t, "which-field-moved.ndjson")) {
				var request struct {
					Step  float64
					Input Object
				}
				if err := json.Unmarshal(line, &request); err != nil {
					t.Fatal(err)
				}
				request.Input["patientId"] = number
				if request.Input["expectedVersion"] != nil {
					request.Input["expectedVersion"] = seen
				}
				Want(t, s.Update(request.Input), want[request.Step])
			}
			Want(t, s.Patient(number), Object{"email": "joris@nieuw.example", "address.lines": []string{"Kanaal 5"}})
			// The phone is what it was when the version was read.
			Want(t, s.Update(Object{"patientId": number, "phone": NewPhone, "expectedVersion": seen}), Object{"__typename": "UpdatePatientContactSuccess"})
			Want(t, s.Update(Object{"patientId": number, "phone": NewPhone, "email": "joris@nieuw.example", "expectedVersion": seen}), // be it to what is asked
				Object{"__typename": "UpdateConflict", "conflictingFields": []string{"phone", "email"}})
		}
	})
}

// TestAProfileEditAndAnImportAreNoConflict: unless the import brings another value.
func TestAProfileEditAndAnImportAreNoConflict(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		seen := s.Patient(Number)["version"]
		elsewhere := func(old, value string) {
			t.Helper()
			if err := s.FHIR.Put([]byte(strings.Replace(s.Stored(), old, value, 1))); err != nil {
				t.Fatal(err)
			}
			MustImport(t, databaseURL, s.Stored())
		}
		Want(t, profile(s, Object{"bloodType": "A+", "allergies": []string{"noix"}}), Object{"__typename": "UpdatePatientProfileSuccess"})
		elsewhere("02-111-2222", "02-333-4444") // a fax
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone, "expectedVersion": seen}), Object{"__typename": "UpdatePatientContactSuccess"})
		elsewhere("old@example.org", "ny@example.org")
		Want(t, s.Update(Object{"patientId": Number, "email": "x@example.org", "address": Object{"city": "Gent"}, "expectedVersion": seen}), Object{
			"__typename": "UpdateConflict", "conflictingFields": []string{"email"}, "retryable": false, "current.email": "ny@example.org",
		})

		// The other way round a profile edit sees what changed of the profile alone.
		Want(t, profile(s, Object{"emergencyContact": Object{"name": "N"}, "expectedVersion": seen}), Object{"__typename": "UpdatePatientProfileSuccess"})
		Want(t, profile(s, Object{"bloodType": "A+", "emergencyContact": nil, "expectedVersion": seen}), Object{
			"__typename": "UpdateConflict", "conflictingFields": []string{"emergencyContact", "bloodType"}, "retryable": false,
		})
		Want(t, s.Patient(Number), Object{"bloodType": "A+", "emergencyContact.name": "N", "email": "ny@example.org"})
	})
}

// TestWhatTheFHIRServerShowsChangedIsNamed: the cache does not know of it yet.
func TestWhatTheFHIRServerShowsChangedIsNamed(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		seen := s.Patient(Number)["version"]
		if err := s.FHIR.Put([]byte(strings.NewReplacer("1 Main St", "9 Main St", "02-111-2222", "02-333-4444").Replace(s.Stored()))); err != nil {
			t.Fatal(err)
		}
		answer := s.Update(Object{"patientId": Number, "phone": NewPhone, "address": Object{"city": "Gent"}, "expectedVersion": seen})
		Want(t, answer, Object{"__typename": "UpdateConflict", "conflictingFields": []string{"address"}, "retryable": false})
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone, "address": Object{"city": "Gent"}, "expectedVersion": answer.At("current", "version")}),
			Object{"__typename": "UpdatePatientContactSuccess"})
	})
}

// TestARivalsOtherFieldIsNoConflict: somebody writes another element between the read
// and the PUT, and the caller named a version.
func TestARivalsOtherFieldIsNoConflict(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		s.FHIR.SetFault("", fhirsim.Fault{On: "PUT", Compete: true, Times: 1})
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone, "expectedVersion": s.Patient(Number)["version"]}),
			Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": NewPhone})
		if stored := s.Stored(); !strings.Contains(stored, "02-000-000") || !strings.Contains(stored, NewPhone) {
			t.Errorf("the FHIR server has %s", stored)
		}
	})
}

// TestARecordTooBusyIsTriedAgain: with the same key too, whether or not the caller
// named a version. A conflict of values is remembered.
func TestARecordTooBusyIsTriedAgain(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		for n, phone := range []string{"010-1000-0001", "010-1000-0002"} {
			input := Object{"patientId": Number, "phone": phone, "idempotencyKey": phone}
			if n > 0 {
				input["expectedVersion"] = s.Patient(Number)["version"]
			}
			s.FHIR.SetFault("", fhirsim.Fault{Compete: true})
			busy := s.Update(input)
			Want(t, busy, Object{"__typename": "UpdateConflict", "retryable": true, "conflictingFields": []string{}})
			Want(t, s.ContactUpdate(busy["operationId"]), Object{"state": "CONFLICT", "result.code": "UPDATE_CONFLICT"})
			s.FHIR.ClearFaults()
			done := s.Update(input)
			Want(t, done, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": phone})
			Want(t, s.Update(input), done)
		}
		input := Object{"patientId": Number, "phone": NewPhone, "idempotencyKey": "k", "expectedVersion": "1"}
		conflict := s.Update(input)
		Want(t, conflict, Object{"__typename": "UpdateConflict", "retryable": false, "conflictingFields": []string{"phone"}})
		Want(t, s.Update(input), conflict)
	})
}

// TestAVersionThatNobodyWrote conflicts in all that was asked, for nobody can have
// seen it.
func TestAVersionThatNobodyWrote(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check := s.Untouched()
		for _, version := range []string{"zz", "0", "-1", "01", "A", "버전", "9999999999999999999999", `W/"1"`} {
			for _, number := range []string{Number, LocalNumber} {
				Want(t, s.Update(Object{"patientId": number, "email": "x@example.org", "phone": NewPhone, "expectedVersion": version}), Object{
					"__typename": "UpdateConflict", "retryable": false, "conflictingFields": []string{"phone", "email"}, "current.phone": OldPhone,
				})
			}
			Want(t, profile(s, Object{"bloodType": "A+", "expectedVersion": version}),
				Object{"__typename": "UpdateConflict", "retryable": false, "conflictingFields": []string{"bloodType"}})
		}
		check()
	})
}
