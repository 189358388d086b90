package writethrough_test

import (
	"context"
	"fmt"
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
