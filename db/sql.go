package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

// No value stands in the text of a statement. bun (v1.3.0) writes arguments
// into it, between quotes that a PostgreSQL with standard_conforming_strings
// off reads in another way: so its builders are not used, only its pools and
// transactions, and every value goes to the driver as an argument.

// forSQLite and clockOfPostgres write a statement as the database wants it. On
// SQLite a transaction is the only writer anyway: no row needs a lock.
var (
	forSQLite = strings.NewReplacer(
		"NOW()", "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
		"FOR UPDATE SKIP LOCKED", "", "FOR UPDATE", "",
		"= ANY(?)", "IN (SELECT value FROM json_each(?))", // see list
		"strpos(", "instr(")
	clockOfPostgres = strings.NewReplacer("NOW()", "(extract(epoch from statement_timestamp()) * 1000000)::bigint")
)

// dialect translates a statement of fixed text, once.
func (s *Store) dialect(text string) string {
	known, ok := s.dialects.Load(text)
	if !ok {
		known, _ = s.dialects.LoadOrStore(text, s.translate(text))
	}
	return known.(string)
}

// translate writes a statement's arguments, its clock and its row lock as the
// database wants them.
func (s *Store) translate(text string) string {
	if !s.postgres {
		return forSQLite.Replace(text)
	}
	text = clockOfPostgres.Replace(text)
	var b strings.Builder
	n := 0
	for _, r := range text {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// list is the argument of "= ANY(?)".
func (s *Store) list(values []string) any {
	if s.postgres {
		return values
	}
	text, _ := json.Marshal(values) // strings always encode
	return string(text)
}

// once returns the arguments of a statement that is made anew for each use, as
// the driver wants them. pgx would prepare and keep every text that it is given.
// With QueryExecModeExec it sends text and values together and keeps nothing,
// and PostgreSQL plans the statement for these values.
func (s *Store) once(args []any) []any {
	if s.postgres {
		return append([]any{pgx.QueryExecModeExec}, args...)
	}
	return args
}

// query runs a SELECT whose text depends on what was asked.
func (s *Store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return s.read.DB.QueryContext(ctx, s.translate(text), s.once(args)...)
}

// number runs a SELECT of one number.
func (s *Store) number(ctx context.Context, text string, args ...any) (n int, err error) {
	err = s.read.DB.QueryRowContext(ctx, s.translate(text), s.once(args)...).Scan(&n)
	return n, err
}

// maxArguments is how many one statement may have: PostgreSQL takes 65,535,
// SQLite 32,766.
const maxArguments = 30_000

// insertRows runs "INSERT INTO table (columns) VALUES" for many rows, whose
// values stand one after the other in args.
func (s *Store) insertRows(ctx context.Context, tx bun.Tx, into string, columns int, args []any) error {
	row := "(" + strings.Repeat("?, ", columns-1) + "?), "
	for most := maxArguments / columns * columns; len(args) > 0; {
		part := args[:min(most, len(args))]
		args = args[len(part):]
		text := into + strings.TrimSuffix(strings.Repeat(row, len(part)/columns), ", ")
		if _, err := tx.Tx.ExecContext(ctx, s.translate(text), s.once(part)...); err != nil {
			return err
		}
	}
	return nil
}

// conditions is a WHERE clause and the arguments of its texts.
type conditions struct {
	texts   []string
	args    []any
	nothing bool // it is known that nothing fulfils them
	many    bool // it is known that very many do
}

func (c *conditions) add(text string, args ...any) {
	c.texts = append(c.texts, text)
	c.args = append(c.args, args...)
}

// String is the clause, "" without conditions.
func (c *conditions) String() string {
	if len(c.texts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.texts, " AND ")
}

// prepare readies the statements of fixed text: parsing them at each use would
// cost more than running them. It needs the schema, so Migrate calls it.
func (s *Store) prepare(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range statements {
		if s.statements[text] != nil {
			continue
		}
		statement, err := s.journal.DB.PrepareContext(ctx, s.dialect(text))
		if err != nil {
			return err
		}
		s.statements[text] = statement
	}
	return nil
}

// exec runs one of the statements and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, tx bun.Tx, text string, args ...any) (int64, error) {
	result, err := s.statement(ctx, tx, text).ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// statement returns one of the statements, for a transaction or, with the zero
// one, without.
func (s *Store) statement(ctx context.Context, tx bun.Tx, text string) *sql.Stmt {
	if tx.Tx == nil {
		return s.statements[text]
	}
	return tx.StmtContext(ctx, s.statements[text])
}
