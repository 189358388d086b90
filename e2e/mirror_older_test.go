package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// Promise 6: the server confirmed a write; what answers reads and lists is a copy that
// still shows the version before.
func TestReadsThatLagTakeNoWriteBack(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		sim, stop, err := startSim(t, PatientJSON("a", "P-1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		behind, stopBehind, err := startSim(t, PatientJSON("a", "P-1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stopBehind)
		var lags atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut:
				sim.ServeHTTP(w, r)
				lags.Store(true)
			case lags.Load():
				behind.ServeHTTP(w, r)
			default:
				sim.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(server.Close)
		p := StartWith(t, server.URL+"/fhir", databaseURL, followsOften)
		untilRead(p, "P-1", Object{"syncState": "SYNCED", "phone": OldPhone})
		Want(t, p.Update(Object{"patientId": "P-1", "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		looked := len(behind.Requests()) + 20
		wait.Until(t, "the copy was looked at some times", func() bool { return len(behind.Requests()) > looked })
		if now, err := p.Read("P-1"); err != nil || now.Phone != NewPhone {
			t.Errorf("the cache went back to %v (%v)", now, err)
		}
		lags.Store(false)
		untilRead(p, "P-1", Object{"syncState": "SYNCED", "phone": NewPhone})
	})
}

// FHIR ids are of one server. After FHIR_BASE_URL was changed the same id is another
// person, who has nothing of what was recorded here.
func TestAnotherServersPatientInheritsNothing(t *testing.T) {
	t.Parallel()
	database := dbtest.SQLite(t)
	_, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, PatientJSON("a", "P-1"))
	p := StartWith(t, base, database, followsOften)
	untilRead(p, "P-1", Object{"syncState": "SYNCED"})
	p.Query(`mutation { updatePatientProfile(input: {patientId: "P-1", allergies: ["latex"], bloodType: "AB-"}) { __typename } }`, nil)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	stranger := strings.NewReplacer("홍길동", "Total Stranger", `"family":"홍","given":["길동"]`, `"family":"Stranger","given":["Total"]`, "1990-05", "2001-02-03").Replace(PatientJSON("a", "P-77"))
	_, other := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, stranger)
	p = StartWith(t, other, database, followsOften)
	untilRead(p, "P-77", Object{"familyName": "Stranger"})
	Want(t, p.Query(`{ patient(id: "P-77") { allergies bloodType } }`, nil), Object{"patient": Object{"allergies": nil, "bloodType": nil}})
	p.UntilLog("shows another person") // written after the row is
	if log := p.Log.String(); strings.Count(log, "shows another person") != 1 || strings.Contains(log, "latex") || strings.Contains(log, "AB-") {
		t.Errorf("the log says %s", log)
	}
}
