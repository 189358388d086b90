package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirtest"
)

// The nine promises of docs/write-through.md, each in its plainest case; the
// long proofs are the crash, fault, linearizability and model tests. The
// eighth is in protocol_test.go.

func TestPromise1FHIRFirst(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: 300 * time.Millisecond})
		done := make(chan object, 1)
		go func() {
			done <- s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": newPhone})
		}()
		pending := 0
		for {
			select {
			case answer := <-done:
				want(t, answer, object{"__typename": "UpdatePatientContactSuccess"})
				want(t, s.patient(number), object{"phone": newPhone, "syncState": "SYNCED"})
				if pending == 0 {
					t.Error("the patient never said PENDING while the write was under way")
				}
				return
			default:
			}
			cached, has := s.patient(number), strings.Contains(s.stored(), newPhone)
			if cached["phone"] == newPhone && !has {
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
	for name, lie := range map[string]fhirtest.Fault{
		"nothing saved":   {On: http.MethodPut, Ignore: true},
		"a part saved":    {On: http.MethodPut, Drop: []string{"telecom"}},
		"another value":   {On: http.MethodPut, Store: cutPhone},
		"created, not so": {On: http.MethodPut, Apply: true, Status: http.StatusCreated},
		"a bare OK":       {On: http.MethodPut, Status: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachDatabase(t, func(t *testing.T, databaseURL string) {
				s := startSystem(t, databaseURL)
				s.fhir.SetFault("", lie)
				answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": newPhone, "address": object{"city": "Busan"}})
				if name == "a bare OK" { // the read after it may lag behind
					want(t, answer, object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
				} else {
					want(t, answer, object{"__typename": "FhirRejected"})
				}
				cached, stored := s.patient(number), s.stored()
				if phone, _ := cached["phone"].(string); !strings.Contains(stored, `"`+phone+`"`) {
					t.Errorf("the cache has %s, the FHIR server %s", phone, stored)
				}
			})
		})
	}
}

func TestPromise3NoLostTruth(t *testing.T) {
	t.Parallel()
	binary := crashBinary(t)
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, base := startFHIR(t, fhirtest.Options{})
		if out, err := importInto(t, databaseURL, testPatient("a1", number)); err != nil {
			t.Fatalf("import: %v\n%s", err, out)
		}
		settings := []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=" + databaseURL, "PATIENTGRAPH_LEASE=1s"}
		p := launch(t, binary, append(settings, "PATIENTGRAPH_KILL_AT=answer-came:1")...)
		if answer, err := p.call(contactMutation, object{"input": object{"patientId": number, "phone": newPhone}}); err == nil {
			t.Fatalf("it lives and says %v", answer)
		}
		<-p.dead
		p = launch(t, binary, settings...)
		if cached, err := p.read(number); err != nil || cached.phone != oldPhone || cached.state != "PENDING" {
			t.Errorf("after the restart: %v, %v", cached, err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			cached, err := p.read(number)
			if err == nil && cached.phone == newPhone && cached.state == "SYNCED" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the truth never came: %v, %v", cached, err)
			}
		}
	})
}

func TestPromise4NoFalseFailure(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "500ms")
		admin := token(t, auth.RoleAdmin, "")
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: 700 * time.Millisecond, Late: true})
		answer := s.updateContact(admin, object{"patientId": number, "phone": newPhone})
		want(t, answer, object{"__typename": "FhirUnavailable", "applied": "UNKNOWN", "code": "FHIR_OUTCOME_UNKNOWN", "retryable": true})
		s.fhir.ClearFaults()
		want(t, s.settled(admin, answer["operationId"]), object{"state": "APPLIED"})
		want(t, s.patient(number), object{"phone": newPhone, "syncState": "SYNCED"})
	})
}

func TestPromise5OneWriterPerPatient(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	server := fhirtest.New(fhirtest.Options{Habits: fhirtest.PlainR4()}) // nothing else keeps writers apart
	var under, overlaps atomic.Int32
	hold := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/a1") {
			if under.Add(1) > 1 {
				overlaps.Add(1)
			}
			defer under.Add(-1)
			time.Sleep(20 * time.Millisecond)
		}
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/a2") {
			<-hold
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	lines := ""
	for fhirID, patient := range map[string]string{"a1": "P-1", "a2": "P-2"} {
		if err := server.Put([]byte(testPatient(fhirID, patient))); err != nil {
			t.Fatal(err)
		}
		lines += testPatient(fhirID, patient) + "\n"
	}
	if out, err := importInto(t, databaseURL, lines); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	replicas := []*product{startWith(t, front.URL+"/fhir", databaseURL, "FHIR_TIMEOUT", "30s"), startWith(t, front.URL+"/fhir", databaseURL, "FHIR_TIMEOUT", "30s")}
	admin := token(t, auth.RoleAdmin, "")
	var wg sync.WaitGroup
	wg.Go(func() {
		want(t, replicas[0].updateContact(admin, object{"patientId": "P-2", "phone": newPhone}), object{"__typename": "UpdatePatientContactSuccess"})
	})
	var others sync.WaitGroup
	for n := range 16 {
		others.Go(func() {
			input := object{"patientId": "P-1", "phone": "010-0000-00" + string(rune('a'+n))}
			if n%2 == 1 {
				input = object{"patientId": "P-1", "email": string(rune('a'+n)) + "@example.org"}
			}
			want(t, replicas[n%4/2].updateContact(admin, input), object{"__typename": "UpdatePatientContactSuccess"})
		})
	}
	others.Wait() // while the other patient's write still hangs
	close(hold)
	wg.Wait()
	if n := overlaps.Load(); n > 0 {
		t.Errorf("%d writes of one patient overlapped", n)
	}
	// Without versions only the order of writers keeps a phone and an email that
	// were written at the same time.
	stored, _, _ := server.Get("a1")
	cached, err := contactIn(stored)
	if err != nil || !strings.HasPrefix(cached.phone, "010-0000-00") || cached.email == "old@example.org" {
		t.Errorf("an update was lost: %v %v", cached, err)
	}
	want(t, replicas[0].patient("P-1"), object{"phone": cached.phone, "email": cached.email, "syncState": "SYNCED"})
}

func TestPromise6NeverBackwards(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		before := s.stored() // an export from before the write
		want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": newPhone}), object{"__typename": "UpdatePatientContactSuccess"})
		if out, err := importInto(t, databaseURL, before); err != nil || !strings.Contains(out, "1 kept") {
			t.Errorf("import: %v\n%s", err, out)
		}
		want(t, s.patient(number), object{"phone": newPhone})
	})
}

func TestPromise7NothingElseIsTouched(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		before := s.stored()
		want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": newPhone}), object{"__typename": "UpdatePatientContactSuccess"})
		wanted := withoutMeta(t, strings.Replace(before, oldPhone, newPhone, 1))
		if got := withoutMeta(t, s.stored()); got != wanted {
			t.Errorf("the FHIR server has\n%s\nwant\n%s", got, wanted)
		}
	})
}

func TestPromise9NoPatientDataInLogs(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "500ms")
		admin := token(t, auth.RoleAdmin, "")
		secret := object{"patientId": number, "phone": "010-7777-1234", "email": "very.secret@example.org", "address": object{"lines": []string{"Hidden Street 7"}, "city": "Atlantis"}}
		answers := []object{s.updateContact(admin, secret)}
		for _, fault := range []fhirtest.Fault{
			{On: http.MethodPut, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json", Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"The value 010-8888-1234 of very.hidden@example.org in Atlantis City is bad"}]}`},
			{On: http.MethodPut, Ignore: true},
			{On: http.MethodPut, Hang: true},
		} {
			s.fhir.SetFault("", fault)
			answers = append(answers, s.updateContact(admin, object{"patientId": number, "phone": "010-8888-1234", "email": "very.hidden@example.org", "address": object{"city": "Atlantis City"}}))
		}
		for _, answer := range answers[1:] {
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range []string{"010-8888-1234", "very.hidden", "Atlantis City"} {
				if strings.Contains(string(text), value) {
					t.Errorf("the error repeats %s: %s", value, text)
				}
			}
		}
		for _, value := range []string{"7777-1234", "8888-1234", "very.secret", "very.hidden", "Hidden Street", "Atlantis", "홍", "1990-05"} {
			if strings.Contains(s.log.String(), value) {
				t.Errorf("the log holds %q", value)
			}
		}
	})
}
