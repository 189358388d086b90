package proofs_test

import (
	"fmt"
	"testing"
	"time"

	. "patientgraph/app/apptest"
)

// TestDatabaseFailover kills the PostgreSQL server that takes the writes, under
// the load of the crash test, and promotes its synchronous standby: the
// program finds it. In the end every patient equals the FHIR server, and every
// answer was true.
func TestDatabaseFailover(t *testing.T) {
	primary := newPostgres(t)
	standby := primary.standby(freePort(t))
	c := simulated(t, fmt.Sprintf("postgres://postgres@/postgres?sslmode=disable&host=127.0.0.1,127.0.0.1&port=%d,%d&target_session_attrs=read-write",
		primary.port, standby.port))
	c.underLoad(func(*Process) {
		for range length(1, 6) {
			time.Sleep(time.Second)
			primary.kill()
			time.Sleep(300 * time.Millisecond)
			standby.promote()
			time.Sleep(time.Second)
			primary, standby = standby, standby.standby(primary.port)
		}
	})
}
