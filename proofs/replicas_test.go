package proofs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// TestReplicasOneWriterPerPatient has 16 clients change phone and email of one
// patient through two processes: no two conversations with the FHIR server
// overlap, and each change leaves the other field alone, also on a server
// without versions, where nothing else would save it.
func TestReplicasOneWriterPerPatient(t *testing.T) {
	t.Parallel()
	for name, habits := range map[string]fhirsim.Habits{"HAPI": fhirsim.HAPI(), "without versions": fhirsim.PlainR4()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			OnEachServer(t, func(t *testing.T, databaseURL string) { replicasOneWriterPerPatient(t, databaseURL, habits) })
		})
	}
}

func replicasOneWriterPerPatient(t *testing.T, databaseURL string, habits fhirsim.Habits) {
	f := watchFHIR(t, habits, 1)
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method == http.MethodPut {
			time.Sleep(15 * time.Millisecond)
		}
		serve(w, r)
	})
	replicas := twoReplicas(t, f, databaseURL, "FHIR_TIMEOUT=20s")
	written := make([][]string, 16) // by client: "phone 010-…"
	var passedOver atomic.Int64
	var clients sync.WaitGroup
	for c := range written {
		field, format := "phone", "010-%04d-%06d"
		if c/2%2 == 1 {
			field, format = "email", "c%d.%d@example.org"
		}
		clients.Go(func() {
			for n := range length(8, 80) {
				value := fmt.Sprintf(format, c, n)
				answer := replicas[c%2].Update(Object{"patientId": f.patients[0], field: value})
				for answer["applied"] == "NO" { // the other process never left it a gap
					passedOver.Add(1)
					answer = replicas[c%2].Update(Object{"patientId": f.patients[0], field: value})
				}
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess", "patient." + field: value})
				written[c] = append(written[c], field+" "+value)
			}
		})
	}
	clients.Wait()
	if n := f.overlaps(); n > 0 {
		t.Errorf("%d PUTs overlapped another one", n)
	}
	t.Logf("%d writes waited in vain and were made again", passedOver.Load())
	checkSteps(t, f.history(0), slices.Concat(written...))
}

// checkSteps fails unless each version differs from the one before in one
// field, by one of the writes, and every write is there once.
func checkSteps(t *testing.T, history []Contact, writes []string) {
	t.Helper()
	left := map[string]bool{}
	for _, w := range writes {
		left[w] = true
	}
	for i := 1; i < len(history); i++ {
		step := ""
		if history[i].Phone != history[i-1].Phone {
			step = "phone " + history[i].Phone
		}
		if history[i].Email != history[i-1].Email {
			step += "email " + history[i].Email
		}
		if !left[step] {
			t.Errorf("version %d changes %q: no write, or one that was made before", i+1, step)
		}
		delete(left, step)
	}
	if len(left) > 0 {
		t.Errorf("lost: %v", left)
	}
}

// TestReplicasOtherPatientsDoNotWait has a PUT hang while many wait for its
// patient: writes of another end meanwhile, in either process.
func TestReplicasOtherPatientsDoNotWait(t *testing.T) {
	t.Parallel()
	onHAPI(t, replicasOtherPatientsDoNotWait)
}

func replicasOtherPatientsDoNotWait(t *testing.T, databaseURL string, habits fhirsim.Habits) {
	f := watchFHIR(t, habits, 2)
	release := make(chan struct{})
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method == http.MethodPut && path.Base(r.URL.Path) == fhirOf(f.patients[0]) {
			<-release
		}
		serve(w, r)
	})
	replicas := twoReplicas(t, f, databaseURL, "FHIR_TIMEOUT=60s") // that long the 80 below may wait
	var waiting sync.WaitGroup
	var ended atomic.Int64
	for c := range 80 { // more than either process has database connections
		waiting.Go(func() {
			defer ended.Add(1)
			Want(t, replicas[c%2].Update(Object{"patientId": f.patients[0], "phone": fmt.Sprintf("010-0000-%04d", c)}), Object{"__typename": "UpdatePatientContactSuccess"})
		})
	}
	wait.Until(t, "the PUT arrives", func() bool { return f.under(0) })
	for n := range 40 {
		Want(t, replicas[n%2].Update(Object{"patientId": f.patients[1], "phone": fmt.Sprintf("010-1111-%04d", n)}), Object{"__typename": "UpdatePatientContactSuccess"})
	}
	if n := ended.Load(); n > 0 { // the PUT hangs until all 40 have ended
		t.Errorf("%d writes of its patient have ended", n)
	}
	close(release)
	waiting.Wait()
}

// TestReplicaKilledDuringPut kills a process while its PUT hangs: the other
// can write that patient within 15 s, and finds out what became of the PUT. Without
// versions one that did not land may still do so: the patient waits for the settle
// window.
func TestReplicaKilledDuringPut(t *testing.T) {
	t.Parallel()
	for name, lands := range map[string]bool{"the PUT landed": true, "the PUT did not land": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			OnEachServer(t, func(t *testing.T, databaseURL string) { replicaKilledDuringPut(t, databaseURL, fhirsim.HAPI(), lands) })
		})
	}
}

func replicaKilledDuringPut(t *testing.T, databaseURL string, habits fhirsim.Habits, lands bool) {
	f := watchFHIR(t, habits, 1)
	f.SetFault("", fhirsim.Fault{On: http.MethodPut, Times: 1, Apply: lands, Hang: true})
	replicas := twoReplicas(t, f, databaseURL, "FHIR_TIMEOUT=5s")
	go func() { // no answer comes
		if answer, err := replicas[0].TryUpdate(Object{"patientId": f.patients[0], "phone": "010-0000-0001"}); err == nil {
			t.Errorf("the killed process says %v", answer)
		}
	}()
	wait.Until(t, "the PUT arrives", func() bool { return f.under(0) && (!lands || len(f.history(0)) == 2) })
	operation := onlyUpdate(t, databaseURL)
	replicas[0].Kill()

	killed := time.Now()
	wait.Until(t, "the patient can be written", func() bool {
		answer := replicas[1].Update(Object{"patientId": f.patients[0], "phone": "010-0000-0002"})
		if answer["applied"] != "NO" {
			Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
		}
		return answer["applied"] != "NO"
	})
	elapsed := time.Since(killed)
	t.Logf("writable again after %v", elapsed)
	limit := 15 * time.Second
	if habits.OpenEMR && !lands {
		limit += 40 * time.Second // the settle window
	}
	if elapsed > limit {
		t.Errorf("the patient could not be written for %v", elapsed)
	}
	state, phones := "NOT_APPLIED", []string{OldPhone, "010-0000-0002"}
	if lands {
		state, phones = "APPLIED", []string{OldPhone, "010-0000-0001", "010-0000-0002"}
	}
	Want(t, replicas[1].Settled(operation), Object{"state": state})
	replicas[1].WantRead(f.patients[0], "010-0000-0002", "SYNCED")
	f.wantPhones(0, phones...)
}

// TestReplicaStoppedDuringPut stops a process (SIGSTOP) for longer than its
// lease while its PUT is under way, and the other writes the patient. Then it
// goes on: its older state does not reach the cache, and its caller hears no
// falsehood.
func TestReplicaStoppedDuringPut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		habits fhirsim.Habits
		late   bool   // the PUT is carried out after the other's write
		state  string // of the PUT in the end
	}{
		"the answer waits for it":           {fhirsim.HAPI(), false, "APPLIED"},
		"the answer waits, without ETags":   {fhirsim.PlainR4(), false, "APPLIED"},
		"the PUT comes after the other one": {fhirsim.HAPI(), true, "NOT_APPLIED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			OnEachServer(t, func(t *testing.T, databaseURL string) {
				replicaStoppedDuringPut(t, databaseURL, c.habits, c.late, c.state)
			})
		})
	}
}

func replicaStoppedDuringPut(t *testing.T, databaseURL string, habits fhirsim.Habits, late bool, state string) {
	f := watchFHIR(t, habits, 1)
	carryOut := f.holdFirstPut()
	replicas := twoReplicas(t, f, databaseURL)
	answered := make(chan Object, 1)
	go func() {
		answered <- replicas[0].Update(Object{"patientId": f.patients[0], "phone": "010-0000-0001"})
	}()
	wait.Until(t, "the PUT arrives", func() bool { return f.under(0) })
	stopped := replicas[0].Command.Process
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	operation := onlyUpdate(t, databaseURL)
	if !late {
		carryOut()
	}
	wait.Until(t, "the other writes", func() bool {
		return replicas[1].Update(Object{"patientId": f.patients[0], "phone": "010-0000-0002"})["__typename"] == "UpdatePatientContactSuccess"
	})
	if late {
		carryOut()
	}
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	phones := []string{OldPhone, "010-0000-0001", "010-0000-0002"}
	answer := <-answered
	switch {
	case answer["applied"] == "UNKNOWN": // never false
	case late:
		Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO"})
		phones = slices.Delete(phones, 1, 2)
	default:
		Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-0000-0001"})
	}
	Want(t, replicas[1].Settled(operation), Object{"state": state})
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // longer than a tick
		replicas[0].WantRead(f.patients[0], "010-0000-0002", "SYNCED")
	}
	f.wantPhones(0, phones...)
}

// TestReplicasIdempotencyKey sends the same keys to both processes at once:
// each is written once, and all are told the same.
func TestReplicasIdempotencyKey(t *testing.T) {
	t.Parallel()
	onHAPI(t, replicasIdempotencyKey)
}

func replicasIdempotencyKey(t *testing.T, databaseURL string, habits fhirsim.Habits) {
	f := watchFHIR(t, habits, 1)
	f.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 50 * time.Millisecond})
	replicas := twoReplicas(t, f, databaseURL, "FHIR_TIMEOUT=20s")
	phones := []string{OldPhone}
	for n := range length(10, 100) {
		phone := fmt.Sprintf("010-0000-%06d", n)
		phones = append(phones, phone)
		answers := make([]Object, 8)
		var asking sync.WaitGroup
		for c := range answers {
			asking.Go(func() {
				answers[c] = replicas[c%2].Update(Object{"patientId": f.patients[0], "phone": phone, "idempotencyKey": phone})
			})
		}
		asking.Wait()
		Want(t, answers[0], Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": phone})
		for _, answer := range answers[1:] {
			Want(t, answer, answers[0])
		}
	}
	f.wantPhones(0, phones...)
}

// TestReplicaSettlesABusyPatient loses an answer, and the reads after it, of a
// patient who is then written without a pause: how the lost one ended is found
// out all the same. Without versions the others are told to come back until then.
func TestReplicaSettlesABusyPatient(t *testing.T) {
	t.Parallel()
	onHAPI(t, replicaSettlesABusyPatient)
}

func replicaSettlesABusyPatient(t *testing.T, databaseURL string, habits fhirsim.Habits) {
	f := watchFHIR(t, habits, 1)
	var lost atomic.Bool
	var failed atomic.Int64
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		time.Sleep(20 * time.Millisecond)
		switch {
		case r.Method == http.MethodPut && lost.CompareAndSwap(false, true):
			serve(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // closes the connection
		case r.Method == http.MethodGet && lost.Load() && failed.Add(1) <= 3: // it is asked three times
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			serve(w, r)
		}
	})
	replicas := twoReplicas(t, f, databaseURL)
	first := replicas[0].Update(Object{"patientId": f.patients[0], "phone": "010-9999-9999"})
	Want(t, first, Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
	var over atomic.Bool
	time.AfterFunc(15*time.Second, func() { over.Store(true) })
	var writers sync.WaitGroup
	for c := range 4 {
		writers.Go(func() {
			for n := 0; !over.Load(); n++ {
				answer := replicas[0].Update(Object{"patientId": f.patients[0], "phone": fmt.Sprintf("010-%04d-%04d", c, n)})
				if habits.OpenEMR && answer["applied"] == "NO" {
					continue
				}
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
			}
		})
	}
	Want(t, replicas[1].Settled(first["operationId"]), Object{"state": "APPLIED"})
	if over.Swap(true) {
		t.Error("it was found out only after the other writes")
	}
	writers.Wait()
	history := f.history(0)
	replicas[1].WantRead(f.patients[0], history[len(history)-1].Phone, "SYNCED")
}

// TestReplicaReadsSlowly has a process look for how an update ended, with
// answers of the FHIR server that take longer than its lease. Meanwhile the
// update is looked into again by the same process, and the patient written:
// what was read before that does not reach the cache. (Without versions the patient
// is not written before the settle window is over.)
func TestReplicaReadsSlowly(t *testing.T) {
	t.Parallel()
	OnEachServer(t, replicaReadsSlowly)
}

func replicaReadsSlowly(t *testing.T, databaseURL string) {
	f := watchFHIR(t, fhirsim.HAPI(), 2)
	busy, other := f.patients[0], f.patients[1]
	binary := Binary(t, "crashtest")
	MustImport(t, databaseURL, f.lines())
	start := func() *Process {
		return Launch(t, binary, f.url, databaseURL, "FHIR_TIMEOUT=30s", "PATIENTGRAPH_LEASE=1s", "PATIENTGRAPH_SETTLE=60s")
	}
	dieWriting := func(i int) {
		f.SetFault(fhirOf(f.patients[i]), fhirsim.Fault{On: http.MethodPut, Times: 1, Hang: true})
		dying := start()
		go func() {
			_, _ = dying.TryUpdate(Object{"patientId": f.patients[i], "phone": "010-0000-0001"})
		}() // nobody answers
		wait.Until(t, "the PUT arrives", func() bool { return f.under(i) })
		dying.Kill()
	}
	dieWriting(0)
	if err := f.Put([]byte(strings.Replace(PatientJSON(fhirOf(busy), busy), OldPhone, "010-0000-0002", 1))); err != nil {
		t.Fatal(err)
	}
	slow := f.slowReads(fhirOf(busy))
	slow.next.Store(true)
	p := start()
	wait.Until(t, "the process looks for how it ended", func() bool { return slow.held.Load() == 1 })
	written := make(chan struct{})
	go func() {
		defer close(written)
		Want(t, p.Update(Object{"patientId": busy, "phone": "010-0000-0003"}), Object{"__typename": "UpdatePatientContactSuccess"})
	}()
	select {
	case <-written:
	case <-time.After(5 * time.Second): // it waits for the slow answer
		slow.release <- struct{}{}
		<-written
	}
	dieWriting(1) // so that the next write of this one looks into what is left
	slow.next.Store(true)
	go func() {
		_, _ = p.TryUpdate(Object{"patientId": other, "phone": "010-0000-0004"})
	}() // what it is told does not matter
	for end := time.Now().Add(4 * time.Second); slow.held.Load() == 1 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	select {
	case slow.release <- struct{}{}: // the first of them
	case <-time.After(time.Second): // it was before
	}
	time.AfterFunc(time.Second, func() { close(slow.release) })
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now, err := p.Read(busy); err != nil || now.Phone != "010-0000-0003" {
			t.Fatalf("the cache has %v (%v) after 010-0000-0003 was told as Success", now, err)
		}
	}
	f.wantPhones(0, OldPhone, "010-0000-0002", "010-0000-0003")
}
