package db

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patientgraph/db/dbtest"
)

var testTime = time.Date(2025, 3, 1, 9, 0, 0, 0, time.UTC)

// databases make an empty one that several processes can open.
var databases = map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres, "pooler": dbtest.Pooler}

// stores runs a test on each database, empty and migrated, and on one in memory.
func stores(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Helper()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openStore(t, open(t)))
		})
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, openStore(t, "sqlite::memory:"))
	})
}

func onPostgres(s *Store) bool {
	_, is := s.database.(*postgres)
	return is
}

func openStore(t testing.TB, databaseURL string) *Store {
	t.Helper()
	s, err := Open(context.Background(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// add imports patients and fails unless each was inserted.
func add(t testing.TB, s *Store, at time.Time, patients ...NewPatient) []string {
	t.Helper()
	outcomes, err := s.ImportPatients(context.Background(), patients, at)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 0, len(outcomes))
	for i, o := range outcomes {
		if o.Err != nil || o.Result != Inserted {
			t.Fatalf("patient %d: result %d, error %v", i, o.Result, o.Err)
		}
		ids = append(ids, o.ID)
	}
	return ids
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, databaseURL := range []string{
		"", "mysql://x", "sqlite:", "sqlite:/nonexistent/dir/x.db",
		"postgres://user:topsecret@127.0.0.1:1/x?connect_timeout=2", "postgres://user:topsecret@%zz/",
		"postgres://user:topsecret@127.0.0.1:1/x?connect_timeout=2&pool=transaction",
	} {
		s, err := Open(context.Background(), databaseURL)
		if err == nil {
			s.Close()
			t.Errorf("%q was opened", databaseURL)
		} else if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

func TestMigrateTwiceAndTogether(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, replicas := open(t), 3
			if name == "sqlite" { // whose file one program has
				replicas = 1
			}
			failed := make(chan error)
			for range replicas {
				s, err := Open(t.Context(), u)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				go func() { failed <- errors.Join(s.Migrate(t.Context()), s.Migrate(t.Context())) }()
			}
			for range replicas {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestSQLiteIsDurableAndConcurrent(t *testing.T) {
	t.Parallel()
	s := openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		for name, pool := range map[string]*sql.DB{"read": s.read.DB, "write": s.write.DB} {
			var got string
			if err := pool.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s pool: %s is %q, want %q (%v)", name, pragma, got, want, err)
			}
		}
	}
	if _, err := s.read.Exec("DELETE FROM patients"); err == nil {
		t.Error("the read pool can write")
	}
}
