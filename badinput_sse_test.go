package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"

	"patientgraph/auth"
)

// TestBodiesThatAreNoRequestAreNotLogged sends what is no GraphQL request to the
// transport for events, which would write it to stderr, patient data and all.
func TestBodiesThatAreNoRequestAreNotLogged(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	var out bytes.Buffer
	log.SetOutput(&out)
	defer log.SetOutput(os.Stderr)
	for _, body := range []string{
		`{"query":"mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }","variables":[{"i":{"phone":"010-5555-1234"}}]}`,
		`{"query":"mutation { x }","variables":{"i":{"phone":"010-5555-1234"}}`,
	} {
		q, err := http.NewRequest(http.MethodPost, s.url+"/graphql", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		q.Header.Set("Accept", "text/event-stream")
		q.Header.Set("Authorization", "Bearer "+token(t, auth.RoleAdmin, ""))
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, %v", a.StatusCode, err)
		}
		if strings.Contains(string(text), "010-5555-1234") {
			t.Errorf("answer: %s", text)
		}
	}
	if strings.Contains(out.String(), "010-5555-1234") {
		t.Errorf("log: %s", out.String())
	}
}
