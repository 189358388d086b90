package proofs_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// patientFor is PatientJSON with all that a server needs to be written to: OpenEMR
// changes no patient whose day of birth it does not know.
func patientFor(habits fhirsim.Habits, id, number string) string {
	patient := PatientJSON(id, number)
	if habits.Columns {
		patient = strings.Replace(patient, `"birthDate":"1990-05"`, `"birthDate":"1990-05-17"`, 1)
	}
	return patient
}

// numbersOf is the setting that says where the patients of such a server have their
// numbers. OpenEMR keeps a number without the system that it came with.
func numbersOf(habits fhirsim.Habits) string {
	system := fhirsim.DemoIdentifierSystem
	if habits.Columns {
		system = "http://terminology.hl7.org/CodeSystem/v2-0203"
	}
	return "PATIENT_ID_SYSTEM=" + system
}

// importFrom imports what such a server shows.
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
