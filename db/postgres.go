package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// postgres is a server. A statement goes there in one round trip with what
// others want at the same time.
type postgres struct {
	config  pgx.ConnConfig
	pooled  bool // a pooler in transaction mode stands before it, see pooler.go
	read    *bun.DB
	journal *bun.DB
	singles *batcher[*single]
	begins  *batcher[*single]
}

// How many commit the journal, and how much goes into one transaction at most
// (Benchmark512Clients). There are several, so that one that waits for a locked
// row does not stop the others.
const (
	postgresCommitters = 4
	postgresTogether   = 16
)

// How many connections the journal has at most, and what reads.
const (
	journalConnections = 3*postgresCommitters + 4
	readConnections    = 32
)

func (s *Store) openPostgres(databaseURL string) error {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return errors.New("open database: the postgres URL cannot be read") // pgx would repeat it
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if s.pooled, err = behindPooler(config.RuntimeParams); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	p := &postgres{config: *config, pooled: s.pooled}
	s.read = p.pool(readConnections, "5s", readTimeout)
	s.write, p.read = s.read, s.read
	s.searches = newPlaces(readConnections / 2)
	// A committer does not wait long for a row: behind it wait other patients.
	// Its statements have no timeout: one would end a commit's wait for the
	// standby as if the standby had it.
	s.journal = p.pool(journalConnections, journalLockTimeout, 0)
	p.journal = s.journal
	p.singles = newBatcher(postgresCommitters, postgresTogether, func(batch []*single) error { return p.pipeline(batch, false) })
	p.begins = newBatcher(postgresCommitters, postgresTogether, func(batch []*single) error { return p.pipeline(batch, true) })
	s.commits = newBatcher(postgresCommitters, postgresTogether, s.runTogether)
	s.lookups = newBatcherInTurns(lookers, lookedUpAtOnce, s.lookUpTogether)
	s.database, s.queues = p, []func(){s.commits.close, p.singles.close, p.begins.close, s.lookups.close}
	return nil
}

// connectTimeout bounds the making of a connection where the URL does not
// (connect_timeout): database/sql makes some for no request, which have no other
// end.
const connectTimeout = 10 * time.Second

// readTimeout is when PostgreSQL ends a read by itself: whoever asked has gone
// (a request has 10 s), perhaps unheard.
const readTimeout = 15 * time.Second

// How long the journal waits for a row, and how long a replica that stands still
// in a transaction keeps one.
const (
	journalLockTimeout = "200ms"
	idleInTransaction  = "10s"
)

// madeAt is when a connection was made, in what pgx keeps for us with it.
const madeAt = "made at"

// pool bounds how long a statement waits for a row, and how long a replica that
// stands still in a transaction keeps one; statementTimeout, unless it is 0, how
// long a statement runs. A pooler refuses such settings of a session.
func (p *postgres) pool(size int, lockTimeout string, statementTimeout time.Duration) *bun.DB {
	config := p.config
	config.RuntimeParams = maps.Clone(config.RuntimeParams)
	if p.pooled {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	} else {
		config.RuntimeParams["standard_conforming_strings"] = "on" // no text of ours depends on it
		config.RuntimeParams["statement_timeout"] = strconv.FormatInt(statementTimeout.Milliseconds(), 10)
		config.RuntimeParams["random_page_cost"] = "1.1"                      // the cache is in memory: what an index covers is not read from the table
		config.RuntimeParams["default_transaction_isolation"] = readCommitted // a statement sees what the one before waited for
		config.RuntimeParams["lock_timeout"] = lockTimeout
		config.RuntimeParams["idle_in_transaction_session_timeout"] = idleInTransaction
	}
	pool := stdlib.OpenDB(config, stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
		conn.PgConn().CustomData()[madeAt] = time.Now()
		return nil
	}))
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(pool, pgdialect.New())
}

// redacted drops the connection string that pgx puts into connect errors, and
// says what to do about a pooler.
func redacted(err error) error {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		err = urlError.Err
	}
	if refusesSettings(err) {
		return fmt.Errorf("%w: %w", err, errPooler)
	}
	return err
}

// isLocked reports whether PostgreSQL gave up waiting for a row: lock_timeout, or
// a deadlock that it broke.
func isLocked(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "55P03" || e.Code == "40P01")
}

var postgresClock = strings.NewReplacer("NOW()", "(extract(epoch from statement_timestamp()) * 1000000)::bigint")

// forPostgres writes a statement as PostgreSQL wants it.
func forPostgres(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range postgresClock.Replace(text) {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

func (*postgres) translate(text string) string { return forPostgres(text) }

func (*postgres) letIn(time.Duration) {} // rows are locked, not the database

func (*postgres) list(values []string) any { return values }

// once: pgx would prepare and keep every text that it is given. With
// QueryExecModeExec it sends text and values together and keeps nothing, and
// PostgreSQL plans the statement for these values.
func (*postgres) once(args []any) []any { return append([]any{pgx.QueryExecModeExec}, args...) }

func (*postgres) along(table, _ string) string { return table } // it finds the index itself

// eachPrepared has pgx read the rows: database/sql makes of each value a second one. It goes on
// while it finds old connections that were cut: one that was made since may be whole.
func (p *postgres) eachPrepared(ctx context.Context, text string, args []any, read func(resultRow) error) error {
	began := time.Now()
	for {
		again, err := p.eachOnce(ctx, began, text, args, read)
		if !again {
			return err
		}
	}
}

// eachOnce reports in again that the connection was made before, and was cut before a row came.
func (p *postgres) eachOnce(ctx context.Context, before time.Time, text string, args []any, read func(resultRow) error) (again bool, err error) {
	conn, err := p.read.DB.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	err = conn.Raw(func(conn any) error {
		own := conn.(*stdlib.Conn).Conn()
		made, _ := own.PgConn().CustomData()[madeAt].(time.Time)
		again = made.Before(before)
		rows, err := own.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			again = false
			if err := read(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return again && isCut(err), err
}

// among: with IN it would read the whole table for as many as it believes them to be.
func (*postgres) among(selected string) string { return "id = ANY(ARRAY(" + selected + "))" }

// What SQLite does in a transaction is one statement here.
var (
	sendAndMark = forPostgres(`WITH sent AS (` + sendUpdate.text + ` RETURNING patient_id)
		UPDATE patients SET sync_state = 'PENDING' WHERE id IN (SELECT patient_id FROM sent)`)
	closeAndFollow = forPostgres(`WITH same AS (SELECT id FROM patients WHERE id = ? AND version = ? AND fhir_version_id = ? FOR UPDATE),
		closed AS (` + closeUpdate.text + ` AND EXISTS (SELECT 1 FROM same) RETURNING id),
		gone AS (` + deletePhones.text + ` AND EXISTS (SELECT 1 FROM closed)),
		added AS (INSERT INTO patient_phones (phone_key, patient_id)
			SELECT key, CAST(? AS TEXT) FROM unnest(CAST(? AS TEXT[])) AS key WHERE EXISTS (SELECT 1 FROM closed))
		` + updatePatient.text + ` AND EXISTS (SELECT 1 FROM closed)`)
	readBegun = forPostgres(readPatient)
)

// single is one statement waiting for its round trip.
type single struct {
	queued
	text    string
	args    []any
	changed int64
	patient *Patient // after beginUpdate; nil: there is none
	readErr error    // ErrUnreadable: the patient, not the statement, is at fault
}

func (p *postgres) runOne(patientID string, st *statement, args ...any) (int64, error) {
	return p.single(patientID, st.postgres, args)
}

func (p *postgres) single(patientID, text string, args []any) (int64, error) {
	o := &single{queued: queued{patientID: patientID}, text: text, args: args}
	err := p.singles.do(o)
	return o.changed, err
}

func (p *postgres) begin(patientID string, args ...any) (int64, *Patient, error) {
	o := &single{queued: queued{patientID: patientID}, text: beginUpdate.postgres, args: args}
	err := p.begins.do(o)
	switch {
	case err != nil:
	case o.readErr != nil:
		err = o.readErr
	case o.patient == nil:
		err = ErrNotFound
	}
	return o.changed, o.patient, err
}

func (p *postgres) send(patientID string, args ...any) error {
	n, err := p.single(patientID, sendAndMark, args)
	if err == nil && n == 0 {
		return ErrLostLease
	}
	return err
}

// closeAtOnce: an update is the usual one if nothing else of the patient is
// unsettled, the row is still the one that it began with, and its names stay.
func (p *postgres) closeAtOnce(c Closing) (told *Patient, err error) {
	if c.Row == nil || c.Shown == nil || c.State.Open() {
		return nil, nil
	}
	row := *c.Row
	told, _ = after(&row, c, false)
	row.newVersion(c.At)
	if row.keys.search != c.Row.keys.search || isStranger(c.Row, *c.Shown) {
		return nil, nil
	}
	was, is := c.Row.keys.phoneList(), row.keys.phoneList()
	args := append([]any{c.PatientID, c.Row.Version, c.Row.FHIRVersionID}, closeArgs(c, told)...)
	args = append(args, c.PatientID, without(was, is), c.PatientID, without(is, was))
	args = append(args, written.values(&row)...)
	n, err := p.single(c.PatientID, closeAndFollow, args)
	if err != nil || n == 0 {
		return nil, err
	}
	return told, nil
}

// notDurable spares a transaction the wait for the disk. An update that is
// ACCEPTED may be forgotten in a power cut: then it cannot become SENT.
const notDurable = `SELECT set_config('synchronous_commit', 'off', true)`

// pipeline sends statements together: they are committed together, or none is.
func (p *postgres) pipeline(batch []*single, begins bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	conn, err := p.journal.DB.Conn(ctx)
	if err != nil {
		return errors.Join(errNotBegun, err)
	}
	defer conn.Close()
	return conn.Raw(func(conn any) error {
		var together pgx.Batch
		if p.pooled {
			together.Queue(forTransaction)
		}
		if begins {
			together.Queue(notDurable)
		}
		for _, o := range batch {
			together.Queue(o.text, o.args...).Exec(func(tag pgconn.CommandTag) error {
				o.changed = tag.RowsAffected()
				return nil
			})
			if begins {
				together.Queue(readBegun, clean(o.patientID)).QueryRow(o.readPatient)
			}
		}
		return conn.(*stdlib.Conn).Conn().SendBatch(ctx, &together).Close()
	})
}

func (o *single) readPatient(row pgx.Row) (err error) {
	o.patient, err = allColumns.scan(row)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case errors.Is(err, ErrUnreadable): // it must not fail those that went along
		o.readErr = err
		return nil
	}
	return err
}

func (*postgres) tables() string { return "SELECT count(to_regclass(?))" }

// migrate has a pool of its own: what it does may take longer than a read may.
// Replicas that start together wait for each other.
func (p *postgres) migrate(ctx context.Context, version int64) (err error) {
	pool := p.pool(2, "5s", 0) // one holds the turn
	defer func() { err = errors.Join(err, pool.Close()) }()
	turn, err := turnToMigrate(ctx, pool.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, turn.Rollback()) }()
	return migrateFrom(ctx, "migrations/postgres", version, goose.DialectPostgres, pool.DB)
}

// turnToMigrate waits until nobody else migrates; the transaction that it
// returns keeps others out until its end. A lock of the session, which programs
// before this one take under the same number, would stay behind in a pooler.
func turnToMigrate(ctx context.Context, pool *sql.DB) (turn *sql.Tx, err error) {
	waiting, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	for {
		if turn, err = pool.BeginTx(ctx, nil); err != nil {
			return nil, err
		}
		var mine bool
		err = turn.QueryRowContext(waiting, `SELECT set_config('idle_in_transaction_session_timeout', '0', true) = '0' AND pg_try_advisory_xact_lock($1)`,
			pgx.QueryExecModeExec, lock.DefaultLockID).Scan(&mine)
		if mine {
			return turn, nil
		}
		if err := errors.Join(err, turn.Rollback()); err != nil {
			return nil, err
		}
		select {
		case <-time.After(migratePause):
		case <-waiting.Done():
			return nil, fmt.Errorf("another replica migrates the database: %w", waiting.Err())
		}
	}
}

// How long a replica waits for its turn to migrate, and how often it asks.
const (
	migrateTimeout = 5 * time.Minute
	migratePause   = 500 * time.Millisecond
)
