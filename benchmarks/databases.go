package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// database is one that holds the patients twice: as PatientGraph has them, and as a plain
// table of the same rows.
type database struct {
	name        string // as the table has it
	url         string // as PatientGraph takes it
	driver      string
	plainSource string // where the plain table is
	drop        func() error
}

// keptDatabase is one that was filled before, and has no plain table.
func keptDatabase(url string) *database {
	d := &database{name: "PostgreSQL", url: url, drop: func() error { return nil }}
	if strings.HasPrefix(url, "sqlite:") {
		d.name = "SQLite"
	}
	return d
}

// plainColumns is the plain table; plainRows are the rows of PatientGraph's table for it.
const (
	plainColumns = `(id TEXT %[1]s PRIMARY KEY, full_name TEXT, birth_date TEXT, phone TEXT, email TEXT, created_at BIGINT NOT NULL)`
	plainRows    = `SELECT id, nullif(full_name, ''), nullif(birth_date, ''), nullif(phone, ''), nullif(email, ''), created_at FROM %[1]s.patients ORDER BY id`
)

// newSQLite makes the two as files in a directory.
func newSQLite(ctx context.Context, dir string, binary string, patients int) (*database, error) {
	cache, plain := filepath.Join(dir, "cache.db"), filepath.Join(dir, "plain.db")
	d := &database{name: "SQLite", url: "sqlite:" + cache, driver: "sqlite", drop: func() error { return nil }}
	d.plainSource = "file:" + plain + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=query_only(1)"
	if err := fill(ctx, binary, d.url, patients); err != nil {
		return nil, err
	}
	return d, execute(ctx, "sqlite", "file:"+plain,
		fmt.Sprintf(`CREATE TABLE patients `+plainColumns, ""),
		`CREATE INDEX patients_by_created ON patients (created_at, id)`,
		`ATTACH '`+strings.ReplaceAll(cache, "'", "''")+`' AS cache`,
		fmt.Sprintf(`INSERT INTO patients `+plainRows, "cache"),
		`DETACH cache`, `PRAGMA journal_mode = WAL`)
}

// newPostgres makes a database on a server, with the plain table in a schema of its own.
func newPostgres(ctx context.Context, server, binary string, patients int) (d *database, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, errors.New("-postgres is no URL") // what it holds may be secret
	}
	name := "benchmark_" + strings.ToLower(rand.Text())
	if err := execute(ctx, "pgx", server, "CREATE DATABASE "+name); err != nil {
		return nil, err
	}
	drop := func() error {
		return execute(context.WithoutCancel(ctx), "pgx", server, "DROP DATABASE "+name+" WITH (FORCE)")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, drop())
		}
	}()
	u.Path = "/" + name
	d = &database{name: "PostgreSQL", url: u.String(), driver: "pgx", plainSource: u.String(), drop: drop}
	if err := fill(ctx, binary, d.url, patients); err != nil {
		return nil, err
	}
	return d, execute(ctx, d.driver, d.url,
		`CREATE SCHEMA plain`,
		fmt.Sprintf(`CREATE TABLE plain.patients `+plainColumns, `COLLATE "C"`),
		`CREATE INDEX patients_by_created ON plain.patients (created_at, id)`,
		fmt.Sprintf(`INSERT INTO plain.patients `+plainRows, "public"),
		`VACUUM ANALYZE`) // as autovacuum does
}

// execute runs statements on one connection.
func execute(ctx context.Context, driver, source string, statements ...string) error {
	pool, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	for _, statement := range statements {
		if _, err := pool.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// fill imports the patients, as one would.
func fill(ctx context.Context, binary, databaseURL string, patients int) error {
	lines, into := io.Pipe()
	go func() { into.CloseWithError(writePatients(into, patients)) }()
	defer lines.Close()
	command := exec.CommandContext(ctx, binary, "import", "-")
	command.Env = append(os.Environ(), "DATABASE_URL="+databaseURL, "PATIENT_ID_SYSTEM="+numberSystem)
	command.Stdin = lines
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("import: %w\n%s", err, said)
	}
	return nil
}
