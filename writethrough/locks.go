package writethrough

import (
	"context"
	"sync"
)

// locks holds one lock per patient: within this process, two writes of one
// patient never overlap, and different patients never wait for each other.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	token chan struct{} // holds one value while the lock is taken
	users int           // who holds it or waits for it; the entry goes when none is left
}

// acquire waits for the patient's lock and returns what releases it.
func (l *locks) acquire(ctx context.Context, patientID string) (release func(), err error) {
	l.mu.Lock()
	k := l.held[patientID]
	if k == nil {
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		k = &lock{token: make(chan struct{}, 1)}
		l.held[patientID] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, patientID)
		}
	}
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
