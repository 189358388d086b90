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

// settled tells once how an update ended. It closes without a word when the client is
// gone, the viewer's token has expired or the server stops, and then calls end.
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
		if err == nil && u.State.Open() {
			return // the server stops
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
