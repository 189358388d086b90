package proofs_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// watchedFHIR is a FHIR server that notes what overlaps. What each request
// gets is decided by hook.
type watchedFHIR struct {
	*fhirsim.Server
	t        *testing.T
	habits   fhirsim.Habits
	url      string
	patients []string // their numbers; their FHIR ids are fhirOf(number)

	mu       sync.Mutex
	hook     hook
	writing  map[string]int // PUTs under way, by FHIR id
	together int            // PUTs that began while another of the same patient was under way
}

// hook answers a request, by serve or otherwise.
type hook func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)

// watchFHIR starts a FHIR server with n patients.
func watchFHIR(t *testing.T, habits fhirsim.Habits, n int) *watchedFHIR {
	t.Helper()
	f := &watchedFHIR{
		Server: fhirsim.New(fhirsim.Options{Habits: habits}), t: t, habits: habits, writing: map[string]int{},
		hook: func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) { serve(w, r) },
	}
	for i := range n {
		number := fmt.Sprintf("P-%d", i)
		f.patients = append(f.patients, number)
		if err := f.Put([]byte(patientFor(habits, fhirOf(number), number))); err != nil {
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

// product imports the patients and starts the product.
func (f *watchedFHIR) product(databaseURL string, settings ...string) *Product {
	f.t.Helper()
	importFrom(f.t, f.habits, databaseURL, f.lines())
	settings = append(settings, numbersOf(f.habits))
	return StartWith(f.t, f.url, databaseURL, settings...)
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

// under reports whether a PUT of patient i is under way.
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
func (f *watchedFHIR) history(i int) []Contact {
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
		had = append(had, c.Phone)
	}
	if !slices.Equal(had, phones) {
		f.t.Errorf("the FHIR server had %v, want %v", had, phones)
	}
}

// holdFirstPut keeps the first PUT until carryOut is called, which returns when
// it was carried out.
func (f *watchedFHIR) holdFirstPut() (carryOut func()) {
	release, done := make(chan struct{}), make(chan struct{})
	var held atomic.Bool
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method == http.MethodPut && held.CompareAndSwap(false, true) {
			<-release
			defer close(done)
		}
		serve(w, r)
	})
	return func() { close(release); <-done }
}

// slowReads keeps answers about a patient.
type slowReads struct {
	next    atomic.Bool  // the next read is kept; its history cannot be read until it is released
	held    atomic.Int32 // how many were
	release chan struct{}
}

func (f *watchedFHIR) slowReads(id string) *slowReads {
	slow := &slowReads{release: make(chan struct{})}
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		answer := httptest.NewRecorder()
		serve(answer, r)
		switch {
		case strings.Contains(r.URL.Path, id+"/_history") && slow.held.Load() == 1:
			answer = httptest.NewRecorder()
			answer.Code = http.StatusServiceUnavailable
		case r.Method == http.MethodGet && path.Base(r.URL.Path) == id && slow.next.CompareAndSwap(true, false):
			slow.held.Add(1)
			<-slow.release
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w) // the process may have gone
	})
	return slow
}

// twoReplicas starts two processes on one PostgreSQL database that holds the
// FHIR server's patients.
func twoReplicas(t *testing.T, f *watchedFHIR, databaseURL string, settings ...string) (replicas [2]*Process) {
	t.Helper()
	importFrom(t, f.habits, databaseURL, f.lines())
	settings = append(settings, numbersOf(f.habits))
	for n := range replicas {
		replicas[n] = Launch(t, Binary(t, ""), f.url, databaseURL, settings...)
	}
	return replicas
}
