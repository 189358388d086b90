package resolvers

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"patientgraph/db"
	"patientgraph/graph"
)

// A changeCursor is a db.Patient.ChangeSeq in base 36, filled up with zeros: texts of
// one width have the order of their numbers.
const cursorWidth = 13 // of the greatest int64

func changeCursor(seq int64) string {
	text := strconv.FormatInt(seq, 36)
	return strings.Repeat("0", cursorWidth-len(text)) + text
}

var errBadChangeCursor = errors.New(`filter: changedAfter takes a changeCursor that this server has given, or "" for every patient: begin again with ""`)

// changedAfter reads a changeCursor that a client sent back; "" is 0.
func changedAfter(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	seq, err := strconv.ParseInt(cursor, 36, 64)
	if err != nil || seq < 0 || changeCursor(seq) != cursor {
		return 0, errBadChangeCursor
	}
	return seq, nil
}

// numberedWithin bounds how long a request waits until changes have their numbers.
// After a first fill there may be millions: what has none when that time is over comes
// with a later poll, for its number is greater than those told.
const numberedWithin = 3 * time.Second

// numberChanges gives what has changed its number. It returns the greatest one; 0, if
// it has to leave some to a later call: also where the database can be read at most.
func (r *Resolver) numberChanges(ctx context.Context) (last int64, err error) {
	within, cancel := context.WithTimeout(ctx, numberedWithin)
	defer cancel()
	last, err = r.Store.NumberChanges(within)
	switch {
	case err == nil:
		r.unnumbered.Store(false)
		return last, nil
	case ctx.Err() != nil:
		return 0, err
	case within.Err() != nil:
		return 0, nil
	case db.IsAway(err): // if it cannot be read either, who asked hears so of what is read next
		if !r.unnumbered.Swap(true) {
			r.Log.WarnContext(ctx, "changes cannot be numbered: they are told later", "error", err)
		}
		return 0, nil
	}
	return 0, err
}

// pollable numbers what a page of changes is to show, and refuses a cursor that was
// never given here: what changes from now on could have a lower number.
func (r *Resolver) pollable(ctx context.Context, above int64) error {
	last, err := r.numberChanges(ctx)
	switch {
	case err != nil:
		return r.internal(ctx, err)
	case last > 0 && above > last:
		return requestError(ctx, CodeBadUserInput, errBadChangeCursor.Error())
	}
	return nil
}

// cursorPause is between two looks at a row that somebody writes at the moment.
const cursorPause = 20 * time.Millisecond

// cursorOf returns the changeCursor of a patient as it is shown. What has changed again
// since, or gets no number in time, is told one below its number: changedAfter with it
// lists the patient once more. So an answer to a change never fails for it.
func (r *Resolver) cursorOf(ctx context.Context, p *graph.Patient) string {
	if p.ChangeSeq > 0 {
		return changeCursor(p.ChangeSeq)
	}
	within, cancel := context.WithTimeout(ctx, numberedWithin)
	defer cancel()
	var last, numbered int64
	for {
		known, err := r.Store.LastChange(within)
		if err == nil {
			last = known // before the row is read: its number is greater, unless it has one
			numbered, err = r.numberChanges(within)
		}
		var row *db.Patient
		if err == nil {
			row, err = r.Store.Patient(within, p.ID, db.ColChangeSeq, db.ColVersion)
		}
		switch {
		case err != nil:
			if ctx.Err() == nil && within.Err() == nil && !errors.Is(err, db.ErrNotFound) {
				r.Log.WarnContext(ctx, "a changeCursor could not be read: an older one was told", "error", err)
			}
			return changeCursor(last)
		case row.ChangeSeq > 0 && strconv.FormatInt(row.Version, 36) == p.Version:
			return changeCursor(row.ChangeSeq)
		case row.ChangeSeq > 0:
			return changeCursor(row.ChangeSeq - 1)
		case numbered == 0:
			return changeCursor(last)
		}
		select {
		case <-within.Done():
		case <-time.After(cursorPause):
		}
	}
}
