package resolvers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/graph"
)

// maxSubscriptions is how many subscriptions one viewer may have at once, for
// each holds a connection and memory. Viewers are told apart as by Actor.
const maxSubscriptions = 50

// begin counts one more subscription until end is called, once. The error is for the
// caller.
func (r *Resolver) begin(ctx context.Context, v auth.Viewer) (end func(), err error) {
	end, ok := r.subscribed.Begin(v, maxSubscriptions)
	if !ok {
		return nil, requestError(ctx, CodeLimitExceeded,
			fmt.Sprintf("you have %d subscriptions already, and may have no more at once: end one first", maxSubscriptions))
	}
	return end, nil
}

// PerViewer counts what each viewer has in this process. Its zero value is ready.
type PerViewer struct {
	mu   sync.Mutex
	open map[string]int // by Actor
}

// Begin counts one more until end is called, once, unless there are most already.
func (p *PerViewer) Begin(v auth.Viewer, most int) (end func(), ok bool) {
	actor := v.Actor()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[actor] >= most {
		return nil, false
	}
	if p.open == nil {
		p.open = map[string]int{}
	}
	p.open[actor]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.open[actor]--; p.open[actor] == 0 {
			delete(p.open, actor)
		}
	}, true
}

// Why a subscription ends before it is complete, but for faults and for clients that leave.
var (
	ErrTokenExpired = errors.New("the token has expired: subscribe again with a new one")
	ErrStopping     = errors.New("the server stops: subscribe again")
)

type endKey struct{}

// WithEnd is a context for one subscription. When its events are over the channel holds
// why, unless it is complete or its client has left: ErrTokenExpired, ErrStopping, or an
// error for the client.
func WithEnd(ctx context.Context) (context.Context, <-chan error) {
	end := make(chan error, 1)
	return context.WithValue(ctx, endKey{}, end), end
}

// send lets produce send events until it returns why there are no more (see WithEnd), and
// then calls left. The context of produce ends with the token too, by ErrTokenExpired.
func send[T any](ctx context.Context, r *Resolver, v auth.Viewer, left func(), produce func(ctx context.Context, events chan<- T) error) <-chan T {
	events := make(chan T)
	go func() {
		defer left()
		defer close(events)
		limited, cancel := context.WithTimeoutCause(ctx, v.Expires.Sub(r.Now()), ErrTokenExpired)
		defer cancel()
		err := withoutPanic(func() error { return produce(limited, events) })
		var shown *gqlerror.Error
		if err != nil && err != ErrTokenExpired && err != ErrStopping && !errors.As(err, &shown) {
			err = r.internal(ctx, err)
		}
		if end, ok := ctx.Value(endKey{}).(chan error); ok && err != nil {
			end <- err
		}
	}()
	return events
}

// withoutPanic makes a panic an error: one row or line must not end the process.
func withoutPanic(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = Panic(cause)
		}
	}()
	return do()
}

// settled sends once how an update ended.
func (r *Resolver) settled(ctx context.Context, v auth.Viewer, operationID string, left func()) <-chan *graph.ContactUpdate {
	return send(ctx, r, v, left, func(ctx context.Context, events chan<- *graph.ContactUpdate) error {
		u, err := r.Writer.Await(ctx, operationID)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !r.Now().Before(v.Expires): // a process that stood still may come by before its timers
			return ErrTokenExpired
		case err != nil && r.stops():
			return ErrStopping
		case err != nil:
			return fmt.Errorf("contact update %s: %w", operationID, err)
		case !v.MayAskAbout(u.Actor, u.PatientID):
			return nil
		case u.State.Open():
			return ErrStopping
		}
		shown, err := r.toContactUpdate(ctx, v, u)
		if err != nil {
			return err
		}
		select {
		case events <- shown:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

func (r *Resolver) stops() bool {
	select {
	case <-r.Writer.Stopping():
		return true
	default:
		return false
	}
}
