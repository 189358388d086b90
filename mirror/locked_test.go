package mirror

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// locks holds rows of patients locked until the transaction ends.
func locks(t *testing.T, url, where string) *sql.Tx {
	t.Helper()
	tx, err := dbtest.Open(t, url).Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() }) // it may have ended
	if _, err := tx.Exec("SELECT 1 FROM patients " + where + " FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return tx
}

// A row that somebody holds locked in the database holds up nobody else. It is STALE as if it
// said itself that it is unseen, also for whoever follows next, and it is read again once it
// is free.
func TestALockedRowHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for way, does := range map[string]struct {
		happens func(r *rig) // on the server
		looks   func(r *rig)
		phone   string // "": the patient is gone
	}{
		"changes": {func(r *rig) { r.puts("a", "010-2222-2222") }, func(r *rig) { r.looks() }, "010-2222-2222"},
		"sweep": {func(r *rig) { r.puts("a", "010-2222-2222") }, func(r *rig) {
			r.walks()
			r.looks()
		}, "010-2222-2222"},
		"deletion": {func(r *rig) { r.server.Delete("a") }, func(r *rig) { r.looks() }, ""},
		"a survivor": {func(r *rig) {
			r.puts("a", "010-2222-2222")
			merged := strings.Replace(patientOf("m", "010-1111-1111"), `"name":[`, `"active":false,"link":[{"other":{"reference":"Patient/a"},"type":"replaced-by"}],"name":[`, 1)
			if err := r.server.Put([]byte(merged)); err != nil {
				r.t.Fatal(err)
			}
		}, func(r *rig) { r.looks() }, "010-2222-2222"},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			url := dbtest.Postgres(t)
			r := newRigOn(t, url, fhirsim.HAPI())
			for _, id := range []string{"a", "b", "m"} {
				r.puts(id, "010-1111-1111")
			}
			r.walks()
			r.looks()
			tx := locks(t, url, "WHERE fhir_id = 'a'")
			r.clock.Pass(time.Hour)
			does.happens(r)
			r.puts("b", "010-2222-2222")
			r.clock.Pass(time.Minute)
			does.looks(r)
			r.wants("beside it", "b", "010-2222-2222")
			r.wants("locked", "a", "010-1111-1111")
			if text := r.log.String(); strings.Count(text, "is locked by another session") > 2 || !strings.Contains(text, "fhirId=a") || strings.Contains(text, "010-") {
				t.Errorf("told: %s", text)
			}

			for range 4 { // its doubt becomes old, while the mirror looks
				r.clock.Pass(2 * time.Minute)
				r.looks()
			}
			next := r.another(r.Base) // which takes over
			if err := next.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			fresh := db.FreshnessAt(r.clock.Now(), r.StaleAfter, next.LookedAt())
			fresh.Locked = next.Locked()
			if !fresh.Looked || !fresh.Stale(r.row("a")) || fresh.Stale(r.row("b")) {
				t.Errorf("the mirror looked: %v; STALE: the locked row %v, the other one %v", fresh.Looked, fresh.Stale(r.row("a")), fresh.Stale(r.row("b")))
			}
			for state, want := range map[db.SyncState]string{db.Stale: "a", db.Synced: "b"} {
				page, err := r.store.Patients(t.Context(), db.PageRequest{Order: db.OrderNameAsc, First: 10, Columns: []db.Column{db.ColFHIRID}, Filter: db.Filter{SyncState: state, Freshness: fresh, FHIRIDs: []string{"a", "b"}}})
				if err != nil || len(page.Patients) != 1 || page.Patients[0].FHIRID != want {
					t.Errorf("%s: %+v, %v", state, page, err)
				}
			}

			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			r.lead() // as a process that has just started
			r.looks()
			r.wants("free again", "a", does.phone)
			r.looks()
			if left := r.Locked(); len(left) > 0 || !r.row("a").UnseenSince.IsZero() {
				t.Errorf("still locked: %v, %+v", left, r.row("a"))
			}
		})
	}
}

// A row that is free again is as old as it was, until the patient is read.
func TestARowThatWasLockedIsAsOldAsItIs(t *testing.T) {
	t.Parallel()
	url := dbtest.Postgres(t)
	r := newRigOn(t, url, fhirsim.HAPI())
	r.puts("a", "010-1111-1111")
	r.walks()
	r.looks()
	tx := locks(t, url, "WHERE fhir_id = 'a'")
	r.clock.Pass(time.Minute)
	r.puts("a", "010-2222-2222")
	r.looks()
	for n := range 10 { // until no look shows that change any more
		r.clock.Pass(2 * time.Minute)
		r.puts("b", fmt.Sprint("010-3333-000", n))
		r.looks()
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	isStale := func() bool {
		fresh := db.FreshnessAt(r.clock.Now(), r.StaleAfter, r.LookedAt())
		fresh.Locked = r.Locked()
		return fresh.Stale(r.row("a"))
	}
	r.fhir.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead}
	}
	r.clock.Pass(5 * time.Minute) // it is tried again
	r.looks()
	if r.wants("not read", "a", "010-1111-1111"); !isStale() {
		t.Error("what could not be read is shown as SYNCED")
	}
	r.fhir.read = nil
	r.clock.Pass(10 * time.Minute)
	r.looks()
	r.looks() // the progress is stored with the next one
	if r.wants("read", "a", "010-2222-2222"); isStale() {
		t.Errorf("what was read is STALE: %+v, locked %v", r.row("a"), r.Locked())
	}
}

// Where very many rows are locked, as by LOCK TABLE, the look fails: else all of them would
// have to be named.
func TestALookFailsWhereManyRowsAreLocked(t *testing.T) {
	t.Parallel()
	url := dbtest.Postgres(t)
	r := newRigOn(t, url, fhirsim.HAPI())
	const patients = 22
	for n := range patients {
		r.puts(fmt.Sprint("p", n), "010-1111-1111")
	}
	r.walks()
	r.looks()
	looked := r.LookedAt()
	tx := locks(t, url, "")
	r.clock.Pass(time.Minute)
	for n := range patients {
		r.puts(fmt.Sprint("p", n), "010-2222-2222")
	}
	r.clock.Pass(time.Minute)
	if _, err := r.poll(t.Context()); err == nil || !r.LookedAt().Equal(looked) {
		t.Errorf("it has looked at %v: %v", r.LookedAt(), err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	r.looks()
	r.wants("free again", "p7", "010-2222-2222")
}
