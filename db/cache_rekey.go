package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// rekeyAtOnce is how many rows share a transaction: reads go on, and a replica
// that starts at the same time waits for one of these at most.
const rekeyAtOnce = 2000

// keySources are the columns that the keys are made of.
var keySources = setOf([]Column{ColFamilyName, ColGivenName, ColFullName, ColPhone, colOtherNames, colOtherPhones}, keyColumns)

// rekey makes the keys of rows that a migration left without, since names are
// folded otherwise than before. What a crash leaves undone the next start does.
// It needs the schema.
func (s *Store) rekey(ctx context.Context) error {
	for n := rekeyAtOnce; n == rekeyAtOnce; {
		err := s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			rows, err := s.rowsWithoutKeys(ctx, tx)
			if n = len(rows); err != nil || n == 0 {
				return err
			}
			values := make([]any, 0, 4*n)
			for _, p := range rows {
				p.keys = keysOf(&p.FHIRState)
				values = append(values, p.ID, p.keys.name, p.keys.search, p.keys.phones)
			}
			// Both databases call the columns of VALUES so.
			text := "UPDATE patients SET name_key = made.column2, search_key = made.column3, phone_keys = made.column4 FROM (VALUES " +
				strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", n), ", ") + ") AS made WHERE patients.id = made.column1"
			if _, err := tx.Tx.ExecContext(ctx, s.translate(text), s.once(values)...); err != nil {
				return err
			}
			return s.insertKeys(ctx, tx, rows)
		})
		if err != nil {
			return fmt.Errorf("make the search keys anew: %w", err)
		}
	}
	return nil
}

func (s *Store) rowsWithoutKeys(ctx context.Context, tx bun.Tx) ([]*Patient, error) {
	text := "SELECT " + keySources.names(", ") + " FROM patients WHERE search_key IS NULL ORDER BY id LIMIT ? FOR UPDATE"
	rows, err := tx.Tx.QueryContext(ctx, s.translate(text), s.once([]any{rekeyAtOnce})...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*Patient
	for rows.Next() {
		p, err := keySources.scan(rows)
		if err != nil && !errors.Is(err, ErrUnreadable) { // of such a row what can be read is searched
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}
