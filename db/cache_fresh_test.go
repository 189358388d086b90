package db

import (
	"context"
	"strings"
	"testing"
	"time"
)

// A row that could not be noted as unseen is stale as if it were, once that is long enough ago.
func TestALockedRowIsStale(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "old"}, NewPatient{Number: "P-2", FHIRID: "new"}, NewPatient{Number: "P-3", FHIRID: "free"}, NewPatient{Number: "P-4"})
		now := testTime.Add(time.Hour)
		fresh := FreshnessAt(now, 5*time.Minute, now)
		fresh.Locked = map[string]time.Time{"old": now.Add(-6 * time.Minute), "new": now.Add(-4 * time.Minute)}
		for state, want := range map[SyncState]string{Stale: "P-1", Synced: "P-2 P-3", LocalOnly: "P-4"} {
			page, err := s.Patients(context.Background(), PageRequest{Order: OrderNameAsc, First: 10, Filter: Filter{SyncState: state, Freshness: fresh}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range page.Patients {
				got = append(got, p.ID)
				if p.SyncState == Synced && fresh.Stale(p) != (state == Stale) {
					t.Errorf("%s is listed as %s", p.ID, state)
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %s", state, got, want)
			}
		}
	})
}
