// Package dbtest gives tests empty databases of their own. It knows the
// database servers, not the schema.
package dbtest

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// SQLite returns the URL of an empty database in a file.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "cache #1?.db") // a name that a URL must escape
}

// Open opens a database beside the product, for the test at most. Its transactions
// lock from their beginning.
func Open(t testing.TB, databaseURL string) *sql.DB {
	t.Helper()
	driver, source := "pgx", strings.Replace(databaseURL, poolParameter, "default_query_exec_mode=exec", 1)
	if path, found := strings.CutPrefix(databaseURL, "sqlite:"); found {
		escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
		driver, source = "sqlite", "file:"+escaped+"?_pragma=busy_timeout(10000)&_txlock=immediate"
	}
	database, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { database.Close() })
	return database
}

// Postgres makes an empty database on the server of TEST_POSTGRES_URL and
// returns its URL; without the variable the test is skipped.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		t.Skip("TEST_POSTGRES_URL is not set: no PostgreSQL to test on")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	name := "test_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return on(t, server, "/"+name)
}

// on returns the URL of a database on a server.
func on(t testing.TB, server, path string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = path
	return u.String()
}

// Pooler makes an empty database as Postgres does, and returns its URL by way of the
// pooler in transaction mode of TEST_PGBOUNCER_URL, which stands before the same
// server; without the variable the test is skipped.
func Pooler(t testing.TB) string {
	t.Helper()
	pooler := os.Getenv("TEST_PGBOUNCER_URL")
	if pooler == "" {
		t.Skip("TEST_PGBOUNCER_URL is not set: no pooler to test behind")
	}
	direct := Postgres(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	// As docs/operations.md says, for what cannot be asked of a session.
	if _, err := Open(t, direct).Exec("ALTER DATABASE " + u.Path[1:] + " SET random_page_cost = 1.1"); err != nil {
		t.Fatal(err)
	}
	return Pooled(on(t, pooler, u.Path))
}

// Pooled returns a URL that says that there is a pooler.
func Pooled(databaseURL string) string {
	if strings.Contains(databaseURL, "?") {
		return databaseURL + "&" + poolParameter
	}
	return databaseURL + "?" + poolParameter
}

const poolParameter = "pool=transaction"
