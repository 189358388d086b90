package proofs_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// What is asked for and what FHIR sends are values, also for a PostgreSQL that
// takes a backslash in quotes for an escape.
func TestAbuseValuesAreNoSQL(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		if strings.HasPrefix(databaseURL, "postgres") {
			mustExec(t, dbtest.Open(t, databaseURL), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database()); END $$`)
		}
		const evil = `\' OR true --`
		p := JSON(t, Object{"resourceType": "Patient", "id": "e1", "name": []Object{{"family": evil, "given": []string{evil}}}, "telecom": []Object{{"system": "phone", "value": evil}}})
		MustImport(t, databaseURL, PatientJSON("x1", "P-2025-000009"), p)
		s := StartSystem(t, databaseURL)
		for filter, want := range map[string]int{"phone": 1, "name": 1} {
			data := s.Query(`query($f: PatientFilter) { patients(filter: $f) { totalCount nodes { phone } } }`, Object{"f": Object{filter: evil}})
			if n := data.At("patients", "totalCount"); n != float64(want) {
				t.Errorf("%s %s finds %v", filter, evil, data)
			}
		}
	})
}

// A program that is older than the database says so and does nothing, with
// every command that opens it.
func TestAbuseANewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		MustImport(t, databaseURL, PatientJSON("a1", Number))
		newer := db.SchemaVersion() + 4
		database := dbtest.Open(t, databaseURL)
		mustExec(t, database, fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, TRUE)", newer))
		says := fmt.Sprintf("schema version %d, this program knows up to %d: run the newer patientgraph", newer, newer-4)
		file := filepath.Join(t.TempDir(), "more.ndjson")
		if err := os.WriteFile(file, []byte(PatientJSON("a2", "P-2025-000002")), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"serve"}, {"migrate"}, {"import", file}, {"doctor"}} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should it serve
			var out, log locked.Buffer
			err := Run(ctx, args, &out, &log,
				"FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret, "LISTEN_ADDR=127.0.0.1:0")
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

// The file of an SQLite cache is deleted under a running server: nothing is
// sent any more whose outcome could not be kept, and it is said.
func TestAbuseTheDatabaseFileIsDeleted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.db")
	s := StartSystem(t, "sqlite:"+path)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("cache.db%s: %v, %v", suffix, info, err)
		}
	}
	Want(t, s.Update(Object{"patientId": Number, "phone": "010-1111-0001"}), Object{"__typename": "UpdatePatientContactSuccess"})
	stored := s.Stored()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, patient := range []string{Number, "P-2025-000002"} { // the second is in the cache alone
		if code := s.Post(Body(t, ContactMutation, Object{"input": Object{"patientId": patient, "phone": "010-1111-0002"}})).ErrorCode(); code != "UNAVAILABLE" {
			t.Errorf("a write to %s is told %v", patient, code)
		}
	}
	if s.Stored() != stored {
		t.Error("the write was sent")
	}
	s.WantLog("the database file was deleted or replaced while it was in use")
	wait.Until(t, "/readyz tells", func() bool { return !ready(s) })
	Want(t, s.Patient(Number), Object{"phone": "010-1111-0001"}) // what is known is still told
}

// The file goes while a PUT is under way: the caller hears what became of it.
func TestAbuseTheDatabaseFileIsDeletedDuringAWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.db")
	f := watchFHIR(t, fhirsim.HAPI(), 1)
	p := f.product("sqlite:" + path)
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method == http.MethodPut {
			if err := os.Rename(path, path+".away"); err != nil {
				t.Error(err)
			}
		}
		serve(w, r)
	})
	told := p.Update(Object{"patientId": f.patients[0], "phone": "010-0000-0005"})
	Want(t, told, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-0000-0005", "patient.syncState": "PENDING"})
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the end is written down", func() bool { return p.Patient(f.patients[0])["syncState"] == "SYNCED" })
	Want(t, p.Patient(f.patients[0]), Object{"phone": "010-0000-0005"})
}

// ready reports whether the product says so.
func ready(s *System) bool {
	status, _ := s.Get("/readyz")
	return status == http.StatusOK
}

// PostgreSQL stands still, as a paused machine does: each read ends, and when
// it goes on so does the server.
func TestAbusePostgresIsFrozen(t *testing.T) {
	t.Parallel()
	server := newPostgres(t)
	s := StartSystem(t, server.url)
	s.Patient(Number)
	server.signal(syscall.SIGSTOP)
	told := make(chan Object)
	for _, query := range []string{`{ patient(id: "` + Number + `") { phone } }`, `{ patients(first: 1, filter: {name: "홍"}) { totalCount nodes { id } } }`} {
		for range 40 { // more than there are connections
			go func() {
				answer := s.Post(Body(t, query, nil)).Object
				told <- answer
			}()
		}
	}
	for range 80 {
		select {
		case answer := <-told:
			if answer.ErrorCode() != "UNAVAILABLE" {
				t.Errorf("without a database: %v", answer)
			}
		case <-time.After(time.Minute): // a guard: a request has 10 s
			server.signal(syscall.SIGCONT)
			t.Fatal("a read has no end")
		}
	}
	wait.Until(t, "/readyz tells", func() bool { return !ready(s) })
	server.signal(syscall.SIGCONT)
	wait.Until(t, "/readyz tells", func() bool { return ready(s) })
	Want(t, s.Patient(Number), Object{"id": Number})
	wait.Until(t, "it can be written", func() bool {
		return s.Update(Object{"patientId": Number, "phone": "010-3333-3333"})["__typename"] == "UpdatePatientContactSuccess"
	})
}

// However much a patient's record holds, a write adds little to the journal.
func TestAbuseTheJournalGrowsByWhatChanges(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		allergies := make([]string, 100)
		for n := range allergies {
			allergies[n] = strings.Repeat("😀", 200)
		}
		database := dbtest.Open(t, databaseURL)
		mustExec(t, database, "UPDATE patients SET allergies = $1", JSON(t, allergies))
		const writes = 5
		input := Object{"patientId": Number}
		var told Object
		for n := range writes {
			input["phone"], input["idempotencyKey"] = fmt.Sprintf("010-4444-000%d", n), fmt.Sprint("key", n)
			told = s.Update(input)
			Want(t, told, Object{"__typename": "UpdatePatientContactSuccess"})
		}
		var n, bytes int
		if err := database.QueryRow(`SELECT count(*), sum(length(put) + length(answer) + length(patient)) FROM contact_updates`).Scan(&n, &bytes); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d characters a write", bytes/n)
		if n != writes || bytes > writes*2000 {
			t.Errorf("%d lines of together %d characters", n, bytes)
		}
		mustExec(t, database, "UPDATE patients SET blood_type = 'A+'")
		again := s.Update(input) // the last one's key
		if JSON(t, again) != JSON(t, told) {
			t.Errorf("told first %v\nthen       %v", told, again)
		}
	})
}

// A row and a line of the journal that cannot be read harm nobody else, and
// not the start.
func TestAbuseUnreadableRowsHarmThemselvesAlone(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		s.FHIR.SetFault("a1", fhirsim.Fault{Status: http.StatusInternalServerError})
		_ = s.Update(Object{"patientId": Number, "phone": "010-5555-0000"}) // it leaves a line in the journal
		database := dbtest.Open(t, databaseURL)
		deep := strings.Repeat("[", 1<<20)
		mustExec(t, database, "UPDATE patients SET address = $1 WHERE id = $2", deep, Number)
		mustExec(t, database, `UPDATE contact_updates SET put = $1, answer = $1, patient = $1,
			state = 'UNKNOWN', settled_at = 0, lease_until = 1`, deep)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		answer := p.Post(Body(t, `{ patients(first: 9) { nodes { id phone address { city } } } }`, nil))
		data, _ := answer.At("data").(map[string]any)
		nodes, _ := Object(data).At("patients", "nodes").([]any)
		if answer.Status != http.StatusOK || len(nodes) != 1 || answer.At("errors") == nil {
			t.Errorf("the list: %d %v", answer.Status, answer)
		}
		if strings.Contains(fmt.Sprint(answer), "[[[") {
			t.Error("the answer quotes the row")
		}
		Want(t, p.Update(Object{"patientId": "P-2025-000002", "phone": "010-5555-5555"}), Object{"__typename": "UpdatePatientContactSuccess"})
		p.WantLog("cannot be read")
		p.UntilLog("column contact_updates.put")
	})
}
