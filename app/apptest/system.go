package apptest

import (
	"net/http"
	"strings"
	"testing"

	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// OnEachDatabase runs test with an empty SQLite database, and OnEachServer.
func OnEachDatabase(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, dbtest.SQLite(t))
	})
	OnEachServer(t, test)
}

// OnEachServer runs test with an empty PostgreSQL database, and with one behind a
// pooler in transaction mode.
func OnEachServer(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, dbtest.Postgres(t))
	})
	t.Run("pooler", func(t *testing.T) {
		t.Parallel()
		test(t, dbtest.Pooler(t))
	})
}

// StartFHIR starts a FHIR server that holds these patients; without any it holds one,
// a1.
func StartFHIR(t testing.TB, options fhirsim.Options, patients ...string) (server *fhirsim.Server, base string) {
	t.Helper()
	if len(patients) == 0 {
		patients = []string{PatientJSON("a1", Number)}
	}
	server = fhirsim.New(options)
	for _, patient := range patients {
		if err := server.Put([]byte(patient)); err != nil {
			t.Fatal(err)
		}
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server, base
}

// System is the product in front of a FHIR server. Both have the patient Number, the
// cache alone has LocalNumber.
type System struct {
	*Product
	FHIR *fhirsim.Server
}

// StartSystem starts a FHIR server, imports its patient, and starts the product.
func StartSystem(t testing.TB, databaseURL string, settings ...string) *System {
	t.Helper()
	server, base := StartFHIR(t, fhirsim.Options{})
	stored, _, _ := server.Get("a1")
	MustImport(t, databaseURL, string(stored), strings.Replace(PatientJSON("", LocalNumber), `"id":"",`, "", 1))
	return &System{Product: StartWith(t, base, databaseURL, settings...), FHIR: server}
}

// Stored returns what the FHIR server has of the patient.
func (s *System) Stored() string {
	s.T.Helper()
	resource, _, ok := s.FHIR.Get("a1")
	if !ok {
		s.T.Fatal("the FHIR server has no patient a1")
	}
	return string(resource)
}

// Puts counts the PUTs that reached the FHIR server.
func (s *System) Puts() int {
	n := 0
	for _, r := range s.FHIR.Requests() {
		if r.Method == http.MethodPut {
			n++
		}
	}
	return n
}

// Untouched returns a check that neither the contact in the cache nor the FHIR server
// changed since.
func (s *System) Untouched() (check func()) {
	s.T.Helper()
	cached, stored := s.Patient(Number), s.Stored()
	return func() {
		s.T.Helper()
		Want(s.T, s.Patient(Number), Object{
			"phone": cached["phone"], "email": cached["email"], "address": cached["address"], "lastSyncedAt": cached["lastSyncedAt"],
		})
		if now := s.Stored(); now != stored {
			s.T.Errorf("the FHIR server changed to %s", now)
		}
	}
}
