package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"patientgraph/db/dbtest"
)

// watch sees the text of every statement that a store runs.
type watch struct {
	mu    sync.Mutex
	texts []string
}

func (w *watch) saw(text string) {
	if text == "-- ping" { // pgx asks whether a connection that was idle for a second is there
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// take returns what was seen since the last time.
func (w *watch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// watched runs a test on an SQLite file and on PostgreSQL, and shows it the
// texts of the statements.
func watched(t *testing.T, test func(t *testing.T, s *Store, w *watch)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		s, w := watchedSQLite(t)
		test(t, s, w)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		p := newProxy(t, dbtest.Postgres(t))
		s := openStore(t, p.url)
		p.take()
		test(t, s, &p.watch)
	})
}

func watchedSQLite(t testing.TB) (*Store, *watch) {
	w := &watch{}
	s := openStore(t, dbtest.SQLite(t))
	for _, pool := range []**bun.DB{&s.read, &s.write} {
		name := "file:" + escapePath(s.file.path) + "?_txlock=immediate"
		opened := sql.OpenDB(sqliteConnector{watchedDriver{sqliteDriver(), w}, name, s.file, []string{waitForLock}})
		opened.SetMaxOpenConns(1)
		if err := (*pool).Close(); err != nil {
			t.Fatal(err)
		}
		*pool = bun.NewDB(opened, sqlitedialect.New())
	}
	s.database = watchedReads{s.database, w}
	s.journal, s.statements = s.write, map[*statement]*sql.Stmt{}
	if err := s.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.take()
	return s, w
}

// watchedReads sees what is read without the driver.
type watchedReads struct {
	database
	w *watch
}

func (r watchedReads) eachPrepared(ctx context.Context, text string, args []any, read func(resultRow) error) error {
	r.w.saw(text)
	return r.database.eachPrepared(ctx, text, args, read)
}

type watchedDriver struct {
	driver.Driver
	w *watch
}

func (d watchedDriver) Open(name string) (driver.Conn, error) {
	conn, err := d.Driver.Open(name)
	return watchedConn{conn, d.w}, err
}

type watchedConn struct {
	driver.Conn
	w *watch
}

func (c watchedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	c.w.saw(text)
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
}

func (c watchedConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.w.saw(text)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args)
}

func (c watchedConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.w.saw(text)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
}

func (c watchedConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, options)
}

// proxy stands before PostgreSQL. It sees the statements, and can freeze: then
// nothing passes in either direction, and no connection ends.
type proxy struct {
	watch
	url    string
	frozen sync.RWMutex // write-locked while nothing passes
	kept   watch        // the names of statements that are to stay in a session
	asked  watch        // the settings of sessions that are asked for at their start
}

func newProxy(t testing.TB, databaseURL string) *proxy {
	t.Helper()
	p := &proxy{}
	p.url = dbtest.Between(t, databaseURL, func(in, out net.Conn) {
		go func() {
			defer out.Close()
			p.passStatements(out, in)
		}()
		defer in.Close()
		p.pass(in, out)
	})
	return p
}

// pass hands on what comes, until a side ends.
func (p *proxy) pass(to io.Writer, from io.Reader) {
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if p.write(to, buf[:n]) != nil || err != nil {
			return
		}
	}
}

func (p *proxy) write(to io.Writer, data []byte) error {
	p.frozen.RLock()
	defer p.frozen.RUnlock()
	_, err := to.Write(data)
	return err
}

// passStatements hands on what a client sends, and notes the texts in each message before
// that: whatever was answered was seen.
func (p *proxy) passStatements(to io.Writer, from io.Reader) {
	start, err := message(from, 0)
	if err != nil {
		return
	}
	var startup pgproto3.StartupMessage
	isSession := startup.Decode(start[4:]) == nil
	for setting := range startup.Parameters {
		p.asked.saw(setting)
	}
	if p.write(to, start) != nil {
		return
	}
	if !isSession { // it asks for TLS, or cancels
		p.pass(to, from)
		return
	}
	for {
		m, err := message(from, 1)
		if err != nil {
			return
		}
		var parse pgproto3.Parse
		var query pgproto3.Query
		switch {
		case m[0] == 'P' && parse.Decode(m[5:]) == nil:
			p.saw(parse.Query)
			if parse.Name != "" {
				p.kept.saw(parse.Name)
			}
		case m[0] == 'Q' && query.Decode(m[5:]) == nil:
			p.saw(query.String)
		}
		if p.write(to, m) != nil {
			return
		}
	}
}

// message reads one whole message: so many bytes that tell its kind, its length in four
// bytes, which count themselves, and the rest.
func message(from io.Reader, kind int) ([]byte, error) {
	m := make([]byte, kind+4)
	if _, err := io.ReadFull(from, m); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(m[kind:])-4)
	_, err := io.ReadFull(from, rest)
	return append(m, rest...), err
}
