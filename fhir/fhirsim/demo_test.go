package fhirsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDemoPatients(t *testing.T) {
	t.Parallel()
	patients := DemoPatients()
	if len(patients) < 30 {
		t.Errorf("there are only %d", len(patients))
	}
	for i, p := range patients {
		wantEqual(t, "number", p.Number, fmt.Sprintf("P-2025-%06d", i+1))
		if bytes.ContainsAny(p.Resource, "\n\r") {
			t.Errorf("%s is on several lines", p.Number)
		}
		var resource struct {
			ResourceType, ID string
			Identifier       []struct{ System, Value string }
			Name             []struct{ Text, Family string }
		}
		if err := json.Unmarshal(p.Resource, &resource); err != nil {
			t.Fatalf("%s: %v", p.Number, err)
		}
		wantEqual(t, "type", resource.ResourceType, "Patient")
		wantEqual(t, "system", resource.Identifier[0].System, DemoIdentifierSystem)
		wantEqual(t, "value", resource.Identifier[0].Value, p.Number)
		if len(resource.Name) == 0 || resource.Name[0].Text+resource.Name[0].Family == "" {
			t.Errorf("%s has no name", p.Number)
		}
		id := fmt.Sprintf("demo-%04d", i+1)
		if p.Scenario == "not synced" {
			id = ""
		}
		wantEqual(t, "id", resource.ID, id)
		if !bytes.Equal(pick(p.Resource, known), p.Resource) {
			t.Errorf("%s has elements that FHIR does not define", p.Number)
		}
		if problem := New(Options{}).checkPhones(p.Resource); problem != nil {
			t.Errorf("%s could never be edited: %s of %s", p.Number, problem.text, problem.element)
		}
	}
	var scenarios []string
	for _, p := range patients[:6] {
		scenarios = append(scenarios, p.Scenario)
	}
	wantList(t, "scenarios", scenarios, []string{"normal", "not synced", "rejected", "timeout", "competing editor", ""})
	wantContains(t, string(patients[0].Resource), `"text":"홍길동"`)
}

// TestDemoScenarios edits the phone of each patient that has a scenario.
func TestDemoScenarios(t *testing.T) {
	t.Parallel()
	demo, err := NewDemo(HAPI())
	if err != nil {
		t.Fatal(err)
	}
	s := demo.Server
	base, stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	wantEqual(t, "patients", len(s.IDs()), len(DemoPatients())-1)
	client := &http.Client{Timeout: 300 * time.Millisecond}
	for id, c := range map[string]struct {
		phone  string
		status int // 0: no answer
		text   string
	}{
		"demo-0001": {"010-2345-6789", 200, "010-2345-6789"},
		"demo-0003": {"invalid-phone", 422, "Invalid phone format"},
		"demo-0004": {"010-2345-6789", 0, ""},
		"demo-0005": {"010-2345-6789", 409, "HAPI-0989"},
		"demo-0006": {"010-2345-6789", 200, "010-2345-6789"},
	} {
		url := base + "/Patient/" + id
		read := do(t, http.MethodGet, url, "")
		old := phones([]byte(read.body))[0]
		r, err := tryWith(client, http.MethodPut, url, strings.Replace(read.body, old, c.phone, 1), "If-Match", read.header.Get("ETag"))
		var timeout interface{ Timeout() bool }
		if c.status == 0 && (!errors.As(err, &timeout) || !timeout.Timeout()) {
			t.Errorf("%s: %v, want a timeout", id, err)
		}
		wantEqual(t, id, r.status, c.status)
		wantContains(t, r.body, c.text)
	}
	wantEqual(t, "not synced", do(t, http.MethodGet, base+"/Patient/demo-0002", "").status, 404)
	// A phone that looks right is rejected too: the fault, not the format.
	read := do(t, http.MethodGet, base+"/Patient/demo-0003", "")
	r := do(t, http.MethodPut, base+"/Patient/demo-0003", strings.Replace(read.body, phones([]byte(read.body))[0], "010-2345-6789", 1))
	wantEqual(t, "another phone", r.status, 422)
}

// TestRealHAPITakesTheDemo: the demo's patients are FHIR, and a real server
// gives them back as they were.
func TestRealHAPITakesTheDemo(t *testing.T) {
	t.Parallel()
	real := os.Getenv("TEST_FHIR_URL")
	if real == "" {
		t.Skip("TEST_FHIR_URL is not set: no HAPI FHIR server to compare with")
	}
	for _, p := range DemoPatients() {
		id := fmt.Sprintf("fhirsim-%d-%s", time.Now().UnixMilli(), p.Number)
		var want map[string]any
		if err := json.Unmarshal(p.Resource, &want); err != nil {
			t.Fatal(err)
		}
		want["id"] = id
		sent := string(encode(want))
		r := do(t, http.MethodPut, real+"/Patient/"+id, sent)
		wantEqual(t, p.Number, r.status, http.StatusCreated)
		t.Cleanup(func() { do(t, http.MethodDelete, real+"/Patient/"+id, "") })
		var got map[string]any
		if err := json.Unmarshal([]byte(r.body), &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "meta")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: sent (-) and given back (+) differ:\n%s", p.Number, diff)
		}
	}
}
