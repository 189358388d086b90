package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

func TestWhatIsAway(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return fmt.Errorf("read patient: %w", &pgconn.PgError{Code: code}) }
	for name, c := range map[string]struct {
		err  error
		away bool
	}{
		"nothing":                    {nil, false},
		"no such patient":            {ErrNotFound, false},
		"a row that is unreadable":   {errors.Join(ErrUnreadable, io.ErrUnexpectedEOF), false},
		"another version":            {ErrVersionMismatch, false},
		"no rows":                    {sql.ErrNoRows, false},
		"a statement that is wrong":  {state("42703"), false},
		"a value that breaks a rule": {state("23505"), false},
		"the caller is gone":         {context.Canceled, false},
		"shut down":                  {state("57P01"), true},
		"starting up":                {state("57P03"), true},
		"no connection left":         {state("53300"), true},
		"the disk is full":           {state("53100"), true},
		"a standby":                  {state("25006"), true},
		"a lock":                     {state("55P03"), true},
		"the pooler lost it":         {state("08P01"), true},
		"late":                       {errors.Join(errNotBegun, errLate), true},
		"no answer in time":          {fmt.Errorf("list: %w", context.DeadlineExceeded), true},
		"the file is gone":           {fmt.Errorf("ping: %w", ErrReplaced), true},
	} {
		if IsAway(c.err) != c.away {
			t.Errorf("%s: %v", name, !c.away)
		}
	}
}

// PostgreSQL ends every connection and takes no new one: whatever is asked says that the
// database is away, and all is well when it is back.
func TestAPostgresThatEndsConnectionsIsAway(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	s := openStore(t, databaseURL)
	add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2"})
	calls := readsOf(s)
	calls["profile"] = func(context.Context) error {
		_, err := s.SetProfile("P-2", ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime)
		return err
	}
	calls["begin"] = func(context.Context) error { _, err := begin(s, "op-1", "P-1", ""); return err }
	for _, call := range calls { // connections are open
		_ = call(t.Context())
	}
	open := dbtest.Shut(t, databaseURL)
	for name, call := range calls {
		if err := call(t.Context()); !IsAway(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	open()
	wait.Until(t, "it is back", func() bool { _, err := s.Patient(t.Context(), "P-1"); return err == nil })
}
