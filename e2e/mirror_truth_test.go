package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// A deleted patient is as one that does not exist, also in the answer to a change.
func TestTheProfileOfADeletedPatientIsNotFound(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		server, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, PatientJSON("a", "P-1"))
		p := StartWith(t, base, databaseURL, followsOften)
		untilRead(p, "P-1", Object{"syncState": "SYNCED"})
		server.Delete("a")
		untilRead(p, "P-1", nil)
		answer := p.Query(`mutation { updatePatientProfile(input: {patientId: "P-1", bloodType: "A+"}) {
			__typename ... on UpdatePatientProfileSuccess { patient { familyName phone syncState } } } }`, nil)
		Want(t, answer, Object{"updatePatientProfile": Object{"__typename": "PatientNotFound"}})
	})
}

// An import beside the mirror brings what was so once: the FHIR server is asked before it
// is shown as SYNCED for good.
func TestWhatAnImportBringsIsLookedUpByTheMirror(t *testing.T) {
	t.Parallel()
	server, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, PatientJSON("a", "P-1"), PatientJSON("b", "P-2"))
	server.Delete("a")
	if err := server.Put([]byte(strings.ReplaceAll(PatientJSON("b", "P-2"), OldPhone, NewPhone))); err != nil {
		t.Fatal(err)
	}
	databaseURL := dbtest.SQLite(t)
	p := StartWith(t, base, databaseURL, followsOften, "STALE_AFTER=1s")
	untilRead(p, "P-2", Object{"syncState": "SYNCED", "phone": NewPhone})
	server.JumpClock(time.Hour) // the changes are older than any look goes back
	looks(p, 30)
	MustImport(t, databaseURL, PatientJSON("a", "P-1"), PatientJSON("b", "P-2")) // an old file
	untilRead(p, "P-1", nil)
	untilRead(p, "P-2", Object{"phone": NewPhone})
}

// looks waits until the changes were looked at so often.
func looks(p *Product, n int) {
	p.T.Helper()
	last, seen := "", 0
	wait.Until(p.T, "more looks", func() bool {
		m, _ := p.Query(`{ mirror { lastPollAt } }`, nil)["mirror"].(map[string]any)
		if at := fmt.Sprint(m["lastPollAt"]); at != last {
			last, seen = at, seen+1
		}
		return seen > n
	})
}

// Too many are missing to be taken for deleted: then it is not known whether they are
// there, and no row says SYNCED.
func TestRowsThatTheServerDoesNotShowAreNotSynced(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	for n := range 30 {
		MustImport(t, databaseURL, PatientJSON(fmt.Sprint("gone", n), fmt.Sprint("P-", n)))
	}
	_, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, PatientJSON("there", "Q-1"))
	p := StartWith(t, base, databaseURL, followsOften, "STALE_AFTER=1s")
	untilRead(p, "Q-1", Object{"syncState": "SYNCED"})
	p.UntilLog("too many patients of the cache are missing")
	untilRead(p, "P-29", Object{"syncState": "STALE"})
	wait.Until(t, "Q-1 alone is SYNCED", func() bool { return listing(p, "{syncState: SYNCED}") == "Q-1" })
}

// The server cannot be listed yet, but its changes can: what a row holds from before the
// newest one was never compared.
func TestRowsThatTheFirstFillHasNotReachedAreNotSynced(t *testing.T) {
	t.Parallel()
	sim, stop, err := startSim(t, PatientJSON("a", "P-1"), PatientJSON("b", "P-2"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count := r.URL.Query().Get("_count"); strings.HasSuffix(r.URL.Path, "/Patient") && len(count) > 1 && r.URL.Query().Get("_lastUpdated") == "" { // a page of all
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, PatientJSON("a", "P-1"))
	if err := sim.Put([]byte(strings.ReplaceAll(PatientJSON("a", "P-1"), OldPhone, NewPhone))); err != nil { // at the desk
		t.Fatal(err)
	}
	sim.JumpClock(time.Hour)
	if err := sim.Put([]byte(strings.ReplaceAll(PatientJSON("b", "P-2"), OldPhone, NewPhone))); err != nil { // by us
		t.Fatal(err)
	}
	newest, _, _ := sim.Get("b")
	MustImport(t, databaseURL, string(newest))
	p := StartWith(t, server.URL+"/fhir", databaseURL, followsOften, "STALE_AFTER=1s")
	untilRead(p, "P-1", Object{"syncState": "STALE", "phone": OldPhone})
}
