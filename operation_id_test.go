package main

import (
	"fmt"
	"strings"
	"testing"

	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

// wantNamed returns the operationId of an answer, and fails unless the log names
// it too.
func (p *product) wantNamed(answer object) string {
	p.t.Helper()
	id, _ := answer["operationId"].(string)
	if id == "" || !strings.Contains(p.log.String(), `"operation":"`+id+`"`) {
		p.t.Errorf("the log does not name the operation %q of %v", id, answer)
	}
	return id
}

// wantOperation fails unless the log names the operation of an answer, and
// contactUpdate tells this state of it; "" where nothing was begun.
func (p *product) wantOperation(bearer string, answer object, state string) {
	p.t.Helper()
	id := p.wantNamed(answer)
	update := p.contactUpdate(bearer, id)
	if state == "" {
		if update != nil {
			p.t.Errorf("nothing was begun, and contactUpdate says %v", update)
		}
		return
	}
	want(p.t, update, object{"operationId": id, "state": state, "result.__typename": answer["__typename"]})
}

// TestEveryOutcomeNamesItsOperation: one mutation asks all four members for their
// operationId, without an alias.
func TestEveryOutcomeNamesItsOperation(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		admin := token(t, auth.RoleAdmin, "")
		const local = "P-2025-000002"
		input := object{"patientId": number, "phone": newPhone}
		for n, c := range []struct {
			fault    fhirtest.Fault
			input    object
			typename string
			state    string // of contactUpdate; "": null
		}{
			{fhirtest.Fault{}, input, "UpdatePatientContactSuccess", "APPLIED"},
			{fhirtest.Fault{}, object{"patientId": local, "phone": newPhone}, "UpdatePatientContactSuccess", "APPLIED"},
			{fhirtest.Fault{}, object{"patientId": number, "phone": "010-1", "expectedVersion": "zz"}, "UpdateConflict", "CONFLICT"},
			{fhirtest.Fault{}, object{"patientId": local, "phone": "010-1", "expectedVersion": "zz"}, "UpdateConflict", ""},
			{fhirtest.Fault{}, object{"patientId": number, "phone": "invalid-phone"}, "FhirRejected", "REJECTED"},
			{fhirtest.Fault{Close: true}, input, "FhirUnavailable", "NOT_APPLIED"},
		} {
			s.fhir.ClearFaults()
			s.fhir.SetFault("", c.fault)
			c.input["idempotencyKey"] = fmt.Sprint("key ", n)
			answer := s.updateContact(admin, c.input)
			want(t, answer, object{"__typename": c.typename})
			s.wantOperation(admin, answer, c.state)
			if c.state != "" && c.state != "NOT_APPLIED" { // what wrote nothing is tried again
				want(t, s.updateContact(admin, c.input), object{"__typename": c.typename, "operationId": answer["operationId"]})
			}
		}
	})
}

// TestWaitingInVainNamesItsOperation: who waits for an earlier write of the
// patient until the time is over has begun nothing.
func TestWaitingInVainNamesItsOperation(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	s.fhir.SetFault("", fhirtest.Fault{Hang: true})
	const callers = 6 // each write takes most of the time that a caller waits
	answers := make(chan object, callers)
	for range callers {
		go func() { answers <- s.updateContact(admin, object{"patientId": number, "phone": newPhone}) }()
	}
	inVain := 0
	for range callers {
		answer := <-answers
		want(t, answer, object{"__typename": "FhirUnavailable", "applied": "NO"})
		if answer["detail"] == "an earlier write of this patient is still under way" {
			inVain++
			s.wantOperation(admin, answer, "")
		} else {
			s.wantOperation(admin, answer, "NOT_APPLIED")
		}
	}
	if inVain == 0 {
		t.Error("nobody waited in vain")
	}
}

func TestProfileConflictNamesItsOperation(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	answer := s.query(admin, `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) {
		__typename ... on UpdateConflict { operationId } } }`, object{"input": object{"patientId": number, "bloodType": "A+", "expectedVersion": "zz"}})
	s.wantOperation(admin, answer["updatePatientProfile"].(map[string]any), "")
	s.wantLog("profile update conflict for patient " + number)
}
