package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/writethrough"
)

// Mobile and home hold the same number, and the phone is cleared: the contact
// looks the same afterwards. Somebody else changes the e-mail; ours gets a 409.
func TestClearOneOfTwoEqualPhones(t *testing.T) {
	r := newRig(t, 1)
	dup := `{"system":"phone","value":"010-0000-0000","use":"mobile"},{"system":"phone","value":"010-0000-0000","use":"home"}`
	r.put(dup)
	n := &scriptedFHIR{Client: r.client}
	puts := 0
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if puts++; puts == 1 {
			r.put(dup + `,{"system":"email","value":"x@example.org"}`)
		}
		return r.client.Update(ctx, id, b, ifMatch)
	}
	w := r.writer(true, n, r.store, nil)
	a, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: fhir.ContactEdit{SetPhone: true}})
	if err != nil || puts < 2 || len(r.server.History("f0")) != 4 {
		t.Errorf("%d PUTs, %d versions; told %s with %+v", puts, len(r.server.History("f0")), codeOf(err), a)
	}
}

// The same; the answer is lost, and it never landed.
func TestClearOneOfTwoEqualPhonesAndLost(t *testing.T) {
	r := newRig(t, 1)
	dup := `{"system":"phone","value":"010-0000-0000","use":"mobile"},{"system":"phone","value":"010-0000-0000","use":"home"}`
	r.put(dup)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		r.put(dup + `,{"system":"email","value":"x@example.org"}`)
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, nil)
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: fhir.ContactEdit{SetPhone: true}})
	if err == nil {
		t.Error("Success; nothing landed")
	}
}

// Phone and e-mail are asked for, the e-mail is there already. The server
// refuses the phone with 422, and somebody else has just changed it.
func TestRejectionBesideAnotherWrite(t *testing.T) {
	for _, rival := range []bool{false, true} {
		t.Run(fmt.Sprint(rival), func(t *testing.T) {
			r := newRig(t, 1)
			mail := `,{"system":"email","value":"x@example.org"}`
			r.put(`{"system":"phone","value":"010-0000-0000","use":"mobile"}` + mail)
			n := &scriptedFHIR{Client: r.client}
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				if rival {
					r.put(`{"system":"phone","value":"010-1111-1111","use":"mobile"}` + mail)
				}
				return r.client.Update(ctx, id, b, ifMatch)
			}
			w := r.writer(true, n, r.store, nil)
			e := phone("invalid-phone")
			e.SetEmail, e.Email = true, "x@example.org"
			_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: e})
			if codeOf(err) != writethrough.Rejected {
				t.Errorf("422 by the server; told %s: %v", codeOf(err), err)
			}
		})
	}
}

// A simple 409 because of somebody else's e-mail, and a history that cannot be
// read.
func TestConflictWithoutHistory(t *testing.T) {
	for _, status := range []int{401, 500, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := newRig(t, 1)
			n := &scriptedFHIR{Client: r.client}
			puts := 0
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				if puts++; puts == 1 {
					r.put(`{"system":"phone","value":"010-0000-0000","use":"mobile"},{"system":"email","value":"x@example.org"}`)
				}
				return r.client.Update(ctx, id, b, ifMatch)
			}
			kinds := map[int]fhir.Kind{401: fhir.AuthFailed, 500: fhir.Lost, 429: fhir.RateLimited}
			n.after = func(context.Context, string, string) (fhir.Resource, error) {
				return fhir.Resource{}, &fhir.Error{Kind: kinds[status], Op: fhir.OpHistory, Status: status, Reason: "x"}
			}
			w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 500*time.Millisecond, time.Second })
			_, err := update(t.Context(), w, setPhone("010-7777-7777"))
			if err != nil || puts != 2 {
				t.Errorf("%d PUTs, told %s (%v)", puts, codeOf(err), err)
			}
		})
	}
}

// The phone is to change, the e-mail is there already; the server says 204 and
// keeps the phone: the issues do not name the e-mail.
func TestIssuesNameWhatWasNotSaved(t *testing.T) {
	r := newRigLike(t, fhirsim.Medplum())
	mail := `,{"system":"email","value":"x@example.org"}`
	time.Sleep(5 * time.Millisecond)
	r.put(`{"system":"phone","value":"010-0000-0000","use":"mobile"}` + mail)
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Drop: []string{"telecom"}})
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		time.Sleep(3 * time.Millisecond)
		u, err := r.client.Update(ctx, id, b, ifMatch)
		u.Resource.ETag, u.Resource.JSON = "", nil
		return u, err
	}
	w := r.writer(true, n, r.store, nil)
	e := phone("010-7777-7777")
	e.SetEmail, e.Email = true, "x@example.org"
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: e})
	var f *failure
	if !errors.As(err, &f) || f.Code != writethrough.NotSaved {
		t.Fatal(err)
	}
	for _, i := range f.Issues {
		if i.Field[0] == "email" {
			t.Errorf("the e-mail is there: %v", i.Message)
		}
	}
}

// With expectedVersion: somebody else writes the same contact, and another name.
func TestExpectedVersionAndARivalWithTheSameContact(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","name":[{"family":"Park"}],"telecom":[{"system":"phone","value":"010-7777-7777","use":"mobile"}],"gender":"male"}`)); err != nil {
			t.Error(err)
		}
		return r.client.Update(ctx, id, b, ifMatch)
	}
	w := r.writer(true, n, r.store, nil)
	a, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: phone("010-7777-7777"), ExpectedVersion: 1})
	if codeOf(err) != writethrough.Conflict {
		t.Errorf("expectedVersion, 409, the name and gender are others now; told %s %+v", codeOf(err), a)
	}
}

// A's PUT hangs on the way. B asks for the value that is there still: nothing
// would keep A from undoing that, so B is told to come back.
func TestNoSuccessBesideAnUnknownWrite(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	var late []byte
	var failReads atomic.Bool
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if failReads.Load() {
			return fhir.Resource{}, errReset
		}
		return r.client.Read(ctx, id)
	}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		late = b
		failReads.Store(true)
		return fhir.Update{}, errReset
	}
	w := r.writer(false, n, r.store, nil)
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if codeOf(err) != writethrough.OutcomeUnknown {
		t.Fatal(err)
	}
	failReads.Store(false)
	_, err = update(t.Context(), w, setPhone("010-0000-0000"))
	if codeOf(err) != writethrough.Unavailable {
		t.Errorf("B: %v", err)
	}
	if _, lateErr := r.client.Update(t.Context(), "f0", late, `W/"1"`); lateErr == nil && err == nil {
		now, _ := r.client.Read(t.Context(), "f0")
		t.Errorf("B was told Success and nobody wrote after it, but A, sent before, was not fenced: %s", now.JSON)
	}
}

// A write that settles an older one: a retry is told the same.
func TestFenceAndTheSameAnswer(t *testing.T) {
	r := newRig(t, 1)
	r.leave(0, "op", `W/"1"`)
	if _, err := r.store.CloseUpdate(db.Closing{ID: "op", Owner: "dead", PatientID: patientID(0), State: db.UpdateUnknown, At: time.Now(), RetryIn: time.Hour}); err != nil {
		t.Fatal(err)
	}
	w := r.writer(false, r.client, r.store, nil)
	c := writethrough.Change{PatientID: patientID(0), Edit: phone("010-8888-8888"), Actor: "me", IdempotencyKey: "k"}
	a, err := update(t.Context(), w, c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := update(t.Context(), w, c)
	if err != nil {
		t.Fatal(err)
	}
	if a.Patient.SyncState != b.Patient.SyncState {
		t.Errorf("first told %s, then %s", a.Patient.SyncState, b.Patient.SyncState)
	}
}

// A landed and its answer was lost. B named the same version, sets one of the
// same values, got 412 and lost that. B may take A's effect for its own, but must
// not call A NOT_APPLIED: A's e-mail was written by nobody else.
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
	if b, err := update(t.Context(), w, setPhone("010-7777-7777")); err != nil || b.Patient.Phone != "010-7777-7777" || b.Patient.Email != "a@example.org" {
		t.Errorf("B: told %+v, %v", b, err)
	}
	if !landed.Load() || r.state(a.OperationID) != db.UpdateUnknown {
		t.Errorf("after B, A is %s", r.state(a.OperationID))
	}
	r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 500*time.Millisecond, time.Second })
	if st := r.settled(a.OperationID); st != db.UpdateApplied {
		now, _ := r.client.Read(t.Context(), fhirID(0))
		t.Errorf("A is %s, but the server shows what only A wrote: %s", st, now.JSON)
	}
}

// With expectedVersion: somebody else writes the same phone and an e-mail
// between our read and our PUT, which is refused with 409.
func TestExpectedVersionAndARivalWithTheSamePhone(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		r.put(`{"system":"phone","value":"010-7777-7777","use":"mobile"},{"system":"email","value":"x@example.org"}`)
		return r.client.Update(ctx, id, b, ifMatch)
	}
	w := r.writer(true, n, r.store, nil)
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: phone("010-7777-7777"), ExpectedVersion: 1})
	if codeOf(err) != writethrough.Conflict {
		t.Errorf("told %s although the version was not the expected one and our PUT was refused", codeOf(err))
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
		r.put(`{"system":"phone","value":"010-5555-5555","use":"mobile"}`)
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) {
		c.Lease, c.SettleWindow = 100*time.Millisecond, 500*time.Millisecond
	})
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	t.Log(err)
	r.await(db.Synced, "010-5555-5555") // a minute is a hundred settle windows
}
