package apptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// builds holds a function for each build tag, which builds the program once.
var builds sync.Map

// Binary builds the program, once for each tag; "crashtest" brings the hook that
// kills it at a step, "" is what users have. It lies beside the test's own binary,
// which go test puts into a directory that it removes.
func Binary(t testing.TB, tag string) string {
	t.Helper()
	build, _ := builds.LoadOrStore(tag, sync.OnceValues(func() (string, error) {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		file := filepath.Join(filepath.Dir(self), "patientgraph"+tag)
		if out, err := exec.Command("go", "build", "-tags", tag, "-o", file, "patientgraph").CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return file, nil
	}))
	file, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Process is the program in a process of its own, which a test may kill.
type Process struct {
	*Client
	Command *exec.Cmd
	Log     *locked.Buffer
	Dead    chan struct{} // closed when it has ended
}

// Launch starts a binary with these settings, for the test at most, and returns when
// it serves or is dead.
func Launch(t testing.TB, binary, fhirURL, databaseURL string, settings ...string) *Process {
	t.Helper()
	p := &Process{Client: newClient(t), Command: exec.Command(binary), Log: &locked.Buffer{}, Dead: make(chan struct{})}
	p.Command.Env = slices.Concat(os.Environ(), OutsideDemo(fhirURL, databaseURL), []string{"LISTEN_ADDR=127.0.0.1:0", "LOG_FORMAT=json", "VERIFY_INTERVAL=0", "RATE_LIMIT=0"}, settings)
	p.Command.Stderr = p.Log
	if err := p.Command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Command.Wait() // how it ended is in ProcessState
		close(p.Dead)
	}()
	t.Cleanup(p.Kill)
	wait.Until(t, "the program serves", func() bool {
		p.URL = servingAt(p.Log)
		return p.URL != "" || !p.Alive()
	})
	return p
}

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.Dead:
		return false
	default:
		return true
	}
}

// Kill ends it as kill -9 does.
func (p *Process) Kill() {
	_ = p.Command.Process.Kill() // it may be dead already
	<-p.Dead
}
