package proofs_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// TestDatabaseKilled kills PostgreSQL with SIGKILL, again and again, under the
// load of the crash test, and starts it again: the program lives on. In the
// end every patient equals the FHIR server, and every answer was true.
func TestDatabaseKilled(t *testing.T) {
	server := newPostgres(t)
	c := simulated(t, server.url)
	c.underLoad(func(*Process) {
		for range length(3, 30) {
			time.Sleep(time.Second)
			server.kill()
			time.Sleep(300 * time.Millisecond)
			server.start()
		}
	})
}

// TestDatabaseFull fills the disk of an SQLite cache under load, and empties it
// again.
func TestDatabaseFull(t *testing.T) {
	c := simulated(t, "")
	p, disk := c.launchOnSmallDisk()
	stopLoad := c.load(p)
	for range length(2, 20) {
		time.Sleep(time.Second)
		fill(t, filepath.Join(disk, "ballast"))
		before := c.internalErrors()
		wait.Until(t, "somebody hears of the full disk", func() bool { return c.internalErrors() > before })
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

// TestDatabaseFullAtEachStep has the disk of an SQLite cache be full from a
// certain step of a write on.
func TestDatabaseFullAtEachStep(t *testing.T) {
	t.Parallel()
	f := watchFHIR(t, fhirsim.HAPI(), 0)
	c := newCrash(t, fhirsim.HAPI(), "", f.url, memoryTruth{f.Server}, timings{fhir: 2 * time.Second, lease: 2 * time.Second, settle: 4 * time.Second})
	c.network.calm()
	p, disk := c.launchOnSmallDisk()
	f.patients = c.patients
	ballast := filepath.Join(disk, "ballast")
	free := func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	write := func(patient int, phone string) (Object, error) {
		return p.TryUpdate(Object{"patientId": f.patients[patient], "phone": phone})
	}
	wantUnavailable := func(patient int, phone string) {
		t.Helper()
		if answer, err := write(patient, phone); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
			t.Errorf("the answer is %v, %v", answer, err)
		}
		p.WantRead(f.patients[patient], OldPhone, "SYNCED")
		f.wantPhones(patient, OldPhone)
	}

	fill(t, ballast) // before ACCEPTED
	wantUnavailable(0, "010-0000-0001")
	free()
	Want(t, p.Update(Object{"patientId": f.patients[0], "phone": "010-0000-0002"}), Object{"__typename": "UpdatePatientContactSuccess"})

	var fullAt atomic.Value // the method of the request
	fullAt.Store("")
	f.setHook(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		answer := httptest.NewRecorder()
		serve(answer, r)
		if r.Method == fullAt.Load() {
			fill(t, ballast)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w) // the product may have gone
	})
	fullAt.Store(http.MethodGet) // before SENT
	wantUnavailable(1, "010-0000-0003")
	fullAt.Store("")
	free()
	wait.Until(t, "the patient can be written", func() bool {
		return p.Update(Object{"patientId": f.patients[1], "phone": "010-0000-0004"})["__typename"] == "UpdatePatientContactSuccess"
	})
	f.wantPhones(1, OldPhone, "010-0000-0004")

	fullAt.Store(http.MethodPut) // before the end is written down
	told := p.Update(Object{"patientId": f.patients[2], "phone": "010-0000-0005"})
	Want(t, told, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-0000-0005", "patient.syncState": "PENDING"})
	fullAt.Store("")
	p.WantRead(f.patients[2], OldPhone, "PENDING")
	Want(t, p.ContactUpdate(told["operationId"]), Object{"state": "PENDING", "result": nil})
	if answer, err := write(2, "010-0000-0006"); err == nil && answer["applied"] != "NO" {
		t.Errorf("the next write is told %v", answer)
	}
	free()
	Want(t, p.Settled(told["operationId"]), Object{"state": "APPLIED"})
	p.WantRead(f.patients[2], "010-0000-0005", "SYNCED")
	f.wantPhones(2, OldPhone, "010-0000-0005")
}

// TestDatabaseFullPostgres fills the disk of a PostgreSQL server under load,
// which may end it.
func TestDatabaseFullPostgres(t *testing.T) {
	t.Parallel()
	disk, err := os.MkdirTemp("", "patientgraph-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(disk) })
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	server, ballast := newPostgresIn(t, disk), filepath.Join(disk, "ballast")
	c := simulated(t, server.url)
	c.underLoad(func(*Process) {
		for range length(3, 30) {
			time.Sleep(time.Second)
			fill(t, ballast)
			time.Sleep(1500 * time.Millisecond)
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			server.kill() // it may have ended by itself
			server.start()
		}
		if !strings.Contains(server.log.String(), "No space left on device") {
			t.Error("PostgreSQL never ran out of space")
		}
	})
}

// TestDatabaseConnectionsEnded ends every connection of the program to
// PostgreSQL, again and again.
func TestDatabaseConnectionsEnded(t *testing.T) {
	t.Parallel()
	OnEachServer(t, connectionsEnded)
}

func connectionsEnded(t *testing.T, databaseURL string) {
	c := simulated(t, databaseURL)
	admin := dbtest.Open(t, c.databaseURL)
	c.underLoad(func(*Process) {
		ended := int64(0)
		for range length(20, 400) {
			time.Sleep(150 * time.Millisecond)
			result, err := admin.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			if err != nil {
				t.Fatal(err)
			}
			n, err := result.RowsAffected()
			if err != nil {
				t.Fatal(err)
			}
			ended += n
		}
		t.Logf("%d connections ended", ended)
		if ended == 0 {
			t.Error("there was none")
		}
	})
}

// underLoad is the load of the crash test while something is done to the
// database; then everything is settled, and checked.
func (c *crash) underLoad(faults func(p *Process)) {
	c.t.Helper()
	p := c.launch("")
	end := c.load(p)
	faults(p)
	time.Sleep(time.Second)
	end()
	c.network.calm()
	c.settle(p)
	c.check(p)
}

// TestDatabaseLocked has another process hold the database for some seconds,
// shorter and longer than a transaction waits (SQLite 10 s, PostgreSQL 5 s).
func TestDatabaseLocked(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		c := simulated(t, databaseURL)
		c.underLoad(func(*Process) {
			for _, held := range []time.Duration{3 * time.Second, 11 * time.Second} {
				release := lockDatabase(t, databaseURL)
				time.Sleep(held)
				release()
				time.Sleep(time.Second)
			}
		})
	})
}

// TestDatabaseLockedForLong has the database be held until each of many
// writers has heard of it.
func TestDatabaseLockedForLong(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		f := watchFHIR(t, fhirsim.HAPI(), 16)
		MustImport(t, databaseURL, f.lines())
		p := Launch(t, Binary(t, ""), f.url, databaseURL)
		release := lockDatabase(t, databaseURL)
		var writers sync.WaitGroup
		told := make(chan time.Duration, len(f.patients))
		for _, number := range f.patients {
			writers.Go(func() {
				called := time.Now()
				answer, err := p.TryUpdate(Object{"patientId": number, "phone": "010-2222-2222"})
				told <- time.Since(called)
				if err == nil && answer["__typename"] == "UpdatePatientContactSuccess" {
					t.Error("a write went through the lock")
				}
			})
		}
		writers.Wait() // the lock is held until all have heard
		release()
		for range f.patients {
			t.Logf("told after %v", <-told)
		}
	})
}

// launchOnSmallDisk runs the program with its database on a disk of 32 MB of
// its own, in a mount namespace that ends with it. The directory returned is
// that disk seen from outside.
func (c *crash) launchOnSmallDisk() (*Process, string) {
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
	return p, fmt.Sprintf("/proc/%d/root%s", p.Command.Process.Pid, disk)
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return
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
