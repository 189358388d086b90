package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

func TestDisconnectDoesNotCancelAPut(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 400 * time.Millisecond})
		request := s.Request(http.MethodPost, "/graphql", Body(t, ContactMutation, Object{"input": Object{"patientId": Number, "phone": "010-9876-5432"}}))
		impatient := &http.Client{Timeout: 200 * time.Millisecond}
		if response, err := impatient.Do(request); err == nil {
			response.Body.Close()
			t.Fatal("the answer came before the client went away")
		}
		wait.Until(t, "the change reaches the cache", func() bool { return s.Patient(Number)["phone"] == "010-9876-5432" })
	})
}

func TestShutdownLetsWritesFinish(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 500 * time.Millisecond})
		answered := make(chan Object, 1)
		go func() {
			answered <- s.Update(Object{"patientId": Number, "phone": "010-9876-5432"})
		}()
		wait.Until(t, "a PUT arrives", func() bool { return s.Puts() > 0 })
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		Want(t, <-answered, Object{"__typename": "UpdatePatientContactSuccess"})
	})
}

func TestShutdownTakesNoMoreWrites(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL, "FHIR_TIMEOUT=5s")
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: time.Second})
		first := make(chan Object, 1)
		go func() { first <- s.Update(Object{"patientId": Number, "phone": NewPhone}) }()
		wait.Until(t, "a PUT arrives", func() bool { return s.Puts() > 0 })
		const queued = 20
		waiting := make(chan Object, queued)
		for n := range queued {
			go func() {
				answer, _ := s.TryUpdate(Object{"patientId": Number, "phone": fmt.Sprintf("010-0000-%04d", n)})
				waiting <- answer // none: it came when the door was closed already
			}()
		}
		time.Sleep(200 * time.Millisecond) // most are in the queue
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		Want(t, <-first, Object{"__typename": "UpdatePatientContactSuccess"})
		for range queued {
			answer := <-waiting
			if answer == nil {
				continue
			}
			Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO", "detail": "the server is shutting down; nothing was sent"})
			wantNamed(s.Product, answer)
		}
		if s.Puts() != 1 {
			t.Errorf("%d PUTs were sent", s.Puts())
		}
	})
}

func TestShutdownEndsSubscriptions(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "FHIR_TIMEOUT=500ms")
	s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Hang: true})
	lost := s.Update(Object{"patientId": Number, "phone": NewPhone})
	Want(t, lost, Object{"applied": "UNKNOWN"})
	stream := s.Settlement(lost["operationId"])
	if err := s.Stop(); err != nil { // it would wait for an open connection
		t.Errorf("the shutdown ended with %v", err)
	}
	if event, ended := stream.Next(); ended || event.At("data", "contactUpdateSettled", "state") != "PENDING" {
		t.Errorf("the subscriber heard %v, ended: %v", event, ended)
	}
}
