package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"
)

// commit is work waiting for its transaction.
type commit struct {
	queued
	work  work
	alone runInTx // how it is run where nothing goes along; nil: as with others
}

// work is what is done in a transaction. It may run twice. Errors that
// isExpected knows are returned only before anything was written: the
// transaction goes on without it.
type work func(ctx context.Context, tx bun.Tx) error

// runInTx is as bun's RunInTx.
type runInTx func(ctx context.Context, options *sql.TxOptions, work func(context.Context, bun.Tx) error) error

// transact runs work in one transaction with what others want committed at
// the same time.
func (s *Store) transact(patientID string, w work) error {
	return s.commits.do(&commit{queued: queued{patientID: patientID}, work: w})
}

func (s *Store) runTogether(batch []*commit) error {
	if err := s.file.check(); err != nil {
		return errors.Join(errNotBegun, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	run := s.inTx
	if len(batch) == 1 && batch[0].alone != nil {
		run = batch[0].alone
	}
	begun := false
	err := run(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		begun = true
		for _, c := range batch {
			c.err = c.work(ctx, tx)
			if c.err != nil && !isExpected(c.err) {
				return c.err
			}
		}
		return s.file.check()
	})
	if err != nil && !begun {
		return errors.Join(errNotBegun, err)
	}
	return err
}

// retryAlone repeats what failed, alone: it may have failed for another's sake, or
// with the connection, and all work may run twice. For as long as a commit may
// take it repeats what waits for a row that somebody else has locked.
func retryAlone(err error, run func() error) error {
	once := err != nil && !errors.Is(err, errNotBegun) && !errors.Is(err, context.DeadlineExceeded)
	for deadline := time.Now().Add(commitTimeout); once || isLocked(err) && time.Now().Before(deadline); once = false {
		err = run()
	}
	return err
}

func isExpected(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoFHIRID) || errors.Is(err, ErrHasFHIRID) ||
		errors.Is(err, ErrVersionMismatch) || errors.Is(err, ErrBusy) || errors.Is(err, ErrLostLease)
}
