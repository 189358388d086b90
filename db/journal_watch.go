package db

import (
	"context"
	"fmt"

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
