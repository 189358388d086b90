package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

const updateQuery = `query($id: ID!) { contactUpdate(operationId: $id) { operationId patientId state requestedAt settledAt
  result { __typename ... on UpdatePatientContactSuccess { patient { phone email } } ... on FhirUnavailable { applied } ... on UserError { code } } } }`

// contactUpdate asks how an update ended; nil when there is none to see.
func (p *product) contactUpdate(bearer string, operationID any) object {
	p.t.Helper()
	found, _ := p.query(bearer, updateQuery, object{"id": operationID})["contactUpdate"].(map[string]any)
	return found
}

// settled waits until an update is settled.
func (p *product) settled(bearer string, operationID any) object {
	p.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		u := p.contactUpdate(bearer, operationID)
		if u == nil || u["state"] != "PENDING" {
			return u
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not settled: %v", u)
		}
	}
}

func TestPromise8ARetryWritesOnce(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		admin, own := token(t, auth.RoleAdmin, ""), token(t, auth.RolePatient, number)
		input := object{"patientId": number, "phone": "010-9876-5432", "idempotencyKey": "key-1"}

		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: 300 * time.Millisecond})
		answers := make([]object, 8)
		var wg sync.WaitGroup
		for n := range answers {
			wg.Go(func() { answers[n] = s.updateContact(admin, input) })
		}
		wg.Wait()
		want(t, answers[0], object{"__typename": "UpdatePatientContactSuccess"})
		for _, answer := range answers[1:] {
			want(t, answer, answers[0])
		}
		if puts := s.puts(); puts != 1 {
			t.Errorf("%d PUTs for one key", puts)
		}
		s.fhir.ClearFaults()

		other := object{"patientId": number, "phone": "010-0000-0000", "idempotencyKey": "key-1"}
		want(t, s.updateContact(admin, other), object{"__typename": "InvalidInput", "code": "IDEMPOTENCY_KEY_REUSED"})
		want(t, s.updateContact(own, other), object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-0000-0000"}) // another caller's key
		want(t, s.updateContact(admin, input), answers[0])                                                                          // as it was then
		want(t, s.patient(number), object{"phone": "010-0000-0000"})

		rejected := object{"patientId": number, "phone": "invalid-phone", "idempotencyKey": "key-2"}
		first := s.updateContact(admin, rejected)
		want(t, first, object{"__typename": "FhirRejected", "message": "Invalid phone format"})
		before := len(s.fhir.Requests())
		want(t, s.updateContact(admin, rejected), first)
		if now := len(s.fhir.Requests()); now != before {
			t.Errorf("the FHIR server was asked again %d times", now-before)
		}

		down := object{"patientId": number, "phone": "010-2222-3333", "idempotencyKey": "key-3"}
		s.fhir.SetFault("", fhirtest.Fault{Status: http.StatusServiceUnavailable})
		want(t, s.updateContact(admin, down), object{"__typename": "FhirUnavailable", "applied": "NO"})
		s.fhir.ClearFaults()
		want(t, s.updateContact(admin, down), object{"__typename": "UpdatePatientContactSuccess"}) // nothing was written before

		local := object{"patientId": "P-2025-000002", "phone": "010-1", "idempotencyKey": "key-4"}
		first = s.updateContact(admin, local)
		want(t, s.updateContact(admin, local), first)

		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		again := startWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		want(t, again.updateContact(admin, input), answers[0]) // also after a restart
		want(t, again.updateContact(admin, local), first)
	})
}

func TestHowAnUpdateEnded(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "500ms")
		admin, own, stranger := token(t, auth.RoleAdmin, ""), token(t, auth.RolePatient, number), token(t, auth.RolePatient, "P-2025-000002")
		done := s.updateContact(own, object{"patientId": number, "phone": "010-1234-5678"})
		want(t, s.contactUpdate(own, done["operationId"]), object{
			"state": "APPLIED", "patientId": number, "result.__typename": "UpdatePatientContactSuccess", "result.patient.phone": "010-1234-5678",
		})
		for who, bearer := range map[string]string{"another patient": stranger, "a doctor": token(t, auth.RoleDoctor, "")} {
			if u := s.contactUpdate(bearer, done["operationId"]); u != nil {
				t.Errorf("%s sees %v", who, u)
			}
		}

		// The PUT hangs somewhere on the way and lands after everybody gave up.
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: 600 * time.Millisecond, Late: true})
		lost := s.updateContact(own, object{"patientId": number, "phone": "010-8888-8888"})
		want(t, lost, object{"__typename": "FhirUnavailable", "applied": "UNKNOWN", "code": "FHIR_OUTCOME_UNKNOWN"})
		want(t, s.contactUpdate(own, lost["operationId"]), object{"state": "PENDING", "settledAt": nil, "result": nil})
		want(t, s.patient(number), object{"syncState": "PENDING"})
		s.fhir.ClearFaults()
		event := s.subscribe(admin, fmt.Sprintf(`subscription { contactUpdateSettled(operationId: %q) { state patientId } }`, lost["operationId"]))
		if !strings.Contains(event, `"state":"APPLIED"`) {
			t.Errorf("the subscription says %s", event)
		}
		want(t, s.contactUpdate(own, lost["operationId"]), object{"state": "APPLIED"})
		want(t, s.patient(number), object{"syncState": "SYNCED", "phone": "010-8888-8888"})
	})
}

// subscribe returns the first event of a subscription over SSE.
func (p *product) subscribe(bearer, subscription string) string {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodPost, p.url+"/graphql", strings.NewReader(`{"query":`+fmt.Sprintf("%q", subscription)+`}`))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
			return data
		}
	}
	p.t.Fatalf("the subscription ended without an event: %v", lines.Err())
	return ""
}

func TestRejectionOfWhatWasNotTouched(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json",
			Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"Invalid phone format","expression":["Patient.telecom[1].value"]}]}`})
		want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "email": "new@example.org"}), object{
			"__typename": "FhirRejected", "message": "Invalid phone format",
			"detail": "FHIR server rejected the update because of an element that this update does not change",
		})
		want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-2"}), object{
			"__typename": "FhirRejected", "detail": "FHIR server rejected the update",
		})
	})
}

func TestOpenCircuit(t *testing.T) {
	t.Parallel()
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	s := startSystem(t, databaseURL)
	patients := []string{number}
	for n := 3; n <= 6; n++ {
		resource := testPatient(fmt.Sprint("b", n), fmt.Sprint("P-2025-00000", n))
		if err := s.fhir.Put([]byte(resource)); err != nil {
			t.Fatal(err)
		}
		if out, err := importInto(t, databaseURL, resource); err != nil {
			t.Fatalf("import: %v\n%s", err, out)
		}
		patients = append(patients, fmt.Sprint("P-2025-00000", n))
	}
	admin := token(t, auth.RoleAdmin, "")
	input := object{"patientId": number, "phone": "010-9876-5432"}
	s.fhir.SetFault("", fhirtest.Fault{Close: true})
	for n := range 10 { // fewer patients do not open it
		other := object{"patientId": patients[n%len(patients)], "phone": "010-9876-5432"}
		want(t, s.updateContact(admin, other), object{"__typename": "FhirUnavailable", "applied": "NO"})
	}
	asked := len(s.fhir.Requests())
	s.fhir.ClearFaults()
	answer := s.updateContact(admin, input)
	want(t, answer, object{"__typename": "FhirUnavailable", "applied": "NO", "code": "FHIR_UNAVAILABLE"})
	s.wantOperation(admin, answer, "NOT_APPLIED")
	if after, _ := answer["retryAfterSeconds"].(float64); after < 1 || after > 5 {
		t.Errorf("retryAfterSeconds is %v", answer["retryAfterSeconds"])
	}
	if now := len(s.fhir.Requests()); now != asked {
		t.Error("the FHIR server was asked while the circuit was open")
	}
	for deadline := time.Now().Add(20 * time.Second); s.updateContact(admin, input)["__typename"] != "UpdatePatientContactSuccess"; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the circuit never closed")
		}
	}
}

func TestShutdownTakesNoMoreWrites(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "5s")
		admin := token(t, auth.RoleAdmin, "")
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: time.Second})
		first := make(chan object, 1)
		go func() { first <- s.updateContact(admin, object{"patientId": number, "phone": newPhone}) }()
		for deadline := time.Now().Add(10 * time.Second); s.puts() == 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no PUT arrived")
			}
		}
		const queued = 20
		waiting := make(chan object, queued)
		for n := range queued {
			go func() {
				waiting <- s.updateContact(admin, object{"patientId": number, "phone": fmt.Sprintf("010-0000-%04d", n)})
			}()
		}
		time.Sleep(100 * time.Millisecond) // they are in the queue
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		want(t, <-first, object{"__typename": "UpdatePatientContactSuccess"})
		for range queued {
			answer := <-waiting
			want(t, answer, object{"__typename": "FhirUnavailable", "applied": "NO", "detail": "the server is shutting down; nothing was sent"})
			s.wantNamed(answer)
		}
		if s.puts() != 1 {
			t.Errorf("%d PUTs were sent", s.puts())
		}
	})
}

func TestShutdownEndsSubscriptions(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "FHIR_TIMEOUT", "500ms")
	admin := token(t, auth.RoleAdmin, "")
	s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Hang: true})
	lost := s.updateContact(admin, object{"patientId": number, "phone": newPhone})
	want(t, lost, object{"applied": "UNKNOWN"})
	request, err := http.NewRequest(http.MethodPost, s.url+"/graphql", strings.NewReader(fmt.Sprintf(`{"query":"subscription { contactUpdateSettled(operationId: \"%s\") { state } }"}`, lost["operationId"])))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer "+admin)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := s.stop(); err != nil { // it would wait for an open connection
		t.Errorf("the shutdown ended with %v", err)
	}
	if events, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(events), `"state":"PENDING"`) {
		t.Errorf("the subscriber heard %s (%v)", events, err)
	}
}
