package proofs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// TestKillDuringTheFirstFill kills the program again and again while it fills an empty
// cache. Each time it goes on where it was: no page is missing at the end, and none but
// those under way at a kill was asked for twice.
func TestKillDuringTheFirstFill(t *testing.T) {
	t.Parallel()
	binary := Binary(t, "")
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		patients, kills := length(2_000, 100_000), length(3, 10)
		sim := fhirsim.New(fhirsim.Options{Habits: fhirsim.HAPI()})
		for n := range patients {
			if err := sim.Put([]byte(PatientJSON(fmt.Sprintf("fill-%06d", n), fmt.Sprintf("N-%06d", n)))); err != nil {
				t.Fatal(err)
			}
		}
		_, stop, err := sim.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		var pages, held atomic.Int64
		held.Store(int64(patients)) // pages from here on wait for the next kill
		gate := make(chan struct{})
		var first atomic.Value
		first.Store("")
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The pages of the first fill: when it has ended, another walk looks for who was
			// deleted meanwhile.
			if of := r.URL.Query().Get("_getpages"); of != "" {
				first.CompareAndSwap("", of)
				if of == first.Load() && pages.Add(1) > held.Load() {
					select {
					case <-gate:
					case <-r.Context().Done():
						return
					}
				}
			}
			sim.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)

		each := patients / 50 / (kills + 1) // HAPI's pages hold 50
		for n := range kills {
			held.Store(int64(each * (n + 1)))
			p := Launch(t, binary, server.URL+"/fhir", databaseURL, "SYNC_INTERVAL=30s")
			wait.Until(t, "the fill comes to the next kill", func() bool { return pages.Load() > held.Load() || !p.Alive() })
			p.Kill()
			pages.Add(-1) // it was not answered
		}
		held.Store(int64(patients))
		close(gate)
		p := Launch(t, binary, server.URL+"/fhir", databaseURL, "SYNC_INTERVAL=30s").As(Token(t, "admin", ""))
		var mirror any
		wait.Until(t, "the cache is filled", func() bool {
			mirror = p.Query(`{ mirror { state patients stale pending } }`, nil)["mirror"]
			return mirror.(map[string]any)["state"] == "FOLLOWING"
		})
		Want(t, mirror.(map[string]any), Object{"patients": patients, "stale": 0, "pending": 0})
		for _, n := range []int{0, 49, 50, patients / 2, patients - 1} {
			Want(t, p.Patient(fmt.Sprintf("N-%06d", n)), Object{"phone": OldPhone, "syncState": "SYNCED"})
		}
		// What a kill found on its way is asked for again: the pages that were being stored
		// together, those that waited, and the one that was asked for.
		if most := int64(patients/50 + 20*kills + 5); pages.Load() > most {
			t.Errorf("%d pages were asked for, of %d", pages.Load(), most)
		}
	})
}
