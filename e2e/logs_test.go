package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// lines are those of a log whose msg begins so. Every line must be JSON.
func lines(t *testing.T, log *locked.Buffer, msg string) (found []Object) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var o Object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("no JSON: %s", line)
		}
		if text, _ := o["msg"].(string); strings.HasPrefix(text, msg) {
			found = append(found, o)
		}
	}
	return found
}

// wantLine fails unless one line of the log begins so and has these fields and a
// duration.
func wantLine(t *testing.T, log *locked.Buffer, msg string, fields Object) {
	t.Helper()
	wait.Until(t, "the log has "+msg, func() bool {
		return slices.ContainsFunc(lines(t, log, msg), func(line Object) bool { return line["request_id"] == fields["request_id"] })
	})
	for _, line := range lines(t, log, msg) {
		if line["request_id"] != fields["request_id"] {
			continue
		}
		for name, value := range fields {
			if line[name] != value {
				t.Errorf("%s: %s is %v, want %v", msg, name, line[name], value)
			}
		}
		if ms, isNumber := line["ms"].(float64); !isNumber || ms < 0 {
			t.Errorf("%s: it took %v ms", msg, line["ms"])
		}
	}
}

func TestEachUpdateIsALineWithItsFields(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for _, c := range []struct {
		id, level, msg, outcome string
		fault                   fhirsim.Fault
	}{
		{"r-1", "INFO", "FHIR update success for patient " + Number, "SUCCESS", fhirsim.Fault{}},
		{"r-2", "WARN", "FHIR validation failed for patient " + Number, "FHIR_REJECTED", fhirsim.Fault{On: http.MethodPut, Times: 1, Status: http.StatusUnprocessableEntity}},
		{"r-3", "ERROR", "FHIR server error for patient " + Number, "FHIR_RATE_LIMITED", fhirsim.Fault{On: http.MethodGet, Status: http.StatusTooManyRequests}},
	} {
		s.FHIR.SetFault("", c.fault)
		answer := s.Post(Body(t, ContactMutation, Object{"input": Object{"patientId": Number, "phone": "010-5555-" + c.id[2:] + "000"}}), "X-Request-Id", c.id)
		operation := Object(answer.Object).At("data", "updatePatientContact", "operationId")
		wantLine(t, s.Log, c.msg, Object{"level": c.level, "patient": Number, "operation": operation, "outcome": c.outcome, "role": "admin", "request_id": c.id})
	}
}

// The access log says who asked for what, and nothing that was written in it.
func TestTheAccessLogHoldsNothingThatCallersWrote(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	nurse := s.As(Token(t, auth.RoleNurse, ""))
	const secret = "Okoro"
	for id, c := range map[string]struct {
		client *Client
		body   string
		fields Object
	}{
		"named":     {nurse, Body(t, `query Ward($p: ID!) { patient(id: $p) { id } }`, Object{"p": secret}), Object{"operation_name": "Ward", "operation_type": "query", "status": 200.0, "role": "nurse"}},
		"unnamed":   {nurse, Body(t, `{ patient(id: "`+secret+`") { id } }`, nil), Object{"operation_name": "", "operation_type": "query", "status": 200.0}},
		"refused":   {s.As(""), Body(t, `query `+secret+` { viewer { role } }`, nil), Object{"operation_name": "", "status": 401.0, "role": nil}},
		"no query":  {nurse, Body(t, `query `+secret+` { `, nil), Object{"operation_name": "", "operation_type": ""}},
		"no JSON":   {nurse, secret, Object{"operation_name": "", "status": 400.0, "role": "nurse"}},
		"a comment": {nurse, Body(t, "# "+secret+"\nmutation M($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }", Object{"i": Object{"patientId": secret, "phone": secret}}), Object{"operation_name": "M", "operation_type": "mutation"}},
	} {
		id = strings.ReplaceAll(id, " ", "-")
		c.fields["request_id"], c.fields["level"], c.fields["method"] = id, "INFO", "POST"
		c.client.Post(c.body, "X-Request-Id", id)
		wantLine(t, s.Log, "GraphQL request", c.fields)
	}
	s.Get("/graphql?query=" + secret)
	s.Get("/" + secret + "?" + secret)
	s.Get("/readyz?" + secret)
	wait.Until(t, "the log has the other paths", func() bool { return len(lines(t, s.Log, "request")) >= 2 })
	for _, line := range lines(t, s.Log, "request") {
		if line["msg"] == "request" && line["level"] != "DEBUG" {
			t.Errorf("%v", line)
		}
	}
	if strings.Contains(s.Log.String(), secret) {
		t.Errorf("the log has %s:\n%s", secret, s.Log)
	}
}

func TestTheRequestIDIsReturned(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "CORS_ORIGINS=https://portal.example")
	for given, returned := range map[string]string{"from-a-proxy": "from-a-proxy", "Kim Min-su": ""} {
		response, err := http.DefaultClient.Do(s.Request(http.MethodPost, "/graphql", `{"query":"{ viewer { role } }"}`, "X-Request-Id", given, "Origin", "https://portal.example"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		h := response.Header
		if id := h.Get("X-Request-Id"); id == "" || returned != "" && id != returned || strings.Contains(id, "Kim") {
			t.Errorf("%q came back as %q", given, id)
		}
		if !strings.Contains(h.Get("Access-Control-Expose-Headers"), "X-Request-Id") {
			t.Errorf("a page may not read the id: %v", h)
		}
	}
}

func TestTheLastLineSaysThatItStopped(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	all := lines(t, s.Log, "")
	if last := all[len(all)-1]; last["msg"] != "stopped" {
		t.Errorf("the last line is %v", last)
	}
}

// TestAStartThatFailsIsALine: who collects stderr gets JSON to the last line.
func TestAStartThatFailsIsALine(t *testing.T) {
	t.Parallel()
	p := Launch(t, Binary(t, ""), "http://127.0.0.1:1", "sqlite:/nowhere/at/all.db")
	<-p.Dead
	all := lines(t, p.Log, "")
	if len(all) == 0 || all[len(all)-1]["level"] != "ERROR" || all[len(all)-1]["msg"] != "ended by an error" || !strings.Contains(all[len(all)-1]["error"].(string), "DATABASE_URL") {
		t.Errorf("it wrote %s", p.Log)
	}
}
