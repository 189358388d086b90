package writethrough

import (
	"context"
	"fmt"
	"sync"
)

// How many writes may be under way or wait for their turn in this process, so that a
// FHIR server that hangs does not fill the memory: in all, and of one patient, for
// whom more would not get a turn in time, and so that no patient keeps out the others.
const (
	maxWrites          = 1_000
	maxWritesOfPatient = 100
)

// The errors of acquire say what a caller is told.
var (
	errManyWrites          = fmt.Errorf("%d writes are under way or wait already, and no more may; nothing was sent", maxWrites)
	errManyWritesOfPatient = fmt.Errorf("%d writes of this patient are under way or wait already, and no more may; nothing was sent", maxWritesOfPatient)
)

// locks holds one lock per patient: within this process, two writes of one
// patient never overlap, and different patients never wait for each other. Those of
// one patient have their turn in the order in which they came.
type locks struct {
	mu    sync.Mutex
	held  map[string]*lock
	users int // of all of them
}

type lock struct {
	token chan struct{} // holds one value while the lock is taken
	users int           // who holds it or waits for it; the entry goes when none is left
}

// acquire waits for the patient's lock and returns what releases it. It refuses at
// once where too many wait.
func (l *locks) acquire(ctx context.Context, patientID string) (release func(), err error) {
	l.mu.Lock()
	k := l.held[patientID]
	switch {
	case k != nil && k.users >= maxWritesOfPatient:
		l.mu.Unlock()
		return nil, errManyWritesOfPatient
	case l.users >= maxWrites:
		l.mu.Unlock()
		return nil, errManyWrites
	}
	if k == nil {
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		k = &lock{token: make(chan struct{}, 1)}
		l.held[patientID] = k
	}
	k.users++
	l.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.users--
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
