package apptest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// HAPIServer is a real HAPI FHIR server, asked around the product. It holds the
// patients of e2e/testdata/synthea-patients.ndjson.
type HAPIServer struct{ URL string } // FHIR's base

// HAPI returns the server of TEST_FHIR_URL; without the variable the test is skipped.
func HAPI(t testing.TB) *HAPIServer {
	t.Helper()
	base := os.Getenv("TEST_FHIR_URL")
	if base == "" {
		t.Skip("TEST_FHIR_URL is not set: no HAPI FHIR server to test against")
	}
	return &HAPIServer{base}
}

// Do sends a request about a path below Patient and returns the answer, good or bad.
func (h *HAPIServer) Do(method, path, body, ifMatch string) (status int, answer []byte, err error) {
	request, err := http.NewRequest(method, h.URL+"/Patient/"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/fhir+json")
	request.Header.Set("Cache-Control", "no-cache")
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// Get returns what is at a path below Patient.
func (h *HAPIServer) Get(path string) ([]byte, error) {
	status, answer, err := h.Do(http.MethodGet, path, "", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("HAPI answers %d: %s", status, answer)
	}
	return answer, err
}

// Put stores a patient under its id.
func (h *HAPIServer) Put(resource string) error {
	var patient struct{ ID string }
	if err := json.Unmarshal([]byte(resource), &patient); err != nil {
		return err
	}
	status, answer, err := h.Do(http.MethodPut, patient.ID, resource, "")
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("HAPI answers %d: %s", status, answer)
	}
	return err
}
