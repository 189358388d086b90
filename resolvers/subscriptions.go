package resolvers

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Events are those of one subscription, for whoever tells them. gqlgen finds an event in the
// channel that the resolver returned when Next has put it there, and need not be asked before:
// else one goroutine would wait in the midst of its calls, with a large stack, and another one
// in the resolver.
type Events struct {
	next  func() error
	leave func()
	end   error
}

type eventsKey struct{}

// WithEvents is a context for one operation, which may be a subscription.
func WithEvents(ctx context.Context) (context.Context, *Events) {
	e := &Events{leave: func() {}}
	return context.WithValue(ctx, eventsKey{}, e), e
}

// Begun reports whether there is a subscription.
func (e *Events) Begun() bool { return e.next != nil }

// Next waits for an event. What it put into the channel must be taken before it is called
// again. false: there are no more.
func (e *Events) Next() bool {
	e.end = e.next()
	return e.end == nil
}

// End is why there are no more events: ErrTokenExpired, ErrStopping, or an error for the client;
// nil: the subscription is complete, or its client has left.
func (e *Events) End() error {
	if e.end == io.EOF {
		return nil
	}
	return e.end
}

// Leave is for when nobody calls Next any more.
func (e *Events) Leave() { e.leave() }

// send has next called for each event, and left when nobody asks for more. next returns why
// there are no more: as End, but io.EOF if all were told. Its context ends with the token too,
// by ErrTokenExpired. ctx is of WithEvents. The channel has room for one: it is put there before
// gqlgen looks.
func send[T any](ctx context.Context, r *Resolver, v auth.Viewer, left func(), next func(ctx context.Context) (T, error)) <-chan T {
	events := make(chan T, 1)
	limited, cancel := context.WithTimeoutCause(ctx, v.Expires.Sub(r.Now()), ErrTokenExpired)
	asked := ctx.Value(eventsKey{}).(*Events)
	asked.next = func() error {
		err := withoutPanic(func() error {
			event, err := next(limited)
			if err == nil {
				events <- event
			}
			return err
		})
		var shown *gqlerror.Error
		if err != nil && err != io.EOF && err != ErrTokenExpired && err != ErrStopping && !errors.As(err, &shown) {
			err = r.internal(ctx, err)
		}
		return err
	}
	asked.leave = func() {
		cancel()
		left()
	}
	return events
}

// Apart has something done on a stack of its own, so that the goroutine that waits for it, and
// then for hours for something else, keeps a small one: the collector only halves a stack, where
// less than a quarter of it is in use.
func Apart(do func()) {
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed = withoutPanic(func() error {
			do()
			return nil
		})
	}()
	<-done
	if failed != nil {
		panic(failed)
	}
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
	told := false
	return send(ctx, r, v, left, func(ctx context.Context) (*graph.ContactUpdate, error) {
		if told {
			return nil, io.EOF
		}
		told = true
		u, err := r.Writer.Await(ctx, operationID)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !r.Now().Before(v.Expires): // a process that stood still may come by before its timers
			return nil, ErrTokenExpired
		case err != nil && r.stops():
			return nil, ErrStopping
		case err != nil:
			return nil, fmt.Errorf("contact update %s: %w", operationID, err)
		case !v.MayAskAbout(u.Actor, u.PatientID):
			return nil, io.EOF
		case u.State.Open():
			return nil, ErrStopping
		}
		return r.toContactUpdate(ctx, v, u)
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
