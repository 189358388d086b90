package proofs_test

import (
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// The promises of docs/write-through.md, each in its plainest case; the
// long proofs are the crash, fault, linearizability and model tests.

func TestPromise1FHIRFirst(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 300 * time.Millisecond})
		done := make(chan Object, 1)
		go func() {
			done <- s.Update(Object{"patientId": Number, "phone": NewPhone})
		}()
		pending := 0
		for {
			select {
			case answer := <-done:
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
				Want(t, s.Patient(Number), Object{"phone": NewPhone, "syncState": "SYNCED"})
				if pending == 0 {
					t.Error("the patient never said PENDING while the write was under way")
				}
				return
			default:
			}
			cached, has := s.Patient(Number), strings.Contains(s.Stored(), NewPhone)
			if cached["phone"] == NewPhone && !has {
				t.Fatal("the cache has what the FHIR server did not have yet")
			}
			if cached["syncState"] == "PENDING" {
				pending++
			}
		}
	})
}

func TestPromise2NoFalseSuccess(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]fhirsim.Fault{
		"nothing saved":   {On: http.MethodPut, Ignore: true},
		"a part saved":    {On: http.MethodPut, Drop: []string{"telecom"}},
		"another value":   {On: http.MethodPut, Store: cutPhone},
		"created, not so": {On: http.MethodPut, Apply: true, Status: http.StatusCreated},
		"a bare OK":       {On: http.MethodPut, Status: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
				s := StartSystemOn(t, kind, databaseURL)
				s.FHIR.SetFault("", lie)
				answer := s.Update(Object{"patientId": Number, "phone": NewPhone, "address": Object{"city": "Busan"}})
				if name == "a bare OK" { // the read after it may lag behind
					Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
				} else {
					Want(t, answer, Object{"__typename": "FhirRejected"})
				}
				cached, stored := s.Patient(Number), s.Stored()
				if phone, _ := cached["phone"].(string); !strings.Contains(stored, `"`+phone+`"`) {
					t.Errorf("the cache has %s, the FHIR server %s", phone, stored)
				}
			})
		})
	}
}

func TestPromise3NoLostTruth(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		f := watchFHIR(t, fhirsim.HAPI(), 1)
		MustImport(t, databaseURL, f.lines())
		start := func(settings ...string) *Process {
			return Launch(t, Binary(t, "crashtest"), f.url, databaseURL, append(settings, "PATIENTGRAPH_LEASE=1s")...)
		}
		p := start("PATIENTGRAPH_KILL_AT=answer-came:1")
		if answer, err := p.TryUpdate(Object{"patientId": f.patients[0], "phone": NewPhone}); err == nil {
			t.Fatalf("it lives and says %v", answer)
		}
		<-p.Dead
		p = start()
		p.WantRead(f.patients[0], OldPhone, "PENDING")
		wait.Until(t, "the truth comes", func() bool {
			now, err := p.Read(f.patients[0])
			return err == nil && now.Phone == NewPhone && now.State == "SYNCED"
		})
	})
}

func TestPromise4NoFalseFailure(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL, "FHIR_TIMEOUT=500ms")
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 700 * time.Millisecond, Late: true})
		answer := s.Update(Object{"patientId": Number, "phone": NewPhone})
		Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN", "code": "FHIR_OUTCOME_UNKNOWN", "retryable": true})
		s.FHIR.ClearFaults()
		Want(t, s.Settled(answer["operationId"]), Object{"state": "APPLIED"})
		Want(t, s.Patient(Number), Object{"phone": NewPhone, "syncState": "SYNCED"})
	})
}

func TestPromise5OneWriterPerPatient(t *testing.T) {
	t.Parallel()
	OnEachServer(t, oneWriterPerPatient)
}

func oneWriterPerPatient(t *testing.T, databaseURL string) {
	f := watchFHIR(t, fhirsim.PlainR4(), 2) // nothing else keeps writers apart
	busy, other := f.patients[0], f.patients[1]
	hold := make(chan struct{})
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		switch {
		case r.Method == http.MethodPut && path.Base(r.URL.Path) == fhirOf(other):
			<-hold
		case r.Method == http.MethodPut:
			time.Sleep(20 * time.Millisecond)
		}
		serve(w, r)
	})
	replicas := []*Product{f.product(databaseURL, "FHIR_TIMEOUT=30s"), StartWith(t, f.url, databaseURL, "FHIR_TIMEOUT=30s")}
	var wg sync.WaitGroup
	wg.Go(func() {
		Want(t, replicas[0].Update(Object{"patientId": other, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
	})
	var others sync.WaitGroup
	for n := range 16 {
		others.Go(func() {
			input := Object{"patientId": busy, "phone": "010-0000-00" + string(rune('a'+n))}
			if n%2 == 1 {
				input = Object{"patientId": busy, "email": string(rune('a'+n)) + "@example.org"}
			}
			Want(t, replicas[n%4/2].Update(input), Object{"__typename": "UpdatePatientContactSuccess"})
		})
	}
	others.Wait() // while the other patient's write still hangs
	close(hold)
	wg.Wait()
	if n := f.overlaps(); n > 0 {
		t.Errorf("%d writes of one patient overlapped", n)
	}
	// Without versions only the order of writers keeps a phone and an email that
	// were written at the same time.
	history := f.history(0)
	last := history[len(history)-1]
	if !strings.HasPrefix(last.Phone, "010-0000-00") || last.Email == "old@example.org" {
		t.Errorf("an update was lost: %v", last)
	}
	Want(t, replicas[0].Patient(busy), Object{"phone": last.Phone, "email": last.Email, "syncState": "SYNCED"})
}

func TestPromise6NeverBackwards(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		before := s.Stored() // an export from before the write
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		if out, err := s.Import(databaseURL, before); err != nil || !strings.Contains(out, "1 kept") {
			t.Errorf("import: %v\n%s", err, out)
		}
		Want(t, s.Patient(Number), Object{"phone": NewPhone})
	})
}

func TestPromise7NothingElseIsTouched(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		before := s.Stored()
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		wanted := WithoutMeta(t, strings.Replace(before, OldPhone, NewPhone, 1))
		if got := WithoutMeta(t, s.Stored()); got != wanted {
			t.Errorf("the FHIR server has\n%s\nwant\n%s", got, wanted)
		}
	})
}

func TestPromise8ARetryWritesOnce(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL)
		own := Token(t, auth.RolePatient, Number)
		input := Object{"patientId": Number, "phone": "010-9876-5432", "idempotencyKey": "key-1"}

		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 300 * time.Millisecond})
		answers := make([]Object, 8)
		var wg sync.WaitGroup
		for n := range answers {
			wg.Go(func() { answers[n] = s.Update(input) })
		}
		wg.Wait()
		Want(t, answers[0], Object{"__typename": "UpdatePatientContactSuccess"})
		for _, answer := range answers[1:] {
			Want(t, answer, answers[0])
		}
		if puts := s.Puts(); puts != 1 {
			t.Errorf("%d PUTs for one key", puts)
		}
		s.FHIR.ClearFaults()

		other := Object{"patientId": Number, "phone": "010-0000-0000", "idempotencyKey": "key-1"}
		Want(t, s.Update(other), Object{"__typename": "InvalidInput", "code": "IDEMPOTENCY_KEY_REUSED"})
		Want(t, s.As(own).Update(other), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-0000-0000"}) // another caller's key
		Want(t, s.Update(input), answers[0])                                                                                    // as it was then
		Want(t, s.Patient(Number), Object{"phone": "010-0000-0000"})

		rejected := Object{"patientId": Number, "phone": "invalid-phone", "idempotencyKey": "key-2"}
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, RejectPhone: "Invalid phone format"})
		first := s.Update(rejected)
		Want(t, first, Object{"__typename": "FhirRejected", "message": "Invalid phone format"})
		before := len(s.FHIR.Requests())
		Want(t, s.Update(rejected), first)
		if now := len(s.FHIR.Requests()); now != before {
			t.Errorf("the FHIR server was asked again %d times", now-before)
		}
		s.FHIR.ClearFaults()

		down := Object{"patientId": Number, "phone": "010-2222-3333", "idempotencyKey": "key-3"}
		s.FHIR.SetFault("", fhirsim.Fault{Status: http.StatusServiceUnavailable})
		Want(t, s.Update(down), Object{"__typename": "FhirUnavailable", "applied": "NO"})
		s.FHIR.ClearFaults()
		Want(t, s.Update(down), Object{"__typename": "UpdatePatientContactSuccess"}) // nothing was written before

		local := Object{"patientId": "P-2025-000002", "phone": "010-1", "idempotencyKey": "key-4"}
		first = s.Update(local)
		Want(t, s.Update(local), first)

		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		again := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		Want(t, again.Update(input), answers[0]) // also after a restart
		Want(t, again.Update(local), first)
	})
}

func TestPromise9NoPatientDataInLogs(t *testing.T) {
	t.Parallel()
	OnEachFHIR(t, func(t *testing.T, kind fhirsim.Habits, databaseURL string) {
		s := StartSystemOn(t, kind, databaseURL, "FHIR_TIMEOUT=500ms")
		secret := Object{"patientId": Number, "phone": "010-7777-1234", "email": "very.secret@example.org", "address": Object{"lines": []string{"Hidden Street 7"}, "city": "Atlantis"}}
		answers := []Object{s.Update(secret)}
		for _, fault := range []fhirsim.Fault{
			{On: http.MethodPut, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json", Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"The value 010-8888-1234 of very.hidden@example.org in Atlantis City is bad"}]}`},
			{On: http.MethodPut, Ignore: true},
			{On: http.MethodPut, Hang: true},
		} {
			s.FHIR.SetFault("", fault)
			answers = append(answers, s.Update(Object{"patientId": Number, "phone": "010-8888-1234", "email": "very.hidden@example.org", "address": Object{"city": "Atlantis City"}}))
		}
		for _, answer := range answers[1:] {
			text := JSON(t, answer)
			for _, value := range []string{"010-8888-1234", "very.hidden", "Atlantis City"} {
				if strings.Contains(text, value) {
					t.Errorf("the error repeats %s: %s", value, text)
				}
			}
		}
		for _, value := range []string{"7777-1234", "8888-1234", "very.secret", "very.hidden", "Hidden Street", "Atlantis", "홍", "1990-05"} {
			if strings.Contains(s.Log.String(), value) {
				t.Errorf("the log holds %q", value)
			}
		}
	})
}
