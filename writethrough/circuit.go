package writethrough

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"patientgraph/fhir"
)

// So many silent writes in a row, of so many patients, open the circuit. For a
// while nobody waits then for what will not come.
const (
	silentWrites   = 10
	silentPatients = 5
	openDelay      = 5 * time.Second

	// maxTurns bounds how long the server stays untried where only a patient writes
	// whose writes heard nothing.
	maxTurns = 6
	// maxRemembered bounds the memory that a long outage takes.
	maxRemembered = 1000
)

// circuit opens when the FHIR server is silent, and any answer closes it. While
// it is open one write at a time tries the server, from openDelay on. A few
// patients cannot open it, nor keep it open: answers may be lost for them only,
// or their callers leave. So a patient whose writes heard nothing lets others
// try first.
//
// It is our own because the circuit breaker of failsafe-go v0.9.8 does not know
// who failed, and takes a permit back only as a success or a failure.
type circuit struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	open     bool
	tryFrom  time.Time      // open: when a patient who need not wait may try the server
	trying   string         // the patient whose write does, one at a time in a process; "": none
	silences int            // silent writes since the last answer
	turns    map[string]int // patients whose writes heard nothing since then: how many openDelays others go first
}

func newCircuit(log *slog.Logger, now func() time.Time) *circuit {
	return &circuit{log: log, now: now, turns: map[string]int{}}
}

// allows reports whether a write of the patient may be sent. If so, record must
// follow.
func (c *circuit) allows(patientID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return true
	}
	turn := c.tryFrom.Add(time.Duration(c.turns[patientID]) * openDelay)
	if c.trying != "" || c.now().Before(turn) {
		return false
	}
	c.trying = patientID
	return true
}

func (c *circuit) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// retryAfter is when somebody may try the server again, at least a second.
func (c *circuit) retryAfter() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.tryFrom.Sub(c.now()), time.Second)
}

// record takes in the signal that a write of the patient gave.
func (c *circuit) record(patientID string, signal serverSignal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tried := c.trying == patientID
	if tried {
		c.trying = ""
	}
	switch {
	case signal == answered:
		c.close()
	case tried: // whoever tried in vain is the last to try again
		c.wait(patientID, min(max(c.turns[patientID], 1)+1, maxTurns))
		if signal == silence {
			c.trip()
		} else { // no signal: others may try at once
			c.tryFrom = c.now()
		}
	case signal == silence:
		c.wait(patientID, max(c.turns[patientID], 1))
		c.silences++
		if !c.open && c.silences >= silentWrites && len(c.turns) >= silentPatients {
			c.trip()
		}
	}
}

// wait makes the patient let others go first.
func (c *circuit) wait(patientID string, turns int) {
	if len(c.turns) >= maxRemembered {
		clear(c.turns) // all are alike again
	}
	c.turns[patientID] = turns
}

// trip opens the circuit, or keeps it open for another while.
func (c *circuit) trip() {
	c.open, c.tryFrom = true, c.now().Add(openDelay)
	c.log.Error("the FHIR server does not answer: no writes are sent to it for a while", "for", openDelay)
}

func (c *circuit) close() {
	if c.open {
		c.log.Info("the FHIR server answers again")
	}
	c.open, c.trying, c.silences = false, "", 0
	clear(c.turns)
}

// serverSignal is what the end of a write says of the FHIR server as a whole.
type serverSignal int

const (
	silence  serverSignal = iota // it was asked, and no answer of its own came
	answered                     // whatever it said
	noSignal                     // it was not asked, or not waited for
)

// signalOf gives the signal in the end of an update. A 500 is an answer of its
// own: it may be about this patient alone.
func signalOf(o *Outcome) serverSignal {
	var f *fhir.Error
	asked := errors.As(o.cause, &f) || errors.Is(o.cause, context.DeadlineExceeded) || errors.Is(o.cause, context.Canceled)
	switch {
	case f != nil && f.NotAsked:
		return noSignal
	case f != nil && f.Kind == fhir.Unusable:
		return answered
	case asked && (o.Code == Unavailable || o.Code == Timeout || o.Code == OutcomeUnknown) &&
		(o.HTTPStatus == 0 || o.HTTPStatus >= http.StatusBadGateway && o.HTTPStatus <= http.StatusGatewayTimeout):
		return silence
	}
	return answered
}
