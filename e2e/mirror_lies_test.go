package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// twisted puts a server in front of the simulator that changes its answers. twist gets
// what was asked, and the answer; it may change both of the latter.
func twisted(t *testing.T, twist func(r *http.Request, status int, doc Object) int, patients ...string) (sim *fhirsim.Server, base string) {
	sim, stop, err := startSim(t, patients...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		sim.ServeHTTP(answer, r)
		status, body := answer.Code, answer.Body.Bytes()
		var doc Object
		if json.Unmarshal(body, &doc) == nil {
			status = twist(r, status, doc)
			body, _ = json.Marshal(doc)
		}
		for name, values := range answer.Header() {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return sim, server.URL + "/fhir"
}

// withoutEntries takes entries out of a Bundle.
func withoutEntries(doc Object, out func(entry map[string]any) bool) {
	entries, _ := doc["entry"].([]any)
	kept := []any{}
	for _, entry := range entries {
		if !out(entry.(map[string]any)) {
			kept = append(kept, entry)
		}
	}
	doc["entry"] = kept
}

// untilTrueOrTold waits until a patient is shown as the server has it, or says that it may
// not be.
func untilTrueOrTold(p *Product, number, phone string) {
	p.T.Helper()
	wait.Until(p.T, number+" is as the server has it, or STALE", func() bool {
		now, err := p.Read(number)
		return err == nil && (now.Phone == phone || now.State == "STALE")
	})
}

func newPhone(patient string) []byte { return []byte(strings.ReplaceAll(patient, OldPhone, NewPhone)) }

// TestChangesOfASlowClockAreFoundOrTold: what dates the answers (a proxy, Date) is not the
// clock that dates the records, which may be behind by more than a wide look.
func TestChangesOfASlowClockAreFoundOrTold(t *testing.T) {
	t.Parallel()
	sim, base := twisted(t, func(_ *http.Request, status int, doc Object) int {
		if doc["resourceType"] == "Bundle" {
			delete(doc, "meta")
		}
		return status
	})
	sim.JumpClock(-15 * time.Minute)
	if err := sim.Put([]byte(PatientJSON("a", "P-1"))); err != nil {
		t.Fatal(err)
	}
	p := StartWith(t, base, dbtest.SQLite(t), followsOften, "STALE_AFTER=1s", "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem)
	untilRead(p, "P-1", Object{"syncState": "SYNCED"})
	wait.Until(t, "it follows", func() bool { return strings.Contains(fmt.Sprint(p.Query(`{ mirror { state } }`, nil)), "FOLLOWING") })
	if err := sim.Put(newPhone(PatientJSON("a", "P-1"))); err != nil {
		t.Fatal(err)
	}
	untilTrueOrTold(p, "P-1", NewPhone)
}

// TestEmptyAnswersAreNoProofThatNothingChanged: a server that has patients, and from some
// moment on answers each search and each history with an empty Bundle.
func TestEmptyAnswersAreNoProofThatNothingChanged(t *testing.T) {
	t.Parallel()
	var empties atomic.Bool
	sim, base := twisted(t, func(_ *http.Request, status int, doc Object) int {
		if empties.Load() && doc["resourceType"] == "Bundle" {
			withoutEntries(doc, func(map[string]any) bool { return true })
			doc["total"] = 0
			delete(doc, "link")
		}
		return status
	}, PatientJSON("a", "P-1"))
	p := StartWith(t, base, dbtest.SQLite(t), followsOften, "STALE_AFTER=1s", "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem)
	untilRead(p, "P-1", Object{"syncState": "SYNCED"})
	wait.Until(t, "it follows", func() bool { return strings.Contains(fmt.Sprint(p.Query(`{ mirror { state } }`, nil)), "FOLLOWING") })
	empties.Store(true)
	if err := sim.Put(newPhone(PatientJSON("a", "P-1"))); err != nil {
		t.Fatal(err)
	}
	untilTrueOrTold(p, "P-1", NewPhone)
}

// TestADeletionBeforeTheNewestVersionDeletesNobody: a history that lags behind, or has
// gaps, shows a deletion of a patient of whom the cache has a later version.
func TestADeletionBeforeTheNewestVersionDeletesNobody(t *testing.T) {
	t.Parallel()
	var lags atomic.Bool
	sim, base := twisted(t, func(_ *http.Request, status int, doc Object) int {
		if lags.Load() && doc["type"] == "history" {
			withoutEntries(doc, func(entry map[string]any) bool {
				asked, _ := entry["request"].(map[string]any)
				return asked["url"] != nil && strings.Contains(fmt.Sprint(asked["url"], entry["fullUrl"]), "Patient/a") && asked["method"] != http.MethodDelete
			})
		}
		return status
	}, PatientJSON("a", "P-1"), PatientJSON("b", "P-2"))
	p := StartWith(t, base, dbtest.SQLite(t), followsOften, "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem)
	untilRead(p, "P-1", Object{"syncState": "SYNCED"})
	wait.Until(t, "it follows", func() bool { return strings.Contains(fmt.Sprint(p.Query(`{ mirror { state } }`, nil)), "FOLLOWING") })
	sim.Delete("a")
	untilRead(p, "P-1", nil)
	if err := sim.Put(newPhone(PatientJSON("a", "P-1"))); err != nil {
		t.Fatal(err)
	}
	untilRead(p, "P-1", Object{"phone": NewPhone})
	lags.Store(true)
	if err := sim.Put(newPhone(PatientJSON("b", "P-2"))); err != nil {
		t.Fatal(err)
	}
	untilRead(p, "P-2", Object{"phone": NewPhone}) // a look that showed the old deletion has ended
	untilRead(p, "P-1", Object{"phone": NewPhone})
	if strings.Count(p.Log.String(), "does not have the patient any more") > 1 {
		t.Error("the patient was taken for deleted although the cache had a later version than the deletion")
	}
}

// TestAPatientWhoCannotBeReadStopsNobodyElse: two versions of a patient cannot be told
// apart, and the server fails when the patient is read.
func TestAPatientWhoCannotBeReadStopsNobodyElse(t *testing.T) {
	t.Parallel()
	_, base := twisted(t, func(r *http.Request, status int, doc Object) int {
		if strings.HasSuffix(r.URL.Path, "/Patient/a") {
			return http.StatusInternalServerError
		}
		entries, _ := doc["entry"].([]any)
		for _, entry := range entries {
			resource, _ := entry.(map[string]any)["resource"].(map[string]any)
			if resource["id"] != "a" {
				continue
			}
			delete(resource, "meta")
			other, _ := json.Marshal(entry)
			var again map[string]any
			_ = json.Unmarshal(newPhone(string(other)), &again)
			doc["entry"] = append(entries, any(again))
		}
		return status
	}, PatientJSON("a", "P-1"), PatientJSON("b", "P-2"))
	p := StartWith(t, base, dbtest.SQLite(t), followsOften, "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem)
	wait.Until(t, "the walk through all has ended", func() bool { return strings.Contains(fmt.Sprint(p.Query(`{ mirror { state } }`, nil)), "FOLLOWING") })
	untilRead(p, "P-2", Object{"syncState": "SYNCED"})
}

// TestWhatWasNeverComparedIsNotSynced: rows of an old import are not SYNCED by a look at
// the changes since the newest of them, before all patients were gone through.
func TestWhatWasNeverComparedIsNotSynced(t *testing.T) {
	t.Parallel()
	var shut atomic.Bool
	sim, base := twisted(t, func(r *http.Request, status int, doc Object) int {
		if shut.Load() && doc["type"] == "searchset" && r.URL.Query().Get("_count") != "1" {
			return http.StatusServiceUnavailable
		}
		return status
	}, PatientJSON("a", "P-1"))
	database, system := dbtest.SQLite(t), "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem
	old := func(patient, at string) string {
		return strings.Replace(patient, `"extension"`, `"meta":{"versionId":"1","lastUpdated":"`+at+`"},"extension"`, 1)
	}
	sim.JumpClock(-time.Hour)
	if err := sim.Put(newPhone(PatientJSON("a", "P-1"))); err != nil {
		t.Fatal(err)
	}
	sim.JumpClock(time.Hour)
	// b was exported after a had been changed, a before.
	later := time.Now().Add(-20 * time.Minute).UTC().Format(time.RFC3339)
	if _, err := Import(t, database, old(PatientJSON("a", "P-1"), "2020-01-01T00:00:00Z")+"\n"+old(PatientJSON("b", "P-2"), later), system); err != nil {
		t.Fatal(err)
	}
	shut.Store(true)
	p := StartWith(t, base, database, followsOften, "STALE_AFTER=1s", system)
	untilTrueOrTold(p, "P-1", NewPhone)
}
