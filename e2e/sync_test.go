package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// runSync runs the sync command and returns what it printed and logged.
func runSync(fhirURL, databaseURL string, settings ...string) (string, error) {
	return runSyncWith(nil, fhirURL, databaseURL, settings...)
}

func runSyncWith(flags []string, fhirURL, databaseURL string, settings ...string) (string, error) {
	var out, log locked.Buffer
	err := Run(context.Background(), append([]string{"sync"}, flags...), &out, &log,
		append([]string{"FHIR_BASE_URL=" + fhirURL, "DATABASE_URL=" + databaseURL, "PATIENT_ID_SYSTEM=" + fhirsim.DemoIdentifierSystem}, settings...)...)
	return out.String() + log.String(), err
}

// TestSyncReadsEveryPage of servers that cap _count, or know no next link.
func TestSyncReadsEveryPage(t *testing.T) {
	t.Parallel()
	const patients = 210
	for _, habits := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.OpenEMR("7.0.3"), fhirsim.OpenEMR("8.1.1-dev")} {
		t.Run(habits.Name+" "+habits.Software, func(t *testing.T) {
			t.Parallel()
			server := fhirsim.New(fhirsim.Options{Habits: habits})
			for n := range patients {
				id, number := fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n), fmt.Sprintf("P-2025-%06d", n)
				if habits.OpenEMR {
					row := openEMRRow()
					row["pubpid"] = number
					server.Clinic().Put(id, row)
				} else if err := server.Put([]byte(PatientJSON(id, number))); err != nil {
					t.Fatal(err)
				}
			}
			base, stop, err := server.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			databaseURL, system := dbtest.SQLite(t), "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem
			if habits.OpenEMR {
				system = "PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem
			}
			for _, want := range []string{"210 new, 0 updated, 0 as they were", "0 new, 0 updated, 210 as they were"} {
				if out, err := runSync(base, databaseURL, system); err != nil || !strings.Contains(out, want) {
					t.Fatalf("want %q: %v\n%s", want, err, out)
				}
			}
			p := StartWith(t, base, databaseURL, system)
			Want(t, p.Patient("P-2025-000209"), Object{"syncState": "SYNCED"})
		})
	}
}

// TestSyncFollowsNoLinkElsewhere: our credentials go to no host that a page names. With
// FHIR_REWRITE_LINKS the same page is asked of our own base.
func TestSyncFollowsNoLinkElsewhere(t *testing.T) {
	t.Parallel()
	first, err := os.ReadFile("../fhir/testdata/links/page.json")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		switch {
		case r.URL.Path == "/api/fhir/metadata":
			fmt.Fprint(w, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`)
		case r.URL.Path == "/api/fhir/Patient":
			_, _ = w.Write(first)
		case r.URL.String() == "/api/fhir?_getpages=7d1e&_getpagesoffset=2&_count=2":
			fmt.Fprintf(w, `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":%s}]}`, PatientJSON("page-3", Number))
		case r.URL.Path == "/api/fhir/Patient/_history":
			w.WriteHeader(http.StatusNotFound)
		default:
			t.Errorf("%s was asked for", r.URL)
		}
	}))
	t.Cleanup(server.Close)
	databaseURL := dbtest.SQLite(t)

	out, err := runSync(server.URL+"/api/fhir", databaseURL)
	if err == nil || !strings.Contains(err.Error(), "app-node-3:9090") || !strings.Contains(err.Error(), "FHIR_REWRITE_LINKS") || !strings.Contains(out, "2 new") {
		t.Errorf("without FHIR_REWRITE_LINKS: %v\n%s", err, out)
	}
	if out, err := runSync(server.URL+"/api/fhir", databaseURL, "FHIR_REWRITE_LINKS=true"); err != nil || !strings.Contains(out, "1 new, 0 updated, 2 as they were") {
		t.Errorf("with it: %v\n%s", err, out)
	}
}

// TestSyncSkipsABadPatient: whatever is wrong with some, and however many they are, each
// is told by its place, the others are taken, and the exit status says that some were not.
func TestSyncSkipsABadPatient(t *testing.T) {
	t.Parallel()
	const secret = "Aldous"
	bad := []string{
		`{"resourceType":"Patient","id":"x-1","name":[{"family":"` + secret + `","family":"Twice"}]}`,
		"{\"resourceType\":\"Patient\",\"id\":\"x-2\",\"name\":[{\"family\":\"" + secret + "\xff\"}]}",
		`{"resourceType":"Patient","name":[{"family":"` + secret + `"}]}`,
		`{"resourceType":"Patient","id":"x-4","meta":{"tag":[{"code":"SUBSETTED"}]},"name":[{"family":"` + secret + `"}]}`,
		`{"resourceType":"Patient","id":"x-5","name":[{"family":"` + strings.Repeat(secret, 20_000) + `"}]}`, // shows too much
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		last := `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":` + PatientJSON("last", "P-2025-000003") + `}]}`
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/fhir+json")
			page := r.URL.Query().Get("page")
			switch {
			case r.URL.Path == "/fhir/metadata":
				fmt.Fprint(w, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`)
			case page == "6":
				fmt.Fprint(w, last)
			default: // of each kind five on five pages, between good ones on the first
				var entries []string
				if page == "" {
					page = "1"
					entries = append(entries, `{"resource":`+PatientJSON("first", "P-2025-000001")+`}`)
				}
				for _, b := range bad {
					entries = append(entries, `{"resource":`+strings.Replace(b, `"Patient"`, `"Patient","language":"p`+page+`"`, 1)+`}`)
				}
				if page == "1" {
					entries = append(entries, `{"resource":`+PatientJSON("second", "P-2025-000002")+`}`)
				}
				fmt.Fprintf(w, `{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"%s/fhir/Patient?page=%c"}],"entry":[%s]}`,
					server.URL, page[0]+1, strings.Join(entries, ","))
			}
		}))
		t.Cleanup(server.Close)
		out, err := runSync(server.URL+"/fhir", databaseURL)
		if err == nil || !strings.Contains(err.Error(), "sync: 25 patients were not taken") || !strings.Contains(out, "3 new, 0 updated, 0 as they were, 0 gone, 25 bad patients") {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, id := range []string{"x-1", "x-2", "x-4", "x-5", ""} {
			if strings.Count(out, `"fhirId":"`+id+`"`) != 1 {
				t.Errorf("%q is to be named once:\n%s", id, out)
			}
		}
		if strings.Contains(out+err.Error(), secret) {
			t.Errorf("a patient's name is told:\n%s", out)
		}
		p := StartWith(t, server.URL+"/fhir", databaseURL)
		Want(t, p.Patient("P-2025-000003"), Object{"syncState": "SYNCED"})
	})
}

// TestSyncKeepsWhatCameBeforeAnError of a later page.
func TestSyncKeepsWhatCameBeforeAnError(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		switch {
		case r.URL.Path == "/fhir/metadata":
			fmt.Fprint(w, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`)
		case r.URL.Query().Has("page"):
			w.WriteHeader(http.StatusBadGateway)
		default:
			fmt.Fprintf(w, `{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"%s/fhir/Patient?page=2"}],"entry":[{"resource":%s}]}`,
				server.URL, PatientJSON("first", Number))
		}
	}))
	t.Cleanup(server.Close)
	out, err := runSync(server.URL+"/fhir", dbtest.SQLite(t))
	if err == nil || !strings.Contains(err.Error(), "status 502") || !strings.Contains(out, "1 new") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSyncNeedsAServer, and tells why it has none.
func TestSyncNeedsAServer(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{"": "FHIR_BASE_URL", "http://127.0.0.1:1/fhir": "Connection refused", "nonsense": "FHIR_BASE_URL"} {
		if out, err := runSync(base, dbtest.SQLite(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\n%s", base, err, out)
		}
	}
}
