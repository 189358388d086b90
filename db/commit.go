package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
)

// commitTimeout bounds one transaction of the journal, waiting included.
const commitTimeout = 15 * time.Second

// queued is what waits to be committed, alone or with others.
type queued struct {
	patientID string
	until     time.Time // from then on it is not begun
	err       error
	done      chan struct{}
}

func newQueued(patientID string) queued {
	return queued{patientID: patientID, until: time.Now().Add(commitTimeout), done: make(chan struct{})}
}

// commit is work waiting for its transaction.
type commit struct {
	queued
	work   work
	single bool // one statement: alone it needs no BEGIN and COMMIT
	begins bool // alone it need not wait for the disk, see notDurable
}

// work is what is done in a transaction. It may run twice. Errors that
// isExpected knows are returned only before anything was written: the
// transaction goes on without it.
type work func(ctx context.Context, tx bun.Tx) error

var errClosed = errors.New("the database is closed")

// together runs work in one transaction with what others want committed at
// the same time: a commit waits for the disk, and many can wait together. It
// returns when the work is durable, whatever happens to the caller meanwhile.
func (s *Store) together(patientID string, w work) error {
	return s.wait(&commit{queued: newQueued(patientID), work: w})
}

func (s *Store) wait(c *commit) error {
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		return errClosed
	}
	s.commits <- c
	s.closing.RUnlock()
	<-c.done
	return c.err
}

// gather returns what waits in a queue behind first, at most that many, in one
// order everywhere: two replicas cannot wait for each other. What has waited too
// long, for a database that stands still, ends here: its caller has gone.
func gather[T any](first T, queue <-chan T, most int, of func(T) *queued) []T {
	batch := []T{first}
	for len(batch) < most {
		select {
		case next, open := <-queue:
			if open {
				batch = append(batch, next)
				continue
			}
		default:
		}
		break
	}
	now := time.Now()
	batch = slices.DeleteFunc(batch, func(t T) bool {
		q := of(t)
		late := now.After(q.until)
		if late {
			q.err = errors.Join(errNotBegun, errLate)
			close(q.done)
		}
		return late
	})
	slices.SortStableFunc(batch, func(a, b T) int { return strings.Compare(of(a).patientID, of(b).patientID) })
	return batch
}

var errLate = errors.New("the database did not come to it in time")

// committer takes what is waiting and commits it, until the queue is closed.
func (s *Store) committer() {
	for first := range s.commits {
		batch := gather(first, s.commits, s.maxTogether, func(c *commit) *queued { return &c.queued })
		if len(batch) == 0 {
			continue
		}
		err := s.runTogether(batch)
		for _, c := range batch {
			if err == nil {
				close(c.done)
				continue
			}
			s.committers.Go(func() { // one must not fail the others, nor keep them waiting
				if err := again(err, func() error { return s.runTogether([]*commit{c}) }); err != nil {
					c.err = err
				}
				close(c.done)
			})
		}
	}
}

// again repeats what failed, alone: it may have failed for another's sake, or
// with the connection, and all work may run twice. For as long as a commit may
// take it repeats what waits for a row that somebody else has locked.
func again(err error, run func() error) error {
	once := err != nil && !errors.Is(err, errNotBegun) && !errors.Is(err, context.DeadlineExceeded)
	for deadline := time.Now().Add(commitTimeout); once || isLocked(err) && time.Now().Before(deadline); once = false {
		err = run()
	}
	return err
}

// isLocked tells whether PostgreSQL gave up waiting for a row: lock_timeout, or
// a deadlock that it broke.
func isLocked(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "55P03" || e.Code == "40P01")
}

func (s *Store) runTogether(batch []*commit) error {
	if err := s.file.check(); err != nil {
		return errors.Join(errNotBegun, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	runInTx := s.journal.RunInTx
	if c := batch[0]; len(batch) == 1 {
		switch {
		case c.single:
			c.err = nil
			return c.work(ctx, bun.Tx{})
		case c.begins:
			runInTx = s.runUnsynced
		}
	}
	begun := false
	err := runInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
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

// errNotBegun is nobody's own fault: to try each alone would fail as well.
var errNotBegun = errors.New("no transaction could be begun")

func isExpected(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoFHIRID) || errors.Is(err, ErrHasFHIRID) ||
		errors.Is(err, ErrVersionMismatch) || errors.Is(err, ErrBusy) || errors.Is(err, ErrLostLease)
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
