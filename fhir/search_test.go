package fhir

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"patientgraph/fhir/fhirsim"
)

// searchServer answers each path and query with its body; HOST stands for the
// server's own URL.
func searchServer(t *testing.T, pages map[string]string) string {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := pages[r.URL.String()]
		if !ok {
			t.Errorf("unexpected %s", r.URL)
		}
		if r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("Authorization") != "Bearer t" {
			t.Errorf("header %v", r.Header)
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		fmt.Fprint(w, strings.ReplaceAll(body, "HOST", server.URL))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/fhir"
}

func bundle(next string, ids ...string) string {
	b := `{"resourceType":"Bundle","link":[{"relation":"self","url":"x"}`
	if next != "" {
		b += `,{"relation":"next","url":"` + next + `"}`
	}
	b += `],"entry":[{"resource":{"resourceType":"Practitioner","id":"no"}}`
	for _, id := range ids {
		b += `,{"resource":` + string(patientJSON(id, `"x": 1.0`)) + `}`
	}
	return b + "]}"
}

func TestSearch(t *testing.T) {
	t.Parallel()
	const first = "/fhir/Patient?_count=200&_sort=_lastUpdated"
	endless := map[string]string{first: bundle("HOST/fhir?n=0")}
	for n := range 20 {
		endless[fmt.Sprintf("/fhir?n=%d", n)] = bundle(fmt.Sprintf("HOST/fhir?n=%d", n+1), "a")
	}
	unusable := func(reason string) string { return "The answer is unusable: " + reason }
	bad := func(why error) string { return "A Patient of the answer is unusable: " + why.Error() }
	away := func(to string) string { return unusable(leadsAway{to}.Error()) }
	tests := []struct {
		name   string
		pages  map[string]string
		ids    string
		reason string // "": no error
	}{
		{"one page", map[string]string{first: bundle("", "a", "b")}, "a b", ""},
		{"no match", map[string]string{first: `{"resourceType":"Bundle","total":0}`, "/fhir/Patient?_count=200": `{"resourceType":"Bundle"}`}, "", ""},
		{"pages", map[string]string{first: bundle("HOST/fhir?_getpages=1", "a", "b"),
			"/fhir?_getpages=1": bundle("HOST/fhir/Patient?p=3", "c"), "/fhir/Patient?p=3": bundle("", "d")}, "a b c d", ""},
		{"relative link, above the base", map[string]string{first: bundle("/Patient?p=2", "a")}, "a", away("HOST")},
		{"relative link", map[string]string{first: bundle("Patient?p=2", "a"), "/fhir/Patient?p=2": bundle("", "b")}, "a b", ""},
		{"other host", map[string]string{first: bundle("http://127.0.0.1:1/fhir?p=2", "a")}, "a", away("http://127.0.0.1:1")},
		{"other scheme", map[string]string{first: bundle("https://127.0.0.1/fhir?p=2", "a")}, "a", away("https://127.0.0.1")},
		{"beside the base", map[string]string{first: bundle("HOST/fhirx?p=2")}, "", away("HOST")},
		{"above the base", map[string]string{first: bundle("HOST/fhir/../admin")}, "", away("HOST")},
		{"above the base, encoded", map[string]string{first: bundle("HOST/fhir/%2e%2e/admin")}, "", away("HOST")},
		{"user in the link", map[string]string{first: bundle("http://u@127.0.0.1/fhir")}, "", away("http://127.0.0.1")},
		{"no link", map[string]string{first: bundle(":")}, "", unusable(errBadLink.Error())},
		{"link to itself", map[string]string{first: bundle("HOST"+first, "a")}, "a", unusable(errNoProgress.Error())},
		{"no progress", endless, "a a a a", unusable(errNoProgress.Error())},
		{"no Bundle", map[string]string{first: string(patientJSON("a", ""))}, "", unusable(errWrongType.Error())},
		{"a part of a Patient", map[string]string{first: strings.Replace(bundle("", "a"), `"x": 1.0`, `"meta":{"tag":[{"code":"SUBSETTED"}]}`, 1)}, "", bad(errSubsetted)},
		{"no id", map[string]string{first: bundle("", "")}, "", bad(errOtherID)},
		{"failed in part", map[string]string{first: `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}}]}`}, "", unusable(errOutcome.Error())},
		{"a bad one among good ones", map[string]string{first: bundle("HOST/fhir?p=2", "a", "", "b"), "/fhir?p=2": bundle("", "c")}, "a b c", bad(errOtherID)},
		{"failed in part, in part not", map[string]string{first: strings.Replace(bundle("HOST/fhir?p=2", "a"), `{"resource":{"resourceType":"Practitioner","id":"no"}}`,
			`{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}}`, 1), "/fhir?p=2": bundle("", "b")}, "a b", unusable(errOutcome.Error())},
		{"keys twice in the Bundle", map[string]string{first: `{"resourceType":"Bundle","entry":[],"entry":[]}`}, "", unusable(errTwice.Error())},
		{"keys twice in a link", map[string]string{first: `{"resourceType":"Bundle","link":[{"relation":"next","url":"HOST/fhir?p=2","url":"HOST/fhir?p=3"}]}`}, "", unusable(errBadLink.Error())},
		{"a warning", map[string]string{first: `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning"}]}}]}`, "/fhir/Patient?_count=200": `{"resourceType":"Bundle"}`}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := searchServer(t, tt.pages)
			c := newTestClient(t, base, func(o *Options) { o.Auth = Auth{Mode: "bearer", Token: "t"} })
			var ids []string
			var failure error
			for r, err := range everybody(t.Context(), c) {
				if err != nil {
					failure = err
					continue
				}
				ids = append(ids, r.ID)
				if string(r.JSON) != string(patientJSON(r.ID, `"x": 1.0`)) {
					t.Errorf("body %s", r.JSON)
				}
			}
			if got := strings.Join(ids, " "); got != tt.ids {
				t.Errorf("ids %q, want %q", got, tt.ids)
			}
			if tt.reason == "" {
				if failure != nil {
					t.Error(failure)
				}
				return
			}
			if e := asError(t, failure, Unusable); e.Reason != strings.Replace(tt.reason, "HOST", strings.TrimSuffix(base, "/fhir"), 1) || e.Op != OpSearch {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestSearchStopsWhenAsked(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, searchServer(t, map[string]string{"/fhir/Patient?_count=200&_sort=_lastUpdated": bundle("HOST/fhir?never", "a", "b")}),
		func(o *Options) { o.Auth = Auth{Mode: "bearer", Token: "t"} })
	for range everybody(t.Context(), c) {
		break
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/fhir/metadata" {
			t.Errorf("asked for %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		fmt.Fprint(w, `{"resourceType":"CapabilityStatement","software":{"name":"S","version":"8"},"fhirVersion":"4.0.1","rest":[`+
			`{"mode":"client","resource":[{"type":"Patient","interaction":[{"code":"no"}]}]},`+
			`{"mode":"server","resource":[{"type":"Group","versioning":"no-version"},{"type":"Patient","versioning":"versioned",`+
			`"interaction":[{"code":"read"},{"code":"update"}],"searchParam":[{"name":"_id"},{"name":"phone"}]}]}]}`)
	}))
	defer server.Close()
	caps, err := newTestClient(t, server.URL+"/fhir", nil).Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if caps.SoftwareName != "S" || caps.SoftwareVersion != "8" || caps.FHIRVersion != "4.0.1" || caps.Versioning != "versioned" ||
		!slices.Equal(caps.Interactions, []string{"read", "update"}) || !slices.Equal(caps.SearchParams, []string{"_id", "phone"}) {
		t.Errorf("%+v", caps)
	}
}

// TestSearchSkipsABadPatient: whatever is wrong with one of a page, or with many pages
// of them, each is told, and all others are yielded.
func TestSearchSkipsABadPatient(t *testing.T) {
	t.Parallel()
	good := func(n int) string { return `{"resource":{"resourceType":"Patient","id":"good-` + fmt.Sprint(n) + `"}}` }
	for name, bad := range map[string]string{
		"a key twice":       `{"resource":{"resourceType":"Patient","id":"bad","gender":"male","gender":"female"}}`,
		"a deep key twice":  `{"resource":{"resourceType":"Patient","id":"bad","name":[{"family":"A","family":"B"}]}}`,
		"two resources":     `{"resource":{"resourceType":"Patient","id":"bad"},"resource":{"resourceType":"Patient","id":"worse"}}`,
		"not UTF-8":         "{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"bad\",\"name\":[{\"family\":\"M\xfcller\"}]}}",
		"no id":             `{"resource":{"resourceType":"Patient"}}`,
		"an id of no id":    `{"resource":{"resourceType":"Patient","id":"a/b"}}`,
		"telecom no list":   `{"resource":{"resourceType":"Patient","id":"bad","telecom":{}}}`,
		"a part of a whole": `{"resource":{"resourceType":"Patient","id":"bad","meta":{"tag":[{"code":"SUBSETTED"}]}}}`,
		"too many values":   `{"resource":{"resourceType":"Patient","id":"bad","x":[` + strings.Repeat("1,", maxPatientValues) + `1]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Pages of one bad patient and one good, then more pages of bad ones alone than
			// a search goes on for without anything new, then a good one.
			pages := map[string]string{}
			page := func(n int, last bool, entries string) {
				link := fmt.Sprintf(`{"relation":"next","url":"HOST/fhir?p=%d"}`, n+1)
				if last {
					link = ""
				}
				at := map[bool]string{true: "/fhir/Patient?_count=200&_sort=_lastUpdated", false: fmt.Sprintf("/fhir?p=%d", n)}[n == 0]
				pages[at] = `{"resourceType":"Bundle","link":[` + link + `],"entry":[` + entries + `]}`
			}
			page(0, false, good(1)+","+bad+","+good(2))
			page(1, false, bad+","+good(3))
			for n := range 5 {
				page(2+n, false, strings.Replace(bad, `"Patient"`, `"Patient","n":`+fmt.Sprint(n), 1))
			}
			page(7, true, good(4))
			c := newTestClient(t, searchServer(t, pages), func(o *Options) { o.Auth = Auth{Mode: "bearer", Token: "t"} })
			var ids []string
			told := 0
			for r, err := range everybody(t.Context(), c) {
				if err == nil {
					ids = append(ids, r.ID)
					continue
				}
				if e := asError(t, err, Unusable); e.Cause != BadEntry || strings.Contains(e.Error(), "bad") || strings.Contains(e.Error(), "ller") {
					t.Error(e)
				}
				told++
			}
			if got := strings.Join(ids, " "); got != "good-1 good-2 good-3 good-4" || told != 7 {
				t.Errorf("%s, %d bad ones told", got, told)
			}
		})
	}
}

// TestOpenEMRIsNotAskedForAllToSeeOne: version 7.0.3 has no way to show one patient of
// its search. A clinic that is too big for one answer shows some all the same.
func TestOpenEMRIsNotAskedForAllToSeeOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version  string
		patients int
		hidden   bool
		reads    bool
	}{{"7.0.3", 3, true, true}, {"7.0.3", 200, true, true}, {"7.0.3", 0, true, false}, {"8.0.0", 3, false, true}, {"8.0.0", 0, true, false}} {
		server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR(tt.version)})
		for n := range tt.patients {
			server.Clinic().Put(fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n), fhirsim.Columns{"fname": "Paul", "lname": "Moreau", "sex": "Male", "DOB": "1970-12-12"})
		}
		base, stop, err := server.Start()
		if err != nil {
			t.Fatal(err)
		}
		client, err := NewClient(Options{BaseURL: base, Server: "openemr", MaxBody: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		id, hidden, err := client.SomePatient(t.Context())
		if err != nil || hidden != tt.hidden || (id == "") != tt.hidden {
			t.Errorf("%+v: %q, %v, %v", tt, id, hidden, err)
		}
		for _, r := range server.Requests() {
			if strings.HasSuffix(r.Path, "/Patient") && !strings.Contains(r.Query, "_count=1") {
				t.Errorf("%+v: all patients were asked for", tt)
			}
		}
		if reads, err := client.ReadsOthers(t.Context()); reads != tt.reads || err != nil {
			t.Errorf("%+v: reads others: %v, %v", tt, reads, err)
		}
		client.Close()
		stop()
	}
}

// TestAnEmptyServerIsAskedTwice: it might not know _sort, or hide its patients from a
// _count, and say so by an empty answer.
func TestAnEmptyServerIsAskedTwice(t *testing.T) {
	t.Parallel()
	for habits, asked := range map[fhirsim.Habits]int{fhirsim.Medplum(): 2, fhirsim.HAPI(): 2, fhirsim.PlainR4(): 2, fhirsim.OpenEMR("7.0.3"): 2} {
		server := fhirsim.New(fhirsim.Options{Habits: habits})
		base, stop, err := server.Start()
		if err != nil {
			t.Fatal(err)
		}
		c := newTestClient(t, base, func(o *Options) { o.Server = "auto" })
		for _, err := range everybody(t.Context(), c) {
			t.Error(err)
		}
		n := 0
		for _, r := range server.Requests() {
			if strings.HasSuffix(r.Path, "/Patient") {
				n++
			}
		}
		if n != asked {
			t.Errorf("%s %s was asked %d times, want %d", habits.Name, habits.Software, n, asked)
		}
		stop()
	}
}

// TestReadsOthers: only a search that shows a Patient says that we may read any.
func TestReadsOthers(t *testing.T) {
	t.Parallel()
	var status int
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/fhir/Patient" || r.URL.RawQuery != "_count=1" {
			t.Errorf("asked %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	c := newTestClient(t, server.URL+"/fhir", nil)
	bundle := func(entries string) string {
		return `{"resourceType":"Bundle","type":"searchset","total":9,"entry":[` + entries + `]}`
	}
	const refusal = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden"}]}`
	for _, tt := range []struct {
		status int
		body   string
		reads  bool
		kind   Kind // of the error; 0: none
	}{
		{200, bundle(`{"resource":{"resourceType":"Patient","id":"q"}}`), true, 0},
		{200, bundle(`{"resource":{"resourceType":"Patient","id":"q","telecom":7}}`), true, 0},
		{200, bundle(``), false, 0}, {200, `{"resourceType":"Bundle"}`, false, 0},
		{200, bundle(`{"resource":` + refusal + `,"search":{"mode":"outcome"}}`), false, 0},
		{403, refusal, false, 0}, {401, "", false, 0}, {400, refusal, false, 0}, {404, refusal, false, 0}, {200, "<html>", false, 0},
		{429, "", false, RateLimited}, {500, "", false, Lost}, {503, "", false, Lost},
	} {
		status, body = tt.status, tt.body
		reads, err := c.ReadsOthers(t.Context())
		if reads != tt.reads || (err != nil) != (tt.kind != 0) {
			t.Errorf("%d %s: %v, %v", tt.status, tt.body, reads, err)
		}
		if tt.kind != 0 {
			asError(t, err, tt.kind)
		}
	}
}

// TestSearchReadsEveryPage of servers that link their pages, cap _count without a word,
// or know only _offset.
func TestSearchReadsEveryPage(t *testing.T) {
	t.Parallel()
	const patients = 230
	kinds := []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4()}
	for _, version := range fhirsim.OpenEMRVersions {
		kinds = append(kinds, fhirsim.OpenEMR(version))
	}
	for _, habits := range kinds {
		t.Run(habits.Name+" "+habits.Software, func(t *testing.T) {
			t.Parallel()
			server := fhirsim.New(fhirsim.Options{Habits: habits})
			for n := range patients {
				id := fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n)
				if habits.OpenEMR {
					server.Clinic().Put(id, fhirsim.Columns{"fname": "Paul", "lname": "Moreau", "sex": "Male", "DOB": "1970-12-12"})
				} else if err := server.Put(patientJSON(id, `"x": 1.0`)); err != nil {
					t.Fatal(err)
				}
			}
			base, stop, err := server.Start()
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			client, err := NewClient(Options{BaseURL: base, Server: "auto"})
			if err != nil {
				t.Fatal(err)
			}
			for _, count := range []string{"500", "200", "115", "100"} {
				ids := map[string]int{}
				for patient, err := range everybody(t.Context(), client) {
					if err != nil {
						t.Fatal(err)
					}
					ids[patient.ID]++
				}
				if len(ids) != patients {
					t.Errorf("_count=%s: %d of %d patients", count, len(ids), patients)
				}
			}
		})
	}
}

// TestSearchThatHidesPages: a server that names a total and shows less, without a link,
// has not shown everybody.
func TestSearchThatHidesPages(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		if strings.HasSuffix(r.URL.Path, "/metadata") {
			fmt.Fprint(w, `{"resourceType":"CapabilityStatement","software":{"name":"Acme FHIR"}}`)
			return
		}
		fmt.Fprintf(w, `{"resourceType":"Bundle","type":"searchset","total":450,"entry":[{"resource":%s}]}`, patientJSON("a", `"x": 1.0`))
	}))
	defer server.Close()
	client, err := NewClient(Options{BaseURL: server.URL, Server: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	for _, failure = range everybody(t.Context(), client) {
	}
	if failure == nil || !strings.Contains(failure.Error(), "450") {
		t.Errorf("%v", failure)
	}
}
