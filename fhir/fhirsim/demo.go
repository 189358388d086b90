package fhirsim

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"
)

// DemoIdentifierSystem is the identifier.system of the demo patients' hospital
// number.
const DemoIdentifierSystem = "https://patientgraph.example/patient-number"

// demoPatients holds synthetic patients, one a line.
//
//go:embed demo/patients.ndjson
var demoPatients []byte

// DemoPatient is a synthetic patient of the demo.
type DemoPatient struct {
	Number   string // hospital number: P-2025-000001
	Scenario string // "normal", "not synced", "rejected", "timeout", "competing editor"; "": none
	Resource []byte // FHIR Patient on one line; without an id where Scenario is "not synced"
	Fault    *Fault // how the demo's FHIR server treats the patient; nil: as any other
}

// demoScenarios are what the first patients show.
var demoScenarios = []struct {
	name  string
	fault *Fault
}{
	{name: "normal"},
	{name: "not synced"},
	{name: "rejected", fault: &Fault{On: http.MethodPut, RejectPhone: invalidPhone}},
	{name: "timeout", fault: &Fault{On: http.MethodPut, Hang: true}},
	{name: "competing editor", fault: &Fault{Compete: true}},
}

// DemoPatients returns the demo's patients, those with a scenario first.
func DemoPatients() []DemoPatient {
	var list []DemoPatient
	for i, line := range bytes.Split(bytes.TrimSpace(demoPatients), []byte("\n")) {
		p := DemoPatient{Number: gjson.GetBytes(line, "identifier.0.value").Str, Resource: bytes.Clone(line)}
		if i < len(demoScenarios) {
			p.Scenario = demoScenarios[i].name
			if fault := demoScenarios[i].fault; fault != nil {
				own := *fault
				p.Fault = &own
			}
		}
		list = append(list, p)
	}
	return list
}

// Demo is a server with the demo's patients, as far as they have an id, and their faults.
type Demo struct {
	Server           *Server
	Patients         []DemoPatient // as the server shows them
	IdentifierSystem string        // of their numbers there
}

// NewDemo returns a demo whose server has these habits.
func NewDemo(habits Habits) (*Demo, error) {
	d := &Demo{Server: New(Options{Habits: habits}), Patients: DemoPatients(), IdentifierSystem: DemoIdentifierSystem}
	if habits.OpenEMR { // a clinic has one system for the numbers that it gives
		d.IdentifierSystem = OpenEMRIdentifierSystem
	}
	for i, p := range d.Patients {
		id := gjson.GetBytes(p.Resource, "id").Str
		if id == "" {
			d.Patients[i].Resource = bytes.Replace(p.Resource, []byte(DemoIdentifierSystem), []byte(d.IdentifierSystem), 1)
			continue
		}
		if err := d.Server.Put(p.Resource); err != nil {
			return nil, fmt.Errorf("seed %s: %w", p.Number, err)
		}
		d.Patients[i].Resource, _, _ = d.Server.Get(id)
		if p.Fault != nil {
			d.Server.SetFault(id, *p.Fault)
		}
	}
	return d, nil
}
