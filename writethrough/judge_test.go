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

// A landed and its answer was lost. B named the same version, sets one of the
// same values, got 412 and lost that. B takes A's effect for its own and calls
// A NOT_APPLIED, though A's e-mail was written by nobody else.
func TestFenceByAnothersEffect(t *testing.T) {
	r := newRig(t, 1)
	var landed, readsFail atomic.Bool
	var aBody []byte
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if readsFail.Load() {
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "x"}
		}
		return r.client.Read(ctx, id)
	}
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		if aBody == nil { // A: hangs somewhere on the way
			aBody = body
			readsFail.Store(true)
			return fhir.Update{}, errReset
		}
		if !landed.Swap(true) { // A lands just before B
			if _, err := r.client.Update(ctx, id, aBody, ifMatch); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.client.Update(ctx, id, body, ifMatch); err == nil {
			t.Error("setup: B landed")
		}
		return fhir.Update{}, errReset
	}
	w := r.writer(false, n, r.store, nil) // no reconciler before B
	edit := phone("010-7777-7777")
	edit.SetEmail, edit.Email = true, "a@example.org"
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: edit, IdempotencyKey: "k", Actor: "me"})
	var a *failure
	if !errors.As(err, &a) || a.Code != writethrough.OutcomeUnknown {
		t.Fatalf("A: %v", err)
	}
	readsFail.Store(false)
	if _, err := update(t.Context(), w, setPhone("010-7777-7777")); err != nil {
		t.Logf("B: %v", err)
	}
	if st := r.state(a.OperationID); st == db.UpdateNotApplied {
		now, _ := r.client.Read(t.Context(), fhirID(0))
		t.Errorf("A is NOT_APPLIED, but the server shows what only A wrote: %s", now.JSON)
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

// A server says OK and names a new version, but its next read shows the old one
// (a replica that lags): it is asked again, and nothing is written twice.
func TestStaleReadAfterOK(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	old, err := r.client.Read(t.Context(), fhirID(0))
	if err != nil {
		t.Fatal(err)
	}
	puts, stale := 0, 0
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		puts++
		u, err := r.client.Update(ctx, id, body, ifMatch)
		if err == nil {
			stale = 1
			u.Resource.JSON = nil
		}
		return u, err
	}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if stale--; stale == 0 {
			return old, nil
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, nil)
	if _, err := update(t.Context(), w, setPhone("010-7777-7777")); err != nil {
		t.Error(err)
	}
	r.await(db.Synced, "010-7777-7777")
	if puts != 1 {
		t.Errorf("%d PUTs", puts)
	}
}

// _history answers 500 for ever (or 401: no scope for it).
func TestHistoryFailsForEver(t *testing.T) {
	r := newRig(t, 1)
	var fail atomic.Bool
	n := &scriptedFHIR{Client: r.client}
	n.after = func(context.Context, string, string) (fhir.Resource, error) {
		return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpHistory, Status: 500, Reason: "x"}
	}
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		fail.Store(true)
		if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"010-5555-5555","use":"mobile"}],"gender":"female"}`)); err != nil {
			t.Error(err)
		}
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) {
		c.Lease, c.SettleWindow = 100*time.Millisecond, 500*time.Millisecond
	})
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	t.Log(err)
	r.await(db.Synced, "010-5555-5555") // a minute is a hundred settle windows
}

// Success without a PUT (the server shows the values already), but the database
// does not take the end. Then the profile changes: whoever was told Success hears
// APPLIED later.
func TestUnstoredSuccessStaysApplied(t *testing.T) {
	r := newRig(t, 1)
	if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"010-7777-7777","use":"mobile"}],"gender":"female"}`)); err != nil {
		t.Fatal(err)
	}
	s := &failingStore{Store: r.store}
	s.fail.Store(true)
	w := r.writer(true, r.client, s, func(c *writethrough.Config) { c.Lease = 500 * time.Millisecond })
	a, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if err != nil {
		return // told that the database failed: nothing false was said
	}
	t.Log("told Success, syncState", a.Patient.SyncState)
	if p, _ := r.store.Patient(t.Context(), patientID(0)); p.Phone != "010-7777-7777" && p.SyncState == db.Synced {
		t.Errorf("the cache says SYNCED with phone %s after Success with 010-7777-7777", p.Phone)
	}
	if _, err := r.store.SetProfile(patientID(0), db.ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.fail.Store(false)
	if st := r.settled(a.OperationID); st != db.UpdateApplied {
		p, _ := r.store.Patient(t.Context(), patientID(0))
		t.Errorf("told Success, but contactUpdate says %s; the cache has phone %s %s", st, p.Phone, p.SyncState)
	}
}

type failingStore struct {
	*db.Store
	fail atomic.Bool
}

func (s *failingStore) CloseUpdate(c db.Closing) (*db.Patient, error) {
	if s.fail.Load() {
		return nil, errors.New("disk full")
	}
	return s.Store.CloseUpdate(c)
}
