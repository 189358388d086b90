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

// TestShutdownHasSubscribersComeAgain: each protocol ends so that its clients subscribe
// again, and the replica that goes on tells them what they wait for.
func TestShutdownHasSubscribersComeAgain(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL, "FHIR_TIMEOUT=500ms")
	replica := s.Another(databaseURL)
	id := pendingUpdate(s)
	subscription := settlement(t, id)
	events, parts, socket := s.Subscribe(subscription), s.SubscribeMultipart(subscription), s.Socket()
	socket.Subscribe("1", subscription, nil)
	idle := s.Socket()
	untilSubscribed(s.Product, 3)
	if err := s.Stop(); err != nil { // it would wait for an open connection
		t.Errorf("the shutdown ended with %v", err)
	}
	if event, ended := events.Next(); !ended || events.Whole {
		t.Errorf("by events came %v, complete: %v", event, events.Whole)
	}
	lost, _ := parts.Next()
	if payload, has := lost["payload"]; !has || payload != nil || lost.ErrorCode() != "UNAVAILABLE" {
		t.Errorf("by parts came %v", lost)
	}
	if event, ended := parts.Next(); !ended || !parts.Whole {
		t.Errorf("and then %v", event)
	}
	if message := socket.Next(); message != nil {
		t.Errorf("by WebSocket came %v", message)
	}
	for _, left := range []*Socket{socket, idle} {
		if code, reason := left.Closed(); code != 1001 {
			t.Errorf("a WebSocket was closed with %d %s", code, reason)
		}
	}
	again := replica.Socket()
	again.Subscribe("1", subscription, nil)
	s.FHIR.ClearFaults()
	if message := again.Next(); message["type"] != "next" || message.At("payload", "data", "contactUpdateSettled", "state") == "PENDING" {
		t.Errorf("from the replica came %v", message)
	}
}

// TestShutdownAnswersWritesOfWebSockets: http.Server.Shutdown does not wait for them.
func TestShutdownAnswersWritesOfWebSockets(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Delay: 500 * time.Millisecond})
	socket := s.Socket()
	socket.Subscribe("1", ContactMutation, Object{"input": Object{"patientId": Number, "phone": NewPhone}})
	wait.Until(t, "a PUT arrives", func() bool { return s.Puts() > 0 })
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	Want(t, socket.Next(), Object{"type": "next", "payload.data.updatePatientContact.__typename": "UpdatePatientContactSuccess"})
	Want(t, socket.Next(), Object{"type": "complete", "id": "1"})
	if code, _ := socket.Closed(); code != 1001 {
		t.Errorf("it was closed with %d", code)
	}
}
