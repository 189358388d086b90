package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
	"patientgraph/writethrough"
)

// The database's clock is set back an hour after a process died: its patient
// is not held for an hour.
func TestClockSetBack(t *testing.T) {
	url := dbtest.SQLite(t)
	r := newRigOn(t, url, 1)
	r.leave(0, "op", `W/"0"`)
	shift(t, url, time.Hour) // the line is from a clock one hour ahead
	w := r.writer(true, r.client, r.store, nil)
	_, err := update(t.Context(), w, setPhone("010-8888-8888"))
	if err != nil {
		r.settled("op") // the process that holds the patient is dead
	}
}

// The database crashes and forgets what is not durable: the line that was
// ACCEPTED. Nothing leaves, the caller hears so, and the key can be used again.
func TestForgottenLine(t *testing.T) {
	url := dbtest.SQLite(t)
	r := newRigOn(t, url, 1)
	crash := true
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if crash {
			crash = false
			execute(t, url, `DELETE FROM contact_updates WHERE state = 'ACCEPTED'`)
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(false, n, r.store, nil)
	c := writethrough.Change{PatientID: patientID(0), Edit: phone("010-8888-8888"), Actor: "me", IdempotencyKey: "k"}
	if _, err := update(t.Context(), w, c); codeOf(err) != writethrough.Unavailable {
		t.Errorf("told %v", err)
	}
	if _, version, _ := r.server.Get("f0"); version != 1 {
		t.Error("a PUT left")
	}
	if a, err := update(t.Context(), w, c); err != nil || a.Patient.SyncState != db.Synced || a.Patient.Phone != "010-8888-8888" {
		t.Errorf("then %+v, %v", a, err)
	}
}

// shift moves the times of all open lines, as if the database's clock had been
// set the other way.
func shift(t *testing.T, url string, by time.Duration) {
	t.Helper()
	execute(t, url, `UPDATE contact_updates SET lease_until = lease_until + ?1, sent_at = sent_at + ?1, requested_at = requested_at + ?1 WHERE settled_at = 0`, by.Microseconds())
}

// execute runs a statement past the Store.
func execute(t *testing.T, url, statement string, args ...any) {
	t.Helper()
	if _, err := dbtest.Open(t, url).Exec(statement, args...); err != nil {
		t.Error(err)
	}
}

// The FHIR server rejects; the database is away for longer than a lease: the
// retry with the same key is told the same.
func TestOutageAndTheSameAnswer(t *testing.T) {
	for k := range 4 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.server.SetFault("f0", fhirsim.Fault{On: "PUT", RejectPhone: "Invalid phone format"})
			n, s := r.awayAfterPut()
			w := r.writer(true, n, s, func(c *writethrough.Config) { c.Lease = 500 * time.Millisecond })
			c := writethrough.Change{PatientID: patientID(0), Edit: phone("010-8888-8888"), Actor: "me", IdempotencyKey: "k"}
			_, first := update(t.Context(), w, c)
			if _, err := update(t.Context(), w, c); codeOf(err) != codeOf(first) {
				t.Errorf("first %s (%v), meanwhile %s (%v)", codeOf(first), first, codeOf(err), err)
			}
			time.Sleep(1200 * time.Millisecond)
			s.away.Store(false)
			time.Sleep(time.Second)
			_, second := update(t.Context(), w, c)
			if codeOf(first) != codeOf(second) {
				t.Errorf("first %s (%v), then %s (%v)", codeOf(first), first, codeOf(second), second)
			}
		})
	}
}

type outageStore struct {
	*db.Store
	away atomic.Bool
}

// awayAfterPut passes PUTs on; from then on the database is away.
func (r *rig) awayAfterPut() (*scriptedFHIR, *outageStore) {
	n, s := &scriptedFHIR{Client: r.client}, &outageStore{Store: r.store}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		u, err := r.client.Update(ctx, id, b, ifMatch)
		s.away.Store(true)
		return u, err
	}
	return n, s
}

var errAway = errors.New("connection refused")

func (s *outageStore) CloseUpdate(c db.Closing) (*db.Patient, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.CloseUpdate(c)
}

func (s *outageStore) Patient(ctx context.Context, id string, cols ...db.Column) (*db.Patient, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.Patient(ctx, id, cols...)
}

func (s *outageStore) ContactUpdate(ctx context.Context, id string) (*db.ContactUpdate, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.ContactUpdate(ctx, id)
}

func (s *outageStore) ContactUpdateByKey(ctx context.Context, actor, key string, ttl time.Duration) (*db.ContactUpdate, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.ContactUpdateByKey(ctx, actor, key, ttl)
}

func (s *outageStore) RenewUpdates(owner string, ids []string, lease time.Duration) error {
	if s.away.Load() {
		return errAway
	}
	return s.Store.RenewUpdates(owner, ids, lease)
}

func (s *outageStore) ClaimUpdates(owner, patientID string, lease time.Duration, limit int) ([]db.ContactUpdate, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.ClaimUpdates(owner, patientID, lease, limit)
}

// Whatever became of a PUT is told with the record, as far as this process knows it,
// though the database is away; and told again.
func TestOutageAndTheRecord(t *testing.T) {
	for name, c := range map[string]struct {
		phone string
		lost  bool
		code  writethrough.Code
		shown string
	}{
		"applied":  {"010-8888-8888", false, writethrough.Success, "010-8888-8888"},
		"rejected": {"invalid-phone", false, writethrough.Rejected, "010-0000-0000"},
		"unknown":  {"010-8888-8888", true, writethrough.OutcomeUnknown, "010-0000-0000"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			n, s := r.awayAfterPut()
			sends := n.update
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				u, err := sends(ctx, id, b, ifMatch)
				if c.lost {
					n.read = func(context.Context, string) (fhir.Resource, error) { return fhir.Resource{}, errReset }
					return fhir.Update{}, errReset
				}
				return u, err
			}
			w := r.writer(false, n, s, nil)
			change := setPhone(c.phone)
			change.Actor, change.IdempotencyKey = "me", "k"
			for _, when := range []string{"first", "again"} {
				o, err := w.UpdateContact(t.Context(), change)
				if err != nil || o.Code != c.code || o.Patient == nil || o.Patient.SyncState != db.Pending || o.Patient.Phone != c.shown {
					t.Errorf("%s: %+v, %v", when, o, err)
				}
			}
		})
	}
}

// The same with a success, of which the database knows nothing yet.
func TestOutageAndTheSameSuccess(t *testing.T) {
	r := newRig(t, 1)
	n, s := r.awayAfterPut()
	w := r.writer(true, n, s, nil)
	c := setPhone("010-8888-8888")
	c.Actor, c.IdempotencyKey = "me", "k"
	ask := func(when string) string {
		a, err := update(t.Context(), w, c)
		if err != nil || a.Patient.Phone != "010-8888-8888" {
			t.Fatalf("%s: %+v, %v", when, a, err)
		}
		return a.OperationID
	}
	first := ask("first")
	if ask("while the database is away") != first {
		t.Error("another update")
	}
	other := c
	other.Edit = phone("010-9999-9999")
	if _, err := update(t.Context(), w, other); codeOf(err) != writethrough.KeyReused {
		t.Errorf("other content: %v", err)
	}
	s.away.Store(false)
	r.settled(first)
	if ask("when it is back") != first || len(r.server.History("f0")) != 2 {
		t.Error("written twice")
	}
}

// A replica stood still; another called its write NOT_APPLIED. It landed, and
// the database fails just when the journal would be corrected.
func TestLateWriteIsCorrectedInTheEnd(t *testing.T) {
	r := newRig(t, 1)
	s := &reopenStore{Store: r.store}
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		for r.state("op") != db.UpdateNotApplied && t.Context().Err() == nil { // stands still; the PUT lands when it is back
			time.Sleep(20 * time.Millisecond)
		}
		return r.client.Update(ctx, id, b, ifMatch)
	}
	w := r.writer(true, n, s, func(c *writethrough.Config) {
		c.Lease, c.Timeout, c.NewID = 300*time.Millisecond, time.Minute, func() string { return "op" }
	})
	r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 300*time.Millisecond, 300*time.Millisecond })
	a, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the journal says what was told", func() bool { return r.state(a.OperationID) == db.UpdateApplied })
	r.await(db.Synced, "010-7777-7777")
	if s.tries.Load() <= 3 {
		t.Error("setup: nothing failed")
	}
}

type reopenStore struct {
	*db.Store
	tries atomic.Int64
}

// RenewUpdates lets the leases run out.
func (s *reopenStore) RenewUpdates(string, []string, time.Duration) error { return errAway }

// ClaimUpdates leaves them to the other replica: this one stands still.
func (s *reopenStore) ClaimUpdates(string, string, time.Duration, int) ([]db.ContactUpdate, error) {
	return nil, nil
}

func (s *reopenStore) ReopenUpdate(id, patientID string) error {
	if s.tries.Add(1) <= 3 {
		return errors.New("connection reset")
	}
	return s.Store.ReopenUpdate(id, patientID)
}

type hangingStore struct{ *db.Store }

func (s hangingStore) ContactUpdateByKey(ctx context.Context, _, _ string, _ time.Duration) (*db.ContactUpdate, error) {
	<-ctx.Done() // a connection that hangs (failover without a reset)
	return nil, ctx.Err()
}

// The database hangs at the look-up of the key: the caller hears of it.
func TestHangingDatabase(t *testing.T) {
	r := newRig(t, 1)
	w := r.writer(true, r.client, hangingStore{r.store}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := update(ctx, w, writethrough.Change{PatientID: patientID(0), Edit: phone("010-7777-7777"), IdempotencyKey: "k"})
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Log(err)
	case <-time.After(6 * time.Second): // Timeout is 2 s
		t.Error("still waiting, and nothing will end it")
	}
}

// The server shows the values already, so that no PUT leaves, but the database does
// not take the end: the cache cannot follow, and Success is not said. Then the
// profile changes. The update took no effect, and the next try is a success.
func TestSuccessThatCannotBeStoredIsNotTold(t *testing.T) {
	r := newRig(t, 1)
	r.put(`{"system":"phone","value":"010-7777-7777","use":"mobile"}`)
	s := &failingStore{Store: r.store}
	s.fail.Store(true)
	w := r.writer(true, r.client, s, func(c *writethrough.Config) { c.Lease = 500 * time.Millisecond })
	if a, err := update(t.Context(), w, setPhone("010-7777-7777")); !errors.Is(err, errDisk) {
		t.Fatalf("told %+v, %v", a, err)
	}
	if p, err := r.store.Patient(t.Context(), patientID(0)); err != nil || p.Phone != "010-0000-0000" {
		t.Errorf("the cache has %+v, %v", p, err)
	}
	if _, err := r.store.SetProfile(patientID(0), db.ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.fail.Store(false)
	if st := r.settled(s.id.Load().(string)); st != db.UpdateNotApplied {
		t.Errorf("it ended as %s", st)
	}
	a, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if err != nil || a.Patient.SyncState != db.Synced || a.Patient.Phone != "010-7777-7777" || a.Patient.BloodType != "A" || len(r.server.History("f0")) != 2 {
		t.Errorf("then told %+v, %v; the FHIR history has %d versions, want the two from before", a, err, len(r.server.History("f0")))
	}
}

var errDisk = errors.New("disk full")

// failingStore takes no end while it fails, and knows whose it was.
type failingStore struct {
	*db.Store
	fail atomic.Bool
	id   atomic.Value
}

func (s *failingStore) CloseUpdate(c db.Closing) (*db.Patient, error) {
	if s.fail.Load() {
		s.id.Store(c.ID)
		return nil, errDisk
	}
	return s.Store.CloseUpdate(c)
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
