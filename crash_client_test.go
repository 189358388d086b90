package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

// graphQLError is an answer that holds errors.
type graphQLError struct{ text string }

func (e graphQLError) Error() string { return e.text }

var errDead = errors.New("the process is dead")

// crashBinary builds the program with the hook that kills it.
func crashBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "patientgraph")
	if out, err := exec.Command("go", "build", "-tags", "crashtest", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// process is the real binary under test.
type process struct {
	t       *testing.T
	command *exec.Cmd
	log     *syncBuffer
	dead    chan struct{} // closed when it has ended
	url     string
	bearer  string
}

// launch starts the binary with the given NAME=value settings and waits until
// it serves, or is dead.
func launch(t *testing.T, binary string, settings ...string) *process {
	t.Helper()
	p := &process{t: t, log: &syncBuffer{}, dead: make(chan struct{}), bearer: token(t, auth.RoleAdmin, "")}
	p.command = exec.Command(binary)
	p.command.Env = slices.Concat(os.Environ(), []string{
		"LISTEN_ADDR=127.0.0.1:0", "JWT_SECRET=" + testSecret, "PATIENT_ID_SYSTEM=" + fhirtest.DemoIdentifierSystem, "LOG_FORMAT=json",
	}, settings)
	p.command.Stderr = p.log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.command.Wait() // how it ended is in ProcessState
		close(p.dead)
	}()
	t.Cleanup(p.kill)
	for deadline := time.Now().Add(30 * time.Second); p.alive(); time.Sleep(2 * time.Millisecond) {
		if address := p.address(); address != "" {
			p.url = "http://" + address
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not serve:\n%s", p.log)
		}
	}
	return p
}

func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may be dead already
	<-p.dead
}

// address is where it says it serves.
func (p *process) address() string {
	for line := range strings.Lines(p.log.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
			return entry.Address
		}
	}
	return ""
}

// call runs one operation. An error means that no answer came.
func (p *process) call(query string, variables object) (object, error) {
	if p.url == "" {
		return nil, errDead
	}
	body, err := json.Marshal(object{"query": query, "variables": variables})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, p.url+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+p.bearer)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data   object
		Errors []any
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	if answer.Errors != nil || answer.Data == nil {
		return nil, graphQLError{fmt.Sprint(answer.Errors)}
	}
	return answer.Data, nil
}

// contact is what of a patient a test compares.
type contact struct{ phone, email string }

// seen is a patient as the cache shows it.
type seen struct {
	contact
	state, version string
}

func (p *process) read(number string) (seen, error) {
	data, err := p.call(`query($id: ID!) { patient(id: $id) { phone email syncState version } }`, object{"id": number})
	if err != nil {
		return seen{}, err
	}
	text := func(field string) string { s, _ := data.at("patient", field).(string); return s }
	return seen{contact{text("phone"), text("email")}, text("syncState"), text("version")}, nil
}
