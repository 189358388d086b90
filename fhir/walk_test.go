package fhir

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"
)

// TestListShowsEverybodyOnce of servers that link their pages, cap _count without a
// word, or know only _offset; also when each page is asked for by another process.
func TestListShowsEverybodyOnce(t *testing.T) {
	t.Parallel()
	for _, habits := range everyKind {
		for _, resumed := range []bool{false, true} {
			t.Run(fmt.Sprint(habits.Name, " ", habits.Software, ", resumed: ", resumed), func(t *testing.T) {
				t.Parallel()
				_, c, _ := simulated(t, habits, 430)
				ids := map[string]int{}
				for from, more := "", true; more; {
					more = false
					for page, err := range c.List(t.Context(), from) {
						if err != nil {
							t.Fatal(err)
						}
						for _, change := range page.Changes {
							ids[change.ID]++
						}
						if page.ServerTime.IsZero() {
							t.Error("the server's time is not told")
						}
						if from = page.Next; resumed && from != "" {
							more = true
							break
						}
					}
				}
				twice := slices.DeleteFunc(slices.Collect(maps.Keys(ids)), func(id string) bool { return ids[id] == 1 })
				if len(ids) != 430 || len(twice) > 0 {
					t.Errorf("%d patients, twice %v", len(ids), twice)
				}
			})
		}
	}
}

// TestListByOffsetFindsItsPlaceAgain where patients are deleted while its pages are read.
func TestListByOffsetFindsItsPlaceAgain(t *testing.T) {
	t.Parallel()
	for _, habits := range []fhirsim.Habits{fhirsim.Medplum(), fhirsim.OpenEMR("8.0.0")} {
		server, c, at := simulated(t, habits, 60)
		from := fmt.Sprintf(`{"base":%q,"count":10,"byOffset":true,"sorted":%v}`, c.base, !habits.OpenEMR)
		ids := map[string]int{}
		pages := 0
		for page, err := range c.List(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range page.Changes {
				ids[change.ID]++
			}
			at.advance(time.Second)
			switch pages++; pages {
			case 1:
				server.Delete(patientID(2))
			case 2:
				for n := range 15 {
					server.Delete(patientID(n))
				}
			case 3:
				put(t, server, 20, "2")
			}
		}
		for n := range 60 {
			if ids[patientID(n)] == 0 {
				t.Errorf("%s: patient %d was not shown", habits.Name, n)
			}
		}
	}
}

// TestAListingOutlivesItsResult: where the server has forgotten the pages that it began
// to show, as after a restart, the listing goes on behind those that were shown.
func TestAListingOutlivesItsResult(t *testing.T) {
	t.Parallel()
	for _, resumed := range []bool{false, true} {
		server, c, at := simulated(t, fhirsim.HAPI(), 230)
		ids, pages := map[string]int{}, 0
		for from, more := "", true; more; {
			more = false
			for page, err := range c.List(t.Context(), from) {
				if err != nil {
					t.Fatal(err)
				}
				for _, change := range page.Changes {
					ids[change.ID]++
				}
				pages++
				at.advance(time.Minute)
				switch pages {
				case 1: // who changes is in the result all the same, with another lastUpdated
					put(t, server, 60, "2")
					put(t, server, 10, "2")
				case 2, 3:
					server.ExpireSearches()
				}
				if from = page.Next; resumed && from != "" {
					more = true
					break
				}
			}
		}
		for n := range 230 {
			switch times := ids[patientID(n)]; {
			case times == 0, times > 1 && n != 60 && n != 10:
				t.Errorf("resumed %v: patient %d was shown %d times", resumed, n, times)
			}
		}
	}
}

// TestAListingThatCannotBeResumed says that it must start over.
func TestAListingThatCannotBeResumed(t *testing.T) {
	t.Parallel()
	_, c, _ := simulated(t, fhirsim.HAPI(), 3)
	for name, from := range map[string]string{
		"nonsense":            "nonsense",
		"of another server":   `{"Link":"http://127.0.0.1:1/fhir?_getpages=1","Sorted":true,"Count":200}`,
		"without an order":    `{"Link":"` + c.base.String() + `?_getpages=1&_getpagesoffset=50","Count":200}`,
		"in another order":    `{"Link":"` + c.base.String() + `?_getpages=1&_getpagesoffset=50","Sorted":true,"Mixed":true,"Lower":"2026-11-23T12:00:00Z","Count":200}`,
		"nobody shown so far": `{"Link":"` + c.base.String() + `?_getpages=1&_getpagesoffset=50","Sorted":true,"Count":200}`,
	} {
		var failure error
		for _, failure = range c.List(t.Context(), from) {
		}
		var e *Error
		if !errors.As(failure, &e) || e.Cause != ListingExpired {
			t.Errorf("%s: %v", name, failure)
		}
	}
}

// TestAPageThatFails in the middle ends a listing after the pages before it, and the
// last good one leads on.
func TestAPageThatFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fhirsim.Fault{
		"down": {Status: 503}, "cut": {Truncate: true}, "garbage": {Status: 200, Body: "<html>", ContentType: "text/html"},
		"reset": {Close: true}, "our credentials": {Status: 401},
	} {
		for _, habits := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum()} {
			server, c, _ := simulated(t, habits, 430)
			fault.On, fault.After, fault.Times = fhirsim.OnSearch, 2, 2
			server.SetFault("", fault)
			ids := map[string]int{}
			var failures []error
			for from := ""; ; {
				var failure error
				for page, err := range c.List(t.Context(), from) {
					if failure = err; err == nil {
						from = page.Next
						for _, change := range page.Changes {
							ids[change.ID]++
						}
					}
				}
				if failure == nil || len(failures) == 3 {
					break
				}
				failures = append(failures, failure)
			}
			if len(ids) != 430 || len(failures) == 0 || len(failures) > 2 {
				t.Errorf("%s, %s: %d patients, %v", name, habits.Name, len(ids), failures)
			}
		}
	}
}

// TestPagesThatAreTooLong are asked for in smaller ones; a patient who is too long for
// any is told by his place, and the others are shown.
func TestPagesThatAreTooLong(t *testing.T) {
	t.Parallel()
	for _, habits := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4()} {
		server, _, at := simulated(t, habits, 0)
		base, stop, err := server.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		c := newTestClient(t, base, func(o *Options) { o.Server, o.MaxBody = "auto", 16<<10 })
		put(t, server, 500, "1")
		if _, err := c.Following(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n := range 70 {
			at.advance(time.Second)
			if err := server.Put(patientJSON(patientID(n), `"x":"`+strings.Repeat("x", 600)+`"`)); err != nil {
				t.Fatal(err)
			}
		}
		at.advance(time.Second)
		if err := server.Put(patientJSON(patientID(40), `"x":"`+strings.Repeat("x", 30_000)+`"`)); err != nil {
			t.Fatal(err)
		}
		at.advance(time.Second)
		put(t, server, 501, "1")
		for way, pages := range map[string]func(func(Listing, error) bool){
			"List": c.List(t.Context(), ""), "Changed": c.Changed(t.Context(), testNow),
		} {
			good, large := map[string]int{}, map[string]int{}
			for page, err := range pages {
				if err != nil {
					t.Fatalf("%s, %s: %v", habits.Name, way, err)
				}
				for _, change := range page.Changes {
					if change.Err == nil {
						good[change.ID]++
						continue
					}
					large[change.ID]++
					if e := asError(t, change.Err, Unusable); e.Cause != BadEntry {
						t.Error(e)
					}
				}
			}
			if len(good) != 71 || good[patientID(40)] > 0 || large[patientID(40)] != 1 {
				t.Errorf("%s, %s: %d patients, too long: %v", habits.Name, way, len(good), large)
			}
		}
	}
}

// TestAPatientWhoIsTooLongIsNamed also by a server that does not know _elements: the page
// begins with his id. Whoever can be read by himself is no such patient.
func TestAPatientWhoIsTooLongIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		habits  fhirsim.Habits
		unknown []string
	}{
		{fhirsim.HAPI(), []string{"_elements"}}, {fhirsim.Medplum(), []string{"_elements"}}, {fhirsim.PlainR4(), []string{"_elements"}},
		{fhirsim.HAPI(), []string{"_elements", "_sort"}},
	} {
		habits := tt.habits
		simulator, _, at := simulated(t, habits, 6)
		since := at.now().Add(time.Second)
		for _, n := range []int{2, 4} {
			at.advance(time.Minute)
			long := `"active":true,"photo":[{"data":"` + strings.Repeat("x", 200_000) + `"}]`
			if err := simulator.Put(patientJSON(patientID(n), long)); err != nil {
				t.Fatal(err)
			}
		}
		at.advance(time.Minute)
		put(t, simulator, 0, "2") // first where nothing is sorted, and the latest
		at.advance(time.Minute)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			for _, name := range tt.unknown {
				query.Del(name)
			}
			r.URL.RawQuery = query.Encode()
			simulator.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		c := newTestClient(t, server.URL+"/fhir", func(o *Options) { o.Server, o.MaxBody = "auto", 100_000 })
		if _, err := c.Following(t.Context()); err != nil {
			t.Fatal(err)
		}
		for way, tt := range map[string]struct {
			pages func(func(Listing, error) bool)
			want  map[string]string
		}{
			"List":    {c.List(t.Context(), ""), map[string]string{patientID(0): "2", patientID(1): "1", patientID(2): "bad", patientID(3): "1", patientID(4): "bad", patientID(5): "1"}},
			"Changed": {c.Changed(t.Context(), since), map[string]string{patientID(0): "2", patientID(2): "bad", patientID(4): "bad"}},
		} {
			got := map[string]string{}
			for page, err := range tt.pages {
				if err != nil {
					t.Fatalf("%s, %s: %v", habits.Name, way, err)
				}
				for _, change := range page.Changes {
					got[change.ID] = told(change)
				}
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("%s, %s: %v, want %v", habits.Name, way, got, tt.want)
			}
		}
	}
}

// TestTheBeginningOfAPage names the patient or nobody, wherever it is cut off.
func TestTheBeginningOfAPage(t *testing.T) {
	t.Parallel()
	whole := `{"resourceType":"Bundle","total":1,"link":[{"relation":"self","url":"http://emr/Patient?_count=1"}],"entry":[{` +
		`"fullUrl":"http://emr/Patient/abc","resource":{"resourceType":"Patient","meta":{"versionId":"7","lastUpdated":"` + noon + `"},"id":"abc","photo":[{"data":"xxx"}]}}]}`
	named := 0
	for n := range whole {
		is := firstOf([]byte(whole[:n]))
		if is.id != "" && is.id != "abc" {
			t.Errorf("%s names %s", whole[:n], is.id)
		}
		if is.id != "" {
			named++
		}
	}
	if last := strings.Index(whole, "/abc") + len("/abc"); named != len(whole)-last-1 {
		t.Errorf("named by %d of %d", named, len(whole)-last)
	}
	for _, other := range []string{
		"", "[", "null", `{"entry":{"resource":{`, `{"entry":[7,`, `{"entry":[{"resource":{"resourceType":"OperationOutcome","id":"abc"`,
		`{"entry":[{"resource":{"resourceType":"Patient","id":"a/b"`, `{"entry":[{"resource":{"resourceType":"Patient","id":7,`,
	} {
		if is := firstOf([]byte(other)); is.id != "" {
			t.Errorf("%s names %s", other, is.id)
		}
	}
}

// TestAnOlderVersionOfATooLongPatient is not taken for the newest, though the history
// does not tell whose the newest is.
func TestAnOlderVersionOfATooLongPatient(t *testing.T) {
	t.Parallel()
	unnamed := `{"resource":{"resourceType":"Patient","x":"` + strings.Repeat("x", 30_000) + `","id":"a"},"request":{"method":"PUT","url":"Patient/a"}}`
	versions := []string{
		versionEntry("c", "1", noon, "1"), unnamed,
		versionEntry("a", "1", noon, "1"), versionEntry("b", "1", noon, "1"),
	}
	f := &follower{search: entries("searchset", versions[0])}
	f.history = func(query url.Values) (int, string) {
		offset, _ := strconv.Atoi(query.Get("_offset"))
		count, _ := strconv.Atoi(query.Get("_count"))
		from := min(offset, len(versions))
		code, body := entries("history", versions[from:min(from+count, len(versions))]...)(query)
		if from+count < len(versions) {
			body = strings.Replace(body, `"entry"`, fmt.Sprintf(`"link":[{"relation":"next","url":"Patient/_history?_count=%d&_offset=%d"}],"entry"`, count, from+count), 1)
		}
		return code, body
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fhir/Patient/a":
			w.Header().Set("Content-Type", "application/fhir+json")
			_, _ = w.Write(patientJSON("a", `"x":"`+strings.Repeat("x", 30_000)+`"`))
		case "/fhir/Patient/b":
			w.Header().Set("Content-Type", "application/fhir+json")
			_, _ = w.Write(patientJSON("b", `"telecom":[{"system":"phone","value":"1"}]`))
		default:
			f.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	c := newTestClient(t, server.URL+"/fhir", func(o *Options) { o.MaxBody = 16 << 10 })
	got := map[string]string{}
	for page, err := range c.Changed(t.Context(), testNow) {
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range page.Changes {
			got[change.ID] = told(change)
		}
	}
	if want := map[string]string{"": "bad", "a": "bad", "b": "1", "c": "1"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAListingThatIsNotOurs is refused, and so is one that does not come to an end.
func TestAListingThatIsNotOurs(t *testing.T) {
	t.Parallel()
	a := `"entry":[{"resource":` + string(patientJSON("a", "")) + `}]`
	page := func(rest string) string { return `{"resourceType":"Bundle","type":"searchset",` + rest + `,` + a + `}` }
	self := func(url string) string { return page(`"link":[{"relation":"self","url":"` + url + `"}]`) }
	for name, tt := range map[string]struct {
		body string
		good bool
	}{
		"a self of ours":             {self("http://proxy/x/Patient?_count=50&_sort=_lastUpdated"), true},
		"a self without parameters":  {self("Patient"), true},
		"a self that is no URL":      {self("x"), true},
		"a history":                  {strings.Replace(self("Patient"), "searchset", "history", 1), false},
		"another type's search":      {self("http://proxy/x/Observation?_count=200"), false},
		"another search":             {self("Patient?name=hall"), false},
		"a search for one":           {self("Patient?_id=a"), false},
		"a compartment of a patient": {self("Patient/a/Observation"), false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/fhir+json")
			fmt.Fprint(w, tt.body)
		}))
		var failure error
		shown := 0
		for page, err := range newTestClient(t, server.URL, nil).List(t.Context(), "") {
			failure = err
			shown += len(page.Changes)
		}
		if tt.good != (failure == nil) || tt.good != (shown == 1) {
			t.Errorf("%s: %d patients, %v", name, shown, failure)
		}
		server.Close()
	}
}

// TestCyclesOfPages come to an end, also where each link is new.
func TestCyclesOfPages(t *testing.T) {
	t.Parallel()
	for _, isNew := range []bool{false, true} {
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/fhir+json")
			n, _ := strconv.Atoi(r.URL.Query().Get("page"))
			next := n + 1
			if !isNew {
				next %= 4
			}
			fmt.Fprint(w, strings.ReplaceAll(bundle(fmt.Sprintf("HOST/fhir?page=%d", next), fmt.Sprint("p", n%4)), "HOST", server.URL))
		}))
		var failure error
		ids := map[string]bool{}
		for page, err := range newTestClient(t, server.URL+"/fhir", nil).List(t.Context(), "") {
			failure = err
			for _, change := range page.Changes {
				ids[change.ID] = true
			}
		}
		if !errors.Is(failure, errNoProgress) || len(ids) != 4 {
			t.Errorf("new links %v: %v, %v", isNew, ids, failure)
		}
		server.Close()
	}
}

// TestLinksByOffsetLeaveNobodyOut: such a server finds its pages anew, so who is deleted
// meanwhile moves the others.
func TestLinksByOffsetLeaveNobodyOut(t *testing.T) {
	t.Parallel()
	var list []string
	for n := range 40 {
		list = append(list, `{"resource":`+string(patientJSON(patientID(n), `"meta":{"lastUpdated":"`+testNow.Add(time.Duration(n)*time.Second).Format(time.RFC3339)+`"}`))+`}`)
	}
	f := &follower{}
	f.search = func(query url.Values) (int, string) {
		offset, _ := strconv.Atoi(query.Get("_offset"))
		from := min(offset, len(list))
		to := min(from+10, len(list)) // whatever _count says
		code, body := entries("searchset", list[from:to]...)(nil)
		if to < len(list) {
			query.Set("_offset", strconv.Itoa(to))
			body = strings.Replace(body, `"entry"`, `"link":[{"relation":"next","url":"Patient?`+query.Encode()+`"}],"entry"`, 1)
		}
		return code, body
	}
	c := follow(t, f)
	ids := map[string]int{}
	for page, err := range c.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range page.Changes {
			ids[change.ID]++
		}
		if len(ids) == 20 {
			list = list[3:]
		}
	}
	for n := range 40 {
		if ids[patientID(n)] == 0 {
			t.Errorf("patient %d was not shown", n)
		}
	}
}

// TestAServerThatDoesNotSort is listed all the same, and so is one with nobody.
func TestAServerThatDoesNotSort(t *testing.T) {
	t.Parallel()
	p := versionEntry("a", "1", noon, "1")
	for name, refusal := range map[string]func(url.Values) (int, string){
		"refuses": status(400), "shows nobody": entries("searchset"), "refuses the route": status(404),
	} {
		c := follow(t, &follower{search: func(query url.Values) (int, string) {
			if query.Has("_sort") {
				return refusal(query)
			}
			return entries("searchset", p)(nil)
		}})
		var ids []string
		for patient, err := range everybody(t.Context(), c) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, patient.ID)
		}
		if !slices.Equal(ids, []string{"a"}) {
			t.Errorf("%s: %v", name, ids)
		}
	}
}

// TestTheServersClock is told by its Bundle, else by the Date of its answer.
func TestTheServersClock(t *testing.T) {
	t.Parallel()
	for meta, want := range map[string]time.Time{
		"":                          testNow,
		"2026-11-23T09:00:00.5Z":    testNow.Add(-3*time.Hour + 500*time.Millisecond),
		"2026-11-23T09:00:00":       testNow, // OpenEMR's, without a zone
		"2026-11-23T21:00:00+09:00": testNow,
	} {
		c := follow(t, &follower{search: func(url.Values) (int, string) {
			return 200, `{"resourceType":"Bundle","meta":{"lastUpdated":"` + meta + `"},"type":"searchset"}`
		}})
		for page, err := range c.List(t.Context(), "") {
			if err != nil || !page.ServerTime.Equal(want) {
				t.Errorf("%q: %v, %v", meta, page.ServerTime, err)
			}
		}
	}
}

// TestEntriesOfASearchWithoutAResource are told, by id where there is one; what is no
// Patient is left out.
func TestEntriesOfASearchWithoutAResource(t *testing.T) {
	t.Parallel()
	c := follow(t, &follower{search: entries("searchset", `{}`, `{"fullUrl":"http://x/Patient/bad"}`, `{"fullUrl":"http://x/Group/g"}`,
		`{"search":{"mode":"outcome"}}`, `{"resource":{"resourceType":"Group","id":"g"}}`, versionEntry("a", "1", noon, "1"), versionEntry("a", "1", noon, "1"))})
	var got []string
	for page, err := range c.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range page.Changes {
			got = append(got, change.ID+":"+told(change))
		}
	}
	if !slices.Equal(got, []string{":bad", "bad:bad", "a:1"}) {
		t.Errorf("%q", got)
	}
}
