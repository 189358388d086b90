package e2e_test

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	. "patientgraph/app/apptest"
)

// TestDemo starts the product with nothing set and runs what it prints.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := Start(t)
	printed := regexp.MustCompile(`Token\s+(\S+)`).FindStringSubmatch(p.Stdout.String())
	if printed == nil {
		t.Fatalf("no token is printed:\n%s", p.Stdout)
	}
	demo := p.As(printed[1])
	for id, expected := range map[string]Object{
		"P-2025-000001": {"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"},
		"P-2025-000002": {"__typename": "UpdatePatientContactSuccess", "patient.syncState": "LOCAL_ONLY"},
		"P-2025-000003": {"__typename": "FhirRejected", "message": "Invalid phone format"},
		"P-2025-000004": {"__typename": "FhirUnavailable", "applied": "UNKNOWN", "detail": "Connection timeout"},
		"P-2025-000005": {"__typename": "UpdateConflict"},
	} {
		Want(t, demo.Update(Object{"patientId": id, "phone": "010-2345-6789"}), expected)
	}
	Want(t, demo.Query(`{ patient(id: "P-2025-000004") { syncState } patients(filter: {name: "길동"}) { totalCount } __schema { queryType { name } } }`, nil),
		Object{"patient.syncState": "PENDING", "patients.totalCount": 1, "__schema.queryType.name": "Query"})
	request := demo.Request(http.MethodGet, "/", "")
	request.Host = "attacker.example"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a page of another name gets the token: status %d", response.StatusCode)
	}
	for path, text := range map[string]string{"/": "PatientGraph", "/healthz": "ok", "/readyz": `{"database":"ok"}`, "/readyz?verbose": `"fhir":"ok"`} {
		if status, body := p.Get(path); status != http.StatusOK || !strings.Contains(body, text) {
			t.Errorf("%s: status %d, %.200s", path, status, body)
		}
	}
}

// TestAbuseKilledDemoIsCleanedUp kills a demo and starts the next.
func TestAbuseKilledDemoIsCleanedUp(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	binary := Binary(t, "")
	demo := func() (*exec.Cmd, string) {
		command := exec.Command(binary)
		command.Env = append(os.Environ(), "TMPDIR="+temp, "LISTEN_ADDR=127.0.0.1:0")
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
		line, err := bufio.NewReader(output).ReadString('\n') // it says welcome once it is ready
		if err != nil {
			t.Fatal(err)
		}
		return command, line
	}
	first, _ := demo()
	second, _ := demo()
	if dirs := demoDirs(t, temp); len(dirs) != 2 {
		t.Fatalf("two demos have %v", dirs)
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	third, _ := demo()
	if dirs := demoDirs(t, temp); len(dirs) != 2 { // the second lives, and the third
		t.Errorf("after a kill and a start: %v", dirs)
	}
	for _, command := range []*exec.Cmd{second, third} {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	}
	if dirs := demoDirs(t, temp); len(dirs) != 0 {
		t.Errorf("left: %v", dirs)
	}
}

func demoDirs(t *testing.T, temp string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(temp, "patientgraph-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
