package resolvers

import (
	"context"
	"fmt"
	"sync"

	"patientgraph/auth"
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
