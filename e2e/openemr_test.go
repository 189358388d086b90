package e2e_test

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

const (
	openEMRID     = "95f0a7e2-aaaa-4b11-8c22-000000000031"
	openEMRNumber = "31"
)

// openEMRRow is a patient as a clinic's screens store one.
func openEMRRow() fhirsim.Columns {
	return fhirsim.Columns{
		"fname": "Paul", "lname": "Moreau", "DOB": "1970-12-12", "sex": "Male", "pubpid": openEMRNumber, "race": "white", "language": "English",
		"street": "14 Maple Row", "city": "Barre", "state": "VT", "postal_code": "05641",
		"phone_home": "(802) 555-0118", "phone_cell": "(802) 555-0143", "email": "pmoreau@inbox.example",
	}
}

// openEMR is the product in front of an OpenEMR.
type openEMR struct {
	*Product
	FHIR   *fhirsim.Server
	base   string                              // where the server is
	before atomic.Pointer[func(*http.Request)] // called when a request has come
}

// startOpenEMR is startOpenEMRAt where all clocks agree.
func startOpenEMR(t testing.TB, databaseURL, version string, columns fhirsim.Columns, settings ...string) *openEMR {
	t.Helper()
	return startOpenEMRAt(t, time.Now, databaseURL, version, columns, settings...)
}

// startOpenEMRAt starts an OpenEMR with openEMRRow, in which these columns are other
// ones, and the product, which knows the patient.
func startOpenEMRAt(t testing.TB, now func() time.Time, databaseURL, version string, columns fhirsim.Columns, settings ...string) *openEMR {
	t.Helper()
	server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR(version), Now: now})
	row := openEMRRow()
	maps.Copy(row, columns)
	server.Clinic().Put(openEMRID, row)
	s := &openEMR{FHIR: server}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before := s.before.Load(); before != nil {
			(*before)(r)
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	settings = append([]string{"PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem}, settings...)
	stored, _, _ := server.Get(openEMRID)
	if out, err := Import(t, databaseURL, string(stored), settings[0]); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	s.base = front.URL + "/fhir"
	s.Product = StartWith(t, s.base, databaseURL, settings...)
	return s
}

// onEachOpenEMR runs a test on each version with an SQLite database.
func onEachOpenEMR(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range fhirsim.OpenEMRVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// columns are what is stored, but for the times.
func (s *openEMR) columns() fhirsim.Columns {
	s.T.Helper()
	row, ok := s.FHIR.Clinic().Row(openEMRID)
	if !ok {
		s.T.Fatal("the patient is gone")
	}
	delete(row, "date")
	delete(row, "last_updated")
	return row
}

// changes returns a function that says which columns changed since.
func (s *openEMR) changes() func() fhirsim.Columns {
	was := s.columns()
	return func() fhirsim.Columns {
		is := s.columns()
		maps.DeleteFunc(is, func(column, value string) bool { return was[column] == value })
		return is
	}
}

// puts are the PUTs that reached the server.
func (s *openEMR) puts() (list []fhirsim.Request) {
	for _, r := range s.FHIR.Requests() {
		if r.Method == http.MethodPut {
			list = append(list, r)
		}
	}
	return list
}

func (s *openEMR) wantChanged(changes func() fhirsim.Columns, want fhirsim.Columns) {
	s.T.Helper()
	if got := changes(); !maps.Equal(got, want) {
		s.T.Errorf("changed columns: %q, want %q", got, want)
	}
}

// TestOpenEMRIsSentOnlyWhatChanges: the version is "1" for ever and a PUT is merged by
// column. Another client's email, stored between our read and our PUT, survives.
func TestOpenEMRIsSentOnlyWhatChanges(t *testing.T) {
	t.Parallel()
	onEachOpenEMR(t, func(t *testing.T, version string) {
		OnEachDatabase(t, func(t *testing.T, databaseURL string) {
			s := startOpenEMR(t, databaseURL, version, nil)
			changes, asked := s.changes(), len(s.FHIR.Requests())
			neighbour := func(r *http.Request) {
				if r.Method == http.MethodPut {
					s.FHIR.Clinic().Set(openEMRID, "email", "paul@new.example")
				}
			}
			s.before.Store(&neighbour)
			Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "(802) 555-0199"}), Object{
				"__typename": "UpdatePatientContactSuccess", "patient.phone": "(802) 555-0199", "patient.email": "paul@new.example", "patient.syncState": "SYNCED",
			})
			s.wantChanged(changes, fhirsim.Columns{"phone_cell": "(802) 555-0199", "email": "paul@new.example"})
			puts := s.puts()
			if len(puts) != 1 || len(s.FHIR.Requests())-asked != 2 {
				t.Fatalf("%d PUTs of %d requests, want one of two", len(puts), len(s.FHIR.Requests())-asked)
			}
			const want = `{"resourceType":"Patient","gender":"Male","birthDate":"1970-12-12","telecom":[{"system":"phone","use":"mobile","value":"(802) 555-0199"}]}`
			if got := string(puts[0].Body); got != want || puts[0].IfMatch != "" {
				t.Errorf("the PUT is %s with If-Match %q, want %s", got, puts[0].IfMatch, want)
			}
			s.WantLog(`"says":"openemr: the CapabilityStatement names the software OpenEMR"`)
		})
	})
}

// TestOpenEMRKeepsEveryOtherColumn: an edit changes its own columns alone, and a value
// that is cleared leaves the next one.
func TestOpenEMRKeepsEveryOtherColumn(t *testing.T) {
	t.Parallel()
	const text = "12 Oak St, Barre, VT 05641"
	for name, c := range map[string]struct {
		row     fhirsim.Columns
		input   Object
		changed fhirsim.Columns
		shown   Object
	}{
		"phone":              {nil, Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"}, Object{"phone": "1"}},
		"no phone":           {fhirsim.Columns{"phone_home": "", "phone_cell": ""}, Object{"phone": "+82 10 0000 0000"}, fhirsim.Columns{"phone_cell": "+82 10 0000 0000"}, Object{"phone": "+82 10 0000 0000"}},
		"home phone alone":   {fhirsim.Columns{"phone_cell": ""}, Object{"phone": "2"}, fhirsim.Columns{"phone_home": "2"}, Object{"phone": "2"}},
		"work phone alone":   {fhirsim.Columns{"phone_cell": "", "phone_home": "", "phone_biz": "9"}, Object{"phone": "2"}, fhirsim.Columns{"phone_biz": "2"}, Object{"phone": "2"}},
		"email":              {nil, Object{"email": "a@b.example"}, fhirsim.Columns{"email": "a@b.example"}, Object{"email": "a@b.example"}},
		"direct email":       {fhirsim.Columns{"email_direct": "d@b.example"}, Object{"email": "a@b.example"}, fhirsim.Columns{"email_direct": "a@b.example"}, Object{"email": "a@b.example"}},
		"no email":           {fhirsim.Columns{"email": ""}, Object{"email": "a@b.example"}, fhirsim.Columns{"email": "a@b.example"}, Object{"email": "a@b.example"}},
		"clear phone":        {nil, Object{"phone": nil}, fhirsim.Columns{"phone_cell": ""}, Object{"phone": "(802) 555-0118"}},
		"clear both phones":  {fhirsim.Columns{"phone_home": "802-555-0143"}, Object{"phone": nil}, fhirsim.Columns{"phone_cell": "", "phone_home": ""}, Object{"phone": nil}},
		"clear email":        {nil, Object{"email": nil}, fhirsim.Columns{"email": ""}, Object{"email": nil}},
		"clear address":      {nil, Object{"address": nil}, fhirsim.Columns{"street": "", "city": "", "state": "", "postal_code": ""}, Object{"address": nil}},
		"clear what is none": {fhirsim.Columns{"email": ""}, Object{"email": nil}, fhirsim.Columns{}, Object{"email": nil}},
		"address": {nil, Object{"address": Object{"lines": []string{"12 Oak St"}, "city": "Stowe", "state": "VT", "postalCode": "05672"}},
			fhirsim.Columns{"street": "12 Oak St", "city": "Stowe", "postal_code": "05672"}, Object{"address.lines": []string{"12 Oak St"}, "address.city": "Stowe"}},
		"address in Hangul, without state": {nil, Object{"address": Object{"lines": []string{"세종대로 110 😀"}, "city": "서울", "postalCode": "04524"}},
			fhirsim.Columns{"street": "세종대로 110 😀", "city": "서울", "state": "", "postal_code": "04524"}, Object{"address.city": "서울", "address.state": nil}},
		"first address": {fhirsim.Columns{"street": "", "city": "", "state": "", "postal_code": ""}, Object{"address": Object{"lines": []string{"12 Oak St"}, "city": "Stowe", "state": "VT", "postalCode": "05672"}},
			fhirsim.Columns{"street": "12 Oak St", "city": "Stowe", "state": "VT", "postal_code": "05672"}, Object{"address.city": "Stowe"}},
		"address with the text that its parts make": {nil, Object{"address": Object{"text": text, "lines": []string{"12 Oak St"}, "city": "Barre", "state": "VT", "postalCode": "05641"}},
			fhirsim.Columns{"street": "12 Oak St"}, Object{"address.lines": []string{"12 Oak St"}}},
		"what OpenEMR does not write stays": {fhirsim.Columns{"street_line_2": "Apt 4", "county": "Washington", "country_code": "US"},
			Object{"address": Object{"lines": []string{"12 Oak St", "Apt 4"}, "city": "Barre", "state": "VT", "postalCode": "05641", "district": "Washington", "country": "US"}},
			fhirsim.Columns{"street": "12 Oak St"}, Object{"address.lines": []string{"12 Oak St", "Apt 4"}, "address.district": "Washington", "address.country": "US"}},
		"nothing is said of the country": {fhirsim.Columns{"county": "Washington", "country_code": "US"}, Object{"address": Object{"lines": []string{"12 Oak St"}, "city": "Barre", "state": "VT", "postalCode": "05641"}},
			fhirsim.Columns{"street": "12 Oak St"}, Object{"address.district": "Washington", "address.country": "US"}},
		"all at once": {nil, Object{"phone": "3", "email": nil, "address": Object{"lines": []string{"12 Oak St"}, "city": "Barre", "state": "VT", "postalCode": "05641"}},
			fhirsim.Columns{"phone_cell": "3", "email": "", "street": "12 Oak St"}, Object{"phone": "3", "email": nil, "address.lines": []string{"12 Oak St"}}},
		"a family name of one letter": {fhirsim.Columns{"lname": "O"}, Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"}, Object{"phone": "1"}},
		"a bad email stored earlier":  {fhirsim.Columns{"email": "no email"}, Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"}, Object{"phone": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachOpenEMR(t, func(t *testing.T, version string) {
				s := startOpenEMR(t, dbtest.SQLite(t), version, c.row)
				changes, input := s.changes(), maps.Clone(c.input)
				input["patientId"], input["idempotencyKey"] = openEMRNumber, "key"
				Want(t, s.Update(input), Object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"})
				s.wantChanged(changes, c.changed)
				Want(t, s.Patient(openEMRNumber), c.shown)
			})
		})
	}
}

// TestOpenEMRSexStaysAsTheClinicStoredIt, also where an earlier writer stored FHIR's word.
func TestOpenEMRSexStaysAsTheClinicStoredIt(t *testing.T) {
	t.Parallel()
	for _, sex := range []string{"Male", "Female"} {
		onEachOpenEMR(t, func(t *testing.T, version string) {
			t.Run(sex, func(t *testing.T) {
				s := startOpenEMR(t, dbtest.SQLite(t), version, fhirsim.Columns{"sex": sex})
				changes := s.changes()
				Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "UpdatePatientContactSuccess"})
				s.wantChanged(changes, fhirsim.Columns{"phone_cell": "1"})
			})
		})
	}
	for _, version := range []string{"7.0.3", "7.0.4"} {
		s := startOpenEMR(t, dbtest.SQLite(t), version, fhirsim.Columns{"sex": "female"})
		changes := s.changes()
		Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "UpdatePatientContactSuccess"})
		s.wantChanged(changes, fhirsim.Columns{"phone_cell": "1"})
	}
}

// TestOpenEMRCannotStore: it is told before anything is sent, with the field and the
// reason, and nothing of the patient.
func TestOpenEMRCannotStore(t *testing.T) {
	t.Parallel()
	address := func(more Object) Object {
		a := Object{"lines": []string{"12 Oak St"}, "city": "Stowe", "state": "VT", "postalCode": "05672"}
		maps.Copy(a, more)
		return Object{"address": a}
	}
	for name, c := range map[string]struct {
		row   fhirsim.Columns
		input Object
		field any
	}{
		"text alone":                      {nil, Object{"address": Object{"text": "somewhere"}}, []string{"address", "text"}},
		"another text":                    {nil, address(Object{"text": "the blue house"}), []string{"address", "text"}},
		"a district":                      {nil, address(Object{"district": "Lamoille"}), []string{"address", "district"}},
		"a country":                       {nil, address(Object{"country": "US"}), []string{"address", "country"}},
		"another country":                 {fhirsim.Columns{"country_code": "US"}, address(Object{"country": "CA"}), []string{"address", "country"}},
		"a second line":                   {nil, address(Object{"lines": []string{"12 Oak St", "Apt 4"}}), []string{"address", "lines"}},
		"a second line that would stay":   {fhirsim.Columns{"street_line_2": "Apt 4"}, address(nil), []string{"address", "lines"}},
		"a district that would stay":      {fhirsim.Columns{"county": "Washington"}, address(nil), []string{"address", "district"}},
		"a cleared country":               {fhirsim.Columns{"country_code": "US"}, Object{"address": nil}, []string{"address"}},
		"a patient without sex":           {fhirsim.Columns{"sex": ""}, Object{"phone": "1"}, nil},
		"a patient of unknown sex":        {fhirsim.Columns{"sex": "UNK"}, Object{"phone": "1"}, nil},
		"a patient of another sex":        {fhirsim.Columns{"sex": "Nonbinary"}, Object{"phone": "1"}, nil},
		"a patient without a birth date":  {fhirsim.Columns{"DOB": ""}, Object{"phone": "1"}, nil},
		"a patient with half a birthdate": {fhirsim.Columns{"DOB": "1970-12"}, Object{"email": "a@b.example"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachOpenEMR(t, func(t *testing.T, version string) {
				s := startOpenEMR(t, dbtest.SQLite(t), version, c.row)
				changes, input := s.changes(), maps.Clone(c.input)
				input["patientId"], input["idempotencyKey"] = openEMRNumber, "key"
				answer := s.Update(input)
				Want(t, answer, Object{
					"__typename": "FhirRejected", "code": "FHIR_CANNOT_APPLY", "retryable": false, "httpStatus": nil, "detail": "FHIR server cannot store the update; nothing was sent",
				})
				issues := answer["issues"].([]any)
				if len(issues) != 1 {
					t.Fatalf("issues are %v, want one", issues)
				}
				issue := Object(issues[0].(map[string]any))
				Want(t, issue, Object{"severity": "error", "code": "not-supported", "field": c.field, "message": answer["message"]})
				if message, _ := answer["message"].(string); !strings.Contains(message, "OpenEMR") {
					t.Errorf("the message is %q", message)
				}
				s.wantChanged(changes, fhirsim.Columns{})
				if len(s.puts()) != 0 {
					t.Error("a PUT was sent")
				}
				Want(t, s.Patient(openEMRNumber), Object{"syncState": "SYNCED"})
				Want(t, s.ContactUpdate(answer["operationId"]), Object{"state": "REJECTED", "result.code": "FHIR_CANNOT_APPLY"})
				s.WantLog("FHIR validation failed for patient " + openEMRNumber + ": OpenEMR ")
			})
		})
	}
}

// TestOpenEMRFailures: what each of its answers means, seen through to the end.
func TestOpenEMRFailures(t *testing.T) {
	t.Parallel()
	unavailable := Object{"__typename": "FhirUnavailable", "applied": "NO"}
	for name, c := range map[string]struct {
		set     func(s *openEMR)
		input   Object
		want    Object
		changed fhirsim.Columns
	}{
		"a bad email": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: 400, ContentType: "application/json",
				Body: `{"validationErrors":{"email":{"email":"Email bad@inbox.example is not a valid email"}}}`})
		}, Object{"email": "bad@inbox.example"}, Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "httpStatus": 400}, fhirsim.Columns{}},
		"logged out":     {func(s *openEMR) { s.FHIR.Clinic().SetLoggedOut(true) }, nil, Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"}, fhirsim.Columns{}},
		"no write scope": {func(s *openEMR) { s.FHIR.Clinic().SetScopes("user/Patient.read") }, nil, Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"}, fhirsim.Columns{}},
		"no rights":      {func(s *openEMR) { s.FHIR.Clinic().SetACL(false) }, nil, Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"}, fhirsim.Columns{}},
		"gone":           {func(s *openEMR) { s.FHIR.Delete(openEMRID) }, nil, Object{"code": "FHIR_PATIENT_GONE"}, nil},
		"database down":  {func(s *openEMR) { s.FHIR.Clinic().SetDatabase(fhirsim.DatabaseDown) }, nil, unavailable, fhirsim.Columns{}},
		"nothing saved": {func(s *openEMR) { s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Ignore: true}) }, nil,
			Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"}, fhirsim.Columns{}},
		"another writer's value in the answer, and overwritten": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "phone_cell", "7") }})
		}, nil, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"}, fhirsim.Columns{"phone_cell": "7"}},
		"another writer's value in the answer, of another field": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "email", "x@y.example") }})
		}, nil, Object{"__typename": "UpdatePatientContactSuccess", "patient.email": "x@y.example"}, fhirsim.Columns{"phone_cell": "1", "email": "x@y.example"}},
		"another writer's value in the answer, and ours afterwards": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() {
				s.FHIR.Clinic().Set(openEMRID, "phone_cell", "7")
				back := func(*http.Request) { s.FHIR.Clinic().Set(openEMRID, "phone_cell", "1") }
				s.before.Store(&back)
			}})
		}, nil, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "1"}, fhirsim.Columns{"phone_cell": "1"}},
		"the old value in the answer": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "phone_cell", openEMRRow()["phone_cell"]) }})
		}, nil, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"}, fhirsim.Columns{}},
		"another writer's form of the same value in the answer": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "phone_cell", "(802) 555-0199") }})
		}, Object{"phone": "802-555-0199"}, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "(802) 555-0199", "normalized": []string{"phone"}}, fhirsim.Columns{"phone_cell": "(802) 555-0199"}},
		"another writer's value of one of two fields in the answer": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "phone_cell", "7") }})
		}, Object{"phone": "1", "email": "x@y.example"}, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED", "patient.email": "x@y.example"}, fhirsim.Columns{"phone_cell": "7", "email": "x@y.example"}},
		"another writer's value after a cleared one in the answer": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "phone_cell", "7") }})
		}, Object{"phone": nil, "idempotencyKey": "k"}, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"}, fhirsim.Columns{"phone_cell": "7"}},
		"another writer's value, and the answer is lost": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Apply: true, Close: true, Overtaken: func() { s.FHIR.Clinic().Set(openEMRID, "email", "x@y.example") }})
		}, nil, Object{"__typename": "UpdatePatientContactSuccess", "patient.email": "x@y.example"}, fhirsim.Columns{"phone_cell": "1", "email": "x@y.example"}},
		"two JSON values": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Apply: true, Status: 500, Body: `{"error":"x"}{"error":"y"}`, ContentType: "application/json"})
		}, nil, Object{"__typename": "UpdatePatientContactSuccess"}, fhirsim.Columns{"phone_cell": "1"}},
		"empty with 500": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Apply: true, Status: 500, ContentType: "text/html"})
		}, nil, Object{"__typename": "UpdatePatientContactSuccess"}, fhirsim.Columns{"phone_cell": "1"}},
		"82 MB of HTML": {func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Apply: true, Status: 200, Body: strings.Repeat("SQL Statement failed ", 1<<19), ContentType: "text/html"})
		}, nil, Object{"__typename": "UpdatePatientContactSuccess"}, fhirsim.Columns{"phone_cell": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachOpenEMR(t, func(t *testing.T, version string) {
				s := startOpenEMR(t, dbtest.SQLite(t), version, nil)
				changes := s.changes()
				if c.set != nil {
					c.set(s)
				}
				input := Object{"phone": "1"}
				if c.input != nil {
					input = maps.Clone(c.input)
				}
				input["patientId"] = openEMRNumber
				Want(t, s.Update(input), c.want)
				if c.changed != nil {
					s.wantChanged(changes, c.changed)
					phone := s.columns()["phone_cell"]
					if want := c.want["__typename"]; want == "FhirUnavailable" {
						phone = openEMRRow()["phone_cell"]
					}
					Want(t, s.Patient(openEMRNumber), Object{"phone": phone, "syncState": "SYNCED"})
				}
				if strings.Contains(s.Log.String(), "bad@inbox.example") {
					t.Error("the log holds the submitted value")
				}
			})
		})
	}
}

// TestOpenEMRDatabaseFailsDuringThePUT: in whatever way the version tells it (200 with
// HTML, 500 with two values, 70 MB), it is no success, and it is settled.
func TestOpenEMRDatabaseFailsDuringThePUT(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]fhirsim.Database{"locked": fhirsim.DatabaseLocked, "dies": fhirsim.DatabaseDies} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachOpenEMR(t, func(t *testing.T, version string) {
				s := startOpenEMR(t, dbtest.SQLite(t), version, nil, "FHIR_TIMEOUT=500ms")
				changes := s.changes()
				fails := func(r *http.Request) {
					if r.Method == http.MethodPut {
						s.FHIR.Clinic().SetDatabase(database)
					}
				}
				s.before.Store(&fails)
				Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
				Want(t, s.Patient(openEMRNumber), Object{"phone": "(802) 555-0143", "syncState": "PENDING"})
				s.FHIR.Clinic().SetDatabase(fhirsim.DatabaseUp)
				s.wantChanged(changes, fhirsim.Columns{})
			})
		})
	}
}

// TestOpenEMRStoresInItsOwnWay: what the clinic's database makes of a value is told, as
// another form of it or as not stored, and shown as it is.
func TestOpenEMRStoresInItsOwnWay(t *testing.T) {
	t.Parallel()
	long, city := strings.Repeat("가", 255), strings.Repeat("😀", 255)
	address := func(line, city string) Object {
		return Object{"lines": []string{line}, "city": city, "state": "VT", "postalCode": "05672"}
	}
	for name, c := range map[string]struct {
		input       Object
		sent, kept  string // what of the PUT is stored as what
		want, shown Object
	}{
		"255 characters": {Object{"address": address(long, city)}, "", "", Object{"__typename": "UpdatePatientContactSuccess", "normalized": []string{}},
			Object{"address.lines": []string{long}, "address.city": city}},
		"only the digits": {Object{"phone": "802-555-0199"}, "802-555-0199", "8025550199", Object{"__typename": "UpdatePatientContactSuccess", "normalized": []string{"phone"}, "patient.phone": "8025550199"}, nil},
		"in small letters": {Object{"email": "Paul@New.example"}, "Paul@New.example", "paul@new.example",
			Object{"__typename": "UpdatePatientContactSuccess", "normalized": []string{"email"}, "patient.email": "paul@new.example"}, nil},
		"without blanks": {Object{"address": address("12  Oak St", "Stowe")}, "12  Oak St", "12 Oak St",
			Object{"__typename": "UpdatePatientContactSuccess", "normalized": []string{"address"}}, Object{"address.lines": []string{"12 Oak St"}}},
		"cut": {Object{"phone": "+1 802 555 0199 ext 12345"}, " ext 12345", "", Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED", "patient.phone": "+1 802 555 0199"}, nil},
		"cut in one part": {Object{"phone": "1", "address": address("12 Oak St", "Llanfairpwllgwyngyll")}, "pwllgwyngyll", "",
			Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED", "patient.phone": "1"}, Object{"address.city": "Llanfair"}},
		"without what its character set lacks": {Object{"address": address("12 Oak St 😀", "Stowe")}, "😀", "?", Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"}, Object{"address.lines": []string{"12 Oak St ?"}}},
		"as nothing":                           {Object{"phone": "1", "email": "a@b.example"}, `"1"`, `""`, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED", "patient.email": "a@b.example"}, Object{"phone": openEMRRow()["phone_home"]}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startOpenEMR(t, dbtest.SQLite(t), "8.0.0", nil)
			if c.sent != "" {
				s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Store: func(_, body []byte) []byte {
					if !bytes.Contains(body, []byte(c.sent)) {
						t.Errorf("%q is not sent: %s", c.sent, body)
					}
					return bytes.Replace(body, []byte(c.sent), []byte(c.kept), 1)
				}})
			}
			input := maps.Clone(c.input)
			input["patientId"] = openEMRNumber
			Want(t, s.Update(input), c.want)
			Want(t, s.Patient(openEMRNumber), Object{"syncState": "SYNCED"})
			Want(t, s.Patient(openEMRNumber), c.shown)
			if n := len(s.puts()); n != 1 {
				t.Errorf("%d PUTs were sent", n)
			}
		})
	}
}

// TestOpenEMRAddressIsShownWhateverItsClock: the period of its address, which begins
// when the row was written, is no content.
func TestOpenEMRAddressIsShownWhateverItsClock(t *testing.T) {
	t.Parallel()
	onEachOpenEMR(t, func(t *testing.T, version string) {
		ahead := func() time.Time { return time.Now().Add(time.Hour) }
		s := startOpenEMRAt(t, ahead, dbtest.SQLite(t), version, nil)
		s.FHIR.Clinic().Set(openEMRID, "city", "Stowe")
		Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "UpdatePatientContactSuccess", "patient.address.city": "Stowe"})
	})
}

// TestFHIRServerIsSaid: the setting has an effect, and what the log says is why.
func TestFHIRServerIsSaid(t *testing.T) {
	t.Parallel()
	s := startOpenEMR(t, dbtest.SQLite(t), "8.0.0", nil, "FHIR_SERVER=openemr")
	Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "UpdatePatientContactSuccess"})
	s.WantLog(`"says":"openemr: FHIR_SERVER=openemr"`)
}

// TestOpenEMRIsSentNoWholeRecord, also where FHIR_SERVER says that it is another kind:
// it would fail over its own GET, or take from it what was not asked for. Without an
// address 7.0.3 stores the patient's sex in FHIR's word.
func TestOpenEMRIsSentNoWholeRecord(t *testing.T) {
	t.Parallel()
	noAddress := fhirsim.Columns{"street": "", "city": "", "state": "", "postal_code": ""}
	for _, setting := range []string{"FHIR_SERVER=r4", "FHIR_SERVER=hapi"} {
		for name, row := range map[string]fhirsim.Columns{"address": nil, "no address": noAddress} {
			t.Run(setting+"/"+name, func(t *testing.T) {
				t.Parallel()
				onEachOpenEMR(t, func(t *testing.T, version string) {
					s := startOpenEMR(t, dbtest.SQLite(t), version, row, setting)
					changes := s.changes()
					Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "FhirUnavailable", "applied": "NO"})
					s.wantChanged(changes, fhirsim.Columns{})
					Want(t, s.Patient(openEMRNumber), Object{"phone": openEMRRow()["phone_cell"], "syncState": "SYNCED"})
					s.WantLog(setting + ", but the FHIR server names itself OpenEMR")
				})
			})
		}
	}
}

// TestOpenEMRScenarios: what the scenarios of every FHIR server (scenarios_test.go) leave.
func TestOpenEMRScenarios(t *testing.T) {
	t.Parallel()
	phone := func(v string) Object { return Object{"patientId": openEMRNumber, "phone": v} }
	success := Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "802-555-0199", "patient.syncState": "SYNCED"}
	for name, run := range map[string]func(t *testing.T, s *openEMR){
		"another patient": func(t *testing.T, s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Apply: true, Status: 200, ContentType: "application/json",
				Body: `{"resourceType":"Patient","id":"x","telecom":[{"system":"phone","use":"mobile","value":"802-555-0199"}]}`})
			Want(t, s.Update(phone("802-555-0199")), success)
			if n := len(s.puts()); n != 1 {
				t.Errorf("%d PUTs were sent, want 1", n)
			}
		},
		"an echo": func(t *testing.T, s *openEMR) { // of what was sent: it has no id
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: 200, ContentType: "application/json",
				Body: `{"resourceType":"Patient","gender":"Male","birthDate":"1970-12-12","telecom":[{"system":"phone","use":"mobile","value":"802-555-0199"}]}`})
			Want(t, s.Update(phone("802-555-0199")), Object{"__typename": "FhirUnavailable", "applied": "UNKNOWN"})
		},
		"rate limit": func(t *testing.T, s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: 429})
			Want(t, s.Update(phone("802-555-0199")), Object{"code": "FHIR_RATE_LIMITED", "applied": "NO"})
		},
		"a lost PUT that lands later": func(t *testing.T, s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Hang: true})
			Want(t, s.Update(phone("802-555-0199")), Object{"code": "FHIR_OUTCOME_UNKNOWN", "applied": "UNKNOWN"})
			s.FHIR.ClearFaults()
			s.FHIR.Clinic().Set(openEMRID, "phone_cell", "802-555-0199") // it lands
			wait.Until(t, "the lost PUT is seen", func() bool { return s.Patient(openEMRNumber)["syncState"] == "SYNCED" })
			Want(t, s.Patient(openEMRNumber), Object{"phone": "802-555-0199"})
		},
		"somebody else's field is no conflict": func(t *testing.T, s *openEMR) {
			seen := s.Patient(openEMRNumber)["version"]
			s.FHIR.Clinic().Set(openEMRID, "email", "x@y.example")
			input := phone("802-555-0199")
			input["expectedVersion"] = seen
			Want(t, s.Update(input), success)
			Want(t, s.Patient(openEMRNumber), Object{"email": "x@y.example"})
		},
		"a second line without a first": func(t *testing.T, s *openEMR) { // it is shown as the first, and cannot be changed
			s.FHIR.Clinic().Set(openEMRID, "street", "")
			s.FHIR.Clinic().Set(openEMRID, "street_line_2", "Apt 4")
			input := Object{"patientId": openEMRNumber, "address": Object{"lines": []string{"12 Oak St"}, "city": "Stowe", "state": "VT", "postalCode": "05672"}}
			Want(t, s.Update(input), Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"})
			Want(t, s.Patient(openEMRNumber), Object{"address.lines": []string{"12 Oak St", "Apt 4"}, "address.city": "Stowe", "syncState": "SYNCED"})
		},
		"another form": func(t *testing.T, s *openEMR) {
			Want(t, s.Update(phone("802-555-0143")), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "802-555-0143"})
			if got := s.columns()["phone_cell"]; got != "802-555-0143" {
				t.Errorf("stored %s", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachOpenEMR(t, func(t *testing.T, version string) {
				run(t, startOpenEMR(t, dbtest.SQLite(t), version, nil, "FHIR_TIMEOUT=1s"))
			})
		})
	}
}

// TestOpenEMRThatIsDownAtStart is asked what it is when the first write comes; until
// then nothing is sent to it.
func TestOpenEMRThatIsDownAtStart(t *testing.T) {
	t.Parallel()
	database := dbtest.SQLite(t)
	server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR("7.0.3")})
	server.Clinic().Put(openEMRID, openEMRRow())
	stored, _, _ := server.Get(openEMRID)
	if out, err := Import(t, database, string(stored), "PATIENT_ID_SYSTEM="+fhirsim.OpenEMRIdentifierSystem); err != nil {
		t.Fatal(out, err)
	}
	server.Clinic().SetDatabase(fhirsim.DatabaseDown)
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	p := StartWith(t, base, database, "PATIENT_ID_SYSTEM="+fhirsim.OpenEMRIdentifierSystem)
	p.WantLog("FHIR server")
	input := Object{"patientId": openEMRNumber, "phone": "1"}
	Want(t, p.Update(input), Object{"__typename": "FhirUnavailable", "applied": "NO"})
	server.Clinic().SetDatabase(fhirsim.DatabaseUp)
	Want(t, p.Update(input), Object{"__typename": "UpdatePatientContactSuccess"})
}
