package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// wantAway fails unless an operation is told that the database is away, and when to try
// again.
func wantAway(c *Client, query string, variables Object) (message string) {
	c.T.Helper()
	response, err := http.DefaultClient.Do(c.Request(http.MethodPost, "/graphql", Body(c.T, query, variables), "Accept-Language", "en"))
	if err != nil {
		c.T.Fatal(err)
	}
	response.Body.Close()
	answer := c.Post(Body(c.T, query, variables))
	faults, _ := answer.At("errors").([]any)
	if len(faults) == 0 {
		c.T.Errorf("%s is answered: %v", query, answer.Object)
		return ""
	}
	fault := Object(faults[0].(map[string]any))
	after := fault.At("extensions", "retryAfterSeconds")
	if answer.ErrorCode() != "UNAVAILABLE" || after != 5.0 || response.Header.Get("Retry-After") != "5" {
		c.T.Errorf("%s: Retry-After %q, %v", query, response.Header.Get("Retry-After"), answer.Object)
	}
	message, _ = fault["message"].(string)
	return message
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	s := StartSystem(t, databaseURL)
	operation := s.Update(Object{"patientId": Number, "phone": NewPhone})["operationId"]
	puts := s.Puts()
	own := s.As(Token(t, auth.RolePatient, Number))

	open := dbtest.Shut(t, databaseURL)
	for _, c := range []*Client{s.Client, own} {
		for query, variables := range map[string]Object{
			PatientQuery: {"id": Number},
			`query($id: ID!) { node(id: $id) { id } }`:                                           {"id": Number},
			`query($id: ID!) { contactUpdate(operationId: $id) { state } }`:                      {"id": operation},
			`{ patients(first: 2) { nodes { id } } }`:                                            nil,
			`{ patients(filter: {changedAfter: ""}) { nodes { id } pageInfo { hasNextPage } } }`: nil,
			`{ patients { totalCount } }`:                                                        nil,
		} {
			if message := wantAway(c, query, variables); strings.Contains(message, "incident") {
				t.Errorf("%s: %q", query, message)
			}
		}
		for _, number := range []string{Number, LocalNumber} {
			if c == own && number == LocalNumber {
				continue // NotPermitted, without a look
			}
			if message := wantAway(c, ContactMutation, Object{"input": Object{"patientId": number, "phone": "010-1234-5678"}}); !strings.Contains(message, "changed") {
				t.Errorf("a change of %s: %q", number, message)
			}
		}
	}
	wantAway(s.Client, profileMutation, Object{"input": Object{"patientId": Number, "bloodType": "A+"}})
	wantAway(s.Client, `{ mirror { patients } }`, nil)
	if log := s.Log.String(); !strings.Contains(log, `"msg":"the database is away"`) || strings.Contains(log, "internal error") {
		t.Error("the log does not say that the database is away")
	}
	if is := scrape(s.Product); strings.Contains(is.text, "\npatientgraph_unavailable_answers_total 0\n") || !strings.Contains(is.text, "\npatientgraph_internal_errors_total 0\n") {
		t.Error("the metrics do not say that callers were told UNAVAILABLE, or say that they were told INTERNAL")
	}
	if s.Puts() != puts {
		t.Error("a write was sent")
	}

	open()
	wait.Until(t, "the database is back", func() bool { _, err := s.Call(PatientQuery, Object{"id": Number}); return err == nil })
	Want(t, s.Patient(Number), Object{"phone": NewPhone, "bloodType": nil})
	Want(t, s.Update(Object{"patientId": Number, "phone": "010-1234-5678"}), Object{"__typename": "UpdatePatientContactSuccess"})
}

func TestASubscriptionToADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	s := StartSystem(t, databaseURL)
	operation, _ := s.Update(Object{"patientId": Number, "phone": NewPhone})["operationId"].(string)
	defer dbtest.Shut(t, databaseURL)()
	for _, subscription := range []string{
		`subscription { patientChanged(id: "` + Number + `") { id } }`,
		`subscription { contactUpdateSettled(operationId: "` + operation + `") { state } }`,
	} {
		event, _ := s.Subscribe(subscription).Next()
		if event.ErrorCode() != "UNAVAILABLE" {
			t.Errorf("%s: %v", subscription, event)
		}
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// The file of an SQLite cache is moved away: reads go on by what is open, writes wait
// for its return.
func TestAWriteToAFileThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.db")
	s := StartSystem(t, "sqlite:"+path)
	rename(t, path, path+".away")
	for _, number := range []string{Number, LocalNumber} {
		if message := wantAway(s.Client, ContactMutation, Object{"input": Object{"patientId": number, "phone": NewPhone}}); !strings.HasPrefix(message, "this mutation changed nothing: ") {
			t.Errorf("%s: %q", number, message)
		}
	}
	if message := wantAway(s.Client, profileMutation, Object{"input": Object{"patientId": Number, "bloodType": "A+"}}); !strings.HasPrefix(message, "this mutation changed nothing") {
		t.Errorf("the profile: %q", message)
	}
	rename(t, path+".away", path)
	Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
	Want(t, s.Patient(Number), Object{"bloodType": nil})
}

// The database goes away while a PUT is under way: the caller hears what became of it, and
// the cache follows when the database is back.
func TestAWriteThatHasBegunEndsThoughTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	server, base := StartFHIR(t, fhirsim.Options{})
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	opens := make(chan func(), 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			opens <- dbtest.Shut(t, databaseURL)
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	stored, _, _ := server.Get("a1")
	MustImport(t, databaseURL, string(stored))
	p := StartWith(t, front.URL+target.Path, databaseURL)

	told := p.Update(Object{"patientId": Number, "phone": NewPhone})
	Want(t, told, Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": NewPhone, "patient.syncState": "PENDING"})
	(<-opens)()
	Want(t, p.Settled(told["operationId"]), Object{"state": "APPLIED"})
	Want(t, p.Patient(Number), Object{"phone": NewPhone, "syncState": "SYNCED"})
}

// Two mutations in one request, of which one meets a row that nobody can read: the data of
// both is null, and the error says what became of the other.
func TestAMutationThatFailsTellsOfTheOthers(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL)
	if _, err := dbtest.Open(t, databaseURL).Exec(`UPDATE patients SET address = '{"text":' WHERE id = '` + LocalNumber + `'`); err != nil {
		t.Fatal(err)
	}
	answer := s.Post(Body(t, `mutation($a: UpdatePatientContactInput!, $b: UpdatePatientContactInput!, $c: UpdatePatientProfileInput!) {
		a: updatePatientContact(input: $a) { __typename } b: updatePatientContact(input: $b) { __typename } c: updatePatientProfile(input: $c) { __typename } }`,
		Object{"a": Object{"patientId": Number, "phone": NewPhone}, "b": Object{"patientId": LocalNumber, "phone": NewPhone}, "c": Object{"patientId": Number, "bloodType": "A+"}}))
	fault := Object(answer.At("errors").([]any)[0].(map[string]any))
	message, _ := fault["message"].(string)
	others, _ := fault.At("extensions", "othersAnswered").(map[string]any)
	operation, _ := others["a"].(string)
	if _, profile := others["c"]; answer.At("data") != nil || !strings.HasPrefix(message, "this mutation changed nothing, others of the request may have: ") || len(others) != 2 || !profile {
		t.Fatalf("%v", answer)
	}
	update := s.Query(`query($id: ID!) { contactUpdate(operationId: $id) { state } }`, Object{"id": operation})
	Want(t, update["contactUpdate"].(map[string]any), Object{"state": "APPLIED"})
	Want(t, s.Patient(Number), Object{"phone": NewPhone, "bloodType": "A+"})

	alone := s.Post(Body(t, profileMutation, Object{"input": Object{"patientId": LocalNumber, "bloodType": "A+"}}))
	fault = alone.At("errors").([]any)[0].(map[string]any)
	if message, _ := fault["message"].(string); !strings.HasPrefix(message, "this mutation changed nothing: ") || fault.At("extensions", "othersAnswered") != nil {
		t.Errorf("%v", alone)
	}
}
