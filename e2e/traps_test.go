package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// trap is what FHIR servers set for who writes a Patient, by its name in
// fhir/fhirsim/traps_test.go, and how the product comes through it.
type trap struct {
	name    string
	openEMR func(t *testing.T, s *openEMR) // on OpenEMR; nil: it has none of its own
	r4      func(t *testing.T, s *trapped) // on servers that replace the whole record, a real HAPI among them; nil: they do not set it
}

// trapped is the product in front of a server that replaces the whole record.
type trapped struct {
	*Product
	FHIR *HAPIServer // around the product
	id   string
	base string // the front's
	real bool   // a real HAPI

	front atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
	puts  atomic.Int32
}

func startTrapped(t *testing.T, kind string) *trapped {
	t.Helper()
	s := &trapped{id: "trap-" + uuid.NewString()}
	switch kind {
	case "a real HAPI":
		s.FHIR, s.real = HAPI(t), true
	case "HAPI":
		_, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()})
		s.FHIR = &HAPIServer{URL: base}
	case "Medplum":
		_, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.Medplum()})
		s.FHIR = &HAPIServer{URL: base}
	}
	target, err := url.Parse(s.FHIR.URL)
	if err != nil {
		t.Fatal(err)
	}
	next := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host}) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			s.puts.Add(1)
		}
		if front := s.front.Load(); front != nil && strings.Contains(r.URL.Path, "/Patient") {
			(*front)(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.base = server.URL + target.Path
	s.start(t, PatientJSON(s.id, Number))
	return s
}

// start gives the server and the cache this patient, and starts the product.
func (s *trapped) start(t *testing.T, patient string) {
	t.Helper()
	if err := s.FHIR.Put(patient); err != nil {
		t.Fatal(err)
	}
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, patient)
	timeout := "FHIR_TIMEOUT=5s"
	if s.real {
		timeout = "FHIR_TIMEOUT=30s"
	}
	s.Product = StartWith(t, s.base, databaseURL, timeout)
}

// stored is the record on the server, without its meta.
func (s *trapped) stored() map[string]any {
	s.T.Helper()
	resource, err := s.FHIR.Get(s.id)
	if err != nil {
		s.T.Fatal(err)
	}
	return DecodeWithoutMeta(s.T, string(resource))
}

// befalls has this happen to each PUT.
func (s *trapped) befalls(put func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	front := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut {
			put(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
	s.front.Store(&front)
}

// answers has each PUT end so, carried out or not.
func (s *trapped) answers(status int, media, body string, carriedOut bool) {
	s.befalls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if carriedOut {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// set asks for another phone.
func (s *trapped) set() Object { return s.Update(Object{"patientId": Number, "phone": NewPhone}) }

// wantOnlyChanged makes the update, a Success that changes nothing but this.
func (s *trapped) wantOnlyChanged(input Object, allowed ...string) {
	s.T.Helper()
	before := s.stored()
	input["patientId"] = Number
	Want(s.T, s.Update(input), Object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"})
	wantOnly(s.T.(*testing.T), changes(before, s.stored()), allowed...)
}

// wantUntouched fails if the record has another phone than before, here or there.
func (s *trapped) wantUntouched() {
	s.T.Helper()
	if phone := leavesOf(s.stored())["telecom[1].value"]; phone != OldPhone {
		s.T.Errorf("the server has %s", phone)
	}
	Want(s.T, s.Patient(Number), Object{"phone": OldPhone})
}

func leavesOf(resource map[string]any) map[string]string {
	into := map[string]string{}
	leaves("", resource, into)
	return into
}

func (s *openEMR) set() Object { return s.Update(Object{"patientId": openEMRNumber, "phone": "1"}) }

// wantOnly makes the update, a Success that changes these columns alone.
func (s *openEMR) wantOnly(input Object, changed fhirsim.Columns) {
	s.T.Helper()
	changes := s.changes()
	input["patientId"], input["idempotencyKey"] = openEMRNumber, fmt.Sprint(time.Now().UnixNano())
	Want(s.T, s.Update(input), Object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"})
	s.wantChanged(changes, changed)
}

// wantRefused makes the update, which ends so and changes nothing.
func (s *openEMR) wantRefused(input, want Object) {
	s.T.Helper()
	changes := s.changes()
	input["patientId"], input["idempotencyKey"] = openEMRNumber, fmt.Sprint(time.Now().UnixNano())
	Want(s.T, s.Update(input), want)
	s.wantChanged(changes, fhirsim.Columns{})
}

const outcomeOf = `{"resourceType":"OperationOutcome","issue":[%s]}`

// refusals are the bodies of a 400.
var refusals = map[string]string{
	"application/fhir+json": fmt.Sprintf(outcomeOf, `{"severity":"error","code":"invalid","diagnostics":"not taken"}`),
	"application/json":      `{"validationErrors":{"phone_cell":{"x":"not taken"}}}`,
	"text/json":             `{"error":"An error occurred","message":"not taken","code":0}`,
	"text/plain":            `[]`,
	"text/html":             `<html>not taken</html>`,
	"application/xml":       ``,
}

var traps = []trap{
	{"01 echoing what was read crashes the server for ever", func(t *testing.T, s *openEMR) {
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
		if body := string(s.puts()[0].Body); strings.Contains(body, "extension") || strings.Contains(body, "period") || strings.Contains(body, `"name"`) {
			t.Errorf("its own words are sent back: %s", body)
		}
	}, nil},
	{"02 one server merges by column, others replace everything", func(t *testing.T, s *openEMR) {
		s.wantOnly(Object{"email": "a@b.example"}, fhirsim.Columns{"email": "a@b.example"})
	}, func(t *testing.T, s *trapped) {
		s.wantOnlyChanged(Object{"phone": NewPhone}, "telecom[1].value")
	}},
	{"03 telecom[0] may be a fax, old or somebody's work number", func(t *testing.T, s *openEMR) {
		s.FHIR.Clinic().Set(openEMRID, "phone_biz", "802-555-0100") // listed before the mobile one, as the home phone is
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
	}, func(t *testing.T, s *trapped) {
		s.wantOnlyChanged(Object{"phone": NewPhone}, "telecom[1].value") // [0] is a fax
	}},
	{"04 200 and nothing saved", func(t *testing.T, s *openEMR) {
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Ignore: true})
		s.wantRefused(Object{"phone": "1"}, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"})
	}, func(t *testing.T, s *trapped) {
		s.befalls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0
			r.Header.Del("If-Match")
			next.ServeHTTP(w, r)
		})
		answer := s.set()
		if state := s.ContactUpdate(answer["operationId"])["state"]; answer["__typename"] == "UpdatePatientContactSuccess" || state == "APPLIED" {
			t.Errorf("told %v, %v", answer, state)
		}
		s.wantUntouched()
	}},
	{"05 an old email later in the array overwrites the new one", func(t *testing.T, s *openEMR) {
		s.FHIR.Clinic().Set(openEMRID, "email_direct", "old@b.example")
		s.wantOnly(Object{"email": "a@b.example"}, fhirsim.Columns{"email_direct": "a@b.example"})
		if n := strings.Count(string(s.puts()[0].Body), `"system"`); n != 1 {
			t.Errorf("%d entries are sent", n)
		}
	}, func(t *testing.T, s *trapped) {
		s.start(t, strings.Replace(PatientJSON(s.id, Number), `"value":"old@example.org","use":"home"}`,
			`"value":"now@example.org","use":"home"},{"system":"email","value":"former@example.org","use":"old"}`, 1))
		Want(t, s.Patient(Number), Object{"email": "now@example.org"})
		s.wantOnlyChanged(Object{"email": "next@example.org"}, "telecom[2].value")
	}},
	{"06 a text-only address blanks street, city, state and zip", func(t *testing.T, s *openEMR) {
		s.wantRefused(Object{"address": Object{"text": "12 Oak St, Stowe"}}, Object{"code": "FHIR_CANNOT_APPLY"})
	}, nil},
	{"07 another address without an end wins", func(t *testing.T, s *openEMR) {
		s.wantOnly(Object{"address": Object{"lines": []string{"12 Oak St"}, "city": "Barre", "state": "VT", "postalCode": "05641"}}, fhirsim.Columns{"street": "12 Oak St"})
		if n := strings.Count(string(s.puts()[0].Body), `"line"`); n != 1 {
			t.Errorf("%d addresses are sent", n)
		}
	}, func(t *testing.T, s *trapped) {
		s.start(t, strings.Replace(PatientJSON(s.id, Number), `"address":[`, `"address":[{"use":"old","city":"Jeju"},{"use":"work","city":"Daegu"},`, 1))
		Want(t, s.Patient(Number), Object{"address.city": "Seoul"})
		s.wantOnlyChanged(Object{"address": Object{"lines": []string{"1 Main St"}, "city": "Busan", "postalCode": "04524", "country": "KR"}}, "address[2].city")
	}},
	{"08 two-line addresses grow by a line with every echo", func(t *testing.T, s *openEMR) {
		s.FHIR.Clinic().Set(openEMRID, "street_line_2", "Apt 4")
		for _, street := range []string{"12 Oak St", "14 Oak St"} {
			s.wantOnly(Object{"address": Object{"lines": []string{street, "Apt 4"}, "city": "Barre", "state": "VT", "postalCode": "05641"}}, fhirsim.Columns{"street": street})
		}
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
	}, nil},
	{"09 leaving a telecom entry out clears it or changes nothing", func(t *testing.T, s *openEMR) {
		s.wantOnly(Object{"email": nil}, fhirsim.Columns{"email": ""})
		Want(t, s.Patient(openEMRNumber), Object{"email": nil, "phone": "(802) 555-0143"})
	}, func(t *testing.T, s *trapped) {
		s.wantOnlyChanged(Object{"email": nil, "idempotencyKey": "k"}, "telecom[2].system", "telecom[2].use", "telecom[2].value")
		Want(t, s.Patient(Number), Object{"email": nil, "phone": OldPhone})
	}},
	{"10 a 400 has many bodies", func(t *testing.T, s *openEMR) {
		for media, body := range refusals {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: http.StatusBadRequest, ContentType: media, Body: body})
			s.wantRefused(Object{"phone": "1"}, Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "httpStatus": 400})
		}
	}, func(t *testing.T, s *trapped) {
		for media, body := range refusals {
			s.answers(http.StatusBadRequest, media, body, false)
			Want(t, s.set(), Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "httpStatus": 400})
			s.wantUntouched()
		}
	}},
	{"11 a 400 is a revoked session or an unknown patient", func(t *testing.T, s *openEMR) {
		s.FHIR.Clinic().SetLoggedOut(true)
		s.wantRefused(Object{"phone": "1"}, Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
		s.FHIR.Clinic().SetLoggedOut(false)
		goes := func(r *http.Request) {
			if r.Method == http.MethodPut {
				s.FHIR.Delete(openEMRID)
			}
		}
		s.before.Store(&goes)
		Want(t, s.set(), Object{"code": "FHIR_PATIENT_GONE"})
	}, nil},
	{"12 a 401 is a missing scope, and a refresh kills the token before", func(t *testing.T, s *openEMR) {
		s.FHIR.Clinic().SetScopes("user/Patient.read")
		s.wantRefused(Object{"phone": "1"}, Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
		if n := len(s.puts()); n > 2 {
			t.Errorf("%d PUTs", n)
		}
	}, func(t *testing.T, s *trapped) {
		s.befalls(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="system/Patient.u"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		Want(t, s.set(), Object{"code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false})
		if n := s.puts.Load(); n > 2 {
			t.Errorf("%d PUTs", n)
		}
		s.wantUntouched()
	}},
	{"13 conflicts are 409, 412 or nothing at all", func(t *testing.T, s *openEMR) {
		rival := func(r *http.Request) {
			if r.Method == http.MethodPut {
				s.FHIR.Clinic().Set(openEMRID, "city", "Stowe")
			}
		}
		s.before.Store(&rival)
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1", "city": "Stowe"})
	}, func(t *testing.T, s *trapped) {
		rival := strings.Replace(PatientJSON(s.id, Number), "02-111-2222", "02-333-4444", 1)
		s.befalls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if s.puts.Load() == 1 {
				if err := s.FHIR.Put(rival); err != nil {
					t.Error(err)
				}
			}
			next.ServeHTTP(w, r)
		})
		s.wantOnlyChanged(Object{"phone": NewPhone}, "telecom[0].value", "telecom[1].value")
		if n := s.puts.Load(); n != 2 {
			t.Errorf("%d PUTs, want two", n)
		}
	}},
	{"14 a lost answer is an unknown outcome", func(t *testing.T, s *openEMR) {
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Apply: true, Close: true})
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
	}, func(t *testing.T, s *trapped) {
		s.befalls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})
		s.wantOnlyChanged(Object{"phone": NewPhone}, "telecom[1].value")
	}},
	{"15 an update creates or resurrects, or not", func(t *testing.T, s *openEMR) {
		s.FHIR.Delete(openEMRID)
		Want(t, s.set(), Object{"code": "FHIR_PATIENT_GONE"})
		if n := len(s.FHIR.IDs()); n != 0 {
			t.Errorf("%d patients", n)
		}
	}, func(t *testing.T, s *trapped) {
		gone := func() {
			if status, answer, err := s.FHIR.Do(http.MethodDelete, s.id, "", ""); err != nil || status >= 300 {
				t.Errorf("%d %s %v", status, answer, err)
			}
		}
		s.befalls(func(w http.ResponseWriter, r *http.Request, next http.Handler) { gone(); next.ServeHTTP(w, r) })
		Want(t, s.set(), Object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
		s.front.Store(nil)
		gone() // the server may have made it anew: nothing keeps it from that
		puts := s.puts.Load()
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-5555-5555"}), Object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
		if s.puts.Load() != puts {
			t.Error("a PUT was sent")
		}
		if _, err := s.FHIR.Get(s.id); err == nil {
			t.Error("the patient lives again")
		}
	}},
	{"16 200 with HTML, 200 with 80 MB, 500 with two JSON values", func(t *testing.T, s *openEMR) {
		for n, fault := range []fhirsim.Fault{
			{Status: 200, ContentType: "text/html", Body: "Query Error"},
			{Status: 200, ContentType: "text/html; charset=utf-8", Body: strings.Repeat("SQL Statement failed<br>\n", 1<<20)},
			{Status: 500, ContentType: "application/json", Body: `{"error":"x"}{"error":"y"}`},
		} {
			fault.On, fault.Apply = http.MethodPut, true
			s.FHIR.SetFault("", fault)
			phone := fmt.Sprint("802-555-010", n)
			s.wantOnly(Object{"phone": phone}, fhirsim.Columns{"phone_cell": phone})
		}
	}, func(t *testing.T, s *trapped) {
		for n, status := range []int{200, 500, 200} {
			phone := fmt.Sprintf("010-2222-000%d", n)
			body := []string{"<html>", `{"error":"x"}{"error":"y"}`, strings.Repeat("SQL Statement failed<br>\n", 1<<20)}[n]
			s.answers(status, []string{"text/html", "application/json", "text/html"}[n], body, true)
			s.wantOnlyChanged(Object{"phone": phone}, "telecom[1].value")
		}
	}},
	{"17 a 404 is a missing route, a 500 is the own bad request", func(t *testing.T, s *openEMR) {
		route := fhirsim.Fault{On: http.MethodPut, Status: 404, ContentType: "application/json", Body: `{"error":"An error occurred","message":"Route not found","code":0}`}
		s.FHIR.SetFault("", route)
		changes := s.changes()
		if answer := s.set(); answer["code"] == "FHIR_PATIENT_GONE" || answer["__typename"] == "UpdatePatientContactSuccess" {
			t.Errorf("%v", answer)
		}
		s.wantChanged(changes, fhirsim.Columns{})
		Want(t, s.Patient(openEMRNumber), Object{"phone": "(802) 555-0143"})
	}, func(t *testing.T, s *trapped) {
		databaseURL := dbtest.SQLite(t)
		MustImport(t, databaseURL, PatientJSON(s.id, Number))
		astray := StartWith(t, s.base+"/nowhere", databaseURL)
		Want(t, astray.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "FhirUnavailable", "applied": "NO"})
		Want(t, astray.Patient(Number), Object{"phone": OldPhone, "syncState": "SYNCED"})
	}},
	{"18 a rejection is about a field that nobody touched", func(t *testing.T, s *openEMR) {
		s.FHIR.Clinic().Set(openEMRID, "email", "no email") // its PUT of all telecom would be refused for it
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
	}, func(t *testing.T, s *trapped) {
		s.answers(422, "application/fhir+json", fmt.Sprintf(outcomeOf, `{"severity":"error","code":"processing","diagnostics":"Invalid phone format","expression":["Patient.telecom[0].value"]}`), false)
		answer := s.Update(Object{"patientId": Number, "email": "a@example.org"})
		Want(t, answer, Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED"})
		for _, issue := range answer["issues"].([]any) {
			if field := Object(issue.(map[string]any))["field"]; field != nil {
				t.Errorf("the complaint is told about %v", field)
			}
		}
		s.wantUntouched()
	}},
	{"19 values are silently cut", func(t *testing.T, s *openEMR) {
		cut := func(_, put []byte) []byte {
			return []byte(strings.Replace(string(put), "802-555-0199", "802-555-019", 1))
		}
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Store: cut})
		changes := s.changes()
		Want(t, s.Update(Object{"patientId": openEMRNumber, "phone": "802-555-0199"}), Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"})
		s.wantChanged(changes, fhirsim.Columns{"phone_cell": "802-555-019"})
		Want(t, s.Patient(openEMRNumber), Object{"phone": "802-555-019", "syncState": "SYNCED"})
	}, func(t *testing.T, s *trapped) {
		cut := NewPhone[:len(NewPhone)-1]
		s.befalls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			text := strings.Replace(string(body), NewPhone, cut, 1)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			r.Header.Del("Content-Length")
			next.ServeHTTP(w, r)
		})
		Want(t, s.set(), Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED", "patient.phone": cut})
		Want(t, s.Patient(Number), Object{"phone": cut, "syncState": "SYNCED"})
	}},
	{"20 a required element that the record lacks, or that changes", func(t *testing.T, s *openEMR) {
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"}) // Male stays Male
		for column, value := range map[string]string{"sex": "", "DOB": ""} {
			was := s.columns()[column]
			s.FHIR.Clinic().Set(openEMRID, column, value)
			s.wantRefused(Object{"phone": "2"}, Object{"code": "FHIR_CANNOT_APPLY"})
			s.FHIR.Clinic().Set(openEMRID, column, was)
		}
	}, nil},
	{"21 lastUpdated has seconds, wall-clock time and no order", func(t *testing.T, s *openEMR) {
		for n := range 5 { // within one second or two
			phone := fmt.Sprint("802-555-010", n)
			s.wantOnly(Object{"phone": phone}, fhirsim.Columns{"phone_cell": phone})
			Want(t, s.Patient(openEMRNumber), Object{"phone": phone})
		}
		s.FHIR.Clinic().SetZone(time.FixedZone("", -5*3600)) // and hours before
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
		Want(t, s.Patient(openEMRNumber), Object{"phone": "1", "syncState": "SYNCED"})
	}, nil},
	{"22 an unsupported search parameter gives an empty 200", func(t *testing.T, s *openEMR) {
		s.FHIR.SetFault("", fhirsim.Fault{On: fhirsim.OnSearch, Status: 200, ContentType: "application/json", Body: `{"resourceType":"Bundle","type":"collection","total":0}`})
		s.wantOnly(Object{"phone": "1"}, fhirsim.Columns{"phone_cell": "1"})
	}, func(t *testing.T, s *trapped) {
		empty := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/Patient") {
				w.Header().Set("Content-Type", "application/fhir+json")
				_, _ = io.WriteString(w, `{"resourceType":"Bundle","type":"searchset","total":0}`)
				return
			}
			next.ServeHTTP(w, r)
		}
		s.front.Store(&empty)
		s.wantOnlyChanged(Object{"phone": NewPhone}, "telecom[1].value")
		// Nor does an empty page tell that a patient is gone.
		d := doctor(t, nil, "FHIR_BASE_URL="+s.base, "DATABASE_URL="+s.database(t), "FHIR_TIMEOUT=30s")
		if d.want(t, "cached ids", "ok", "1 of 1 patients of the cache"); d.err != nil {
			t.Error(d.all)
		}
	}},
	{"23 a 412 is a rejection", nil, func(t *testing.T, s *trapped) {
		s.answers(412, "application/fhir+json", fmt.Sprintf(outcomeOf, `{"severity":"warning","code":"processing","diagnostics":"a hint"},`+
			`{"severity":"error","code":"processing","diagnostics":"Constraint failed: phone-1: 'Invalid phone format'","expression":["Patient.telecom[1]"]}`), false)
		Want(t, s.set(), Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "httpStatus": 412})
		s.wantUntouched()
	}},
	{"24 a body read with _summary or _elements must never be PUT back", func(t *testing.T, s *openEMR) {
		stored, _, _ := s.FHIR.Get(openEMRID)
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodGet, Status: 200, ContentType: "application/json",
			Body: strings.Replace(string(stored), `"meta":{`, `"meta":{"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}],`, 1)})
		s.wantRefused(Object{"phone": "1"}, Object{"__typename": "FhirUnavailable", "applied": "NO"})
		if len(s.puts()) != 0 {
			t.Error("a PUT was sent")
		}
	}, func(t *testing.T, s *trapped) {
		part := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case r.Method != http.MethodGet:
				next.ServeHTTP(w, r)
			case s.real:
				r.URL.RawQuery = "_elements=name,telecom"
				next.ServeHTTP(w, r)
			default:
				w.Header().Set("Content-Type", "application/fhir+json")
				w.Header().Set("ETag", `W/"1"`)
				_, _ = fmt.Fprintf(w, `{"resourceType":"Patient","id":%q,"meta":{"versionId":"1","tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]},"telecom":[]}`, s.id)
			}
		}
		s.front.Store(&part)
		Want(t, s.set(), Object{"__typename": "FhirUnavailable", "applied": "NO"})
		if s.puts.Load() != 0 {
			t.Error("a PUT was sent")
		}
		s.front.Store(nil)
		s.wantUntouched()
	}},
	{"25 a search comes from a cache, and _count is capped without a word", nil, func(t *testing.T, s *trapped) {
		var cached atomic.Int32
		look := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet && r.Header.Get("Cache-Control") != "no-cache" {
				cached.Add(1)
			}
			next.ServeHTTP(w, r)
		}
		s.front.Store(&look)
		s.wantOnlyChanged(Object{"phone": NewPhone}, "telecom[1].value")
		doctor(t, nil, "FHIR_BASE_URL="+s.base, "DATABASE_URL="+s.database(t), "FHIR_TIMEOUT=30s")
		if n := cached.Load(); n != 0 {
			t.Errorf("%d reads and searches may come from a cache", n)
		}
	}},
}

// database is one that holds the patient.
func (s *trapped) database(t *testing.T) string {
	t.Helper()
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, PatientJSON(s.id, Number))
	return databaseURL
}

// TestTheProductComesThroughEachTrap of the 25, on OpenEMR, on servers that replace the
// whole record, and on a real HAPI.
func TestTheProductComesThroughEachTrap(t *testing.T) {
	t.Parallel()
	for n, trap := range traps {
		if !strings.HasPrefix(trap.name, fmt.Sprintf("%02d ", n+1)) {
			t.Errorf("trap %d is called %s", n+1, trap.name)
		}
		if trap.openEMR != nil {
			for _, version := range []string{"7.0.3", "8.1.1-dev"} { // the oldest and the newest
				t.Run(trap.name+"/OpenEMR "+version, func(t *testing.T) {
					t.Parallel()
					trap.openEMR(t, startOpenEMR(t, dbtest.SQLite(t), version, nil))
				})
			}
		}
		if trap.r4 != nil {
			for _, kind := range []string{"HAPI", "Medplum"} {
				t.Run(trap.name+"/"+kind, func(t *testing.T) {
					t.Parallel()
					trap.r4(t, startTrapped(t, kind))
				})
			}
		}
	}
	if len(traps) != 25 {
		t.Errorf("%d traps", len(traps))
	}
}

func TestTheProductComesThroughEachTrapOfARealHAPI(t *testing.T) {
	t.Parallel()
	HAPI(t)
	for _, trap := range traps {
		if trap.r4 != nil {
			t.Run(trap.name, func(t *testing.T) {
				t.Parallel()
				trap.r4(t, startTrapped(t, "a real HAPI"))
			})
		}
	}
}
