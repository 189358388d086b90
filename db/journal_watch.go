package db

import (
	"context"
	"encoding/json"
	"fmt"
)

// The two databases take a list as one argument each in their own way.
const (
	stillOpen         = `SELECT id FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN') AND id `
	stillOpenSQLite   = stillOpen + `IN (SELECT value FROM json_each(?))`
	stillOpenPostgres = stillOpen + `= ANY(?)`
)

// StillOpen returns those of the ids whose contact updates are not settled, in
// any order, in one query.
func (s *Store) StillOpen(ctx context.Context, ids []string) ([]string, error) {
	text, list := stillOpenPostgres, any(ids)
	if !s.postgres {
		encoded, _ := json.Marshal(ids) // strings always encode
		text, list = stillOpenSQLite, string(encoded)
	}
	rows, err := s.read.DB.QueryContext(ctx, s.dialect(text), list)
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
