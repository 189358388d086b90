package db

import (
	"context"
	"slices"
	"sync"
)

// places are those that lists and counts have. Where all are taken, callers are served in
// turn: one who asks for hundreds of lists waits for them himself.
type places struct {
	size int

	mu      sync.Mutex
	taken   int
	waiting map[string][]chan struct{} // by caller; each is closed when it has a place
	turn    []string                   // who waits, the next one first
}

func newPlaces(size int) *places {
	return &places{size: size, waiting: map[string][]chan struct{}{}}
}

// take waits for a place, which giveBack ends. The error is the context's.
func (p *places) take(ctx context.Context, caller string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.taken < p.size {
		p.taken++
		p.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	if len(p.waiting[caller]) == 0 {
		p.turn = append(p.turn, caller)
	}
	p.waiting[caller] = append(p.waiting[caller], mine)
	p.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	at := slices.Index(p.waiting[caller], mine)
	if at >= 0 {
		p.keep(caller, slices.Delete(p.waiting[caller], at, at+1))
		if len(p.waiting[caller]) == 0 {
			p.turn = slices.DeleteFunc(p.turn, func(c string) bool { return c == caller })
		}
	}
	p.mu.Unlock()
	if at < 0 { // it was given a place meanwhile
		p.giveBack()
	}
	return ctx.Err()
}

// giveBack gives the place to who is next, and puts that caller last.
func (p *places) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turn) == 0 {
		p.taken--
		return
	}
	caller := p.turn[0]
	p.turn = p.turn[1:]
	next := p.waiting[caller]
	p.keep(caller, next[1:])
	if len(next) > 1 {
		p.turn = append(p.turn, caller)
	}
	close(next[0])
}

// keep sets who of a caller's still waits.
func (p *places) keep(caller string, waiting []chan struct{}) {
	if p.waiting[caller] = waiting; len(waiting) == 0 {
		delete(p.waiting, caller)
	}
}

func (p *places) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}
