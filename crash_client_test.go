package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// process is the real binary under test.
type process struct {
	t       *testing.T
	command *exec.Cmd
	log     *syncBuffer
	dead    chan struct{} // closed when it has ended
	url     string
	bearer  string
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
		return nil, fmt.Errorf("errors: %v", answer.Errors)
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
