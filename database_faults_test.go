package main

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
	"time"

	"patientgraph/fhir/fhirtest"
)

// TestDatabaseKilled kills PostgreSQL with SIGKILL, again and again, under the
// load of the crash test, and starts it again: the program lives on. In the
// end every patient equals the FHIR server, and every answer was true.
func TestDatabaseKilled(t *testing.T) {
	kills := 3
	if *full {
		kills = 30
	}
	server := newPostgres(t)
	c := newDatabaseCrash(t, server.url)
	p := c.launch("")
	stopLoad := c.load(p)
	for range kills {
		time.Sleep(time.Second)
		server.kill()
		time.Sleep(300 * time.Millisecond)
		server.start()
	}
	time.Sleep(time.Second)
	stopLoad()
	c.network.calm()
	c.settle(p)
	c.check(p)
}

// TestDatabaseFull fills the disk of an SQLite cache under load, and empties it
// again.
func TestDatabaseFull(t *testing.T) {
	times := 2
	if *full {
		times = 20
	}
	c := newDatabaseCrash(t, "")
	p, disk := c.launchOnSmallDisk()
	stopLoad := c.load(p)
	for range times {
		time.Sleep(time.Second)
		fill(t, filepath.Join(disk, "ballast"))
		before := c.internalErrors()
		time.Sleep(1500 * time.Millisecond)
		if c.internalErrors() == before {
			t.Error("nobody heard of the full disk")
		}
		if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	stopLoad()
	c.network.calm()
	c.databaseURL = "" // SQLite would not find it under the path that we have
	c.settle(p)
	c.check(p)
}

// newDatabaseCrash is a crash test whose process is not killed; without a URL
// nothing is imported yet.
func newDatabaseCrash(t *testing.T, databaseURL string) *crash {
	t.Helper()
	server := fhirtest.New(fhirtest.Options{})
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return newCrash(t, crashBinary(t), databaseURL, base, memoryTruth{server}, timings{fhir: 600 * time.Millisecond, lease: 400 * time.Millisecond, settle: 2 * time.Second})
}

// launchOnSmallDisk runs the program with its database on a disk of 32 MB of
// its own, in a mount namespace that ends with it. The directory returned is
// that disk seen from outside.
func (c *crash) launchOnSmallDisk() (*process, string) {
	c.t.Helper()
	dir := c.t.TempDir()
	patients := filepath.Join(dir, "patients.ndjson")
	if err := os.WriteFile(patients, []byte(c.lines), 0o600); err != nil {
		c.t.Fatal(err)
	}
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		c.t.Fatal(err)
	}
	namespace := "-rm"
	if os.Getuid() == 0 {
		namespace = "-m"
	}
	if out, err := exec.Command("unshare", namespace, "mount", "-t", "tmpfs", "tmpfs", disk).CombinedOutput(); err != nil {
		c.t.Skipf("no small disk can be mounted here: %v %s", err, out)
	}
	script := filepath.Join(dir, "run.sh")
	text := fmt.Sprintf("#!/bin/sh\nexec unshare %s sh -c 'mount -t tmpfs -o size=32m tmpfs %s && %s import %s >&2 && exec %s'\n",
		namespace, disk, c.binary, patients, c.binary)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.databaseURL, c.binary = "sqlite:"+filepath.Join(disk, "cache.db"), script
	p := c.launch("")
	return p, fmt.Sprintf("/proc/%d/root%s", p.command.Process.Pid, disk)
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := file.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// internalErrors counts the requests that were told of a failure of ours.
func (r *record) internalErrors() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, q := range r.values {
		for _, answer := range q.answers {
			if answer["__typename"] == "INTERNAL" {
				n++
			}
		}
	}
	return n
}

// postgres is a PostgreSQL server of the test's own, as it is installed: it
// keeps what it has committed.
type postgres struct {
	t       *testing.T
	url     string
	bin     string
	dir     string
	port    int
	command *exec.Cmd
}

func newPostgres(t *testing.T) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 || os.Getenv("TEST_POSTGRES_URL") == "" {
		t.Skip("TEST_POSTGRES_URL is not set, or no initdb is installed: no PostgreSQL to kill")
	}
	dir, err := os.MkdirTemp("", "patientgraph-postgres-") // t.TempDir is closed to the user postgres
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &postgres{t: t, bin: filepath.Dir(found[len(found)-1]), dir: dir}
	if err := os.Chown(dir, s.uid(), -1); err != nil {
		t.Fatal(err)
	}
	if out, err := s.as("initdb", "-D", dir+"/data", "-A", "trust", "-U", "postgres", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	s.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	s.start()
	t.Cleanup(s.kill)
	return s
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

func (s *postgres) start() {
	s.command = s.as("postgres", "-D", s.dir+"/data", "-p", strconv.Itoa(s.port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200")
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s.as("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port)).Run() == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("PostgreSQL does not start")
		}
	}
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
	_ = s.command.Wait() // it was killed
}
