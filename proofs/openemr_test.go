package proofs_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// openEMRNumbers is the system that OpenEMR shows for every patient number.
const openEMRNumbers = "http://terminology.hl7.org/CodeSystem/v2-0203"

// patientFor is PatientJSON as such a server can hold and change it: OpenEMR changes no
// patient whose day of birth it does not know.
func patientFor(habits fhirsim.Habits, id, number string) string {
	patient := PatientJSON(id, number)
	if habits.Columns {
		patient = strings.NewReplacer(`"1990-05"`, `"1990-05-17"`, fhirsim.DemoIdentifierSystem, openEMRNumbers).Replace(patient)
	}
	return patient
}

// numbersOf is the setting that says where the patients of such a server have their
// numbers.
func numbersOf(habits fhirsim.Habits) string {
	if habits.Columns {
		return "PATIENT_ID_SYSTEM=" + openEMRNumbers
	}
	return "PATIENT_ID_SYSTEM=" + fhirsim.DemoIdentifierSystem
}

// importFrom imports patients of such a server.
func importFrom(t *testing.T, habits fhirsim.Habits, databaseURL, patients string) {
	t.Helper()
	if out, err := Import(t, databaseURL, patients, numbersOf(habits)); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
}

// openEMRs are the versions that the nth of several proofs runs in front of: one, or
// with -full all.
func openEMRs(n int) []string {
	if *full {
		return fhirsim.OpenEMRVersions
	}
	n %= len(fhirsim.OpenEMRVersions)
	return fhirsim.OpenEMRVersions[n : n+1]
}

// onOpenEMR runs a proof in front of OpenEMR, with an empty PostgreSQL database.
func onOpenEMR(t *testing.T, n int, proof func(t *testing.T, databaseURL string, habits fhirsim.Habits)) {
	for _, version := range openEMRs(n) {
		t.Run("OpenEMR "+version, func(t *testing.T) {
			t.Parallel()
			proof(t, dbtest.Postgres(t), fhirsim.OpenEMR(version))
		})
	}
}
