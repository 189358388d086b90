package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
)

// A pooler in transaction mode (PgBouncer, RDS Proxy and their like) gives each
// transaction another session of PostgreSQL. So nothing may be left in a session
// or expected there: no settings, no prepared statement, no lock. "pool=transaction"
// in the URL says that there is one. Then every statement is sent whole
// (pgx.QueryExecModeExec: its parameters have the types that PostgreSQL infers
// from the text, as if it were prepared, and it takes one round trip), and each
// transaction of the journal brings the settings that it relies on.

// errPooler tells what to do.
var errPooler = errors.New("a pooler such as PgBouncer stands before PostgreSQL: add ?pool=transaction to DATABASE_URL (see docs/operations.md)")

// behindPooler takes "pool" out of the parameters of the URL, which the server
// would refuse.
func behindPooler(parameters map[string]string) (bool, error) {
	pool, set := parameters["pool"]
	delete(parameters, "pool")
	if set && pool != "transaction" {
		return false, fmt.Errorf("pool=%q is not known: pool=transaction is for a pooler such as PgBouncer; leave it out where none stands before PostgreSQL", pool)
	}
	return set, nil
}

// refusesSettings reports whether a connection failed for its settings.
func refusesSettings(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && strings.Contains(e.Message, "startup parameter")
}

// errStatementMode tells what to do.
var errStatementMode = errors.New("the pooler before PostgreSQL lets no transaction last longer than a statement: set pool_mode = transaction there")

const readCommitted = "read committed"

// checkSession: a pooler that is told to ignore settings does so without a word;
// later statements would be missing that were prepared in another session. Behind
// one the default of the database counts: the journal needs a statement to see
// what the one before it waited for.
func (p *postgres) checkSession(ctx context.Context) error {
	var lockTimeout, isolation string
	err := p.journal.DB.QueryRowContext(ctx, `SELECT current_setting('lock_timeout'), current_setting('default_transaction_isolation')`,
		pgx.QueryExecModeExec).Scan(&lockTimeout, &isolation)
	switch {
	case err != nil:
		return redacted(err)
	case p.pooled && isolation != readCommitted:
		return fmt.Errorf("default_transaction_isolation is %s, and with pool=transaction cannot be changed from here: ALTER DATABASE … SET default_transaction_isolation = 'read committed'", isolation)
	case !p.pooled && lockTimeout != journalLockTimeout:
		return fmt.Errorf("the settings of a connection have no effect: %w", errPooler)
	case p.pooled:
		return p.checkTransaction(ctx)
	}
	return nil
}

// checkTransaction makes sure that the pooler, whatever its mode, takes transactions.
func (p *postgres) checkTransaction(ctx context.Context) error {
	tx, err := p.journal.BeginTx(ctx, nil)
	if err != nil && strings.Contains(err.Error(), "transaction blocks not allowed") {
		return errStatementMode
	}
	if err != nil {
		return redacted(err)
	}
	return tx.Rollback()
}

// forTransaction are the settings that a session of the journal has without a
// pooler, for one transaction.
const forTransaction = `SELECT set_config('lock_timeout', '` + journalLockTimeout + `', true), set_config('statement_timeout', '0', true),
	set_config('idle_in_transaction_session_timeout', '` + idleInTransaction + `', true)`

// inTx runs work in a transaction of the journal.
func (s *Store) inTx(ctx context.Context, options *sql.TxOptions, work func(context.Context, bun.Tx) error) error {
	err := s.journal.RunInTx(ctx, options, func(ctx context.Context, tx bun.Tx) error {
		if s.pooled {
			if _, err := tx.Tx.ExecContext(ctx, forTransaction); err != nil {
				return err
			}
		}
		return work(ctx, tx)
	})
	if err == nil {
		s.hint()
	}
	return err
}

// unprepared is a statement whose text goes along with each use.
type unprepared struct {
	on interface {
		ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
	}
	text string
}

func (u unprepared) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return u.on.ExecContext(ctx, u.text, args...)
}

func (u unprepared) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return u.on.QueryContext(ctx, u.text, args...)
}

func (u unprepared) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	return u.on.QueryRowContext(ctx, u.text, args...)
}
