package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// promised is what a kind of FHIR server makes possible; where it cannot, a scenario
// expects something else. Nothing else of the scenarios depends on the kind.
type promised struct {
	// guarded: If-Match keeps two writers apart. Without it another client's write
	// between our read and our PUT is not seen, and after a lost PUT nothing is written
	// until it has landed or the settle window is over.
	guarded bool
	// anyAddress: it stores an address as text, and more than one line of it.
	anyAddress bool
	// anyTelecom: it keeps entries that are neither phone nor email.
	anyTelecom bool

	refused Object // values that its validation refuses
	refusal Object // how that is told
}

func promises(kind fhirsim.Habits) promised {
	if kind.OpenEMR { // OpenEMR: a phone is never validated, an email with a domain in Hangul is refused
		return promised{
			refused: Object{"email": "new@서울.example"},
			refusal: Object{"message": map[bool]string{true: "Email is not a valid email", false: "Email … is not a valid email"}[kind.Software == "8.1.1-dev"], "httpStatus": 400},
		}
	}
	return promised{
		guarded: true, anyAddress: true, anyTelecom: true,
		refused: Object{"phone": "invalid-phone"}, refusal: Object{"message": "Invalid phone format", "httpStatus": 422},
	}
}

// untilItIsSettled is what later writes of the patient meet while a lost PUT may still
// land and nothing would keep it from undoing them.
var untilItIsSettled = Object{"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "retryable": true, "patient.syncState": "PENDING"}

func TestSuccessWithSync(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		before, stored := s.Patient(Number), s.Stored()
		answer := s.Update(Object{"patientId": Number, "phone": "010-9876-5432"})
		Want(t, answer, Object{
			"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-9876-5432",
			"patient.email": "old@example.org", "patient.syncState": "SYNCED",
		})
		now := s.Patient(Number)
		Want(t, now, Object{"phone": "010-9876-5432", "email": "old@example.org", "birthDate": before["birthDate"], "syncState": "SYNCED"})
		if now["version"] == before["version"] || now["lastSyncedAt"] == before["lastSyncedAt"] {
			t.Errorf("version or lastSyncedAt did not change: %v", now)
		}
		want := strings.Replace(stored, "010-1111-2222", "010-9876-5432", 1)
		if got := WithoutMeta(t, s.Stored()); got != WithoutMeta(t, want) {
			t.Errorf("the FHIR server has\n%s\nwant\n%s", got, WithoutMeta(t, want))
		}
		s.WantLog("FHIR update success for patient " + Number)
	})
}

func TestEachContactFieldSetAndCleared(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		can, fax := promises(kind), `"02-111-2222"`
		if !can.anyTelecom {
			fax = ""
		}
		for _, c := range []struct {
			input, cached Object
			onFHIR        string
			stores        bool
		}{
			{Object{"email": "new@example.org"}, Object{"email": "new@example.org", "phone": "010-1111-2222"}, `"value":"new@example.org"`, true},
			{Object{"address": Object{"lines": []string{"서울로 2"}, "city": "서울"}}, Object{"address.lines": []string{"서울로 2"}, "address.city": "서울", "address.postalCode": nil}, "서울로 2", true},
			{Object{"address": Object{"lines": []string{"서울로 1", "2층"}, "city": "서울"}}, Object{"address.lines": []string{"서울로 1", "2층"}, "address.city": "서울", "address.postalCode": nil}, "서울로 1", can.anyAddress},
			{Object{"address": Object{"text": "서울시 어딘가 😀"}}, Object{"address.text": "서울시 어딘가 😀", "address.city": nil}, "서울시 어딘가 😀", can.anyAddress},
			{Object{"phone": nil}, Object{"phone": nil, "email": "new@example.org"}, fax, true},
			{Object{"address": nil, "email": nil}, Object{"address": nil, "email": nil}, fax, true},
			{Object{"phone": "+82 10 0000 0000"}, Object{"phone": "+82 10 0000 0000"}, "+82 10 0000 0000", true},
		} {
			c.input["patientId"], c.input["expectedVersion"] = Number, s.Patient(Number)["version"]
			if !c.stores {
				stored := s.Stored()
				Want(t, s.Update(c.input), Object{"__typename": "FhirRejected", "code": "FHIR_CANNOT_APPLY"})
				if now := s.Stored(); now != stored {
					t.Errorf("after %v the FHIR server has %s", c.input, now)
				}
				continue
			}
			Want(t, s.Update(c.input), Object{"__typename": "UpdatePatientContactSuccess"})
			Want(t, s.Patient(Number), c.cached)
			if !strings.Contains(s.Stored(), c.onFHIR) {
				t.Errorf("after %v the FHIR server lacks %s: %s", c.input, c.onFHIR, s.Stored())
			}
		}
	})
}

func TestRejection(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check := s.Untouched()
		can := promises(kind)
		for field, value := range can.refused {
			answer := s.Update(Object{"patientId": Number, field: value})
			Want(t, answer, Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "retryable": false, "detail": "FHIR server rejected the update"})
			Want(t, answer, can.refusal)
			Want(t, answer["issues"].([]any)[0].(map[string]any), Object{"severity": "error", "field": []string{field}})
			check()
			s.WantLog(fmt.Sprintf("FHIR validation failed for patient %s: %s", Number, can.refusal["message"]))
			if text := s.Log.String() + JSON(t, answer); strings.Contains(text, value.(string)) {
				t.Errorf("the log or the answer holds the submitted value: %v", answer)
			}
		}
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check := s.Untouched()
		s.FHIR.SetFault("", fhirsim.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"7"}}})
		answer := s.Update(Object{"patientId": Number, "phone": "010-9876-5432"})
		Want(t, answer, Object{
			"__typename": "FhirUnavailable", "message": "FHIR server communication failed", "code": "FHIR_UNAVAILABLE",
			"applied": "NO", "retryable": true, "retryAfterSeconds": 7,
		})
		check()
		Want(t, s.Patient(Number), Object{"syncState": "SYNCED"})
		s.WantLog("FHIR server error for patient " + Number + ": ")
	})
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		MustImport(t, databaseURL, PatientJSON("a1", Number))
		p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		before := p.Patient(Number)
		answer := p.Update(Object{"patientId": Number, "email": "x@example.org"})
		Want(t, answer, Object{"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "detail": "Connection refused"})
		Want(t, p.Patient(Number), before)
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL, "FHIR_TIMEOUT=500ms")
		check := s.Untouched()
		input := Object{"patientId": Number, "phone": "010-9876-5432"}

		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodGet, Hang: true})
		Want(t, s.Update(input), Object{
			"__typename": "FhirUnavailable", "code": "FHIR_TIMEOUT", "applied": "NO", "detail": "Connection timeout",
		})
		check()
		Want(t, s.Patient(Number), Object{"syncState": "SYNCED"})

		s.FHIR.ClearFaults()
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Hang: true})
		Want(t, s.Update(input), Object{
			"__typename": "FhirUnavailable", "code": "FHIR_OUTCOME_UNKNOWN", "applied": "UNKNOWN", "detail": "Connection timeout",
		})
		check()
		Want(t, s.Patient(Number), Object{"syncState": "PENDING"})
		s.WantLog("FHIR server error for patient " + Number + ": Connection timeout")

		s.FHIR.ClearFaults()
		if !promises(kind).guarded {
			Want(t, s.Update(input), untilItIsSettled)
			check()
			return
		}
		Want(t, s.Update(input), Object{"__typename": "UpdatePatientContactSuccess"})
		Want(t, s.Patient(Number), Object{"syncState": "SYNCED", "phone": "010-9876-5432"})
	})
}

func TestAnswerLostAfterTheWriteIsReadBack(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fhirsim.Fault{
		"connection closed": {On: http.MethodPut, Apply: true, Close: true},
		"truncated":         {On: http.MethodPut, Truncate: true},
		"bad gateway":       {On: http.MethodPut, Apply: true, Status: http.StatusBadGateway, Body: "<html>Bad Gateway</html>", ContentType: "text/html"},
		"html with 200":     {On: http.MethodPut, Apply: true, Status: http.StatusOK, Body: "<html>saved</html>", ContentType: "text/html"},
		"empty 200":         {On: http.MethodPut, Apply: true, Status: http.StatusOK},
		"duplicate keys":    {On: http.MethodPut, Apply: true, Status: http.StatusOK, Body: `{"resourceType":"Patient","id":"a1","id":"a1"}`, ContentType: "application/fhir+json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
				s := StartSystemOn(t, kind, databaseURL)
				s.FHIR.SetFault("", fault)
				answer := s.Update(Object{"patientId": Number, "phone": "010-9876-5432"})
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-9876-5432"})
				Want(t, s.Patient(Number), Object{"phone": "010-9876-5432", "syncState": "SYNCED"})
				if puts := s.Puts(); puts != 1 {
					t.Errorf("%d PUTs were sent, want 1", puts)
				}
			})
		})
	}
}

func TestAcceptedButNotSaved(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Drop: []string{"address"}})
		answer := s.Update(Object{
			"patientId": Number, "phone": "010-9876-5432", "address": Object{"city": "Busan"},
		})
		Want(t, answer, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"})
		if issues := answer["issues"].([]any); len(issues) != 1 || Object(issues[0].(map[string]any)).At("field").([]any)[0] != "address" {
			t.Errorf("issues are %v, want one about the address", issues)
		}
		Want(t, s.Patient(Number), Object{"phone": "010-9876-5432"}) // what was saved is the truth
	})
}

func TestPatientWithoutFHIRID(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		requests := len(s.FHIR.Requests())
		answer := s.As(Token(t, auth.RolePatient, "P-2025-000002")).Update(Object{
			"patientId": "P-2025-000002", "phone": "010-3333-4444", "address": Object{"text": "부산"},
		})
		Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-3333-4444", "patient.syncState": "LOCAL_ONLY", "patient.lastSyncedAt": nil})
		Want(t, s.Patient("P-2025-000002"), Object{"phone": "010-3333-4444", "isSynced": false, "fhirId": nil, "address.text": "부산", "email": "old@example.org"})
		s.Update(Object{"patientId": "P-2025-000002", "address": Object{"city": "대구"}})
		if text, _ := s.Patient("P-2025-000002").At("address", "text").(string); !strings.Contains(text, "대구") {
			t.Errorf("the text does not follow the parts: %q", text)
		}
		if now := len(s.FHIR.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		s.WantLog("patient P-2025-000002 has no FHIR id: contact changed in the cache only")
	})
}

func TestReadOnlyFields(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check, before := s.Untouched(), s.Patient(Number)
		for _, field := range []string{`birthDate: "2000-01-01"`, `familyName: "X"`, `gender: FEMALE`, `fhirId: "other"`, `id: "X"`, `syncState: SYNCED`, `bloodType: "A+"`} {
			body := `{"query":"mutation { updatePatientContact(input: {patientId: \"` + Number + `\", phone: \"010\", ` + strings.ReplaceAll(field, `"`, `\"`) + `}) { __typename } }"}`
			answer := s.Post(body)
			if code := answer.ErrorCode(); code != "GRAPHQL_VALIDATION_FAILED" || answer.At("data") != nil {
				t.Errorf("%s: code %q, data %v", field, code, answer.At("data"))
			}
		}
		check()
		Want(t, s.Patient(Number), before)
	})
}

func TestProfileIsLocalOnly(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check := s.Untouched()
		update := `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename
			... on UpdatePatientProfileSuccess { patient { bloodType allergies emergencyContact { name relationship phone } } }
			... on InvalidInput { fieldErrors { field rule } } ... on UpdateConflict { conflictingFields } } }`
		run := func(input Object) Object {
			return s.Query(update, Object{"input": input})["updatePatientProfile"].(map[string]any)
		}
		first := s.Patient(Number)["version"]
		Want(t, run(Object{"patientId": Number, "bloodType": "AB-", "allergies": []string{"땅콩", "Penicillin"}, "emergencyContact": Object{"name": "홍판서", "phone": "010"}}), Object{
			"__typename": "UpdatePatientProfileSuccess", "patient.bloodType": "AB-", "patient.allergies": []string{"땅콩", "Penicillin"}, "patient.emergencyContact.name": "홍판서",
		})
		Want(t, run(Object{"patientId": Number, "bloodType": nil}), Object{"patient.bloodType": nil, "patient.allergies": []string{"땅콩", "Penicillin"}})
		Want(t, run(Object{"patientId": Number, "bloodType": "Z"}), Object{"__typename": "InvalidInput"})
		Want(t, run(Object{"patientId": Number, "bloodType": "A+", "expectedVersion": first}), Object{"__typename": "UpdateConflict", "conflictingFields": []string{"bloodType"}})
		Want(t, run(Object{"patientId": "P-0", "bloodType": "A+"}), Object{"__typename": "PatientNotFound"})
		check()
	})
}

func TestAnotherPatientsRecord(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check, requests := s.Untouched(), len(s.FHIR.Requests())
		other := Token(t, auth.RolePatient, "P-2025-000002")
		for _, id := range []string{Number, "P-2025-999999"} { // whether or not it exists
			Want(t, s.As(other).Update(Object{"patientId": id, "phone": "010-0000-0000"}), Object{"__typename": "NotPermitted", "code": "NOT_PERMITTED"})
			Want(t, s.As(other).Query(PatientQuery, Object{"id": id}), Object{"patient": nil})
		}
		for _, role := range []auth.Role{auth.RoleDoctor, auth.RoleNurse, auth.RoleRib, auth.RoleLab, auth.RoleAnalyst, "stranger"} {
			Want(t, s.As(Token(t, role, "")).Update(Object{"patientId": Number, "phone": "010-0000-0000"}), Object{"__typename": "NotPermitted"})
		}
		if now := len(s.FHIR.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		check()
		own := s.As(Token(t, auth.RolePatient, Number)).Update(Object{"patientId": Number, "phone": "010-0000-0000"})
		Want(t, own, Object{"__typename": "UpdatePatientContactSuccess"})
	})
}

func TestUnknownPatient(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		Want(t, s.Update(Object{"patientId": "P-1", "phone": "010"}), Object{"__typename": "PatientNotFound", "code": "PATIENT_NOT_FOUND"})
		s.FHIR.Delete("a1")
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-2"}), Object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
		if _, _, ok := s.FHIR.Get("a1"); ok {
			t.Error("the patient lives again on the FHIR server")
		}
		if patient := s.Query(`query($id: ID!) { patient(id: $id) { id } }`, Object{"id": Number})["patient"]; patient != nil {
			t.Errorf("the patient is shown: %v", patient)
		}
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-2"}), Object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
	})
}

func TestAMereReadDoesNotSettleALostWrite(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL, "FHIR_TIMEOUT=500ms")
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Hang: true})
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-9876-5432"}), Object{"applied": "UNKNOWN"})
		s.FHIR.ClearFaults()
		// FHIR still shows the old value: no PUT is needed, but the lost one may
		// land, and nothing would keep it from that.
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-1111-2222"}), Object{"__typename": "FhirUnavailable", "applied": "NO"})
		Want(t, s.Patient(Number), Object{"phone": "010-1111-2222", "syncState": "PENDING"})
		then := Object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"}
		if !promises(kind).guarded {
			then = untilItIsSettled
		}
		Want(t, s.Update(Object{"patientId": Number, "email": "x@example.org"}), then)
	})
}

func TestCreatedIsNeverSuccess(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fhirsim.Fault{
		"created":               {On: http.MethodPut, Apply: true, Status: http.StatusCreated, Body: PatientJSON("a1", Number), ContentType: "application/fhir+json"},
		"created, without body": {On: http.MethodPut, Apply: true, Status: http.StatusCreated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.OpenEMR("7.0.3"), fhirsim.OpenEMR("8.1.1-dev")} {
				s := StartSystemOn(t, kind, dbtest.SQLite(t))
				s.FHIR.SetFault("", fault)
				Want(t, s.Update(Object{"patientId": Number, "phone": "010-9876-5432"}), Object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
				s.WantLog("ALARM")
			}
		})
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		seen := s.Patient(Number)["version"]
		elsewhere := strings.Replace(s.Stored(), "010-1111-2222", "010-5555-5555", 1)
		if err := s.FHIR.Put([]byte(elsewhere)); err != nil {
			t.Fatal(err)
		}
		answer := s.Update(Object{"patientId": Number, "phone": "010-9876-5432", "expectedVersion": seen})
		Want(t, answer, Object{"__typename": "UpdateConflict", "code": "UPDATE_CONFLICT", "retryable": false, "conflictingFields": []string{"phone"}, "current.phone": "010-5555-5555"})
		Want(t, s.Patient(Number), Object{"phone": "010-5555-5555"}) // the cache follows the truth
		again := s.Update(Object{"patientId": Number, "phone": "010-9876-5432", "expectedVersion": answer.At("current", "version")})
		Want(t, again, Object{"__typename": "UpdatePatientContactSuccess"})

		s.FHIR.SetFault("", fhirsim.Fault{Compete: true})
		unceasing := Object{"__typename": "UpdateConflict", "retryable": true, "conflictingFields": []string{}}
		if !promises(kind).guarded { // nobody can tell; both changes are kept, for they are of different fields
			unceasing = Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-1"}
		}
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-1"}), unceasing)
		if !strings.Contains(s.Stored(), "02-000-000") {
			t.Errorf("the other editor's change is gone: %s", s.Stored())
		}
	})
}

// TestWritersOfDifferentFields: what three write at once to one patient is kept, be they
// replicas or others who know nothing of each other.
func TestWritersOfDifferentFields(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		writers := []*Product{s.Product, s.Another(databaseURL), s.Another(dbtest.SQLite(t))}
		for round := range 5 {
			street := fmt.Sprintf("서울로 %d", round)
			inputs := []Object{
				{"phone": fmt.Sprintf("010-0000-000%d", round)}, {"email": fmt.Sprintf("new%d@example.org", round)},
				{"address": Object{"lines": []string{street}, "city": "서울"}},
			}
			var all sync.WaitGroup
			for n, input := range inputs {
				input["patientId"] = Number
				all.Go(func() {
					Want(t, writers[(round+n)%3].Update(input), Object{"__typename": "UpdatePatientContactSuccess"})
				})
			}
			all.Wait()
			for _, value := range []any{inputs[0]["phone"], inputs[1]["email"], street} {
				if !strings.Contains(s.Stored(), `"`+value.(string)+`"`) {
					t.Errorf("%v is lost: %s", value, s.Stored())
				}
			}
		}
	})
}

func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		check := s.Untouched()
		s.FHIR.SetFault("", fhirsim.Fault{Status: http.StatusUnauthorized})
		answer := s.Update(Object{"patientId": Number, "phone": "010-9876-5432"})
		Want(t, answer, Object{"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false, "retryAfterSeconds": nil})
		check()
		s.WantLog("our credentials were refused")
	})
}
