package writethrough_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/writethrough"
)

// Silent writes of four patients do not open the circuit, nor do requests that
// could not be made.
func TestWhoOpensTheCircuit(t *testing.T) {
	c := newCircuitRig(t)
	for _, patients := range [][]int{{0}, {0, 1}, {0, 1, 2, 3}} {
		c.silent(patients...)
		for k := range 25 {
			if sent, _ := c.write(patients[k%len(patients)]); !sent {
				t.Fatalf("%d patients opened the circuit", len(patients))
			}
		}
		if _, err := c.write(9); err != nil {
			t.Fatal(err)
		}
	}
	c.reason = func(string) error { return &fhir.Error{Kind: fhir.NotSent, Op: fhir.OpRead, NotAsked: true} }
	for k := range 25 {
		if sent, _ := c.write(k % 10); !sent {
			t.Fatal("requests that could not be made opened the circuit")
		}
	}
	c.outage()
}

// Two patients stay silent, and somebody writes them all the time. That neither
// opens the circuit for the others nor keeps it open.
func TestTwoSilentPatientsDoNotStopTheOthers(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		c := newCircuitRig(t)
		c.silent(0, 1)
		for k := range 40 {
			if sent, _ := c.write(k % 2); !sent {
				t.Fatal("two patients opened the circuit")
			}
		}
		if _, err := c.write(2); err != nil {
			t.Error(err)
		}
	})
	for name, other := range map[string]int{"open, a patient who was not tried": 9, "open, a patient who was": 4} {
		t.Run(name, func(t *testing.T) {
			c := newCircuitRig(t)
			c.outage()
			c.silent(0, 1)
			for range 60 { // seconds
				c.now = c.now.Add(time.Second)
				for k := range 2 {
					_, _ = c.write(k)
				}
				if _, err := c.write(other); err == nil {
					return
				}
			}
			t.Error("never closed")
		})
	}
}

// Whoever was silent when the circuit opened lets the others try for 5 s, each
// time anew.
func TestOthersTryFirst(t *testing.T) {
	c := newCircuitRig(t)
	c.outage()
	c.silent(0, 1, 2, 3, 4, 9)
	tries := 0
	for second := range 31 {
		for k := range 5 {
			if sent, _ := c.write(k); sent {
				tries++
				if second%10 != 0 {
					t.Errorf("patient %d was tried %d s after the circuit opened", k, second)
				}
			}
		}
		c.now = c.now.Add(time.Second)
	}
	if tries != 3 { // at 10, 20 and 30 s
		t.Errorf("tried %d times", tries)
	}
	c.now = c.now.Add(5 * time.Second)
	if sent, _ := c.write(9); !sent {
		t.Error("a patient who was not tried has to wait")
	}
}

// Where only one patient writes, and was silent for long, the circuit closes too.
func TestTheOnlyPatientClosesTheCircuit(t *testing.T) {
	c := newCircuitRig(t)
	c.outage()
	c.silent(0)
	for range 3600 {
		c.now = c.now.Add(time.Second)
		_, _ = c.write(0)
	}
	c.silent()
	for second := 0; ; second++ {
		if _, err := c.write(0); err == nil {
			return
		}
		if second == 35 {
			t.Fatal("open for longer than 35 s after the outage")
		}
		c.now = c.now.Add(time.Second)
	}
}

// The outage is over. A caller who leaves before the answer says nothing of the
// server: the next patient is tried at once, and the one left lets others go
// first.
func TestLeaversDoNotKeepTheCircuitOpen(t *testing.T) {
	c := newCircuitRig(t)
	c.outage()
	c.now = c.now.Add(5 * time.Second)
	if !c.leave(8) {
		t.Fatal("nobody may try the server")
	}
	if c.leave(8) {
		t.Error("whoever left takes the place of others")
	}
	if _, err := c.write(9); err != nil {
		t.Error(err)
	}
	if _, err := c.write(0); err != nil {
		t.Errorf("the server answered: %v", err)
	}
}

// Whoever left goes behind those, too, who were silent during the outage.
func TestLeaversGoBehindThoseOfTheOutage(t *testing.T) {
	c := newCircuitRig(t)
	c.outage()
	c.now = c.now.Add(5 * time.Second)
	if !c.leave(8) {
		t.Fatal("nobody may try the server")
	}
	c.now = c.now.Add(5 * time.Second)
	if c.leave(8) {
		t.Error("whoever left takes the place of others")
	}
	if _, err := c.write(0); err != nil {
		t.Error(err)
	}
}

// A request that could not be made, and a panic, say nothing of it either.
func TestWhatSaysNothingOfTheServer(t *testing.T) {
	c := newCircuitRig(t)
	c.outage()
	c.now = c.now.Add(5 * time.Second)
	c.reason = func(string) error { return &fhir.Error{Kind: fhir.NotSent, Op: fhir.OpRead, NotAsked: true} }
	if sent, _ := c.write(7); !sent {
		t.Fatal("nobody may try the server")
	}
	c.reason = func(string) error { panic("bug") }
	func() {
		defer func() { _ = recover() }()
		_, _ = c.write(8)
		t.Error("not tried")
	}()
	c.silent()
	if _, err := c.write(9); err != nil {
		t.Error(err)
	}
}

// While one write tries the server, the others are refused at once.
func TestOneTriesTheServer(t *testing.T) {
	c := newCircuitRig(t)
	c.outage()
	c.now = c.now.Add(5 * time.Second)
	var inner atomic.Bool
	c.onRead = func() {
		if inner.Swap(true) {
			t.Error("two writes try the server")
			return
		}
		if _, err := c.write(7); codeOf(err) != writethrough.Unavailable {
			t.Error(err)
		}
	}
	if _, err := c.write(8); err != nil {
		t.Error(err)
	}
	c.onRead = nil
	if _, err := c.write(7); err != nil {
		t.Error(err)
	}
}

// FHIR hangs, and callers give up before FHIR_TIMEOUT but not at once: what they
// waited for in vain counts as silence, not as an answer.
func TestImpatientCallersOpenTheCircuit(t *testing.T) {
	r := newRig(t, 5)
	var asked atomic.Int64
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		asked.Add(1)
		<-ctx.Done()
		return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "x", Err: ctx.Err()}
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Timeout = 200 * time.Millisecond })
	for k := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		_, _ = update(ctx, w, writethrough.Change{PatientID: patientID(k % 5), Edit: phone("010-7777-7777")})
		cancel()
	}
	if asked.Load() == 40 {
		t.Error("40 in a row without an answer, and the circuit is closed")
	}
}

// Callers who leave at once tell nothing of a FHIR server that answers others.
func TestLeaversKeepTheCircuitClosed(t *testing.T) {
	r := newRig(t, 2)
	n := &scriptedFHIR{Client: r.client}
	started := make(chan struct{}, 100)
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		started <- struct{}{}
		select {
		case <-time.After(20 * time.Millisecond): // a healthy server
		case <-ctx.Done():
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "Request canceled", Err: ctx.Err()}
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, nil)
	for range 10 { // one patient, one browser tab
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		_, _ = update(ctx, w, setPhone("010-7777-7777"))
		cancel()
	}
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(1), Edit: phone("010-7777-7777")})
	if err != nil {
		t.Errorf("another patient's write on a healthy FHIR server: %v", err)
	}
}

// Nor does one patient whose PUT the server cannot digest.
func TestOnePatientKeepsTheCircuitClosed(t *testing.T) {
	r := newRig(t, 2)
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Status: 500})
	w := r.writer(true, r.client, r.store, nil)
	for range 10 {
		_, _ = update(t.Context(), w, setPhone("010-7777-7777"))
	}
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(1), Edit: phone("010-7777-7777")})
	if err != nil {
		t.Errorf("another patient's write on a FHIR server that answers everything: %v", err)
	}
}

// One patient has an UNKNOWN write; a client asks ten times for the value that
// is there, and is told to come back: that says nothing of the FHIR server.
func TestWaitingKeepsTheCircuitClosed(t *testing.T) {
	r := newRig(t, 2)
	r.leave(0, "op", `W/"1"`)
	if _, err := r.store.CloseUpdate(db.Closing{ID: "op", Owner: "dead", PatientID: patientID(0), State: db.UpdateUnknown, At: time.Now(), RetryIn: time.Hour}); err != nil {
		t.Fatal(err)
	}
	w := r.writer(false, r.client, r.store, nil)
	for range 10 {
		_, err := update(t.Context(), w, setPhone("010-0000-0000"))
		if codeOf(err) != writethrough.Unavailable {
			t.Fatal(err)
		}
	}
	if _, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(1), Edit: phone("010-7777-7777")}); err != nil {
		t.Errorf("another patient, healthy FHIR server: %v", err)
	}
}

// Lost leases are the database's doing: the FHIR server answers.
func TestLostLeasesKeepTheCircuitClosed(t *testing.T) {
	r := newRig(t, 2)
	s := &leaseStore{Store: r.store}
	s.lost.Store(true)
	w := r.writer(false, r.client, s, nil)
	for range 10 {
		_, _ = update(t.Context(), w, setPhone("010-7777-7777"))
	}
	s.lost.Store(false)
	if _, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(1), Edit: phone("010-7777-7777")}); err != nil {
		t.Error(err)
	}
}

type leaseStore struct {
	*db.Store
	lost atomic.Bool
}

func (s *leaseStore) SendUpdate(id, owner, patientID, ifMatch, put string) error {
	if s.lost.Load() {
		return fmt.Errorf("send: %w", db.ErrLostLease)
	}
	return s.Store.SendUpdate(id, owner, patientID, ifMatch, put)
}
