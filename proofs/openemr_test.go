package proofs_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// patientFor is PatientJSON as such a server can hold and change it: OpenEMR changes no
// patient whose day of birth it does not know.
func patientFor(habits fhirsim.Habits, id, number string) string {
	patient := PatientJSON(id, number)
	if habits.OpenEMR {
		patient = strings.NewReplacer(`"1990-05"`, `"1990-05-17"`, fhirsim.DemoIdentifierSystem, fhirsim.OpenEMRIdentifierSystem).Replace(patient)
	}
	return patient
}

// numbersOf is the setting that says where the patients of such a server have their
// numbers.
func numbersOf(habits fhirsim.Habits) string {
	if habits.OpenEMR {
		return "PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem
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

// proof is one that runs in front of a kind of FHIR server, with an empty database.
type proof func(t *testing.T, databaseURL string, habits fhirsim.Habits)

// onHAPI runs it with each database of OnEachServer.
func onHAPI(t *testing.T, run proof) {
	OnEachServer(t, func(t *testing.T, databaseURL string) { run(t, databaseURL, fhirsim.HAPI()) })
}

// TestReplicasOpenEMR is the proofs of replicas_test.go in front of OpenEMR, and what
// replicas cannot promise there. Most of it is waiting: they share one place among the
// tests that run at once.
func TestReplicasOpenEMR(t *testing.T) {
	t.Parallel()
	places := make(chan struct{}, length(4, 2)) // at full length they do more than wait
	var wg sync.WaitGroup
	defer wg.Wait()
	for n, p := range []struct {
		name string
		run  proof
	}{
		{"killed, the PUT landed", func(t *testing.T, databaseURL string, habits fhirsim.Habits) {
			replicaKilledDuringPut(t, databaseURL, habits, true)
		}},
		{"killed, the PUT did not land", func(t *testing.T, databaseURL string, habits fhirsim.Habits) {
			replicaKilledDuringPut(t, databaseURL, habits, false)
		}},
		{"stopped during the PUT", func(t *testing.T, databaseURL string, habits fhirsim.Habits) {
			replicaStoppedDuringPut(t, databaseURL, habits, false, "APPLIED")
		}},
		{"stopped for longer than the settle window", replicaStoppedForTheSettleWindow},
		{"the same idempotencyKey", replicasIdempotencyKey},
		{"a lost answer of a busy patient", replicaSettlesABusyPatient},
		{"one writer for each patient", replicasOneWriterPerPatient},
		{"other patients do not wait", replicasOtherPatientsDoNotWait},
	} {
		for _, version := range openEMRs(n) {
			places <- struct{}{} // in this order: those that wait most at first
			wg.Go(func() {
				defer func() { <-places }()
				t.Run(p.name+", OpenEMR "+version, func(t *testing.T) { p.run(t, dbtest.Postgres(t), fhirsim.OpenEMR(version)) })
			})
		}
	}
}

// replicaStoppedForTheSettleWindow is what no server without versions can promise:
// the PUT of a process that stands still comes after the settle window, when the other
// one has written the patient. It takes effect, and the cache shows it with the next
// write at the latest. Until then its caller may hear what the other one found out: that
// it never took effect.
func replicaStoppedForTheSettleWindow(t *testing.T, databaseURL string, habits fhirsim.Habits) {
	f := watchFHIR(t, habits, 1)
	carryOut := f.holdFirstPut()
	replicas := twoReplicas(t, f, databaseURL, "FHIR_TIMEOUT=5s")
	answered := make(chan Object, 1)
	go func() {
		answered <- replicas[0].Update(Object{"patientId": f.patients[0], "phone": "010-0000-0001"})
	}()
	wait.Until(t, "the PUT arrives", func() bool { return f.under(0) })
	stopped := replicas[0].Command.Process
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the other writes", func() bool {
		return replicas[1].Update(Object{"patientId": f.patients[0], "phone": "010-0000-0002"})["__typename"] == "UpdatePatientContactSuccess"
	})
	carryOut()
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	<-answered
	wait.Until(t, "the next write", func() bool {
		return replicas[1].Update(Object{"patientId": f.patients[0], "email": "next@example.org"})["__typename"] == "UpdatePatientContactSuccess"
	})
	wait.Until(t, "the cache shows it", func() bool {
		now, err := replicas[1].Read(f.patients[0])
		return err == nil && now.Phone == "010-0000-0001" && now.State == "SYNCED"
	})
	f.wantPhones(0, OldPhone, "010-0000-0002", "010-0000-0001", "010-0000-0001")
}
