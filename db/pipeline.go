package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
)

// single is one statement waiting for its round trip.
type single struct {
	queued
	text    string
	args    []any
	changed int64
	patient *Patient // after a beginUpdate; nil: there is none
	readErr error    // ErrUnreadable: the patient, not the statement, is at fault
}

// one commits one statement, and returns how many rows it changed. On
// PostgreSQL what others want at the same time goes along in one round trip;
// on SQLite there is none.
func (s *Store) one(patientID, text string, args ...any) (int64, error) {
	if s.postgres {
		o := pipelined(s.singles, patientID, text, args)
		return o.changed, o.err
	}
	var changed int64
	err := s.commits.do(&commit{queued: queued{patientID: patientID}, alone: withoutTx, work: func(ctx context.Context, tx bun.Tx) (err error) {
		changed, err = s.exec(ctx, tx, text, args...)
		return err
	}})
	return changed, err
}

// begin runs a beginUpdate and reads the patient after it. ErrNotFound.
func (s *Store) begin(patientID string, args ...any) (changed int64, p *Patient, err error) {
	if s.postgres {
		o := pipelined(s.begins, patientID, beginUpdate, args)
		switch {
		case o.err != nil:
		case o.readErr != nil:
			o.err = o.readErr
		case o.patient == nil:
			o.err = ErrNotFound
		}
		return o.changed, o.patient, o.err
	}
	err = s.commits.do(&commit{queued: queued{patientID: patientID}, alone: s.runUnsynced, work: func(ctx context.Context, tx bun.Tx) (err error) {
		if changed, err = s.exec(ctx, tx, beginUpdate, args...); err == nil {
			p, err = s.lockedRow(ctx, tx, patientID)
		}
		return err
	}})
	return changed, p, err
}

// withoutTx runs one statement, which needs no BEGIN and COMMIT.
func withoutTx(ctx context.Context, _ *sql.TxOptions, work func(context.Context, bun.Tx) error) error {
	return work(ctx, bun.Tx{})
}

// runUnsynced runs a transaction on SQLite that does not wait for the disk.
func (s *Store) runUnsynced(ctx context.Context, options *sql.TxOptions, work func(context.Context, bun.Tx) error) error {
	conn, err := s.journal.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return err
	}
	err = conn.RunInTx(ctx, options, work)
	if _, failed := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = FULL"); failed != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // a new connection waits for the disk
	}
	return err
}

func pipelined(queue *batcher[*single], patientID, text string, args []any) *single {
	o := &single{queued: queued{patientID: patientID}, text: text, args: args}
	o.err = queue.do(o)
	return o
}

// isLocked tells whether PostgreSQL gave up waiting for a row: lock_timeout, or
// a deadlock that it broke.
func isLocked(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "55P03" || e.Code == "40P01")
}

// notDurable spares a transaction the wait for the disk. An update that is
// ACCEPTED may be forgotten in a power cut: then it cannot become SENT.
const notDurable = `SELECT set_config('synchronous_commit', 'off', true)`

// pipeline sends statements together: they are committed together, or none is.
func (s *Store) pipeline(batch []*single) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	conn, err := s.journal.DB.Conn(ctx)
	if err != nil {
		return errors.Join(errNotBegun, err)
	}
	defer conn.Close()
	return conn.Raw(func(conn any) error {
		var statements pgx.Batch
		if batch[0].text == beginUpdate {
			statements.Queue(notDurable)
		}
		for _, o := range batch {
			statements.Queue(s.dialect(o.text), o.args...).Exec(func(tag pgconn.CommandTag) error {
				o.changed = tag.RowsAffected()
				return nil
			})
			if o.text == beginUpdate {
				statements.Queue(s.dialect(readPatient), clean(o.patientID)).QueryRow(func(row pgx.Row) (err error) {
					o.patient, err = allColumns.scan(row)
					switch {
					case errors.Is(err, pgx.ErrNoRows):
						return nil
					case errors.Is(err, ErrUnreadable): // it must not fail those that went along
						o.readErr = err
						return nil
					}
					return err
				})
			}
		}
		return conn.(*stdlib.Conn).Conn().SendBatch(ctx, &statements).Close()
	})
}
