package fhir

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"patientgraph/internal/recordings"
)

// header is what is replayed: the length is the body's own, for some were blanked.
func header(r recordings.Recording) http.Header {
	h := http.Header(r.Response.Headers).Clone()
	h.Del("Content-Length")
	h.Del("Transfer-Encoding")
	return h
}

// ofOpenEMR: its version is none, and an address's period is no content.
func ofOpenEMR(r recordings.Recording) bool { return strings.HasPrefix(r.Request.Path, "/apis/") }

// replay serves the recording and does what its request did; the OAuth and
// PATCH ones are answered to a Read.
func replay(t *testing.T, r recordings.Recording) (Resource, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, values := range header(r) {
			w.Header()[k] = values
		}
		w.WriteHeader(r.Response.Status)
		if _, err := w.Write([]byte(r.Response.Body)); err != nil && r.Response.Status != http.StatusNotModified {
			t.Errorf("write: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	c := newTestClient(t, server.URL+"/fhir", func(o *Options) {
		if ofOpenEMR(r) {
			o.Server = "openemr"
		}
	})
	at, err := url.Parse(r.Request.Path)
	if err != nil {
		t.Fatal(err)
	}
	id := filepath.Base(at.Path)
	switch {
	case id == "Patient" || id == "fhir":
		first := c.searchURL(at.Query())
		w, err := c.newWalk(t.Context())
		if err != nil {
			return Resource{}, err
		}
		page := w.read(t.Context(), &first) // what was recorded: one page
		if err := cmp.Or(page.err, page.linkErr); err != nil || len(page.entries) == 0 {
			return Resource{}, err
		}
		return page.entries[0].patient, page.entries[0].err
	case r.Request.Method == http.MethodPut:
		body := []byte(r.Request.Body)
		if len(body) == 0 { // HAPI's were recorded without; put-bad-date repeats this
			body = patientJSON(id, `"birthDate":"14/11/1949"`)
		}
		u, err := c.Update(t.Context(), id, body, "")
		return u.Resource, err
	}
	return c.Read(t.Context(), id)
}

type replayCase struct {
	kind   Kind // 0: a good answer
	reason string
	issues []Issue
	silent bool // a good answer that does not show the patient
}

func invalid(field, message string) Issue {
	return Issue{Severity: "error", Code: "invalid", Message: message, Expression: []string{field}}
}

func processing(message string, expression ...string) Issue {
	return Issue{Severity: "error", Code: "processing", Message: message, Expression: append([]string{}, expression...)}
}

var openEMRCases = map[string]replayCase{
	"get-7.0.3":                           {},
	"get-8.0.0":                           {},
	"get-unknown-id":                      {kind: Gone, reason: "The server answered with status 404"},
	"no-token-8.0.0":                      one(AuthFailed, "The resource owner or authorization server denied the request."),
	"put-address-text-only-blanks":        {},
	"put-bad-email":                       {kind: Rejected, reason: "Email … is not a valid email", issues: []Issue{invalid("email", "Email … is not a valid email")}},
	"put-database-dies-midway-8.0.0":      {kind: Unusable, reason: "The server answered with an HTML page (status 200)"},
	"put-echo-one-phone-changed-7.0.3":    {kind: Lost, reason: "The server answered with an empty body (status 500)"},
	"put-echo-one-phone-changed-8.0.0":    one(Lost, "Call to a member function getUrl() on array"),
	"put-no-acl":                          one(Forbidden, "Organization policy does not have permit access resource"),
	"put-no-birthdate-no-gender":          {kind: Rejected, reason: "Gender must not be empty", issues: []Issue{invalid("sex", "Gender must not be empty"), invalid("DOB", "Date of Birth must not be empty")}},
	"put-phone-without-use-nothing-saved": {},
	"put-safe-body-home-phone-8.0.0":      {},
	"put-session-revoked":                 one(AuthFailed, "Refresh Token revoked or logged out"),
	"put-sql-error-7.0.3":                 {kind: Unusable, reason: "The server answered with an HTML page (status 200)"},
	"put-sql-error-8.0.0":                 {kind: Lost, reason: "The server answered with an HTML page (status 500)"},
	"put-two-line-address-grows":          {},
	"put-unknown-element":                 {kind: Rejected, reason: "Invalid content _birthDate Found", issues: []Issue{{"error", "invalid", "Invalid content _birthDate Found", []string{}}}},
	"put-unknown-id":                      {kind: Gone, reason: "UUID … does not exist", issues: []Issue{invalid("uuid", "UUID … does not exist")}},
	"search-count-1-sorted":               {},
	"search-unsupported-parameter":        {},
	"token-refresh-used-twice":            one(AuthFailed, "The refresh token is invalid. (Token has been revoked)"),
	"token-without-write-scope-7.0.3":     {kind: AuthFailed, reason: "The server answered with an empty body (status 401)"},
	"token-without-write-scope-8.0.0":     one(AuthFailed, "Unauthorized"),
	"unknown-route-patch-8.0.0":           {kind: Unusable, reason: "The server does not know this address; the FHIR base URL may be wrong (status 404)"},
}

// one is a case with a single issue that says the reason.
func one(kind Kind, reason string, expression ...string) replayCase {
	return replayCase{kind: kind, reason: reason, issues: []Issue{processing(reason, expression...)}}
}

var hapiCases = map[string]replayCase{
	"bearer-missing":              one(AuthFailed, "Missing or wrong bearer token"),
	"get":                         {},
	"get-deleted":                 one(Gone, "Resource was deleted at 2026-11-23T19:22:59.442+00:00"),
	"get-not-modified":            {kind: Unusable, reason: "The server answered with a redirect, which is not followed (status 304)"},
	"get-unknown":                 one(Gone, "HAPI-2001: Resource Patient/… is not known"),
	"put-bad-date":                one(Rejected, `HAPI-0450: Failed to parse request body as JSON resource. Error was: HAPI-1821: [element="birthDate"] Invalid attribute value "…": Invalid date/time format: "…"`),
	"put-bad-phone":               one(Rejected, "Invalid phone format", "Patient.telecom[0].value"),
	"put-body-without-id":         one(Rejected, "HAPI-0419: Can not update resource, resource body must contain an ID element for update (PUT) operation"),
	"put-malformed":               one(Lost, "HAPI-0331: ca.uhn.fhir.parser.DataFormatException: HAPI-1861: Failed to parse JSON encoded FHIR content: Unexpected end-of-input within/between Object entries at [line: 1, column: 27]"),
	"put-numeric-id":              one(Rejected, "HAPI-0960: Can not create resource with ID[…], no resource with this ID exists and clients may only assign IDs which contain at least one non-numeric character"),
	"put-odd-if-match":            one(Lost, `HAPI-2223: For input string: "0193-a"`),
	"put-race-without-if-match":   one(Busy, "HAPI-0550: HAPI-0823: The operation has failed with a version constraint failure. This generally means that two clients/threads were trying to update the same resource at the same time, and this request was chosen as the failing request."),
	"put-return-minimal":          {silent: true},
	"put-return-operationoutcome": {silent: true},
	"put-stale-if-match":          one(Busy, "HAPI-0550: HAPI-0989: Trying to update Patient/…/_history/1 but this is not the current version"),
	"search-expired-page":         one(Rejected, `HAPI-0417: Search ID "00000000-0000-0000-0000-000000000000" does not exist and may have expired`),
	// Its next link names the host it was recorded at.
	"search-offset": {kind: Unusable, reason: "The answer is unusable: its next link leads away from FHIR_BASE_URL, to http://127.0.0.1:8191; with FHIR_REWRITE_LINKS=true the same query is asked of FHIR_BASE_URL"},
}

// hapiErrors are recordings with many issues: kind, reason, count, and the
// expression of the first.
var hapiErrors = map[string]struct {
	kind       Kind
	reason     string
	issues     int
	expression string
}{
	"full-put-us-core":         {Rejected, "Profile reference 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient' has not been checked because it could not be found", 8, ""},
	"repository-put-bad-phone": {Conflict, "Constraint failed: phone-1: 'Invalid phone format'", 7, "Patient.telecom[0]"},
	"search-unknown-parameter": {Rejected, `HAPI-0524: Unknown search parameter "…" for resource type "Patient". Valid search parameters for this search are: [_id, _lastUpdated, _profile, _security, _source, _tag, active, address, address-city, address-country, address-postalcode, address-state, address-use, birthdate, death-date, deceased,…`, 1, ""},
}

func TestReplayOpenEMR(t *testing.T) {
	t.Parallel()
	replayAll(t, "openemr", openEMRCases, nil)
}

func TestReplayHAPI(t *testing.T) {
	t.Parallel()
	var elsewhere []string
	for name := range hapiErrors {
		elsewhere = append(elsewhere, name)
	}
	replayAll(t, "hapi", hapiCases, elsewhere)
}

func replayAll(t *testing.T, server string, cases map[string]replayCase, elsewhere []string) {
	all := recordings.Of(t, server)
	if len(all) != len(cases)+len(elsewhere) {
		t.Fatalf("%d recordings, %d cases", len(all), len(cases)+len(elsewhere))
	}
	for _, r := range all {
		name := r.Name
		want, ok := cases[name]
		if !ok {
			if !slices.Contains(elsewhere, name) {
				t.Errorf("no case for %s", name)
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := replay(t, r)
			if want.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if got.JSON != nil && !ofOpenEMR(r) && !strings.Contains(r.Response.Body, string(got.JSON)) {
					t.Errorf("body changed: %s", got.JSON)
				}
				if (got.ID != "" && got.JSON == nil) != want.silent {
					t.Errorf("silent: %v", !want.silent)
				}
				etag := header(r).Get("ETag")
				if version := gjson.GetBytes(got.JSON, "meta.versionId").Str; etag == "" && version != "" && !strings.HasPrefix(name, "search") && !ofOpenEMR(r) {
					etag = weakETag(version)
				}
				if got.ETag != etag {
					t.Errorf("ETag %q, want %q", got.ETag, etag)
				}
				return
			}
			e := asError(t, err, want.kind)
			if e.Reason != want.reason {
				t.Errorf("reason %q, want %q", e.Reason, want.reason)
			}
			if fmt.Sprintf("%q", e.Issues) != fmt.Sprintf("%q", want.issues) {
				t.Errorf("issues %q, want %q", e.Issues, want.issues)
			}
			if e.Status != r.Response.Status {
				t.Errorf("status %d, want %d", e.Status, r.Response.Status)
			}
		})
	}
}

func TestReplayHAPIWithManyIssues(t *testing.T) {
	t.Parallel()
	for _, r := range recordings.Of(t, "hapi") {
		name := r.Name
		want, is := hapiErrors[name]
		if !is {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := replay(t, r)
			e := asError(t, err, want.kind)
			if e.Reason != want.reason || len(e.Issues) != want.issues {
				t.Errorf("reason %q, %d issues", e.Reason, len(e.Issues))
			}
			if want.expression != "" && !slices.Equal(e.Issues[0].Expression, []string{want.expression}) {
				t.Errorf("expression %q", e.Issues[0].Expression)
			}
			for i, issue := range e.Issues {
				if issue.Severity == "error" != (i < 1) && name == "repository-put-bad-phone" {
					t.Errorf("issue %d is %q: errors come first", i, issue.Severity)
				}
				for _, x := range issue.Expression {
					if strings.Contains(x, "Line") {
						t.Errorf("expression %q", x)
					}
				}
			}
		})
	}
}
