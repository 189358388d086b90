package main

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirtest"
)

// plainBinary builds the program as users have it, once, beside the test's own
// binary, which go test puts into a directory that it removes.
var plainBinary = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	file := filepath.Join(filepath.Dir(self), "patientgraph-replica")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return file, nil
})

// update makes one contact update and returns its answer.
func (p *process) update(input object) object {
	p.t.Helper()
	data, err := p.call(contactMutation, object{"input": input})
	if err != nil {
		p.t.Error(err)
		return object{}
	}
	return data["updatePatientContact"].(map[string]any)
}

// settled waits until an update is settled.
func (p *process) settled(operation any) object {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		data, err := p.call(updateQuery, object{"id": operation})
		if err == nil && data.at("contactUpdate", "state") != "PENDING" {
			return data
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not settled: %v, %v", data, err)
		}
	}
}

// wantRead fails unless the cache has this phone and syncState.
func (p *process) wantRead(patient, phone, state string) {
	p.t.Helper()
	if now, err := p.read(patient); err != nil || now.phone != phone || now.state != state {
		p.t.Errorf("the cache has %v (%v), want %s %s", now, err, phone, state)
	}
}

// watchedFHIR is a FHIR server that notes what overlaps. What each request
// gets is decided by hook.
type watchedFHIR struct {
	*fhirtest.Server
	t        *testing.T
	url      string
	patients []string // their numbers; their FHIR ids are fhirOf(number)

	mu       sync.Mutex
	hook     hook
	writing  map[string]int // PUTs under way, by FHIR id
	together int            // PUTs that began while another of the same patient was under way
}

// hook answers a request, by serve or otherwise.
type hook func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)

// firstPhone is the phone that testPatient has.
const firstPhone = "010-1111-2222"

// watchFHIR starts a FHIR server with n patients.
func watchFHIR(t *testing.T, habits fhirtest.Habits, n int) *watchedFHIR {
	t.Helper()
	f := &watchedFHIR{
		Server: fhirtest.New(fhirtest.Options{Habits: habits}), t: t, writing: map[string]int{},
		hook: func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) { serve(w, r) },
	}
	for i := range n {
		number := fmt.Sprintf("P-%d", i)
		f.patients = append(f.patients, number)
		if err := f.Put([]byte(testPatient(fhirOf(number), number))); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	f.url = server.URL + "/fhir"
	return f
}

// lines are the patients, to import.
func (f *watchedFHIR) lines() string {
	var lines strings.Builder
	for _, number := range f.patients {
		stored, _, _ := f.Get(fhirOf(number))
		lines.Write(append(stored, '\n'))
	}
	return lines.String()
}

// setHook decides from now on what requests get.
func (f *watchedFHIR) setHook(h hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = h
}

func (f *watchedFHIR) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	answer, id := f.hook, path.Base(r.URL.Path)
	if r.Method == http.MethodPut {
		if f.writing[id]++; f.writing[id] > 1 {
			f.together++
		}
		defer func() { f.mu.Lock(); f.writing[id]--; f.mu.Unlock() }()
	}
	f.mu.Unlock()
	answer(w, r, f.ServeHTTP)
}

// under tells whether a PUT of patient i is under way.
func (f *watchedFHIR) under(i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writing[fhirOf(f.patients[i])] > 0
}

// overlaps counts PUTs that met another PUT of the same patient, at the same
// time or between its read and its PUT.
func (f *watchedFHIR) overlaps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.together
	for _, r := range f.Requests() {
		if r.Status == http.StatusConflict || r.Status == http.StatusPreconditionFailed {
			n++
		}
	}
	return n
}

// history is the contact in each version of patient i, the oldest first.
func (f *watchedFHIR) history(i int) []contact {
	f.t.Helper()
	history, err := memoryTruth{f.Server}.history(fhirOf(f.patients[i]))
	if err != nil {
		f.t.Fatal(err)
	}
	return history
}

// wantPhones fails unless patient i had these phones, one after the other.
func (f *watchedFHIR) wantPhones(i int, phones ...string) {
	f.t.Helper()
	var had []string
	for _, c := range f.history(i) {
		had = append(had, c.phone)
	}
	if !slices.Equal(had, phones) {
		f.t.Errorf("the FHIR server had %v, want %v", had, phones)
	}
}

// twoReplicas starts two processes on one PostgreSQL database that holds the
// FHIR server's patients.
func twoReplicas(t *testing.T, f *watchedFHIR, settings ...string) (replicas [2]*process, databaseURL string) {
	t.Helper()
	databaseURL = dbtest.Postgres(t)
	binary, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := importInto(t, databaseURL, f.lines()); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	for n := range replicas {
		replicas[n] = launch(t, binary, append(settings, "FHIR_BASE_URL="+f.url, "DATABASE_URL="+databaseURL)...)
	}
	return replicas, databaseURL
}

// onlyUpdate returns the operationId of the one update that the journal has.
func onlyUpdate(t *testing.T, databaseURL string) (id string) {
	t.Helper()
	journal, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	if err := journal.QueryRow("SELECT id FROM contact_updates").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// length is how much a proof does: a little, or with -full a lot.
func length(little, lot int) int {
	if *full {
		return lot
	}
	return little
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
