package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

const followsOften = "SYNC_INTERVAL=100ms"

// untilRead waits until a patient is read like this; nil: it is null.
func untilRead(p *Product, number string, want Object) {
	p.T.Helper()
	var got any
	wait.Until(p.T, fmt.Sprintf("%s is %v", number, want), func() bool {
		got = p.Query(`query($id: ID!) { patient(id: $id) { phone syncState familyName active replacedBy } }`, Object{"id": number})["patient"]
		if want == nil {
			return got == nil
		}
		patient, found := got.(map[string]any)
		for field, value := range want {
			found = found && patient[field] == value
		}
		return found
	})
}

// listing returns the numbers of a list.
func listing(p *Product, filter string) string {
	p.T.Helper()
	var numbers []string
	nodes, _ := p.Query(`{ patients(first: 200, orderBy: CREATED_ASC, filter: `+filter+`) { nodes { id } } }`, nil).At("patients", "nodes").([]any)
	for _, node := range nodes {
		numbers = append(numbers, node.(map[string]any)["id"].(string))
	}
	return strings.Join(numbers, " ")
}

// TestTheCacheFollowsTheServer: an empty cache is filled by itself; what is edited, added,
// deleted and brought back at the desk is so in the cache, without anybody writing here.
func TestTheCacheFollowsTheServer(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) { followsTheDesk(t, fhirsim.HAPI(), databaseURL) })
	for _, habits := range []fhirsim.Habits{fhirsim.Medplum(), fhirsim.OpenEMR("7.0.3"), fhirsim.OpenEMR("8.1.1-dev")} {
		t.Run(habits.Name+" "+habits.Software, func(t *testing.T) {
			t.Parallel()
			followsTheDesk(t, habits, dbtest.SQLite(t))
		})
	}
}

func followsTheDesk(t *testing.T, habits fhirsim.Habits, databaseURL string) {
	const first, second, third = "95f0a7e2-aaaa-4b11-8c22-000000000001", "95f0a7e2-aaaa-4b11-8c22-000000000002", "95f0a7e2-aaaa-4b11-8c22-000000000003"
	system := "PATIENT_ID_SYSTEM=" + fhirsim.DemoIdentifierSystem
	if habits.OpenEMR {
		system = "PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem
	}
	server, base := StartFHIR(t, fhirsim.Options{Habits: habits}, PatientJSON(first, "P-1"), PatientJSON(second, "P-2"))
	p := StartWith(t, base, databaseURL, followsOften, system)
	untilRead(p, "P-1", Object{"syncState": "SYNCED", "phone": OldPhone})
	untilRead(p, "P-2", Object{"syncState": "SYNCED"})
	put := func(resource string) {
		if err := server.Put([]byte(resource)); err != nil {
			t.Fatal(err)
		}
	}
	put(strings.ReplaceAll(PatientJSON(first, "P-1"), OldPhone, NewPhone))
	put(PatientJSON(third, "P-3"))
	server.Delete(second)
	untilRead(p, "P-1", Object{"syncState": "SYNCED", "phone": NewPhone})
	untilRead(p, "P-3", Object{"syncState": "SYNCED"})
	untilRead(p, "P-2", nil)
	if got := listing(p, "{includeInactive: true}"); strings.Contains(got, "P-2") {
		t.Errorf("listed: %s", got)
	}
	put(strings.ReplaceAll(PatientJSON(second, "P-2"), OldPhone, NewPhone))
	untilRead(p, "P-2", Object{"syncState": "SYNCED", "phone": NewPhone})
}

// TestStaleIsSaid: while nobody can look, the values are shown, and said to be STALE once
// the last look is older than STALE_AFTER; then SYNCED again.
func TestStaleIsSaid(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		sim, stop, err := startSim(t, PatientJSON("a", "P-1"))
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		var down atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			sim.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		p := StartWith(t, server.URL+"/fhir", databaseURL, followsOften, "STALE_AFTER=1s")
		untilRead(p, "P-1", Object{"syncState": "SYNCED"})
		wait.Until(t, "nothing is stale", func() bool { // a busy machine may look at the server late
			return JSON(t, p.Query(`{ mirror { patients stale pending } }`, nil)["mirror"]) == `{"patients":1,"pending":0,"stale":0}`
		})
		down.Store(true)
		untilRead(p, "P-1", Object{"syncState": "STALE", "phone": OldPhone})
		Want(t, p.Query(`{ mirror { state stale } }`, nil), Object{"mirror": Object{"state": "STALE", "stale": 1}})
		if got := listing(p, "{syncState: STALE}") + listing(p, "{syncState: SYNCED}"); got != "P-1" {
			t.Errorf("listed as STALE and as SYNCED: %s", got)
		}
		down.Store(false)
		untilRead(p, "P-1", Object{"syncState": "SYNCED"})
		wait.Until(t, "it is listed as SYNCED, and not as STALE", func() bool {
			return listing(p, "{syncState: STALE}") == "" && listing(p, "{syncState: SYNCED}") == "P-1"
		})
		p.UntilLog("the FHIR server is followed again")
	})
}

// TestWithoutFollowingTheRowsOwnTimeDecides.
func TestWithoutFollowingTheRowsOwnTimeDecides(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "STALE_AFTER=1s")
	untilRead(s.Product, Number, Object{"syncState": "STALE"})
	Want(t, s.Query(`{ mirror { state lagSeconds lastPollAt } }`, nil), Object{"mirror": Object{"state": "OFF", "lagSeconds": nil, "lastPollAt": nil}})
	s.Update(Object{"patientId": Number, "phone": NewPhone})
	untilRead(s.Product, Number, Object{"syncState": "STALE", "phone": NewPhone})
}

// startSim starts the simulator with the habits of HAPI, to be put behind something.
func startSim(t *testing.T, patients ...string) (*fhirsim.Server, func(), error) {
	sim := fhirsim.New(fhirsim.Options{Habits: fhirsim.HAPI()})
	for _, patient := range patients {
		if err := sim.Put([]byte(patient)); err != nil {
			return nil, nil, err
		}
	}
	_, stop, err := sim.Start()
	return sim, stop, err
}

// TestToldAtOnce: where the FHIR server tells us of changes nobody waits for the next look,
// whichever replica it tells.
func TestToldAtOnce(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		settings := slices.Clone(SubscriptionSettings)
		s := StartSystem(t, databaseURL, append(settings, "SYNC_INTERVAL=1h", "STALE_AFTER=2h")...)
		if _, err := s.SyncSubscribe(databaseURL); err != nil {
			t.Fatal(err)
		}
		for _, phone := range []string{"010-5555-0001", "010-5555-0002"} {
			if err := s.FHIR.Put([]byte(strings.ReplaceAll(PatientJSON("a1", Number), OldPhone, phone))); err != nil {
				t.Fatal(err)
			}
			untilRead(s.Product, Number, Object{"phone": phone, "syncState": "SYNCED"})
		}
	})
}
