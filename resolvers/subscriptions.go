package resolvers

import (
	"context"
	"fmt"
	"sync"

	"patientgraph/auth"
	"patientgraph/graph"
)

// maxSubscriptions is how many subscriptions one viewer may have at once, for
// each holds a connection and memory. Viewers are told apart as by Actor.
const maxSubscriptions = 50

// subscriptions counts those of each viewer in this process. Its zero value is
// ready.
type subscriptions struct {
	mu   sync.Mutex
	open map[string]int // by Actor
}

// begin counts one more until end is called, once. The error is for the caller.
func (s *subscriptions) begin(ctx context.Context, v auth.Viewer) (end func(), err error) {
	actor := v.Actor()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[actor] >= maxSubscriptions {
		return nil, requestError(ctx, CodeLimitExceeded,
			fmt.Sprintf("you have %d subscriptions already, and may have no more at once: end one first", maxSubscriptions))
	}
	if s.open == nil {
		s.open = map[string]int{}
	}
	s.open[actor]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[actor]--; s.open[actor] == 0 {
			delete(s.open, actor)
		}
	}, nil
}

// settled tells once how an update ended, or that it is PENDING when the server
// stops. It closes without a word when the client is gone or the viewer's token
// has expired, and then calls end.
func (r *Resolver) settled(ctx context.Context, v auth.Viewer, operationID string, end func()) <-chan *graph.ContactUpdate {
	out := make(chan *graph.ContactUpdate, 1)
	ctx, cancel := context.WithTimeout(ctx, v.Expires.Sub(r.Now()))
	go func() {
		defer end()
		defer cancel()
		defer close(out)
		defer func() {
			if cause := recover(); cause != nil { // one line of the journal must not end the process
				_ = Internal(ctx, r.Log, Panic(cause))
			}
		}()
		u, err := r.Writer.Await(ctx, operationID)
		// By the clock: a process that stood still may come by before its timers.
		if ctx.Err() != nil || !r.Now().Before(v.Expires) || err == nil && !v.MayAskAbout(u.Actor, u.PatientID) {
			return
		}
		if err == nil {
			var shown *graph.ContactUpdate
			if shown, err = r.toContactUpdate(ctx, v, u); err == nil {
				out <- shown
				return
			}
		}
		r.Log.WarnContext(ctx, "a subscription to a contact update ended early", "operation", operationID, "error", err)
	}()
	return out
}
