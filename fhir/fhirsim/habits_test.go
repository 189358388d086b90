package fhirsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestHabits holds the differences between kinds of servers.
func TestHabits(t *testing.T) {
	t.Parallel()
	openEMR := PlainR4()
	openEMR.CreateStatus, openEMR.Deletes = 400, true
	medplumID := func(n int) string { return Medplum().versionID("x", n) }
	for name, c := range map[string]struct {
		habits                             Habits
		stale, identical, created, deleted int
		unknownIfMatch, search, history    int
		tags                               [2]string // ETag before and after an identical PUT
		text                               string    // in the answer to a GET of an unknown one
	}{
		"HAPI":     {HAPI(), 409, 200, 201, 410, 201, 400, 200, [2]string{`W/"1"`, `W/"1"`}, `"diagnostics":"HAPI-2001: Resource Patient/nobody is not known"`},
		"Medplum":  {Medplum(), 412, 200, 200, 404, 404, 200, 200, [2]string{`W/"` + medplumID(1) + `"`, `W/"` + medplumID(2) + `"`}, `"details":{"text":"Resource Patient/nobody is not known"}`},
		"plain R4": {PlainR4(), 200, 200, 201, 404, 201, 200, 400, [2]string{}, `"details":{"text":`},
		"OpenEMR":  {openEMR, 200, 200, 400, 404, 400, 200, 400, [2]string{}, `"details":{"text":`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, base := seeded(t, Options{Habits: c.habits})
			url := base + "/Patient/x"
			nobody := strings.Replace(patientX, `"x"`, `"nobody"`, 1)
			wantContains(t, do(t, http.MethodGet, base+"/Patient/nobody", "").body, c.text)
			wantEqual(t, "ETag", do(t, http.MethodGet, url, "").header.Get("ETag"), c.tags[0])
			identical := do(t, http.MethodPut, url, patientX)
			wantEqual(t, "identical PUT", identical.status, c.identical)
			wantEqual(t, "its ETag", identical.header.Get("ETag"), c.tags[1])
			wantEqual(t, "stale If-Match", do(t, http.MethodPut, url, changedX, "If-Match", `W/"99"`).status, c.stale)
			wantEqual(t, "PUT with If-Match to an unknown id", do(t, http.MethodPut, base+"/Patient/nobody", nobody, "If-Match", `W/"1"`).status, c.unknownIfMatch)
			s.Delete("nobody")
			wantEqual(t, "PUT to an unknown id", do(t, http.MethodPut, base+"/Patient/nobody", nobody).status, c.created)
			wantEqual(t, "history", do(t, http.MethodGet, url+"/_history", "").status, c.history)
			search := do(t, http.MethodGet, base+"/Patient?foo=bar", "")
			wantEqual(t, "unknown parameter", search.status, c.search)
			if search.status == 200 {
				wantContains(t, search.body, `"total":0`)
			}
			s.Delete("x")
			wantEqual(t, "GET of a deleted one", do(t, http.MethodGet, url, "").status, c.deleted)
		})
	}
}

func TestNoVersionsAreServedWithoutVersions(t *testing.T) {
	t.Parallel()
	s, base := running(t, Options{Habits: PlainR4()})
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"x","meta":{"versionId":"7","profile":["http://example.org"]}}`)); err != nil {
		t.Fatal(err)
	}
	r := do(t, http.MethodGet, base+"/Patient/x", "")
	if strings.Contains(r.body, "versionId") || r.header.Get("Content-Location") != "" {
		t.Errorf("a version shows: %s %v", r.body, r.header)
	}
	wantContains(t, r.body, `"profile":["http://example.org"]`, `"lastUpdated"`)
}

// TestRepositoryValidation: the rejection is a 412 with several issues, of
// which the last is the error, and a stale If-Match comes first.
// TestVersionToldByTheBodyAlone: If-Match means what it always does.
func TestVersionToldByTheBodyAlone(t *testing.T) {
	t.Parallel()
	habits := HAPI()
	habits.NoETag = true
	_, base := seeded(t, Options{Habits: habits})
	url := base + "/Patient/x"
	got := do(t, http.MethodGet, url, "")
	wantEqual(t, "ETag", got.header.Get("ETag"), "")
	wantContains(t, got.body, `"versionId":"1"`)
	wantEqual(t, "stale If-Match", do(t, http.MethodPut, url, changedX, "If-Match", `W/"9"`).status, http.StatusConflict)
	wantEqual(t, "If-Match", do(t, http.MethodPut, url, changedX, "If-Match", `W/"1"`).status, http.StatusOK)
}

func TestRepositoryValidation(t *testing.T) {
	t.Parallel()
	habits := HAPI()
	habits.PhoneRejectStatus = http.StatusPreconditionFailed
	_, base := seeded(t, Options{Habits: habits})
	bad := strings.Replace(patientX, "02-123-4567", "invalid-phone", 1)
	r := do(t, http.MethodPut, base+"/Patient/x", bad, "If-Match", `W/"1"`)
	wantEqual(t, "status", r.status, 412)
	var outcome struct{ Issue []issue }
	if err := json.Unmarshal([]byte(r.body), &outcome); err != nil {
		t.Fatal(err)
	}
	var severities []string
	for _, i := range outcome.Issue {
		severities = append(severities, i.Severity)
	}
	wantList(t, "severities", severities, []string{"information", "warning", "error"})
	last := outcome.Issue[2]
	wantEqual(t, "text", last.Diagnostics, "Constraint failed: phone-1: 'Invalid phone format'")
	wantList(t, "expression", last.Expression, []string{"Patient.telecom[0]"})
	wantEqual(t, "stale", do(t, http.MethodPut, base+"/Patient/x", bad, "If-Match", `W/"9"`).status, 409)
	wantEqual(t, "new patient", do(t, http.MethodPut, base+"/Patient/y", strings.Replace(bad, `"x"`, `"y"`, 1)).status, 412)
}

func TestBearer(t *testing.T) {
	t.Parallel()
	_, base := seeded(t, Options{Bearer: "secret"})
	for token, status := range map[string]int{"": 401, "Bearer wrong": 401, "Basic secret": 401, "Bearer secret": 200} {
		r := do(t, http.MethodGet, base+"/Patient/x", "", "Authorization", token)
		wantEqual(t, "status with "+token, r.status, status)
		wantEqual(t, "WWW-Authenticate", r.header.Get("WWW-Authenticate"), "")
	}
	wantEqual(t, "metadata", do(t, http.MethodGet, base+"/metadata", "").status, 200)
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	for versioning, habits := range map[string]Habits{"versioned-update": HAPI(), "no-version": PlainR4()} {
		_, base := running(t, Options{Habits: habits})
		r := do(t, http.MethodGet, base+"/metadata", "")
		wantContains(t, r.body, `"resourceType":"CapabilityStatement"`, `"fhirVersion":"4.0.1"`, `"name":"`+habits.Name+`"`, `"versioning":"`+versioning+`"`, `{"code":"update"}`)
	}
}

// TestLossless: what is sent comes back byte for byte, meta apart.
func TestLossless(t *testing.T) {
	t.Parallel()
	const rest = `,"name" : [ { "family":"홍<&>" , "x":1E2 } ],"unknown":{"a.b":[1.50000000000000000000000001,null]}, "_birthDate":{"id":"\u0041"},"telecom":[]}`
	s, base := running(t, Options{})
	url := base + "/Patient/x"
	wantEqual(t, "status", do(t, http.MethodPut, url, ` {"resourceType":"Patient","id":"x","meta":{"tag":[{"code":"t"}],"versionId":"77"}`+rest+"\n").status, 201)
	body, _ := stored(t, s)
	if !strings.HasSuffix(body, rest) {
		t.Errorf("stored %s, want it to end in %s", body, rest)
	}
	wantContains(t, body, `"tag":[{"code":"t"}]`, `"versionId":"1"`)
	wantEqual(t, "served", do(t, http.MethodGet, url, "").body, body)
}

func TestSeedingAndAccess(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := New(Options{Now: func() time.Time { return now }})
	for _, bad := range []string{``, `{`, `{"resourceType":"Patient"}`, `{"resourceType":"Observation","id":"x"}`} {
		if err := s.Put([]byte(bad)); err == nil {
			t.Errorf("%q was stored", bad)
		}
	}
	for _, id := range []string{"b", "a", "b"} { // the second b is a version of its own
		if err := s.Put([]byte(`{"resourceType":"Patient","id":"` + id + `","telecom":[{"system":"phone","value":"bad"}]}`)); err != nil {
			t.Fatal(err)
		}
	}
	wantList(t, "ids", s.IDs(), []string{"b", "a"})
	body, version, ok := s.Get("b")
	if !ok || version != 2 {
		t.Errorf("Get: version %d, %v", version, ok)
	}
	wantContains(t, string(body), `"lastUpdated":"2026-11-23T12:00:00.000+00:00"`, `"versionId":"2"`)
	s.Delete("b")
	s.Delete("b")
	s.Delete("nobody")
	if _, _, ok := s.Get("b"); ok {
		t.Error("b lives")
	}
	wantList(t, "ids", s.IDs(), []string{"a"})
	history := s.History("b")
	if len(history) != 3 || history[2] != nil || !strings.Contains(string(history[0]), `"versionId":"1"`) {
		t.Errorf("history is %q", history)
	}
	if s.History("nobody") != nil {
		t.Error("nobody has a history")
	}
}

func TestRequestLog(t *testing.T) {
	t.Parallel()
	s, base := seeded(t, Options{})
	do(t, http.MethodGet, base+"/Patient?_id=x", "")
	do(t, http.MethodPut, base+"/Patient/x", changedX, "If-Match", `W/"1"`)
	requests := s.Requests()
	wantEqual(t, "requests", len(requests), 2)
	wantEqual(t, "query", requests[0].Query, "_id=x")
	wantEqual(t, "id of a search", requests[0].ID, "")
	p := requests[1]
	wantEqual(t, "request", fmt.Sprint(p.Method, p.Path, p.ID, p.IfMatch, p.Status), `PUT/fhir/Patient/xxW/"1"200`)
	wantEqual(t, "body", string(p.Body), changedX)
	wantEqual(t, "header", p.Header.Get("Content-Type"), "application/fhir+json")
	for range maxRequests {
		s.log.add(&Request{})
	}
	if n := len(s.Requests()); n > maxRequests {
		t.Errorf("%d requests are remembered", n)
	}
}

// race sends one PUT per writer, all with the same If-Match, and counts the
// answers by status.
func race(t *testing.T, url, header string, body func(writer int) string) map[int]int {
	t.Helper()
	const writers = 8
	var statuses [writers]int
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(writers)
	for i := range writers {
		done.Go(func() {
			ready.Done()
			<-start
			r, err := try(http.MethodPut, url, body(i), "If-Match", header)
			if err != nil {
				t.Error(err)
			}
			statuses[i] = r.status
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	return count
}

func TestOneWriterPerVersion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		habits                    Habits
		loser, winners, conflicts int
	}{
		"HAPI": {HAPI(), 409, 1, 7}, "Medplum": {Medplum(), 412, 1, 7}, "plain R4": {PlainR4(), 409, 8, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, base := seeded(t, Options{Habits: c.habits})
			url := base + "/Patient/x"
			versions := 1
			for round := range 20 {
				tag := do(t, http.MethodGet, url, "").header.Get("ETag")
				count := race(t, url, tag, func(writer int) string {
					return strings.Replace(patientX, "02-123-4567", fmt.Sprintf("010-%04d-%04d", round, writer), 1)
				})
				if count[200] != c.winners || count[c.loser] != c.conflicts {
					t.Fatalf("round %d: statuses %v", round, count)
				}
				versions += c.winners
			}
			_, version := stored(t, s)
			wantEqual(t, "version", version, versions)
			wantEqual(t, "length of the history", len(s.History("x")), versions)
		})
	}
}
