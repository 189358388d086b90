package apptest

import (
	"net/http"
	"regexp"
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

// OnEachFHIR runs test with each kind of FHIR server that hospitals run: HAPI
// OnEachDatabase, OpenEMR at each version with SQLite, and at the newest OnEachServer.
func OnEachFHIR(t *testing.T, test func(t *testing.T, kind fhirsim.Habits, databaseURL string)) {
	OnEachDatabase(t, func(t *testing.T, databaseURL string) { test(t, fhirsim.HAPI(), databaseURL) })
	for n, version := range fhirsim.OpenEMRVersions {
		t.Run("OpenEMR "+version, func(t *testing.T) {
			t.Parallel()
			kind := fhirsim.OpenEMR(version)
			t.Run("sqlite", func(t *testing.T) {
				t.Parallel()
				test(t, kind, dbtest.SQLite(t))
			})
			if n == len(fhirsim.OpenEMRVersions)-1 {
				OnEachServer(t, func(t *testing.T, databaseURL string) { test(t, kind, databaseURL) })
			}
		})
	}
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

	base     string   // where the FHIR server is
	settings []string // the first names the system of its numbers
}

// StartSystem is StartSystemOn HAPI.
func StartSystem(t testing.TB, databaseURL string, settings ...string) *System {
	t.Helper()
	return StartSystemOn(t, fhirsim.HAPI(), databaseURL, settings...)
}

// StartSystemOn starts a FHIR server of a kind, imports its patient, and starts the
// product.
func StartSystemOn(t testing.TB, kind fhirsim.Habits, databaseURL string, settings ...string) *System {
	t.Helper()
	patient, local, numbers := PatientJSON("a1", Number), PatientJSON("", LocalNumber), fhirsim.DemoIdentifierSystem
	if kind.OpenEMR {
		patient, local, numbers = asInOpenEMR.Replace(patient), asInOpenEMR.Replace(local), fhirsim.OpenEMRIdentifierSystem
	}
	s := &System{settings: append([]string{"PATIENT_ID_SYSTEM=" + numbers}, settings...)}
	s.FHIR, s.base = StartFHIR(t, fhirsim.Options{Habits: kind}, patient)
	s.Product = s.another(t, databaseURL, strings.Replace(local, `"id":"",`, "", 1))
	return s
}

// Another starts another product in front of the same FHIR server; with the same
// database it is a replica.
func (s *System) Another(databaseURL string) *Product { return s.another(s.T, databaseURL) }

func (s *System) another(t testing.TB, databaseURL string, patients ...string) *Product {
	t.Helper()
	stored, _, _ := s.FHIR.Get("a1")
	if out, err := Import(t, databaseURL, strings.Join(append(patients, string(stored)), "\n"), s.settings[0]); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	return StartWith(t, s.base, databaseURL, s.settings...)
}

// Import imports patients of the FHIR server into a database as Import does.
func (s *System) Import(databaseURL, patients string) (string, error) {
	s.T.Helper()
	return Import(s.T, databaseURL, patients, s.settings[0])
}

// asInOpenEMR makes of a PatientJSON one that OpenEMR lets be changed in full.
var asInOpenEMR = strings.NewReplacer(`"birthDate":"1990-05"`, `"birthDate":"1990-05-17"`, `,"country":"KR"`, "", fhirsim.DemoIdentifierSystem, fhirsim.OpenEMRIdentifierSystem)

// addressBegan is how OpenEMR tells when it last wrote to the patient, whatever it wrote.
var addressBegan = regexp.MustCompile(`,"period":\{"start":"[^"]*"\}`)

// Stored returns what the FHIR server has of the patient.
func (s *System) Stored() string {
	s.T.Helper()
	resource, _, ok := s.FHIR.Get("a1")
	if !ok {
		s.T.Fatal("the FHIR server has no patient a1")
	}
	if s.FHIR.Clinic() != nil {
		resource = addressBegan.ReplaceAll(resource, nil)
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
