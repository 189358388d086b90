package resolvers

import (
	"fmt"
	"testing"
	"time"

	"patientgraph/auth"
)

func TestChangeRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := NewChangeRate(func() time.Time { return now })
	patient, admin := auth.Viewer{Role: auth.RolePatient, PatientIDs: []string{"P-1"}}, auth.Viewer{Role: auth.RoleAdmin}
	for n := range changesAtOnce {
		if wait := c.wait(patient, "P-1"); wait != 0 {
			t.Fatalf("change %d has to wait %v", n+1, wait)
		}
	}
	for range 3 { // a refused change uses up nothing
		if wait := c.wait(patient, "P-1"); wait != changesEvery {
			t.Errorf("one more has to wait %v, want %v", wait, changesEvery)
		}
	}
	if c.wait(patient, "P-2") != 0 || c.wait(admin, "P-1") != 0 {
		t.Error("others have to wait too")
	}
	now = now.Add(changesEvery)
	if c.wait(patient, "P-1") != 0 || c.wait(patient, "P-1") == 0 {
		t.Error("after a second there is not one more")
	}
	for n := range 2 * callersRemembered {
		c.wait(patient, fmt.Sprint(n))
	}
	if n := c.patients.callers.Len(); n > callersRemembered {
		t.Errorf("%d patients are remembered", n)
	}
}
