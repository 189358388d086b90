package proofs_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// What a FHIR server may say once, and must not stop the product with.
var hostileBodies = map[string]string{
	"arrays in arrays":              strings.Repeat("[", 8<<20),
	"objects in objects":            strings.Repeat(`{"a":`, 8<<20/5),
	"a patient with a deep element": `{"resourceType":"Patient","id":"a1","x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`,
	"a deep outcome":                `{"resourceType":"OperationOutcome","issue":` + strings.Repeat("[", 4<<20),
	"many values":                   `{"resourceType":"Patient","id":"a1","x":[` + strings.Repeat("{},", 2<<20) + `{}]}`,
	"many phones":                   `{"resourceType":"Patient","id":"a1","telecom":[` + strings.Repeat(`{"value":"1"},`, 500_000) + `{}]}`,
	"a phone of 1 MiB":              `{"resourceType":"Patient","id":"a1","telecom":[{"system":"phone","value":"` + strings.Repeat("1", 1<<20) + `"}]}`,
}

// Every answer, good or bad, may hold such a body: the write is told, the next
// one works.
func TestAbuseHostileBodies(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "FHIR_TIMEOUT=10s")
	n := 0
	write := func() Object {
		n++
		return s.Update(Object{"patientId": Number, "phone": fmt.Sprintf("010-0000-%04d", n)})
	}
	for name, body := range hostileBodies {
		statuses := []int{200}
		if name == "arrays in arrays" {
			statuses = []int{200, 400, 404, 410, 422, 500}
		}
		for _, status := range statuses {
			s.FHIR.SetFault("a1", fhirsim.Fault{On: http.MethodGet, Status: status, Body: body, ContentType: "application/fhir+json"})
			if answer := write(); answer["__typename"] != "FhirUnavailable" || answer["applied"] != "NO" {
				t.Errorf("%s in a %d to the read: %v", name, status, answer)
			}
			s.FHIR.ClearFaults()
			s.FHIR.SetFault("a1", fhirsim.Fault{On: http.MethodPut, Times: 1, Apply: true, Status: status, Body: body, ContentType: "application/fhir+json"})
			if answer := write(); answer["__typename"] != "UpdatePatientContactSuccess" {
				t.Errorf("%s in a %d to the PUT, which took effect: %v", name, status, answer)
			}
		}
	}
}

// A process died with PUTs under way, and the record of one of the patients
// cannot be read: the server starts, settles the others, and that one as soon as
// it can be read.
func TestAbuseUnreadablePatientAfterACrash(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		for name, body := range map[string]string{
			"deep": hostileBodies["arrays in arrays"], "large": hostileBodies["a phone of 1 MiB"],
		} {
			f := watchFHIR(t, fhirsim.HAPI(), 2)
			broken, other := f.patients[0], f.patients[1]
			MustImport(t, databaseURL, f.lines())
			leaveSent(t, databaseURL, name+"-1", broken)
			leaveSent(t, databaseURL, name+"-2", other)
			f.SetFault(fhirOf(broken), fhirsim.Fault{On: http.MethodGet, Status: 200, Body: body, ContentType: "application/fhir+json"})
			p := StartWith(t, f.url, databaseURL)
			settledAs(p, name+"-2", "NOT_APPLIED")
			p.UntilLog("the outcome of a contact update is still not known")
			Want(t, p.Patient(broken), Object{"syncState": "PENDING"})
			Want(t, p.Patient(other), Object{"syncState": "SYNCED"})
			f.ClearFaults()
			settledAs(p, name+"-1", "NOT_APPLIED")
			Want(t, p.Patient(broken), Object{"syncState": "SYNCED"})
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAbuseImport(t *testing.T) {
	t.Parallel()
	lines := []string{PatientJSON("a1", "P-1")}
	for _, body := range hostileBodies {
		lines = append(lines, body[:min(len(body), 7<<20)])
	}
	lines = append(lines, PatientJSON("b2", "P-2"))
	out, err := Import(t, dbtest.SQLite(t), strings.Join(lines, "\n"))
	if err == nil || !strings.Contains(out, fmt.Sprintf("2 new, 0 updated, 0 kept as they were, %d bad lines", len(hostileBodies))) {
		t.Errorf("%v\n%s", err, out)
	}
	for line := 2; line < len(lines); line++ {
		if !strings.Contains(out, fmt.Sprintf(`"line":%d,`, line)) {
			t.Errorf("line %d is not reported: %s", line, out)
		}
	}
	if !strings.Contains(out, "holds more than 64 KiB of names and contact values") {
		t.Error(out)
	}
}

// No deadline reaches a connection that was switched to another protocol: the
// answer must end the conversation, for a write as for a read, and nothing of it
// may stay.
func TestAbuseSwitchingProtocols(t *testing.T) {
	f := watchFHIR(t, fhirsim.HAPI(), 1)
	var switched atomic.Value // the method that is answered so
	switched.Store("")
	var open atomic.Int64
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method != switched.Load() {
			serve(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		open.Add(1)
		defer open.Add(-1)
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, buffered) // until the client hangs up
	})
	p := f.product(dbtest.SQLite(t))
	input := Object{"patientId": f.patients[0], "phone": NewPhone}

	switched.Store(http.MethodGet)
	Want(t, p.Update(input), Object{"__typename": "FhirUnavailable", "applied": "NO"})
	before := runtime.NumGoroutine()
	for range 50 {
		Want(t, p.Update(input), Object{"__typename": "FhirUnavailable", "applied": "NO"})
	}
	wait.Until(t, "connections are closed", func() bool { return open.Load() == 0 })
	wait.Until(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+10 })

	switched.Store(http.MethodPut)
	Want(t, p.Update(input), Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
	switched.Store("")
	Want(t, p.Update(input), Object{"__typename": "UpdatePatientContactSuccess"})
	wait.Until(t, "the first update is settled", func() bool { return p.Patient(f.patients[0])["syncState"] == "SYNCED" })
}

// An ETag that cannot be sent back keeps at most its own patient from being
// written, and nothing is written without a guard.
func TestAbuseETags(t *testing.T) {
	t.Parallel()
	f := watchFHIR(t, fhirsim.HAPI(), 2)
	patient, other := f.patients[0], f.patients[1]
	id := fhirOf(patient)
	p := f.product(dbtest.SQLite(t))
	n := 0
	write := func(patient string) Object {
		n++
		return p.Update(Object{"patientId": patient, "phone": fmt.Sprintf("010-0000-%04d", n)})
	}
	for _, etag := range []string{"W/\"1\x01\"", "W/\"1\x7f\"", "W/\"1\t\"", `"` + strings.Repeat("1", 2000) + `"`, "*", `"1", "2"`, `1,2`, `W/"`, `""`, "W/\"é\""} {
		stored, _, _ := f.Get(id)
		fault := fhirsim.Fault{On: http.MethodGet, Times: 1, Status: 200, ContentType: "application/fhir+json", Header: http.Header{"Etag": {etag}}}
		fault.Body = string(stored)
		f.SetFault(id, fault)
		malformed := strings.ContainsAny(etag, "\x01\x7f") // net/http refuses the whole answer
		if answer := write(patient); answer["__typename"] != "UpdatePatientContactSuccess" && !malformed {
			t.Errorf("ETag %q with a versionId: %v", etag, answer)
		}
		puts := len(f.History(id))
		fault.Body, fault.Times = PatientJSON(id, patient), 0
		f.SetFault(id, fault)
		for range 11 {
			if answer := write(patient); answer["__typename"] != "FhirUnavailable" || answer["applied"] != "NO" {
				t.Errorf("ETag %q without a versionId: %v", etag, answer)
			}
		}
		if len(f.History(id)) != puts {
			t.Errorf("ETag %q: written without a guard", etag)
		}
		if answer := write(other); answer["__typename"] != "UpdatePatientContactSuccess" {
			t.Errorf("ETag %q: another patient: %v", etag, answer)
		}
		f.ClearFaults()
	}
}

// Answers about a few patients get lost: the others are written all the same.
func TestAbuseSilentPatients(t *testing.T) {
	t.Parallel()
	for _, silent := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(silent), func(t *testing.T) {
			t.Parallel()
			f := watchFHIR(t, fhirsim.HAPI(), silent+1)
			p := f.product(dbtest.SQLite(t))
			for n := range silent {
				f.SetFault(fhirOf(f.patients[n]), fhirsim.Fault{Close: true})
			}
			for n := range 24 {
				Want(t, p.Update(Object{"patientId": f.patients[n%silent], "phone": NewPhone}), Object{"__typename": "FhirUnavailable"})
			}
			other := Object{"patientId": f.patients[silent], "phone": NewPhone}
			Want(t, p.Update(other), Object{"__typename": "UpdatePatientContactSuccess"})
		})
	}
}

// An outage is over, and callers of one patient go on hanging up before the
// answer: the others can be written again.
func TestAbuseImpatientCallersAfterAnOutage(t *testing.T) {
	t.Parallel()
	f := watchFHIR(t, fhirsim.HAPI(), 7)
	p := f.product(dbtest.SQLite(t))
	f.SetFault("", fhirsim.Fault{Close: true})
	for n := range 10 {
		Want(t, p.Update(Object{"patientId": f.patients[n%5], "phone": NewPhone}), Object{"__typename": "FhirUnavailable"})
	}
	f.ClearFaults()
	f.SetFault(fhirOf(f.patients[5]), fhirsim.Fault{Delay: time.Second})

	hangUp := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		body := Body(t, ContactMutation, Object{"input": Object{"patientId": f.patients[5], "phone": NewPhone}})
		if response, err := http.DefaultClient.Do(p.Request(http.MethodPost, "/graphql", body).WithContext(ctx)); err == nil {
			response.Body.Close()
		}
	}
	asked := len(f.Requests())
	wait.Until(t, "somebody tries the FHIR server", func() bool { hangUp(); return len(f.Requests()) > asked })
	written := false
	for range 10 { // for 2 s: less than an open circuit stays open
		hangUp()
		time.Sleep(200 * time.Millisecond)
		answer := p.Update(Object{"patientId": f.patients[6], "phone": NewPhone})
		written = written || answer["__typename"] == "UpdatePatientContactSuccess"
	}
	if !written {
		t.Error("callers who hang up keep the circuit open")
	}
}

// leaveSent leaves a line in the journal as a process does that is killed during
// its PUT, which never arrived.
func leaveSent(t *testing.T, databaseURL, id, patientID string) {
	t.Helper()
	store, err := db.Open(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	line := db.ContactUpdate{ID: id, PatientID: patientID, Actor: "admin", Digest: "d"}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.BeginUpdate(t.Context(), line, "dead", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := store.SendUpdate(id, "dead", patientID, `W/"0"`, `{"edit":{"setPhone":true,"phone":"010-7777-7777"},"base":{"phone":"010-1111-2222"},"intended":{"phone":"010-7777-7777"}}`); err != nil {
		t.Fatal(err)
	}
	if err := store.RenewUpdates("dead", []string{id}, 0); err != nil {
		t.Fatal(err)
	}
}

// settledAs waits until the journal says how an update ended.
func settledAs(p *Product, id, state string) {
	p.T.Helper()
	p.UntilLog(fmt.Sprintf(`"operation":%q,"state":%q`, id, state))
}
