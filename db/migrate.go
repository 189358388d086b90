package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// ErrNewerSchema: a newer program has changed the database, in a way that this
// runOne does not know.
var ErrNewerSchema = errors.New("the database belongs to a newer program")

// SchemaVersion is the newest that this program knows.
func SchemaVersion() int64 {
	entries, _ := migrations.ReadDir("migrations/sqlite") // it is embedded
	version, _ := goose.NumericComponent(entries[len(entries)-1].Name())
	return version
}

// creation is what makes a table or an index.
var creation = regexp.MustCompile(`(?m)^CREATE (TABLE|INDEX|UNIQUE INDEX) (\w+)`)

// created are the tables that the migrations up to a version made, and everything that
// they gave a name to.
func created(version int64) (tables, names []string) {
	entries, _ := migrations.ReadDir("migrations/sqlite") // they are embedded; those for PostgreSQL make the same tables
	for _, entry := range entries {
		if v, _ := goose.NumericComponent(entry.Name()); v > version {
			break
		}
		text, _ := migrations.ReadFile("migrations/sqlite/" + entry.Name())
		for _, made := range creation.FindAllStringSubmatch(string(text), -1) {
			names = append(names, made[2])
			if made[1] == "TABLE" {
				tables = append(tables, made[2])
			}
		}
	}
	return tables, names
}

// checkSchema refuses a database that a newer program has migrated. It changes
// nothing. ErrNewerSchema.
func (s *Store) checkSchema(ctx context.Context) error {
	_, err := s.schemaVersion(ctx)
	return err
}

// schemaVersion is what the database was migrated to; 0: not yet. ErrNewerSchema.
func (s *Store) schemaVersion(ctx context.Context) (version int64, err error) {
	n, err := s.number(ctx, s.tables(), "goose_db_version")
	if err != nil || n == 0 {
		return 0, err
	}
	if err := s.read.DB.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version); err != nil {
		return 0, err
	}
	if known := SchemaVersion(); version > known {
		return 0, fmt.Errorf("%w: it has schema version %d, this program knows up to %d: run the newer patientgraph", ErrNewerSchema, version, known)
	}
	return version, nil
}

// Migrate brings the schema up to date. Replicas on PostgreSQL that start
// together wait for each other.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.file.check(); err != nil {
		return redacted(err)
	}
	version, err := s.schemaVersion(ctx)
	if err == nil && version < SchemaVersion() { // else there is no turn to wait for
		err = s.migrate(ctx, SchemaVersion())
	}
	if err != nil {
		return redacted(err)
	}
	if err := s.prepareWithin(ctx, openTimeout); err != nil {
		return fmt.Errorf("prepare statements: %w", err)
	}
	if err := s.raiseCounter(); err != nil {
		return redacted(err)
	}
	return redacted(s.rekey(ctx))
}

// Ready makes a database ready for use that has the schema of this program already. It
// changes nothing; another schema is an error. ErrNewerSchema.
func (s *Store) Ready(ctx context.Context) error {
	version, err := s.schemaVersion(ctx)
	switch known := SchemaVersion(); {
	case err != nil:
		return redacted(err)
	case version == 0:
		return errors.New("it holds no cache yet: run patientgraph sync, or serve")
	case version < known:
		return fmt.Errorf("it has schema version %d, this program needs %d: stop the replicas of the older version and run patientgraph migrate", version, known)
	}
	return redacted(s.prepareWithin(ctx, openTimeout))
}

func (s *Store) prepareWithin(ctx context.Context, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return s.prepare(ctx)
}

// migrateFrom runs the migrations of a folder up to a version.
func migrateFrom(ctx context.Context, folder string, version int64, dialect goose.Dialect, pool *sql.DB, options ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, pool, files, options...)
	if err != nil {
		return err
	}
	_, err = provider.UpTo(ctx, version)
	return err
}

// openTimeout bounds what is done with the database before it is used.
const openTimeout = 30 * time.Second
