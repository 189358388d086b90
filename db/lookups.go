package db

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// How many workers look patients up, and how many patients each: a statement costs more than
// a row, and what waits meanwhile goes together. One of them is at work, unless its statement
// takes longer than patience.
const (
	lookers        = 4
	lookedUpAtOnce = 64
)

// lookupTimeout bounds such a statement on PostgreSQL: it is for several callers, of whom each
// waits as long as he may.
const lookupTimeout = 10 * time.Second

const (
	// usualWait is how long a look-up waits whose context has no deadline.
	usualWait = 9 * time.Second
	// sharedEnd is how much longer one may wait who waits with others.
	sharedEnd = time.Second / 4
)

// waitsUntil is when a look-up is given up.
func waitsUntil(ctx context.Context) time.Time {
	if deadline, given := ctx.Deadline(); given {
		return deadline
	}
	return time.Now().Add(usualWait)
}

// ends are when look-ups are given up that all wait for usualWait. Those that end within the same
// sharedEnd have one timer: a context with a deadline for each would be a twentieth of what one
// patient costs.
type ends struct {
	mu     sync.Mutex
	closes time.Time // when over is closed
	over   chan struct{}
}

// at returns a channel that is closed at until, or up to sharedEnd later. Whoever calls it must
// not ask for an earlier end than those before.
func (e *ends) at(until time.Time) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if until.After(e.closes) {
		over := make(chan struct{})
		e.closes, e.over = until.Add(sharedEnd), over
		time.AfterFunc(time.Until(e.closes), func() { close(over) })
	}
	return e.over
}

// lookup is one patient that is looked up by number.
type lookup struct {
	queued
	set   columnSet
	id    string
	found *Patient // nil: there is none
}

// lookUp asks for one patient together with others who ask at the same time. The statement
// begins after it was called, so it sees what was committed before. sql.ErrNoRows.
func (s *Store) lookUp(ctx context.Context, set columnSet, id string, until time.Time) (*Patient, error) {
	l := &lookup{queued: queued{until: until}, set: set, id: id}
	var over <-chan struct{}
	if _, given := ctx.Deadline(); !given {
		over = s.lookupEnds.at(until)
	}
	switch err := s.lookups.await(ctx, l, over); {
	case err != nil: // who waits no longer must not look at l: the statement may still write into it
		return nil, err
	case l.found == nil:
		return nil, sql.ErrNoRows
	}
	return l.found, nil
}

// lookUpTogether gives each its own error: none is tried again for another's sake.
func (s *Store) lookUpTogether(batch []*lookup) error {
	bySet := map[columnSet][]*lookup{}
	for _, l := range batch {
		bySet[l.set] = append(bySet[l.set], l)
	}
	for set, group := range bySet {
		if err := s.lookUpColumns(set, group); err != nil {
			for _, l := range group {
				l.err = err
			}
		}
	}
	return nil
}

func (s *Store) lookUpColumns(set columnSet, group []*lookup) error {
	ctx := context.Background()
	if s.file == nil { // see bounded
		within, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		ctx = within
	}
	ids := make([]string, len(group))
	for i, l := range group {
		ids[i] = l.id
	}
	text := func() string { return "SELECT " + set.names(", ") + " FROM patients WHERE id = ANY(?)" }
	scanner := set.scanner()
	return s.each(ctx, s.keptLookups, set, text, []any{s.list(ids)}, func(row resultRow) error {
		p, err := scanner.scan(row)
		if p == nil {
			return fmt.Errorf("look patients up: %w", err)
		}
		for _, l := range group {
			if l.id == p.ID {
				own := *p // the next row takes its place, and callers change what they get
				l.found, l.err = &own, err
			}
		}
		return nil
	})
}
