package db

import (
	"context"
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
		o := s.pipelined(s.singles, patientID, text, args)
		return o.changed, o.err
	}
	var changed int64
	err := s.wait(&commit{queued: newQueued(patientID), single: true, work: func(ctx context.Context, tx bun.Tx) (err error) {
		changed, err = s.exec(ctx, tx, text, args...)
		return err
	}})
	return changed, err
}

// begin runs a beginUpdate and reads the patient after it. ErrNotFound.
func (s *Store) begin(patientID string, args ...any) (changed int64, p *Patient, err error) {
	if s.postgres {
		o := s.pipelined(s.begins, patientID, beginUpdate, args)
		switch {
		case o.err != nil:
		case o.readErr != nil:
			o.err = o.readErr
		case o.patient == nil:
			o.err = ErrNotFound
		}
		return o.changed, o.patient, o.err
	}
	err = s.wait(&commit{queued: newQueued(patientID), begins: true, work: func(ctx context.Context, tx bun.Tx) (err error) {
		if changed, err = s.exec(ctx, tx, beginUpdate, args...); err == nil {
			p, err = s.lockedRow(ctx, tx, patientID)
		}
		return err
	}})
	return changed, p, err
}

func (s *Store) pipelined(queue chan<- *single, patientID, text string, args []any) *single {
	o := &single{queued: newQueued(patientID), text: text, args: args}
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		o.err = errClosed
		return o
	}
	queue <- o
	s.closing.RUnlock()
	<-o.done
	return o
}

// pipeliner takes what is waiting and sends it, until the queue is closed.
func (s *Store) pipeliner(queue <-chan *single) {
	for first := range queue {
		batch := gather(first, queue, s.maxTogether, func(o *single) *queued { return &o.queued })
		if len(batch) == 0 {
			continue
		}
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
	return conn.Raw(func(driver any) error {
		var queued pgx.Batch
		if batch[0].text == beginUpdate {
			queued.Queue(notDurable)
		}
		for _, o := range batch {
			queued.Queue(s.dialect(o.text), o.args...).Exec(func(tag pgconn.CommandTag) error {
				o.changed = tag.RowsAffected()
				return nil
			})
			if o.text == beginUpdate {
				queued.Queue(s.dialect(readPatient), clean(o.patientID)).QueryRow(func(row pgx.Row) (err error) {
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
		return driver.(*stdlib.Conn).Conn().SendBatch(ctx, &queued).Close()
	})
}
