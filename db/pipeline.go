package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
)

// single is one statement waiting for its round trip.
type single struct {
	patientID string
	text      string
	args      []any
	changed   int64
	err       error
	done      chan struct{}
}

// one commits one statement, and returns how many rows it changed. On
// PostgreSQL what others want at the same time goes along in one round trip;
// on SQLite there is none.
func (s *Store) one(patientID, text string, args ...any) (changed int64, err error) {
	if !s.postgres {
		err = s.wait(&commit{patientID: patientID, single: true, done: make(chan struct{}), work: func(ctx context.Context, tx bun.Tx) (err error) {
			changed, err = s.exec(ctx, tx, text, args...)
			return err
		}})
		return changed, err
	}
	o := &single{patientID: patientID, text: text, args: args, done: make(chan struct{})}
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		return 0, errClosed
	}
	s.singles <- o
	s.closing.RUnlock()
	<-o.done
	return o.changed, o.err
}

// pipeliner takes what is waiting and sends it, until the queue is closed.
func (s *Store) pipeliner() {
	for first := range s.singles {
		batch := gather(first, s.singles, s.maxTogether, func(o *single) string { return o.patientID })
		err := s.pipeline(batch)
		for _, o := range batch {
			if err == nil {
				close(o.done)
				continue
			}
			s.committers.Go(func() { // one must not fail the others, nor keep them waiting
				o.err = again(err, func() error { return s.pipeline([]*single{o}) })
				close(o.done)
			})
		}
	}
}

// pipeline sends statements together: they are committed together, or none is.
func (s *Store) pipeline(batch []*single) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if o := batch[0]; len(batch) == 1 {
		var err error
		o.changed, err = s.exec(ctx, bun.Tx{}, o.text, o.args...)
		return err
	}
	conn, err := s.journal.DB.Conn(ctx)
	if err != nil {
		return errors.Join(errNotBegun, err)
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error {
		var queued pgx.Batch
		for _, o := range batch {
			queued.Queue(s.dialect(o.text), o.args...)
		}
		results := driver.(*stdlib.Conn).Conn().SendBatch(ctx, &queued)
		for _, o := range batch {
			tag, err := results.Exec()
			if err != nil {
				return errors.Join(err, results.Close())
			}
			o.changed = tag.RowsAffected()
		}
		return results.Close()
	})
}
