package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// losing stands before a FHIR server. While it loses answers a PUT is carried out and
// its connection reset, and from then on reads fail.
type losing struct {
	next  http.Handler
	loses atomic.Bool
	lost  atomic.Bool
}

func (l *losing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case l.loses.Load() && r.Method == http.MethodPut:
		l.lost.Store(true)
		l.next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case l.loses.Load() && l.lost.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		l.next.ServeHTTP(w, r)
	}
}

// startLosing is StartSystem with a losing server.
func startLosing(t *testing.T, databaseURL string, settings ...string) (*System, *losing) {
	t.Helper()
	server, base := StartFHIR(t, fhirsim.Options{})
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	between := &losing{next: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host, r.Out.URL.Scheme = target.Host, target.Scheme }}}
	front := httptest.NewServer(between)
	t.Cleanup(front.Close)
	stored, _, _ := server.Get("a1")
	MustImport(t, databaseURL, string(stored))
	return &System{Product: StartWith(t, front.URL+target.Path, databaseURL, settings...), FHIR: server}, between
}

// TestEveryAnswerBringsTheRecord: one document asks all members for the same, under
// the same names.
func TestEveryAnswerBringsTheRecord(t *testing.T) {
	t.Parallel()
	document := string(requestFile(t, "all-members.graphql"))
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s, between := startLosing(t, databaseURL)
		save := func(input Object) Object {
			t.Helper()
			input["patientId"] = Number
			answer, _ := s.Query(document, Object{"input": input})["updatePatientContact"].(map[string]any)
			return answer
		}
		success := save(Object{"email": "a@example.org"})
		Want(t, success, Object{"__typename": "UpdatePatientContactSuccess", "patient.email": "a@example.org", "patient.syncState": "SYNCED"})
		wantOperation(s.Product, success, "APPLIED")

		conflict := save(Object{"email": "b@example.org", "expectedVersion": "1"})
		Want(t, conflict, Object{"__typename": "UpdateConflict", "current.email": "a@example.org", "retryable": false, "conflictingFields": []string{"email"}})
		wantOperation(s.Product, conflict, "CONFLICT")

		now := Object{"id": Number, "email": "a@example.org", "syncState": "SYNCED", "version": s.Patient(Number)["version"]}
		rejected := save(Object{"phone": "invalid-phone"})
		Want(t, rejected, Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "patient": now})
		wantOperation(s.Product, rejected, "REJECTED")

		s.FHIR.SetFault("", fhirsim.Fault{Status: http.StatusServiceUnavailable})
		outage := save(Object{"email": "b@example.org"})
		Want(t, outage, Object{"__typename": "FhirUnavailable", "applied": "NO", "patient": now})
		wantOperation(s.Product, outage, "NOT_APPLIED")
		s.FHIR.ClearFaults()

		between.loses.Store(true)
		unknown := save(Object{"email": "c@example.org"})
		now["syncState"] = "PENDING"
		Want(t, unknown, Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN", "patient": now})
		wantNamed(s.Product, unknown)
		between.loses.Store(false)
		Want(t, s.Settled(unknown["operationId"]), Object{"state": "APPLIED", "result.patient.email": "c@example.org"})
	})
}

// TestWhatIsToldAgainBringsTheRecordAsItIs: by the same key, by contactUpdate, and
// to a subscriber.
func TestWhatIsToldAgainBringsTheRecordAsItIs(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		input := Object{"patientId": Number, "phone": "invalid-phone", "idempotencyKey": "k"}
		rejected := s.Update(input)
		Want(t, rejected, Object{"__typename": "FhirRejected", "patient.phone": OldPhone})
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		now := Object{"phone": NewPhone, "email": "old@example.org", "syncState": "SYNCED"}

		Want(t, s.Update(input), Object{"__typename": "FhirRejected", "operationId": rejected["operationId"], "patient.phone": NewPhone})
		Want(t, s.ContactUpdate(rejected["operationId"]), Object{"state": "REJECTED", "result.patient": now})
		event, _ := s.Subscribe(`subscription { contactUpdateSettled(operationId: ` + JSON(t, rejected["operationId"]) + `) {
			state result { ... on FhirRejected { patient { phone email syncState } } } } }`).Next()
		Want(t, event, Object{"data.contactUpdateSettled": Object{"state": "REJECTED", "result": Object{"patient": now}}})
	})
}

// TestAnUnknownOutcomeToldAgainSaysPending: nobody has settled it yet.
func TestAnUnknownOutcomeToldAgainSaysPending(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s, between := startLosing(t, databaseURL)
		between.loses.Store(true)
		input := Object{"patientId": Number, "phone": NewPhone, "idempotencyKey": "k"}
		unknown := s.Update(input)
		Want(t, unknown, Object{"applied": "UNKNOWN", "patient.phone": OldPhone, "patient.syncState": "PENDING"})
		Want(t, s.Update(input), Object{
			"applied": "UNKNOWN", "operationId": unknown["operationId"], "patient": unknown["patient"],
		})
		between.loses.Store(false)
		s.Settled(unknown["operationId"])
		Want(t, s.Update(input), Object{"__typename": "UpdatePatientContactSuccess", "operationId": unknown["operationId"], "patient.phone": NewPhone})
	})
}

// TestWhatIsNotTriedBringsTheRecord: a PUT that hangs might undo what is asked, so
// nothing is sent.
func TestWhatIsNotTriedBringsTheRecord(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL, "FHIR_TIMEOUT=500ms")
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Hang: true})
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"applied": "UNKNOWN", "patient.syncState": "PENDING"})
		s.FHIR.ClearFaults()
		Want(t, s.Update(Object{"patientId": Number, "phone": OldPhone}), Object{ // which may be overwritten by the PUT that hangs
			"__typename": "FhirUnavailable", "applied": "NO", "patient.phone": OldPhone, "patient.syncState": "PENDING",
		})
	})
}
