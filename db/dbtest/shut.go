package dbtest

import (
	"database/sql"
	"net/url"
	"os"
	"testing"
)

// Shut ends every connection to a database of Postgres and lets nobody in, until open is
// called. The server itself goes on: others use it.
func Shut(t testing.TB, databaseURL string) (open func()) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	name := u.Path[1:]
	admin, err := sql.Open("pgx", os.Getenv("TEST_POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	do := func(statement string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	do("ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS false")
	do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	return func() { do("ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS true") }
}
