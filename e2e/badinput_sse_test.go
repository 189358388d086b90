package e2e_test

import (
	"bytes"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
)

// TestBodiesThatAreNoRequestAreNotLogged sends what is no GraphQL request to the
// transport for events, which would write it to stderr, patient data and all.
func TestBodiesThatAreNoRequestAreNotLogged(t *testing.T) {
	s := StartSystem(t, dbtest.SQLite(t))
	var out bytes.Buffer
	log.SetOutput(&out)
	defer log.SetOutput(os.Stderr)
	for _, body := range []string{
		`{"query":"mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }","variables":[{"i":{"phone":"010-5555-1234"}}]}`,
		`{"query":"mutation { x }","variables":{"i":{"phone":"010-5555-1234"}}`,
	} {
		answer := s.Post(body, "Accept", "text/event-stream")
		if answer.Status != http.StatusBadRequest {
			t.Errorf("status %d", answer.Status)
		}
		if strings.Contains(JSON(t, answer.Object), "010-5555-1234") {
			t.Errorf("answer: %v", answer.Object)
		}
	}
	if strings.Contains(out.String(), "010-5555-1234") {
		t.Errorf("log: %s", out.String())
	}
}
