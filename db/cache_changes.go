package db

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// Every change of a row gets a number, greater than that of every change before it, by
// which clients follow the changes. It is given once the change is committed, not with
// the change: of two transactions the one that began first may be committed last, and
// whoever had seen the greater number of the other would pass its rows by. So a row is
// written with the number 0, and NumberChanges numbers what it finds committed, one
// caller after the other: whoever has seen a number has seen all below it, however
// late they were committed, and no writer waits for another. The rows that a fill inserts
// are numbered with it, see takeChanges.

// numberedAtOnce is how many rows share a transaction: a writer may wait for one.
const numberedAtOnce = 500

// The statements of the numbers.
var (
	// In the order of patients_to_number: that index has few rows, however many
	// PostgreSQL believes to be without a number.
	nextToNumber = preparedToRead(`SELECT last, (SELECT id FROM patients WHERE change_seq = 0 ORDER BY updated_at, id LIMIT 1) FROM change_counter`)
	lastChange   = preparedToRead(`SELECT last FROM change_counter`)
	lockCounter  = prepared(`SELECT last FROM change_counter FOR UPDATE`)
	// What a writer has locked is numbered the next time, as it is then.
	numberRows = prepared(`UPDATE patients SET change_seq = numbered.seq FROM (
			SELECT id, ? + row_number() OVER (ORDER BY updated_at, id) AS seq FROM (
				SELECT id, updated_at FROM patients WHERE change_seq = 0 ORDER BY updated_at, id LIMIT ? FOR NO KEY UPDATE SKIP LOCKED) AS found) AS numbered
		WHERE patients.id = numbered.id RETURNING change_seq`)
	setCounter = prepared(`UPDATE change_counter SET last = ?`)
	// raiseCounter: no number is above the clock, so after a restore those to come are above
	// all that were given before it.
	raiseCounter = prepared(`UPDATE change_counter SET last = NOW() WHERE last < NOW()`)
	addCounter   = prepared(`UPDATE change_counter SET last = last + ? RETURNING last`)
)

// NumberChanges gives every row that has changed its number, in the order of
// updated_at, and returns the greatest number that was given. Where there is nothing
// to number it neither writes nor locks. Rows that somebody writes at the moment are
// left to the next call.
func (s *Store) NumberChanges(ctx context.Context) (last int64, err error) {
	last, more, err := s.toNumber(ctx)
	if err != nil || !more {
		return last, err
	}
	select { // many who poll must not take the connections that writers need
	case s.numbers <- struct{}{}:
		defer func() { <-s.numbers }()
	case <-ctx.Done():
		return 0, fmt.Errorf("number changes: %w", ctx.Err())
	}
	for numbered := numberedAtOnce; numbered == numberedAtOnce; {
		if last, more, err = s.toNumber(ctx); err != nil || !more {
			return last, err
		}
		number := func() error {
			return s.inTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
				if last, numbered, err = s.numberSome(ctx, tx); err != nil {
					return err
				}
				return s.file.check()
			})
		}
		if err := retryAlone(number(), number); err != nil {
			return 0, fmt.Errorf("number changes: %w", err)
		}
	}
	return last, nil
}

// toNumber returns the last number, and whether there are rows without one.
func (s *Store) toNumber(ctx context.Context) (last int64, more bool, err error) {
	var next *string
	if err := s.in(ctx, bun.Tx{}, nextToNumber).QueryRowContext(ctx).Scan(&last, &next); err != nil {
		return 0, false, fmt.Errorf("number changes: %w", err)
	}
	return last, next != nil, nil
}

// numberSome numbers some rows, and returns the greatest number then and how many
// they were.
func (s *Store) numberSome(ctx context.Context, tx bun.Tx) (last int64, numbered int, err error) {
	if err := s.in(ctx, tx, lockCounter).QueryRowContext(ctx).Scan(&last); err != nil {
		return 0, 0, err
	}
	rows, err := s.in(ctx, tx, numberRows).QueryContext(ctx, last, numberedAtOnce)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return 0, 0, err
		}
		last, numbered = max(last, seq), numbered+1
	}
	if err := rows.Err(); err != nil || numbered == 0 {
		return last, 0, err
	}
	_, err = s.exec(ctx, tx, setCounter, last)
	return last, numbered, err
}

// takeChanges takes numbers for the rows that a fill inserts, so that they are not written
// once more, and returns the first; 0: they are numbered later. The counter stays locked
// until they are committed: nobody is given a greater number before.
func (i *importing) takeChanges(ctx context.Context) (first int64, err error) {
	if i.fill == nil { // a file may come in long transactions, several at a time
		return 0, nil
	}
	var last int64
	err = i.store.in(ctx, i.tx, addCounter).QueryRowContext(ctx, len(i.inserts)).Scan(&last)
	return last - int64(len(i.inserts)) + 1, err
}

// raiseCounter makes sure at a start that numbers to come are above those that clients saw
// of a database that was restored since from a backup.
func (s *Store) raiseCounter() error {
	if _, err := s.runOne(mirrorRow, raiseCounter); err != nil {
		return fmt.Errorf("raise the counter of changes: %w", err)
	}
	return nil
}

// LastChange returns the greatest number that was given: what changes from now on gets
// a greater one.
func (s *Store) LastChange(ctx context.Context) (last int64, err error) {
	if err := s.in(ctx, bun.Tx{}, lastChange).QueryRowContext(ctx).Scan(&last); err != nil {
		return 0, fmt.Errorf("read the number of the last change: %w", err)
	}
	return last, nil
}

// Wrote holds an element when this process has committed since somebody took the last
// one: rows may have changed.
func (s *Store) Wrote() <-chan struct{} { return s.wrote }

func (s *Store) hint() {
	select {
	case s.wrote <- struct{}{}:
	default:
	}
}

// ChangedRow is a row that has changed, as it is found by.
type ChangedRow struct {
	ID     string
	FHIRID string
	Seq    int64
}

var changedRows = preparedToRead(`SELECT id, fhir_id, change_seq FROM patients WHERE change_seq > 0 AND change_seq > ? ORDER BY change_seq LIMIT ?`)

// ChangedRows returns the first rows, at most limit, with numbers above one, in their
// order.
func (s *Store) ChangedRows(ctx context.Context, above int64, limit int) ([]ChangedRow, error) {
	rows, err := s.in(ctx, bun.Tx{}, changedRows).QueryContext(ctx, above, limit)
	if err != nil {
		return nil, fmt.Errorf("look for changed patients: %w", err)
	}
	defer rows.Close()
	var changed []ChangedRow
	for rows.Next() {
		var row ChangedRow
		if err := rows.Scan(&row.ID, nullable{&row.FHIRID}, &row.Seq); err != nil {
			return nil, fmt.Errorf("look for changed patients: %w", err)
		}
		changed = append(changed, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for changed patients: %w", err)
	}
	return changed, nil
}
