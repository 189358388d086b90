package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/internal/wait"
	"patientgraph/writethrough"
)

// Two replicas, and a FHIR server whose reads take longer than a lease (10 s;
// FHIR_TIMEOUT may be up to 10 minutes): each takes the update from the
// other before it is done.
func TestTwoReconcilersAndSlowReads(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		time.Sleep(300 * time.Millisecond)
		return r.client.Read(ctx, id)
	}
	r.leave(0, "op", `W/"0"`)
	for range 2 {
		r.writer(true, n, r.store, func(c *writethrough.Config) {
			c.Lease, c.SettleWindow = 200*time.Millisecond, time.Millisecond
		})
	}
	r.settled("op")
}

// A killed replica leaves 512 writes: they are settled many at a time, or their
// patients would wait for longer than they may.
func TestManyLeftBehind(t *testing.T) {
	r := newRig(t, 512)
	n := &scriptedFHIR{Client: r.client}
	var reading, most atomic.Int64
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		now := reading.Add(1)
		defer reading.Add(-1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		time.Sleep(200 * time.Millisecond)
		return r.client.Read(ctx, id)
	}
	for k := range 512 {
		r.leave(k, fmt.Sprint("op-", k), `W/"1"`)
	}
	r.writer(true, n, r.store, nil)
	for k := range 512 {
		wait.Until(t, "a patient is not held any more", func() bool { return r.state(fmt.Sprint("op-", k)) != db.UpdateSent })
	}
	if most.Load() < 32 {
		t.Errorf("at most %d were settled at a time", most.Load())
	}
}

// Several updates of one patient are UNKNOWN: settled at once, they get into
// each other's way, and each round costs a lease.
func TestUnknownsOfOnePatient(t *testing.T) {
	r := newRig(t, 1)
	for k := range 4 {
		id := fmt.Sprint("op-", k)
		r.leave(0, id, `W/"0"`)
		if _, err := r.store.CloseUpdate(db.Closing{ID: id, Owner: "dead", PatientID: patientID(0), State: db.UpdateUnknown, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond)
	r.writer(true, r.client, r.store, func(c *writethrough.Config) {
		c.Lease, c.SettleWindow = 10*time.Second, time.Millisecond
	})
	began := time.Now()
	r.await(db.Synced, "010-0000-0000")
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("PENDING for %v, %.1f leases", took, took.Seconds()/10)
	}
}

// Others write the patient all the time: an UNKNOWN update must settle anyway.
func TestUnknownOfABusyPatient(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		time.Sleep(100 * time.Millisecond)
		return r.client.Update(ctx, id, body, ifMatch)
	}
	r.leave(0, "op", `W/"0"`)
	if _, err := r.store.CloseUpdate(db.Closing{ID: "op", Owner: "dead", PatientID: patientID(0), State: db.UpdateUnknown, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	change := func(c *writethrough.Config) { c.Lease, c.SettleWindow = 500*time.Millisecond, time.Millisecond }
	w := r.writer(false, n, r.store, change)
	ctx, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	others.Go(func() {
		for k := 0; ctx.Err() == nil; k++ {
			if _, err := update(context.Background(), w, writethrough.Change{PatientID: patientID(0), Edit: phone(fmt.Sprintf("010-1111-%04d", k))}); err != nil {
				t.Log(err)
			}
		}
	})
	time.Sleep(50 * time.Millisecond)
	r.writer(true, n, r.store, change)
	r.settled("op")
}

// Reads of one patient hang: what a crash left of others is settled meanwhile.
func TestAHangingReadDoesNotHoldTheReconciler(t *testing.T) {
	r := newRig(t, 2)
	r.leave(0, "op-0", `W/"0"`)
	r.leave(1, "op-1", `W/"0"`)
	n := &scriptedFHIR{Client: r.client}
	var hanging atomic.Int64
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if id == "f0" {
			hanging.Add(1)
			<-ctx.Done()
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "x", Timeout: true, Err: ctx.Err()}
		}
		return r.client.Read(ctx, id)
	}
	r.writer(true, n, r.store, func(c *writethrough.Config) {
		c.Timeout = 15 * time.Second
		c.Lease = time.Second
		c.SettleWindow = time.Millisecond
	})
	wait.Until(t, "one read hangs, and the other patient's update is settled", func() bool { return hanging.Load() > 0 && !r.state("op-1").Open() })
	r.leave(1, "op-2", `W/"0"`)
	wait.Until(t, "the next one is settled", func() bool {
		if hanging.Load() > 1 { // the first read of the patient that hangs is over
			t.Fatal("still open")
		}
		return !r.state("op-2").Open()
	})
}

// A panic during a write (gqlgen recovers it) must not keep the patient.
func TestPanicFreesThePatient(t *testing.T) {
	r := newRig(t, 1)
	var once atomic.Bool
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if !once.Swap(true) {
			panic("bug")
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease, c.Timeout = 200*time.Millisecond, 20*time.Second })
	func() {
		defer func() { _ = recover() }()
		_, _ = update(t.Context(), w, setPhone("010-7777-7777"))
	}()
	if _, err := update(t.Context(), w, setPhone("010-7777-7777")); err != nil {
		t.Errorf("nobody can write the patient: %v", err)
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

// The phone that was edited has a period that ends before somebody looks.
func TestPeriodEndsMeanwhile(t *testing.T) {
	r := newRig(t, 1)
	r.put(`{"system":"phone","value":"010-0000-0000","use":"mobile","period":{"end":"2026-01-31"}},{"system":"phone","value":"02-111-2222","use":"work"}`)
	var clock atomic.Int64
	clock.Store(time.Date(2026, 1, 31, 23, 59, 59, 0, time.Local).UnixNano())
	n := &scriptedFHIR{Client: r.client}
	var failReads atomic.Bool
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if failReads.Load() {
			return fhir.Resource{}, errReset
		}
		return r.client.Read(ctx, id)
	}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if _, err := r.client.Update(ctx, id, b, ifMatch); err != nil {
			t.Error(err)
		}
		failReads.Store(true)
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) {
		c.Now = func() time.Time { return time.Unix(0, clock.Load()) }
		c.Lease, c.SettleWindow = 500*time.Millisecond, 500*time.Millisecond
	})
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	var e *failure
	if !errors.As(err, &e) || e.Code != writethrough.OutcomeUnknown {
		t.Fatal(err)
	}
	clock.Add(int64(2 * time.Second)) // midnight
	failReads.Store(false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	u, err := w.Await(ctx, e.OperationID)
	if err != nil {
		t.Fatal(err)
	}
	if u.State != db.UpdateApplied {
		t.Errorf("%s %v, but it landed: %s", u.State, u.Outcome, r.server.History("f0")[len(r.server.History("f0"))-1])
	}
}
