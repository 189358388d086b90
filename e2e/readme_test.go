package e2e_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/graph"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// readmeBlocks are the code blocks of the README in one language, in order.
func readmeBlocks(t *testing.T, language string) (blocks []string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestREADMEOperations pastes each block of GraphQL into the demo, one after the other, as
// a reader does.
func TestREADMEOperations(t *testing.T) {
	t.Parallel()
	_, demo := startDemo(t)
	expected := []struct {
		has       string // in the block
		variables Object
		answer    Object // of a subscription: the event
	}{
		{has: `patient(id: "P-2025-000001")`, answer: Object{"patient.fullName": "홍길동"}},
		{has: "patients(filter: { name:", answer: Object{"patients.totalCount": 1}},
		{has: `phone: "010-2345-6789"`, answer: Object{"updatePatientContact.__typename": "UpdatePatientContactSuccess", "updatePatientContact.patient.phone": "010-2345-6789"}},
		{has: "updatePatientProfile", answer: Object{"updatePatientProfile.__typename": "UpdatePatientProfileSuccess", "updatePatientProfile.patient.allergies": []string{"Penicillin", "Latex"}}},
		{has: "idempotencyKey", answer: Object{"updatePatientContact.__typename": "FhirUnavailable", "updatePatientContact.applied": "UNKNOWN"}},
		{has: "contactUpdate(", answer: Object{"contactUpdate.state": "PENDING", "contactUpdate.result": nil}},
		{has: "contactUpdateSettled(", answer: Object{"data.contactUpdateSettled.state": "NOT_APPLIED", "data.contactUpdateSettled.result.__typename": "FhirUnavailable"}},
		{has: "changedAfter", variables: Object{"cursor": ""}, answer: Object{"patients.pageInfo.hasNextPage": false}},
		{has: "patientChanged(", answer: Object{"data.patientChanged.id": Number}},
	}
	blocks := readmeBlocks(t, "graphql")
	if len(blocks) != len(expected) {
		t.Fatalf("the README has %d operations, %d are tried", len(blocks), len(expected))
	}
	var operation string // whose outcome is not known
	for n, block := range blocks {
		want := expected[n]
		if !strings.Contains(block, want.has) {
			t.Fatalf("operation %d is not the one with %s:\n%s", n+1, want.has, block)
		}
		block = strings.ReplaceAll(block, "…", operation)
		if strings.HasPrefix(block, "subscription") {
			events := demo.Subscribe(block)
			event := make(chan Object, 1)
			go func() { next, _ := events.Next(); event <- next }()
			wait.Until(t, "the subscription tells", func() bool {
				demo.Update(Object{"patientId": Number, "phone": NewPhone}) // for patientChanged, as soon as it listens
				demo.Update(Object{"patientId": Number, "phone": OldPhone})
				return len(event) > 0
			})
			Want(t, <-event, want.answer)
			continue
		}
		answer := demo.Query(block, want.variables)
		Want(t, answer, want.answer)
		if id, ok := answer.At("updatePatientContact", "operationId").(string); ok {
			operation = id
		}
	}
}

// TestREADMECommands runs the shell blocks of the README that need Go, curl and openssl
// alone, in front of the demo, and of a FHIR server with patients. Those of OpenEMR are run
// by the tests of how to log in there.
func TestREADMECommands(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the README's commands need %s", tool)
		}
	}
	p, demo := startDemo(t)
	printed := regexp.MustCompile(`Token, of an admin (\S+)`).FindStringSubmatch(p.Stdout.String())[1]
	_, fhirURL := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, PatientJSON("a1", Number), PatientJSON("a2", "P-2025-000002"))
	dir := t.TempDir()
	if err := os.Symlink(Binary(t, ""), filepath.Join(dir, "patientgraph")); err != nil {
		t.Fatal(err)
	}
	replaced := strings.NewReplacer(
		"go build .\n", "", // it is there
		"http://127.0.0.1:8080", p.URL,
		"http://localhost:8090/fhir", fhirURL,
		"$(./patientgraph token --role admin) # in the demo: the one that it prints", printed,
		// to serve has no end of its own
		"./patientgraph                            # serves", "LISTEN_ADDR=127.0.0.1:0 ./patientgraph 2>serve.log & until grep -q '\"serving\"' serve.log; do sleep 0.1; done; kill $!; wait $! #",
	)
	bash := func(script string) *exec.Cmd {
		command := exec.CommandContext(t.Context(), "bash", "-e", "-c", replaced.Replace(script))
		command.Dir = dir
		command.Env = append(os.Environ(), "TOKEN="+printed, "DATABASE_URL=sqlite:"+filepath.Join(dir, "cache.db"))
		return command
	}
	run := func(script string) string {
		out, err := bash(script).CombinedOutput()
		if err != nil {
			t.Errorf("%v of\n%s\n%s", err, script, out)
		}
		return string(out)
	}
	has := func(out string, parts ...string) {
		for _, part := range parts {
			if !strings.Contains(out, part) {
				t.Errorf("no %q is printed:\n%s", part, out)
			}
		}
	}
	var set string // by the block before
	tried := map[string]func(block string){
		"go run .":      func(string) {}, // the demo
		"go test ./...": func(string) {},
		"export FHIR_BASE_URL=http://localhost": func(block string) {
			set, _, _ = strings.Cut(block, "\n")
			has(run(block), "eyJ")
		},
		"./patientgraph sync": func(block string) {
			if err := os.Remove(filepath.Join(dir, "cache.db")); err != nil { // a cache that is filled already shows nothing
				t.Fatal(err)
			}
			has(run(set+"\n"+block), "2 new, 0 updated", "2 kept as they were", "2 rows: 2 the same")
		},
		"go build .\n./patientgraph schema": func(block string) {
			has(run(block), graph.SDL())
			for file, part := range map[string]string{"schema.graphqls": graph.SDL(), "schema.json": `"__schema"`, "possibleTypes.json": `"UserError"`} {
				content, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				has(string(content), part)
			}
		},
		"TOKEN=": func(block string) {
			command := bash(block)
			var out locked.Buffer
			command.Stdout = &out
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			wait.Until(t, "curl is told of a change", func() bool {
				demo.Update(Object{"patientId": Number, "phone": NewPhone})
				demo.Update(Object{"patientId": Number, "phone": OldPhone})
				return strings.Contains(out.String(), `"patientChanged":{"id":"`+Number+`"`)
			})
			p.Stop() // curl ends with the stream
			_ = command.Wait()
		},
	}
	for _, block := range readmeBlocks(t, "sh") {
		if strings.Contains(block, "$EMR") || strings.HasPrefix(block, "export EMR=") {
			continue
		}
		known := slices.Collect(maps.Keys(tried))
		n := slices.IndexFunc(known, func(begin string) bool { return strings.HasPrefix(block, begin) })
		if n < 0 {
			t.Errorf("nobody tries\n%s", block)
			continue
		}
		tried[known[n]](block)
		delete(tried, known[n])
	}
	if len(tried) > 0 {
		t.Errorf("the README lacks %v", slices.Collect(maps.Keys(tried)))
	}
}
