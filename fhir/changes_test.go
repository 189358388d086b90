package fhir

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"
)

// clock is a settable clock of a server.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time          { return testNow.Add(time.Duration(c.Load())) }
func (c *clock) advance(d time.Duration) { c.Add(int64(d)) }

// simulated starts a server with patients p-000, p-001 and so on, each a second later
// than the one before.
func simulated(t *testing.T, habits fhirsim.Habits, patients int) (*fhirsim.Server, *Client, *clock) {
	t.Helper()
	at := &clock{}
	server := fhirsim.New(fhirsim.Options{Habits: habits, Now: at.now})
	for n := range patients {
		at.advance(time.Second)
		put(t, server, n, "1")
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server, newTestClient(t, base, func(o *Options) { o.Server = "auto" }), at
}

func put(t *testing.T, server *fhirsim.Server, n int, phone string) {
	t.Helper()
	body := patientJSON(patientID(n), `"name":[{"family":"Moreau","given":["Paul"]}],"gender":"male","birthDate":"1970-12-12","telecom":[{"system":"phone","use":"home","value":"`+phone+`"}]`)
	if err := server.Put(body); err != nil {
		t.Fatal(err)
	}
}

func patientID(n int) string { return fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n) }

// changed collects what Changed shows: by id the phone, "deleted" or "bad".
func changed(ctx context.Context, c *Client, since time.Time) (map[string]string, error) {
	got := map[string]string{}
	for page, err := range c.Changed(ctx, since) {
		if err != nil {
			return got, err
		}
		for _, change := range page.Changes {
			if _, twice := got[change.ID]; twice {
				return got, fmt.Errorf("%s is shown twice", change.ID)
			}
			got[change.ID] = told(change)
		}
	}
	return got, nil
}

func told(c Change) string {
	switch {
	case c.Err != nil:
		return "bad"
	case c.Deleted:
		return "deleted"
	}
	p, err := ParsePatient(c.Patient.JSON, testNow)
	if err != nil {
		return err.Error()
	}
	return p.Contact.Phone
}

var everyKind = []fhirsim.Habits{
	fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4(), fhirsim.OpenEMR("7.0.3"), fhirsim.OpenEMR("8.0.0"),
}

// TestChangesAreFound in each kind of server: who was edited, created, deleted or lives
// again, as far as the server tells, and each once.
func TestChangesAreFound(t *testing.T) {
	t.Parallel()
	for _, habits := range everyKind {
		t.Run(habits.Name+" "+habits.Software, func(t *testing.T) {
			t.Parallel()
			server, c, at := simulated(t, habits, 250)
			at.advance(100 * time.Hour)
			since := at.now()
			put(t, server, 3, "2")
			put(t, server, 3, "3")
			put(t, server, 300, "1")
			server.Delete(patientID(7))
			server.Delete(patientID(8))
			put(t, server, 8, "8")
			got, err := changed(t.Context(), c, since)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{patientID(3): "3", patientID(300): "1", patientID(8): "8"}
			if habits == fhirsim.HAPI() {
				want[patientID(7)] = "deleted"
			}
			if !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			before := len(server.Requests())
			at.advance(100 * time.Hour)
			if got, err := changed(t.Context(), c, at.now()); err != nil || len(got) > 0 {
				t.Errorf("nothing changed: %v, %v", got, err)
			}
			if asked := len(server.Requests()) - before; asked != 1 {
				t.Errorf("a poll that finds nothing took %d requests", asked)
			}
		})
	}
}

// TestFollowingTellsTheMethod of each kind of server.
func TestFollowingTellsTheMethod(t *testing.T) {
	t.Parallel()
	want := []Following{
		{"_history", true}, {"_lastUpdated", false}, {"_lastUpdated", false}, {"_lastUpdated by day", false}, {"_lastUpdated by day", false},
	}
	for i, habits := range everyKind {
		server, c, _ := simulated(t, habits, 3)
		got, err := c.Following(t.Context())
		if err != nil || got != want[i] {
			t.Errorf("%s %s: %+v, %v", habits.Name, habits.Software, got, err)
		}
		if asked := len(server.Requests()); asked > 7 {
			t.Errorf("%s: it took %d requests", habits.Name, asked)
		}
	}
}

// follower is a server that answers a search, a history and a read of a patient by
// three functions; nil: 404.
type follower struct {
	search, history, read func(query url.Values) (status int, body string)
	asked                 atomic.Int64
}

func (f *follower) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	answer := f.read
	switch {
	case strings.HasSuffix(r.URL.Path, "/Patient/_history"):
		answer = f.history
	case strings.HasSuffix(r.URL.Path, "/Patient"):
		answer = f.search
	}
	w.Header().Set("Content-Type", "application/fhir+json")
	w.Header().Set("Date", testNow.Format(http.TimeFormat))
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	status, body := answer(r.URL.Query())
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func follow(t *testing.T, f *follower) *Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return newTestClient(t, server.URL+"/fhir", nil)
}

// entries is a Bundle; what a history shows from the future is nothing.
func entries(kind string, list ...string) func(url.Values) (int, string) {
	return func(query url.Values) (int, string) {
		since := strings.TrimPrefix(query.Get("_since")+query.Get("_lastUpdated"), "ge")
		if at, err := time.Parse(time.RFC3339, since); err == nil && at.After(testNow.Add(time.Hour)) {
			return http.StatusOK, `{"resourceType":"Bundle","type":"` + kind + `"}`
		}
		return http.StatusOK, `{"resourceType":"Bundle","type":"` + kind + `","entry":[` + strings.Join(list, ",") + `]}`
	}
}

func status(code int) func(url.Values) (int, string) {
	return func(url.Values) (int, string) {
		return code, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported"}]}`
	}
}

// versionEntry is a version of a patient in a history.
func versionEntry(id, version, at, phone string) string {
	return `{"resource":` + string(patientJSON(id, `"meta":{"versionId":"`+version+`","lastUpdated":"`+at+`"},"telecom":[{"system":"phone","value":"`+phone+`"}]`)) +
		`,"request":{"method":"PUT","url":"Patient/` + id + `"}}`
}

const noon = "2026-11-23T12:00:00.000Z"

// TestAMethodThatIsNotOffered gives way to the next one; a server that fails or refuses
// us changes nothing.
func TestAMethodThatIsNotOffered(t *testing.T) {
	t.Parallel()
	p := versionEntry("a", "1", noon, "1")
	all := entries("searchset", p)
	everything := func(kind string) func(url.Values) (int, string) {
		return func(url.Values) (int, string) { return entries(kind, p)(nil) }
	}
	nobody := func(kind string) func(url.Values) (int, string) {
		return func(query url.Values) (int, string) {
			if query.Has("_since") || query.Has("_lastUpdated") {
				return entries(kind)(nil)
			}
			return entries(kind, p)(nil)
		}
	}
	for name, tt := range map[string]struct {
		search, history func(url.Values) (int, string)
		method          string
		kind            Kind
		cause           Cause
	}{
		"history":                        {all, entries("history", p), "_history", 0, 0},
		"no route":                       {all, nil, "_lastUpdated", 0, 0},
		"not supported":                  {all, status(400), "_lastUpdated", 0, 0},
		"not allowed":                    {all, status(405), "_lastUpdated", 0, 0},
		"not implemented":                {all, status(501), "_lastUpdated", 0, 0},
		"forbidden":                      {all, status(403), "_lastUpdated", 0, 0},
		"a search in place of it":        {all, all, "_lastUpdated", 0, 0},
		"no Bundle":                      {all, func(url.Values) (int, string) { return 200, `{"resourceType":"Patient"}` }, "_lastUpdated", 0, 0},
		"an unknown _since is ignored":   {all, everything("history"), "_history", 0, 0}, // it shows more than it has to
		"an unknown _since hides all":    {all, nobody("history"), "_lastUpdated", 0, 0},
		"an unknown parameter hides all": {nobody("searchset"), nil, "", CannotApply, NotFollowable},
		"an unknown one is ignored":      {everything("searchset"), nil, "", CannotApply, NotFollowable},
		"down":                           {status(503), entries("history", p), "", Lost, 0},
		"history down":                   {all, status(503), "", Lost, 0},
		"busy":                           {all, status(429), "", RateLimited, 0},
		"our credentials are refused":    {status(401), status(401), "", AuthFailed, 0},
		"refused for the history alone":  {all, status(401), "", AuthFailed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := follow(t, &follower{search: tt.search, history: tt.history})
			got, err := c.Following(t.Context())
			if tt.kind != 0 {
				if e := asError(t, err, tt.kind); e.Cause != tt.cause {
					t.Errorf("cause %v", e.Cause)
				}
				_, err = changed(t.Context(), c, testNow)
				asError(t, err, tt.kind)
				return
			}
			if err != nil || got.Method != tt.method || got.Deletes != (tt.method == "_history") {
				t.Errorf("%+v, %v", got, err)
			}
			if shown, err := changed(t.Context(), c, testNow); err != nil || shown["a"] != "1" {
				t.Errorf("%v, %v", shown, err)
			}
		})
	}
}

// TestAMethodThatIsTakenAway later gives way too; an outage does not.
func TestAMethodThatIsTakenAway(t *testing.T) {
	t.Parallel()
	var code atomic.Int64
	p := versionEntry("a", "1", noon, "1")
	c := follow(t, &follower{search: entries("searchset", p), history: func(query url.Values) (int, string) {
		if code := int(code.Load()); code != 0 {
			return status(code)(query)
		}
		return entries("history", p)(query)
	}})
	deletes := func() (shown bool, err error) {
		for page, err := range c.Changed(t.Context(), testNow) {
			return page.Deletes, err
		}
		return false, nil
	}
	for _, step := range []struct {
		code    int
		deletes bool
		kind    Kind
	}{{0, true, 0}, {503, false, Lost}, {429, false, RateLimited}, {0, true, 0}, {404, false, 0}, {0, false, 0}} {
		code.Store(int64(step.code))
		shown, err := deletes()
		if step.kind != 0 {
			asError(t, err, step.kind)
		} else if err != nil || shown != step.deletes {
			t.Errorf("%+v: %v, %v", step, shown, err)
		}
	}
	if again, err := c.Following(t.Context()); err != nil || !again.Deletes {
		t.Errorf("asked again: %+v, %v", again, err)
	}
}

// TestTheNewestVersionCounts in whatever order a history shows them, also over pages;
// where it cannot be told the patient itself is asked for.
func TestTheNewestVersionCounts(t *testing.T) {
	t.Parallel()
	const later = "2026-11-23T12:00:01.000Z"
	deleted := func(etag, at string) string {
		return `{"fullUrl":"http://x/Patient/a","request":{"method":"DELETE","url":"Patient/a"},"response":{"status":"204","etag":"W/\"` + etag + `\"","lastModified":"` + at + `"}}`
	}
	uuid := [...]string{"95f0a7e2-aaaa-4b11-8c22-000000000001", "95f0a7e2-aaaa-4b11-8c22-000000000002"}
	for name, tt := range map[string]struct {
		pages [][]string
		want  string
		reads int
	}{
		"newest first":                 {[][]string{{versionEntry("a", "2", later, "2"), versionEntry("a", "1", noon, "1")}}, "2", 0},
		"oldest first":                 {[][]string{{versionEntry("a", "1", noon, "1"), versionEntry("a", "2", later, "2")}}, "2", 0},
		"newest first, over pages":     {[][]string{{versionEntry("a", "2", later, "2")}, {versionEntry("a", "1", noon, "1")}}, "2", 0},
		"the same again":               {[][]string{{versionEntry("a", "2", later, "2")}, {versionEntry("a", "2", later, "2"), versionEntry("b", "1", noon, "1")}}, "2", 0},
		"deleted":                      {[][]string{{deleted("2", later), versionEntry("a", "1", noon, "1")}}, "deleted", 0},
		"deleted, without a time":      {[][]string{{versionEntry("a", "1", noon, "1"), deleted("2", "")}}, "deleted", 0},
		"lives again":                  {[][]string{{deleted("2", noon), versionEntry("a", "3", later, "3")}}, "3", 0},
		"lives again, without a time":  {[][]string{{versionEntry("a", "3", noon, "3")}, {deleted("2", "")}}, "3", 0},
		"UUIDs":                        {[][]string{{versionEntry("a", uuid[1], noon, "1"), versionEntry("a", uuid[0], later, "2")}}, "2", 0},
		"UUIDs of one instant":         {[][]string{{versionEntry("a", uuid[1], noon, "1"), versionEntry("a", uuid[0], noon, "2")}}, "read", 1},
		"UUIDs of one instant, apart":  {[][]string{{versionEntry("a", uuid[1], noon, "1")}, {versionEntry("a", uuid[0], noon, "2")}, {versionEntry("a", uuid[0], noon, "2")}}, "read", 1},
		"a UUID's deletion ties":       {[][]string{{versionEntry("a", uuid[1], noon, "1"), deleted(uuid[0], noon)}}, "read", 1},
		"numbers and times contradict": {[][]string{{versionEntry("a", "1", later, "1"), versionEntry("a", "2", noon, "2")}}, "read", 1},
		"the newest is unusable":       {[][]string{{strings.Replace(versionEntry("a", "2", later, "2"), `"telecom":[`, `"telecom":7,"x":[`, 1), versionEntry("a", "1", noon, "1")}}, "bad", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var reads atomic.Int64
			f := &follower{search: entries("searchset", versionEntry("a", "1", noon, "1"))}
			f.read = func(url.Values) (int, string) {
				reads.Add(1)
				return 200, string(patientJSON("a", `"telecom":[{"system":"phone","value":"read"}]`))
			}
			f.history = func(query url.Values) (int, string) {
				_, body := entries("history")(query)
				page, _ := strconv.Atoi(query.Get("page"))
				if since, _ := time.Parse(time.RFC3339, query.Get("_since")); since.After(testNow.Add(time.Hour)) {
					return 200, body
				}
				_, body = entries("history", tt.pages[page]...)(nil)
				if page+1 < len(tt.pages) {
					body = strings.Replace(body, `"entry"`, fmt.Sprintf(`"link":[{"relation":"next","url":"Patient/_history?page=%d"}],"entry"`, page+1), 1)
				}
				return 200, body
			}
			c := follow(t, f)
			got := ""
			for page, err := range c.Changed(t.Context(), testNow) {
				if err != nil {
					t.Fatal(err)
				}
				for _, change := range page.Changes {
					if change.ID == "a" {
						got = told(change)
					}
				}
			}
			if got != tt.want || int(reads.Load()) != tt.reads {
				t.Errorf("%q after %d reads, want %q after %d", got, reads.Load(), tt.want, tt.reads)
			}
		})
	}
}

// TestAHistoryPage of an EMR, as it was recorded.
func TestAHistoryPage(t *testing.T) {
	t.Parallel()
	recorded, err := os.ReadFile("testdata/changes/history-page.json")
	if err != nil {
		t.Fatal(err)
	}
	c := follow(t, &follower{search: entries("searchset", versionEntry("hall-2", "1", noon, "1")), history: func(query url.Values) (int, string) {
		if since, _ := time.Parse(time.RFC3339, query.Get("_since")); since.After(testNow.Add(time.Hour)) {
			return entries("history")(query)
		}
		return 200, string(recorded)
	}})
	var changes []Change
	for page, err := range c.Changed(t.Context(), testNow) {
		if err != nil || !page.ServerTime.Equal(testNow) {
			t.Fatalf("%v, %v", page.ServerTime, err)
		}
		changes = append(changes, page.Changes...)
	}
	if len(changes) != 3 || changes[0].ID != "hall-3" || !changes[0].Deleted || changes[0].At.Format(time.RFC3339Nano) != "2026-11-20T14:00:03.12Z" ||
		changes[1].ID != "hall-2" || told(changes[1]) != "0131 496 0555" || changes[2].ID != "hall-9" || told(changes[2]) != "" {
		t.Errorf("%+v", changes)
	}
}

// TestBadEntriesOfAHistory are told, by id where there is one, and the rest goes on.
func TestBadEntriesOfAHistory(t *testing.T) {
	t.Parallel()
	good := versionEntry("good", "1", noon, "1")
	for name, tt := range map[string]struct{ entry, id string }{
		"no resource":            {`{"request":{"method":"PUT","url":"Patient/bad"}}`, "bad"},
		"nothing at all":         {`{}`, ""},
		"another's fullUrl":      {`{"fullUrl":"http://x/fhir/Patient/b","resource":{"resourceType":"Patient","id":"bad"}}`, ""},
		"another type's fullUrl": {`{"fullUrl":"http://x/fhir/Group/bad","resource":{"resourceType":"Patient","id":"bad"}}`, ""},
		"an unusable body":       {`{"resource":{"resourceType":"Patient","id":"bad","telecom":7}}`, "bad"},
		"a part of a whole":      {`{"resource":{"resourceType":"Patient","id":"bad","meta":{"tag":[{"code":"SUBSETTED"}]}}}`, "bad"},
		"a deletion of nobody":   {`{"request":{"method":"DELETE","url":"Patient/"}}`, ""},
		"an id of no id":         {`{"resource":{"resourceType":"Patient","id":"a/b"}}`, ""},
	} {
		c := follow(t, &follower{search: entries("searchset", good), history: entries("history",
			`{"resource":{"resourceType":"Group","id":"g"}}`, `{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"information"}]}}`, tt.entry, good)})
		got, err := changed(t.Context(), c, testNow)
		if err != nil || len(got) != 2 || got["good"] != "1" || got[tt.id] != "bad" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestAHistoryThatFailedInPart shows what it has and is no success.
func TestAHistoryThatFailedInPart(t *testing.T) {
	t.Parallel()
	good := versionEntry("good", "1", noon, "1")
	c := follow(t, &follower{search: entries("searchset", good), history: entries("history",
		`{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}}`, good)})
	got, err := changed(t.Context(), c, testNow)
	if asError(t, err, Unusable); got["good"] != "1" {
		t.Errorf("%v", got)
	}
}

// TestAPageOfALaterSearch leaves out what lies between, so it is no answer.
func TestAPageOfALaterSearch(t *testing.T) {
	t.Parallel()
	good := versionEntry("good", "1", noon, "1")
	for self, refused := range map[string]bool{
		"2026-11-23T12:00:00Z": false, "2026-11-23T21:00:00%2B09:00": false, "2026-11-23T11:00:00Z": false, "2026-11-23T12:00:01Z": true,
	} {
		c := follow(t, &follower{search: entries("searchset", good), history: func(query url.Values) (int, string) {
			code, body := entries("history", good)(query)
			if !strings.Contains(body, "entry") || query.Get("_count") == "1" {
				return code, body
			}
			return code, strings.Replace(body, `"entry"`, `"link":[{"relation":"self","url":"Patient/_history?_since=`+self+`"}],"entry"`, 1)
		}})
		got, err := changed(t.Context(), c, testNow)
		if refused != (err != nil) || refused != (len(got) == 0) {
			t.Errorf("%s: %v, %v", self, got, err)
		}
	}
}

// TestAClinicsClock may show another day than ours, also of what changes right now.
func TestAClinicsClock(t *testing.T) {
	t.Parallel()
	for _, hours := range []int{-12, -10, 0, 9, 14} {
		server, c, at := simulated(t, fhirsim.OpenEMR("8.0.0"), 1)
		at.advance(12*time.Hour + time.Minute) // just behind midnight
		server.Clinic().SetZone(time.FixedZone("", hours*3600))
		since := at.now()
		put(t, server, 5, "5")
		if got, err := changed(t.Context(), c, since); err != nil || got[patientID(5)] != "5" {
			t.Errorf("%d hours: %v, %v", hours, got, err)
		}
	}
}
