package writethrough_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/internal/locked"
	"patientgraph/writethrough"
)

// The FHIR server hangs for one patient: as many of its writes as may wait do, one more
// is refused at once with nothing in the journal, a retry of what was applied before is
// told so all the same, and another patient is written. When the server goes on, so do
// those that wait.
func TestWritesOfAPatientThatHangsAreBounded(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 100
			r := newRigOn(t, url(t), 2)
			goesOn := make(chan bool)
			var hanging atomic.Bool
			f := &scriptedFHIR{Client: r.client, read: func(ctx context.Context, id string) (fhir.Resource, error) {
				if hanging.Load() && id == fhirID(0) {
					<-goesOn
				}
				return r.client.Read(ctx, id)
			}}
			var log locked.Buffer
			w := r.writer(true, f, r.store, func(c *writethrough.Config) {
				c.Timeout, c.Log = time.Minute, slog.New(slog.NewTextHandler(&log, nil))
			})
			keyed := setPhone("010-1111-1111")
			keyed.Actor, keyed.IdempotencyKey = "kim", "one"
			before, err := update(t.Context(), w, keyed)
			if err != nil {
				t.Fatal(err)
			}
			hanging.Store(true)
			told := make(chan *writethrough.Outcome)
			for n := range most + 1 {
				go func() {
					o, err := w.UpdateContact(t.Context(), setPhone(fmt.Sprintf("010-2222-%04d", n)))
					if err != nil {
						t.Error(err)
					}
					told <- o
				}()
			}
			refused := <-told
			if refused == nil || refused.Code != writethrough.Unavailable || !strings.HasPrefix(refused.Reason, "100 writes of this patient") || refused.Patient == nil || refused.Patient.Phone != "010-1111-1111" {
				t.Fatalf("it is told %+v", refused)
			}
			if !strings.Contains(log.String(), refused.OperationID) {
				t.Errorf("the log does not name %s", refused.OperationID)
			}
			if u, err := r.store.ContactUpdate(t.Context(), refused.OperationID); err == nil {
				t.Errorf("the journal has %+v", u)
			}
			if again, err := update(t.Context(), w, keyed); err != nil || again.OperationID != before.OperationID {
				t.Errorf("a retry of what was applied is told %+v, %v", again, err)
			}
			if _, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(1), Edit: phone("010-4444-4444")}); err != nil {
				t.Errorf("another patient: %v", err)
			}
			close(goesOn)
			for range most {
				if o := <-told; o == nil || o.Code != writethrough.Success {
					t.Errorf("one that waited is told %+v", o)
				}
			}
		})
	}
}
