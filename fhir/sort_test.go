package fhir

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSorting(t *testing.T) {
	t.Parallel()
	const outcome = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"why"}]}`
	const good = `{"resourceType":"Patient","id":"p"}`
	const html = `<!DOCTYPE html><p>no</p>`
	missing := func(code, why string) string {
		return `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"` + code + `","diagnostics":"` + why + `"}]}`
	}
	const xml = `<OperationOutcome xmlns="http://hl7.org/fhir"><issue><severity value="error"/><diagnostics value="no"/></issue></OperationOutcome>`
	const wrongBase = "The server does not know this address; the FHIR base URL may be wrong (status 404)"
	tests := []struct {
		op     string
		status int
		body   string
		kind   Kind // 0: good
		reason string
	}{
		{OpRead, 200, good, 0, ""},
		{OpUpdate, 200, good, 0, ""},
		{OpUpdate, 201, good, 0, ""},
		{OpRead, 201, good, Unusable, "The server answered with status 201"},
		{OpUpdate, 202, good, Unusable, "The server answered with status 202"},
		{OpUpdate, 204, "", Unusable, "The server answered with status 204"},
		{OpRead, 206, good, Unusable, "The server answered with status 206"},
		{OpUpdate, 200, "", Unusable, "The server answered with an empty body (status 200)"},
		{OpUpdate, 200, html, Unusable, "The server answered with an HTML page (status 200)"},
		{OpUpdate, 200, good + good, Unusable, "The answer is unusable: not one JSON value"},
		{OpUpdate, 200, "[" + good + "]", Unusable, "The answer is unusable: not a JSON object"},
		{OpUpdate, 200, `{"resourceType":"Patient","id":"p","a":1,"a":1}`, Unusable, "The answer is unusable: a key given twice"},
		{OpUpdate, 200, `{"resourceType":"Patient","id":"q"}`, Unusable, "The answer is unusable: another patient"},
		{OpUpdate, 200, `{"resourceType":"Group","id":"p"}`, Unusable, "The answer is unusable: another kind of resource"},
		{OpUpdate, 200, outcome, Rejected, "why"}, // an error is one, whatever the status
		{OpUpdate, 201, outcome, Rejected, "why"},
		{OpRead, 200, outcome, Unusable, "The answer is unusable: another kind of resource"},
		{OpRead, 200, `{"resourceType":"Patient","id":"p","meta":{"tag":[{"code":"x"},{"code":"SUBSETTED"}]}}`, Unusable, "The answer is unusable: only a part of the resource (SUBSETTED)"},
		{OpRead, 200, `{"error":"An error occurred","message":"SQLSTATE[42S22]"}`, Unusable, "The answer is unusable: another kind of resource"},
		{OpUpdate, 307, "", Unusable, "The server answered with a redirect, which is not followed (status 307)"},
		{OpUpdate, 400, outcome, Rejected, "why"},
		{OpUpdate, 400, "", Rejected, "The server answered with an empty body (status 400)"},
		{OpUpdate, 400, html, Rejected, "The server answered with an HTML page (status 400)"},
		{OpUpdate, 400, `not JSON`, Rejected, "The server answered with status 400"},
		{OpUpdate, 400, `{"resourceType":"OperationOutcome","issue":[{"severity":"warning","diagnostics":"hm"}]}`, Rejected, "The server answered with status 400"},
		{OpUpdate, 400, `{"resourceType":"OperationOutcome","issue":[{"severity":"warning","diagnostics":"hm"},{"severity":"fatal","details":{"coding":[{"display":"D"}]}}]}`, Rejected, "D"},
		{OpUpdate, 400, `{"message":"Refresh Token revoked or logged out"}`, AuthFailed, "Refresh Token revoked or logged out"},
		{OpUpdate, 400, `{"validationErrors":{"uuid":{"p":"UUID p does not exist"}}}`, Gone, "UUID p does not exist"},
		{OpUpdate, 400, `{"validationErrors":{"uuid":{"invalid or nonexisting value":" value p"}}}`, Gone, "value p"},
		{OpUpdate, 400, `{"validationErrors":{"uuid":{"q":"UUID q does not exist"}}}`, Rejected, "UUID q does not exist"},
		{OpRead, 400, `{"validationErrors":{"_id":"UUID columns must be a valid UUID string"}}`, Gone, "UUID columns must be a valid UUID string"},
		{OpUpdate, 400, `{"validationErrors":{"_id":"x"}}`, Rejected, "x"},
		{OpUpdate, 400, `{"validationErrors":{}}`, Rejected, "The server answered with status 400"},
		{OpUpdate, 401, "", AuthFailed, "The server answered with an empty body (status 401)"},
		{OpRead, 401, outcome, AuthFailed, "why"},
		{OpRead, 403, outcome, Forbidden, "The server answered with status 403"},
		{OpUpdate, 403, outcome, Forbidden, "why"},
		{OpUpdate, 403, "", Forbidden, "The server answered with an empty body (status 403)"},
		{OpRead, 404, outcome, Unusable, wrongBase},
		{OpRead, 404, missing("processing", "HAPI-2001: Resource Patient/p is not known"), Gone, "HAPI-2001: Resource Patient/… is not known"},
		{OpRead, 404, missing("not-found", ""), Gone, "The server answered with status 404"},
		{OpRead, 404, missing("processing", "Not found"), Gone, "Not found"},
		{OpRead, 404, missing("processing", "No route for GET /Patient/p"), Unusable, wrongBase},
		{OpRead, 404, missing("security", "not found"), Unusable, wrongBase},
		{OpRead, 404, missing("not-found", "Tenant not found"), Unusable, wrongBase},
		{OpRead, 404, missing("processing", "HAPI-1319: Partition name clinic-2 is not valid or unknown"), Unusable, wrongBase},
		{OpRead, 404, " []\n", Gone, "The server answered with status 404"},
		{OpRead, 404, "", Unusable, wrongBase},
		{OpRead, 404, html, Unusable, wrongBase},
		{OpRead, 404, `{"error":"An error occurred","message":"Route not found","code":0}`, Unusable, wrongBase},
		{OpRead, 404, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","diagnostics":"HAPI-0302: Unknown resource type 'x'"}]}`, Unusable, wrongBase},
		{OpUpdate, 404, outcome, Rejected, wrongBase},
		{OpUpdate, 404, missing("not-found", "Patient p not found"), Gone, "Patient p not found"},
		{OpUpdate, 404, html, Rejected, wrongBase},
		{OpSearch, 404, outcome, Unusable, wrongBase},
		{OpUpdate, 405, outcome, Rejected, "why"},
		{OpUpdate, 408, outcome, Lost, "why"},
		{OpUpdate, 409, outcome, Conflict, "why"},
		{OpRead, 410, "", Gone, "The server answered with an empty body (status 410)"},
		{OpRead, 410, html, Rejected, "The server answered with an HTML page (status 410)"},
		{OpRead, 410, missing("deleted", "Resource was deleted"), Gone, "Resource was deleted"},
		{OpRead, 410, "Gone", Rejected, "The server answered with status 410"},
		{OpRead, 410, `{"error":"tenant gone"}`, Rejected, "The server answered with status 410"},
		{OpSearch, 410, outcome, Rejected, "why"},
		{OpUpdate, 412, outcome, Conflict, "why"},
		{OpUpdate, 423, "", Busy, "The server answered with an empty body (status 423)"},
		{OpUpdate, 423, html, Busy, "The server answered with an HTML page (status 423)"},
		{OpUpdate, 423, outcome, Conflict, "why"},
		{OpUpdate, 409, xml, Busy, "The server answered in XML (status 409)"},
		{OpUpdate, 409, `<?xml version="1.0"?><!DOCTYPE html><html></html>`, Busy, "The server answered with an HTML page (status 409)"},
		{OpUpdate, 422, `<?xml version="1.0"?>` + xml, Rejected, "The server answered in XML (status 422)"},
		{OpUpdate, 200, xml, Unusable, "The server answered in XML (status 200)"},
		{OpRead, 410, xml, Rejected, "The server answered in XML (status 410)"},
		{OpUpdate, 413, html, Rejected, "The server answered with an HTML page (status 413)"},
		{OpUpdate, 422, outcome, Rejected, "why"},
		{OpUpdate, 429, "", RateLimited, "The server answered with an empty body (status 429)"},
		{OpUpdate, 500, outcome, Lost, "why"},
		{OpUpdate, 500, outcome + outcome, Lost, "The server answered with status 500"},
		{OpUpdate, 501, "", Lost, "The server answered with an empty body (status 501)"},
		{OpUpdate, 502, html, Lost, "The server answered with an HTML page (status 502)"},
		{OpUpdate, 500, `{"message":"could not execute [insert into patient values (1)]"}`, Lost, internalError},
		{OpUpdate, 500, `{"message":"see <b>here</b>"}`, Lost, internalError},
	}
	for _, tt := range tests {
		id, want := "p", "Patient"
		if tt.op == OpSearch {
			id, want = "", "Bundle"
		}
		a := answer{request: request{op: tt.op, id: id, want: want}, status: tt.status, body: []byte(tt.body), sent: true,
			header: http.Header{"Content-Type": {"application/fhir+json; charset=UTF-8"}}, maxBody: 1 << 20, now: testNow}
		err := a.failure()
		if tt.kind == 0 {
			if err != nil {
				t.Errorf("%s %d %.60s: %v", tt.op, tt.status, tt.body, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Kind != tt.kind || e.Reason != tt.reason || e.Op != tt.op || e.Status != tt.status {
			t.Errorf("%s %d %.60s:\n got %v\nwant %v: %s", tt.op, tt.status, tt.body, err, tt.kind, tt.reason)
		}
	}
}

// A 403 is our own fault only where it says so of the token.
func TestForbiddenOrOurToken(t *testing.T) {
	t.Parallel()
	for challenge, want := range map[string]Kind{
		"":       Forbidden,
		`Bearer`: Forbidden,
		`Bearer realm="invalid_tokens", error="access_denied"`:                Forbidden,
		`Bearer realm="fhir", error="insufficient_scope", scope="user/*.cud"`: AuthFailed,
		`Basic realm="x", Bearer error=invalid_token`:                         AuthFailed,
		`bearer Error = "Insufficient_Scope"`:                                 AuthFailed,
	} {
		for _, op := range []string{OpRead, OpUpdate, OpSearch, OpHistory} {
			a := answer{request: request{op: op, id: "p", want: "Patient"}, status: 403, header: http.Header{"Www-Authenticate": {"Negotiate", challenge}}, maxBody: 1 << 20}
			var e *Error
			if err := a.failure(); !errors.As(err, &e) || e.Kind != want {
				t.Errorf("%s %q: %v, want %v", op, challenge, err, want)
			}
		}
	}
}

// A 409, 412 or 423 is a refusal only if an error names a value.
func TestBusyOrRefused(t *testing.T) {
	t.Parallel()
	issue := func(severity, code, text string) string {
		return `{"severity":"` + severity + `","code":"` + code + `","diagnostics":"` + text + `"}`
	}
	outcome := func(issues ...string) string {
		return `{"resourceType":"OperationOutcome","issue":[` + strings.Join(issues, ",") + `]}`
	}
	const hapi = "HAPI-0550: HAPI-0823: The operation has failed with a version constraint failure."
	busy := []string{
		"", " \n", "<html><h1>409 Conflict</h1></html>", "locked", "null", `"why"`, "[]", `{}`, `{"status":409}`, outcome(), outcome(`{"severity":"error"}`),
		outcome(issue("information", "informational", "profile checked"), issue("warning", "business-rule", "a pager")),
		outcome(issue("error", "processing", hapi)), outcome(issue("error", "processing", "HAPI-0550: HAPI-0989: Trying to update Patient/p/_history/1 but this is not the current version")),
		outcome(issue("error", "", "Deadlock found when trying to get lock; try restarting transaction")),
		`{"error":"conflict","message":"could not serialize access due to concurrent update"}`,
		outcome(issue("warning", "invalid", "hm"), issue("fatal", "timeout", "x"), issue("error", "throttled", "y")),
	}
	for _, text := range []string{
		"Patient/p is locked", "Record locked by Dr. X since 10:42", "The chart is currently being edited by another user", "This resource was modified by a different session",
		"Could not acquire an exclusive lock", "Row lock held", "LOCK CONFLICT", "lock wait timeout exceeded", "The record must be unlocked first", "Deadlocked", "edited concurrently", "locked.",
	} {
		for _, code := range []string{"processing", "business-rule", "invalid", "security", "unknown", "not-a-code", ""} {
			busy = append(busy, outcome(issue("error", code, text)))
		}
		busy = append(busy, `{"message":"`+text+`"}`)
	}
	for _, code := range []string{"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled", "conflict"} {
		busy = append(busy, outcome(issue("error", code, "a phone")), outcome(issue("fatal", code, "")))
	}
	refused := []string{
		outcome(issue("error", "processing", "Constraint failed: phone-1: 'Invalid phone format'")),
		outcome(issue("error", "processing", "HAPI-0550: HAPI-0822: The operation has failed with a unique index constraint failure.")),
		outcome(issue("error", "lock-error", "x"), issue("error", "business-rule", "a pager number is not accepted here")),
		outcome(issue("warning", "incomplete", "no postal code"), issue("error", "business-rule", "'deadlock' is no value here")),
		outcome(issue("error", "code-invalid", "'locked' is not in the value set")), outcome(issue("error", "value", "Block 7, Lock Street: no such address")),
		outcome(issue("error", "business-rule", "the number is in use by another patient")), `{"message":"unblocked numbers only"}`,
		outcome(issue("", "value", "x")), outcome(issue("error", "not-a-code", "x")), outcome(issue("error", "", "no pager")),
		`{"validationErrors":{"phone_home":{"x":"bad"}}}`, `{"message":"Invalid phone"}`,
	}
	for _, code := range []string{"invalid", "structure", "required", "value", "invariant", "processing", "not-supported", "duplicate",
		"multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension", "too-costly", "business-rule", "security", "forbidden"} {
		refused = append(refused, outcome(issue("error", code, "a phone")))
	}
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusLocked} {
		for want, bodies := range map[Kind][]string{Busy: busy, Conflict: refused} {
			for _, body := range bodies {
				a := answer{request: request{op: OpUpdate, id: "p", want: "Patient"}, status: status, body: []byte(body), header: http.Header{}, maxBody: 1 << 20}
				var e *Error
				if err := a.failure(); !errors.As(err, &e) || e.Kind != want {
					t.Errorf("%d %s: %v, want %v", status, body, err, want)
				}
			}
		}
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()
	for contentType, good := range map[string]bool{
		"application/fhir+json": true, "application/json;charset=utf-8": true, "Application/FHIR+JSON": true,
		"text/html": false, "text/plain": false, "": false, "application/fhir+xml": false, "application/json;;": false,
	} {
		a := answer{request: request{op: OpRead, id: "p", want: "Patient"}, status: 200,
			body: patientJSON("p", ""), header: http.Header{"Content-Type": {contentType}}}
		if err := a.failure(); (err == nil) != good {
			t.Errorf("%q: %v", contentType, err)
		}
	}
}

// Only a whole answer in JSON says that the patient is gone; 410 says so by itself.
func TestWhatProvesThatAPatientIsGone(t *testing.T) {
	t.Parallel()
	bodies := map[string]int{
		`[]`: 404, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}`: 404,
		`{"validationErrors":{"uuid":{"p":"UUID p does not exist"}}}`: 400,
	}
	for body, status := range bodies {
		for contentType, proves := range map[string]bool{"application/fhir+json": true, "application/json": true, "text/html": false, "": false} {
			for _, broken := range []error{nil, io.ErrUnexpectedEOF} {
				a := answer{request: request{op: OpUpdate, id: "p", want: "Patient"}, status: status, body: []byte(body), err: broken, sent: true,
					header: http.Header{"Content-Type": {contentType}}, maxBody: 1 << 20, now: testNow}
				var e *Error
				if want := proves && broken == nil; !errors.As(a.failure(), &e) || (e.Kind == Gone) != want {
					t.Errorf("%d %s as %q, %v: %v, want gone: %v", status, body, contentType, broken, e, want)
				}
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"-7":                            0,
		"99999999":                      24 * time.Hour,
		"soon":                          0,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Mon, 23 Nov 2026 11:00:00 GMT": 0,
	} {
		a := answer{request: request{op: OpUpdate}, status: 503, header: http.Header{"Retry-After": {value}}, now: testNow}
		var e *Error
		if !errors.As(a.failure(), &e) || e.RetryAfter != want {
			t.Errorf("%q: %v", value, e)
		}
	}
}

func TestTidy(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("가", 400)
	for text, want := range map[string]string{
		"a\x00b\nc\u202e d":               "a b c d",
		long:                              long[:299*3] + "…",
		"2 < 3 > 1":                       "2 < 3 > 1",
		"please select one from the list": "please select one from the list",
		"UPDATE patient_data SET x = 1":   internalError,
	} {
		if got := SecretsOf().Text(text, "value"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
