package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// Errors that callers tell apart.
var (
	ErrNotFound        = errors.New("no such patient")
	ErrVersionMismatch = errors.New("the patient is at another version")
	ErrBadCursor       = errors.New("not a cursor of this order")
	ErrHasFHIRID       = errors.New("the patient has a FHIR id: its contact is not changed in the cache alone")
	ErrNoFHIRID        = errors.New("the patient has no FHIR id")
	ErrBusy            = errors.New("another update of the patient is open, or the idempotency key is in use")
	ErrLostLease       = errors.New("another process has the lease by now, or what it was for is settled")
)

// Store is the cache. It is safe for concurrent use.
type Store struct {
	database
	// LocalID returns the FHIR id on our server that a link between Patients names, ""
	// where it leads elsewhere. nil: only what is no URL is on our server.
	LocalID func(reference string) string
	// NewID makes the operationIds of what an import writes into the journal.
	NewID func() string
	// Caller names who asks: lists and counts of different callers are served in turn.
	Caller func(context.Context) string
	// Log says what became of values that are recorded here alone.
	Log *slog.Logger

	read    *bun.DB     // equals write on PostgreSQL and for an SQLite database in memory
	write   *bun.DB     // on SQLite one connection: SQLite has one writer
	journal *bun.DB     // what commits use; on SQLite it equals write
	file    *sqliteFile // nil in memory and on PostgreSQL

	pooled bool // see pooler.go

	mu          sync.Mutex
	keptReads   keptTexts                // of one patient, by columnSet; see each
	keptLookups keptTexts                // of several patients, by columnSet
	keptPages   keptTexts                // of pages, by text
	statements  map[*statement]*sql.Stmt // see prepare; none behind a pooler

	effort     effort        // of a page
	searches   *places       // of lists and counts; see search
	numbers    chan struct{} // has a place for the one that numbers changes
	wrote      chan struct{} // see Wrote
	imported   atomic.Int64  // nanoseconds since the last rest, see letIn
	commits    *batcher[*commit]
	lookups    *batcher[*lookup] // of one patient each; nil: in memory, where none waits
	asking     atomic.Int64      // how many look a patient up
	lookupEnds ends
	queues     []func() // each lets finish what is queued, or who reads
}

// database is what SQLite and PostgreSQL do differently.
type database interface {
	// translate writes a statement's arguments, its clock and its row locks as
	// the database wants them.
	translate(text string) string
	// list is the argument of "= ANY(?)".
	list(values []string) any
	// once returns the arguments of a statement that is made anew for each use.
	once(args []any) []any
	// eachPrepared runs a SELECT that each connection prepares once, and calls read with each
	// row. Its text is as translate returns it.
	eachPrepared(ctx context.Context, text string, args []any, read func(resultRow) error) error
	// insert writes new rows, whose values stand one after the other: each a string, an
	// int64 or nil.
	insert(ctx context.Context, tx bun.Tx, into *intoRows, values []any) error
	// letIn rests where a process that imported for so long kept others from writing.
	letIn(imported time.Duration)
	// along names a table that is to be read in the order of an index.
	along(table, index string) string
	// among asks that id is one of those selected, and is looked up in its index.
	among(selected string) string

	// runOne commits one statement, and returns how many rows it changed.
	runOne(patientID string, st *statement, args ...any) (int64, error)
	// begin runs beginUpdate and reads the patient after it. ErrNotFound.
	begin(patientID string, args ...any) (changed int64, p *Patient, err error)
	// send runs sendUpdate and marks the patient. ErrLostLease.
	send(patientID string, args ...any) error
	// closeAtOnce closes the usual update in one round trip. nil: this is none,
	// and nothing was written.
	closeAtOnce(c Closing) (told *Patient, err error)

	// checkSession makes sure that sessions are as they were asked for.
	checkSession(ctx context.Context) error
	// tables is a SELECT of how many tables have a name.
	tables() string
	migrate(ctx context.Context, version int64) error
}

// Open connects to "sqlite:PATH", "sqlite::memory:" or "postgres://…", with
// "pool=transaction" behind a pooler. It does not migrate. Its errors hold no
// password. ErrNewerSchema.
func Open(ctx context.Context, databaseURL string) (*Store, error) {
	s := &Store{NewID: func() string { return uuid.Must(uuid.NewV7()).String() }, Log: slog.New(slog.DiscardHandler), Caller: func(context.Context) string { return "" },
		keptReads: newKeptTexts(), keptLookups: newKeptTexts(), keptPages: newKeptTexts(), statements: map[*statement]*sql.Stmt{}, numbers: make(chan struct{}, 1), wrote: make(chan struct{}, 1),
		effort: usualEffort}
	path, isSQLite := strings.CutPrefix(databaseURL, "sqlite:")
	var err error
	switch {
	case isSQLite && (strings.Contains(path, "?pool=") || strings.Contains(path, "&pool=")):
		err = errors.New("open database: pool=… is for PostgreSQL behind a pooler; SQLite has none")
	case isSQLite && path != "":
		err = s.openSQLite(path)
	case strings.HasPrefix(databaseURL, "postgres://"), strings.HasPrefix(databaseURL, "postgresql://"):
		err = s.openPostgres(databaseURL)
	default:
		err = errors.New("a database is sqlite:PATH, sqlite::memory: or postgres://…")
	}
	if err != nil {
		return nil, err
	}
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
	if err := s.checkSession(ctx); err != nil {
		return err
	}
	return s.checkSchema(ctx)
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

// Close lets what is being committed finish and closes every connection.
func (s *Store) Close() error {
	var closing sync.WaitGroup
	for _, queue := range s.queues {
		closing.Go(queue)
	}
	closing.Wait()
	return errors.Join(s.write.Close(), s.read.Close(), s.journal.Close())
}
