package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestDemo starts the product with nothing set and runs what it prints.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	printed := regexp.MustCompile(`Token\s+(\S+)`).FindStringSubmatch(p.stdout.String())
	if printed == nil {
		t.Fatalf("no token is printed:\n%s", p.stdout)
	}
	bearer := printed[1]
	for id, expected := range map[string]object{
		"P-2025-000001": {"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"},
		"P-2025-000002": {"__typename": "UpdatePatientContactSuccess", "patient.syncState": "LOCAL_ONLY"},
		"P-2025-000003": {"__typename": "FhirRejected", "message": "Invalid phone format"},
		"P-2025-000004": {"__typename": "FhirUnavailable", "applied": "UNKNOWN", "detail": "Connection timeout"},
		"P-2025-000005": {"__typename": "UpdateConflict"},
	} {
		want(t, p.updateContact(bearer, object{"patientId": id, "phone": "010-2345-6789"}), expected)
	}
	want(t, p.query(bearer, `{ patient(id: "P-2025-000004") { syncState } patients(filter: {name: "길동"}) { totalCount } __schema { queryType { name } } }`, nil),
		object{"patient.syncState": "PENDING", "patients.totalCount": 1, "__schema.queryType.name": "Query"})
	request, err := http.NewRequest(http.MethodGet, p.url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "attacker.example"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a page of another name gets the token: status %d", response.StatusCode)
	}
	for path, text := range map[string]string{"/": "PatientGraph", "/healthz": "ok", "/readyz": `{"database":"ok"}`, "/readyz?verbose": `"fhir":"ok"`} {
		if status, body := get(t, p.url+path); status != http.StatusOK || !strings.Contains(body, text) {
			t.Errorf("%s: status %d, %.200s", path, status, body)
		}
	}
}

func TestReadyzSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	p := startWith(t, "http://127.0.0.1:1/fhir", "sqlite::memory:")
	// Reads go on without the FHIR server.
	for path, answer := range map[string]string{"/readyz": `{"database":"ok"}`, "/readyz?verbose": `{"database":"ok","fhir":"unavailable"}`} {
		if status, body := get(t, p.url+path); status != http.StatusOK || strings.TrimSpace(body) != answer {
			t.Errorf("%s: status %d, %s", path, status, body)
		}
	}
	if status, _ := get(t, p.url+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz: status %d", status)
	}
	if status, _ := get(t, p.url+"/"); status != http.StatusNotFound {
		t.Errorf("the playground answers %d outside the demo", status)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
