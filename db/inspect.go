package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Inspection is a database as it was found. Nothing in it is made or changed.
type Inspection struct {
	Product  string // with its version: "PostgreSQL 17.2"; "": there is none yet, Open makes it
	Schema   int64  // version; 0: none yet, Migrate makes it
	Pooled   bool   // DATABASE_URL says that a pooler stands before it
	Readable bool   // the SQLite file can be read by others than its owner; Open puts that right

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
	if _, linked := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && linked == nil {
		return fmt.Errorf("open database: %s is a symbolic link to a file that is not there: make that one, or remove the link", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		directory := filepath.Dir(path)
		if info, err := os.Stat(directory); err != nil || !info.IsDir() {
			return fmt.Errorf("open database: there is no directory %s", directory)
		}
		return mayWrite(directory)
	}
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	for _, name := range filesOf(path) {
		beside, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("open database: %w", err)
		case !beside.Mode().IsRegular():
			return fmt.Errorf("open database: %s: it is no file", name)
		case !mayChmod(beside):
			return fmt.Errorf("open database: %s cannot be made readable by its owner alone: it belongs to another user", name)
		}
		if err := mayWrite(name); err != nil {
			return err
		}
	}
	if err := mayWrite(filepath.Dir(path)); err != nil { // -wal and -shm are made there
		return err
	}
	i.Readable = info.Mode().Perm()&0o077 != 0
	name := "file:" + escapePath(path) + "?mode=ro" // another process may just open or leave it
	open := exists(path+"-wal") && exists(path+"-shm")
	if !open {
		name += "&immutable=1" // nobody has it open; else SQLite would make these two
	}
	pool := sqlitePool(name, nil, 1, waitForLock, "query_only = 1")
	i.store = &Store{read: pool, write: pool, journal: pool, statements: map[*statement]*sql.Stmt{}}
	i.store.database = sqlite{s: i.store}
	if err := i.inspectSchema(ctx, "SELECT 'SQLite ' || sqlite_version()"); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if err := i.inspectTables(ctx, sqliteNames); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return i.inspectLock(ctx, path, open)
}

// inspectLock takes the lock of a writer and gives it back, as long as that makes no
// file: a file in WAL mode that nobody has open has no lock either.
func (i *Inspection) inspectLock(ctx context.Context, path string, open bool) (err error) {
	var wal int
	err = i.store.read.DB.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_dbpage WHERE pgno = 1 AND substr(data, 19, 1) = x'02'").Scan(&wal) // the header says so
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if !open && wal > 0 {
		return nil
	}
	name := "file:" + escapePath(path)
	locked := func(err error) error {
		return fmt.Errorf("open database: %s cannot be written, another program has locked it (end that program): %w", path, err)
	}
	if !open && exists(path+"-journal") { // of who writes now, or is left from a crash: to open it for writing would roll that back
		reader := sqlitePool(name+"?mode=ro", nil, 1, waitForLock)
		defer func() { err = errors.Join(err, reader.Close()) }()
		var n int
		err := reader.DB.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n)
		var fault *driver.Error
		switch {
		case errors.As(err, &fault) && fault.Code() == sqlite3.SQLITE_BUSY:
			return locked(err)
		case err != nil:
			return nil
		}
	}
	// i.store stays open meanwhile: the last to close would write the WAL into the file.
	writer := sqlitePool(name+"?mode=rw&_txlock=immediate", nil, 1, waitForLock)
	defer func() { err = errors.Join(err, writer.Close()) }()
	tx, err := writer.DB.BeginTx(ctx, nil)
	if err != nil {
		return locked(err)
	}
	return tx.Rollback()
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

// Which of a list of names are taken.
const (
	sqliteNames   = `SELECT coalesce(group_concat(name, ', '), '') FROM sqlite_schema WHERE lower(name) = ANY(?)`
	postgresNames = `SELECT coalesce(string_agg(relname, ', '), '') FROM pg_class
	WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relname = ANY(?)`
)

// inspectTables looks whether what the migrations made is there, and nothing stands
// where the next ones make something. names is sqliteNames or postgresNames.
func (i *Inspection) inspectTables(ctx context.Context, names string) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	tables, made := created(i.Schema)
	var missing []string
	for _, table := range tables {
		n, err := i.store.number(ctx, i.store.tables(), table)
		if err != nil {
			return redacted(err)
		}
		if n == 0 {
			missing = append(missing, table)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it has schema version %d and lacks the tables %s: restore it from a backup, or name another database", i.Schema, strings.Join(missing, ", "))
	}
	_, all := created(SchemaVersion())
	next := slices.DeleteFunc(all, func(name string) bool { return slices.Contains(made, name) })
	var taken string
	if err := i.store.read.DB.QueryRowContext(ctx, i.store.translate(names), i.store.once([]any{i.store.list(next)})...).Scan(&taken); err != nil {
		return redacted(err)
	}
	now, err := i.store.schemaVersion(ctx)
	switch {
	case err != nil:
		return redacted(err)
	case now > i.Schema: // another replica migrates meanwhile
		i.Schema = now
		return i.inspectTables(ctx, names)
	case taken != "":
		return fmt.Errorf("it has schema version %d of ours, and something else with the names %s, which serve would make: name another database", i.Schema, taken)
	}
	if i.Schema < SchemaVersion() {
		return nil
	}
	if err := i.store.prepareWithin(ctx, openTimeout); err != nil { // as Migrate does
		return fmt.Errorf("its tables are not those of schema version %d (restore it from a backup, or name another database): %w", i.Schema, redacted(err))
	}
	return nil
}

// notOwned are the tables that the user may not change, and lacking those that it may
// not use in every way.
const (
	notOwned = `SELECT coalesce(string_agg(relname, ', '), '') FROM unnest($1::text[]) AS name JOIN pg_class ON pg_class.oid = to_regclass(name)
	WHERE NOT pg_has_role(relowner, 'USAGE')`
	lacking = `SELECT coalesce(string_agg(name, ', '), '') FROM unnest($1::text[]) AS name
	WHERE NOT (has_table_privilege(to_regclass(name), 'SELECT') AND has_table_privilege(to_regclass(name), 'INSERT')
	AND has_table_privilege(to_regclass(name), 'UPDATE') AND has_table_privilege(to_regclass(name), 'DELETE'))`
)

func (i *Inspection) inspectPostgres(ctx context.Context) error {
	i.Pooled = i.store.pooled
	if err := i.inspectSchema(ctx, "SELECT 'PostgreSQL ' || current_setting('server_version')"); err != nil {
		return err
	}
	err := i.inspectTables(ctx, postgresNames)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	tables, _ := created(i.Schema)
	var user, others, unusable string
	var readOnly, mayCreate bool
	err = i.store.read.DB.QueryRowContext(ctx, `SELECT current_user, pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), (`+notOwned+`), (`+lacking+`)`, i.store.once([]any{tables})...).
		Scan(&user, &readOnly, &mayCreate, &others, &unusable)
	switch {
	case err != nil:
		return redacted(err)
	case readOnly:
		return errors.New("PostgreSQL takes no writes (a standby, or default_transaction_read_only): name the one that does, or target_session_attrs=read-write")
	case i.Schema < SchemaVersion() && !mayCreate:
		return fmt.Errorf("the schema has to be made or changed, and user %s may not: GRANT USAGE, CREATE ON SCHEMA to it, or run patientgraph migrate as the owner", user)
	case i.Schema < SchemaVersion() && others != "":
		return fmt.Errorf("the schema has to be changed, and user %s does not own the tables %s: run patientgraph migrate as the owner", user, others)
	case unusable != "":
		return fmt.Errorf("user %s may not read and write the tables %s: GRANT SELECT, INSERT, UPDATE, DELETE on them", user, unusable)
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
