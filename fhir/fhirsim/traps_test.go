package fhirsim

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// home is a body for OpenEMR with one phone in it.
func home(value string) string {
	return safe(`"telecom":[{"system":"phone","use":"home","value":"` + value + `"}]`)
}

// TestTraps are the traps that FHIR servers set for who writes a Patient, one
// by one, as far as they lie in what a server does. Not here: _summary and _elements
// on HAPI, which this server does not have (OpenEMR ignores them). How the product
// comes through each, on a real HAPI too: e2e/traps_test.go.
func TestTraps(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, version string){
		"01 echoing what was read crashes the server for ever":                echoCrashes,
		"02 one server merges by column, others replace everything":           mergeOrReplace,
		"03 telecom[0] is not the number to change":                           firstIsAnother,
		"04 200 and nothing saved":                                            nothingSaved,
		"05 an old email later in the array overwrites the new one":           oldEmailWins,
		"06 a text-only address blanks street, city, state and zip":           textAddressBlanks,
		"07 another address without an end wins":                              otherAddressWins,
		"08 two-line addresses grow by a line with every echo":                addressGrows,
		"09 leaving a telecom entry out clears it or changes nothing":         leavingOut,
		"10 a 400 has many bodies":                                            bodiesOf400,
		"11 a 400 is a revoked session or an unknown patient":                 meaningsOf400,
		"12 a 401 is a missing scope, and a refresh kills the token before":   meaningsOf401,
		"13 conflicts are 409, 412 or nothing at all":                         conflicts,
		"14 a lost answer is an unknown outcome":                              lostAnswer,
		"15 an update creates or resurrects, or not":                          updateCreates,
		"16 200 with HTML, 200 with 80 MB, 500 with two JSON values":          brokenAnswers,
		"17 a 404 is a missing route, a 500 is the own bad request":           misleadingStatus,
		"18 a rejection is about a field that nobody touched":                 rejectionOfAnother,
		"19 values are silently cut":                                          silentlyCut,
		"20 a required element that the record lacks, or that changes":        requiredElement,
		"21 lastUpdated has seconds, wall-clock time and no order":            lastUpdatedSeconds,
		"22 an unsupported search parameter gives an empty 200":               emptySearch,
		"23 a 412 is a rejection":                                             rejectionBy412,
		"24 _summary and _elements are ignored":                               summaryIgnored,
		"25 a search comes from a cache, and _count is capped without a word": cachedSearch,
		"and the answer to a PUT shows another writer's value":                anotherWriters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachOpenEMR(t, test)
		})
	}
}

func echoCrashes(t *testing.T, version string) {
	s, url := clinic(t, version)
	echo := strings.Replace(do(t, http.MethodGet, url, "").body, "413-555-0001", "413-555-9999", 1)
	for range 3 {
		wantEqual(t, "status", do(t, http.MethodPut, url, echo).status, 500)
	}
	wantChanged(t, "echo", s, Columns{})
}

func mergeOrReplace(t *testing.T, version string) {
	s, url := clinic(t, version)
	wantEqual(t, "OpenEMR", do(t, http.MethodPut, url, safe("")).status, 200)
	wantChanged(t, "OpenEMR", s, Columns{})
	other, base := seeded(t, Options{})
	wantEqual(t, "HAPI", do(t, http.MethodPut, base+"/Patient/x", `{"resourceType":"Patient","id":"x"}`).status, 200)
	body, _ := stored(t, other)
	wantEqual(t, "telecom on HAPI", gjson.Get(body, "telecom").Raw, "")
}

// firstIsAnother: whatever is the patient's own, OpenEMR lists home and work first.
func firstIsAnother(t *testing.T, version string) {
	s, url := clinic(t, version)
	s.Clinic().Set(clinicID, "phone_home", "")
	uses := gjson.Get(do(t, http.MethodGet, url, "").body, `telecom.#(system=="phone")#.use`).Raw
	wantEqual(t, "uses", uses, `["work","mobile"]`)
}

func nothingSaved(t *testing.T, version string) {
	s, url := clinic(t, version)
	for _, entry := range []string{`{"system":"phone","value":"1"}`, `{"system":"phone","use":"old","value":"1"}`, `{"system":"fax","use":"home","value":"1"}`, `{"use":"home","value":"1"}`} {
		r := do(t, http.MethodPut, url, safe(`"telecom":[`+entry+`]`))
		wantEqual(t, entry, r.status, 200)
		wantEqual(t, entry+": telecom of the answer", gjson.Get(r.body, "telecom.0.value").Str, "413-555-0001")
	}
	wantChanged(t, "all of them", s, Columns{})
}

func oldEmailWins(t *testing.T, version string) {
	s, url := clinic(t, version)
	wantEqual(t, "status", do(t, http.MethodPut, url, safe(`"telecom":[{"system":"email","use":"home","value":"new@example.org"},{"system":"email","use":"old","value":"former@example.org"}]`)).status, 200)
	wantChanged(t, "PUT", s, Columns{"email": "former@example.org"})
}

func textAddressBlanks(t *testing.T, version string) {
	s, url := clinic(t, version)
	wantEqual(t, "status", do(t, http.MethodPut, url, safe(`"address":[{"text":"1 New St, Boston"}]`)).status, 200)
	wantChanged(t, "PUT", s, Columns{"street": "", "city": "", "state": "", "postal_code": ""})
}

func otherAddressWins(t *testing.T, version string) {
	s, url := clinic(t, version)
	wantEqual(t, "status", do(t, http.MethodPut, url, safe(`"address":[{"use":"home","city":"New"},{"use":"old","city":"Former"}]`)).status, 200)
	city := "New"
	if version == "7.0.3" {
		city = "Former"
	}
	wantEqual(t, "city without periods", changed(t, s)["city"], city)
	if version != "7.0.3" {
		do(t, http.MethodPut, url, safe(`"address":[{"use":"home","city":"New"},{"use":"old","city":"Former","period":{"start":"2001-01-01"}}]`))
		wantEqual(t, "city with a period", changed(t, s)["city"], "Former")
	}
}

func addressGrows(t *testing.T, version string) {
	s, url := clinic(t, version)
	for _, street := range []string{"12 Main St\nApt 4", "12 Main St\nApt 4\nApt 4"} {
		lines := gjson.Get(do(t, http.MethodGet, url, "").body, "address.0.line").Raw
		do(t, http.MethodPut, url, safe(`"address":[{"line":`+lines+`,"city":"Springfield","state":"MA","postalCode":"01101"}]`))
		wantChanged(t, "echo", s, Columns{"street": street})
	}
}

func leavingOut(t *testing.T, version string) {
	s, url := clinic(t, version)
	for _, telecom := range []string{`"telecom":[]`, `"telecom":null`, `"telecom":[{"system":"phone","use":"mobile","value":"413-555-0002"}]`} {
		wantEqual(t, telecom, do(t, http.MethodPut, url, safe(telecom)).status, 200)
	}
	wantChanged(t, "left out", s, Columns{})
	wantEqual(t, "without value", do(t, http.MethodPut, url, safe(`"telecom":[{"system":"phone","use":"home"}]`)).status, 200)
	wantChanged(t, "without value", s, Columns{"phone_home": ""})
	other, base := seeded(t, Options{})
	do(t, http.MethodPut, base+"/Patient/x", `{"resourceType":"Patient","id":"x","telecom":[]}`)
	if body, _ := stored(t, other); strings.Contains(body, "02-123-4567") {
		t.Errorf("HAPI keeps it: %s", body)
	}
}

func bodiesOf400(t *testing.T, version string) {
	s, url := clinic(t, version)
	wantContains(t, do(t, http.MethodPut, url, "{}").body, `"resourceType":"OperationOutcome"`)
	wantContains(t, do(t, http.MethodPut, url, `{"resourceType":"Patient"}`).body, `{"validationErrors":{"sex":`)
	wantEqual(t, "unknown patient", do(t, http.MethodGet, url[:len(url)-1]+"b", "").body, "[]") // a 404, but as bare
	s.Clinic().SetLoggedOut(true)
	wantContains(t, do(t, http.MethodPut, url, safe("")).body, `{"error":`, `"message":"Refresh Token revoked or logged out"`)
}

func meaningsOf400(t *testing.T, version string) {
	s, url := clinic(t, version)
	wantEqual(t, "unknown patient", do(t, http.MethodPut, url[:len(url)-1]+"b", safe("")).status, 400)
	s.Clinic().SetLoggedOut(true)
	wantEqual(t, "revoked session", do(t, http.MethodPut, url, safe("")).status, 400)
	wantEqual(t, "revoked session, GET", do(t, http.MethodGet, url, "").status, 400)
}

func meaningsOf401(t *testing.T, version string) {
	s, url := clinic(t, version)
	s.Clinic().SetToken("one")
	put := func(token string) int {
		return do(t, http.MethodPut, url, safe(""), "Authorization", "Bearer "+token).status
	}
	wantEqual(t, "with the token", put("one"), 200)
	s.Clinic().SetToken("two")
	wantEqual(t, "with the token before", put("one"), 401)
	wantEqual(t, "with the new one", put("two"), 200)
	s.Clinic().SetScopes("user/Patient.read")
	wantEqual(t, "without the scope", put("two"), 401)
	wantEqual(t, "GET without the scope", do(t, http.MethodGet, url, "", "Authorization", "Bearer two").status, 200)
}

func conflicts(t *testing.T, version string) {
	s, url := clinic(t, version)
	count := race(t, url, `W/"1"`, func(writer int) string { return home(fmt.Sprint(writer)) })
	wantEqual(t, "OpenEMR: 200", count[200], 8)
	wantEqual(t, "OpenEMR: stale", do(t, http.MethodPut, url, home("9"), "If-Match", `W/"999"`).status, 200)
	wantChanged(t, "the last one", s, Columns{"phone_home": "9"})
	for habits, status := range map[Habits]int{HAPI(): 409, Medplum(): 412, PlainR4(): 200} {
		_, base := seeded(t, Options{Habits: habits})
		wantEqual(t, habits.Name, do(t, http.MethodPut, base+"/Patient/x", patientX, "If-Match", `W/"7"`).status, status)
	}
}

func lostAnswer(t *testing.T, version string) {
	for applied, want := range map[bool]Columns{true: {"phone_home": "9"}, false: {}} {
		s, url := clinic(t, version)
		s.SetFault(clinicID, Fault{On: http.MethodPut, Close: true, Apply: applied})
		if _, err := try(http.MethodPut, url, home("9")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v", err)
		}
		wantChanged(t, fmt.Sprint("applied: ", applied), s, want)
	}
}

func updateCreates(t *testing.T, version string) {
	s, url := clinic(t, version)
	r := do(t, http.MethodPut, url[:len(url)-1]+"b", safe(""))
	wantEqual(t, "OpenEMR", r.status, 400)
	wantContains(t, r.body, `"uuid":{"`+clinicID[:len(clinicID)-1]+`b":"UUID `)
	s.Delete(clinicID)
	wantEqual(t, "OpenEMR, deleted", do(t, http.MethodPut, url, safe("")).status, 400)
	wantEqual(t, "patients", len(s.IDs()), 0)
	for habits, status := range map[Habits]int{HAPI(): 201, Medplum(): 200} {
		other, base := seeded(t, Options{Habits: habits})
		other.Delete("x")
		wantEqual(t, habits.Name, do(t, http.MethodPut, base+"/Patient/x", patientX).status, status)
	}
}

func brokenAnswers(t *testing.T, version string) {
	s, url := clinic(t, version)
	for database, want := range map[Database]map[string]string{
		DatabaseLocked: {"7.0.3": "200 text/html; charset=utf-8 0", "7.0.4": "500 application/json 0", "8.0.0": "500 application/json 0", "8.1.1-dev": "200 text/html; charset=utf-8 0"},
		DatabaseDies:   {"7.0.3": "500 text/html; charset=utf-8 0", "7.0.4": "200 text/html; charset=utf-8 0", "8.0.0": "200 text/html; charset=utf-8 0", "8.1.1-dev": "500 application/json 2"},
	} {
		s.Clinic().SetDatabase(database)
		r, _ := doCapped(t, http.MethodPut, url, home("9"))
		wantEqual(t, "answer", fmt.Sprint(r.status, " ", r.header.Get("Content-Type"), " ", jsonValues(r.body)), want[version])
		s.Clinic().SetDatabase(DatabaseUp)
	}
	wantChanged(t, "both", s, Columns{})
}

func misleadingStatus(t *testing.T, version string) {
	s, url := clinic(t, version)
	route := do(t, http.MethodGet, url+"/", "")
	wantEqual(t, "missing route", route.status, 404)
	unknown := do(t, http.MethodGet, url[:len(url)-1]+"b", "")
	wantEqual(t, "unknown patient", fmt.Sprint(unknown.status, unknown.body), "404[]")
	if route.body == unknown.body {
		t.Error("a missing route looks like an unknown patient")
	}
	wantEqual(t, "bad request", do(t, http.MethodPut, url, safe(`"generalPractitioner":[{"reference":"Practitioner/1"}]`)).status, 500)
	wantChanged(t, "bad request", s, Columns{})
}

func rejectionOfAnother(t *testing.T, version string) {
	s, url := clinic(t, version)
	s.Clinic().Set(clinicID, "email", "no email")
	r := do(t, http.MethodPut, url, safe(`"telecom":[{"system":"phone","use":"home","value":"9"},{"system":"email","use":"home","value":"no email"}]`))
	wantEqual(t, "all of telecom", r.status, 400)
	if repeats := strings.Contains(r.body, "no email"); repeats != (version != "8.1.1-dev") {
		t.Errorf("the text repeats the value: %v, in %s", repeats, r.body)
	}
	wantChanged(t, "all of telecom", s, Columns{"email": "no email"})
	wantEqual(t, "the phone alone", do(t, http.MethodPut, url, home("9")).status, 200)
	wantChanged(t, "the phone alone", s, Columns{"email": "no email", "phone_home": "9"})
}

func silentlyCut(t *testing.T, version string) {
	s, url := clinic(t, version)
	r := do(t, http.MethodPut, url, home(strings.Repeat("가", 300)))
	wantEqual(t, "status", r.status, 200)
	wantEqual(t, "answer", gjson.Get(r.body, "telecom.0.value").Str, strings.Repeat("가", 255))
	wantChanged(t, "PUT", s, Columns{"phone_home": strings.Repeat("가", 255)})
}

func requiredElement(t *testing.T, version string) {
	s, url := clinic(t, version)
	for _, body := range []string{`{"resourceType":"Patient","birthDate":"1949-11-14"}`, `{"resourceType":"Patient","gender":"Female"}`} {
		wantEqual(t, body, do(t, http.MethodPut, url, body).status, 400)
	}
	gender := gjson.Get(do(t, http.MethodGet, url, "").body, "gender").Str
	do(t, http.MethodPut, url, strings.Replace(safe(""), "Female", gender, 1))
	wantChanged(t, "gender as read", s, Columns{"sex": "female"})
}

// lastUpdatedSeconds: two writes within a second cannot be told apart, and an
// identical PUT moves it all the same.
func lastUpdatedSeconds(t *testing.T, version string) {
	now := time.Date(2026, 11, 23, 18, 40, 0, 100_000_000, time.UTC)
	s, base := running(t, Options{Habits: OpenEMR(version), Now: func() time.Time { return now }})
	s.Clinic().Put(clinicID, clinicRow())
	read := func() string { return gjson.Get(do(t, http.MethodGet, base+"/Patient/"+clinicID, "").body, "meta").Raw }
	before := read()
	wantContains(t, before, `"versionId":"1"`, `"lastUpdated":"2026-11-23T18:40:00+00:00"`)
	now = now.Add(800 * time.Millisecond)
	do(t, http.MethodPut, base+"/Patient/"+clinicID, home("9"))
	wantEqual(t, "meta within the second", read(), before)
	now = now.Add(time.Second)
	do(t, http.MethodPut, base+"/Patient/"+clinicID, home("9"))
	wantContains(t, read(), `"versionId":"1"`, "18:40:01")
	s.Clinic().SetZone(time.FixedZone("", -5*3600))
	do(t, http.MethodPut, base+"/Patient/"+clinicID, home("8"))
	wantContains(t, read(), "13:40:01-05:00")
}

func emptySearch(t *testing.T, version string) {
	_, url := clinic(t, version)
	for _, query := range []string{"bogus=1", "_summary=count", "_lastUpdated=yesterday", "_id=x"} {
		r := do(t, http.MethodGet, strings.TrimSuffix(url, "/"+clinicID)+"?"+query, "")
		wantEqual(t, query, r.status, 200)
		wantEqual(t, query, gjson.Get(r.body, "total").Raw, "0")
	}
	_, base := seeded(t, Options{Habits: Medplum()})
	wantEqual(t, "Medplum", do(t, http.MethodGet, base+"/Patient?bogus=1", "").status, 200)
}

// rejectionBy412: a site that validates its repository answers 412 to a bad
// phone, the version being current or not.
func rejectionBy412(t *testing.T, version string) {
	_, url := clinic(t, version)
	wantEqual(t, "OpenEMR takes any phone", do(t, http.MethodPut, url, home("no phone")).status, 200)
	habits := HAPI()
	habits.PhoneRejectStatus = http.StatusPreconditionFailed
	s, base := seeded(t, Options{Habits: habits})
	r := do(t, http.MethodPut, base+"/Patient/x", strings.Replace(patientX, "02-123-4567", "no phone", 1), "If-Match", `W/"1"`)
	wantEqual(t, "status", r.status, 412)
	severities := gjson.Get(r.body, "issue.#.severity").Array()
	wantEqual(t, "the last issue", severities[len(severities)-1].Str, "error")
	_, number := stored(t, s)
	wantEqual(t, "version", number, 1)
	_, base = seeded(t, Options{})
	wantEqual(t, "422 with a stale If-Match", do(t, http.MethodPut, base+"/Patient/x", strings.Replace(patientX, "02-123-4567", "no phone", 1), "If-Match", `W/"7"`).status, 422)
}

func summaryIgnored(t *testing.T, version string) {
	_, url := clinic(t, version)
	whole := do(t, http.MethodGet, url, "").body
	for _, query := range []string{"_summary=true", "_elements=name"} {
		wantEqual(t, query, do(t, http.MethodGet, url+"?"+query, "").body, whole)
	}
}

func cachedSearch(t *testing.T, version string) {
	s, url := clinic(t, version)
	collection := strings.TrimSuffix(url, "/"+clinicID)
	total := func() int64 {
		return gjson.Get(do(t, http.MethodGet, collection+"?_count=500", "").body, "total").Int()
	}
	first, capped := int64(1), int64(200)
	if version == "7.0.3" { // shows nobody where a _count is asked for
		first, capped = 0, 0
	}
	wantEqual(t, "at first", total(), first)
	for i := range 210 {
		s.Clinic().Put(fmt.Sprintf("a34bc1c3-0000-4000-8000-%012d", i), Columns{})
	}
	wantEqual(t, "not from a cache, and capped", total(), capped)
	other, base := seeded(t, Options{})
	query := base + "/Patient?identifier=1"
	do(t, http.MethodGet, query, "")
	if err := other.Put([]byte(`{"resourceType":"Patient","id":"y","identifier":[{"value":"1"}]}`)); err != nil {
		t.Fatal(err)
	}
	found := func(header ...string) int64 {
		return gjson.Get(do(t, http.MethodGet, query, "", header...).body, "entry.#").Int()
	}
	wantEqual(t, "HAPI, from its cache", found(), 0)
	wantEqual(t, "HAPI, no-cache", found("Cache-Control", "no-cache"), 1)
}

// anotherWriters: between the write and the read for its answer another one
// came; both writers were told 200.
func anotherWriters(t *testing.T, version string) {
	s, url := clinic(t, version)
	s.SetFault(clinicID, Fault{On: http.MethodPut, Overtaken: func() { s.Clinic().Set(clinicID, "phone_home", "other") }})
	r := do(t, http.MethodPut, url, home("mine"))
	wantEqual(t, "status", r.status, 200)
	wantEqual(t, "phone in the answer", gjson.Get(r.body, "telecom.0.value").Str, "other")
	s.SetFault(clinicID, Fault{On: http.MethodPut, Overtaken: func() { s.Clinic().Set(clinicID, "city", "Boston") }})
	r = do(t, http.MethodPut, url, home("mine"))
	wantChanged(t, "two fields", s, Columns{"phone_home": "mine", "city": "Boston"})
	wantEqual(t, "city in the answer", gjson.Get(r.body, "address.0.city").Str, "Boston")
	s.SetFault(clinicID, Fault{On: http.MethodPut, Overtaken: func() { s.Delete(clinicID) }})
	r = do(t, http.MethodPut, url, home("mine"))
	wantEqual(t, "deleted meanwhile", fmt.Sprint(r.status, r.body), `400{"validationErrors":{"uuid":{"invalid or nonexisting value":" value `+clinicID+`"}}}`)
}
