package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

// usual is how most updates end: FHIR shows the new phone, and the row is the
// runOne that the update began with.
func usual(id string, row *Patient, shown FHIRState) Closing {
	return Closing{ID: id, PatientID: row.ID, Row: row, State: UpdateApplied, Shown: &shown}
}

func TestCloseTheUsualUpdate(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		for name, c := range map[string]struct {
			meanwhile  func(id string)
			familyName string
		}{
			"nothing else":                  {},
			"a profile changes meanwhile":   {meanwhile: func(id string) { setBloodType(t, s, id) }},
			"the FHIR server has new names": {familyName: "Chalmers"},
		} {
			t.Run(name, func(t *testing.T) {
				id := "P-" + name
				add(t, s, testTime, NewPatient{Number: id, FHIRID: name, State: FHIRState{FamilyName: "Windsor", Phone: "1"}})
				begun, err := begin(s, "op-"+name, id, "")
				if err != nil {
					t.Fatal(err)
				}
				if err := s.SendUpdate("op-"+name, "me", id, `W/"1"`, "{}"); err != nil {
					t.Fatal(err)
				}
				want := *begun.Patient
				if c.meanwhile != nil {
					c.meanwhile(id)
					want.BloodType, want.Version = "A", 2
				}
				family := "Windsor"
				if c.familyName != "" {
					family = c.familyName
				}
				told := closed(t, s, usual("op-"+name, begun.Patient, FHIRState{FamilyName: family, Phone: "2", FHIRVersionID: "7"}))
				want.FamilyName, want.Phone, want.FHIRVersionID, want.SyncState = family, "2", "7", Synced
				want.Version++
				want.UpdatedAt, want.LastSyncedAt = told.UpdatedAt, told.LastSyncedAt
				read, err := s.Patient(ctx, id)
				if err != nil || !sameRow(told, read) || !sameRow(read, &want) {
					t.Errorf("told   %+v\nstored %+v (%v)\nwant   %+v", told, read, err, &want)
				}
				u, err := s.ContactUpdate(ctx, "op-"+name)
				if err != nil || u.State != UpdateApplied || !sameRow(u.Patient, read) {
					t.Errorf("the journal has %+v, %v", u, err)
				}
				if n, err := s.CountPatients(ctx, Filter{Name: family, Phone: "2"}); err != nil || n == 0 {
					t.Errorf("the indexes find %d (%v)", n, err)
				}
				if _, err := s.CloseUpdate(Closing{ID: "op-" + name, Owner: "me", PatientID: id, Row: read,
					State: UpdateApplied, Shown: &FHIRState{Phone: "3"}}); !errors.Is(err, ErrLostLease) {
					t.Errorf("closed twice: %v", err)
				}
				if again, err := s.Patient(ctx, id); err != nil || !sameRow(again, read) {
					t.Errorf("that left %+v, want %+v (%v)", again, read, err)
				}
			})
		}
	})
}

func setBloodType(t *testing.T, s *Store, id string) {
	t.Helper()
	if _, err := s.SetProfile(id, ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime); err != nil {
		t.Fatal(err)
	}
}

// An earlier update took effect late and is open again: the row is not SYNCED.
func TestCloseBesideAReopenedUpdate(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
		sent(t, s, "op-1", "P-1")
		closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateNotApplied})
		begun, err := begin(s, "op-2", "P-1", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendUpdate("op-2", "me", "P-1", "", "{}"); err != nil {
			t.Fatal(err)
		}
		if err := s.ReopenUpdate("op-1", "P-1"); err != nil {
			t.Fatal(err)
		}
		told := closed(t, s, usual("op-2", begun.Patient, FHIRState{Phone: "2"}))
		read, err := s.Patient(context.Background(), "P-1")
		if err != nil || read.SyncState != Pending || read.Phone != "2" || !sameRow(told, read) {
			t.Errorf("told   %+v\nstored %+v (%v)", told, read, err)
		}
	})
}

// Whatever the database's default is: what a statement waited for, the next one
// must see.
func TestEachStatementSeesWhatIsCommitted(t *testing.T) {
	t.Parallel()
	u := dbtest.Postgres(t)
	s := openStore(t, u)
	if _, err := s.write.DB.Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, u)
	for name, pool := range map[string]*bun.DB{"read": s.read, "journal": s.journal} {
		var level string
		if err := pool.DB.QueryRow("SHOW transaction_isolation").Scan(&level); err != nil || level != "read committed" {
			t.Errorf("%s: %s (%v)", name, level, err)
		}
	}
}

// Another replica has the row locked, and changes it, while CloseUpdate waits.
func TestCloseWaitsForAChangedRow(t *testing.T) { onServers(t, closeWaitsForAChangedRow) }

func closeWaitsForAChangedRow(t *testing.T, open func(testing.TB) string) {
	s := openStore(t, open(t))
	ctx := context.Background()
	for name, change := range map[string]string{
		"version": `UPDATE patients SET blood_type = 'A', version = version + 1 WHERE id = $1`,
		"mark":    `UPDATE patients SET sync_state = 'SYNCED' WHERE id = $1`,
		"nothing": `SELECT 1 FROM patients WHERE id = $1 FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			add(t, s, testTime, NewPatient{Number: name, FHIRID: name, State: FHIRState{Phone: "1"}})
			begun, err := begin(s, "op-"+name, name, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SendUpdate("op-"+name, "me", name, `W/"1"`, "{}"); err != nil {
				t.Fatal(err)
			}
			tx, err := s.write.DB.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(change, name); err != nil {
				t.Fatal(err)
			}
			var told *Patient
			var wg sync.WaitGroup
			wg.Go(func() { told = closed(t, s, usual("op-"+name, begun.Patient, FHIRState{Phone: "2"})) })
			waitsForLock(t, s)
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			p, err := s.Patient(ctx, name)
			if err != nil || told == nil || !sameRow(told, p) || p.Phone != "2" || p.SyncState != Synced || (p.BloodType == "A") != (name == "version") {
				t.Errorf("told   %+v\nstored %+v, %v", told, p, err)
			}
			if st := stateOf(t, s, "op-"+name); st != UpdateApplied {
				t.Errorf("state %s", st)
			}
		})
	}
}

// waitsForLock returns when a statement of this database waits for a row.
func waitsForLock(t *testing.T, s *Store) {
	t.Helper()
	wait.Until(t, "a statement waits for a lock", func() bool {
		var n int
		if err := s.read.DB.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
}

// Only what begins an update need not wait for the disk.
func TestTheRestIsDurable(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		var wg sync.WaitGroup
		for n := range 32 {
			id := fmt.Sprint("P-", n)
			add(t, s, testTime, NewPatient{Number: id, FHIRID: id})
			wg.Go(func() {
				_, _ = begin(s, "op-"+id, id, "")
				_, _ = begin(s, "op2-"+id, id, "") // refused
				_, _ = begin(s, "op3-"+id, "nobody", "")
			})
		}
		wg.Wait()
		question, want := "PRAGMA synchronous", "2"
		if onPostgres(s) {
			question, want = "SHOW synchronous_commit", "on"
		}
		conns := 1
		if onPostgres(s) {
			conns = s.journal.DB.Stats().OpenConnections
		}
		for range conns {
			conn, err := s.journal.DB.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var is string
			if err := conn.QueryRowContext(ctx, question).Scan(&is); err != nil || is != want {
				t.Errorf("%s: %s, want %s (%v)", question, is, want, err)
			}
		}
	})
}
