package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// ErrNewerSchema: a newer program has changed the database, in a way that this
// one does not know.
var ErrNewerSchema = errors.New("the database belongs to a newer program")

// migrationFiles are those of the database's kind.
func (s *Store) migrationFiles() (fs.FS, error) {
	if s.postgres {
		return fs.Sub(migrations, "migrations/postgres")
	}
	return fs.Sub(migrations, "migrations/sqlite")
}

// SchemaVersion is the newest that this program knows.
func SchemaVersion() int64 {
	entries, _ := migrations.ReadDir("migrations/sqlite") // it is embedded
	version, _ := goose.NumericComponent(entries[len(entries)-1].Name())
	return version
}

// checkSchema refuses a database that a newer program has migrated. It changes
// nothing. ErrNewerSchema.
func (s *Store) checkSchema(ctx context.Context) error {
	exists := "SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'"
	if s.postgres {
		exists = "SELECT count(to_regclass('goose_db_version'))"
	}
	n, err := s.number(ctx, exists)
	if err != nil || n == 0 { // not migrated yet
		return err
	}
	var version int64
	if err := s.read.DB.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version); err != nil {
		return err
	}
	if known := SchemaVersion(); version > known {
		return fmt.Errorf("%w: it has schema version %d, this program knows up to %d: run the newer patientgraph", ErrNewerSchema, version, known)
	}
	return nil
}

// Migrate brings the schema up to date. Replicas on PostgreSQL that start
// together wait for each other.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil {
		return redacted(err)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return fmt.Errorf("prepare statements: %w", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context) error { return s.migrateTo(ctx, SchemaVersion()) }

func (s *Store) migrateTo(ctx context.Context, version int64) (err error) {
	if err := errors.Join(s.file.check(), s.checkSchema(ctx)); err != nil {
		return err
	}
	dialect, pool := goose.DialectSQLite3, s.write
	var options []goose.ProviderOption
	if s.postgres {
		dialect = goose.DialectPostgres
		// A pool of its own: what it does may take longer than a read may.
		pool = postgresPool(s.config, 2, "5s", 0)
		defer func() { err = errors.Join(err, pool.Close()) }()
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := s.migrationFiles()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, pool.DB, files, options...)
	if err != nil {
		return err
	}
	_, err = provider.UpTo(ctx, version)
	return err
}

// openTimeout bounds what is done with the database before it is used.
const openTimeout = 30 * time.Second
