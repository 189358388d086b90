package proofs_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// postgres is a PostgreSQL server of the test's own, as it is installed: it
// keeps what it has committed.
type postgres struct {
	t       *testing.T
	url     string
	bin     string
	dir     string
	port    int
	log     *locked.Buffer
	command *exec.Cmd
	ended   chan struct{} // closed when it has
}

func newPostgres(t *testing.T) *postgres {
	t.Helper()
	return newPostgresIn(t, postgresDir(t))
}

func postgresDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "patientgraph-postgres-") // t.TempDir is closed to the user postgres
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newPostgresIn keeps its data in dir.
func newPostgresIn(t *testing.T, dir string) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 || os.Getenv("TEST_POSTGRES_URL") == "" {
		t.Skip("TEST_POSTGRES_URL is not set, or no initdb is installed: no PostgreSQL to kill")
	}
	s := &postgres{t: t, log: &locked.Buffer{}, bin: filepath.Dir(found[len(found)-1]), dir: dir, port: freePort(t)}
	if err := os.Chown(dir, s.uid(), -1); err != nil {
		t.Fatal(err)
	}
	s.run("initdb", "-D", dir+"/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--wal-segsize=1")
	s.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// standby starts a server that follows s: from then on s answers no commit
// that the standby does not have.
func (s *postgres) standby(port int) *postgres {
	s.t.Helper()
	f := &postgres{t: s.t, log: &locked.Buffer{}, bin: s.bin, dir: postgresDir(s.t), port: port}
	if err := os.Chown(f.dir, f.uid(), -1); err != nil {
		s.t.Fatal(err)
	}
	f.run("pg_basebackup", "-D", f.dir+"/data", "-R", "-c", "fast", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres")
	f.start()
	s.t.Cleanup(f.kill)
	s.run("psql", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-c", "ALTER SYSTEM SET synchronous_standby_names = '*'", "-c", "SELECT pg_reload_conf()")
	return f
}

// promote makes a standby the server that takes writes.
func (s *postgres) promote() {
	s.t.Helper()
	s.run("pg_ctl", "promote", "-w", "-D", s.dir+"/data")
}

// run runs one of PostgreSQL's programs to its end.
func (s *postgres) run(program string, args ...string) {
	s.t.Helper()
	if out, err := s.as(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// uid is who runs PostgreSQL, which refuses root.
func (s *postgres) uid() int {
	if os.Getuid() != 0 {
		return os.Getuid()
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		s.t.Fatal(err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		s.t.Fatal(err)
	}
	return uid
}

func (s *postgres) as(program string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.bin, program), args...)
	command.Dir = s.dir
	if os.Getuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid())}}
	}
	return command
}

// start starts the server, again if it gives up: after a kill the memory of the
// one before may still be in use.
func (s *postgres) start() {
	serves := false
	defer func() {
		if !serves {
			s.t.Logf("PostgreSQL's log:\n%s", s.log)
		}
	}()
	s.launch()
	wait.Until(s.t, "PostgreSQL serves", func() bool {
		select {
		case <-s.ended:
			s.launch()
		default:
			serves = s.as("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port)).Run() == nil
		}
		return serves
	})
}

func (s *postgres) launch() {
	s.command = s.as("postgres", "-D", s.dir+"/data", "-p", strconv.Itoa(s.port), "-k", s.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "max_wal_size=64MB")
	s.command.Stderr = s.log
	s.ended = make(chan struct{})
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(command *exec.Cmd, ended chan struct{}) {
		_ = command.Wait() // it is killed, or gives up
		close(ended)
	}(s.command, s.ended)
}

// kill ends the server and everything that it started, without a word.
func (s *postgres) kill() {
	pid := s.command.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // none if it is dead already
	_ = s.command.Process.Kill()
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	<-s.ended
}

// signal sends a signal to the server and everything that it started.
func (s *postgres) signal(what syscall.Signal) {
	s.t.Helper()
	pid := s.command.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(fmt.Sprint(pid, " ", string(children))) {
		var n int
		if _, err := fmt.Sscan(pid, &n); err == nil {
			_ = syscall.Kill(n, what) // a child may have ended
		}
	}
}
