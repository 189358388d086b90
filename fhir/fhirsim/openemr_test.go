package fhirsim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// clinicRow is a patient as a clinic's screens store one.
func clinicRow() Columns {
	return Columns{
		"fname": "Donya", "mname": "Quincy", "lname": "Yundt", "title": "Mr.", "DOB": "1949-11-14", "sex": "Female",
		"street": "12 Main St", "street_line_2": "Apt 4", "city": "Springfield", "state": "MA", "postal_code": "01101", "county": "Hampden", "country_code": "US",
		"phone_home": "413-555-0001", "phone_cell": "413-555-0002", "phone_biz": "413-555-0003", "email": "home@example.org", "email_direct": "direct@example.org",
		"ss": "999-11-2222", "pubpid": "17", "language": "English", "race": "white", "ethnicity": "not_hisp_or_latin",
	}
}

// clinic starts an OpenEMR with one patient, clinicID.
func clinic(t testing.TB, version string) (s *Server, url string) {
	t.Helper()
	s, base := running(t, Options{Habits: OpenEMR(version), Now: tick()})
	s.Clinic().Put(clinicID, clinicRow())
	return s, base + "/Patient/" + clinicID
}

// eachOpenEMR runs a test against every version.
func eachOpenEMR(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range OpenEMRVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// safe is the body that a PUT to OpenEMR takes, with further members.
func safe(more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"resourceType":"Patient","gender":"Female","birthDate":"1949-11-14"` + more + `}`
}

// changed are the columns in which a patient is not as in clinicRow.
func changed(t testing.TB, s *Server) Columns {
	t.Helper()
	got, ok := s.Clinic().Row(clinicID)
	if !ok {
		t.Fatal("the patient is gone")
	}
	was := clinicRow()
	maps.DeleteFunc(got, func(column, value string) bool {
		return column == "date" || column == "last_updated" || was[column] == value
	})
	return got
}

func wantChanged(t testing.TB, what string, s *Server, want Columns) {
	t.Helper()
	if got := changed(t, s); !maps.Equal(got, want) {
		t.Errorf("%s: changed %q, want %q", what, got, want)
	}
}

func TestOpenEMRWritesOneColumnAndTheDates(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, url := clinic(t, version)
		before, _ := s.Clinic().Row(clinicID)
		r := do(t, http.MethodPut, url, safe(`"telecom":[{"system":"phone","use":"home","value":"413-555-9999"}]`))
		wantEqual(t, "status", r.status, 200)
		wantChanged(t, "PUT", s, Columns{"phone_home": "413-555-9999"})
		after, _ := s.Clinic().Row(clinicID)
		if after["date"] <= before["date"] || after["last_updated"] <= before["last_updated"] {
			t.Errorf("the dates stay: %q, %q", after["date"], after["last_updated"])
		}
		wantEqual(t, "the answer", r.body, strings.TrimSpace(do(t, http.MethodGet, url, "").body))
	})
}

// TestOpenEMRPUTs are bodies that the recorded ones do not have: the values are
// what PHP makes of them.
func TestOpenEMRPUTs(t *testing.T) {
	t.Parallel()
	home := func(value string) string {
		return `"telecom":[{"system":"phone","use":"home","value":` + value + `}]`
	}
	const old, later = "7.0.3", "7.0.4 8.0.0 8.1.1-dev"
	const all = old + " " + later
	for name, c := range map[string]struct {
		versions, more string
		status         int
		changed        Columns
		text           string // in the answer
	}{
		"255 characters of two bytes are kept": {all, home(`"` + strings.Repeat("é", 255) + `"`), 200, Columns{"phone_home": strings.Repeat("é", 255)}, ""},
		"256 characters are cut":               {all, home(`"` + strings.Repeat("한", 256) + `"`), 200, Columns{"phone_home": strings.Repeat("한", 255)}, ""},
		"true":                                 {all, home("true"), 200, Columns{"phone_home": "1"}, ""},
		"a list":                               {all, home("[1]"), 200, Columns{"phone_home": "Array"}, ""},
		"a decimal":                            {all, home("1.50"), 200, Columns{"phone_home": "1.5"}, ""},
		"a member given twice":                 {all, `"telecom":[],` + home(`"1"`), 200, Columns{"phone_home": "1"}, ""},
		"an unknown system":                    {all, `"telecom":[{"system":"x","use":"home","value":"1"}]`, 200, Columns{}, ""},
		"a null entry":                         {all, `"telecom":[null]`, 200, Columns{}, ""},
		"an entry that is a number":            {later, `"telecom":[5]`, 500, Columns{}, `saw \u0022integer\u0022`},
		"an entry that is a number, old":       {old, `"telecom":[5]`, 500, Columns{}, ""},
		"telecom is a text":                    {all, `"telecom":"1"`, 400, Columns{}, "must be array of objects or null, string seen."},
		"lines are a text":                     {later, `"address":[{"line":"1 New St"}]`, 500, Columns{}, `must be array of objects or null, string seen.`},
		"empty extension":                      {all, `"extension":[]`, 200, Columns{}, ""},
		"no practitioner":                      {all, `"generalPractitioner":[]`, 200, Columns{}, ""},
		"a number as identifier":               {later, `"identifier":[{"type":{"coding":[{"code":"SS"}]},"value":5}]`, 500, Columns{}, "getValue() on int"},
		"a number as identifier, old":          {old, `"identifier":[{"type":{"coding":[{"code":"SS"}]},"value":5}]`, 200, Columns{"ss": "5"}, ""},
		"the first official name counts":       {all, `"name":[{"use":"official","family":"One","given":["Ann"]},{"use":"official","family":"Two","given":["Ann"]}]`, 200, Columns{"lname": "One", "fname": "Ann", "mname": ""}, ""},
		"a name of 100 Hangul is too long":     {all, `"name":[{"use":"official","family":"` + strings.Repeat("김", 100) + `","given":["A"]}]`, 400, Columns{}, "LengthBetween::TOO_LONG"},
		"all that is wrong is told":            {all, `"name":[],"gender":"x","birthDate":"","telecom":[{"system":"email","value":"x"}]`, 400, Columns{}, `{"validationErrors":{"sex":{"LengthBetween::TOO_SHORT":"Gender must be 4 characters or longer"},"DOB":{"NotEmpty::EMPTY_VALUE":"Date of Birth must not be empty"},"email":{"email":"Email `},
		"an email without a dot":               {all, `"telecom":[{"system":"email","value":"a@localhost"}]`, 400, Columns{}, "is not a valid email"},
		"an email in Hangul":                   {all, `"telecom":[{"system":"email","value":"홍길동@example.kr"}]`, 200, Columns{"email": "홍길동@example.kr"}, ""},
		"an email with a space":                {all, `"telecom":[{"system":"email","value":"a @example.kr"}]`, 400, Columns{}, "is not a valid email"},
		"resource type of a lower-case letter": {all, `"resourceType":"patient"`, 400, Columns{}, `"severity":"fatal"`},
		"an address that ended, then one that did not": {later, `"address":[{"city":"A","period":{"end":"2020-01-01"}},{"city":"B","period":{"start":"2021-01-01"}},{"city":"C"}]`, 200,
			Columns{"street": "", "city": "B", "state": "", "postal_code": ""}, ""},
		"addresses that ended: the later one": {later, `"address":[{"city":"A","period":{"end":"2020-01-01"}},{"city":"B","period":{"end":"2021-01-01"}},{"city":"C","period":{"end":"2019-01-01"}}]`, 200,
			Columns{"street": "", "city": "B", "state": "", "postal_code": ""}, ""},
		"one that ended is not more recent than one without a period": {later, `"address":[{"city":"A"},{"city":"B","period":{"end":"2021-01-01"}}]`, 200,
			Columns{"street": "", "city": "A", "state": "", "postal_code": ""}, ""},
		"without a period the first": {later, `"address":[{"city":"A"},{"city":"B"}]`, 200, Columns{"street": "", "city": "A", "state": "", "postal_code": ""}, ""},
		"without a period the last":  {old, `"address":[{"city":"A"},{"city":"B"}]`, 200, Columns{"street": "", "city": "B", "state": "", "postal_code": ""}, ""},
		"any period crashes":         {old, `"address":[{"city":"A"},{"city":"B","period":{}}]`, 500, Columns{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for version := range strings.FieldsSeq(c.versions) {
				s, url := clinic(t, version)
				r := do(t, http.MethodPut, url, safe(c.more))
				wantEqual(t, version+": status", r.status, c.status)
				wantContains(t, r.body, c.text)
				wantChanged(t, version, s, c.changed)
			}
		})
	}
}

func TestOpenEMRWhatIsNoJSONObject(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"two values": safe("") + safe(""), "half": safe("")[:30], "not UTF-8": safe(`"language":"` + "\xff" + `"`), "too deep": strings.Repeat("[", 600) + strings.Repeat("]", 600),
		"a form": "resourceType=x&birthDate=1949-11-14",
	} {
		s, url := clinic(t, "8.0.0")
		r := do(t, http.MethodPut, url, body)
		wantEqual(t, name, r.status, 400)
		wantEqual(t, name, r.body, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","details":{"text":"resourceType Not Found"}}]}`)
		wantChanged(t, name, s, Columns{})
	}
}

func TestOpenEMRGender(t *testing.T) {
	t.Parallel()
	for sex, c := range map[string]struct{ gender, birthSex, gender8, birthSex8 string }{
		"Female":  {"female", "F", "female", "F"},
		"female":  {"female", "UNK", "female", "F"},
		"Male":    {"male", "M", "male", "M"},
		"UNK":     {"unk", "UNK", "unknown", "UNK"},
		"unknown": {"unknown", "UNK", "other", "UNK"},
		"other":   {"other", "UNK", "other", "UNK"},
		"":        {"", "UNK", "", "UNK"},
	} {
		for _, version := range OpenEMRVersions {
			s, url := clinic(t, version)
			if !s.Clinic().Set(clinicID, "sex", sex) {
				t.Fatal("no such patient")
			}
			body := do(t, http.MethodGet, url, "").body
			gender, birthSex := c.gender, c.birthSex
			if version >= "8" {
				gender, birthSex = c.gender8, c.birthSex8
			}
			wantEqual(t, version+", "+sex, gjson.Get(body, "gender").Str, gender)
			wantEqual(t, version+", birth sex of "+sex, gjson.Get(body, "extension.0.valueCode").Str, birthSex)
		}
	}
}

func TestOpenEMRLeavesOutWhatIsNotEntered(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, url := clinic(t, version)
		s.Clinic().Put(clinicID, Columns{"pubpid": "", "phone_home": "0", "date": ""})
		body := gjson.Parse(do(t, http.MethodGet, url, "").body)
		for _, element := range []string{"birthDate", "telecom", "address", "identifier", "text", "name.0.given"} {
			if body.Get(element).Exists() {
				t.Errorf("there is %s: %s", element, body.Get(element).Raw)
			}
		}
		wantEqual(t, "gender", body.Get("gender").Raw, `""`)
		s.Clinic().Set(clinicID, "street_line_2", "Apt 4")
		wantEqual(t, "address of a second line alone", gjson.Get(do(t, http.MethodGet, url, "").body, "address").Raw, "")
		wantEqual(t, "PUT without a birth date", do(t, http.MethodPut, url, `{"resourceType":"Patient","gender":"Female"}`).status, 400)
	})
}

// TestOpenEMRPeriodMovesByItself: without a date the address starts a year
// before the GET, and with one at the last write.
func TestOpenEMRPeriodMovesByItself(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, url := clinic(t, version)
		start := func() string { return gjson.Get(do(t, http.MethodGet, url, "").body, "address.0.period.start").Str }
		if first, second := start(), start(); first != second || !strings.HasPrefix(first, "2026-") {
			t.Errorf("the period moves from %s to %s", first, second)
		}
		row := clinicRow()
		row["date"] = ""
		s.Clinic().Put(clinicID, row)
		if first, second := start(), start(); first == second || !strings.HasPrefix(first, "2025-") {
			t.Errorf("the period stays from %s to %s", first, second)
		}
		do(t, http.MethodPut, url, safe(""))
		if first, second := start(), start(); first != second || !strings.HasPrefix(first, "2026-") {
			t.Errorf("after a PUT the period moves from %s to %s", first, second)
		}
	})
}

func TestOpenEMRRoutes(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		_, url := clinic(t, version)
		base := strings.TrimSuffix(url, "/Patient/"+clinicID)
		for request, status := range map[string]int{
			"GET /Patient/" + clinicID + "?_summary=true": 200, "GET /Patient/" + clinicID + "?_elements=name": 200, "GET /metadata": 200,
			"GET /Patient/a34bb9d5-039f-4a87-8a06-aa0c0ecd4eff": 404, "GET /Patient/abc": 400, "GET /Patient/1": 400, "GET /Patient/_search": 400,
			"HEAD /Patient/" + clinicID: 404, "GET /Patient/" + clinicID + "/": 404, "DELETE /Patient/" + clinicID: 404, "PATCH /Patient/" + clinicID: 404,
			"GET /Patient/" + clinicID + "/_history": 404, "GET /Patient/" + clinicID + "/_history/1": 404, "PUT /Patient": 404, "GET /Practitioner": 404, "GET /": 404,
			"GET /Patient": 200, "POST /Patient/_search": 200,
		} {
			method, path, _ := strings.Cut(request, " ")
			r := do(t, method, base+path, "", "If-None-Match", `W/"1"`, "Accept", "application/fhir+xml")
			wantEqual(t, request, r.status, status)
			for _, name := range []string{"ETag", "Last-Modified", "Content-Location"} {
				wantEqual(t, request+": "+name, r.header.Get(name), "")
			}
			want := ""
			switch {
			case status == 404 && strings.HasPrefix(path, "/Patient/a34bb9d5"):
				want = "[]"
			case status == 404 && version != "7.0.3" && method != http.MethodHead:
				want = `{"error":"An error occurred","message":"Route not found","code":0}`
			case status == 400:
				want = `{"validationErrors":{"_id":"The search field argument was invalid, improperly formatted, or could not be parsed.  Inner message: UUID columns must be a valid UUID string"}}`
			default:
				continue
			}
			wantEqual(t, request, r.body, want)
		}
	})
}

func TestOpenEMRCapabilityStatement(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, url := clinic(t, version)
		s.Clinic().SetToken("secret")
		body := gjson.Parse(do(t, http.MethodGet, strings.Replace(url, "Patient/"+clinicID, "metadata", 1), "").body)
		wantEqual(t, "software", body.Get("software").Raw, `{"name":"OpenEMR"}`)
		wantEqual(t, "interactions", body.Get("rest.0.resource.0.interaction.#.code").Raw, `["search-type","read","create","update"]`)
		wantEqual(t, "versioning", body.Get("rest.0.resource.0.versioning").Raw, "")
		wantEqual(t, "security", body.Get("rest.0.security.service.0.coding.0.code").Str, "SMART-on-FHIR")
	})
}

func TestOpenEMRTokens(t *testing.T) {
	t.Parallel()
	const denied3 = `{"error":"access_denied","error_description":"The resource owner or authorization server denied the request.","hint":"%s","message":"The resource owner or authorization server denied the request."}`
	const denied4 = `{"error":"An error occurred","message":"%s","code":%d}`
	owner := "The resource owner or authorization server denied the request."
	for name, c := range map[string]struct {
		authorization      string
		prepare            func(*Clinic)
		status3, status    int
		body3, body        string
		readable, writable bool // without it being refused
	}{
		"none":                 {"", nil, 401, 401, fmt.Sprintf(denied3, `Missing \"Authorization\" header`), fmt.Sprintf(denied4, owner, 0), false, false},
		"garbage":              {"Bearer x", nil, 401, 401, fmt.Sprintf(denied3, "Access token could not be verified"), fmt.Sprintf(denied4, owner, 0), false, false},
		"bearer in lower case": {"bearer old", nil, 401, 401, fmt.Sprintf(denied3, "Access token could not be verified"), fmt.Sprintf(denied4, owner, 0), false, false},
		"killed by a refresh":  {"Bearer old", func(k *Clinic) { k.SetToken("new") }, 401, 401, fmt.Sprintf(denied3, "Access token has been revoked"), fmt.Sprintf(denied4, owner, 9), false, false},
		"logged out": {"Bearer old", func(k *Clinic) { k.SetLoggedOut(true) }, 400, 400,
			`{"error":"invalid _request","error_description":"Refresh Token revoked or logged out","message":"Refresh Token revoked or logged out"}`, fmt.Sprintf(denied4, "Refresh Token revoked or logged out", 0), false, false},
		"no scope":        {"Bearer old", func(k *Clinic) { k.SetScopes() }, 401, 401, "", fmt.Sprintf(denied4, "Unauthorized", 0), false, false},
		"only to read":    {"Bearer old", func(k *Clinic) { k.SetScopes("openid", "user/Patient.read") }, 401, 401, "", fmt.Sprintf(denied4, "Unauthorized", 0), true, false},
		"only to write":   {"Bearer old", func(k *Clinic) { k.SetScopes("user/Patient.write") }, 401, 401, "", fmt.Sprintf(denied4, "Unauthorized", 0), false, true},
		"no ACL":          {"Bearer old", func(k *Clinic) { k.SetACL(false) }, 401, 403, "", fmt.Sprintf(denied4, "Organization policy does not have permit access resource", 0), false, false},
		"logged in again": {"Bearer old", func(k *Clinic) { k.SetLoggedOut(true); k.SetLoggedOut(false) }, 0, 0, "", "", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, version := range OpenEMRVersions {
				s, base := running(t, Options{Habits: OpenEMR(version), Now: tick(), Bearer: "old"})
				s.Clinic().Put(clinicID, clinicRow())
				if c.prepare != nil {
					c.prepare(s.Clinic())
				}
				status, body := c.status, c.body
				if version == "7.0.3" {
					status, body = c.status3, c.body3
				}
				for method, allowed := range map[string]bool{http.MethodGet: c.readable, http.MethodPut: c.writable} {
					r := do(t, method, base+"/Patient/"+clinicID, safe(`"telecom":[{"system":"phone","use":"home","value":"1"}]`), "Authorization", c.authorization)
					if allowed {
						wantEqual(t, version+" "+method, r.status, 200)
						continue
					}
					wantEqual(t, version+" "+method, r.status, status)
					wantEqual(t, version+" "+method, r.body, body)
				}
				want := Columns{}
				if c.writable {
					want["phone_home"] = "1"
				}
				wantChanged(t, version, s, want)
			}
		})
	}
}

func TestOpenEMRScopes(t *testing.T) {
	t.Parallel()
	for scope, versions := range map[string]string{
		"user/Patient.write": "7.0.3 7.0.4 8.0.0 8.1.1-dev", "system/Patient.write": "7.0.4 8.0.0 8.1.1-dev", "user/Patient.cruds": "7.0.4 8.0.0 8.1.1-dev", "user/Patient.u": "7.0.4 8.0.0 8.1.1-dev",
		"user/Patient.rs": "", "user/Observation.write": "", "patient/Patient.write": "", "user/Patient.read": "",
	} {
		for _, version := range OpenEMRVersions {
			s, url := clinic(t, version)
			s.Clinic().SetScopes(scope)
			want := 401
			if slices.Contains(strings.Fields(versions), version) {
				want = 200
			}
			wantEqual(t, version+" "+scope, do(t, http.MethodPut, url, safe("")).status, want)
		}
	}
}

func TestOpenEMRDatabaseFails(t *testing.T) {
	t.Parallel()
	const html = "text/html; charset=utf-8"
	for name, c := range map[string]struct {
		database Database
		version  string
		status   int
		kind     string
		values   int // JSON values after what is before the first {
		prefix   string
		bytes    int64 // at least
		read     int   // status of a GET meanwhile
	}{
		"locked, 7.0.3": {DatabaseLocked, "7.0.3", 200, html, 0, "<h2><font color='red'>Query Error", 1, 200},
		"locked, 7.0.4": {DatabaseLocked, "7.0.4", 500, "application/json", 1, "<h2><font color='red'>Query Error", 1, 200},
		"locked, 8.0.0": {DatabaseLocked, "8.0.0", 500, "application/json", 1, "<h2><font color='red'>Query Error", 1, 200},
		"locked, 8.1.1": {DatabaseLocked, "8.1.1-dev", 200, html, 0, "<h2><font color='red'>Query Error", 1, 200},
		"down, 7.0.3":   {DatabaseDown, "7.0.3", 500, html, 0, "", 0, 500},
		"down, 7.0.4":   {DatabaseDown, "7.0.4", 500, "application/json", 2, "Check", 1, 500},
		"down, 8.0.0":   {DatabaseDown, "8.0.0", 500, "application/json", 2, "Check", 1, 500},
		"down, 8.1.1":   {DatabaseDown, "8.1.1-dev", 500, "application/json", 1, "{", 1, 500},
		"dies, 7.0.3":   {DatabaseDies, "7.0.3", 500, html, 0, "", 0, 500},
		"dies, 8.0.0":   {DatabaseDies, "8.0.0", 200, html, 0, "SQL Statement failed", 70_000_000, 500},
		"dies, 8.1.1":   {DatabaseDies, "8.1.1-dev", 500, "application/json", 2, "{", 1, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := clinic(t, c.version)
			s.Clinic().SetDatabase(c.database)
			r, length := doCapped(t, http.MethodPut, url, home("1"))
			wantEqual(t, "status", r.status, c.status)
			wantEqual(t, "media type", r.header.Get("Content-Type"), c.kind)
			if length < c.bytes || c.bytes == 0 && length != 0 || !strings.HasPrefix(r.body, c.prefix) {
				t.Errorf("%d bytes: %.100s", length, r.body)
			}
			_, values, _ := strings.Cut(r.body, "{")
			wantEqual(t, "JSON values", jsonValues("{"+values), c.values)
			wantEqual(t, "GET", do(t, http.MethodGet, url, "").status, c.read)
			if c.database != DatabaseLocked { // from now on it is down
				wantEqual(t, "another PUT", do(t, http.MethodPut, url, home("1")).status, 500)
			}
			s.Clinic().SetDatabase(DatabaseUp)
			wantEqual(t, "GET afterwards", do(t, http.MethodGet, url, "").status, 200)
			wantChanged(t, "PUT", s, Columns{})
		})
	}
}

// doCapped sends a request whose answer may be huge: of its body the first
// megabyte is kept.
func doCapped(t testing.TB, method, url, body string, header ...string) (r response, length int64) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := (&http.Client{Timeout: patience, Transport: showsClose{}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	start, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil {
		length, err = io.Copy(io.Discard, answer.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return response{answer.StatusCode, answer.Header, string(start)}, length + int64(len(start))
}

// jsonValues counts the JSON values that a text consists of; 0 for anything
// else.
func jsonValues(text string) (n int) {
	d := json.NewDecoder(strings.NewReader(text))
	for ; ; n++ {
		var v any
		if err := d.Decode(&v); err == io.EOF {
			return n
		} else if err != nil {
			return 0
		}
	}
}

func TestOpenEMRCreates(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, url := clinic(t, version)
		collection := strings.TrimSuffix(url, "/"+clinicID)
		wantEqual(t, "without a name", do(t, http.MethodPost, collection, safe("")).status, 400)
		r := do(t, http.MethodPost, collection, safe(`"name":[{"use":"official","family":"Two","given":["Ann"]}]`))
		wantEqual(t, "status", r.status, 201)
		wantEqual(t, "pid", gjson.Get(r.body, "pid").Raw, "2")
		row, ok := s.Clinic().Row(gjson.Get(r.body, "uuid").Str)
		wantEqual(t, "found", ok, true)
		wantEqual(t, "row", row["lname"]+" "+row["sex"]+" "+row["pubpid"], "Two Female 2")
		wantEqual(t, "patients", len(s.IDs()), 2)
	})
}

// TestOpenEMRBehindTheServersMethods: what serves every kind of server serves
// OpenEMR.
func TestOpenEMRBehindTheServersMethods(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, base := running(t, Options{Habits: OpenEMR(version), Now: tick()})
		for _, p := range DemoPatients() {
			if id := gjson.GetBytes(p.Resource, "id").Str; id != "" {
				if err := s.Put(p.Resource); err != nil {
					t.Fatal(err)
				}
			}
		}
		const id = "demo-0001"
		row, _ := s.Clinic().Row(id)
		for column, value := range map[string]string{
			"lname": "홍", "fname": "길동", "sex": "Male", "DOB": "1990-05-15", "phone_cell": "010-1234-5678", "phone_home": "02-555-0123", "email": "gildong.hong@example.com",
			"street": "테헤란로 152", "street_line_2": "7층 701호", "city": "서울특별시", "county": "강남구", "postal_code": "06236", "country_code": "KR", "pubpid": "P-2025-000001",
		} {
			wantEqual(t, column, row[column], value)
		}
		body, number, ok := s.Get(id)
		wantEqual(t, "found", ok, true)
		wantEqual(t, "version", number, 1)
		read := do(t, http.MethodGet, base+"/Patient/"+id, "").body
		wantEqual(t, "name as read", gjson.Get(read, "name.0.family").Str, gjson.GetBytes(body, "name.0.family").Str)
		s.Clinic().Set(id, "city", "부산")
		wantEqual(t, "versions", len(s.History(id)), 2)
		wantContains(t, string(s.History(id)[0]), "서울특별시")
		count := len(s.IDs())
		s.Delete(id)
		wantEqual(t, "patients left", len(s.IDs()), count-1)
		_, _, ok = s.Get(id)
		wantEqual(t, "found when deleted", ok, false)
		wantEqual(t, "GET when deleted", do(t, http.MethodGet, base+"/Patient/"+id, "").status, 404)
		requests := s.Requests()
		last := requests[len(requests)-1]
		wantEqual(t, "log", fmt.Sprint(last.Method, last.ID, last.Status), "GET"+id+"404")
	})
}

func TestOpenEMRWithFaults(t *testing.T) {
	t.Parallel()
	const phoneAndCity = `"telecom":[{"system":"phone","use":"home","value":"1"}],"address":[{"line":["12 Main St"],"city":"Boston","state":"MA","postalCode":"01101"}]`
	both := Columns{"phone_home": "1", "city": "Boston"}
	for name, c := range map[string]struct {
		fault   Fault
		status  int
		changed Columns
	}{
		"none":           {Fault{}, 200, both},
		"status":         {Fault{Status: 503}, 503, Columns{}},
		"lost answer":    {Fault{Apply: true, Status: 502}, 502, both},
		"nothing saved":  {Fault{Ignore: true}, 200, Columns{}},
		"part dropped":   {Fault{Drop: []string{"address"}}, 200, Columns{"phone_home": "1"}},
		"store hook":     {Fault{Store: func(_, new []byte) []byte { return []byte(strings.Replace(string(new), "Boston", "BOSTON", 1)) }}, 200, Columns{"phone_home": "1", "city": "BOSTON"}},
		"phone rejected": {Fault{RejectPhone: "No such number"}, 400, Columns{}},
		"competitor":     {Fault{Compete: true}, 200, Columns{"phone_home": "1", "city": "Boston", "phone_biz": "02-000-0001"}},
		"delay":          {Fault{Delay: time.Millisecond}, 200, both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachOpenEMR(t, func(t *testing.T, version string) {
				s, url := clinic(t, version)
				s.SetFault(clinicID, c.fault)
				wantEqual(t, "status", do(t, http.MethodPut, url, safe(phoneAndCity)).status, c.status)
				wantChanged(t, "PUT", s, c.changed)
			})
		})
	}
	s, url := clinic(t, "8.0.0")
	s.SetFault("", Fault{On: OnSearch, Status: 503})
	wantEqual(t, "search", do(t, http.MethodGet, strings.TrimSuffix(url, "/"+clinicID), "").status, 503)
	s.SetFault(clinicID, Fault{Truncate: true})
	if _, err := try(http.MethodGet, url, ""); err == nil {
		t.Error("the answer was not cut")
	}
	s.SetFault(clinicID, Fault{On: http.MethodGet, Compete: true})
	wantContains(t, do(t, http.MethodGet, url, "").body, "413-555-0003")
	wantChanged(t, "after the GET", s, Columns{"phone_biz": "02-000-0001"})
}

func TestThereIsNoOtherOpenEMR(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("OpenEMR takes any version")
		}
	}()
	OpenEMR("9.9.9")
}
