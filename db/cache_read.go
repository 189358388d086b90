package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/uptrace/bun"
	"golang.org/x/time/rate"
)

// maxKept bounds the SELECTs that are kept, of one patient, of several and of pages each, and
// those that a connection to a file has prepared; clients choose the columns, and the size of a
// page. Where there are more, what was not asked for the longest makes room, once in a second.
const maxKept = 256

// keptTexts are the texts of SELECTs, as the database wants them, by what they are asked for.
type keptTexts struct {
	*lru.Cache[any, string]
	makeRoom *rate.Limiter
}

func newKeptTexts() keptTexts {
	kept, _ := lru.New[any, string](maxKept) // it refuses only a size below 1
	return keptTexts{kept, rate.NewLimiter(rate.Every(time.Second), 1)}
}

// resultRow is what a Patient is read from.
type resultRow interface{ Scan(into ...any) error }

// Patient returns one row with the columns asked for and the keys; without
// columns, every column. Where no record has the number, the one that it is an
// alias of. Where ctx has no deadline it waits for usualWait and sharedEnd, which costs less; on
// SQLite what has begun is waited for. ErrNotFound.
func (s *Store) Patient(ctx context.Context, id string, columns ...Column) (*Patient, error) {
	set, until := setOf(columns, keyColumns), waitsUntil(ctx)
	p, err := s.patientRow(ctx, set, clean(id), until)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		p, err = s.patientByAlias(ctx, set, clean(id), until)
	case err == nil && !p.GoneAt.IsZero(): // a survivor may list the number of a merged record that was deleted
		survivor, none := s.patientByAlias(ctx, set, clean(id), until)
		if none == nil {
			p = survivor
		} else if !errors.Is(none, sql.ErrNoRows) {
			err = none
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read patient: %w", err)
	}
	return p, nil
}

var mergedInto = preparedToRead("SELECT id, replaced_by FROM patients WHERE fhir_id = ?")

// MergedInto returns the number of the patient with a FHIR id, and its ReplacedBy.
// ErrNotFound.
func (s *Store) MergedInto(ctx context.Context, fhirID string) (number, replacedBy string, err error) {
	err = s.in(ctx, bun.Tx{}, mergedInto).QueryRowContext(ctx, clean(fhirID)).Scan(&number, &replacedBy)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", "", ErrNotFound
	case err != nil:
		return "", "", fmt.Errorf("find patient: %w", err)
	}
	return number, replacedBy, nil
}

func (s *Store) patientRow(ctx context.Context, set columnSet, id string, until time.Time) (*Patient, error) {
	if s.lookups != nil {
		defer s.asking.Add(-1)
		if s.asking.Add(1) > 1 { // else a statement of one's own is quicker
			return s.lookUp(ctx, set, id, until)
		}
	}
	ctx, cancel := s.bounded(ctx, until)
	defer cancel()
	text := func() string { return "SELECT " + set.names(", ") + " FROM patients WHERE id = ?" }
	var p *Patient
	var unreadable error
	err := s.each(ctx, s.keptReads, set, text, []any{id}, func(row resultRow) error {
		if p, unreadable = set.scan(row); p == nil {
			return unreadable
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, sql.ErrNoRows
	}
	return p, unreadable
}

// bounded is for a look-up by itself. In a file it has no end, unless its time is over already:
// it takes microseconds, waits for no writer (WAL), and finds a connection free, for lists leave
// some (see places). To watch meanwhile for the end of ctx would start a goroutine for each.
func (s *Store) bounded(ctx context.Context, until time.Time) (context.Context, context.CancelFunc) {
	if s.file == nil || ctx.Err() != nil {
		return context.WithDeadline(ctx, until)
	}
	return context.WithoutCancel(ctx), func() {}
}

// each runs a SELECT that is asked for again and again, and calls read with each row. Its text is
// kept by its key, where there is room: then each connection prepares it once, and keeps what it
// used last.
func (s *Store) each(ctx context.Context, kept keptTexts, key any, text func() string, args []any, read func(resultRow) error) error {
	prepared, known := kept.Get(key)
	if !known && (s.pooled || kept.Len() >= maxKept && !kept.makeRoom.Allow()) {
		rows, err := s.query(ctx, text(), args...)
		return eachRow(rows, err, read)
	}
	if !known {
		prepared = s.translate(text())
		kept.Add(key, prepared)
	}
	return s.eachPrepared(ctx, prepared, args, read)
}

// eachRow calls read with each of the rows that a query returned.
func eachRow(rows *sql.Rows, err error, read func(resultRow) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// patientByAlias is one statement: no number moves in the midst of it.
func (s *Store) patientByAlias(ctx context.Context, set columnSet, alias string, until time.Time) (*Patient, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	query := "SELECT " + set.names(", ") + " FROM patients WHERE id = (SELECT min(patient_id) FROM patient_identifiers" +
		" WHERE kind IN ('FORMER', 'ALIAS') AND value = ? HAVING count(DISTINCT patient_id) = 1)" + // that of two records is nobody's
		" AND NOT EXISTS (SELECT 1 FROM patients AS holder WHERE holder.id = ? AND holder.gone_at = 0)"
	return set.scan(s.queryRow(ctx, query, alias, alias))
}
