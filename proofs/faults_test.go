package proofs_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// TestFaultTable runs every combination: what the caller hears, and, once the
// fault is over and everything is settled, what cache and FHIR server hold,
// that no write happened twice, and that whoever asks again hears the same.
func TestFaultTable(t *testing.T) {
	t.Parallel()
	places := make(chan struct{}, 4) // products that write at once: two cores are not many
	var wg sync.WaitGroup
	defer wg.Wait()
	byHand := slices.Concat(faultTable, openEMRRows(t))
	for _, f := range slices.Concat(byHand, generated(t, byHand)) {
		wg.Go(func() {
			t.Run(f.name, func(t *testing.T) { f.run(t, places) })
		})
	}
}

func (f fault) run(t *testing.T, places chan struct{}) {
	places <- struct{}{}
	leave := sync.OnceFunc(func() { <-places })
	defer leave()
	rig := newRig(t, f)
	if f.when == stored {
		f.lie = fhirsim.Fault{On: onPut, Overtaken: func() { rig.script.befall(stored) }}
	}
	rig.FHIR.SetFault("", f.lie)
	rig.script.befall("")
	input := Object{"patientId": Number, "phone": NewPhone, "idempotencyKey": "key"}
	answer := rig.Update(input)
	f.hears(t, answer)
	id := rig.operation(answer)
	if f.ends != "" {
		Want(t, rig.Patient(Number), Object{"phone": OldPhone, "syncState": "PENDING"})
		Want(t, rig.ContactUpdate(id), Object{"state": "PENDING"})
		rig.repeated(input, answer)
	} else {
		Want(t, rig.ContactUpdate(id), Object{"state": f.state()})
	}
	rig.heal()
	leave()
	update := rig.Settled(id)
	if f.entombed() {
		Want(t, rig.Query(`query($id: ID!) { patient(id: $id) { id } }`, Object{"id": Number}), Object{"patient": nil})
	} else {
		Want(t, rig.Patient(Number), Object{"phone": f.cache, "syncState": "SYNCED", "email": "old@example.org"})
	}
	if stored := rig.Stored(); !strings.Contains(stored, f.fhir) {
		t.Errorf("the FHIR server has %s, want %s", stored, f.fhir)
	}
	writes := f.writes
	if writes == 0 && (f.apply && f.lie.Store == nil || f.fhir == f.phone() || f.state() == applied) {
		writes = 1
	}
	if n := rig.written(f.phone()); n != writes {
		t.Errorf("the write happened %d times, want %d", n, writes)
	}
	told := f.toldInTheEnd(answer, id)
	triedAgain := f.state() == never || f.want == conflict // nothing was written, so nothing is remembered
	if !triedAgain {
		rig.repeated(input, told)
	}
	Want(t, update, Object{
		"state": f.state(), "result.__typename": told["__typename"], "result.code": told["code"],
		"result.normalized": told["normalized"], "result.applied": told["applied"], "result.patient.phone": told.At("patient", "phone"),
	})
	time.Sleep(10 * time.Millisecond)
	Want(t, rig.Update(Object{"patientId": Number, "email": "after@example.org"}), Object{
		"__typename": "UpdatePatientContactSuccess", "patient.phone": f.fhir, "patient.syncState": "SYNCED",
	})
	if triedAgain {
		Want(t, rig.Update(input), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": NewPhone})
	}
	rig.keepsSecrets()
}

// entombed reports whether the reads say that the patient is gone: it is shown to nobody
// until the server shows it again.
func (f fault) entombed() bool {
	return f.want == gone && (f.on == onGet || f.then == "404" || f.then == "410")
}

// phone is what a success shows.
func (f fault) phone() string { return cmp.Or(f.told, NewPhone) }

// normalized is what a success says of it.
func (f fault) normalized() []string {
	if f.told != "" {
		return []string{"phone"}
	}
	return []string{}
}

// hears checks what the caller hears at first.
func (f fault) hears(t *testing.T, answer Object) {
	t.Helper()
	code, _ := answer["code"].(string)
	if answer["__typename"] == "UpdatePatientContactSuccess" {
		code = success
		Want(t, answer, Object{"patient.phone": f.phone(), "patient.syncState": "SYNCED", "normalized": f.normalized()})
	}
	if code != f.want {
		t.Errorf("the caller hears %s, want %s: %v", code, f.want, answer)
	}
	if f.status != 0 {
		Want(t, answer, Object{"httpStatus": f.status})
	}
	if f.want == unknown {
		Want(t, answer, Object{"applied": "UNKNOWN"})
	} else if answer["__typename"] == "FhirUnavailable" {
		Want(t, answer, Object{"applied": "NO"})
	}
}

// toldInTheEnd is what whoever asks hears once the outcome is known: what was
// told at first, unless that was that nobody knows; what did not write brings the
// record as it is.
func (f fault) toldInTheEnd(answer Object, id string) Object {
	now := map[string]any{"phone": f.cache, "syncState": "SYNCED"}
	if f.entombed() { // as it was before
		now["syncState"] = "STALE"
	}
	switch {
	case f.want == success, f.want == conflict:
		return answer
	case f.want != unknown:
		told := maps.Clone(answer)
		told["patient"] = now
		return told
	case f.ends == applied:
		return Object{"__typename": "UpdatePatientContactSuccess", "operationId": id, "patient": map[string]any{"phone": f.phone()}, "normalized": f.normalized()}
	case f.ends == "REJECTED":
		return Object{"__typename": "FhirRejected", "code": notSaved, "patient": now}
	}
	return Object{"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "patient": now}
}
