package db

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/db/dbtest"
)

// A row of the patient is changed by another replica (a profile change, an
// import) while SendUpdate waits for it: EvalPlanQual.
func TestSendWaitsForAChangedRow(t *testing.T) { onServers(t, sendWaitsForAChangedRow) }

func sendWaitsForAChangedRow(t *testing.T, open func(testing.TB) string) {
	s := openStore(t, open(t))
	ctx := context.Background()
	add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
	if _, err := begin(s, "op-1", "P-1", ""); err != nil {
		t.Fatal(err)
	}
	tx, err := s.write.DB.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`UPDATE patients SET blood_type = 'A', version = version + 1 WHERE id = 'P-1'`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.SendUpdate("op-1", "me", "P-1", `W/"1"`, "{}") }()
	time.Sleep(300 * time.Millisecond)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	p, err := s.Patient(ctx, "P-1")
	if err != nil || p.SyncState != Pending || p.BloodType != "A" {
		t.Errorf("%+v, %v", p, err)
	}
	if st := stateOf(t, s, "op-1"); st != UpdateSent {
		t.Errorf("state %s", st)
	}
}

// One patient's row is locked by somebody else (an import's batch, a replica
// that stands still in a transaction): others must not wait for it.
func TestOthersDoNotWaitForALockedRow(t *testing.T) { onServers(t, othersDoNotWaitForALockedRow) }

func othersDoNotWaitForALockedRow(t *testing.T, open func(testing.TB) string) {
	profile := func(s *Store, id string, _ int64) error {
		_, err := s.SetProfile(id, ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime)
		return err
	}
	for name, c := range map[string]struct {
		locked int
		change func(s *Store, id string, expected int64) error
	}{"1 locked": {1, profile}, "8 locked": {8, profile}, "8 locked, written through": {8, writeThrough}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, open(t))
			ctx := context.Background()
			for n := range 72 {
				add(t, s, testTime, NewPatient{Number: fmt.Sprintf("P-%02d", n), FHIRID: fmt.Sprint("a", n)})
			}
			tx, err := s.write.DB.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if _, err := tx.Exec(`SELECT 1 FROM patients WHERE id < $1 FOR UPDATE`, fmt.Sprintf("P-%02d", c.locked)); err != nil {
				t.Fatal(err)
			}
			stop := time.AfterFunc(12*time.Second, func() { tx.Rollback() })
			defer stop.Stop()
			var wg sync.WaitGroup
			var mu sync.Mutex
			var worst time.Duration
			for n := range 72 {
				wg.Go(func() {
					began := time.Now()
					err := c.change(s, fmt.Sprintf("P-%02d", n), 0)
					mu.Lock()
					defer mu.Unlock()
					if n >= c.locked {
						worst = max(worst, time.Since(began))
						if err != nil {
							t.Error(n, err)
						}
					}
				})
			}
			wg.Wait()
			if worst > 6*time.Second { // half of what the lock is held
				t.Errorf("writes of other patients waited up to %v", worst)
			}
		})
	}
}

// An import and writes of the same patients: no deadlock.
func TestImportAndWritesDoNotDeadlock(t *testing.T) { onServers(t, importAndWritesDoNotDeadlock) }

func importAndWritesDoNotDeadlock(t *testing.T, open func(testing.TB) string) {
	s := openStore(t, open(t))
	ctx := context.Background()
	const n = 200
	for k := n - 1; k >= 0; k-- {
		add(t, s, testTime, NewPatient{Number: fmt.Sprintf("P-%03d", k), FHIRID: fmt.Sprint("a", k)})
	}
	end := time.Now().Add(6 * time.Second)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for k := w; time.Now().Before(end); k = (k + 7) % n {
				if _, err := s.SetProfile(fmt.Sprintf("P-%03d", k), ProfileEdit{SetBloodType: true, BloodType: fmt.Sprint(k)}, 0, testTime); err != nil {
					t.Error("write:", err)
					return
				}
			}
		})
	}
	imports, failed := 0, 0
	for at := testTime; time.Now().Before(end); at = at.Add(time.Second) {
		var batch []NewPatient
		for k := range n {
			batch = append(batch, NewPatient{Number: fmt.Sprintf("P-%03d", k), FHIRID: fmt.Sprint("a", k), State: FHIRState{FHIRUpdatedAt: at.Add(time.Second)}})
		}
		imports++
		if _, err := s.ImportPatients(ctx, batch, at); err != nil {
			failed++
			t.Log(err)
		}
	}
	wg.Wait()
	if failed > 0 {
		t.Errorf("%d of %d imports failed", failed, imports)
	}
}

// On PostgreSQL, too, no statement reads a large journal from end to end.
func TestThePlansForALargeJournal(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.Postgres(t))
	fillJournal(t, s, 20_000)
	for st, args := range map[*statement][]any{
		cleanUpdates:   {int64(86400e6), 500},
		claimUpdates:   {"o", int64(1), "", 64},
		otherUnsettled: {"P-1", "x"},
		unknownUpdates: {"P-1"},
		holdUpdate:     {"x", "o"},
		byKey:          {"me", "key-7", int64(1)},
		openOf:         {"P-1"},
	} {
		rows, err := s.write.DB.Query("EXPLAIN "+st.postgres, args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "Seq Scan on contact_updates") {
				t.Errorf("%s\nis planned with: %s", st.text, line)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func fillJournal(t *testing.T, s *Store, lines int) {
	now := time.Now().UnixMicro()
	if _, err := s.write.DB.Exec(fmt.Sprintf(`INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
		SELECT 'old-' || n, 'P-' || n, 'f', 'APPLIED', '', %d, 'me', 'key-' || n,
			'digest', 'W/"1"', '{}', '', 0, '', repeat('x', 600), %d, %d, %d FROM generate_series(1, $1) AS n`, now, now, now, now), lines); err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.DB.Exec("ANALYZE"); err != nil {
		t.Fatal(err)
	}
}
