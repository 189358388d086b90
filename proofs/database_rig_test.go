package proofs_test

import (
	"database/sql"
	"strings"
	"testing"

	"patientgraph/db/dbtest"
)

func mustExec(t *testing.T, database *sql.DB, text string, args ...any) {
	t.Helper()
	if _, err := database.Exec(text, args...); err != nil {
		t.Fatal(err)
	}
}

// lockDatabase lets nobody else write into the journal until release.
func lockDatabase(t *testing.T, databaseURL string) (release func()) {
	t.Helper()
	tx, err := dbtest.Open(t, databaseURL).Begin()
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(databaseURL, "postgres") {
		if _, err := tx.Exec("LOCK TABLE contact_updates IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// onlyUpdate returns the operationId of the one update that the journal has.
func onlyUpdate(t *testing.T, databaseURL string) (id string) {
	t.Helper()
	if err := dbtest.Open(t, databaseURL).QueryRow("SELECT id FROM contact_updates").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}
