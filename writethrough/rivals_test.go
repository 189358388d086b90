package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
	"patientgraph/writethrough"
)

// put has somebody else write the patient, with this telecom.
func (r *rig) put(telecom string) {
	r.t.Helper()
	if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[` + telecom + `],"gender":"female"}`)); err != nil {
		r.t.Fatal(err)
	}
}

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

// The reads of 256 patients hang. Another patient, whose reads do not, has an
// UNKNOWN write too, for which there is no place yet: it can be written.
func TestQueuedPatientsCanBeWritten(t *testing.T) {
	r := newRig(t, 257)
	for k := range 257 {
		id := fmt.Sprint("op-", k)
		r.leave(k, id, `W/"1"`)
		if _, err := r.store.CloseUpdate(db.Closing{ID: id, Owner: "dead", PatientID: patientID(k), State: db.UpdateUnknown, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if id != "f256" {
			<-ctx.Done()
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "x", Timeout: true, Err: ctx.Err()}
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Timeout = 10 * time.Second })
	time.Sleep(300 * time.Millisecond)
	if _, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(256), Edit: phone("010-8888-8888"), IdempotencyKey: "k"}); err != nil {
		t.Error(err)
	}
}

// HoldUpdate runs again where the answer to its commit was lost.
func TestHoldTwice(t *testing.T) {
	r := newRig(t, 1)
	r.leave(0, "op", `W/"1"`)
	if _, err := r.store.CloseUpdate(db.Closing{ID: "op", Owner: "dead", PatientID: patientID(0), State: db.UpdateUnknown, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	if u, err := r.store.ClaimUpdates("me", "", time.Minute, 1); err != nil || len(u) != 1 {
		t.Fatal(err)
	}
	if err := r.store.HoldUpdate("op", "me", patientID(0)); err != nil {
		t.Fatal(err)
	}
	if err := r.store.HoldUpdate("op", "me", patientID(0)); err != nil {
		t.Error(err)
	}
}

// A's PUT landed, and A is cut from the database. B takes the update over and
// cannot read (UNKNOWN); another write follows and is SYNCED, or lands and is
// UNKNOWN; B looks again (SENT) and is killed. A is back and takes over: its
// row is old by now.
func TestUnstoredEndDoesNotGoBackwards(t *testing.T) {
	for name, follow := range map[string]func(r *rig) error{
		"SYNCED": func(r *rig) error {
			_, err := update(t.Context(), r.writer(false, r.client, r.store, nil), setPhone("010-8888-8888"))
			return err
		},
		"UNKNOWN": func(r *rig) error {
			_, err := r.store.BeginUpdate(t.Context(), db.ContactUpdate{ID: "op-2", PatientID: patientID(0)}, "C", time.Minute)
			if err == nil {
				err = r.store.SendUpdate("op-2", "C", patientID(0), `W/"2"`, `{"edit":{"setPhone":true,"phone":"010-8888-8888"},"base":{"phone":"010-7777-7777"},"intended":{"phone":"010-8888-8888"}}`)
			}
			r.put(`{"system":"phone","value":"010-8888-8888","use":"mobile"}`)
			if err == nil {
				_, err = r.store.CloseUpdate(db.Closing{ID: "op-2", Owner: "C", PatientID: patientID(0), State: db.UpdateUnknown, RetryIn: time.Hour})
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			n, s := r.awayAfterPut()
			wa := r.writer(true, n, s, func(c *writethrough.Config) { c.Lease = 300 * time.Millisecond })
			a, err := update(t.Context(), wa, setPhone("010-7777-7777"))
			if err != nil {
				t.Fatal(err)
			}
			// B, by hand: claimed, not readable, UNKNOWN
			claim := func(owner string, lease time.Duration) {
				wait.Until(t, owner+" has claimed it", func() bool {
					u, err := r.store.ClaimUpdates(owner, patientID(0), lease, 1)
					return err == nil && len(u) == 1
				})
			}
			claim("B1", time.Minute)
			if _, err := r.store.CloseUpdate(db.Closing{ID: a.OperationID, Owner: "B1", PatientID: patientID(0), State: db.UpdateUnknown, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if err := follow(r); err != nil {
				t.Fatal(err)
			}
			claim("B2", 300*time.Millisecond)
			if err := r.store.HoldUpdate(a.OperationID, "B2", patientID(0)); err != nil { // and is killed
				t.Fatal(err)
			}
			s.away.Store(false)
			r.settled(a.OperationID)
			p, _ := r.store.Patient(t.Context(), patientID(0))
			now, _ := r.client.Read(t.Context(), "f0")
			if p.SyncState == db.Synced && p.Phone != "010-8888-8888" {
				t.Errorf("the cache says %s with %s; FHIR has %s", p.SyncState, p.Phone, now.JSON)
			}
		})
	}
}
