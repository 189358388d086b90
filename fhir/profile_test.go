package fhir

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"
)

func TestProfileIsChosenByWhatTheServerSays(t *testing.T) {
	t.Parallel()
	for want, caps := range map[string][]Capabilities{
		"openemr":        {{SoftwareName: "OpenEMR", SoftwareVersion: "7.0.3"}, {SoftwareName: "openemr (clinic)"}},
		"hapi":           {{SoftwareName: "HAPI FHIR Server", Versioning: "versioned-update"}, {SoftwareName: "Smile hapi", Versioning: "no-version"}},
		"medplum":        {{SoftwareName: "Medplum"}, {SoftwareName: "medplum", Versioning: "versioned"}},
		"r4-strict":      {{SoftwareName: "X", Versioning: "versioned-update"}},
		"r4-no-versions": {{SoftwareName: "X", Versioning: "no-version"}},
		"r4":             {{}, {SoftwareName: "X", Versioning: "versioned"}, {Versioning: "odd"}},
	} {
		for _, c := range caps {
			if got := choose(c); got.Name != want || got.Why == "" {
				t.Errorf("%+v: %s, %q, want %s", c, got.Name, got.Why, want)
			}
		}
	}
	if _, err := NewClient(Options{BaseURL: "http://x", Server: "epic"}); err == nil {
		t.Error("a server that nobody knows is taken")
	}
}

// TestServerIsAskedWhatItIsUntilItSays: not knowing is no ground to send an OpenEMR its
// own GET. A server that says nothing of itself is any R4 server.
func TestServerIsAskedWhatItIsUntilItSays(t *testing.T) {
	t.Parallel()
	const patient, page = `{"resourceType":"Patient","id":"a","meta":{"versionId":"1"}}`, `<html>`
	for name, c := range map[string]struct {
		status int
		body   string
		reads  bool   // before it has said what it is
		name   string // of the profile then
		asked  int    // in two reads
	}{
		"down":         {http.StatusServiceUnavailable, "", false, "", 2},
		"our token":    {http.StatusUnauthorized, "", false, "", 4}, // without and with our credentials
		"slow down":    {http.StatusTooManyRequests, "", false, "", 2},
		"none":         {http.StatusNotFound, "", true, "r4", 1},
		"not for us":   {http.StatusForbidden, "", true, "r4", 2},
		"a page":       {http.StatusOK, page, true, "r4", 2},
		"another kind": {http.StatusOK, patient, true, "r4", 2},
		"OpenEMR":      {http.StatusOK, `{"resourceType":"CapabilityStatement","software":{"name":"OpenEMR"}}`, true, "openemr", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/fhir+json")
				if r.URL.Path == "/metadata" {
					asked++
					w.WriteHeader(c.status)
					_, _ = w.Write([]byte(c.body))
					return
				}
				_, _ = w.Write([]byte(patient))
			}))
			t.Cleanup(server.Close)
			client := newTestClient(t, server.URL, func(o *Options) { o.Server = "auto" })
			for range 2 {
				r, err := client.Read(t.Context(), "a")
				if (err == nil) != c.reads {
					t.Fatalf("the read says %v", err)
				}
				if etag := map[bool]string{true: "", false: `W/"1"`}[c.name == "openemr"]; c.reads && r.ETag != etag {
					t.Errorf("ETag %q, want %q", r.ETag, etag)
				}
			}
			if asked != c.asked {
				t.Errorf("asked %d times, want %d", asked, c.asked)
			}
			if chosen, err := client.Profile(t.Context()); (err == nil) != c.reads || err == nil && chosen.Name != c.name {
				t.Errorf("profile %v, %v, want %s", chosen, err, c.name)
			}
		})
	}
}

// TestVersionThatIsMissingWhereThereAlwaysIsOne: something on the way took it away.
func TestVersionThatIsMissingWhereThereAlwaysIsOne(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write([]byte(`{"resourceType":"Patient","id":"a"}`))
	}))
	t.Cleanup(server.Close)
	_, err := newTestClient(t, server.URL, func(o *Options) { o.Server = "hapi" }).Read(t.Context(), "a")
	var e *Error
	if !errors.As(err, &e) || e.Kind != Unusable {
		t.Errorf("HAPI without a version: %v", err)
	}
	if _, err := newTestClient(t, server.URL, func(o *Options) { o.Server = "r4" }).Read(t.Context(), "a"); err != nil {
		t.Errorf("r4 without a version: %v", err)
	}
}

// TestOpenEMREditOfEveryPatient: of 120 patients, at each version, an edit changes its
// own columns and shows what the profile said it would.
func TestOpenEMREditOfEveryPatient(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../e2e/testdata/synthea-patients.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	edit := ContactEdit{
		SetPhone: true, Phone: "555-000-9999", SetEmail: true, Email: "new@example.org",
		SetAddress: true, Address: &Address{Lines: []string{"1 \"Quoted\" Rd \\ 서울"}, City: "Stowe", State: "VT", PostalCode: "05672"},
	}
	for _, version := range fhirsim.OpenEMRVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR(version)})
			base, stop, err := server.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			client := newTestClient(t, base, func(o *Options) { o.Server = "auto" })
			written := 0
			for lines := bufio.NewScanner(bytes.NewReader(file)); lines.Scan(); {
				if err := server.Put(lines.Bytes()); err != nil {
					t.Fatal(err)
				}
				var p struct{ ID string }
				if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
					t.Fatal(err)
				}
				read, err := client.Read(t.Context(), p.ID)
				if err != nil {
					t.Fatal(err)
				}
				before, _ := server.Clinic().Row(p.ID)
				edited, err := openEMR.Edit(read.JSON, edit, time.Now(), "")
				if err != nil {
					t.Fatalf("%s: %v", p.ID, err)
				}
				answer, err := client.Update(t.Context(), p.ID, edited.Body, read.ETag)
				if err != nil {
					t.Fatalf("%s: %v", p.ID, err)
				}
				want, _ := ContactOf(edited.Record, time.Now())
				got, _ := ContactOf(answer.Resource.JSON, time.Now())
				if differing := Differing(got, want, edit.Fields()); len(differing) > 0 {
					t.Errorf("%s: %v differ: %+v, want %+v", p.ID, differing, got, want)
				}
				after, _ := server.Clinic().Row(p.ID)
				maps.DeleteFunc(after, func(column, value string) bool {
					return before[column] == value || slices.Contains([]string{"street", "city", "state", "postal_code", "date", "last_updated"}, column)
				})
				for column, value := range after {
					if value != edit.Phone && value != edit.Email || !strings.HasPrefix(column, "phone_") && !strings.HasPrefix(column, "email") {
						t.Errorf("%s: %s changed", p.ID, column)
					}
				}
				written++
			}
			if written != 120 {
				t.Errorf("%d patients were written", written)
			}
		})
	}
}

// TestOpenEMREditOfOddPatients: what is no patient that OpenEMR shows is refused or
// left alone, and what is sent is always one that it takes.
func TestOpenEMREditOfOddPatients(t *testing.T) {
	t.Parallel()
	const known = `"gender":"female","birthDate":"1990-01-01"`
	for _, tt := range []struct {
		body string
		edit ContactEdit
		put  string // "": it cannot be applied; "same": nothing changes
	}{
		{`{"resourceType":"Patient",` + known + `,"telecom":[{"system":"phone","value":"1"}]}`, ContactEdit{SetPhone: true, Phone: "2"}, ""},
		{`{"resourceType":"Patient",` + known + `,"telecom":[{"system":"phone","use":"old","value":"1"}]}`, ContactEdit{SetPhone: true, Phone: "2"},
			`{"resourceType":"Patient","gender":"Female","birthDate":"1990-01-01","telecom":[{"system":"phone","use":"mobile","value":"2"}]}`},
		{`{"resourceType":"Patient",` + known + `,"telecom":[{"system":"phone","use":"home","value":"1"}]}`, ContactEdit{SetPhone: true, Phone: "1"}, "same"},
		{`{"resourceType":"Patient","telecom":[{"system":"phone","use":"home","value":"1"}]}`, ContactEdit{SetPhone: true, Phone: "1"}, "same"},
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetPhone: true, SetEmail: true, SetAddress: true}, "same"},
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetPhone: true, Phone: strings.Repeat("1", 256)}, ""},
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetEmail: true, Email: "\"'<&>\\@서울"},
			`{"resourceType":"Patient","gender":"Female","birthDate":"1990-01-01","telecom":[{"system":"email","use":"home","value":"\"'\u003c\u0026\u003e\\@서울"}]}`},
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetPhone: true, Phone: "0"}, ""}, // PHP's empty()
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetPhone: true, Phone: "00"},
			`{"resourceType":"Patient","gender":"Female","birthDate":"1990-01-01","telecom":[{"system":"phone","use":"mobile","value":"00"}]}`},
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetPhone: true, Phone: "MM/DD/YYYY"}, ""},
		{`{"resourceType":"Patient",` + known + `}`, ContactEdit{SetAddress: true, Address: &Address{Lines: []string{"1 Elm St"}, City: "Barre", State: "VT", PostalCode: "0"}}, ""},
		{`{"resourceType":"Patient",` + known + `,"address":[{"use":"home","type":"physical","line":["23 New St"],"city":"Barre"}]}`,
			ContactEdit{SetAddress: true, Address: &Address{Lines: []string{"1 Elm St"}, City: "Barre", State: "VT", PostalCode: "05641"}}, ""},
		{`{"resourceType":"Patient",` + known + `,"address":[{"use":"home","type":"physical","line":["23 New St"],"city":"Barre"}]}`, ContactEdit{SetAddress: true}, ""},
		{`{"resourceType":"Patient","gender":"FEMALE","birthDate":"1990-01-01"}`, ContactEdit{SetPhone: true, Phone: "1"}, ""},
		{`{"resourceType":"Patient","gender":["male"],"birthDate":"1990-01-01"}`, ContactEdit{SetPhone: true, Phone: "1"}, ""},
		{`{"resourceType":"Patient","gender":"male","birthDate":"1990-02-30"}`, ContactEdit{SetPhone: true, Phone: "1"}, ""},
		{`{"resourceType":"Patient","gender":"male","birthDate":19900101}`, ContactEdit{SetPhone: true, Phone: "1"}, ""},
		{`{"resourceType":"Patient","gender":"male","birthDate":"1990-01-01T00:00:00Z"}`, ContactEdit{SetPhone: true, Phone: "1"}, ""},
	} {
		edited, err := openEMR.Edit([]byte(tt.body), tt.edit, testNow, "")
		var e *Error
		switch {
		case tt.put == "":
			if !errors.As(err, &e) || e.Kind != CannotApply || len(e.Issues) == 0 || e.Reason != e.Issues[0].Message {
				t.Errorf("%s: %v, want that it cannot be applied", tt.body, err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.body, err)
		case tt.put == "same":
			if string(edited.Record) != tt.body || edited.Body != nil {
				t.Errorf("%s: changed to %s by %s", tt.body, edited.Record, edited.Body)
			}
		case string(edited.Body) != tt.put:
			t.Errorf("%s: sends\n%s, want\n%s", tt.body, edited.Body, tt.put)
		}
	}
	if _, err := openEMR.Edit([]byte(`{"resourceType":"Patient","resourceType":"Patient"}`), ContactEdit{SetPhone: true}, testNow, ""); err == nil {
		t.Error("an ambiguous patient is edited")
	}
}

// TestPeriodStartOfOpenEMRIsNoContent: nothing else of the body is touched.
func TestPeriodStartOfOpenEMRIsNoContent(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"a":1.50,"address":[{"city":"B","period":{"start":"2026-01-01"}}],"z":[ ]}`:     `{"a":1.50,"address":[{"city":"B"}],"z":[ ]}`,
		`{"address":[{"period":{"start":"2026","end":"2027"},"city":"B"},{"city":"C"}]}`:  `{"address":[{"period":{"end":"2027"},"city":"B"},{"city":"C"}]}`,
		`{"address":[ null , 7,{"period":[]} ]}`:                                          `{"address":[ null , 7,{"period":[]} ]}`,
		`{"address":{"period":{"start":"2026"}},"contact":[{"period":{"start":"2026"}}]}`: `{"address":{"period":{"start":"2026"}},"contact":[{"period":{"start":"2026"}}]}`,
	} {
		if got := string(withoutPeriodStart([]byte(body))); got != want {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
}

// TestAProfileThatTheServerContradictsIsNotUsed: what replaces the record by what it is
// sent would lose all that an OpenEMR is not sent, and an OpenEMR fails over the rest.
// So FHIR_SERVER is not believed blindly. It decides at once that a record is sent
// whole, and until it is put right nothing is.
func TestAProfileThatTheServerContradictsIsNotUsed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		set, software string
		refused       bool
	}{
		{"openemr", "HAPI FHIR Server", true}, {"openemr", "Some EMR", true}, {"openemr", "OpenEMR", false}, {"openemr", "", false},
		{"hapi", "OpenEMR", true}, {"r4", "OpenEMR (clinic)", true}, {"hapi", "Some EMR", false}, {"r4", "HAPI FHIR Server", false}, {"r4", "", false},
	} {
		var software atomic.Pointer[string]
		software.Store(&tt.software)
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			w.Header().Set("Content-Type", "application/fhir+json")
			fmt.Fprintf(w, `{"resourceType":"CapabilityStatement","software":{"name":%q}}`, *software.Load())
		}))
		defer server.Close()
		client := newTestClient(t, server.URL, func(o *Options) { o.Server = tt.set })
		if tt.set != "openemr" { // a start looks at the server
			if _, err := client.Profile(t.Context()); err != nil || asked.Load() != 0 {
				t.Errorf("%+v: %v, asked %d times", tt, err, asked.Load())
			}
			if _, err := client.Capabilities(t.Context()); err != nil {
				t.Fatal(err)
			}
			asked.Store(0)
		}
		for range 2 {
			chosen, err := client.Profile(t.Context())
			var e *Error
			switch {
			case tt.refused && (!errors.As(err, &e) || e.Kind != NotSent || e.Cause != OtherServer || !strings.Contains(e.Reason, tt.software) || !strings.Contains(e.Reason, tt.set)):
				t.Errorf("%+v is written to: %v, %v", tt, chosen, err)
			case !tt.refused && (err != nil || chosen.Name != tt.set):
				t.Errorf("%+v: %v, %v", tt, chosen, err)
			}
		}
		want := int64(0) // a record is sent whole without asking
		switch {
		case tt.refused:
			want = 2
		case tt.set == "openemr":
			want = 1
		}
		if asked.Load() != want {
			t.Errorf("%+v was asked %d times, want %d", tt, asked.Load(), want)
		}
		right := map[bool]string{true: "OpenEMR", false: "HAPI FHIR Server"}[tt.set == "openemr"]
		software.Store(&right)
		if chosen, err := client.Profile(t.Context()); err != nil || chosen.Name != tt.set {
			t.Errorf("%+v, put right: %v, %v", tt, chosen, err)
		}
	}
}

// TestAPatientThatContradictsTheProfileIsNotWritten: what a server says of itself may be
// hidden or wrong for a moment; a record of the other kind shows it.
func TestAPatientThatContradictsTheProfileIsNotWritten(t *testing.T) {
	t.Parallel()
	const (
		versioned = `{"resourceType":"Patient","id":"a","meta":{"versionId":"7"},"birthDate":"1980-01-01"}`
		first     = `{"resourceType":"Patient","id":"a","meta":{"versionId":"1"},"birthDate":"1980-01-01"}`
		numbered  = `{"resourceType":"Patient","id":"a","meta":{"versionId":"1"},"identifier":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","value":"31"}]}`
	)
	for _, c := range []struct {
		server, metadata, base, patient, etag string
		reads                                 bool
	}{
		{"openemr", "", "/fhir", versioned, `W/"7"`, false},
		{"openemr", "", "/fhir", first, "", false}, // nothing says that it is one
		{"openemr", "", "/fhir", numbered, "", true},
		{"openemr", "", "/apis/default/fhir", first, "", true},
		{"openemr", `{"resourceType":"CapabilityStatement"}`, "/fhir", versioned, "", false},
		{"openemr", `{"resourceType":"CapabilityStatement","software":{"name":"OpenEMR"}}`, "/fhir", first, "", true},
		{"openemr", `{"resourceType":"CapabilityStatement","software":{"name":"OpenEMR"}}`, "/fhir", first, `W/"1"`, false},
		{"auto", "", "/fhir", numbered, "", false},
		{"auto", "<html>", "/apis/default/fhir", first, "", false},
		{"auto", `{"resourceType":"CapabilityStatement"}`, "/emr/apis/clinic/fhir", first, "", false},
		{"auto", `{"resourceType":"CapabilityStatement","software":{"name":"Gateway to OpenEMR and HAPI"}}`, "/fhir", versioned, "", false},
		{"auto", "", "/fhir", first, "", true},
		{"r4", "", "/apis/default/fhir", first, "", false},
		{"hapi", "", "/apis/default/fhir", first, `W/"1"`, true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/fhir+json")
			switch {
			case !strings.HasSuffix(r.URL.Path, "/metadata"):
				if c.etag != "" {
					w.Header().Set("ETag", c.etag)
				}
				fmt.Fprint(w, c.patient)
			case c.metadata == "":
				w.WriteHeader(http.StatusNotFound)
			default:
				fmt.Fprint(w, c.metadata)
			}
		}))
		defer server.Close()
		client, err := NewClient(Options{BaseURL: server.URL + c.base, Server: c.server})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Read(t.Context(), "a")
		var e *Error
		if c.reads != (err == nil) || err != nil && (!errors.As(err, &e) || e.Kind != NotSent || !strings.Contains(e.Reason, "FHIR_SERVER")) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestAnOpenEMRThatHidItselfIsKnownLater: one bad answer to /metadata decides nothing.
func TestAnOpenEMRThatHidItselfIsKnownLater(t *testing.T) {
	t.Parallel()
	server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR("7.0.3")})
	const id = "95f0a7e2-aaaa-4b11-8c22-000000000031"
	server.Clinic().Put(id, fhirsim.Columns{"fname": "Paul", "lname": "Moreau", "sex": "Male", "DOB": "1970-12-12", "pubpid": "31"})
	var hidden atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hidden.Load() && strings.HasSuffix(r.URL.Path, "/metadata") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		server.ServeHTTP(w, r)
	}))
	defer front.Close()
	client, err := NewClient(Options{BaseURL: front.URL + "/fhir", Server: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	hidden.Store(true)
	if _, err := client.Read(t.Context(), id); err == nil {
		t.Error("it was read as any R4 server")
	}
	hidden.Store(false)
	if _, err := client.Read(t.Context(), id); err != nil {
		t.Error(err)
	}
}
