package e2e_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// recorded reads an answer of a FHIR server from testdata/answers.
func recorded(t *testing.T, name string) (status int, header http.Header, body string) {
	t.Helper()
	file, err := os.Open("testdata/answers/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	response, err := http.ReadResponse(bufio.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// answers is a fault: requests are answered as recorded.
func answers(t *testing.T, on, name string, times int) fhirsim.Fault {
	t.Helper()
	status, header, body := recorded(t, name)
	return fhirsim.Fault{On: on, Times: times, Status: status, Header: header, Body: body}
}

// startWithOne starts the product with one patient, and returns its number.
func startWithOne(t *testing.T, databaseURL, patient string, habits fhirsim.Habits, settings ...string) (s *System, number string) {
	t.Helper()
	server, base := StartFHIR(t, fhirsim.Options{Habits: habits}, patient)
	MustImport(t, databaseURL, patient)
	s = &System{Product: StartWith(t, base, databaseURL, settings...), FHIR: server}
	return s, onlyNumber(s.Product)
}

func onlyNumber(p *Product) string {
	p.T.Helper()
	page, _ := p.Query(`{ patients(first: 1) { nodes { id } } }`, nil)["patients"].(map[string]any)
	return page["nodes"].([]any)[0].(map[string]any)["id"].(string)
}

// inItsOwnWords is a server that stores what stands in an answer, whatever a PUT holds.
func inItsOwnWords(body string) fhirsim.Fault {
	return fhirsim.Fault{On: http.MethodPut, Store: func(_, _ []byte) []byte { return []byte(body) }}
}

// TestStoredInAnotherForm: it is a success with what is stored; asked as it is stored,
// it is no change.
func TestStoredInAnotherForm(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, _, shown := recorded(t, "own-words.http")
		before, err := sjson.Delete(shown, "telecom")
		if err != nil {
			t.Fatal(err)
		}
		s, number := startWithOne(t, databaseURL, before, fhirsim.HAPI(), "PHONE_REGION=US")
		s.FHIR.SetFault("", inItsOwnWords(shown))
		stored := Object{"phone": "(415) 555-0171", "email": "carmen.ruiz@mail.example", "address.lines": []string{"260 Guerrero St"}}
		input := Object{
			"patientId": number, "phone": "+1 415-555-0171", "email": "Carmen.Ruiz@Mail.example",
			"address":        Object{"lines": []string{"260  Guerrero St."}, "city": "San Francisco", "postalCode": "94103"},
			"idempotencyKey": "k",
		}
		for range 2 { // the same key is told the same
			answer := s.Update(input)
			Want(t, answer, Object{
				"__typename": "UpdatePatientContactSuccess", "normalized": []string{"phone", "email", "address"},
				"patient.phone": stored["phone"], "patient.email": stored["email"], "patient.address.lines": stored["address.lines"],
			})
			Want(t, s.ContactUpdate(answer["operationId"]), Object{"state": "APPLIED", "result.normalized": []string{"phone", "email", "address"}})
		}
		Want(t, s.Patient(number), stored)
		if n := s.Puts(); n != 1 {
			t.Errorf("%d PUTs, want 1", n)
		}
		Want(t, s.Update(Object{"patientId": number, "phone": stored["phone"], "email": stored["email"]}), Object{
			"__typename": "UpdatePatientContactSuccess", "normalized": []string{},
		})
		if n := s.Puts(); n != 1 {
			t.Errorf("what is stored already made %d PUTs", n-1)
		}
		// Another spelling is a change; the server's own form of it is what was there.
		Want(t, s.Update(Object{"patientId": number, "phone": "415.555.0171"}), Object{
			"__typename": "UpdatePatientContactSuccess", "normalized": []string{"phone"}, "patient.phone": stored["phone"],
		})
		if n := s.Puts(); n != 2 {
			t.Errorf("another spelling made %d PUTs, want 1", n-1)
		}
	})
}

// TestAnotherSpellingIsKept by a server that keeps what it is given.
func TestAnotherSpellingIsKept(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for _, phone := range []string{"01011112222", "010 1111 2222", OldPhone} {
		Want(t, s.Update(Object{"patientId": Number, "phone": phone}), Object{
			"__typename": "UpdatePatientContactSuccess", "patient.phone": phone, "normalized": []string{},
		})
	}
	if n := s.Puts(); n != 3 {
		t.Errorf("%d PUTs, want 3", n)
	}
	Want(t, s.Update(Object{"patientId": LocalNumber, "phone": "010 1"}), Object{"normalized": []string{}})
}

// TestAnotherValueIsNotApplied: the field that differs is named, the other reaches the
// cache.
func TestAnotherValueIsNotApplied(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, _, shown := recorded(t, "another-value.http")
		before := strings.NewReplacer("415555017", "415-555-0100", "hector@mail.example", "old@mail.example").Replace(shown)
		s, number := startWithOne(t, databaseURL, before, fhirsim.HAPI())
		s.FHIR.SetFault("", inItsOwnWords(shown))
		answer := s.Update(Object{"patientId": number, "phone": "415-555-0177", "email": "Hector@mail.example"})
		Want(t, answer, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"})
		issues := answer["issues"].([]any)
		if len(issues) != 1 {
			t.Fatalf("issues %v", issues)
		}
		Want(t, issues[0].(map[string]any), Object{"field": []string{"phone"}})
		Want(t, s.Patient(number), Object{"phone": "415555017", "email": "hector@mail.example", "syncState": "SYNCED"})
	})
}

// TestBusy: what names no value is tried again within bounds, and told as what may
// succeed later; under a key too.
func TestBusy(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		s.FHIR.SetFault("a1", answers(t, http.MethodPut, "busy.http", 2))
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": NewPhone})
		if n := s.Puts(); n != 3 {
			t.Errorf("%d PUTs, want 3", n)
		}
		check := s.Untouched()
		s.FHIR.SetFault("a1", answers(t, http.MethodPut, "busy.http", 0))
		input := Object{"patientId": Number, "phone": OldPhone, "idempotencyKey": "k"}
		answer := s.Update(input)
		Want(t, answer, Object{
			"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "retryable": true,
			"detail": "deadlock detected; the transaction was rolled back",
		})
		Want(t, s.ContactUpdate(answer["operationId"]), Object{"state": "NOT_APPLIED"})
		if n := s.Puts(); n != 6 {
			t.Errorf("%d PUTs, want 3 more", n-3)
		}
		for _, r := range s.FHIR.Requests() {
			if r.Method == http.MethodPut && r.IfMatch == "" {
				t.Error("a PUT without If-Match")
			}
		}
		check()
		s.FHIR.ClearFaults()
		Want(t, s.Update(input), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": OldPhone})
	})
}

// TestRefusedWithPreconditionFailed: a value is named, so it is sent once.
func TestRefusedWithPreconditionFailed(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		check := s.Untouched()
		s.FHIR.SetFault("a1", answers(t, http.MethodPut, "refused.http", 0))
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{
			"__typename": "FhirRejected", "code": "FHIR_REJECTED", "message": "a pager number is not accepted here",
			"httpStatus": http.StatusPreconditionFailed, "retryable": false,
		})
		if n := s.Puts(); n != 1 {
			t.Errorf("%d PUTs, want 1", n)
		}
		check()
	})
}

// TestForbiddenHere: one patient is refused, be it to write or to read; others are
// not.
func TestForbiddenHere(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		if err := s.FHIR.Put([]byte(PatientJSON("b2", "P-2025-000009"))); err != nil {
			t.Fatal(err)
		}
		check := s.Untouched()
		for on, message := range map[string]string{http.MethodPut: "record is sealed by court order", http.MethodGet: "the FHIR server does not show us this patient"} {
			s.FHIR.ClearFaults()
			s.FHIR.SetFault("a1", answers(t, on, "forbidden.http", 0))
			answer := s.Update(Object{"patientId": Number, "phone": NewPhone})
			Want(t, answer, Object{
				"__typename": "FhirRejected", "code": "FHIR_FORBIDDEN", "message": message, "httpStatus": http.StatusForbidden, "retryable": false,
			})
			Want(t, s.ContactUpdate(answer["operationId"]), Object{"state": "REJECTED", "result.code": "FHIR_FORBIDDEN"})
			s.WantLog(`"level":"WARN","msg":"FHIR server refuses access, check what we may write if it meets others too for patient ` + Number + `: ` + message)
		}
		if n := s.Puts(); n != 1 {
			t.Errorf("%d PUTs, want 1", n)
		}
		check()
		if strings.Contains(s.Log.String(), "credentials were refused") {
			t.Error("the log blames our credentials")
		}
	})
}

// TestForbiddenEverywhere: a 403 that meets every patient is ours, as is one that
// speaks of the token.
func TestForbiddenEverywhere(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		check := s.Untouched()
		everywhere := func(on string) { s.FHIR.SetFault("", answers(t, on, "forbidden.http", 0)) }
		token := answers(t, http.MethodPut, "forbidden.http", 0)
		token.Header.Set("WWW-Authenticate", `Bearer realm="fhir", error="insufficient_scope"`)
		for name, set := range map[string]func(){
			"reads, searches and writes": func() { everywhere(http.MethodGet); everywhere(http.MethodPut); everywhere(fhirsim.OnSearch) },
			"searches show nobody": func() {
				everywhere(http.MethodGet)
				s.FHIR.SetFault("", fhirsim.Fault{On: fhirsim.OnSearch, Status: 200, Body: `{"resourceType":"Bundle","type":"searchset","total":0}`, ContentType: "application/fhir+json"})
			},
			"the token": func() { s.FHIR.SetFault("", token) },
		} {
			s.FHIR.ClearFaults()
			set()
			Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{
				"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false,
			})
			if t.Failed() {
				t.Fatal(name)
			}
		}
		s.WantLog(`"level":"ERROR","msg":"FHIR server error for patient ` + Number + `: our credentials were refused`)
		// That it could not be found out is neither.
		s.FHIR.ClearFaults()
		everywhere(http.MethodGet)
		s.FHIR.SetFault("", fhirsim.Fault{On: fhirsim.OnSearch, Status: http.StatusBadGateway})
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{
			"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "retryable": true,
		})
		s.FHIR.ClearFaults()
		check()
	})
}

// TestVersionToldByTheBody: where there is no ETag, meta.versionId guards the PUT.
func TestVersionToldByTheBody(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, _, patient := recorded(t, "version-in-body.http")
		habits := fhirsim.HAPI()
		habits.NoETag = true
		server := fhirsim.New(fhirsim.Options{Habits: habits})
		if err := server.Put([]byte(patient)); err != nil {
			t.Fatal(err)
		}
		var rival atomic.Bool
		between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && !rival.Swap(true) {
				now, _, _ := server.Get("ferrara-12")
				photo, err := sjson.SetRaw(string(now), "photo", `[{"contentType":"image/png","data":"AAAA"}]`)
				if err == nil {
					err = server.Put([]byte(photo))
				}
				if err != nil {
					t.Error(err)
				}
			}
			server.ServeHTTP(w, r)
		}))
		t.Cleanup(between.Close)
		MustImport(t, databaseURL, strings.ReplaceAll(patient, "\n", ""))
		s := &System{Product: StartWith(t, between.URL+"/fhir", databaseURL), FHIR: server}
		Want(t, s.Update(Object{"patientId": onlyNumber(s.Product), "email": "elio@nuova.example"}), Object{
			"__typename": "UpdatePatientContactSuccess", "patient.email": "elio@nuova.example", "patient.syncState": "SYNCED",
		})
		stored, _, _ := server.Get("ferrara-12")
		if gjson.GetBytes(stored, "photo.0.data").Str != "AAAA" || gjson.GetBytes(stored, "telecom.0.value").Str != "elio@nuova.example" {
			t.Errorf("the FHIR server has %s", stored)
		}
		var sent []string
		for _, r := range server.Requests() {
			if r.Method == http.MethodPut {
				sent = append(sent, r.IfMatch)
			}
		}
		if got := strings.Join(sent, " "); got != `W/"1" W/"2"` {
			t.Errorf("If-Match was %s", got)
		}
	})
}

// TestHistoryWithGaps: the answer to the PUT is lost, and somebody else writes the old
// value back at once, on a server whose version numbers have gaps.
func TestHistoryWithGaps(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		history, err := os.ReadFile("testdata/answers/history-with-gaps.json")
		if err != nil {
			t.Fatal(err)
		}
		entry := func(n string) string { return gjson.GetBytes(history, "entry."+n+".resource|@ugly").Raw }
		var puts atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/fhir+json")
			body, version := entry("2"), "4963"
			if puts.Load() > 0 {
				body, version = entry("0"), "5090"
			}
			switch {
			case r.Method == http.MethodPut && r.Header.Get("If-Match") == `W/"4963"`:
				puts.Add(1)
				panic(http.ErrAbortHandler)
			case r.URL.Path == "/fhir/Patient/nagy-13":
				w.Header().Set("ETag", `W/"`+version+`"`)
				_, _ = io.WriteString(w, body)
			case r.URL.Path == "/fhir/Patient/nagy-13/_history":
				_, _ = io.Copy(w, bytes.NewReader(history))
			default:
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}`)
			}
		}))
		t.Cleanup(server.Close)
		MustImport(t, databaseURL, entry("2"))
		p := StartWith(t, server.URL+"/fhir", databaseURL)
		number := onlyNumber(p)
		answer := p.Update(Object{"patientId": number, "email": "ilona@uj.example"})
		if answer["applied"] == "NO" {
			t.Errorf("told %v", answer)
		}
		Want(t, p.Settled(answer["operationId"]), Object{"state": "APPLIED", "result.__typename": "UpdatePatientContactSuccess"})
		Want(t, p.Patient(number), Object{"email": "ilona@regi.example", "syncState": "SYNCED"})
		if n := puts.Load(); n != 1 {
			t.Errorf("%d PUTs, want 1", n)
		}
	})
}
