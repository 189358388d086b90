package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// sqlite is a file, or a database in memory.
type sqlite struct {
	s       *Store
	readers *fileReaders // nil in memory
}

func (s *Store) openSQLite(path string) error {
	// FULL: a commit that was answered survives a power cut, for LOCAL_ONLY
	// patients are nowhere else.
	pragmas := []string{waitForLock, "journal_mode = WAL", "foreign_keys = 1", "synchronous = FULL"}
	var readers *fileReaders
	searches := 1
	if path == ":memory:" {
		s.write = sqlitePool(":memory:?_txlock=immediate", nil, 1, "foreign_keys = 1") // a second connection would be another database
		s.read = s.write
	} else {
		file, err := openFile(path)
		if err != nil {
			return err
		}
		s.file = file
		name := "file:" + escapePath(path) + "?mode=rw"
		s.write = sqlitePool(name+"&_txlock=immediate", file, 1, append(pragmas, "cache_size = -32000")...) // 32 MB: an import writes all over the name index
		connections := max(4, runtime.GOMAXPROCS(0)*2)
		s.read = sqlitePool(name, file, connections, append(pragmas, "query_only = 1")...)
		readers = newFileReaders(file, connections)
		searches = connections / 2
		s.lookups = newBatcherInTurns(lookers, lookedUpAtOnce, s.lookUpTogether)
	}
	s.searches = newPlaces(searches)
	s.database, s.journal = sqlite{s, readers}, s.write
	s.commits = newBatcher(1, 256, s.runTogether) // there is one writer; Benchmark512Clients
	s.queues = []func(){s.commits.close}
	if s.lookups != nil {
		s.queues = append(s.queues, func() { s.lookups.close(); readers.close() })
	}
	return nil
}

// lockTimeout is how long a connection waits for another that writes.
const lockTimeout = 10 * time.Second

// waitForLock says it to a connection of database/sql.
var waitForLock = fmt.Sprintf("busy_timeout = %d", lockTimeout.Milliseconds())

// Who waits for the lock looks for it ten times a second at least, and would seldom find it
// between two batches of an import.
const (
	importFor = time.Second / 2
	restFor   = 110 * time.Millisecond
)

func (q sqlite) letIn(imported time.Duration) {
	if q.s.file == nil || q.s.imported.Add(int64(imported)) < int64(importFor) {
		return
	}
	q.s.imported.Store(0)
	time.Sleep(restFor)
}

func escapePath(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

func sqlitePool(name string, file *sqliteFile, size int, pragmas ...string) *bun.DB {
	pool := sql.OpenDB(sqliteConnector{sqliteDriver(), name, file, pragmas})
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return bun.NewDB(pool, sqlitedialect.New())
}

// forSQLite writes a statement as SQLite wants it: a transaction is the only
// writer anyway, so no row needs a lock.
var forSQLite = strings.NewReplacer(
	"NOW()", "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
	"FOR UPDATE SKIP LOCKED", "", "FOR UPDATE", "",
	"FOR NO KEY UPDATE SKIP LOCKED", "", "FOR NO KEY UPDATE", "", "FOR KEY SHARE", "",
	"= ANY(?)", "IN (SELECT value FROM json_each(?))", // see list
	"strpos(", "instr(")

func (sqlite) translate(text string) string { return forSQLite.Replace(text) }

func (sqlite) list(values []string) any {
	text, _ := json.Marshal(values) // strings always encode
	return string(text)
}

func (sqlite) once(args []any) []any { return args }

// along: SQLite does not know what LIMIT means.
func (sqlite) along(table, index string) string { return table + " INDEXED BY " + index }

func (sqlite) among(selected string) string { return "id IN (" + selected + ")" }

func (q sqlite) eachPrepared(ctx context.Context, text string, args []any, read func(resultRow) error) error {
	if q.readers == nil { // nobody else can open what is in memory
		rows, err := q.s.read.DB.QueryContext(ctx, text, args...)
		return eachRow(rows, err, read)
	}
	return q.readers.each(ctx, text, args, read)
}

func (q sqlite) runOne(patientID string, st *statement, args ...any) (changed int64, err error) {
	err = q.s.commits.do(&commit{queued: queued{patientID: patientID}, alone: withoutTx, work: func(ctx context.Context, tx bun.Tx) (err error) {
		changed, err = q.s.exec(ctx, tx, st, args...)
		return err
	}})
	return changed, err
}

// withoutTx runs one statement, which needs no BEGIN and COMMIT.
func withoutTx(ctx context.Context, _ *sql.TxOptions, work func(context.Context, bun.Tx) error) error {
	return work(ctx, bun.Tx{})
}

// begin: where nothing goes along it does not wait for the disk, see notDurable.
func (q sqlite) begin(patientID string, args ...any) (changed int64, p *Patient, err error) {
	err = q.s.commits.do(&commit{queued: queued{patientID: patientID}, alone: q.unsynced, work: func(ctx context.Context, tx bun.Tx) (err error) {
		if changed, err = q.s.exec(ctx, tx, beginUpdate, args...); err == nil {
			p, err = q.s.lockedRow(ctx, tx, patientID)
		}
		return err
	}})
	return changed, p, err
}

// unsynced runs a transaction that does not wait for the disk.
func (q sqlite) unsynced(ctx context.Context, options *sql.TxOptions, work func(context.Context, bun.Tx) error) error {
	conn, err := q.s.journal.Conn(ctx)
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

func (q sqlite) send(patientID string, args ...any) error {
	return q.s.changeAndMark(patientID, sendUpdate, markPending, patientID, args...)
}

func (sqlite) closeAtOnce(Closing) (*Patient, error) { return nil, nil } // there is no round trip

func (sqlite) checkSession(context.Context) error { return nil } // it has none

func (sqlite) tables() string { return "SELECT count(*) FROM sqlite_schema WHERE name = ?" }

func (q sqlite) migrate(ctx context.Context, version int64) error {
	return migrateFrom(ctx, "migrations/sqlite", version, goose.DialectSQLite3, q.s.write.DB)
}
