package writethrough_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"patientgraph/fhir"
	"patientgraph/writethrough"
)

// TestDoubtsAreLogged: what an edit leaves beside a new value is logged by the
// URL of the extension, without any value of the patient.
func TestDoubtsAreLogged(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	resource := `{"resourceType":"Patient","id":"f0","text":{"status":"additional","div":"<div>010-0000-0000</div>"},` +
		`"telecom":[{"system":"phone","value":"010-0000-0000","extension":[{"url":"https://clinic.example/fhir/best-time","valueString":"after lunch"},` +
		`{"url":"http://hl7.org/fhir/StructureDefinition/contactpoint-area","valueString":"010"},{"url":"Min Kim","valueString":"x"}]}],"gender":"female"}`
	if err := r.server.Put([]byte(resource)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w := r.writer(false, r.client, r.store, func(c *writethrough.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	change := writethrough.Change{PatientID: patientID(0), Edit: fhir.ContactEdit{SetPhone: true, Phone: "010-1111-2222"}}
	o, err := w.UpdateContact(t.Context(), change)
	if err != nil || o.Code != writethrough.Success {
		t.Fatalf("%+v, %v", o, err)
	}
	text := log.String()
	for _, want := range []string{"url=https://clinic.example/fhir/best-time", "the narrative of patient " + patientID(0) + " may be out of date", "operation=" + o.OperationID} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the log:\n%s", want, text)
		}
	}
	for _, value := range []string{"010-0000", "1111", "after lunch", "Kim", "contactpoint-area"} {
		if strings.Contains(text, value) {
			t.Errorf("%q is in the log:\n%s", value, text)
		}
	}
	log.Reset()
	if _, err := w.UpdateContact(t.Context(), change); err != nil || strings.Contains(log.String(), "clinic.example") {
		t.Errorf("nothing changed: %v\n%s", err, log.String())
	}
}
