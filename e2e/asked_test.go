package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/oauthserver"
)

// TestWhatAWriteAsks: a GET and a PUT, and where the answer to the PUT leaves a doubt
// one GET more, or two if the server keeps versions: which one was ours? A token that
// is good costs no request.
func TestWhatAWriteAsks(t *testing.T) {
	t.Parallel()
	certain := []string{"GET", "PUT"}
	html := fhirsim.Fault{On: http.MethodPut, Apply: true, Status: http.StatusOK, ContentType: "text/html", Body: "Query Error"}
	type server struct {
		name   string
		habits fhirsim.Habits
	}
	servers := []server{{"HAPI", fhirsim.HAPI()}, {"Medplum", fhirsim.Medplum()}}
	for _, version := range fhirsim.OpenEMRVersions {
		servers = append(servers, server{"OpenEMR " + version, fhirsim.OpenEMR(version)})
	}
	for _, c := range servers {
		for _, logsIn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, logs in: %v", c.name, logsIn), func(t *testing.T) {
				t.Parallel()
				sim, auth := fhirsim.New(fhirsim.Options{Habits: c.habits}), oauthserver.Start(t, oauthserver.Options{})
				id, number, settings := "a1", Number, []string(nil)
				if c.habits.OpenEMR {
					id, number, settings = openEMRID, openEMRNumber, []string{"PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem}
					sim.Clinic().Put(id, openEMRRow())
				} else if err := sim.Put([]byte(PatientJSON(id, number))); err != nil {
					t.Fatal(err)
				}
				var handler http.Handler = sim
				if logsIn {
					handler = auth.Guard(sim)
					settings = append(settings, "FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID="+oauthserver.Basic, "FHIR_CLIENT_SECRET="+oauthserver.Secret)
				}
				doubtful := []string{"GET", "PUT", "GET"}
				if c.habits.Versions {
					doubtful = append(doubtful, "GET _history")
				}
				front := httptest.NewServer(handler)
				t.Cleanup(front.Close)
				databaseURL := dbtest.SQLite(t)
				stored, _, _ := sim.Get(id)
				if out, err := Import(t, databaseURL, string(stored), settings...); err != nil {
					t.Fatalf("import: %v\n%s", err, out)
				}
				p := StartWith(t, front.URL+"/fhir", databaseURL, settings...)

				write := func(phone string) (requests []string) {
					t.Helper()
					before := len(sim.Requests())
					Want(t, p.Update(Object{"patientId": number, "phone": phone}), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": phone})
					for _, r := range sim.Requests()[before:] {
						asked := r.Method
						if strings.Contains(r.Path, "/_history") {
							asked += " _history"
						}
						requests = append(requests, asked)
					}
					return requests
				}
				write("010-1234-0000") // what has to be asked once is known then
				tokens := len(auth.Asked())
				if logsIn != (tokens == 1) {
					t.Errorf("%d tokens were asked for", tokens)
				}
				for n := range 3 {
					if got := write(fmt.Sprintf("010-1234-000%d", n+1)); !slices.Equal(got, certain) {
						t.Errorf("a write asked %v, want %v", got, certain)
					}
				}
				sim.SetFault("", html)
				if got := write("010-1234-0009"); !slices.Equal(got, doubtful) {
					t.Errorf("a write in doubt asked %v, want %v", got, doubtful)
				}
				if n := len(auth.Asked()); n != tokens {
					t.Errorf("%d more tokens were asked for", n-tokens)
				}
			})
		}
	}
}
