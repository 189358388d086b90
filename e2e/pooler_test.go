package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// Behind a pooler the program does everything: OnEachDatabase says it of each
// case, this of two replicas that start on an empty database.
func TestServeBehindAPooler(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Pooler(t)
	server, base := StartFHIR(t, fhirsim.Options{})
	started := make(chan error)
	for range 3 {
		go func() {
			var out, log locked.Buffer
			started <- Run(context.Background(), []string{"migrate"}, &out, &log, "FHIR_BASE_URL="+base, "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret)
		}()
	}
	for range 3 {
		if err := <-started; err != nil {
			t.Fatalf("replicas that migrate together: %v", err)
		}
	}
	stored, _, _ := server.Get("a1")
	MustImport(t, databaseURL, string(stored), strings.Replace(PatientJSON("", LocalNumber), `"id":"",`, "", 1))
	replicas := []*Product{StartWith(t, base, databaseURL), StartWith(t, base, databaseURL)}
	replicas[0].WantLog("?pool=transaction") // among the settings

	told := replicas[0].Update(Object{"patientId": Number, "phone": NewPhone, "idempotencyKey": "k"})
	Want(t, told, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": NewPhone, "patient.syncState": "SYNCED"})
	Want(t, replicas[1].Update(Object{"patientId": Number, "phone": NewPhone, "idempotencyKey": "k"}), told)
	Want(t, replicas[1].Patient(Number), Object{"phone": NewPhone})
	Want(t, replicas[1].Update(Object{"patientId": LocalNumber, "email": "local@example.org"}), Object{"__typename": "UpdatePatientContactSuccess"})
	if out, err := Import(t, databaseURL, string(stored)); err != nil || !strings.Contains(out, "1 kept") {
		t.Errorf("import: %v\n%s", err, out)
	}
	for filter, value := range map[string]string{"phone": NewPhone, "name": "홍", "syncState": "LOCAL_ONLY"} {
		data := replicas[1].Query(`query($f: PatientFilter) { patients(filter: $f, first: 5) { totalCount nodes { id } } }`, Object{"f": Object{filter: value}})
		if n, is := data.At("patients", "totalCount").(float64); !is || n < 1 {
			t.Errorf("by %s: %v", filter, data)
		}
	}
}

// Who does not know that there is a pooler is told by every command, and what to
// do about it.
func TestAPoolerThatIsNotSaid(t *testing.T) {
	t.Parallel()
	databaseURL := strings.Replace(dbtest.Pooler(t), "pool=transaction", "application_name=patientgraph", 1)
	for _, command := range []string{"serve", "migrate", "doctor"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should it serve
		var out, log locked.Buffer
		err := Run(ctx, []string{command}, &out, &log,
			"FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret, "LISTEN_ADDR=127.0.0.1:0")
		cancel()
		if told := fmt.Sprint(err, out.String()); err == nil || !strings.Contains(told, "add ?pool=transaction to DATABASE_URL") {
			t.Errorf("%s: %s", command, told)
		}
	}
}

// Another value of pool, or one for SQLite, is refused before anything is opened.
func TestOtherPoolsAreRefused(t *testing.T) {
	t.Parallel()
	for _, databaseURL := range []string{"postgres://127.0.0.1:1/x?pool=session", "sqlite:" + t.TempDir() + "/x.db?pool=transaction"} {
		var out, log locked.Buffer
		err := Run(t.Context(), []string{"serve"}, &out, &log,
			"FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret, "LISTEN_ADDR=127.0.0.1:0")
		if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") || !strings.Contains(err.Error(), "pool=") {
			t.Errorf("%s: %v", databaseURL, err)
		}
	}
}
