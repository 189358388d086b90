package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	zombiezen "zombiezen.com/go/sqlite"
)

// fileReaders are connections to an SQLite file for what is read most. database/sql makes of
// each value a second one, and its driver has SQLite take a lock for each: that was half of the
// time that a page took in the database.
type fileReaders struct {
	file    *sqliteFile
	places  chan struct{} // one for each connection
	closing sync.Mutex    // held while close waits: two would take places from each other

	mu     sync.Mutex
	idle   []*fileReader // the last one that was used is used next: pages and statements are in its memory
	closed bool
}

// fileReader is one connection. One goroutine at a time has it.
type fileReader struct {
	*zombiezen.Conn
	prepared *lru.Cache[string, *zombiezen.Stmt]
	broken   bool // it cannot read its file; another may
}

func newFileReaders(file *sqliteFile, size int) *fileReaders {
	return &fileReaders{file: file, places: make(chan struct{}, size)}
}

// close waits for those who read.
func (f *fileReaders) close() {
	f.closing.Lock()
	defer f.closing.Unlock()
	for range cap(f.places) {
		f.places <- struct{}{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.idle {
		_ = r.Close() // it has written nothing
	}
	f.idle, f.closed = nil, true
	for range cap(f.places) {
		<-f.places
	}
}

// each runs a SELECT on a connection that is free, or a new one, and calls read with each row.
func (f *fileReaders) each(ctx context.Context, text string, args []any, read func(resultRow) error) error {
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r, err := f.take()
	if err != nil {
		return err
	}
	defer f.giveBack(r)
	if done := ctx.Done(); done != nil {
		r.SetInterrupt(done)
		defer r.SetInterrupt(nil)
	}
	err = r.run(text, args, read)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // SQLite was interrupted for it
	}
	return err
}

// take is for who has a place.
func (f *fileReaders) take() (*fileReader, error) {
	f.mu.Lock()
	last, closed := len(f.idle)-1, f.closed
	if closed || last < 0 {
		f.mu.Unlock()
		if closed {
			return nil, errClosed
		}
		return f.open()
	}
	defer f.mu.Unlock()
	r := f.idle[last]
	f.idle = f.idle[:last]
	return r, nil
}

func (f *fileReaders) giveBack(r *fileReader) {
	if r.broken {
		_ = r.Close() // its error was told
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = append(f.idle, r)
}

// open opens a connection to this file, and to no other that came in its place.
func (f *fileReaders) open() (*fileReader, error) {
	conn, err := zombiezen.OpenConn("file:"+escapePath(f.file.path), zombiezen.OpenReadOnly, zombiezen.OpenURI)
	if err != nil {
		return nil, errors.Join(f.file.check(), err)
	}
	if err := f.file.check(); err != nil { // nothing was read yet, see sqliteConnector
		return nil, errors.Join(err, conn.Close())
	}
	conn.SetBusyTimeout(lockTimeout)
	prepared, _ := lru.NewWithEvict(maxKept, func(_ string, s *zombiezen.Stmt) { _ = s.Finalize() }) // Step has returned its error
	return &fileReader{Conn: conn, prepared: prepared}, nil
}

func (r *fileReader) run(text string, args []any, read func(resultRow) error) error {
	statement, known := r.prepared.Get(text)
	if !known {
		var err error
		if statement, err = r.Prepare(text); err != nil {
			return r.fault(err)
		}
		r.prepared.Add(text, statement)
	}
	defer statement.Reset() // its error is that of Step
	for n, arg := range args {
		switch arg := arg.(type) {
		case string:
			statement.BindText(n+1, arg)
		case int64:
			statement.BindInt64(n+1, arg)
		default:
			return fmt.Errorf("argument %d of a statement is %T", n+1, arg)
		}
	}
	for {
		more, err := statement.Step()
		if err != nil {
			return r.fault(err)
		}
		if !more {
			return nil
		}
		if err := read(fileRow{statement}); err != nil {
			return err
		}
	}
}

// fault gives an error of SQLite its number.
func (r *fileReader) fault(err error) error {
	code := zombiezen.ErrCode(err)
	r.broken = !slices.Contains([]zombiezen.ResultCode{zombiezen.ResultError, zombiezen.ResultInterrupt, zombiezen.ResultBusy}, code.ToPrimary())
	return fmt.Errorf("%w (%d)", err, code)
}

// fileRow is the row where a statement stands.
type fileRow struct{ *zombiezen.Stmt }

// Scan reads into what a Patient keeps columns in (see columnOf), and makes no number of a text.
func (r fileRow) Scan(into ...any) error {
	for n, to := range into {
		var err error
		switch to := to.(type) {
		case *string:
			if *to = r.ColumnText(n); r.ColumnIsNull(n) {
				err = errors.New("it holds NULL")
			}
		case *int64:
			if *to = r.ColumnInt64(n); r.ColumnType(n) != zombiezen.TypeInteger {
				err = fmt.Errorf("it holds %v", r.ColumnType(n))
			}
		case sql.Scanner:
			err = to.Scan(r.value(n))
		default:
			err = fmt.Errorf("it cannot be read into %T", to)
		}
		if err != nil {
			return fmt.Errorf("read column %s: %w", r.ColumnName(n), err)
		}
	}
	return nil
}

func (r fileRow) value(n int) any {
	switch r.ColumnType(n) {
	case zombiezen.TypeNull:
		return nil
	case zombiezen.TypeInteger:
		return r.ColumnInt64(n)
	}
	return r.ColumnText(n)
}
