package db

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/pressly/goose/v3/lock"

	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

// onServers runs a test on PostgreSQL, and on PostgreSQL behind a pooler.
func onServers(t *testing.T, test func(t *testing.T, open func(testing.TB) string)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) { test(t, dbtest.Postgres) })
	t.Run("pooler", func(t *testing.T) { test(t, dbtest.Pooler) })
}

// The next transaction meets another session: nothing may be left in one, nor
// asked of it. (Not every pooler notices: newer ones keep prepared statements.)
func TestBehindAPoolerNothingIsLeftInASession(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := newProxy(t, dbtest.Pooled(dbtest.Postgres(t)))
	s := openStore(t, p.url)
	add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{State: FHIRState{FamilyName: "Windsor"}})
	if err := writeThrough(s, "P-1", 0); err != nil {
		t.Fatal(err)
	}
	sent(t, s, "op-2", "P-1")
	if _, err := s.ClaimUpdates("other", "", 1, 10); err != nil {
		t.Fatal(err)
	}
	closed(t, s, Closing{ID: "op-2", PatientID: "P-1", State: UpdateNotApplied})
	setBloodType(t, s, "P-1")
	for range 2 { // a driver may keep what comes again
		if _, err := s.Patient(ctx, "P-1", ColPhone); err != nil {
			t.Fatal(err)
		}
		if page, err := s.Patients(ctx, PageRequest{Filter: Filter{Name: "wind"}, Order: OrderNameAsc, First: 5}); err != nil || len(page.Patients) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
		if _, err := s.ContactUpdate(ctx, "op-2"); err != nil {
			t.Fatal(err)
		}
		if open, err := s.StillOpen(ctx, []string{"op-2"}); err != nil || len(open) > 0 {
			t.Fatal(open, err)
		}
	}
	if _, err := s.CleanUpdates(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if kept := p.kept.take(); len(kept) > 0 {
		t.Errorf("%d statements are kept in sessions", len(kept))
	}
	for _, setting := range p.asked.take() {
		if !slices.Contains([]string{"user", "database", "client_encoding", "application_name"}, setting) {
			t.Errorf("a session is asked for %s", setting)
		}
	}
	texts := p.take()
	for _, text := range texts {
		for _, bad := range []string{"SET ", "LISTEN", "PG_ADVISORY", "PG_TRY_ADVISORY_LOCK", "PREPARE", "TEMP "} {
			if start := strings.ToUpper(strings.TrimSpace(text)); strings.HasPrefix(start, bad) || bad[0] == 'P' && strings.Contains(start, bad) {
				t.Errorf("%s is left in a session by: %s", bad, text)
			}
		}
	}
	if !slices.Contains(texts, beginUpdate.postgres) || !slices.Contains(texts, forTransaction) {
		t.Errorf("not everything was seen: %q", texts)
	}
}

// Who does not know of the pooler is told.
func TestAPoolerThatIsNotSaid(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) string{
		"it refuses settings": func(t *testing.T) string {
			return strings.Replace(dbtest.Pooler(t), "pool=transaction", "application_name=x", 1)
		},
		"it ignores settings": func(t *testing.T) string { return ignoring(t, dbtest.Postgres(t)) },
		"another program's parameter": func(t *testing.T) string {
			return strings.Replace(dbtest.Pooler(t), "pool=transaction", "pgbouncer=true", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(context.Background(), open(t))
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), "add ?pool=transaction to DATABASE_URL") {
				t.Error(err)
			}
		})
	}
}

// ignoring stands before PostgreSQL and passes on who asks for which database,
// and none of the settings.
func ignoring(t *testing.T, databaseURL string) string {
	return dbtest.Between(t, databaseURL, func(client, server net.Conn) {
		defer server.Close()
		message, err := pgproto3.NewBackend(client, client).ReceiveStartupMessage()
		start, is := message.(*pgproto3.StartupMessage)
		if err != nil || !is {
			client.Close()
			return
		}
		start.Parameters = map[string]string{"user": start.Parameters["user"], "database": start.Parameters["database"]}
		encoded, err := start.Encode(nil)
		if err == nil {
			_, err = server.Write(encoded)
		}
		if err != nil {
			client.Close()
			return
		}
		go func() { _, _ = io.Copy(server, client); server.Close() }()
		_, _ = io.Copy(client, server)
		client.Close()
	})
}

func TestOtherValuesOfPoolAreRefused(t *testing.T) {
	t.Parallel()
	for databaseURL, says := range map[string]string{
		"postgres://127.0.0.1:1/x?pool=session":                "pool=transaction is for a pooler",
		"postgres://127.0.0.1:1/x?pool=":                       "pool=transaction is for a pooler",
		"postgres://127.0.0.1:1/x?sslmode=disable&pool=10":     "pool=transaction is for a pooler",
		"sqlite:" + t.TempDir() + "/x.db?pool=transaction":     "SQLite has none",
		"sqlite::memory:?pool=transaction":                     "SQLite has none",
		"sqlite:" + t.TempDir() + "/x.db?a=b&pool=transaction": "SQLite has none",
	} {
		s, err := Open(context.Background(), databaseURL)
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", databaseURL)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", databaseURL, err)
		}
	}
}

// What a session cannot be told the database must be: see also
// TestEachStatementSeesWhatIsCommitted.
func TestBehindAPoolerTheIsolationIsChecked(t *testing.T) {
	t.Parallel()
	u := dbtest.Pooled(dbtest.Postgres(t))
	openStore(t, u)
	if _, err := dbtest.Open(t, u).Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), u)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "SET default_transaction_isolation = 'read committed'") {
		t.Error(err)
	}
}

// While a program of before migrates, this one waits; it would hold the lock in
// its session.
func TestMigrateWaitsForAnOlderProgram(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]func(string) string{"postgres": strings.Clone, "pooler": dbtest.Pooled} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			u := dbtest.Postgres(t)
			older, err := dbtest.Open(t, u).Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer older.Close()
			if _, err := older.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lock.DefaultLockID); err != nil {
				t.Fatal(err)
			}
			p := newProxy(t, said(u))
			s, err := Open(ctx, p.url)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			done := make(chan error, 1)
			go func() { done <- s.Migrate(ctx) }()
			asked := 0
			wait.Until(t, "it has asked twice for its turn", func() bool {
				for _, text := range p.take() {
					if strings.Contains(text, "pg_try_advisory_xact_lock") {
						asked++
					}
				}
				return asked >= 2
			})
			if n, err := s.number(ctx, s.tables(), "patients"); err != nil || n != 0 {
				t.Errorf("%d tables, %v", n, err)
			}
			if _, err := older.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", lock.DefaultLockID); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n, err := s.number(ctx, s.tables(), "patients"); err != nil || n != 1 {
				t.Errorf("%d tables, %v", n, err)
			}
		})
	}
}
