package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// TestAHistoryAloneIsEnough: a server of which nothing else is known than that it shows a
// page of changes. The cache follows it, and an empty cache is filled from it.
func TestAHistoryAloneIsEnough(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("testdata/mirror/history-page.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, elsewhere := range map[string]http.HandlerFunc{
		"nothing else is found": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"a page of HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html><body>Welcome</body></html>")
		},
		"not for us": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/fhir+json")
				switch {
				case r.URL.Path == "/fhir/metadata":
					fmt.Fprint(w, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`)
				case strings.HasSuffix(r.URL.Path, "/Patient/_history"):
					_, _ = w.Write(page)
				default:
					elsewhere(w, r)
				}
			}))
			t.Cleanup(server.Close)
			filled := dbtest.SQLite(t)
			MustImport(t, filled, strings.Replace(PatientJSON("hall-2", "H-2"), "{", `{"meta":{"lastUpdated":"2026-11-19T08:00:00Z"},`, 1), PatientJSON("hall-3", "H-3"))
			p := StartWith(t, server.URL+"/fhir", filled, followsOften)
			untilRead(p, "H-2", Object{"phone": "0131 496 0555", "familyName": "Hall"})
			untilRead(p, "H-3", nil)
			wantFergus(t, p)
			if got := listing(p, "{includeInactive: true}"); strings.Contains(got, "H-3") {
				t.Errorf("listed: %s", got)
			}
			wantFergus(t, StartWith(t, server.URL+"/fhir", dbtest.SQLite(t), followsOften))
		})
	}
}

// wantFergus waits for the patient who is new on the page, with an assigned number.
func wantFergus(t *testing.T, p *Product) {
	t.Helper()
	wait.Until(t, "Fergus is there", func() bool {
		nodes, _ := p.Query(`{ patients(filter: {fhirId: "hall-9"}) { nodes { givenName birthDate } } }`, nil).At("patients", "nodes").([]any)
		return len(nodes) == 1 && nodes[0].(map[string]any)["givenName"] == "Fergus"
	})
}

// TestReadsGoOnWithoutTheServer: whatever it answers, reads and readiness are of the cache.
func TestReadsGoOnWithoutTheServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html><body><h1>502</h1>upstream not reachable</body></html>")
	}))
	t.Cleanup(server.Close)
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, PatientJSON("a1", Number))
	p := StartWith(t, server.URL+"/fhir", databaseURL, followsOften)
	if status, _ := p.Get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	if status, body := p.Get("/readyz?verbose"); status != http.StatusOK || !strings.Contains(body, "502") && !strings.Contains(strings.ToLower(body), "fhir") {
		t.Errorf("/readyz?verbose: %d %s", status, body)
	}
	Want(t, p.Patient(Number), Object{"phone": OldPhone})
}

// TestIDsOfAnotherServerAreNotTakenForDeleted: a cache that was imported from another
// system's export keeps its patients, and the log says what to look at; who says that it
// is right may have them gone.
func TestIDsOfAnotherServerAreNotTakenForDeleted(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		foreign, err := os.ReadFile("testdata/mirror/foreign-ids.ndjson")
		if err != nil {
			t.Fatal(err)
		}
		MustImport(t, databaseURL, append(strings.Split(strings.TrimSpace(string(foreign)), "\n"), PatientJSON("test-system-7", "T-7"))...)
		_, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, PatientJSON("ours", "P-1"))
		p := StartWith(t, base, databaseURL, followsOften)
		untilRead(p, "P-1", Object{"syncState": "SYNCED"})
		p.UntilLog("check FHIR_BASE_URL")
		untilRead(p, "T-7", Object{"phone": OldPhone, "syncState": "STALE"})
		if out, err := runSyncWith([]string{"--full"}, base, databaseURL); err != nil || !strings.Contains(out, "7 gone") {
			t.Fatalf("sync --full: %v\n%s", err, out)
		}
		untilRead(p, "T-7", nil)
	})
}
