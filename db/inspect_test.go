package db

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patientgraph/db/dbtest"
)

// inspected is what Inspect says against a database; "": nothing.
func inspected(t *testing.T, databaseURL string) string {
	t.Helper()
	i, err := Inspect(t.Context(), databaseURL)
	if err == nil {
		err = i.Close()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func mustExec(t *testing.T, database *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := database.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func migrated(t *testing.T, databaseURL string, version int64) {
	t.Helper()
	s, err := Open(t.Context(), databaseURL)
	if err == nil {
		err = errors.Join(s.migrate(t.Context(), version), s.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func onEach(t *testing.T, test func(t *testing.T, databaseURL string)) {
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// The schema version is right, and a table or a column is not there.
func TestInspectMissesEachTable(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, databaseURL string) {
		migrated(t, databaseURL, SchemaVersion())
		if said := inspected(t, databaseURL); said != "" {
			t.Fatal(said)
		}
		database := dbtest.Open(t, databaseURL)
		tables, _ := created(SchemaVersion())
		if len(tables) < 7 {
			t.Errorf("the tables are %v", tables)
		}
		for _, table := range tables {
			mustExec(t, database, "ALTER TABLE "+table+" RENAME TO elsewhere")
			if said := inspected(t, databaseURL); !strings.Contains(said, "lacks the tables "+table+": restore it") {
				t.Errorf("without %s: %q", table, said)
			}
			mustExec(t, database, "ALTER TABLE elsewhere RENAME TO "+table)
		}
		mustExec(t, database, "ALTER TABLE fhir_tokens RENAME COLUMN sealed TO open")
		if said := inspected(t, databaseURL); !strings.Contains(said, "not those of schema version") {
			t.Errorf("without a column: %q", said)
		}
	})
}

// What the migrations would make is there, and is not ours.
func TestInspectRefusesAForeignDatabase(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, databaseURL string) {
		database := dbtest.Open(t, databaseURL)
		for _, foreign := range []struct{ make, drop, name string }{
			{"CREATE TABLE patients (id TEXT)", "DROP TABLE patients", "patients"},
			{"CREATE TABLE PATIENT_phones (x TEXT)", "DROP TABLE patient_phones", "patient_phones"},
			{"CREATE VIEW fhir_tokens AS SELECT 1 AS x", "DROP VIEW fhir_tokens", "fhir_tokens"},
			{"CREATE TABLE visits (id TEXT); CREATE INDEX patients_by_name ON visits (id)", "DROP TABLE visits", "patients_by_name"},
		} {
			mustExec(t, database, foreign.make)
			if said := inspected(t, databaseURL); !strings.Contains(strings.ToLower(said), "names "+foreign.name+",") {
				t.Errorf("%s: %q", foreign.make, said)
			}
			s, err := Open(t.Context(), databaseURL)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Migrate(t.Context()); err == nil {
				t.Fatalf("%s: Migrate succeeds", foreign.make)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			mustExec(t, database, foreign.drop)
			for _, table := range append([]string{"goose_db_version"}, first(created(SchemaVersion()))...) {
				mustExec(t, database, "DROP TABLE IF EXISTS "+table)
			}
		}
		mustExec(t, database, "CREATE TABLE visits (id TEXT)") // in nobody's way
		if said := inspected(t, databaseURL); said != "" {
			t.Error(said)
		}
		// an older schema of ours, and what the next migration would make
		migrated(t, databaseURL, 9)
		if said := inspected(t, databaseURL); said != "" {
			t.Error(said)
		}
		mustExec(t, database, "CREATE TABLE fhir_tokens (id TEXT)")
		if said := inspected(t, databaseURL); !strings.Contains(said, "has schema version 9 of ours, and something else with the names fhir_tokens,") {
			t.Errorf("%q", said)
		}
	})
}

// What a crash leaves is rolled back by serve, not by looking.
func TestInspectLeavesAJournalAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustExec(t, dbtest.Open(t, "sqlite:"+path+".old"), "CREATE TABLE visits (x TEXT)", "INSERT INTO visits VALUES (1)")
	other, err := dbtest.Open(t, "sqlite:"+path+".old").Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, statement := range []string{"PRAGMA cache_size = 1", "PRAGMA cache_spill = 1", "BEGIN", "CREATE TABLE long (x BLOB)",
		"INSERT INTO long SELECT randomblob(4000) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]')"} {
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string][]byte{}
	for _, name := range []string{"", "-journal"} { // as they are in the middle of it
		if files[name], err = os.ReadFile(path + ".old" + name); err == nil {
			err = os.WriteFile(path+name, files[name], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	said := inspected(t, "sqlite:"+path)
	for name, before := range files {
		if after, err := os.ReadFile(path + name); err != nil || !bytes.Equal(after, before) {
			t.Errorf("x.db%s has changed, %v; said: %q", name, err, said)
		}
	}
	s, err := Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n, err := s.number(t.Context(), "SELECT count(*) FROM visits"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// Another replica migrates between two looks: what it makes is ours.
func TestInspectBesideAMigration(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, databaseURL string) {
		migrated(t, databaseURL, 1)
		other, err := Open(t.Context(), databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		i, err := Inspect(t.Context(), databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		found := sqliteNames
		if onPostgres(i.store) {
			found = postgresNames
		}
		for _, version := range []int64{2, 9, SchemaVersion()} {
			migrated(t, databaseURL, version)
			if err := i.inspectTables(t.Context(), found); err != nil || i.Schema != version {
				t.Errorf("%v, %d, want %d", err, i.Schema, version)
			}
		}
	})
}

func first(tables, _ []string) []string { return tables }

func TestInspectRefusesAReadOnlyPostgres(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]int64{"empty": 0, "older": 9, "current": SchemaVersion()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.Postgres(t)
			if version > 0 {
				migrated(t, databaseURL, version)
			}
			if said := inspected(t, databaseURL); said != "" {
				t.Fatal(said)
			}
			name := databaseURL[strings.LastIndex(databaseURL, "/")+1:]
			name, _, _ = strings.Cut(name, "?")
			mustExec(t, dbtest.Open(t, databaseURL), "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
			if said := inspected(t, databaseURL); !strings.Contains(said, "takes no writes") {
				t.Errorf("%q", said)
			}
		})
	}
}

// To change a table one has to own it; to use it one needs every right on each.
func TestInspectKnowsEachRightOnEachTable(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	database := dbtest.Open(t, databaseURL)
	name := databaseURL[strings.LastIndex(databaseURL, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	user := "user_of_" + name
	mustExec(t, database, "CREATE ROLE "+user+" LOGIN", "GRANT CREATE ON SCHEMA public TO "+user)
	t.Cleanup(func() { mustExec(t, database, "DROP OWNED BY "+user, "DROP ROLE "+user) })
	theirs := strings.Replace(databaseURL, "postgres@", user+"@", 1)

	migrated(t, databaseURL, 9)
	mustExec(t, database, "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+user)
	if said := inspected(t, theirs); !strings.Contains(said, "does not own the tables") || !strings.Contains(said, "patient_phones") {
		t.Errorf("%q", said)
	}
	migrated(t, databaseURL, SchemaVersion())
	mustExec(t, database, "REVOKE CREATE ON SCHEMA public FROM "+user, "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+user)
	if said := inspected(t, theirs); said != "" {
		t.Error(said)
	}
	rights := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	tables, _ := created(SchemaVersion())
	for n, table := range tables {
		right := rights[n%len(rights)]
		mustExec(t, database, "REVOKE "+right+" ON "+table+" FROM "+user)
		if said := inspected(t, theirs); !strings.Contains(said, "may not read and write the tables "+table+":") {
			t.Errorf("without %s on %s: %q", right, table, said)
		}
		mustExec(t, database, "GRANT "+right+" ON "+table+" TO "+user)
	}
}

// Another program has locked the file. Whether it is in WAL mode or not, nothing is made.
func TestInspectSeesALockedFile(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, path string){
		"empty":   func(*testing.T, string) {},
		"current": func(t *testing.T, path string) { migrated(t, "sqlite:"+path, SchemaVersion()) },
		"a copy": func(t *testing.T, path string) { // not in WAL mode
			migrated(t, "sqlite:"+path+".old", SchemaVersion())
			mustExec(t, dbtest.Open(t, "sqlite:"+path+".old"), "VACUUM INTO '"+path+"'")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.db")
			prepare(t, path)
			other, err := dbtest.Open(t, "sqlite:"+path).Conn(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if _, err := other.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
				t.Fatal(err)
			}
			before := fmt.Sprint(os.ReadDir(filepath.Dir(path)))
			if name == "empty" && !strings.Contains(before, "x.db-journal") {
				t.Error("no journal stands beside the file")
			}
			if said := inspected(t, "sqlite:"+path); !strings.Contains(said, "another program has locked it") {
				t.Errorf("%q", said)
			}
			if after := fmt.Sprint(os.ReadDir(filepath.Dir(path))); after != before {
				t.Errorf("files: %s, then %s", before, after)
			}
			if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			if said := inspected(t, "sqlite:"+path); said != "" {
				t.Error(said)
			}
		})
	}
}

// Open refuses these, and so does Inspect, which makes nothing.
func TestInspectRefusesFilesThatOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(path string) error
		says    string
	}{
		"dangling": {func(path string) error { return os.Symlink(path+".none", path) }, "symbolic link to a file that is not there"},
		"-wal is a directory": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(path+"-wal", 0o700))
		}, "-wal: it is no file"},
		"-shm is a directory": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(path+"-shm", 0o700))
		}, "-shm: it is no file"},
		"-journal is a directory": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(path+"-journal", 0o700))
		}, "-journal: it is no file"},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "it is no file"},
		"no database": {func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("not SQLite ", 500)), 0o600) }, "not a database"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "x.db")
			if err := c.prepare(path); err != nil {
				t.Fatal(err)
			}
			before := fmt.Sprint(os.ReadDir(dir))
			if said := inspected(t, "sqlite:"+path); !strings.Contains(said, c.says) {
				t.Errorf("%q", said)
			}
			if after := fmt.Sprint(os.ReadDir(dir)); after != before {
				t.Errorf("files: %s, then %s", before, after)
			}
			s, err := Open(t.Context(), "sqlite:"+path)
			if err == nil {
				s.Close()
				t.Error("Open succeeds")
			}
		})
	}
}
