package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// Errors that callers tell apart.
var (
	ErrNotFound        = errors.New("no such patient")
	ErrVersionMismatch = errors.New("the patient is at another version")
	ErrBadCursor       = errors.New("not a cursor of this order")
	ErrHasFHIRID       = errors.New("the patient has a FHIR id: its contact is not changed in the cache alone")
	ErrNoFHIRID        = errors.New("the patient has no FHIR id")
	ErrBusy            = errors.New("another update of the patient is open, or the idempotency key is in use")
	ErrLostLease       = errors.New("the update belongs to another process, or is settled")
)

// Store is the cache. It is safe for concurrent use.
type Store struct {
	read     *bun.DB // equals write on PostgreSQL and for an SQLite database in memory
	write    *bun.DB // on SQLite one connection: SQLite has one writer
	journal  *bun.DB // what the committers use; on SQLite it equals write
	postgres bool
	config   pgx.ConnConfig // of PostgreSQL
	file     *sqliteFile    // of SQLite, nil in memory

	mu       sync.Mutex
	prepared map[columnSet]*sql.Stmt // of Patient

	searches   chan struct{}        // has a place for each list or count; see search
	statements map[string]*sql.Stmt // of the journal, by text; see prepare
	dialects   sync.Map             // of dialect
	commits    *batcher[*commit]
	singles    *batcher[*single] // PostgreSQL only
	begins     *batcher[*single] // likewise
}

// How many commit the journal, and how much goes into one transaction at most
// (Benchmark512Clients). SQLite has one writer; on PostgreSQL there are
// several, so that one that waits for a locked row does not stop the others.
const (
	postgresCommitters = 4
	postgresTogether   = 16
	sqliteTogether     = 256
)

// Open connects to "sqlite:PATH", "sqlite::memory:" or "postgres://…". It
// does not migrate. Its errors hold no password. ErrNewerSchema.
func Open(ctx context.Context, databaseURL string) (*Store, error) {
	s := &Store{
		prepared: map[columnSet]*sql.Stmt{}, statements: map[string]*sql.Stmt{},
	}
	path, isSQLite := strings.CutPrefix(databaseURL, "sqlite:")
	switch {
	case isSQLite && path != "":
		if err := s.openSQLite(path); err != nil {
			return nil, err
		}
		s.journal = s.write
	case strings.HasPrefix(databaseURL, "postgres://"), strings.HasPrefix(databaseURL, "postgresql://"):
		if err := s.openPostgres(databaseURL); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("a database is sqlite:PATH, sqlite::memory: or postgres://…")
	}
	workers, most := 1, sqliteTogether
	if s.postgres {
		workers, most = postgresCommitters, postgresTogether
		s.singles = newBatcher(workers, most, s.pipeline)
		s.begins = newBatcher(workers, most, s.pipeline)
	}
	s.commits = newBatcher(workers, most, s.runTogether)
	if err := s.reach(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), s.Close())
	}
	return s, nil
}

// reach makes sure of the database before it is used. ErrNewerSchema.
func (s *Store) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.Ping(ctx); err != nil {
		return err
	}
	return s.checkSchema(ctx)
}

func (s *Store) openSQLite(path string) error {
	if path == ":memory:" {
		pool := sql.OpenDB(sqliteConnector{sqliteDriver(), ":memory:?_pragma=foreign_keys(1)&_txlock=immediate", nil})
		pool.SetMaxOpenConns(1) // a second connection would be another database
		s.write = bun.NewDB(pool, sqlitedialect.New())
		s.read, s.searches = s.write, make(chan struct{}, 1)
		return nil
	}
	file, err := openFile(path)
	if err != nil {
		return err
	}
	s.file = file
	name := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	// FULL: a commit that was answered survives a power cut, for LOCAL_ONLY
	// patients are nowhere else.
	const pragmas = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)"
	write := sql.OpenDB(sqliteConnector{sqliteDriver(), name + pragmas + "&_pragma=cache_size(-32000)&_txlock=immediate", file}) // 32 MB: an import writes all over the name index
	write.SetMaxOpenConns(1)
	s.write = bun.NewDB(write, sqlitedialect.New())
	read := sql.OpenDB(sqliteConnector{sqliteDriver(), name + pragmas + "&_pragma=query_only(1)", file})
	size := max(4, runtime.GOMAXPROCS(0)*2)
	read.SetMaxOpenConns(size)
	read.SetMaxIdleConns(size)
	s.searches = make(chan struct{}, size/2)
	s.read = bun.NewDB(read, sqlitedialect.New())
	return nil
}

func (s *Store) openPostgres(databaseURL string) error {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return errors.New("open database: the postgres URL cannot be read") // pgx would repeat it
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	s.config, s.postgres = *config, true
	const size = 32
	s.read = postgresPool(s.config, size, "5s", readTimeout)
	s.write = s.read
	s.searches = make(chan struct{}, size/2)
	// A committer does not wait long for a row: behind it wait other patients.
	// Its statements have no timeout: one would end a commit's wait for the
	// standby as if the standby had it.
	s.journal = postgresPool(s.config, 3*postgresCommitters+4, "200ms", 0)
	return nil
}

// connectTimeout bounds the making of a connection where the URL does not
// (connect_timeout): database/sql makes some for no request, which have no other
// end.
const connectTimeout = 10 * time.Second

// readTimeout is when PostgreSQL ends a read by itself: whoever asked has gone
// (a request has 10 s), perhaps unheard.
const readTimeout = 15 * time.Second

// postgresPool bounds how long a statement waits for a row, and how long a
// replica that stands still in a transaction keeps one; statementTimeout, unless
// it is 0, how long a statement runs.
func postgresPool(config pgx.ConnConfig, size int, lockTimeout string, statementTimeout time.Duration) *bun.DB {
	config.RuntimeParams = maps.Clone(config.RuntimeParams)
	config.RuntimeParams["standard_conforming_strings"] = "on" // no text of ours depends on it
	config.RuntimeParams["statement_timeout"] = strconv.FormatInt(statementTimeout.Milliseconds(), 10)
	config.RuntimeParams["random_page_cost"] = "1.1"                         // the cache is in memory: what an index covers is not read from the table
	config.RuntimeParams["default_transaction_isolation"] = "read committed" // a statement sees what the one before waited for
	config.RuntimeParams["lock_timeout"] = lockTimeout
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	pool := stdlib.OpenDB(config)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(pool, pgdialect.New())
}

// pingTimeout bounds a Ping whose caller does not.
const pingTimeout = 10 * time.Second

// Ping reports whether the database can be reached, and is the one that was
// opened (ErrReplaced).
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := s.file.check(); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	if err := s.write.PingContext(ctx); err != nil {
		return fmt.Errorf("ping database: %w", redacted(err))
	}
	if err := s.read.PingContext(ctx); err != nil {
		return fmt.Errorf("ping database: %w", redacted(err))
	}
	return nil
}

// redacted drops the connection string that pgx puts into connect errors.
func redacted(err error) error {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		return urlError.Err
	}
	return err
}

// Close lets what is being committed finish and closes every connection.
func (s *Store) Close() error {
	var last sync.WaitGroup
	last.Go(s.commits.close)
	if s.postgres {
		last.Go(s.singles.close)
		last.Go(s.begins.close)
	}
	last.Wait()
	err := s.write.Close()
	if s.read != nil && s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	if s.journal != nil && s.journal != s.write {
		err = errors.Join(err, s.journal.Close())
	}
	return err
}
