package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir/fhirtest"
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
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "FHIR_TIMEOUT", "10s")
	admin := token(t, auth.RoleAdmin, "")
	n := 0
	write := func() object {
		n++
		return s.updateContact(admin, object{"patientId": number, "phone": fmt.Sprintf("010-0000-%04d", n)})
	}
	for name, body := range hostileBodies {
		statuses := []int{200}
		if name == "arrays in arrays" {
			statuses = []int{200, 400, 404, 410, 422, 500}
		}
		for _, status := range statuses {
			s.fhir.SetFault("a1", fhirtest.Fault{On: http.MethodGet, Status: status, Body: body, ContentType: "application/fhir+json"})
			if answer := write(); answer["__typename"] != "FhirUnavailable" || answer["applied"] != "NO" {
				t.Errorf("%s in a %d to the read: %v", name, status, answer)
			}
			s.fhir.ClearFaults()
			s.fhir.SetFault("a1", fhirtest.Fault{On: http.MethodPut, Times: 1, Apply: true, Status: status, Body: body, ContentType: "application/fhir+json"})
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
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		for name, body := range map[string]string{
			"deep": hostileBodies["arrays in arrays"], "large": hostileBodies["a phone of 1 MiB"],
		} {
			server, base := fhirWith(t, "a1", "b2")
			if out, err := importInto(t, databaseURL, testPatient("a1", "P-1")+"\n"+testPatient("b2", "P-2")); err != nil {
				t.Fatalf("import: %v\n%s", err, out)
			}
			leaveSent(t, databaseURL, name+"-1", "P-1")
			leaveSent(t, databaseURL, name+"-2", "P-2")
			server.SetFault("a1", fhirtest.Fault{On: http.MethodGet, Status: 200, Body: body, ContentType: "application/fhir+json"})
			p := startWith(t, base, databaseURL)
			p.settledAs(name+"-2", "NOT_APPLIED")
			p.waitForLog("the outcome of a contact update is still not known")
			want(t, p.patient("P-1"), object{"syncState": "PENDING"})
			want(t, p.patient("P-2"), object{"syncState": "SYNCED"})
			server.ClearFaults()
			p.settledAs(name+"-1", "NOT_APPLIED")
			want(t, p.patient("P-1"), object{"syncState": "SYNCED"})
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAbuseImport(t *testing.T) {
	t.Parallel()
	lines := []string{testPatient("a1", "P-1")}
	for _, body := range hostileBodies {
		lines = append(lines, body[:min(len(body), 7<<20)])
	}
	lines = append(lines, testPatient("b2", "P-2"))
	out, err := importInto(t, "sqlite:"+t.TempDir()+"/cache.db", strings.Join(lines, "\n"))
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
	server := fhirtest.New(fhirtest.Options{})
	if err := server.Put([]byte(testPatient("a1", number))); err != nil {
		t.Fatal(err)
	}
	var switched atomic.Value // the method that is answered so
	switched.Store("")
	var open atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != switched.Load() {
			server.ServeHTTP(w, r)
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
	}))
	defer front.Close()
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	if out, err := importInto(t, databaseURL, testPatient("a1", number)); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	p := startWith(t, front.URL+"/fhir", databaseURL)
	admin := token(t, auth.RoleAdmin, "")
	input := object{"patientId": number, "phone": newPhone}

	switched.Store(http.MethodGet)
	want(t, p.updateContact(admin, input), object{"__typename": "FhirUnavailable", "applied": "NO"})
	before := runtime.NumGoroutine()
	for range 50 {
		want(t, p.updateContact(admin, input), object{"__typename": "FhirUnavailable", "applied": "NO"})
	}
	eventually(t, "connections stay open", func() bool { return open.Load() == 0 })
	eventually(t, "goroutines stay", func() bool { return runtime.NumGoroutine() <= before+10 })

	switched.Store(http.MethodPut)
	want(t, p.updateContact(admin, input), object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
	switched.Store("")
	want(t, p.updateContact(admin, input), object{"__typename": "UpdatePatientContactSuccess"})
	eventually(t, "the first update is not settled", func() bool { return p.patient(number)["syncState"] == "SYNCED" })
}

// An ETag that cannot be sent back keeps at most its own patient from being
// written, and nothing is written without a guard.
func TestAbuseETags(t *testing.T) {
	t.Parallel()
	server, base := fhirWith(t, "a1", "b2")
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	if out, err := importInto(t, databaseURL, testPatient("a1", "P-1")+"\n"+testPatient("b2", "P-2")); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	p := startWith(t, base, databaseURL)
	admin := token(t, auth.RoleAdmin, "")
	n := 0
	write := func(patient string) object {
		n++
		return p.updateContact(admin, object{"patientId": patient, "phone": fmt.Sprintf("010-0000-%04d", n)})
	}
	for _, etag := range []string{"W/\"1\x01\"", "W/\"1\x7f\"", "W/\"1\t\"", `"` + strings.Repeat("1", 2000) + `"`, "*", `"1", "2"`, `1,2`, `W/"`, `""`, "W/\"é\""} {
		stored, _, _ := server.Get("a1")
		fault := fhirtest.Fault{On: http.MethodGet, Times: 1, Status: 200, ContentType: "application/fhir+json", Header: http.Header{"Etag": {etag}}}
		fault.Body = string(stored)
		server.SetFault("a1", fault)
		malformed := strings.ContainsAny(etag, "\x01\x7f") // net/http refuses the whole answer
		if answer := write("P-1"); answer["__typename"] != "UpdatePatientContactSuccess" && !malformed {
			t.Errorf("ETag %q with a versionId: %v", etag, answer)
		}
		puts := len(server.History("a1"))
		fault.Body, fault.Times = testPatient("a1", "P-1"), 0
		server.SetFault("a1", fault)
		for range 11 {
			if answer := write("P-1"); answer["__typename"] != "FhirUnavailable" || answer["applied"] != "NO" {
				t.Errorf("ETag %q without a versionId: %v", etag, answer)
			}
		}
		if len(server.History("a1")) != puts {
			t.Errorf("ETag %q: written without a guard", etag)
		}
		if answer := write("P-2"); answer["__typename"] != "UpdatePatientContactSuccess" {
			t.Errorf("ETag %q: another patient: %v", etag, answer)
		}
		server.ClearFaults()
	}
}

// Answers about a few patients get lost: the others are written all the same.
func TestAbuseSilentPatients(t *testing.T) {
	t.Parallel()
	for _, silent := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(silent), func(t *testing.T) {
			t.Parallel()
			server, p := productWithPatients(t, silent+1)
			admin := token(t, auth.RoleAdmin, "")
			for n := range silent {
				server.SetFault(fmt.Sprint("a", n+1), fhirtest.Fault{Close: true})
			}
			for n := range 24 {
				patient := fmt.Sprint("P-", n%silent+1)
				answer := p.updateContact(admin, object{"patientId": patient, "phone": newPhone})
				want(t, answer, object{"__typename": "FhirUnavailable"})
			}
			other := object{"patientId": fmt.Sprint("P-", silent+1), "phone": newPhone}
			want(t, p.updateContact(admin, other), object{"__typename": "UpdatePatientContactSuccess"})
		})
	}
}

// An outage is over, and callers of one patient go on hanging up before the
// answer: the others can be written again.
func TestAbuseImpatientCallersAfterAnOutage(t *testing.T) {
	t.Parallel()
	server, p := productWithPatients(t, 7)
	admin := token(t, auth.RoleAdmin, "")
	server.SetFault("", fhirtest.Fault{Close: true})
	for n := range 10 {
		input := object{"patientId": fmt.Sprint("P-", n%5+1), "phone": newPhone}
		want(t, p.updateContact(admin, input), object{"__typename": "FhirUnavailable"})
	}
	server.ClearFaults()
	server.SetFault("a6", fhirtest.Fault{Delay: time.Second})

	body, err := json.Marshal(object{"query": contactMutation, "variables": object{"input": object{"patientId": "P-6", "phone": newPhone}}})
	if err != nil {
		t.Fatal(err)
	}
	hangUp := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/graphql", bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+admin)
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
		}
	}
	asked := len(server.Requests())
	eventually(t, "nobody tries the FHIR server", func() bool { hangUp(); return len(server.Requests()) > asked })
	written := false
	for range 10 { // for 2 s: less than an open circuit stays open
		hangUp()
		time.Sleep(200 * time.Millisecond)
		answer := p.updateContact(admin, object{"patientId": "P-7", "phone": newPhone})
		written = written || answer["__typename"] == "UpdatePatientContactSuccess"
	}
	if !written {
		t.Error("callers who hang up keep the circuit open")
	}
}

// productWithPatients starts the product and a FHIR server, which both have the
// patients P-1 (a1 there), P-2 (a2) and so on.
func productWithPatients(t *testing.T, patients int) (*fhirtest.Server, *product) {
	t.Helper()
	var ids, resources []string
	for n := 1; n <= patients; n++ {
		ids = append(ids, fmt.Sprint("a", n))
		resources = append(resources, testPatient(fmt.Sprint("a", n), fmt.Sprint("P-", n)))
	}
	server, base := fhirWith(t, ids...)
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	if out, err := importInto(t, databaseURL, strings.Join(resources, "\n")); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	return server, startWith(t, base, databaseURL)
}

// fhirWith starts a FHIR server that has these patients.
func fhirWith(t *testing.T, ids ...string) (*fhirtest.Server, string) {
	t.Helper()
	server := fhirtest.New(fhirtest.Options{})
	for n, id := range ids {
		if err := server.Put([]byte(testPatient(id, fmt.Sprint("P-", n+1)))); err != nil {
			t.Fatal(err)
		}
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server, base
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
func (p *product) settledAs(id, state string) {
	p.t.Helper()
	p.waitForLog(fmt.Sprintf(`"operation":%q,"state":%q`, id, state))
}

// waitForLog waits for a line in the log.
func (p *product) waitForLog(line string) {
	p.t.Helper()
	eventually(p.t, "the log lacks "+line, func() bool { return strings.Contains(p.log.String(), line) })
}

// eventually waits until a condition holds.
func eventually(t testing.TB, otherwise string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for ; !holds(); time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal(otherwise)
		}
	}
}
