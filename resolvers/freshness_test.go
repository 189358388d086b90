package resolvers

import (
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/graph"
)

// lookedNow is a mirror that has just looked, and could not write one row for long.
type lookedNow struct{ now time.Time }

func (f lookedNow) LookedAt() time.Time { return f.now }
func (f lookedNow) Locked() map[string]time.Time {
	return map[string]time.Time{"a": f.now.Add(-10 * time.Minute)}
}
func (lookedNow) Filled() bool  { return true }
func (lookedNow) Follows() bool { return true }

func TestARowThatCannotBeWrittenIsStale(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := &Resolver{Mirror: lookedNow{now}, StaleAfter: 5 * time.Minute, Now: func() time.Time { return now }}
	for fhirID, want := range map[string]graph.SyncState{"a": graph.SyncStateStale, "b": graph.SyncStateSynced} {
		row := &db.Patient{SyncState: db.Synced, LastSyncedAt: now.Add(-time.Hour)}
		row.FHIRID = fhirID
		if got := r.syncState(row); got != want {
			t.Errorf("%s is %s, want %s", fhirID, got, want)
		}
	}
}
