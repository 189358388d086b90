package db

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/uptrace/bun"
)

// No value stands in the text of a statement. bun (v1.3.0) writes arguments
// into it, between quotes that a PostgreSQL with standard_conforming_strings
// off reads in another way: so its builders are not used, only its pools and
// transactions, and every value goes to the driver as an argument.

// statement is one of fixed text. Its declaration registers it, and Migrate
// prepares what is registered: parsing it at each use would cost more than
// running it.
type statement struct {
	text     string // with ? for each argument
	postgres string // as PostgreSQL wants it
	read     bool   // on the pool for reads, not on the journal's
}

var statements []*statement

func prepared(text string) *statement {
	statements = append(statements, &statement{text: text, postgres: forPostgres(text)})
	return statements[len(statements)-1]
}

func preparedToRead(text string) *statement {
	st := prepared(text)
	st.read = true
	return st
}

// prepare readies the statements. It needs the schema. Behind a pooler there is
// nothing to ready: see unprepared.
func (s *Store) prepare(ctx context.Context) error {
	if s.pooled {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range statements {
		if s.statements[st] != nil {
			continue
		}
		ready, err := s.poolOf(st).PrepareContext(ctx, s.translate(st.text))
		if err != nil {
			return err
		}
		s.statements[st] = ready
	}
	if s.file == nil {
		return nil
	}
	// Opens a connection now: it reads on when the file is taken away.
	return s.eachPrepared(ctx, "SELECT 1 FROM patients LIMIT 1", nil, func(resultRow) error { return nil })
}

// runnable is a statement that only wants its arguments.
type runnable interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// in returns a statement for a transaction or, with the zero one, without.
func (s *Store) in(ctx context.Context, tx bun.Tx, st *statement) runnable {
	switch {
	case s.pooled && tx.Tx != nil:
		return unprepared{tx.Tx, st.postgres}
	case s.pooled:
		return unprepared{s.poolOf(st), st.postgres}
	case tx.Tx != nil:
		return tx.StmtContext(ctx, s.statements[st])
	default:
		return s.statements[st]
	}
}

func (s *Store) poolOf(st *statement) *sql.DB {
	if st.read {
		return s.read.DB
	}
	return s.journal.DB
}

// exec runs a statement and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, tx bun.Tx, st *statement, args ...any) (int64, error) {
	result, err := s.in(ctx, tx, st).ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// ids runs a statement that returns numbers.
func (s *Store) ids(ctx context.Context, tx bun.Tx, pick *statement, args ...any) ([]string, error) {
	rows, err := s.in(ctx, tx, pick).QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var picked []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		picked = append(picked, id)
	}
	return picked, rows.Err()
}

// query runs a SELECT whose text depends on what was asked.
func (s *Store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return s.read.DB.QueryContext(ctx, s.translate(text), s.once(args)...)
}

// queryRow is query for one row.
func (s *Store) queryRow(ctx context.Context, text string, args ...any) *sql.Row {
	return s.read.DB.QueryRowContext(ctx, s.translate(text), s.once(args)...)
}

// number runs a SELECT of one number.
func (s *Store) number(ctx context.Context, text string, args ...any) (n int, err error) {
	err = s.queryRow(ctx, text, args...).Scan(&n)
	return n, err
}

// conditions is a WHERE clause and the arguments of its texts.
type conditions struct {
	texts   []string
	args    []any
	nothing bool // it is known that nothing fulfils them
	all     bool // nothing is asked but that they are listed
}

// of makes one condition.
func of(text string, args ...any) conditions { return conditions{texts: []string{text}, args: args} }

func (c *conditions) add(text string, args ...any) {
	c.texts = append(c.texts, text)
	c.args = append(c.args, args...)
}

// join adds those of others, not what is known of them.
func (c *conditions) join(others conditions) {
	c.texts, c.args = slices.Concat(c.texts, others.texts), slices.Concat(c.args, others.args)
}

// String is the clause, "" without conditions.
func (c *conditions) String() string {
	if len(c.texts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.texts, " AND ")
}
