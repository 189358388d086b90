package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	quick "zombiezen.com/go/sqlite"
)

// fileReaders are connections to an SQLite file for what is read most. database/sql makes of
// each value a second one, and its driver has SQLite take a lock for each: that was half of what
// a page asks of the database.
type fileReaders struct {
	file   *sqliteFile
	places chan struct{} // one for each connection
	mu     sync.Mutex
	idle   []*fileReader // the last one that was used is used next: it has read most already
	closed bool
}

// fileReader is one connection. One goroutine at a time has it.
type fileReader struct {
	*quick.Conn
	prepared *lru.Cache[string, *quick.Stmt]
}

func newFileReaders(file *sqliteFile, size int) *fileReaders {
	return &fileReaders{file: file, places: make(chan struct{}, size)}
}

// close waits for those who read.
func (f *fileReaders) close() {
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

// each is eachPrepared.
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
	err = r.each(text, args, read)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // SQLite was interrupted for it
	}
	return err
}

func (f *fileReaders) take() (*fileReader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	last := len(f.idle) - 1
	if last < 0 {
		return f.open()
	}
	r := f.idle[last]
	f.idle = f.idle[:last]
	return r, nil
}

func (f *fileReaders) giveBack(r *fileReader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = append(f.idle, r)
}

// open opens a connection to this file, and to no other that came in its place.
func (f *fileReaders) open() (*fileReader, error) {
	conn, err := quick.OpenConn("file:"+escapePath(f.file.path), quick.OpenReadOnly, quick.OpenURI)
	if err != nil {
		return nil, errors.Join(f.file.check(), err)
	}
	if err := f.file.check(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	conn.SetBusyTimeout(lockTimeout)
	prepared, _ := lru.NewWithEvict(maxPrepared, func(_ string, s *quick.Stmt) { _ = s.Finalize() }) // whose last error was told
	return &fileReader{conn, prepared}, nil
}

func (r *fileReader) each(text string, args []any, read func(resultRow) error) error {
	statement, known := r.prepared.Get(text)
	if !known {
		var err error
		if statement, err = r.Prepare(text); err != nil {
			return err
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
		if err != nil || !more {
			return err
		}
		if err := read(fileRow{statement}); err != nil {
			return err
		}
	}
}

// fileRow is the row where a statement stands.
type fileRow struct{ *quick.Stmt }

// Scan is as that of database/sql, for what a Patient keeps columns in: see columnOf.
func (r fileRow) Scan(into ...any) error {
	for n, to := range into {
		var err error
		switch to := to.(type) {
		case *string:
			if *to = r.ColumnText(n); r.ColumnIsNull(n) {
				err = errors.New("it holds NULL")
			}
		case *int64:
			if *to = r.ColumnInt64(n); r.ColumnType(n) != quick.TypeInteger {
				err = fmt.Errorf("it holds %v", r.ColumnType(n))
			}
		case sql.Scanner:
			err = to.Scan(r.value(n))
		}
		if err != nil {
			return fmt.Errorf("read column %s: %w", r.ColumnName(n), err)
		}
	}
	return nil
}

func (r fileRow) value(n int) any {
	switch r.ColumnType(n) {
	case quick.TypeNull:
		return nil
	case quick.TypeInteger:
		return r.ColumnInt64(n)
	}
	return r.ColumnText(n)
}
