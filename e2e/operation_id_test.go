package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// wantNamed returns the operationId of an answer, and fails unless the log names
// it too.
func wantNamed(p *Product, answer Object) string {
	p.T.Helper()
	id, _ := answer["operationId"].(string)
	if id == "" || !strings.Contains(p.Log.String(), `"operation":"`+id+`"`) {
		p.T.Errorf("the log does not name the operation %q of %v", id, answer)
	}
	return id
}

// wantOperation fails unless the log names the operation of an answer, and
// contactUpdate tells this state of it; "" where nothing was begun.
func wantOperation(p *Product, answer Object, state string) {
	p.T.Helper()
	id := wantNamed(p, answer)
	update := p.ContactUpdate(id)
	if state == "" {
		if update != nil {
			p.T.Errorf("nothing was begun, and contactUpdate says %v", update)
		}
		return
	}
	Want(p.T, update, Object{"operationId": id, "state": state, "result.__typename": answer["__typename"]})
}

// TestEveryOutcomeNamesItsOperation: one mutation asks all four members for their
// operationId, without an alias.
func TestEveryOutcomeNamesItsOperation(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		input := Object{"patientId": Number, "phone": NewPhone}
		for n, c := range []struct {
			fault    fhirsim.Fault
			input    Object
			typename string
			state    string // of contactUpdate; "": null
		}{
			{fhirsim.Fault{}, input, "UpdatePatientContactSuccess", "APPLIED"},
			{fhirsim.Fault{}, Object{"patientId": LocalNumber, "phone": NewPhone}, "UpdatePatientContactSuccess", "APPLIED"},
			{fhirsim.Fault{}, Object{"patientId": Number, "phone": "010-1", "expectedVersion": "zz"}, "UpdateConflict", "CONFLICT"},
			{fhirsim.Fault{}, Object{"patientId": LocalNumber, "phone": "010-1", "expectedVersion": "zz"}, "UpdateConflict", ""},
			{fhirsim.Fault{}, Object{"patientId": Number, "phone": "invalid-phone"}, "FhirRejected", "REJECTED"},
			{fhirsim.Fault{Close: true}, input, "FhirUnavailable", "NOT_APPLIED"},
		} {
			s.FHIR.ClearFaults()
			s.FHIR.SetFault("", c.fault)
			c.input["idempotencyKey"] = fmt.Sprint("key ", n)
			answer := s.Update(c.input)
			Want(t, answer, Object{"__typename": c.typename})
			wantOperation(s.Product, answer, c.state)
			if c.state != "" && c.state != "NOT_APPLIED" { // what wrote nothing is tried again
				Want(t, s.Update(c.input), Object{"__typename": c.typename, "operationId": answer["operationId"]})
			}
		}
	})
}

// TestWaitingInVainNamesItsOperation: who waits for an earlier write of the
// patient until the time is over has begun nothing.
func TestWaitingInVainNamesItsOperation(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	s.FHIR.SetFault("", fhirsim.Fault{Hang: true})
	const callers = 6 // each write takes most of the time that a caller waits
	answers := make(chan Object, callers)
	for range callers {
		go func() { answers <- s.Update(Object{"patientId": Number, "phone": NewPhone}) }()
	}
	inVain := 0
	for range callers {
		answer := <-answers
		Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO"})
		if answer["detail"] == "an earlier write of this patient is still under way" {
			inVain++
			wantOperation(s.Product, answer, "")
		} else {
			wantOperation(s.Product, answer, "NOT_APPLIED")
		}
	}
	if inVain == 0 {
		t.Error("nobody waited in vain")
	}
}

func TestProfileConflictNamesItsOperation(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	answer := s.Query(`mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) {
		__typename ... on UpdateConflict { operationId } } }`, Object{"input": Object{"patientId": Number, "bloodType": "A+", "expectedVersion": "zz"}})
	wantOperation(s.Product, answer["updatePatientProfile"].(map[string]any), "")
	s.WantLog("profile update conflict for patient " + Number)
}
