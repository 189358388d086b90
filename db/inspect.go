package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Inspection is a database as it was found. Nothing in it is made or changed.
type Inspection struct {
	Product  string // with its version: "PostgreSQL 17.2"; "": there is none yet, Open makes it
	Schema   int64  // version; 0: none yet, Migrate makes it
	Pooled   bool   // DATABASE_URL says that a pooler stands before it
	Readable bool   // the SQLite file can be read by others than its owner; Open puts that right
	ReadOnly bool   // PostgreSQL takes no writes now: a standby, or told so

	store *Store // nil: there is no SQLite file yet
}

// Inspect looks whether Open and Migrate would succeed. Of an SQLite file that is not
// there it only looks whether it could be made. Its errors hold no password.
// ErrNewerSchema.
func Inspect(ctx context.Context, databaseURL string) (*Inspection, error) {
	i := &Inspection{}
	path, isSQLite := strings.CutPrefix(databaseURL, "sqlite:")
	var err error
	switch {
	case !isSQLite:
		if i.store, err = Open(ctx, databaseURL); err == nil {
			err = i.inspectPostgres(ctx)
		}
	case strings.Contains(path, "?pool="), strings.Contains(path, "&pool="), path == "", path == ":memory:":
		var empty *Store
		if empty, err = Open(ctx, databaseURL); err == nil { // in memory
			err = empty.Close()
		}
	default:
		err = i.inspectSQLite(ctx, path)
	}
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// Close ends what Inspect opened; nothing more is to be asked of it.
func (i *Inspection) Close() error {
	store := i.store
	if i.store = nil; store == nil {
		return nil
	}
	return store.Close()
}

// inspectSQLite never opens the file itself: to close it would drop the locks that
// another connection of this process has on it (POSIX).
func (i *Inspection) inspectSQLite(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		directory := filepath.Dir(path)
		if info, err := os.Stat(directory); err != nil || !info.IsDir() {
			return fmt.Errorf("open database: there is no directory %s", directory)
		}
		return mayWrite(directory)
	}
	switch {
	case err != nil:
		return fmt.Errorf("open database: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("open database: %s: it is no file", path)
	case !mayChmod(info):
		return fmt.Errorf("open database: %s cannot be made readable by its owner alone: it belongs to another user", path)
	}
	if err := errors.Join(mayWrite(path), mayWrite(filepath.Dir(path))); err != nil { // -wal and -shm stand beside it
		return err
	}
	i.Readable = info.Mode().Perm()&0o077 != 0
	name := "file:" + escapePath(path) + "?mode=ro&_pragma=query_only(1)"
	if !exists(path+"-wal") || !exists(path+"-shm") {
		name += "&immutable=1" // nobody has it open; else SQLite would make these two
	}
	pool := sqlitePool(name, nil, 1)
	i.store = &Store{read: pool, write: pool, journal: pool}
	i.store.database = sqlite{i.store}
	if err := i.inspectSchema(ctx, "SELECT 'SQLite ' || sqlite_version()"); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (i *Inspection) inspectSchema(ctx context.Context, product string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := i.store.read.DB.QueryRowContext(ctx, product).Scan(&i.Product); err != nil {
		return redacted(err)
	}
	if i.Schema, err = i.store.schemaVersion(ctx); err != nil {
		return redacted(err)
	}
	return nil
}

// lacking are the tables that the user may not use in every way.
const lacking = `SELECT coalesce(string_agg(relname, ', '), '') FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(quote_ident(current_schema()))
	AND relname IN ('patients', 'patient_identifiers', 'contact_updates', 'fhir_tokens')
	AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))`

func (i *Inspection) inspectPostgres(ctx context.Context) error {
	i.Pooled = i.store.pooled
	if err := i.inspectSchema(ctx, "SELECT 'PostgreSQL ' || current_setting('server_version')"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var user, tables string
	var mayCreate bool
	err := i.store.read.DB.QueryRowContext(ctx, `SELECT current_user, pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), (`+lacking+`)`, pgx.QueryExecModeExec).Scan(&user, &i.ReadOnly, &mayCreate, &tables)
	switch {
	case err != nil:
		return redacted(err)
	case i.Schema < SchemaVersion() && !mayCreate:
		return fmt.Errorf("the schema has to be made or changed, and user %s may not: GRANT USAGE, CREATE ON SCHEMA to it, or run patientgraph migrate as the owner", user)
	case tables != "":
		return fmt.Errorf("user %s may not read and write the tables %s: GRANT SELECT, INSERT, UPDATE, DELETE on them", user, tables)
	}
	return nil
}

// LoadFHIRToken is Store.LoadFHIRToken; nil and 0 as well where there is no table yet.
func (i *Inspection) LoadFHIRToken(ctx context.Context, id string) (sealed []byte, version int64, err error) {
	if i.store == nil {
		return nil, 0, nil
	}
	n, err := i.store.number(ctx, i.store.tables(), "fhir_tokens")
	if err != nil || n == 0 {
		return nil, 0, redacted(err)
	}
	return i.store.LoadFHIRToken(ctx, id)
}

// SomeFHIRIDs returns up to n FHIR ids of the cache, the newest.
func (i *Inspection) SomeFHIRIDs(ctx context.Context, n int) (ids []string, err error) {
	if i.store == nil || i.Schema == 0 {
		return nil, nil
	}
	rows, err := i.store.read.DB.QueryContext(ctx, i.store.translate("SELECT fhir_id FROM patients WHERE fhir_id IS NOT NULL ORDER BY created_at DESC LIMIT ?"),
		i.store.once([]any{n})...)
	if err != nil {
		return nil, redacted(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id sql.NullString
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id.String)
	}
	return ids, rows.Err()
}
