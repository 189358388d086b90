package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir/fhirsim"
	"patientgraph/mirror"
	"patientgraph/web"
)

// demo is a complete system of its own: an in-process FHIR server with
// synthetic patients, a cache in a temporary directory, a signed token.
type demo struct {
	*fhirsim.Demo
	habits   fhirsim.Habits
	signIns  []web.SignIn // an admin's first
	stopFHIR func()
	dir      *demoDir
}

// demoHabits are what the demo's FHIR server can behave as, by DEMO_SERVER.
var demoHabits = map[string]fhirsim.Habits{
	"hapi":    fhirsim.HAPI(),
	"openemr": fhirsim.OpenEMR(fhirsim.OpenEMRVersions[len(fhirsim.OpenEMRVersions)-1]),
	"medplum": fhirsim.Medplum(),
}

// demoTokenTTL is how long the printed token is valid.
const demoTokenTTL = 12 * time.Hour

// startDemo starts the FHIR server and fills in the settings that lead to it.
func startDemo(c *Config) (*demo, error) {
	d := &demo{habits: demoHabits[c.DemoServer]}
	var err error
	if d.Demo, err = fhirsim.NewDemo(d.habits); err != nil {
		return nil, err
	}
	if d.dir, err = newDemoDir(); err != nil {
		return nil, err
	}
	if c.FHIRBaseURL, d.stopFHIR, err = d.Server.Start(); err != nil {
		d.dir.remove()
		return nil, err
	}
	c.DatabaseURL = "sqlite:" + filepath.Join(d.dir.path, "cache.db")
	c.PatientIDSystem = d.IdentifierSystem
	if c.JWTSecret == "" {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // crypto/rand never fails
		c.JWTSecret = hex.EncodeToString(secret)
	}
	// The first patient, of whom everything works, and one of whom FHIR answers no write.
	if d.signIns, err = signIns(c, d.Patients[0].Number, d.Patients[3].Number); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// signIns are whom the pages offer to be: each role of the staff, then the patients.
func signIns(c *Config, patients ...string) ([]web.SignIn, error) {
	all := []web.SignIn{{Role: string(auth.RoleAdmin)}, {Role: string(auth.RoleDoctor)}, {Role: string(auth.RoleAnalyst)}}
	for _, number := range patients {
		all = append(all, web.SignIn{Role: string(auth.RolePatient), Patient: number})
	}
	for i, s := range all {
		var records []string
		if s.Patient != "" {
			records = []string{s.Patient}
		}
		var err error
		if all[i].Token, err = auth.Sign([]byte(c.JWTSecret), authConfig(c), auth.Role(s.Role), records, demoTokenTTL, time.Now()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (d *demo) stop() {
	d.stopFHIR()
	d.dir.remove()
}

// fill imports the patients, as an operator would.
func (d *demo) fill(ctx context.Context, store *db.Store, log *slog.Logger) error {
	var lines bytes.Buffer
	for _, p := range d.Patients {
		lines.Write(bytes.TrimSpace(p.Resource))
		lines.WriteByte('\n')
	}
	imported := mirror.NewImport(store, mirror.ImportOptions{
		PatientIDSystem: d.IdentifierSystem, Now: time.Now,
		BadLine: func(_ string, line int, err error) {
			log.Error("demo patient not imported", "line", line, "error", err)
		},
	})
	if err := imported.Read(ctx, "demo", &lines); err != nil {
		return err
	}
	if n := imported.Result.Inserted; n != len(d.Patients) {
		return fmt.Errorf("%d of %d patients imported", n, len(d.Patients))
	}
	_, err := store.SetProfile(d.Patients[0].Number, db.ProfileEdit{
		SetEmergencyContact: true, EmergencyContact: &db.EmergencyContact{Name: "홍판서", Relationship: "아버지", Phone: "010-9999-0000"},
		SetAllergies: true, Allergies: []string{"Penicillin"}, SetBloodType: true, BloodType: "A+",
	}, 0, time.Now())
	return err
}

// welcome prints what somebody needs who sees this for the first time. address is
// where all paths begin.
func (d *demo) welcome(w io.Writer, address string) error {
	token := d.signIns[0].Token
	_, err := fmt.Fprintf(w, `PatientGraph demo: %d synthetic patients, gone when it stops. Its FHIR server behaves as %s %s.

  GraphiQL           http://%s/
  Example front end  http://%s/app/
  Token, of an admin %s

Try it (each of the first five patients shows another outcome; each stands among the examples of GraphiQL):

curl http://%s/graphql -H 'Content-Type: application/json' \
  -H 'Authorization: Bearer %s' \
  -d '{"query":"mutation { updatePatientContact(input: {patientId: \"%s\", phone: \"010-2345-6789\"}) { __typename ... on UpdatePatientContactSuccess { patient { id fullName phone syncState } } ... on UserError { message code } } }"}'

`, len(d.Patients), d.habits.Name, d.habits.Software, address, address, token, address, token, d.Patients[0].Number)
	return err
}
