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

// work is what is done in a transaction. It may run again. Errors that
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
	begun, done := false, false
	err := run(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		begun, done = true, false
		for _, c := range batch {
			c.err = c.work(ctx, tx)
			if c.err != nil && !isExpected(c.err) {
				return c.err
			}
		}
		err := s.file.check()
		done = err == nil
		return err
	})
	switch {
	case err != nil && !begun:
		return errors.Join(errNotBegun, err)
	case err != nil && done && !isFull(err):
		return errors.Join(ErrUnsure, err)
	}
	return err
}

// ErrUnsure: COMMIT failed, and whether it took place is not known.
var ErrUnsure = errors.New("it is not known whether the transaction was committed")

// retryAlone repeats what failed, alone: it may have failed for another's sake, and all
// work may run again. For as long as a commit may take it goes on while connections are found
// that were cut, or somebody else has the row locked.
func retryAlone(err error, run func() error) error {
	once := err != nil && !errors.Is(err, errNotBegun) && !errors.Is(err, context.DeadlineExceeded)
	unsure := errors.Is(err, ErrUnsure)
	deadline := time.Now().Add(commitTimeout)
	for cut := 0; once || (isLocked(err) || isCut(err) && cut < journalConnections) && time.Now().Before(deadline); once = false {
		if isCut(err) {
			cut++
		}
		err = run()
		unsure = unsure || errors.Is(err, ErrUnsure)
	}
	if err != nil && unsure && !errors.Is(err, ErrUnsure) { // an earlier one may have been committed
		err = errors.Join(ErrUnsure, err)
	}
	return err
}

func isExpected(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoFHIRID) || errors.Is(err, ErrHasFHIRID) ||
		errors.Is(err, ErrVersionMismatch) || errors.Is(err, ErrBusy) || errors.Is(err, ErrLostLease)
}
