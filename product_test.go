package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"patientgraph/app"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirtest"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// onEachDatabase runs test with an empty SQLite database and an empty
// PostgreSQL one.
func onEachDatabase(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "cache.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, dbtest.Postgres(t))
	})
}

// syncBuffer is a buffer that a test may read while the product writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// product is the whole program, started as a user would.
type product struct {
	t      testing.TB
	url    string
	log    *syncBuffer
	stdout *syncBuffer
	stop   func() error // ends it and returns what run returned
}

// start runs the product with the given settings until the test ends.
func start(t testing.TB, settings map[string]string) *product {
	t.Helper()
	all := map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "LOG_LEVEL": "debug"}
	for name, value := range settings {
		all[name] = value
	}
	p := &product{t: t, log: &syncBuffer{}, stdout: &syncBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx, nil, func(name string) string { return all[name] }, p.stdout, p.log) }()
	p.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("the product ended with: %v", err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); p.url == ""; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the product did not start: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the product did not start in time; its log:\n%s", p.log)
		}
		for line := range strings.Lines(p.log.String()) {
			var entry struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				p.url = "http://" + entry.Address
			}
		}
	}
	return p
}

// startWith runs the product against a FHIR server and a database.
func startWith(t testing.TB, fhirURL, databaseURL string, more ...string) *product {
	t.Helper()
	settings := map[string]string{
		"FHIR_BASE_URL": fhirURL, "DATABASE_URL": databaseURL, "JWT_SECRET": testSecret,
		"FHIR_TIMEOUT": "2s", "PATIENT_ID_SYSTEM": fhirtest.DemoIdentifierSystem,
	}
	for i := 0; i < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	return start(t, settings)
}

// importInto runs the import command.
func importInto(t testing.TB, databaseURL, ndjson string, more ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patients.ndjson")
	if err := os.WriteFile(file, []byte(ndjson), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"DATABASE_URL": databaseURL, "PATIENT_ID_SYSTEM": fhirtest.DemoIdentifierSystem}
	for i := 0; i < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	var out, log syncBuffer
	err := app.Run(context.Background(), []string{"import", file}, func(name string) string { return settings[name] }, &out, &log)
	return out.String() + log.String(), err
}

// token returns a token for a role.
func token(t testing.TB, role auth.Role, patientID string) string {
	t.Helper()
	signed, err := auth.Sign([]byte(testSecret), auth.Config{RoleClaim: "role", PatientClaim: "patient_id"}, role, patientID, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// object is a JSON object of an answer.
type object map[string]any

// at follows a path of object keys.
func (o object) at(path ...string) any {
	var here any = map[string]any(o)
	for _, key := range path {
		m, ok := here.(map[string]any)
		if !ok {
			return nil
		}
		here = m[key]
	}
	return here
}

// post sends one request body to /graphql.
func (p *product) post(bearer, body string, headers ...string) (int, object) {
	p.t.Helper()
	status, _, answer := p.send(bearer, body, headers...)
	return status, answer
}

// send is post, and says how many bytes the answer has.
func (p *product) send(bearer, body string, headers ...string) (status, size int, answer object) {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodPost, p.url+"/graphql", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	answer = object{}
	if err := json.Unmarshal(text, &answer); err != nil {
		p.t.Fatalf("status %d with a body that is no JSON object: %.200s", response.StatusCode, text)
	}
	return response.StatusCode, len(text), answer
}

// query runs one operation and fails the test on GraphQL errors.
func (p *product) query(bearer, query string, variables object) object {
	p.t.Helper()
	body, err := json.Marshal(object{"query": query, "variables": variables})
	if err != nil {
		p.t.Fatal(err)
	}
	status, answer := p.post(bearer, string(body))
	if status != http.StatusOK || answer["errors"] != nil {
		p.t.Fatalf("status %d, errors %v", status, answer["errors"])
	}
	return object(answer["data"].(map[string]any))
}

const patientQuery = `query($id: ID!) { patient(id: $id) {
  id familyName givenName fullName birthDate birthYear gender phone email
  address { text lines city district state postalCode country }
  emergencyContact { name relationship phone } allergies bloodType
  fhirId isSynced lastSyncedAt syncState version createdAt updatedAt } }`

// patient returns every field of a patient in the cache, as an admin sees it.
func (p *product) patient(id string) object {
	p.t.Helper()
	found, _ := p.query(token(p.t, auth.RoleAdmin, ""), patientQuery, object{"id": id})["patient"].(map[string]any)
	return found
}

const contactMutation = `mutation($input: UpdatePatientContactInput!) { updatePatientContact(input: $input) {
  __typename
  ... on UpdatePatientContactSuccess { operationId patient { id phone email address { text lines city district state postalCode country } syncState lastSyncedAt version } }
  ... on UserError { message code retryable }
  ... on InvalidInput { fieldErrors { field message rule } }
  ... on FhirRejected { detail httpStatus issues { severity code message expression field } }
  ... on FhirUnavailable { detail applied pending: operationId retryAfterSeconds }
  ... on UpdateConflict { conflictingFields current { id phone email version } } } }`

// updateContact runs the mutation as the bearer.
func (p *product) updateContact(bearer string, input object) object {
	p.t.Helper()
	return p.query(bearer, contactMutation, object{"input": input})["updatePatientContact"].(map[string]any)
}

// want compares values of an answer, by JSON.
func want(t testing.TB, o object, expected object) {
	t.Helper()
	for key, value := range expected {
		got, err := json.Marshal(o.at(strings.Split(key, ".")...))
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, wanted) {
			t.Errorf("%s is %s, want %s (in %v)", key, got, wanted, o)
		}
	}
}

// wantLog fails unless the log has the line.
func (p *product) wantLog(line string) {
	p.t.Helper()
	if !strings.Contains(p.log.String(), line) {
		p.t.Errorf("the log lacks %q:\n%s", line, p.log)
	}
}

// testPatient is a FHIR Patient with everything that must survive an edit.
func testPatient(fhirID, number string) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"extension":[{"url":"http://example.org/score","valueDecimal":0.05000}],"identifier":[{"system":%q,"value":%q}],"name":[{"use":"official","text":"홍길동","family":"홍","given":["길동"]}],"telecom":[{"system":"fax","value":"02-111-2222"},{"system":"phone","value":"010-1111-2222","use":"mobile"},{"system":"email","value":"old@example.org","use":"home"}],"gender":"male","birthDate":"1990-05","_birthDate":{"extension":[{"url":"http://example.org/source","valueString":"passport"}]},"address":[{"use":"home","line":["1 Main St"],"city":"Seoul","postalCode":"04524","country":"KR"}],"unknownElement":{"kept":true}}`,
		fhirID, fhirtest.DemoIdentifierSystem, number)
}
