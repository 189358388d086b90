package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	zombiezen "zombiezen.com/go/sqlite"

	"patientgraph/db/dbtest"
)

// nothing reads a row and keeps nothing of it.
func nothing(resultRow) error { return nil }

// What is read without database/sql is what it reads.
func TestEachReadsWhatDatabaseSQLReads(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		fillHospital(t, s, 300)
		setBloodType(t, s, "P-2025-000001")
		if _, err := begin(s, "op-1", "P-2025-000002", ""); err != nil {
			t.Fatal(err)
		}
		text := s.translate("SELECT " + allColumns.names(", ") + " FROM patients WHERE id <> ? ORDER BY id")
		var want, got []*Patient
		keep := func(into *[]*Patient) func(resultRow) error {
			return func(row resultRow) error {
				p, err := allColumns.scan(row)
				*into = append(*into, p)
				return err
			}
		}
		rows, err := s.read.DB.QueryContext(t.Context(), text, "nobody")
		if err := eachRow(rows, err, keep(&want)); err != nil {
			t.Fatal(err)
		}
		if err := s.eachPrepared(t.Context(), text, []any{"nobody"}, keep(&got)); err != nil {
			t.Fatal(err)
		}
		if len(want) < 300 || len(got) != len(want) {
			t.Fatalf("%d rows, by database/sql %d", len(got), len(want))
		}
		for n, p := range want {
			if !reflect.DeepEqual(got[n], p) {
				t.Fatalf("%+v, by database/sql %+v", got[n], p)
			}
		}
	})
}

// Texts are read whole, whatever is in them; NULL is no text.
func TestTextsAreReadWhole(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	for _, want := range []string{"", "a\x00b", "\xff\xfe", "é" + string(make([]byte, 5_000)) + "世"} {
		got := "?"
		if err := s.eachPrepared(t.Context(), "SELECT ?", []any{want}, func(row resultRow) error { return row.Scan(&got) }); err != nil || got != want {
			t.Errorf("%q is read as %q (%v)", want, got, err)
		}
	}
	var text string
	var number int64
	for _, c := range []struct {
		selected string
		into     any
	}{{"NULL", &text}, {"NULL", &number}, {"'1'", &number}, {"1", new(int)}} {
		if err := s.eachPrepared(t.Context(), "SELECT "+c.selected, nil, func(row resultRow) error { return row.Scan(c.into) }); err == nil {
			t.Errorf("%s is read into %T", c.selected, c.into)
		}
	}
}

// Who gives up ends his SELECT, and the connection serves the next.
func TestWhoGivesUpEndsHisSelect(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := s.eachPrepared(ctx, endless, nil, nothing); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if err := s.eachPrepared(ctx, "SELECT 1", nil, nothing); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
			if err := s.eachPrepared(ctx, "SELECT 1", nil, nothing); err == nil {
				t.Error("who has gone is served")
			}
			if err := s.eachPrepared(t.Context(), "SELECT 1", nil, nothing); err != nil {
				t.Error(err)
			}
		}
	})
}

// What goes wrong with a row, even a panic, keeps no connection.
func TestAFailedReadKeepsNoConnection(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1"}, NewPatient{Number: "P-2"})
		mistake := errors.New("a mistake")
		for range 2 * readConnections {
			if err := s.eachPrepared(t.Context(), "SELECT id FROM patients", nil, func(resultRow) error { return mistake }); !errors.Is(err, mistake) {
				t.Fatal(err)
			}
			if err := s.eachPrepared(t.Context(), "SELECT nothing FROM nowhere", nil, nothing); err == nil || IsAway(err) {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic was kept")
					}
				}()
				_ = s.eachPrepared(t.Context(), "SELECT id FROM patients", nil, func(resultRow) error { panic("a row") })
			}()
		}
		setBloodType(t, s, "P-1") // no reader keeps an old state in sight
		if p, err := s.Patient(t.Context(), "P-1"); err != nil || p.BloodType == "" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// A connection keeps few statements, and many callers share few connections.
func TestReadersKeepFewStatements(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	readers := s.database.(sqlite).readers
	var wg sync.WaitGroup
	for caller := range 32 {
		wg.Go(func() {
			for n := range 50 {
				want, got := int64(caller*1000+n), int64(0)
				err := s.eachPrepared(t.Context(), fmt.Sprintf("SELECT %d + ?", want), []any{int64(0)}, func(row resultRow) error { return row.Scan(&got) })
				if err != nil || got != want {
					t.Errorf("%d, want %d: %v", got, want, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(readers.idle); n < 1 || n > cap(readers.places) {
		t.Errorf("%d connections", n)
	}
	for _, r := range readers.idle {
		if r.prepared.Len() > maxKept {
			t.Errorf("%d statements", r.prepared.Len())
		}
	}
}

// Who reads while the store is closed reads to his end, and the next is told.
func TestCloseWaitsForReaders(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	reads, goOn, closed := make(chan struct{}), make(chan struct{}), make(chan error)
	told := make(chan error, 1)
	go func() {
		told <- s.eachPrepared(context.Background(), "SELECT 1 UNION ALL SELECT 2", nil, func(resultRow) error {
			select {
			case reads <- struct{}{}:
				<-goOn
			default:
			}
			return nil
		})
	}()
	<-reads
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Errorf("closed beside a reader: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if err := errors.Join(<-told, <-closed); err != nil {
		t.Error(err)
	}
	if err := s.eachPrepared(context.Background(), "SELECT 1", nil, nothing); !IsAway(err) {
		t.Errorf("after the end: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Closing is what several may do at once.
func TestReadersAreClosedByMany(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(s.database.(sqlite).readers.close)
	}
	wg.Wait()
}

// Who waits for a connection waits no longer than he may.
func TestWhoWaitsForAReaderMayGo(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	readers := s.database.(sqlite).readers
	for range cap(readers.places) {
		readers.places <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.eachPrepared(ctx, "SELECT 1", nil, nothing); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range cap(readers.places) {
		<-readers.places
	}
}

// A connection that cannot read its file serves nobody else.
func TestABrokenReaderIsLeft(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	readers := s.database.(sqlite).readers
	for fault, broken := range map[zombiezen.ResultCode]bool{zombiezen.ResultIOErrRead: true, zombiezen.ResultCantOpen: true, zombiezen.ResultInterrupt: false, zombiezen.ResultError: false} {
		r, err := readers.open()
		if err != nil {
			t.Fatal(err)
		}
		before := len(readers.idle)
		if err := r.fault(fault.ToError()); !IsAway(err) && broken || !strings.Contains(err.Error(), fmt.Sprint(int(fault))) {
			t.Errorf("%v is told as %v", fault, err)
		}
		readers.giveBack(r)
		if left := len(readers.idle) == before; left != broken {
			t.Errorf("%v: left %v", fault, left)
		}
	}
}

// Who lets everybody in, and cuts each connection at its first statement, is asked once.
func TestANewConnectionThatIsCutEndsARead(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	var cutting atomic.Bool
	var cut atomic.Int64
	s := openStore(t, dbtest.Between(t, databaseURL, func(client, server net.Conn) {
		defer client.Close()
		defer server.Close()
		go func() { _, _ = io.Copy(client, server) }()
		for buffer := make([]byte, 64<<10); ; {
			n, err := client.Read(buffer)
			if cutting.Load() && bytes.Contains(buffer[:n], []byte("SELECT")) {
				cut.Add(1)
				return
			}
			if err != nil {
				return
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
	}))
	cutting.Store(true)
	old := s.read.Stats().OpenConnections
	if err := s.eachPrepared(t.Context(), "SELECT 1", nil, nothing); !isCut(err) {
		t.Error(err)
	}
	if cut.Load() > int64(old+1) {
		t.Errorf("%d connections were cut by one read", cut.Load())
	}
}

// What is cut in its midst is told, and not begun anew.
func TestAReadThatIsCutIsNotWhole(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	s, outside := openStore(t, databaseURL), dbtest.Open(t, databaseURL)
	const many = "SELECT CAST(n AS bigint) FROM generate_series(1, 3000000) AS n"
	var last int64
	inOrder := func(row resultRow) error {
		before := last
		if err := row.Scan(&last); err != nil || last != before+1 {
			return fmt.Errorf("row %d after %d (%w)", last, before, err)
		}
		if last == 1 {
			_, err := outside.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			return err
		}
		return nil
	}
	for name, read := range map[string]func() error{
		"by pgx": func() error { return s.eachPrepared(t.Context(), many, nil, inOrder) },
		"by database/sql": func() error {
			rows, err := s.query(t.Context(), many)
			return eachRow(rows, err, inOrder)
		},
	} {
		for range 2 { // the second time the connections have been used
			last = 0
			if err := read(); !isCut(err) {
				t.Errorf("%s: row %d, %v", name, last, err)
			}
			useAtOnce(t, s.read.DB, 2)
		}
	}
}
