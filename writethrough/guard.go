package writethrough

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"patientgraph/fhir"
)

// Ten writes in a row without an answer of the FHIR server open the circuit:
// for a while nobody waits for what will not come.
const (
	breakerFailures = 10
	breakerDelay    = 5 * time.Second
)

func newBreaker(log *slog.Logger) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerFailures).WithSuccessThreshold(1).WithDelay(breakerDelay).
		OnOpen(func(circuitbreaker.StateChangedEvent) {
			log.Error("the FHIR server does not answer: no writes are sent to it for a while", "for", breakerDelay)
		}).
		OnClose(func(circuitbreaker.StateChangedEvent) { log.Info("the FHIR server answers again") }).
		Build()
}

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
	return errors.As(err, &f) && (f.Kind == fhir.NotSent || f.Kind == fhir.Lost) && !f.Timeout && f.RetryAfter == 0
}

// unheard tells whether an operation ended without an answer of the FHIR
// server itself. A 500 is one: it may be about this patient alone.
func unheard(e *Error) bool {
	var f *fhir.Error
	asked := e != nil && (errors.As(e.Err, &f) || errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled))
	return asked && (e.Kind == Unavailable || e.Kind == Timeout || e.Kind == OutcomeUnknown) &&
		(e.HTTPStatus == 0 || e.HTTPStatus >= http.StatusBadGateway && e.HTTPStatus <= http.StatusGatewayTimeout)
}
