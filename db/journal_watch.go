package db

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

var stillOpen = preparedToRead(`SELECT id FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN') AND id = ANY(?)`)

// StillOpen returns those of the ids whose contact updates are not settled, in
// any order, in one query.
func (s *Store) StillOpen(ctx context.Context, ids []string) ([]string, error) {
	rows, err := s.in(ctx, bun.Tx{}, stillOpen).QueryContext(ctx, s.list(ids))
	if err != nil {
		return nil, fmt.Errorf("look for open contact updates: %w", err)
	}
	defer rows.Close()
	var open []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look for open contact updates: %w", err)
		}
		open = append(open, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for open contact updates: %w", err)
	}
	return open, nil
}

// OpenUpdates are the contact updates that are not settled, of all processes.
type OpenUpdates struct {
	Count  map[UpdateState]int
	Oldest time.Duration // how long ago the oldest was asked for; 0: there is none
}

// By the index of the open lines, which are few.
var countOpen = preparedToRead(`SELECT state, COUNT(*), NOW() - MIN(requested_at) FROM contact_updates
	WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN') GROUP BY state`)

// OpenUpdates counts them.
func (s *Store) OpenUpdates(ctx context.Context) (OpenUpdates, error) {
	open := OpenUpdates{Count: map[UpdateState]int{}}
	rows, err := s.in(ctx, bun.Tx{}, countOpen).QueryContext(ctx)
	if err != nil {
		return open, fmt.Errorf("count open contact updates: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var state UpdateState
		var n int
		var micros int64
		if err := rows.Scan(&state, &n, &micros); err != nil {
			return open, fmt.Errorf("count open contact updates: %w", err)
		}
		open.Count[state] = n
		open.Oldest = max(open.Oldest, time.Duration(micros)*time.Microsecond)
	}
	if err := rows.Err(); err != nil {
		return open, fmt.Errorf("count open contact updates: %w", err)
	}
	return open, nil
}
