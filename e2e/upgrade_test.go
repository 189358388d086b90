package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// testdata/before holds what a program of schema 5 left when it was killed:
// it had imported patients.ndjson without PATIENT_ID_SYSTEM, made contact
// updates under the keys upgrade-success, -conflict, -rejected, -local and
// -unknown, of which the answer was lost, and edited two profiles. shown.json
// is how it showed every patient.
func before(name string) string { return filepath.Join("testdata", "before", name) }

func unzipped(t *testing.T, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(before(name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// leaveOldDatabase fills an empty database with what the version before left.
func leaveOldDatabase(t *testing.T, databaseURL string) {
	t.Helper()
	if path, found := strings.CutPrefix(databaseURL, "sqlite:"); found {
		if err := os.WriteFile(path, unzipped(t, "schema5.db.gz"), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := dbtest.Open(t, databaseURL).Exec(string(unzipped(t, "schema5.sql.gz"))); err != nil {
		t.Fatal(err)
	}
}

// oldFHIRServer is the FHIR server of before: the PUT whose answer was lost landed.
func oldFHIRServer(t *testing.T) (*fhirsim.Server, string) {
	t.Helper()
	lines, err := os.ReadFile(before("patients.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	var patients []string
	for line := range strings.Lines(string(lines)) {
		if strings.Contains(line, `"id": "before-`) {
			patients = append(patients, line)
		}
	}
	server, base := StartFHIR(t, fhirsim.Options{}, patients...)
	for _, change := range [][2]string{{"555-907-9875", "555-0101"}, {"555-462-6409", "555-0103"}} {
		for _, patient := range patients {
			if strings.Contains(patient, change[0]) {
				if err := server.Put([]byte(strings.Replace(patient, change[0], change[1], 1))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return server, base
}

// shownBefore lists the patients as the version before showed them.
func shownBefore(t *testing.T) (shown []Object) {
	t.Helper()
	text, err := os.ReadFile(before("shown.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	return shown
}

const shownFields = `{ id fhirId familyName givenName fullName birthDate birthYear gender phone email
  address { text lines city district state postalCode country } emergencyContact { name relationship phone }
  allergies bloodType syncState isSynced version }`

// An upgrade keeps every row, every version that a client holds, every answer that
// a key remembers, and the update whose outcome was open.
func TestUpgradeKeepsEverything(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		leaveOldDatabase(t, databaseURL)
		// Nothing answers: what was PENDING stays so.
		p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL, "STALE_AFTER=876000h")
		for _, was := range shownBefore(t) {
			if JSON(t, was["allergies"]) == "[]" { // it did not tell "none known" from "nothing recorded"
				was["allergies"] = nil
			}
			is := p.Query(`query($id: ID!) { patient(id: $id) `+shownFields+` }`, Object{"id": was["id"]})["patient"]
			if JSON(t, is) != JSON(t, was) {
				t.Errorf("before %s\nnow    %s", JSON(t, was), JSON(t, is))
			}
		}
	})
}

// What was begun by the version before is seen through by this one.
func TestUpgradeSeesUpdatesThrough(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		leaveOldDatabase(t, databaseURL)
		server, base := oldFHIRServer(t)
		p := StartWith(t, base, databaseURL, "IDEMPOTENCY_TTL=100000h")
		s := &System{Product: p, FHIR: server}

		wait.Until(t, "the update whose answer was lost is settled", func() bool {
			return p.Patient("P-2026-000003")["syncState"] == "SYNCED"
		})
		for _, c := range []struct {
			input Object
			want  Object
		}{
			{Object{"patientId": "P-2026-000001", "phone": "555-0101", "idempotencyKey": "upgrade-success"},
				Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "555-0101"}},
			{Object{"patientId": "P-2026-000002", "email": "b@two.example", "expectedVersion": "zz", "idempotencyKey": "upgrade-conflict"},
				Object{"__typename": "UpdateConflict", "conflictingFields": []any{"email"}}},
			{Object{"patientId": "P-2026-000003", "phone": "555-0103", "idempotencyKey": "upgrade-unknown"},
				Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "555-0103"}},
			{Object{"patientId": "P-2026-000004", "phone": "555-0104", "idempotencyKey": "upgrade-rejected"},
				Object{"__typename": "FhirRejected", "message": "Invalid phone format", "httpStatus": 422}},
			{Object{"patientId": "P-2026-000011", "phone": "010-9999-0000", "idempotencyKey": "upgrade-local"},
				Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-9999-0000"}},
		} {
			Want(t, p.Update(c.input), c.want)
		}
		if n := s.Puts(); n != 0 {
			t.Errorf("%d PUTs of what was answered before", n)
		}
		p.WantRead("P-2026-000003", "555-0103", "SYNCED")
		Want(t, p.Update(Object{"patientId": "P-2026-000007", "phone": "555-0107", "expectedVersion": "1"}),
			Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "555-0107"})
		Want(t, p.Update(Object{"patientId": "P-2026-000001", "phone": "555-0199", "expectedVersion": "1"}),
			Object{"__typename": "UpdateConflict"})
	})
}

// The same file once more brings what the version before did not keep, and with
// PATIENT_ID_SYSTEM set the hospital's numbers: the assigned ones stay as aliases.
func TestUpgradeThenImport(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		leaveOldDatabase(t, databaseURL)
		for range 2 { // another import changes nothing
			if said, err := importWith(t, databaseURL, []string{before("patients.ndjson")}, "PATIENT_ID_SYSTEM="+numberSystem); err != nil {
				t.Fatal(err, said)
			}
		}
		p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		deceased := map[int]bool{8: true, 10: true} // 1 was written since, as was 3
		for n, was := range shownBefore(t) {
			number, pending := fmt.Sprintf("88-%d", 1001+n), was["syncState"] == "PENDING"
			if was["fhirId"] == nil || pending { // whose update is open keeps its number for now
				number = was["id"].(string)
			}
			for _, id := range []any{number, was["id"]} {
				Want(t, p.Patient(fmt.Sprint(id)), Object{
					"id": number, "fhirId": was["fhirId"], "phone": was["phone"], "bloodType": was["bloodType"],
					"emergencyContact.name": Object(was).At("emergencyContact", "name"), "deceased": deceased[n+1],
				})
			}
		}
	})
}
