package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	zombiezen "zombiezen.com/go/sqlite"

	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

func TestWhatIsAway(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return fmt.Errorf("read patient: %w", &pgconn.PgError{Code: code}) }
	for name, c := range map[string]struct {
		err  error
		away bool
	}{
		"nothing":                    {nil, false},
		"no such patient":            {ErrNotFound, false},
		"a row that is unreadable":   {errors.Join(ErrUnreadable, io.ErrUnexpectedEOF), false},
		"another version":            {ErrVersionMismatch, false},
		"no rows":                    {sql.ErrNoRows, false},
		"a statement that is wrong":  {state("42703"), false},
		"a value that breaks a rule": {state("23505"), false},
		"the caller is gone":         {context.Canceled, false},
		"shut down":                  {state("57P01"), true},
		"starting up":                {state("57P03"), true},
		"no connection left":         {state("53300"), true},
		"the disk is full":           {state("53100"), true},
		"a standby":                  {state("25006"), true},
		"a lock":                     {state("55P03"), true},
		"the pooler lost it":         {state("08P01"), true},
		"late":                       {errors.Join(errNotBegun, errLate), true},
		"no answer in time":          {fmt.Errorf("list: %w", context.DeadlineExceeded), true},
		"the file is gone":           {fmt.Errorf("ping: %w", ErrReplaced), true},
		"the file cannot be read":    {fmt.Errorf("step: %w", zombiezen.ResultIOErrRead.ToError()), true},
		"the file cannot be opened":  {zombiezen.ResultCantOpen.ToError(), true},
		"the file is damaged":        {zombiezen.ResultCorrupt.ToError(), false},
	} {
		if IsAway(c.err) != c.away {
			t.Errorf("%s: %v", name, !c.away)
		}
	}
}

func TestWhatIsCut(t *testing.T) {
	t.Parallel()
	ended := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for name, c := range map[string]struct {
		err error
		cut bool
	}{
		"nothing":             {nil, false},
		"ended":               {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), true},
		"ended at once":       {io.EOF, true},
		"reset":               {errors.Join(errNotBegun, ended), true},
		"closed before":       {driver.ErrBadConn, true},
		"by an administrator": {&pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, true},
		"an error":            {&pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "57014"}, false},
		"too late":            {errors.Join(context.DeadlineExceeded, ended), false},
		"none can be made":    {&pgconn.ConnectError{}, false},
		"a file":              {zombiezen.ResultIOErrRead.ToError(), false},
		"another version":     {ErrVersionMismatch, false},
	} {
		if isCut(c.err) != c.cut {
			t.Errorf("%s: %v", name, !c.cut)
		}
	}
}

// PostgreSQL ends every connection and takes no new one: whatever is asked says that the
// database is away, and all is well when it is back.
func TestAPostgresThatEndsConnectionsIsAway(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	s := openStore(t, databaseURL)
	add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2"})
	calls := readsOf(s)
	calls["profile"] = func(context.Context) error {
		_, err := s.SetProfile("P-2", ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime)
		return err
	}
	calls["begin"] = func(context.Context) error { _, err := begin(s, "op-1", "P-1", ""); return err }
	for _, call := range calls { // connections are open
		_ = call(t.Context())
	}
	open := dbtest.Shut(t, databaseURL)
	for name, call := range calls {
		if err := call(t.Context()); !IsAway(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	open()
	wait.Until(t, "it is back", func() bool { _, err := s.Patient(t.Context(), "P-1"); return err == nil })
}

// Every idle connection is cut, and the server is there: who writes, or reads one patient or a
// page of all, finds one that is whole.
func TestConnectionsThatWereCutAreLeftBehind(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(*Store) error{
		"a write in a transaction": func(s *Store) error {
			_, err := s.SetProfile("P-2", ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime)
			return err
		},
		"a write in a pipeline": func(s *Store) error { _, err := begin(s, "op-1", "P-1", ""); return err },
		"a patient":             func(s *Store) error { _, err := s.Patient(context.Background(), "P-1"); return err },
		"a page": func(s *Store) error {
			_, err := s.Patients(context.Background(), PageRequest{Order: OrderCreatedDesc, First: 2})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			databaseURL := dbtest.Postgres(t)
			s, outside := openStore(t, databaseURL), dbtest.Open(t, databaseURL)
			add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2"})
			for range 2 { // taken again a moment ago: the driver looks at none when it is used again
				useAtOnce(t, s.journal.DB, journalConnections)
				useAtOnce(t, s.read.DB, readConnections)
			}
			const others = "datname = current_database() AND pid <> pg_backend_pid()"
			if _, err := outside.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + others); err != nil {
				t.Fatal(err)
			}
			wait.Until(t, "they are cut", func() bool {
				var n int
				return outside.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE "+others).Scan(&n) == nil && n == 0
			})
			if err := call(s); err != nil {
				t.Error(err)
			}
		})
	}
}

// useAtOnce uses so many connections of a pool, and gives them back.
func useAtOnce(t *testing.T, pool *sql.DB, n int) {
	t.Helper()
	conns := make([]*sql.Conn, n)
	for i := range conns {
		conn, err := pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	for _, conn := range conns {
		if err := errors.Join(conn.PingContext(t.Context()), conn.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// Who cuts each connection, as a proxy before no server does, is not asked for ever.
func TestConnectionsThatAreCutAgainAndAgainEndAWrite(t *testing.T) {
	t.Parallel()
	tries := 0
	cut := func() error { tries++; return fmt.Errorf("read: %w", io.ErrUnexpectedEOF) }
	if err := retryAlone(cut(), cut); err == nil || tries != journalConnections+1 {
		t.Errorf("%d tries: %v", tries, err)
	}
}
