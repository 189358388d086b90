package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

var updateMatrix = flag.Bool("update", false, "write the support matrix into docs/fhir-servers.md")

// kinds are the columns of the support matrix.
func kinds() (names []string, habits map[string]fhirsim.Habits) {
	names = []string{"HAPI 8.8", "Medplum", "no versions"}
	habits = map[string]fhirsim.Habits{"HAPI 8.8": fhirsim.HAPI(), "Medplum": fhirsim.Medplum(), "no versions": fhirsim.PlainR4()}
	for _, version := range fhirsim.OpenEMRVersions {
		name := "OpenEMR " + version
		names, habits[name] = append(names, name), fhirsim.OpenEMR(version)
	}
	return names, habits
}

// matrixServer is a FHIR server of a kind with one patient, behind a front that sees and
// changes what passes, and the product before it.
type matrixServer struct {
	*Product
	t       *testing.T
	base    string // around the front
	id      string
	remove  func()
	before  atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool] // true: answered
	after   atomic.Pointer[func(*http.Response) error]
	reached atomic.Int32 // requests about the patient
	number  string
	timeout string // FHIR_TIMEOUT
	partial bool   // takes only what changes
}

const matrixSystem = fhirsim.DemoIdentifierSystem

func matrixPatient(id, number string) string {
	patient := strings.Replace(PatientJSON(id, number), `"birthDate":"1990-05"`, `"birthDate":"1990-05-15"`, 1)
	return strings.Replace(patient, `,"unknownElement":{"kept":true}`, "", 1) // real HAPI drops it
}

func (s *matrixServer) start() {
	target, err := url.Parse(s.base)
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
		},
		ModifyResponse: func(r *http.Response) error {
			if after := s.after.Load(); after != nil {
				return (*after)(r)
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // no answer
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/Patient/") {
			s.reached.Add(1)
		}
		if before := s.before.Load(); before == nil || !(*before)(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	s.t.Cleanup(front.Close)
	database := dbtest.SQLite(s.t)
	stored := s.stored()
	system := matrixSystem
	for _, identifier := range gjson.Get(stored, "identifier").Array() {
		system, s.number = identifier.Get("system").Str, identifier.Get("value").Str
	}
	if out, err := Import(s.t, database, stored, "PATIENT_ID_SYSTEM="+system); err != nil {
		s.t.Fatalf("import: %v\n%s", err, out)
	}
	s.Product = StartWith(s.t, front.URL+target.Path, database, "PATIENT_ID_SYSTEM="+system, "FHIR_TIMEOUT="+s.timeout)
}

// simulated starts a kind on the simulator, without a patient's gender if so said.
func simulated(t *testing.T, habits fhirsim.Habits, gender bool) *matrixServer {
	t.Helper()
	server := fhirsim.New(fhirsim.Options{Habits: habits})
	s := &matrixServer{t: t, id: openEMRID, timeout: "5s", partial: server.Clinic() != nil, remove: func() { server.Delete(openEMRID) }}
	patient := matrixPatient(s.id, "31")
	if !gender {
		patient = strings.Replace(patient, `"gender":"male",`, "", 1)
	}
	if err := server.Put([]byte(patient)); err != nil {
		t.Fatal(err)
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s.base = base
	s.start()
	return s
}

// real starts the product before a real HAPI.
func real(t *testing.T, hapi *HAPIServer, gender bool) *matrixServer {
	t.Helper()
	s := &matrixServer{t: t, id: "matrix-" + uuid.NewString(), base: hapi.URL, timeout: "20s"}
	s.remove = func() {
		if status, answer, err := hapi.Do(http.MethodDelete, s.id, "", ""); err != nil || status/100 != 2 {
			t.Fatalf("delete: %d %s %v", status, answer, err)
		}
	}
	patient := matrixPatient(s.id, s.id)
	if !gender {
		patient = strings.Replace(patient, `"gender":"male",`, "", 1)
	}
	if err := hapi.Put(patient); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	s.start()
	return s
}

// stored is the patient as the server shows it.
func (s *matrixServer) stored() string {
	status, body := s.ask(http.MethodGet, "")
	if status != http.StatusOK {
		s.t.Fatalf("read around the product: %d %s", status, body)
	}
	return body
}

func (s *matrixServer) ask(method, body string) (int, string) {
	request, err := http.NewRequest(method, s.base+"/Patient/"+s.id, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/fhir+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// neighbour is another client: it sets the value of the entry with this value.
func (s *matrixServer) neighbour(old, value string) {
	body := s.stored()
	entries := gjson.Get(body, "telecom").Array()
	at := slices.IndexFunc(entries, func(e gjson.Result) bool { return e.Get("value").Str == old })
	if at < 0 {
		s.t.Fatalf("no entry has the value %s: %s", old, body)
	}
	entry, err := sjson.Set(entries[at].Raw, "value", value)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.partial {
		body = `{"resourceType":"Patient","gender":"Male","birthDate":"1990-05-15","telecom":[` + entry + `]}`
	} else if body, err = sjson.SetRaw(body, fmt.Sprint("telecom.", at), entry); err != nil {
		s.t.Fatal(err)
	}
	if status, answer := s.ask(http.MethodPut, body); status != http.StatusOK {
		s.t.Fatalf("another client's PUT: %d %s", status, answer)
	}
}

// once does something before the first PUT that comes by.
func (s *matrixServer) once(do func(w http.ResponseWriter, r *http.Request) bool) {
	var done atomic.Bool
	before := func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPut && done.CompareAndSwap(false, true) && do(w, r)
	}
	s.before.Store(&before)
}

func (s *matrixServer) write(input Object) Object {
	input["patientId"] = s.number
	return s.Update(input)
}

// writePhone is how a write of the phone failed; "" if it is stored. It looks past the
// front, which counts the product's requests.
func (s *matrixServer) writePhone(phone string) (failed string) {
	if answer := s.write(Object{"phone": phone}); answer["__typename"] != "UpdatePatientContactSuccess" {
		return fmt.Sprint(answer["code"])
	}
	if !strings.Contains(s.stored(), `"`+phone+`"`) {
		return "not stored"
	}
	return ""
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// stores is whether a value can be written; where not, it must be told before anything
// is sent.
func (s *matrixServer) stores(input Object) string {
	s.reached.Store(0)
	before := func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			s.reached.Add(100)
		}
		return false
	}
	s.before.Store(&before)
	switch answer := s.write(input); {
	case answer["__typename"] == "UpdatePatientContactSuccess":
		return "yes"
	case answer["code"] == "FHIR_CANNOT_APPLY" && s.reached.Load() < 100:
		return "told before"
	default:
		return fmt.Sprint(answer["code"])
	}
}

const matrixMail = "old@example.org"

// features are the rows.
var features = []struct {
	promise, name string
	noGender      bool
	try           func(s *matrixServer) string
}{
	{"1", "a write that fails leaves the cache as it was", false, func(s *matrixServer) string {
		before := func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return r.Method == http.MethodPut
		}
		s.before.Store(&before)
		answer := s.write(Object{"phone": NewPhone})
		return yes(answer["__typename"] == "FhirUnavailable" && s.Patient(s.number)["phone"] == OldPhone)
	}},
	{"2", "phone, email and address are written and shown", false, func(s *matrixServer) string {
		answer := s.write(Object{"phone": NewPhone, "email": "new@example.org",
			"address": Object{"lines": []string{"2 Main St"}, "city": "Busan", "postalCode": "48099", "country": "KR"}})
		stored := s.stored()
		return yes(answer["__typename"] == "UpdatePatientContactSuccess" && strings.Contains(stored, NewPhone) && strings.Contains(stored, "new@example.org") &&
			strings.Contains(stored, "2 Main St"))
	}},
	{"2", "a 200 that saved nothing is told", false, func(s *matrixServer) string {
		stored := s.stored()
		s.once(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/fhir+json")
			_, _ = io.WriteString(w, stored)
			return true
		})
		return yes(s.write(Object{"phone": NewPhone})["code"] == "FHIR_NOT_APPLIED")
	}},
	{"3, 4", "a PUT whose answer is lost is found out", false, func(s *matrixServer) string {
		after := func(r *http.Response) error {
			if r.Request.Method == http.MethodPut {
				s.after.Store(nil)
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		s.after.Store(&after)
		return yes(s.write(Object{"phone": NewPhone})["__typename"] == "UpdatePatientContactSuccess")
	}},
	{"4", "what cannot be found out is UNKNOWN, and the patient PENDING", false, func(s *matrixServer) string {
		var gone atomic.Bool
		before := func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				gone.Store(true)
			}
			if gone.Load() {
				panic(http.ErrAbortHandler)
			}
			return false
		}
		s.before.Store(&before)
		answer := s.write(Object{"phone": NewPhone})
		return yes(answer["applied"] == "UNKNOWN" && s.Patient(s.number)["syncState"] == "PENDING")
	}},
	{"7", "every element that was not asked to change stays", false, func(s *matrixServer) string {
		was := DecodeWithoutMeta(s.t, s.stored())
		if failed := s.writePhone(NewPhone); failed != "" {
			return failed
		}
		for _, path := range changes(was, DecodeWithoutMeta(s.t, s.stored())) {
			if !strings.HasPrefix(path, "telecom[") && path != "address[0].period.start" { // OpenEMR's own clock
				return "no: " + path
			}
		}
		return "yes"
	}},
	{"7", "another client's change of another field, between our read and our PUT, survives", false, func(s *matrixServer) string {
		s.once(func(http.ResponseWriter, *http.Request) bool {
			s.neighbour(matrixMail, "theirs@example.org")
			return false
		})
		answer := s.write(Object{"phone": NewPhone})
		stored := s.stored()
		return yes(answer["__typename"] == "UpdatePatientContactSuccess" && strings.Contains(stored, NewPhone) && strings.Contains(stored, "theirs@example.org"))
	}},
	{"", "another client's change of the same field, between our read and our PUT, is a conflict (`expectedVersion`)", false, func(s *matrixServer) string {
		seen := s.Patient(s.number)["version"]
		s.once(func(http.ResponseWriter, *http.Request) bool { s.neighbour(OldPhone, "010-7777-7777"); return false })
		answer := s.write(Object{"phone": NewPhone, "expectedVersion": seen})
		return yes(answer["__typename"] == "UpdateConflict" && strings.Contains(s.stored(), "010-7777-7777"))
	}},
	{"", "another client's change before our read is a conflict (`expectedVersion`)", false, func(s *matrixServer) string {
		seen := s.Patient(s.number)["version"]
		s.neighbour(OldPhone, "010-7777-7777")
		return yes(s.write(Object{"phone": NewPhone, "expectedVersion": seen})["__typename"] == "UpdateConflict")
	}},
	{"8", "a retry with its key writes once", false, func(s *matrixServer) string {
		first := s.write(Object{"phone": NewPhone, "idempotencyKey": "once"})
		s.reached.Store(0)
		again := s.write(Object{"phone": NewPhone, "idempotencyKey": "once"})
		return yes(first["__typename"] == "UpdatePatientContactSuccess" && first["operationId"] == again["operationId"] && s.reached.Load() == 0)
	}},
	{"", "a patient that is gone is not created again", false, func(s *matrixServer) string {
		s.remove()
		answer := s.write(Object{"phone": NewPhone})
		status, _ := s.ask(http.MethodGet, "")
		return yes(answer["code"] == "FHIR_PATIENT_GONE" && status != http.StatusOK)
	}},
	{"", "requests of a write", false, func(s *matrixServer) string {
		s.reached.Store(0)
		if failed := s.writePhone(NewPhone); failed != "" {
			return failed
		}
		return fmt.Sprint(s.reached.Load())
	}},
	{"", "clearing", false, func(s *matrixServer) string {
		return s.stores(Object{"email": nil, "idempotencyKey": "clear"})
	}},
	{"", "a phone that is none", false, func(s *matrixServer) string {
		switch failed := s.writePhone("invalid-phone"); failed {
		case "":
			return "stored"
		case "FHIR_REJECTED":
			return "refused"
		default:
			return failed
		}
	}},
	{"", "an address as text alone", false, func(s *matrixServer) string {
		return s.stores(Object{"address": Object{"text": "2 Main St, Busan"}})
	}},
	{"", "another district, country or second line", false, func(s *matrixServer) string {
		return s.stores(Object{"address": Object{"lines": []string{"1 Main St", "Apt 4"}, "city": "Seoul", "district": "Jung-gu", "postalCode": "04524", "country": "US"}})
	}},
	{"", "a patient without gender", true, func(s *matrixServer) string {
		return s.stores(Object{"phone": NewPhone})
	}},
}

// column tries every feature on a kind; a real server is not asked for all at once.
func column(t *testing.T, atOnce bool, start func(t *testing.T, gender bool) *matrixServer) (cells []string) {
	t.Helper()
	cells = make([]string, len(features))
	t.Run("features", func(t *testing.T) {
		for i, feature := range features {
			t.Run(feature.name, func(t *testing.T) {
				if atOnce {
					t.Parallel()
				}
				cells[i] = feature.try(start(t, !feature.noGender))
			})
		}
	})
	return cells
}

const (
	matrixFile  = "../docs/fhir-servers.md"
	matrixBegin = "<!-- the matrix: written by go test ./e2e -run TestSupportMatrix -update -->\n"
	matrixEnd   = "<!-- end of the matrix -->\n"
)

// TestSupportMatrix: the docs say of each kind of server what the tests show.
func TestSupportMatrix(t *testing.T) {
	names, habits := kinds()
	columns := make([][]string, len(names))
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			columns[i] = column(t, true, func(t *testing.T, gender bool) *matrixServer { return simulated(t, habits[name], gender) })
		})
	}
	var table bytes.Buffer
	fmt.Fprintf(&table, "| promise | | %s |\n|---|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for row, feature := range features {
		fmt.Fprintf(&table, "| %s | %s |", feature.promise, feature.name)
		for i := range names {
			fmt.Fprintf(&table, " %s |", columns[i][row])
		}
		table.WriteByte('\n')
	}
	before, written, after := matrixInDocs(t)
	if written == table.String() {
		return
	}
	if !*updateMatrix {
		t.Fatalf("%s does not say what the tests show:\n%s", matrixFile, table.String())
	}
	if err := os.WriteFile(matrixFile, []byte(before+table.String()+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func matrixInDocs(t *testing.T) (before, table, after string) {
	t.Helper()
	content, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	docs := string(content)
	begin, end := strings.Index(docs, matrixBegin)+len(matrixBegin), strings.Index(docs, matrixEnd)
	if begin < len(matrixBegin) || end < begin {
		t.Fatalf("%s has no place for the matrix", matrixFile)
	}
	return docs[:begin], docs[begin:end], docs[end:]
}

// TestSupportMatrixOfHAPI: a real HAPI is what the matrix says of it.
func TestSupportMatrixOfHAPI(t *testing.T) {
	hapi := HAPI(t)
	cells := column(t, false, func(t *testing.T, gender bool) *matrixServer { return real(t, hapi, gender) })
	_, table, _ := matrixInDocs(t)
	lines := strings.Split(table, "\n")
	for row, feature := range features {
		if told := strings.Split(lines[row+2], " | "); told[2] != cells[row] {
			t.Errorf("%s: %s, the matrix says %s", feature.name, cells[row], told[2])
		}
	}
}
