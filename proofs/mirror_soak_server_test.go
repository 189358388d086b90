package proofs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// outside is a FHIR server as others use it, around the product. Its methods fail while
// it is restarted, and where somebody else came before.
type outside interface {
	base() string
	habits() fhirsim.Habits
	put(resource string) error // creates, replaces or brings back
	setPhone(id, phone string, rude bool) error
	remove(id string) error
	merge(source, target string) error
	restart()
	// now is a patient as the server shows it; nil: it is gone.
	now(id string) ([]byte, error)
	// versions are all versions of a patient, one after the other.
	versions(id string) (string, error)
}

var errGone = errors.New("the patient is gone")

// simulatedFHIR is a simulator that can be restarted.
type simulatedFHIR struct {
	t      *testing.T
	sim    *fhirsim.Server
	kind   fhirsim.Habits
	addr   string
	server *http.Server
}

func startSimulated(t *testing.T, habits fhirsim.Habits) *simulatedFHIR {
	f := &simulatedFHIR{t: t, sim: fhirsim.New(fhirsim.Options{Habits: habits}), kind: habits, addr: "127.0.0.1:0"}
	f.listen()
	t.Cleanup(func() { _ = f.server.Close() })
	return f
}

func (f *simulatedFHIR) listen() {
	f.t.Helper()
	var listener net.Listener
	wait.Until(f.t, "the FHIR server's port is free", func() (ok bool) {
		var err error
		listener, err = net.Listen("tcp", f.addr)
		return err == nil
	})
	f.addr, f.server = listener.Addr().String(), &http.Server{Handler: f.sim, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(listener) }(f.server) // ends when it is closed
}

func (f *simulatedFHIR) base() string           { return "http://" + f.addr + "/fhir" }
func (f *simulatedFHIR) habits() fhirsim.Habits { return f.kind }

// restart refuses connections for a while. What was found for searches is forgotten.
func (f *simulatedFHIR) restart() {
	_ = f.server.Close() // cuts what is under way
	f.sim.ExpireSearches()
	time.Sleep(time.Second)
	f.listen()
}

// hapiOutside is HAPI, real or simulated, used over the network.
type hapiOutside struct {
	*simulatedFHIR        // nil: it is a real one
	url            string // of FHIR
	mergeOperation string
	t              *testing.T
}

// startHAPI returns the simulator or, at full length, the server of TEST_FHIR_URL.
func startHAPI(t *testing.T) *hapiOutside {
	t.Helper()
	h := &hapiOutside{t: t, mergeOperation: "$merge", url: os.Getenv("TEST_FHIR_URL")}
	if h.url == "" || !*full {
		h.simulatedFHIR = startSimulated(t, fhirsim.HAPI())
		h.url = h.simulatedFHIR.base()
		return h
	}
	_, capabilities, err := h.do(http.MethodGet, "metadata", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(capabilities), `"hapi.fhir.merge"`) {
		h.mergeOperation = "$hapi.fhir.merge"
	}
	return h
}

func (h *hapiOutside) base() string           { return h.url }
func (h *hapiOutside) habits() fhirsim.Habits { return fhirsim.HAPI() }

// restart restarts a real server by TEST_FHIR_RESTART, which returns when it serves again.
func (h *hapiOutside) restart() {
	if h.simulatedFHIR != nil {
		h.simulatedFHIR.restart()
		return
	}
	command := os.Getenv("TEST_FHIR_RESTART")
	if command == "" {
		h.t.Log("TEST_FHIR_RESTART is not set: the FHIR server is not restarted")
		return
	}
	began := time.Now()
	if err := exec.CommandContext(h.t.Context(), "bash", "-c", command).Run(); err != nil {
		h.t.Errorf("restart of the FHIR server: %v", err)
	}
	h.t.Logf("the FHIR server was restarted in %v", time.Since(began).Round(time.Second))
}

// do returns the ETag of the answer with its body, and an error if it is none of success.
func (h *hapiOutside) do(method, path, body, ifMatch string) (etag string, answer []byte, err error) {
	request, err := http.NewRequest(method, h.url+"/"+path, strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	request.Header.Set("Content-Type", "application/fhir+json")
	request.Header.Set("Cache-Control", "no-cache")
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	switch {
	case err != nil:
		return "", nil, err
	case response.StatusCode == http.StatusGone, response.StatusCode == http.StatusNotFound:
		return "", nil, fmt.Errorf("%w (%d)", errGone, response.StatusCode)
	case response.StatusCode/100 != 2:
		return "", nil, fmt.Errorf("the FHIR server answers %d: %.500s", response.StatusCode, answer)
	}
	return response.Header.Get("ETag"), answer, nil
}

func (h *hapiOutside) put(resource string) error {
	_, _, err := h.do(http.MethodPut, "Patient/"+gjson.Get(resource, "id").Str, resource, "")
	return err
}

// setPhone edits a patient as it was read; a rude writer names no version.
func (h *hapiOutside) setPhone(id, phone string, rude bool) error {
	etag, patient, err := h.do(http.MethodGet, "Patient/"+id, "", "")
	if err != nil {
		return err
	}
	if rude {
		etag = ""
	}
	for path, value := range map[string]string{"telecom.1.value": phone, "address.0.city": "City " + phone} {
		if patient, err = sjson.SetBytes(patient, path, value); err != nil {
			return err
		}
	}
	_, _, err = h.do(http.MethodPut, "Patient/"+id, string(patient), etag)
	return err
}

func (h *hapiOutside) remove(id string) error {
	_, _, err := h.do(http.MethodDelete, "Patient/"+id, "", "")
	return err
}

func (h *hapiOutside) merge(source, target string) error {
	kind := "patient"
	if h.mergeOperation != "$merge" {
		kind = "resource"
	}
	reference := func(name, id string) Object {
		return Object{"name": name + "-" + kind, "valueReference": Object{"reference": "Patient/" + id}}
	}
	body, err := json.Marshal(Object{"resourceType": "Parameters", "parameter": []Object{reference("source", source), reference("target", target)}})
	if err == nil {
		_, _, err = h.do(http.MethodPost, "Patient/"+h.mergeOperation, string(body), "")
	}
	return err
}

func (h *hapiOutside) now(id string) ([]byte, error) {
	_, patient, err := h.do(http.MethodGet, "Patient/"+id, "", "")
	if errors.Is(err, errGone) {
		return nil, nil
	}
	return patient, err
}

// versions reads one after the other: HAPI's _history is cached for a minute.
func (h *hapiOutside) versions(id string) (string, error) {
	var all strings.Builder
	for n, missed := 1, 0; missed < 30; n++ { // deletions, several in a row, are no versions to read
		_, patient, err := h.do(http.MethodGet, fmt.Sprintf("Patient/%s/_history/%d", id, n), "", "")
		if missed++; err == nil {
			missed = 0
			all.Write(patient)
		} else if !errors.Is(err, errGone) {
			return "", err
		}
	}
	return all.String(), nil
}

// clinicOutside is an OpenEMR whose patients are edited at its desk.
type clinicOutside struct{ *simulatedFHIR }

func (c clinicOutside) put(resource string) error { return c.sim.Put([]byte(resource)) }

func (c clinicOutside) setPhone(id, phone string, _ bool) error {
	if !c.sim.Clinic().Set(id, "phone_cell", phone) || !c.sim.Clinic().Set(id, "city", "City "+phone) {
		return errGone
	}
	return nil
}

func (c clinicOutside) remove(id string) error {
	c.sim.Clinic().Delete(id)
	return nil
}

// merge is what OpenEMR makes of it: one of the two is there no more.
func (c clinicOutside) merge(source, _ string) error { return c.remove(source) }

func (c clinicOutside) now(id string) ([]byte, error) {
	patient, _, _ := c.sim.Get(id)
	return patient, nil
}

func (c clinicOutside) versions(id string) (string, error) {
	var all strings.Builder
	for _, version := range c.sim.History(id) {
		all.Write(version)
	}
	return all.String(), nil
}
