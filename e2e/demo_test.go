package e2e_test

import (
	"bufio"
	"cmp"
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

// startDemo starts the product with nothing set but these, and reads the token that it
// prints.
func startDemo(t *testing.T, settings ...string) (p *Product, demo *Client) {
	t.Helper()
	p = Start(t, settings...)
	printed := regexp.MustCompile(`Token, of an admin (\S+)`).FindStringSubmatch(p.Stdout.String())
	if printed == nil {
		t.Fatalf("no token is printed:\n%s", p.Stdout)
	}
	return p, p.As(printed[1])
}

// TestDemo runs what the demo prints, and what the README and the playground say, on
// each kind of server.
func TestDemo(t *testing.T) {
	t.Parallel()
	for server, c := range map[string]struct{ software, fifth, fifthTab string }{
		"":        {"HAPI FHIR Server 8.8.0", "UpdateConflict", "Conflict"},
		"hapi":    {"HAPI FHIR Server 8.8.0", "UpdateConflict", "Conflict"},
		"medplum": {"medplum 5.2", "UpdateConflict", "Conflict"},
		"openemr": {"OpenEMR 8.1.1-dev", "UpdatePatientContactSuccess", "CannotApply"},
	} {
		t.Run(cmp.Or(server, "default"), func(t *testing.T) {
			t.Parallel()
			p, demo := startDemo(t, "DEMO_SERVER="+server)
			if !strings.Contains(p.Stdout.String(), "behaves as "+c.software+".") {
				t.Errorf("it says of itself:\n%s", p.Stdout)
			}
			Want(t, demo.Query(readmeBlock(t, "query {"), nil), Object{
				"patient.fullName": "홍길동", "patient.birthDate": "1990-05-15", "patient.phone": "010-1234-5678",
				"patient.email": "gildong.hong@example.com", "patient.address.city": "서울특별시", "patient.syncState": "SYNCED",
			})
			Want(t, demo.Query(readmeBlock(t, "mutation {"), nil), Object{
				"updatePatientContact.__typename": "UpdatePatientContactSuccess", "updatePatientContact.patient.phone": "010-2345-6789",
				"updatePatientContact.patient.syncState": "SYNCED",
			})
			for id, expected := range map[string]Object{
				"P-2025-000002": {"__typename": "UpdatePatientContactSuccess", "patient.syncState": "LOCAL_ONLY"},
				"P-2025-000003": {"__typename": "FhirRejected", "message": "Invalid phone format"},
				"P-2025-000004": {"__typename": "FhirUnavailable", "applied": "UNKNOWN", "detail": "Connection timeout"},
				"P-2025-000005": {"__typename": c.fifth},
				"P-2025-000029": {"__typename": "UpdatePatientContactSuccess"},
			} {
				Want(t, demo.Update(Object{"patientId": id, "phone": "010-2345-6789"}), expected)
			}
			Want(t, demo.Query(`{ patient(id: "P-2025-000004") { syncState } patients(filter: {name: "길동"}) { totalCount } __schema { queryType { name } } }`, nil),
				Object{"patient.syncState": "PENDING", "patients.totalCount": 1, "__schema.queryType.name": "Query"})
			if status, page := p.Get("/"); status != http.StatusOK || !strings.Contains(page, `mutation `+c.fifthTab+` `) {
				t.Errorf("the playground (status %d) has no tab %s", status, c.fifthTab)
			}
		})
	}
}

// TestDemoOfOpenEMRCannotApply: what OpenEMR cannot store is told before anything is
// sent, in the demo too.
func TestDemoOfOpenEMRCannotApply(t *testing.T) {
	t.Parallel()
	_, demo := startDemo(t, "DEMO_SERVER=openemr")
	for name, input := range map[string]Object{
		"text alone":      {"patientId": "P-2025-000005", "address": Object{"text": "서울특별시 중구 세종대로 110"}},
		"district":        {"patientId": "P-2025-000029", "address": Object{"lines": []string{"교육길 13"}, "city": "나주시", "district": "빛가람동", "postalCode": "58226"}},
		"no gender":       {"patientId": "P-2025-000012", "phone": "010-2345-6789"},
		"other gender":    {"patientId": "P-2025-000009", "phone": "010-2345-6789"},
		"no birth date":   {"patientId": "P-2025-000019", "phone": "010-2345-6789"},
		"half birth date": {"patientId": "P-2025-000008", "phone": "010-2345-6789"},
	} {
		was := demo.Patient(input["patientId"].(string))
		answer := demo.Update(input)
		Want(t, answer, Object{"__typename": "FhirRejected", "code": "FHIR_CANNOT_APPLY", "httpStatus": nil})
		if t.Failed() {
			t.Fatalf("%s: %v", name, answer)
		}
		is := demo.Patient(input["patientId"].(string))
		Want(t, is, Object{"phone": was["phone"], "address": was["address"], "syncState": "SYNCED"})
	}
}

// readmeBlock is the code block of the README that begins with these words.
func readmeBlock(t *testing.T, begin string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(readme), "```") {
		_, block, _ = strings.Cut(block, "\n") // after the language
		if i%2 == 1 && strings.HasPrefix(block, begin) {
			return block
		}
	}
	t.Fatalf("the README has no block that begins with %q", begin)
	return ""
}

// TestTheDemoIsForThisMachineAlone: a page of another name gets no token.
func TestTheDemoIsForThisMachineAlone(t *testing.T) {
	t.Parallel()
	p, demo := startDemo(t)
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
