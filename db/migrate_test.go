package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"patientgraph/db/dbtest"
)

// A program that is older than the database does not touch it.
func TestANewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := open(t)
			s := openStore(t, u)
			newer := SchemaVersion() + 1
			if _, err := s.write.DB.Exec(fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, TRUE)", newer)); err != nil {
				t.Fatal(err)
			}
			again, err := Open(context.Background(), u)
			if again != nil {
				again.Close()
			}
			says := fmt.Sprintf("it has schema version %d, this program knows up to %d: run the newer patientgraph", newer, newer-1)
			if !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), says) {
				t.Errorf("open: %v", err)
			}
			// A replica that is upgraded first, while this one starts.
			if err := s.Migrate(context.Background()); !errors.Is(err, ErrNewerSchema) || strings.Contains(err.Error(), "migrate:") {
				t.Errorf("migrate, which the caller names: %v", err)
			}
		})
	}
}

// To open a database that is not migrated makes nothing in it.
func TestOpenChangesNoSchema(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(context.Background(), open(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			count := "SELECT count(*) FROM sqlite_schema"
			if s.postgres {
				count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
			}
			if n, err := s.number(context.Background(), count); err != nil || n != 0 {
				t.Errorf("%d tables, %v", n, err)
			}
		})
	}
}
