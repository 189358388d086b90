package writethrough_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/writethrough"
)

// The patient is deleted between our GET and our PUT; HAPI's PUT makes it anew
// with 201, and that answer is lost. Never Success: FHIR_PATIENT_GONE.
func TestLostResurrectionIsNoSuccess(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		r.server.Delete(id)
		u, err := r.client.Update(ctx, id, body, "") // a server that lets it pass, as HAPI does after $expunge
		if err != nil || !u.Created {
			t.Errorf("setup: %+v %v", u, err)
		}
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, nil)
	a, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if codeOf(err) != writethrough.PatientGone {
		t.Errorf("told %v (%v) for a PUT that resurrected a patient", a, err)
	}
}

// 201 with a body that cannot be used, and the read after it fails: PENDING
// until it can be read, and the same answer before and after.
func TestCreatedAndUnreadable(t *testing.T) {
	r := newRig(t, 1)
	var fail atomic.Bool
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		r.server.Delete(id)
		if _, err := r.client.Update(ctx, id, body, ""); err != nil {
			t.Error(err)
		}
		fail.Store(true)
		return fhir.Update{}, &fhir.Error{Kind: fhir.Unusable, Op: fhir.OpUpdate, Status: 201, Reason: "truncated"}
	}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if fail.Load() {
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "x"}
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease = 200 * time.Millisecond })
	change := writethrough.Change{PatientID: patientID(0), Edit: phone("010-7777-7777"), Actor: "me", IdempotencyKey: "k"}
	ask := func() *failure {
		t.Helper()
		_, err := update(t.Context(), w, change)
		var e *failure
		if !errors.As(err, &e) || e.Code != writethrough.PatientGone || e.HTTPStatus != 201 {
			t.Fatalf("told %v", err)
		}
		return e
	}
	first := ask()
	if ask().OperationID != first.OperationID {
		t.Error("the retry is another update")
	}
	if p, err := r.store.Patient(t.Context(), patientID(0)); err != nil || p.SyncState != db.Pending {
		t.Errorf("%v %v", p, err)
	}
	fail.Store(false)
	r.await(db.Synced, "010-7777-7777")
	if again := ask(); again.OperationID != first.OperationID || r.state(first.OperationID) != db.UpdateRejected {
		t.Errorf("settled as %s, told %v", r.state(first.OperationID), again)
	}
}
