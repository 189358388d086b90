package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patientgraph/app"
	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir/fhirtest"
)

// openDatabase opens the database of a product beside it.
func openDatabase(t *testing.T, databaseURL string) *sql.DB {
	t.Helper()
	driver, source := "pgx", databaseURL
	if path, found := strings.CutPrefix(databaseURL, "sqlite:"); found {
		driver, source = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	database, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { database.Close() })
	return database
}

func mustExec(t *testing.T, database *sql.DB, text string, args ...any) {
	t.Helper()
	if _, err := database.Exec(text, args...); err != nil {
		t.Fatal(err)
	}
}

// What is asked for and what FHIR sends are values, also for a PostgreSQL that
// takes a backslash in quotes for an escape.
func TestAbuseValuesAreNoSQL(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		if strings.HasPrefix(databaseURL, "postgres") {
			mustExec(t, openDatabase(t, databaseURL), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database()); END $$`)
		}
		const evil = `\' OR true --`
		p, err := json.Marshal(object{"resourceType": "Patient", "id": "e1", "name": []object{{"family": evil, "given": []string{evil}}}, "telecom": []object{{"system": "phone", "value": evil}}})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := importInto(t, databaseURL, testPatient("x1", "P-2025-000009")+"\n"+string(p)); err != nil {
			t.Fatalf("import: %v\n%s", err, out)
		}
		s := startSystem(t, databaseURL)
		for filter, want := range map[string]int{"phone": 1, "name": 1} {
			data := s.query(token(t, auth.RoleAdmin, ""), `query($f: PatientFilter) { patients(filter: $f) { totalCount nodes { phone } } }`, object{"f": object{filter: evil}})
			if n := data.at("patients", "totalCount"); n != float64(want) {
				t.Errorf("%s %s finds %v", filter, evil, data)
			}
		}
	})
}

// A program that is older than the database says so and does nothing, with
// every command that opens it.
func TestAbuseANewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		if out, err := importInto(t, databaseURL, testPatient("a1", number)); err != nil {
			t.Fatalf("import: %v\n%s", err, out)
		}
		newer := db.SchemaVersion() + 4
		database := openDatabase(t, databaseURL)
		mustExec(t, database, fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, TRUE)", newer))
		says := fmt.Sprintf("schema version %d, this program knows up to %d: run the newer patientgraph", newer, newer-4)
		file := filepath.Join(t.TempDir(), "more.ndjson")
		if err := os.WriteFile(file, []byte(testPatient("a2", "P-2025-000002")), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"serve"}, {"migrate"}, {"import", file}, {"doctor"}} {
			settings := map[string]string{
				"FHIR_BASE_URL": "http://127.0.0.1:1/fhir", "DATABASE_URL": databaseURL, "JWT_SECRET": testSecret, "LISTEN_ADDR": "127.0.0.1:0",
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should it serve
			var out, log syncBuffer
			err := app.Run(ctx, args, func(name string) string { return settings[name] }, &out, &log)
			cancel()
			if told := fmt.Sprint(err, out.String()); err == nil || !strings.Contains(told, says) {
				t.Errorf("%s: %s", args[0], told)
			}
		}
		var n int
		if err := database.QueryRow("SELECT count(*) FROM patients").Scan(&n); err != nil || n != 1 {
			t.Errorf("%d patients, %v", n, err)
		}
	})
}

// get returns the status of a path.
func (p *product) get(path string) int {
	p.t.Helper()
	response, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// failed runs a mutation that the database fails, and returns the code told.
func (p *product) failed(bearer string, input object) any {
	p.t.Helper()
	body, err := json.Marshal(object{"query": contactMutation, "variables": object{"input": input}})
	if err != nil {
		p.t.Fatal(err)
	}
	_, answer := p.post(bearer, string(body))
	errors, _ := answer["errors"].([]any)
	if len(errors) != 1 {
		p.t.Fatalf("told %v", answer)
	}
	return object(errors[0].(map[string]any)).at("extensions", "code")
}

// The file of an SQLite cache is deleted under a running server: nothing is
// sent any more whose outcome could not be kept, and it is said.
func TestAbuseTheDatabaseFileIsDeleted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.db")
	s := startSystem(t, "sqlite:"+path)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("cache.db%s: %v, %v", suffix, info, err)
		}
	}
	admin := token(t, auth.RoleAdmin, "")
	want(t, s.updateContact(admin, object{"patientId": number, "phone": "010-1111-0001"}), object{"__typename": "UpdatePatientContactSuccess"})
	stored := s.stored()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, patient := range []string{number, "P-2025-000002"} { // the second is in the cache alone
		if code := s.failed(admin, object{"patientId": patient, "phone": "010-1111-0002"}); code != "INTERNAL" {
			t.Errorf("a write to %s is told %v", patient, code)
		}
	}
	if s.stored() != stored {
		t.Error("the write was sent")
	}
	s.wantLog("the database file was deleted or replaced while it was in use")
	waitUntil(t, "/readyz tells", func() bool { return s.get("/readyz") == http.StatusServiceUnavailable })
	want(t, s.patient(number), object{"phone": "010-1111-0001"}) // what is known is still told
}

// The file goes while a PUT is under way: the caller hears what became of it.
func TestAbuseTheDatabaseFileIsDeletedDuringAWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.db")
	f := watchFHIR(t, fhirtest.HAPI(), 1)
	if out, err := importInto(t, "sqlite:"+path, f.lines()); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	p := startWith(t, f.url, "sqlite:"+path)
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method == http.MethodPut {
			if err := os.Rename(path, path+".away"); err != nil {
				t.Error(err)
			}
		}
		serve(w, r)
	})
	told := p.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": f.patients[0], "phone": "010-0000-0005"})
	want(t, told, object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-0000-0005", "patient.syncState": "PENDING"})
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the end is written down", func() bool { return p.patient(f.patients[0])["syncState"] == "SYNCED" })
	want(t, p.patient(f.patients[0]), object{"phone": "010-0000-0005"})
}

// PostgreSQL stands still, as a paused machine does: each read ends, and when
// it goes on so does the server.
func TestAbusePostgresIsFrozen(t *testing.T) {
	t.Parallel()
	server := newPostgres(t)
	s := startSystem(t, server.url)
	admin := token(t, auth.RoleAdmin, "")
	s.patient(number)
	server.signal(syscall.SIGSTOP)
	told := make(chan object)
	for _, query := range []string{`{ patient(id: "` + number + `") { phone } }`, `{ patients(first: 1, filter: {name: "홍"}) { totalCount nodes { id } } }`} {
		for range 40 { // more than there are connections
			go func() {
				_, answer := s.post(admin, requestBody(t, query))
				told <- answer
			}()
		}
	}
	for range 80 {
		select {
		case answer := <-told:
			if answer["errors"] == nil {
				t.Errorf("answered without a database: %v", answer)
			}
		case <-time.After(time.Minute): // a guard: a request has 10 s
			server.signal(syscall.SIGCONT)
			t.Fatal("a read has no end")
		}
	}
	waitUntil(t, "/readyz tells", func() bool { return s.get("/readyz") == http.StatusServiceUnavailable })
	server.signal(syscall.SIGCONT)
	waitUntil(t, "/readyz tells", func() bool { return s.get("/readyz") == http.StatusOK })
	want(t, s.patient(number), object{"id": number})
	waitUntil(t, "it can be written", func() bool {
		return s.updateContact(admin, object{"patientId": number, "phone": "010-3333-3333"})["__typename"] == "UpdatePatientContactSuccess"
	})
}

// signal sends a signal to the server and everything that it started.
func (s *postgres) signal(what syscall.Signal) {
	s.t.Helper()
	pid := s.command.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(fmt.Sprint(pid, " ", string(children))) {
		var n int
		if _, err := fmt.Sscan(pid, &n); err == nil {
			_ = syscall.Kill(n, what) // a child may have ended
		}
	}
}

// However much a patient's record holds, a write adds little to the journal.
func TestAbuseTheJournalGrowsByWhatChanges(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		allergies := make([]string, 100)
		for n := range allergies {
			allergies[n] = strings.Repeat("😀", 200)
		}
		database := openDatabase(t, databaseURL)
		mustExec(t, database, "UPDATE patients SET allergies = $1", mustJSON(t, allergies))
		admin := token(t, auth.RoleAdmin, "")
		const writes = 5
		input := object{"patientId": number}
		var told object
		for n := range writes {
			input["phone"], input["idempotencyKey"] = fmt.Sprintf("010-4444-000%d", n), fmt.Sprint("key", n)
			told = s.updateContact(admin, input)
			want(t, told, object{"__typename": "UpdatePatientContactSuccess"})
		}
		var n, bytes int
		if err := database.QueryRow(`SELECT count(*), sum(length(asked) + length(base) + length(intended) + length(answer) + length(patient)) FROM contact_updates`).Scan(&n, &bytes); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d characters a write", bytes/n)
		if n != writes || bytes > writes*2000 {
			t.Errorf("%d lines of together %d characters", n, bytes)
		}
		mustExec(t, database, "UPDATE patients SET blood_type = 'A+'")
		again := s.updateContact(admin, input) // the last one's key
		if mustJSON(t, again) != mustJSON(t, told) {
			t.Errorf("told first %v\nthen       %v", told, again)
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A row and a line of the journal that cannot be read harm nobody else, and
// not the start.
func TestAbuseUnreadableRowsHarmThemselvesAlone(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		s.fhir.SetFault("a1", fhirtest.Fault{Status: http.StatusInternalServerError})
		admin := token(t, auth.RoleAdmin, "")
		_ = s.updateContact(admin, object{"patientId": number, "phone": "010-5555-0000"}) // it leaves a line in the journal
		database := openDatabase(t, databaseURL)
		deep := strings.Repeat("[", 1<<20)
		mustExec(t, database, "UPDATE patients SET address = $1 WHERE id = $2", deep, number)
		mustExec(t, database, `UPDATE contact_updates SET asked = $1, base = $1, intended = $1, answer = $1, patient = $1,
			state = 'UNKNOWN', settled_at = 0, lease_until = 1`, deep)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		p := startWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		status, answer := p.post(admin, requestBody(t, `{ patients(first: 9) { nodes { id phone address { city } } } }`))
		data, _ := answer["data"].(map[string]any)
		nodes, _ := object(data).at("patients", "nodes").([]any)
		if status != http.StatusOK || len(nodes) != 1 || answer["errors"] == nil {
			t.Errorf("the list: %d %v", status, answer)
		}
		if strings.Contains(fmt.Sprint(answer), "[[[") {
			t.Error("the answer quotes the row")
		}
		want(t, p.updateContact(admin, object{"patientId": "P-2025-000002", "phone": "010-5555-5555"}), object{"__typename": "UpdatePatientContactSuccess"})
		p.wantLog("cannot be read")
		p.waitForLog("column contact_updates.base")
	})
}
