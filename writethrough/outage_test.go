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

// The FHIR server asks to come back in 30 s: it is left alone until then.
func TestRetryAfterIsKept(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	var limited atomic.Bool
	var reads atomic.Int64
	slow := &fhir.Error{Kind: fhir.RateLimited, Status: 429, RetryAfter: 30 * time.Second, Reason: "slow down"}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if limited.Load() {
			reads.Add(1)
			return fhir.Resource{}, slow
		}
		return r.client.Read(ctx, id)
	}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		limited.Store(true)
		return fhir.Update{}, slow
	}
	w := r.writer(true, n, r.store, nil)
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	time.Sleep(5 * time.Second) // two ticks of the reconciler
	if codeOf(err) != writethrough.OutcomeUnknown || reads.Load() > 1 {
		t.Errorf("told %s; asked %d times within 5 s of a Retry-After of 30 s", codeOf(err), reads.Load())
	}
}
