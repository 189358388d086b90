package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

func TestHowAnUpdateEnded(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL, "FHIR_TIMEOUT=500ms")
		own, stranger := Token(t, auth.RolePatient, Number), Token(t, auth.RolePatient, "P-2025-000002")
		done := s.As(own).Update(Object{"patientId": Number, "phone": "010-1234-5678"})
		Want(t, s.As(own).ContactUpdate(done["operationId"]), Object{
			"state": "APPLIED", "patientId": Number, "result.__typename": "UpdatePatientContactSuccess", "result.patient.phone": "010-1234-5678",
		})
		for who, bearer := range map[string]string{"another patient": stranger, "a doctor": Token(t, auth.RoleDoctor, "")} {
			if u := s.As(bearer).ContactUpdate(done["operationId"]); u != nil {
				t.Errorf("%s sees %v", who, u)
			}
		}

		// The PUT hangs somewhere on the way and lands after everybody gave up.
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 600 * time.Millisecond, Late: true})
		lost := s.As(own).Update(Object{"patientId": Number, "phone": "010-8888-8888"})
		Want(t, lost, Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN", "code": "FHIR_OUTCOME_UNKNOWN"})
		Want(t, s.As(own).ContactUpdate(lost["operationId"]), Object{"state": "PENDING", "settledAt": nil, "result": nil})
		Want(t, s.Patient(Number), Object{"syncState": "PENDING"})
		s.FHIR.ClearFaults()
		event, _ := s.Settlement(lost["operationId"]).Next()
		Want(t, event, Object{"data.contactUpdateSettled.state": "APPLIED"})
		Want(t, s.As(own).ContactUpdate(lost["operationId"]), Object{"state": "APPLIED"})
		Want(t, s.Patient(Number), Object{"syncState": "SYNCED", "phone": "010-8888-8888"})
	})
}

func TestRejectionOfWhatWasNotTouched(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json",
			Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"Invalid phone format","expression":["Patient.telecom[1].value"]}]}`})
		Want(t, s.Update(Object{"patientId": Number, "email": "new@example.org"}), Object{
			"__typename": "FhirRejected", "message": "Invalid phone format",
			"detail": "FHIR server rejected the update because of an element that this update does not change",
		})
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-2"}), Object{
			"__typename": "FhirRejected", "detail": "FHIR server rejected the update",
		})
	})
}

func TestOpenCircuit(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL)
	patients := []string{Number}
	for n := 3; n <= 6; n++ {
		resource := PatientJSON(fmt.Sprint("b", n), fmt.Sprint("P-2025-00000", n))
		if err := s.FHIR.Put([]byte(resource)); err != nil {
			t.Fatal(err)
		}
		MustImport(t, databaseURL, resource)
		patients = append(patients, fmt.Sprint("P-2025-00000", n))
	}
	input := Object{"patientId": Number, "phone": "010-9876-5432"}
	s.FHIR.SetFault("", fhirsim.Fault{Close: true})
	for n := range 10 { // fewer patients do not open it
		other := Object{"patientId": patients[n%len(patients)], "phone": "010-9876-5432"}
		Want(t, s.Update(other), Object{"__typename": "FhirUnavailable", "applied": "NO"})
	}
	asked := len(s.FHIR.Requests())
	s.FHIR.ClearFaults()
	answer := s.Update(input)
	Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO", "code": "FHIR_UNAVAILABLE"})
	wantOperation(s.Product, answer, "NOT_APPLIED")
	if after, _ := answer["retryAfterSeconds"].(float64); after < 1 || after > 5 {
		t.Errorf("retryAfterSeconds is %v", answer["retryAfterSeconds"])
	}
	if now := len(s.FHIR.Requests()); now != asked {
		t.Error("the FHIR server was asked while the circuit was open")
	}
	wait.Until(t, "the circuit closes", func() bool { return s.Update(input)["__typename"] == "UpdatePatientContactSuccess" })
}
