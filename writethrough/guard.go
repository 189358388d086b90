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

// Ten silent writes without any answer of the FHIR server between them open the
// circuit, several in a row of one patient counting as one. For a while nobody
// waits then for what will not come.
const (
	breakerFailures = 10
	breakerDelay    = 5 * time.Second
	// othersFirst is how long after its silent write a patient waits for others to
	// try the server: the delay, in which nobody may, and as long again. After that
	// it may itself, or the circuit would stay open where nobody else writes.
	othersFirst = 2 * breakerDelay
)

// circuit opens when the FHIR server is silent. One patient alone cannot open
// it, nor keep it open: answers may be lost for that patient only.
type circuit struct {
	circuitbreaker.CircuitBreaker[any]
	now func() time.Time

	mu     sync.Mutex
	silent string    // the patient of the last silent write; "" once there was an answer
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
	waits := patientID == c.silent && c.now().Before(c.at.Add(othersFirst))
	c.mu.Unlock()
	return !(waits && !c.IsClosed()) && c.TryAcquirePermit()
}

// record counts the signal that a write gave. Of several silent ones in a row of
// one patient the first counts.
func (c *circuit) record(patientID string, signal serverSignal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if signal == answered {
		c.silent = ""
		c.RecordSuccess()
		return
	}
	counts := signal == silence && patientID != c.silent
	if signal == silence {
		c.silent, c.at = patientID, c.now()
	}
	// Half open, one write is let through, and failsafe-go v0.9.8 takes its permit
	// back only with a result. A success would close the circuit, so a write that
	// heard nothing counts as a failure then, whatever the reason.
	if counts || c.IsHalfOpen() {
		c.RecordFailure()
	}
}

// serverSignal is what the end of a write says of the FHIR server as a whole.
type serverSignal int

const (
	silence  serverSignal = iota // it was asked, and no answer of its own came
	answered                     // whatever it said
	noSignal                     // it was not asked, or not waited for
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

// signalOf gives the signal in the end of an operation; nil is a success. A 500
// is an answer of its own: it may be about this patient alone.
func signalOf(e *Error) serverSignal {
	var f *fhir.Error
	asked := e != nil && (errors.As(e.Err, &f) || errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled))
	switch {
	case f != nil && f.NotAsked:
		return noSignal
	case f != nil && f.Kind == fhir.Unusable:
		return answered
	case asked && (e.Kind == Unavailable || e.Kind == Timeout || e.Kind == OutcomeUnknown) &&
		(e.HTTPStatus == 0 || e.HTTPStatus >= http.StatusBadGateway && e.HTTPStatus <= http.StatusGatewayTimeout):
		return silence
	}
	return answered
}
