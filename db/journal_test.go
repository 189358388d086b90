package db

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
)

// begin accepts an update for owner "me".
func begin(s *Store, id, patientID, key string) (*Begun, error) {
	return s.BeginUpdate(context.Background(), ContactUpdate{ID: id, PatientID: patientID, Actor: "a", IdempotencyKey: key, Digest: "d"}, "me", time.Minute)
}

// sent accepts an update and notes that its PUT leaves.
func sent(t *testing.T, s *Store, id, patientID string) {
	t.Helper()
	if _, err := begin(s, id, patientID, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.SendUpdate(id, "me", patientID, `W/"1"`, "{}"); err != nil {
		t.Fatal(err)
	}
}

// closed ends an update of owner "me".
func closed(t *testing.T, s *Store, c Closing) *Patient {
	t.Helper()
	c.Owner, c.At = "me", testTime.Add(time.Hour)
	p, err := s.CloseUpdate(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sameRow compares what can be seen of two rows.
func sameRow(a, b *Patient) bool {
	x, y := *a, *b
	for _, p := range []*Patient{&x, &y} { // an answer shows none of these
		p.keys, p.versions, p.versionsAsOf, p.stored, p.kept = keys{}, [changeable]int64{}, 0, [changeable]string{}, seldomValues{}
	}
	return reflect.DeepEqual(x, y)
}

func stateOf(t *testing.T, s *Store, id string) UpdateState {
	t.Helper()
	u, err := s.ContactUpdate(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return u.State
}

func TestOneOpenUpdateForEachPatient(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2"}, NewPatient{Number: "P-3"})
		var begun atomic.Int32
		var wg sync.WaitGroup
		for n := range 16 {
			wg.Go(func() {
				_, err := begin(s, fmt.Sprint("op-", n), "P-1", "")
				if err == nil {
					begun.Add(1)
				} else if !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if begun.Load() != 1 {
			t.Errorf("%d updates hold the patient", begun.Load())
		}
		if _, err := begin(s, "other", "P-2", ""); err != nil {
			t.Errorf("another patient: %v", err)
		}
		if _, err := begin(s, "local", "P-3", ""); !errors.Is(err, ErrNoFHIRID) {
			t.Errorf("without FHIR id: %v", err)
		}
		if _, err := begin(s, "unknown", "P-9", ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown patient: %v", err)
		}
	})
}

func TestCloseUpdate(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()})
		sent(t, s, "op-1", "P-1")
		if p, err := s.Patient(ctx, "P-1"); err != nil || p.SyncState != Pending || p.Version != 1 {
			t.Fatalf("while the PUT is under way: %+v, %v", p, err)
		}
		told := closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateApplied, Answer: `{"x":1}`,
			Shown: &FHIRState{FamilyName: "Chalmers", FullName: "Jim Chalmers", Phone: "1"}})
		read, err := s.Patient(ctx, "P-1")
		if err != nil || !sameRow(told, read) || read.SyncState != Synced || read.Version != 2 || read.Email != "" {
			t.Errorf("told   %+v\nstored %+v (%v)", told, read, err)
		}
		for name, found := range map[string]int{"홍": 0, "chal": 1} {
			if n, err := s.CountPatients(ctx, Filter{Name: name}); err != nil || n != found {
				t.Errorf("%d patients named %s, want %d (%v)", n, name, found, err)
			}
		}
		u, err := s.ContactUpdate(ctx, "op-1")
		if err != nil || u.State != UpdateApplied || u.Answer != `{"x":1}` || !sameRow(u.Patient, read) || u.SettledAt.IsZero() {
			t.Errorf("the journal has %+v, %v", u, err)
		}
		if _, err := s.CloseUpdate(Closing{ID: "op-1", Owner: "me", PatientID: "P-1", State: UpdateRejected}); !errors.Is(err, ErrLostLease) {
			t.Errorf("closed twice: %v", err)
		}

		sent(t, s, "op-2", "P-1")
		closed(t, s, Closing{ID: "op-2", PatientID: "P-1", State: UpdateRejected})
		if again, err := s.Patient(ctx, "P-1"); err != nil || !sameRow(again, read) {
			t.Errorf("a rejection left %+v, want %+v (%v)", again, read, err)
		}
	})
}

func TestAnUnsettledUpdateKeepsThePatientPending(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
		sent(t, s, "op-1", "P-1")
		closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateUnknown, RetryIn: time.Hour})
		begun, err := begin(s, "op-2", "P-1", "")
		if err != nil || len(begun.Unresolved) != 1 || begun.Unresolved[0].ID != "op-1" || begun.Unresolved[0].IfMatch != `W/"1"` {
			t.Fatalf("%+v, %v", begun, err)
		}
		p := closed(t, s, Closing{ID: "op-2", PatientID: "P-1", State: UpdateApplied, Shown: &FHIRState{Phone: "2"}, IfVersion: begun.Patient.Version})
		if p.SyncState != Pending {
			t.Errorf("a mere read settled a lost write: %+v", p)
		}
		sent(t, s, "op-3", "P-1")
		p = closed(t, s, Closing{ID: "op-3", PatientID: "P-1", State: UpdateApplied, Shown: &FHIRState{Phone: "3"}, LandedETag: `W/"1"`})
		if p.SyncState != Synced || stateOf(t, s, "op-1") != UpdateNotApplied {
			t.Errorf("a landed PUT on the same version leaves %+v, %s", p, stateOf(t, s, "op-1"))
		}
	})
}

func TestSlowAnswersDoNotGoBackwards(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
		sent(t, s, "op-1", "P-1")
		closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateUnknown, RetryIn: -time.Second})
		begun, err := begin(s, "op-2", "P-1", "")
		if err != nil {
			t.Fatal(err)
		}
		if claimed, err := s.ClaimUpdates("other", "", time.Minute, 9); err != nil || len(claimed) != 1 {
			t.Fatalf("%+v, %v", claimed, err)
		}
		if err := s.HoldUpdate("op-1", "other", "P-1"); !errors.Is(err, ErrBusy) {
			t.Errorf("settled while another write is under way: %v", err)
		}
		slow := Closing{ID: "op-2", Owner: "me", PatientID: "P-1", State: UpdateApplied, Shown: &FHIRState{Phone: "old"}, IfVersion: begun.Patient.Version, At: testTime}
		if _, err := s.SetProfile("P-1", ProfileEdit{SetBloodType: true, BloodType: "A+"}, 0, testTime); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CloseUpdate(slow); !errors.Is(err, ErrVersionMismatch) {
			t.Errorf("after the row moved on: %v", err)
		}
		closed(t, s, Closing{ID: "op-2", PatientID: "P-1", State: UpdateConflict})
		if _, err := begin(s, "op-3", "P-1", ""); !errors.Is(err, ErrBusy) {
			t.Errorf("a write goes before what is to be settled: %v", err)
		}
		if err := s.HoldUpdate("op-1", "other", "P-1"); err != nil {
			t.Fatal(err)
		}
		if _, err := begin(s, "op-3", "P-1", ""); !errors.Is(err, ErrBusy) {
			t.Errorf("a write while another is being settled: %v", err)
		}
	})
}

func TestLeases(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2"})
		for n, id := range []string{"P-1", "P-2"} {
			if _, err := s.BeginUpdate(context.Background(), ContactUpdate{ID: fmt.Sprint("op-", n+1), PatientID: id}, "dead", 20*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.RenewUpdates("dead", []string{"op-2"}, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		var claimed atomic.Int32
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				list, err := s.ClaimUpdates(fmt.Sprint("heir-", n), "", time.Minute, 10)
				if err != nil || len(list) > 0 && list[0].ID != "op-1" {
					t.Errorf("%+v, %v", list, err)
				}
				claimed.Add(int32(len(list)))
			})
		}
		wg.Wait()
		if claimed.Load() != 1 {
			t.Errorf("%d heirs for one update", claimed.Load())
		}
		if err := s.SendUpdate("op-1", "dead", "P-1", "", ""); !errors.Is(err, ErrLostLease) {
			t.Errorf("the old owner may send: %v", err)
		}
		if err := s.SendUpdate("op-2", "dead", "P-2", "", ""); err != nil {
			t.Errorf("a renewed lease: %v", err)
		}
	})
}

func TestIdempotencyKeysAreKeptAndForgotten(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2"})
		if _, err := begin(s, "op-1", "P-1", "key"); err != nil {
			t.Fatal(err)
		}
		if _, err := begin(s, "op-2", "P-2", "key"); !errors.Is(err, ErrBusy) {
			t.Errorf("the key of another patient's update: %v", err)
		}
		if u, err := s.ContactUpdateByKey(ctx, "a", "key", 0); err != nil || u.ID != "op-1" || !u.State.Open() {
			t.Errorf("an open one is forgotten: %+v, %v", u, err)
		}
		closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateNotApplied})
		if _, err := s.ContactUpdateByKey(ctx, "a", "key", time.Hour); !errors.Is(err, ErrNotFound) {
			t.Errorf("one without effect keeps its key: %v", err)
		}
		sentWithKey, err := begin(s, "op-3", "P-1", "key")
		if err != nil {
			t.Fatal(err)
		}
		closed(t, s, Closing{ID: "op-3", PatientID: "P-1", State: UpdateRejected, IfVersion: sentWithKey.Patient.Version})
		if u, err := s.ContactUpdateByKey(ctx, "a", "key", time.Hour); err != nil || u.ID != "op-3" {
			t.Errorf("%+v, %v", u, err)
		}
		time.Sleep(20 * time.Millisecond)
		if _, err := s.ContactUpdateByKey(ctx, "a", "key", time.Millisecond); !errors.Is(err, ErrNotFound) {
			t.Errorf("after its time: %v", err)
		}
		if _, err := begin(s, "op-4", "P-2", ""); err != nil {
			t.Fatal(err)
		}
		if n, err := s.CleanUpdates(ctx, time.Millisecond); err != nil || n != 2 {
			t.Errorf("%d deleted, want the two that are settled (%v)", n, err)
		}
		if stateOf(t, s, "op-4") != UpdateAccepted {
			t.Error("the open one is gone")
		}
	})
}

func TestOneFailureInACommitFailsNoOther(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		patients := make([]NewPatient, 40)
		for n := range patients {
			patients[n] = NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n)}
		}
		add(t, s, testTime, patients...)
		broken := errors.New("broken")
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				if _, err := begin(s, fmt.Sprint("op-", n), fmt.Sprint("P-", n), ""); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				err := s.transact("P-0", func(ctx context.Context, tx bun.Tx) error {
					if _, err := tx.ExecContext(ctx, "SELECT * FROM nowhere"); err == nil {
						return errors.New("there is a table nowhere")
					}
					return broken
				})
				if !errors.Is(err, broken) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestALateEffectReopensAnUpdate(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
		sent(t, s, "op-1", "P-1")
		closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateNotApplied})
		if err := s.ReopenUpdate("op-1", "P-1"); err != nil {
			t.Fatal(err)
		}
		if p, err := s.Patient(context.Background(), "P-1"); err != nil || p.SyncState != Pending || stateOf(t, s, "op-1") != UpdateUnknown {
			t.Errorf("%+v, %v, %s", p, err, stateOf(t, s, "op-1"))
		}
		if err := s.ReopenUpdate("op-1", "P-1"); !errors.Is(err, ErrLostLease) {
			t.Errorf("reopened twice: %v", err)
		}
	})
}

// TestTheJournalIsNeverScanned holds that no statement reads the journal from
// end to end, however many settled updates it keeps.
func TestTheJournalIsNeverScanned(t *testing.T) {
	t.Parallel()
	s := openStore(t, "sqlite::memory:")
	for _, st := range statements {
		query := s.translate(st.text)
		rows, err := s.read.DB.Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			if detail == "SCAN contact_updates" {
				t.Errorf("%s\nis planned as: %s", query, detail)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
