package writethrough_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/fhir"
	"patientgraph/writethrough"
)

// circuitRig has ten patients, and a clock that stands still unless it is set.
type circuitRig struct {
	*rig
	w      *writethrough.Writer
	now    time.Time
	asked  int
	reason func(fhirID string) error // why no answer to a read comes; nil: one comes
	onRead func()
}

func newCircuitRig(t *testing.T) *circuitRig {
	c := &circuitRig{rig: newRig(t, 10), now: time.Now()}
	n := &scriptedFHIR{Client: c.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		c.asked++
		if c.onRead != nil {
			c.onRead()
		}
		if ctx.Err() != nil {
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "Request canceled", Err: ctx.Err()}
		}
		if c.reason != nil {
			if err := c.reason(id); err != nil {
				return fhir.Resource{}, err
			}
		}
		return c.client.Read(ctx, id)
	}
	c.w = c.writer(false, n, c.store, func(config *writethrough.Config) {
		config.Timeout = time.Minute // whoever leaves here leaves at once
		config.Now = func() time.Time { return c.now }
	})
	return c
}

// write reports whether the FHIR server was asked, and the error of the write.
func (c *circuitRig) write(n int) (sent bool, err error) {
	before := c.asked
	_, err = update(c.t.Context(), c.w, writethrough.Change{PatientID: patientID(n), Edit: phone(fmt.Sprintf("010-7777-%04d", c.asked))})
	return c.asked > before, err
}

// leave writes for a caller who hangs up while the FHIR server is asked.
func (c *circuitRig) leave(n int) (sent bool) {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	c.onRead = cancel
	defer func() { c.onRead = nil }()
	before := c.asked
	_, _ = update(ctx, c.w, writethrough.Change{PatientID: patientID(n), Edit: phone("010-8888-8888")})
	return c.asked > before
}

// silent lets no answer come about these patients. With a RetryAfter a read is
// not repeated.
func (c *circuitRig) silent(patients ...int) {
	c.reason = func(id string) error {
		for _, n := range patients {
			if id == fhirID(n) {
				return &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Reason: "Connection reset", RetryAfter: time.Second}
			}
		}
		return nil
	}
}

// outage opens the circuit with writes of patients 0 to 4, and ends.
func (c *circuitRig) outage() {
	c.t.Helper()
	c.silent(0, 1, 2, 3, 4)
	for k := range 10 {
		if sent, _ := c.write(k % 5); !sent {
			c.t.Fatalf("opened after %d", k)
		}
	}
	if sent, _ := c.write(9); sent {
		c.t.Fatal("ten in a row of five patients without an answer, and the circuit is closed")
	}
	c.silent()
}

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
