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

// maxPrepared bounds the statements kept, of one patient, of several and of pages each; clients
// choose the columns, and the size of a page. Where there are more, what was not asked for the
// longest makes room, once in a second: it is closed when nobody can be about to use it.
const (
	maxPrepared = 256
	stillUsed   = time.Minute
)

// keptStatements are statements that read, by what they are asked for.
type keptStatements struct {
	*lru.Cache[any, *sql.Stmt]
	makeRoom *rate.Limiter
}

func newKeptStatements() keptStatements {
	kept, _ := lru.NewWithEvict(maxPrepared, func(_ any, statement *sql.Stmt) { // it refuses only a size below 1
		time.AfterFunc(stillUsed, func() { _ = statement.Close() }) // of a database that is closed, too
	})
	return keptStatements{kept, rate.NewLimiter(rate.Every(time.Second), 1)}
}

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
	statement, err := s.keptRead(ctx, s.keptReads, set, text)
	switch {
	case err != nil:
		return nil, err
	case statement != nil:
		return set.scan(statement.QueryRowContext(ctx, id))
	}
	return set.scan(s.queryRow(ctx, text(), id))
}

// bounded is for a look-up by itself. In a file it has no end, unless its time is over already:
// it takes microseconds, waits for no writer (WAL), and finds a connection free, for lists leave
// some (see places). To watch meanwhile for the end of ctx would start two goroutines, and cost
// a quarter of all.
func (s *Store) bounded(ctx context.Context, until time.Time) (context.Context, context.CancelFunc) {
	if s.file == nil || ctx.Err() != nil {
		return context.WithDeadline(ctx, until)
	}
	return context.WithoutCancel(ctx), func() {}
}

// keptRead is a statement that is prepared once and kept among others by its key: bun would
// write the arguments into the text and have it parsed every time. nil: there are too many, or
// none may be kept.
func (s *Store) keptRead(ctx context.Context, kept keptStatements, key any, text func() string) (*sql.Stmt, error) {
	statement, known := kept.Get(key)
	if known || s.pooled || kept.Len() >= maxPrepared && !kept.makeRoom.Allow() {
		return statement, nil
	}
	statement, err := s.read.DB.PrepareContext(ctx, s.translate(text()))
	if err != nil {
		return nil, err
	}
	if first, known, _ := kept.PeekOrAdd(key, statement); known { // somebody was quicker
		return first, statement.Close()
	}
	return statement, nil
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
