package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// startPgBouncer starts a PgBouncer with these settings before a database of its own,
// and returns the URL of that, without parameters.
func startPgBouncer(t *testing.T, settings ...string) string {
	t.Helper()
	if os.Getenv("TEST_PGBOUNCER_URL") == "" {
		t.Skip("TEST_PGBOUNCER_URL is not set: no pooler to test behind")
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("there is no pgbouncer here to start: ", err)
	}
	direct, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().(*net.TCPAddr)
	free.Close()
	config := fmt.Sprintf("[databases]\n* = host=%s port=%s user=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\nmax_client_conn = 500\ndefault_pool_size = 60\n%s\n",
		direct.Hostname(), direct.Port(), direct.User.Username(), address.Port, strings.Join(settings, "\n"))
	file := filepath.Join(t.TempDir(), "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{file}
	if os.Getuid() == 0 { // as which it does not run
		arguments = []string{"-u", "nobody", file}
	}
	var out locked.Buffer
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	wait.Until(t, "PgBouncer listens", func() bool {
		conn, err := net.Dial("tcp", address.String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "postgres://" + direct.User.Username() + "@" + address.String() + direct.Path
}

// TestModesOfAPooler: what works does so wholly; of what does not, migrate, serve and
// doctor say the same, and what to do.
func TestModesOfAPooler(t *testing.T) {
	t.Parallel()
	const ignores = "ignore_startup_parameters = options,lock_timeout,statement_timeout,idle_in_transaction_session_timeout,default_transaction_isolation,random_page_cost,extra_float_digits"
	const add, mode = "add ?pool=transaction to DATABASE_URL", "set pool_mode = transaction there"
	for name, c := range map[string]struct {
		settings []string
		unsaid   string // what is told without ?pool=transaction
		said     string // and with it; "": works
	}{
		"transaction":               {[]string{"pool_mode = transaction"}, add, ""},
		"transaction, ignoring":     {[]string{"pool_mode = transaction", ignores}, add, ""},
		"transaction, few sessions": {[]string{"pool_mode = transaction", "default_pool_size = 3"}, add, ""},
		"session":                   {[]string{"pool_mode = session"}, add, ""},
		"session, ignoring":         {[]string{"pool_mode = session", ignores}, add, ""},
		"statement":                 {[]string{"pool_mode = statement"}, add, mode},
		"statement, ignoring":       {[]string{"pool_mode = statement", ignores}, add, mode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := startPgBouncer(t, c.settings...)
			server, base := StartFHIR(t, fhirsim.Options{})
			told := func(databaseURL, what string) {
				t.Helper()
				for _, command := range []string{"migrate", "serve", "doctor"} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should it serve
					var out, log locked.Buffer
					err := Run(ctx, []string{command}, &out, &log, "FHIR_BASE_URL="+base, "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret, "LISTEN_ADDR=127.0.0.1:0")
					cancel()
					if said := fmt.Sprint(err, out.String()); err == nil || !strings.Contains(said, what) {
						t.Errorf("%s: %s", command, said)
					}
				}
			}
			told(databaseURL, c.unsaid)
			pooled := dbtest.Pooled(databaseURL)
			if c.said != "" {
				told(pooled, c.said)
				return
			}
			stored, _, _ := server.Get("a1")
			MustImport(t, pooled, string(stored))
			p := StartWith(t, base, pooled)
			Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
			Want(t, p.Patient(Number), Object{"phone": NewPhone, "syncState": "SYNCED"})
			if d := doctor(t, nil, "FHIR_BASE_URL="+base, "DATABASE_URL="+pooled); d.err != nil {
				t.Error(d.all)
			}
		})
	}
}
