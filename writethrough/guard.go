package writethrough

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"patientgraph/fhir"
)

// Ten writes in a row without an answer of the FHIR server open the circuit,
// where no two in a row are of one patient: for a while nobody waits for what
// will not come.
const (
	breakerFailures = 10
	breakerDelay    = 5 * time.Second
)

// circuit opens when the FHIR server is silent. One patient alone cannot open
// it, nor keep it open: answers may be lost for that patient only.
type circuit struct {
	circuitbreaker.CircuitBreaker[any]
	now func() time.Time

	mu     sync.Mutex
	silent string    // the patient of the last write without an answer; "" once there was one
	at     time.Time // when that write ended
}

func newCircuit(log *slog.Logger, now func() time.Time) *circuit {
	return &circuit{now: now, CircuitBreaker: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerFailures).WithSuccessThreshold(1).WithDelay(breakerDelay).
		OnOpen(func(circuitbreaker.StateChangedEvent) {
			log.Error("the FHIR server does not answer: no writes are sent to it for a while", "for", breakerDelay)
		}).
		OnClose(func(circuitbreaker.StateChangedEvent) { log.Info("the FHIR server answers again") }).
		Build()}
}

// allows reports whether a write of the patient may be sent; record must follow.
// While the circuit is not closed, others may try first.
func (c *circuit) allows(patientID string) bool {
	c.mu.Lock()
	again := patientID == c.silent && c.now().Before(c.at.Add(2*breakerDelay))
	c.mu.Unlock()
	return !(again && !c.IsClosed()) && c.TryAcquirePermit()
}

// record counts what a write tells of the FHIR server. Of several in a row of
// one patient without an answer the first counts.
func (c *circuit) record(patientID string, told telling) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := patientID == c.silent
	switch told {
	case answered:
		c.silent = ""
		c.RecordSuccess()
		return
	case silence:
		c.silent, c.at = patientID, c.now()
	case nothing:
		again = true
	}
	if !again || c.IsHalfOpen() { // half open, the permit must go back
		c.RecordFailure()
	}
}

// telling is what a write tells of the FHIR server.
type telling int

const (
	silence  telling = iota // it was asked, and no answer of its own came
	answered                // whatever it said
	nothing                 // it was not asked, or not waited for
)

// newRetry repeats a read twice at most.
func newRetry() failsafe.Executor[fhir.Resource] {
	return failsafe.With(retrypolicy.NewBuilder[fhir.Resource]().
		HandleIf(func(_ fhir.Resource, err error) bool { return passing(err) }).
		WithMaxRetries(2).WithBackoff(50*time.Millisecond, 200*time.Millisecond).WithJitterFactor(0.3).
		ReturnLastFailure().Build())
}

// read reads the Patient, again if that may help.
func (w *Writer) read(ctx context.Context, fhirID string) (fhir.Resource, error) {
	return w.retry.WithContext(ctx).Get(func() (fhir.Resource, error) { return w.FHIR.Read(ctx, fhirID) })
}

// after reads the version that followed, again if that may help.
func (w *Writer) after(ctx context.Context, fhirID, etag string) (fhir.Resource, error) {
	return w.retry.WithContext(ctx).Get(func() (fhir.Resource, error) { return w.FHIR.After(ctx, fhirID, etag) })
}

// passing tells whether the same request may succeed in a moment. A server
// that says when to come back (Retry-After) is not asked before; the caller is
// told.
func passing(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && (f.Kind == fhir.NotSent || f.Kind == fhir.Lost) && !f.Timeout && !f.NotAsked && f.RetryAfter == 0
}

// tells says what the end of an operation tells of the FHIR server. A 500 is an
// answer of its own: it may be about this patient alone.
func tells(e *Error) telling {
	var f *fhir.Error
	asked := e != nil && (errors.As(e.Err, &f) || errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled))
	switch {
	case f != nil && f.NotAsked:
		return nothing
	case f != nil && f.Kind == fhir.Unusable:
		return answered
	case asked && (e.Kind == Unavailable || e.Kind == Timeout || e.Kind == OutcomeUnknown) &&
		(e.HTTPStatus == 0 || e.HTTPStatus >= http.StatusBadGateway && e.HTTPStatus <= http.StatusGatewayTimeout):
		return silence
	}
	return answered
}
