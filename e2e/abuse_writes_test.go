package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// TestAbuseAFHIRServerThatHangsDoesNotFillTheMemory sends more writes than may wait
// while the FHIR server answers nothing. What finds no room is told so at once, with
// nothing in the journal, and reads go on.
func TestAbuseAFHIRServerThatHangsDoesNotFillTheMemory(t *testing.T) {
	const patients, room, writes = 20, 1_000, 1_300 // of each patient fewer than may wait
	each := make([]string, patients)
	number := func(n int) string { return fmt.Sprintf("P-2025-%06d", 100+n) }
	for n := range each {
		each[n] = PatientJSON(fmt.Sprintf("w%d", n), number(n))
	}
	server, base := StartFHIR(t, fhirsim.Options{}, each...)
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, strings.Join(each, "\n"))
	p := StartWith(t, base, databaseURL, "FHIR_TIMEOUT=1m", "FHIR_SERVER=hapi", "LOG_LEVEL=info", "SYNC_INTERVAL=0")
	before := liveHeap()
	server.SetFault("", fhirsim.Fault{On: http.MethodGet, Hang: true})
	answers := make(chan Object, writes)
	var refused atomic.Int64
	for n := range writes {
		go func() {
			answer := p.Update(Object{"patientId": number(n % patients), "phone": fmt.Sprintf("010-2000-%04d", n)})
			if answer["__typename"] == "FhirUnavailable" {
				refused.Add(1)
			}
			answers <- answer
		}()
	}
	wait.Until(t, "what finds no room is refused", func() bool { return refused.Load() == writes-room })
	t.Logf("%d writes that wait hold %.1f MiB, their clients in this process included", room, float64(liveHeap()-before)/(1<<20))
	p.WantRead(number(0), OldPhone, "SYNCED")
	for range writes - room {
		answer := <-answers
		Want(t, answer, Object{
			"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "retryable": true, "retryAfterSeconds": 5,
			"detail": "1000 writes are under way or wait already, and no more may; nothing was sent", "patient.phone": OldPhone,
		})
		id, _ := answer["operationId"].(string)
		if id == "" || !strings.Contains(p.Log.String(), id) {
			t.Fatalf("the log does not name operation %q", id)
		}
		if p.ContactUpdate(id) != nil {
			t.Fatalf("the journal has operation %s", id)
		}
	}
	server.ClearFaults()
	if err := p.Stop(); err != nil { // those that wait need not have their turn
		t.Fatal(err)
	}
	for range room {
		<-answers
	}
}
