package db

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

// readsOf are calls that end with their context.
func readsOf(s *Store) map[string]func(ctx context.Context) error {
	search := PageRequest{Order: OrderNameAsc, First: 1, Filter: Filter{Name: "kim", Gender: "male"}}
	return map[string]func(ctx context.Context) error{
		"patient": func(ctx context.Context) error { _, err := s.Patient(ctx, "P-1", ColPhone); return err },
		"columns": func(ctx context.Context) error { _, err := s.Patient(ctx, "P-1", ColEmail, ColAddress); return err }, // to be prepared
		"list":    func(ctx context.Context) error { _, err := s.Patients(ctx, search); return err },
		"count":   func(ctx context.Context) error { _, err := s.CountPatients(ctx, search.Filter); return err },
		"line":    func(ctx context.Context) error { _, err := s.ContactUpdate(ctx, "op-1"); return err },
		"ping":    s.Ping,
		"import": func(ctx context.Context) error {
			_, err := s.ImportPatients(ctx, []NewPatient{{Number: "P-3"}}, testTime)
			return err
		},
	}
}

// unanswered are calls of a server that stands still.
type unanswered struct {
	t     *testing.T
	all   sync.WaitGroup
	mu    sync.Mutex
	under map[string]int // those that have not returned, by name
}

// call makes a call that must fail.
func (u *unanswered) call(name string, what func() error) {
	u.count(name, 1)
	u.all.Go(func() {
		if err := what(); err == nil {
			u.t.Errorf("%s was answered", name)
		}
		u.count(name, -1)
	})
}

func (u *unanswered) count(name string, by int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.under[name] += by
}

// wantEnd fails unless all return.
func (u *unanswered) wantEnd() {
	u.t.Helper()
	ended := make(chan struct{})
	go func() { u.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute): // a guard: with an end for each it takes about two times commitTimeout
		u.mu.Lock()
		defer u.mu.Unlock()
		u.t.Errorf("these have no end: %v", u.under)
	}
}

// PostgreSQL stands still, and its connections with it: everything returns when
// its context ends, or by a bound of its own, and all is well afterwards.
func TestPostgresStandsStill(t *testing.T) {
	t.Parallel()
	p := newProxy(t, dbtest.Postgres(t))
	s := openStore(t, p.url)
	add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2"})
	reads := readsOf(s)
	for range 3 { // connections are open
		var wg sync.WaitGroup
		for _, read := range reads {
			wg.Go(func() { _ = read(context.Background()) })
		}
		wg.Wait()
	}

	p.frozen.Lock()
	calls := &unanswered{t: t, under: map[string]int{}}
	for name, read := range reads {
		for range 20 { // more than there are places and connections
			calls.call(name, func() error {
				ctx, end := context.WithTimeout(context.Background(), 200*time.Millisecond)
				defer end()
				return read(ctx)
			})
		}
	}
	calls.call("ping without a bound", func() error { return s.Ping(context.Background()) })
	for range 300 { // more than go together
		calls.call("profile", func() error {
			_, err := s.SetProfile("P-2", ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime)
			return err
		})
		calls.call("begin", func() error { _, err := begin(s, "op-1", "P-1", ""); return err })
	}
	calls.call("send", func() error { return s.SendUpdate("op-1", "me", "P-1", "", "{}") })
	calls.wantEnd()
	p.frozen.Unlock()

	// A connection that was begun meanwhile may fail once more.
	for name, read := range reads {
		wait.Until(t, name+" goes on as the server does", func() bool {
			err := read(context.Background())
			return err == nil || name == "line" && errors.Is(err, ErrNotFound)
		})
	}
	setBloodType(t, s, "P-2")
	for name, pool := range map[string]*bun.DB{"read": s.read, "journal": s.journal} {
		wait.Until(t, "the connections of the "+name+" pool are given back", func() bool { return pool.DB.Stats().InUse == 0 })
	}
	if n := s.searches.inUse(); n != 0 {
		t.Errorf("%d places for searches are not given back", n)
	}
}

// What a read has begun in PostgreSQL ends there too, when nobody can tell it
// that the client has gone. The journal waits for the disk and the standby for
// as long as they need.
func TestTheServerEndsReadsByItself(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.Postgres(t))
	for want, pool := range map[string]*bun.DB{"15s": s.read, "0": s.journal} {
		var is string
		if err := pool.DB.QueryRow("SHOW statement_timeout").Scan(&is); err != nil || is != want {
			t.Errorf("statement_timeout is %s, want %s (%v)", is, want, err)
		}
	}
}

// Open does not wait for ever for a server that takes the connection and says
// nothing.
func TestOpenOfAServerThatStandsStill(t *testing.T) {
	t.Parallel()
	p := newProxy(t, dbtest.Postgres(t))
	p.frozen.Lock()
	defer p.frozen.Unlock()
	opened := make(chan error, 1)
	go func() {
		s, err := Open(context.Background(), p.url)
		if err == nil {
			s.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		if err == nil {
			t.Error("it was opened")
		}
	case <-time.After(2 * time.Minute): // a guard
		t.Error("it waits still")
	}
}
