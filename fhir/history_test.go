package fhir

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"

	"github.com/tidwall/gjson"
)

// past is a server that answers the paths below /fhir/Patient/p; HOST stands
// for its own URL. A body that begins with digits gives the status; the rest
// of the first word after a "|" is the Location.
func past(t *testing.T, answers map[string]string) (base string, asked func() []string) {
	t.Helper()
	var log []string
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.String(), "/fhir/Patient/p/")
		log = append(log, path)
		body, ok := answers[path]
		if !ok {
			t.Errorf("unexpected %s", r.URL)
		}
		if r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("header %v", r.Header)
		}
		status := http.StatusOK
		if !strings.HasPrefix(body, "{") && body != "" {
			head, rest, _ := strings.Cut(body, " ")
			code, location, _ := strings.Cut(head, "|")
			if _, err := fmt.Sscan(code, &status); err != nil {
				t.Error(err)
			}
			if body = rest; location != "" {
				w.Header().Set("Location", location)
			}
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		w.WriteHeader(status)
		fmt.Fprint(w, strings.ReplaceAll(body, "HOST", server.URL))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/fhir", func() []string {
		server.Close() // waits for the requests
		return log
	}
}

const allVersions = "_history?_count=1000"

// was is a history entry of Patient/p; second is its time of day.
func was(version string, second float64) string {
	return fmt.Sprintf(`{"resource":%s,"request":{"method":"PUT","url":"Patient/p/_history/%s"},"response":{"status":"200 OK"}}`, wasBody(version, second), version)
}

func wasBody(version string, second float64) string {
	return string(patientJSON("p", fmt.Sprintf(`"meta":{"versionId":%q,"lastUpdated":"2026-11-23T12:00:%06.3f+09:00"},"x": 1.0`, version, second)))
}

func wasDeleted(version string, second int) string {
	return fmt.Sprintf(`{"request":{"method":"DELETE","url":"Patient/p/_history/%s"},"response":{"status":"204","lastModified":"2026-11-23T03:00:%02dZ"}}`, version, second)
}

func pastBundle(next string, entries ...string) string {
	link := `{"relation":"self","url":"x"}`
	if next != "" {
		link += `,{"relation":"next","url":"` + next + `"}`
	}
	return `{"resourceType":"Bundle","type":"history","link":[` + link + `],"entry":[` + strings.Join(entries, ",") + `]}`
}

const (
	noSuchVersion = `404 {"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"HAPI-0979"}]}`
	wasGone       = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"Resource was deleted"}]}`
)

// afterCase is what a server shows of the past, and what After makes of it.
type afterCase struct {
	name    string
	etag    string
	answers map[string]string
	version string // that followed; "": an error
	kind    Kind
	reason  string
	asked   int
}

func tells(err error) string { return "The history does not tell: " + err.Error() }

func testAfter(t *testing.T, cases []afterCase) {
	t.Parallel()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, asked := past(t, tt.answers)
			r, err := newTestClient(t, base, nil).After(t.Context(), "p", tt.etag)
			if paths := asked(); len(paths) != tt.asked {
				t.Errorf("asked for %q", paths)
			}
			if tt.version == "" {
				if e := asError(t, err, tt.kind); e.Reason != tt.reason || e.Op != OpHistory {
					t.Errorf("got %+v, want %q", e, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.ID != "p" || r.ETag != `W/"`+tt.version+`"` || !strings.Contains(string(r.JSON), `"versionId":"`+tt.version+`"`) || !strings.HasSuffix(string(r.JSON), `"x": 1.0}`) {
				t.Errorf("%s %s %s", r.ID, r.ETag, r.JSON)
			}
		})
	}
}

// Numbers say which version followed: it is asked for, or looked for in the history.
func TestAfterByNumber(t *testing.T) {
	testAfter(t, []afterCase{
		{"numbers: the next one", `W/"9"`, map[string]string{"_history/10": wasBody("10", 2)}, "10", 0, "", 1},
		{"a strong tag", `"9"`, map[string]string{"_history/10": wasBody("10", 2)}, "10", 0, "", 1},
		{"a bare number", `0`, map[string]string{"_history/1": wasBody("1", 2)}, "1", 0, "", 1},
		{"numbers: a deletion", `W/"1"`, map[string]string{"_history/2": "410|HOST/fhir/Patient/p/_history/2 " + wasGone}, "", Gone, "The version that followed deletes the patient", 1},
		{"410 about a later deletion", `W/"1"`, map[string]string{"_history/2": "410|HOST/fhir/Patient/p/_history/3 " + wasGone,
			allVersions: pastBundle("", wasDeleted("3", 3), was("2", 2), was("1", 1))}, "2", 0, "", 2},
		{"410 about nobody knows what", `W/"1"`, map[string]string{"_history/2": "410 " + wasGone, allVersions: "410 " + wasGone},
			"", Unusable, "The server keeps no history of its patients, or does not show it (status 410)", 2},
		{"no vread, but a history", `W/"1"`, map[string]string{"_history/2": "404 ", allVersions: pastBundle("", was("3", 3), was("2", 2), was("1", 1))}, "2", 0, "", 2},
		{"no vread, a deletion in the history", `W/"1"`, map[string]string{"_history/2": "405 ", allVersions: pastBundle("", wasDeleted("2", 2), was("1", 1))},
			"", Gone, "The version that followed deletes the patient", 2},
		{"the current version instead of the one asked for", `W/"1"`, map[string]string{"_history/2": wasBody("3", 3),
			allVersions: pastBundle("", was("3", 3), was("2", 2))}, "2", 0, "", 2},
		{"numbers with gaps", `W/"9"`, map[string]string{"_history/10": noSuchVersion, allVersions: pastBundle("", was("5090", 3), was("5041", 2), was("9", 1), was("7", 0))}, "5041", 0, "", 2},
		{"numbers with gaps, in any order", `W/"9"`, map[string]string{"_history/10": "404 ", allVersions: pastBundle("", was("7", 0), was("104", 2), was("9", 1), was("5090", 3))}, "104", 0, "", 2},
		{"numbers with gaps, a deletion", `W/"9"`, map[string]string{"_history/10": noSuchVersion, allVersions: pastBundle("", was("70", 3), wasDeleted("64", 2), was("9", 1))},
			"", Gone, "The version that followed deletes the patient", 2},
		{"numbers with gaps, nothing after", `W/"9"`, map[string]string{"_history/10": noSuchVersion, allVersions: pastBundle("", was("9", 1), was("7", 0))},
			"", Unusable, tells(errNoneAfter), 2},
		{"numbers with gaps, no base", `W/"9"`, map[string]string{"_history/10": noSuchVersion, allVersions: pastBundle("", was("12", 3), was("11", 2))},
			"", Unusable, tells(errNoBase), 2},
		{"numbers with gaps, not all shown", `W/"9"`, map[string]string{"_history/10": noSuchVersion, allVersions: strings.Replace(pastBundle("", was("12", 3), was("9", 2)), `"link"`, `"total":3,"link"`, 1)},
			"", Unusable, tells(errCut), 2},
		{"numbers among other versions", `W/"9"`, map[string]string{"_history/10": noSuchVersion, allVersions: pastBundle("", was("12", 3), was("a", 2), was("9", 1))},
			"", Unusable, tells(errNoOrder), 2},
		{"a compressed number", `W/"9-gzip"`, map[string]string{"_history/10": wasBody("10", 2)}, "10", 0, "", 1},
		{"numbers on a second page", `W/"1"`, map[string]string{"_history/2": noSuchVersion,
			allVersions:    pastBundle("HOST/fhir/Patient/p/_history?p=2", was("4", 4), was("3", 3)),
			"_history?p=2": pastBundle("HOST/fhir/Patient/p/_history?p=3", was("3", 3), was("2", 2))}, "2", 0, "", 3},
		{"a content left out", `W/"1"`, map[string]string{"_history/2": noSuchVersion,
			allVersions: pastBundle("", `{"request":{"method":"PUT","url":"Patient/p/_history/2"},"response":{"status":"200","etag":"W/\"2\""}}`)},
			"", Unusable, tells(errNoBody), 2},
	})
}

// There is no history, or it is not shown, now or ever.
func TestAfterWithoutHistory(t *testing.T) {
	testAfter(t, []afterCase{
		{"no history", `W/"a"`, map[string]string{allVersions: `404 {"error":"An error occurred","message":"Route not found"}`},
			"", Unusable, "The server keeps no history of its patients, or does not show it (status 404)", 1},
		{"no such operation", `W/"1"`, map[string]string{"_history/2": "400 " + wasGone, allVersions: "400 " + wasGone},
			"", Unusable, "The server keeps no history of its patients, or does not show it (status 400)", 2},
		{"not implemented", `W/"1"`, map[string]string{"_history/2": "501 ", allVersions: "501 "},
			"", Unusable, "The server keeps no history of its patients, or does not show it (status 501)", 2},
		{"not for us", `W/"a"`, map[string]string{allVersions: "403 " + wasGone},
			"", Unusable, "The server keeps no history of its patients, or does not show it (status 403)", 1},
		{"no version", ``, nil, "", Unusable, tells(errNoVersion), 0},
		{"an empty version", `W/""`, nil, "", Unusable, tells(errNoVersion), 0},
		{"server failing", `W/"1"`, map[string]string{"_history/2": "503 "}, "", Lost, "The server answered with an empty body (status 503)", 1},
		{"server failing later", `W/"1"`, map[string]string{"_history/2": noSuchVersion, allVersions: "500 "}, "", Lost, "The server answered with an empty body (status 500)", 2},
		{"too many questions", `W/"a"`, map[string]string{allVersions: "429 "}, "", RateLimited, "The server answered with an empty body (status 429)", 1},
		{"credentials refused", `W/"1"`, map[string]string{"_history/2": "401 "}, "", AuthFailed, "The server answered with an empty body (status 401)", 1},
		{"a redirect", `W/"a"`, map[string]string{allVersions: "302|HOST/fhir/Patient/p/_history "}, "", Unusable, "The server answered with a redirect, which is not followed (status 302)", 1},
	})
}

// Versions without an order are put into that of their times.
func TestAfterByTime(t *testing.T) {
	testAfter(t, []afterCase{
		{"no order: by time", `W/"b"`, map[string]string{allVersions: pastBundle("", was("a", 1), was("d", 4), was("c", 2.001), was("b", 2), was("e", 3))}, "c", 0, "", 1},
		{"no order: time zones", `W/"b"`, map[string]string{allVersions: pastBundle("", wasDeleted("d", 4), was("b", 2),
			strings.Replace(was("c", 3), "12:00:03.000+09:00", "04:00:03+01:00", 1))}, "c", 0, "", 1},
		{"no order: a deletion", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("c", 4), wasDeleted("d", 3))},
			"", Gone, "The version that followed deletes the patient", 1},
		{"no order: a deletion as Medplum shows it", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2),
			`{"request":{"method":"GET","url":"Patient/p/_history/c"},"response":{"status":"410","lastModified":"2026-11-23T03:00:03Z"}}`)},
			"", Gone, "The version that followed deletes the patient", 1},
		{"no order: a deletion at an unknown time", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("c", 4),
			`{"request":{"method":"GET","url":"Patient/p/_history/d"},"response":{"status":"410"}}`)}, "", Unusable, tells(errNoInstant), 1},
		{"no order: an entry without version", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("", 4))}, "", Unusable, tells(errNoInstant), 1},
		{"no order: two at once after", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("c", 3), was("d", 3))}, "", Unusable, tells(errSameInstant), 1},
		{"no order: two at once later on", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("e", 3), was("c", 4), was("d", 4))}, "e", 0, "", 1},
		{"no order: one at once with the base", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("c", 2), was("d", 3))}, "", Unusable, tells(errSameInstant), 1},
		{"no order: no base", `W/"b"`, map[string]string{allVersions: pastBundle("", was("c", 2), was("d", 3))}, "", Unusable, tells(errNoBase), 1},
		{"no order: nothing after", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), was("a", 1))}, "", Unusable, tells(errNoneAfter), 1},
		{"no order: an empty history", `W/"b"`, map[string]string{allVersions: `{"resourceType":"Bundle"}`}, "", Unusable, tells(errNoBase), 1},
		{"no order: more than is shown", `W/"b"`, map[string]string{allVersions: strings.Replace(pastBundle("", was("b", 2), was("c", 3)), `"link"`, `"total":3,"link"`, 1)},
			"", Unusable, tells(errCut), 1},
		{"no order: all pages count", `W/"b"`, map[string]string{allVersions: pastBundle("/fhir/Patient/p/_history?p=2", was("d", 4), was("b", 2)),
			"_history?p=2": pastBundle("", was("b", 2), was("c", 3))}, "c", 0, "", 2},
		{"no order: a page repeats a version", `W/"b"`, map[string]string{allVersions: pastBundle("/fhir/Patient/p/_history?p=2", was("d", 4), was("c", 3)),
			"_history?p=2": pastBundle("", was("c", 3), was("b", 2))}, "c", 0, "", 2},
		{"no order: pages without end", `W/"b"`, map[string]string{allVersions: pastBundle("HOST/fhir/Patient/p/_history?p=2", was("d", 4), was("b", 2)),
			"_history?p=2": pastBundle("HOST/fhir/Patient/p/_history?p=2", was("c", 3))}, "", Unusable, tells(errCut), maxHistoryPages},
		{"another host", `W/"b"`, map[string]string{allVersions: pastBundle("http://127.0.0.1:1/fhir/Patient/p/_history?p=2", was("b", 2), was("c", 3))},
			"", Unusable, tells(leadsAway{"http://127.0.0.1:1"}), 1},
		{"another patient", `W/"b"`, map[string]string{allVersions: pastBundle("", was("b", 2), strings.Replace(was("c", 3), `"id":"p"`, `"id":"q"`, 1))},
			"", Unusable, tells(errOtherID), 1},
		{"no Bundle", `W/"b"`, map[string]string{allVersions: wasBody("c", 3)}, "", Unusable, "The answer is unusable: another kind of resource", 1},
	})
}

// TestAfterETag: the server's own ETag counts, but only if it is one.
func TestAfterETag(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{`"\"c\""`: `"c"`, `"W/\"c\""`: `W/"c"`, `"c"`: `W/"c"`, `"W/\"other\""`: `W/"c"`} {
		base, _ := past(t, map[string]string{allVersions: pastBundle("", was("b", 2), strings.Replace(was("c", 3), `"status"`, `"etag":`+given+`,"status"`, 1))})
		r, err := newTestClient(t, base, nil).After(t.Context(), "p", `W/"b"`)
		if err != nil || r.ETag != want {
			t.Errorf("%s: %s, want %s (%v)", given, r.ETag, want, err)
		}
	}
}

func TestAfterWithoutAnswer(t *testing.T) {
	t.Parallel()
	base, asked := past(t, nil)
	asked()
	_, err := newTestClient(t, base, nil).After(t.Context(), "p", `W/"1"`)
	asError(t, err, NotSent)
	_, err = newTestClient(t, base, nil).After(t.Context(), "../q", `W/"1"`)
	if e := asError(t, err, Gone); e.Op != OpHistory {
		t.Errorf("%+v", e)
	}
}

// TestAfterOnHabits tells, on each kind of server, whose change followed.
func TestAfterOnHabits(t *testing.T) {
	t.Parallel()
	servers := map[string]func() fhirsim.Habits{"HAPI": fhirsim.HAPI, "Medplum": fhirsim.Medplum}
	for name, habits := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := testNow
			s := fhirsim.New(fhirsim.Options{Habits: habits(), Now: func() time.Time { return at }})
			base, stop, err := s.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			c := newTestClient(t, base, nil)
			var tags []string
			for n := range 4 {
				at = at.Add(time.Millisecond)
				if err := s.Put(patientJSON("p", fmt.Sprintf(`"telecom":[{"system":"phone","value":"02-123-456%d"}]`, n))); err != nil {
					t.Fatal(err)
				}
				r, err := c.Read(t.Context(), "p")
				if err != nil {
					t.Fatal(err)
				}
				tags = append(tags, r.ETag)
			}
			for n, tag := range tags[:3] {
				r, err := c.After(t.Context(), "p", tag)
				if err != nil || r.ETag != tags[n+1] || contactIn(t, r.JSON).Phone != fmt.Sprintf("02-123-456%d", n+1) {
					t.Errorf("after %s: %s %s (%v)", tag, r.ETag, r.JSON, err)
				}
			}
			_, err = c.After(t.Context(), "p", tags[3])
			asError(t, err, Unusable)
		})
	}
	t.Run("no versions", func(t *testing.T) {
		t.Parallel()
		s := fhirsim.New(fhirsim.Options{Habits: fhirsim.PlainR4()})
		base, stop, err := s.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		if err := s.Put(patientJSON("p", "")); err != nil {
			t.Fatal(err)
		}
		_, err = newTestClient(t, base, nil).After(t.Context(), "p", `W/"1"`)
		if e := asError(t, err, Unusable); !strings.HasPrefix(e.Reason, "The server keeps no history") {
			t.Errorf("%+v", e)
		}
	})
}

// A history is kept up to a bound for all its pages together, and of a numbered
// one only the version that is looked for.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	long := func(version string, second float64, size int) string {
		return strings.Replace(was(version, second), `"x": 1.0`, `"x":"`+strings.Repeat("x", size)+`"`, 1)
	}
	pages := func(size int) map[string]string {
		return map[string]string{
			"_history/2":   noSuchVersion,
			allVersions:    pastBundle("HOST/fhir/Patient/p/_history?p=2", long("1", 0, size), long("b", 1, size)),
			"_history?p=2": pastBundle("HOST/fhir/Patient/p/_history?p=3", long("c", 3, size)),
			"_history?p=3": pastBundle("", long("d", 4, size), long("2", 5, 9)),
		}
	}
	const third = maxHistoryBytes / 3
	for _, tt := range []struct {
		name, etag string
		size       int
		ok         bool
	}{
		{"numbers need one body", `W/"1"`, third, true},
		{"within the bound", `W/"b"`, third / 2, true},
		{"beyond the bound", `W/"b"`, third, false},
	} {
		base, _ := past(t, pages(tt.size))
		c := newTestClient(t, base, func(o *Options) { o.MaxBody = 16 << 20 })
		r, err := c.After(t.Context(), "p", tt.etag)
		if tt.ok && (err != nil || len(r.JSON) == 0) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !tt.ok && !errors.Is(err, errCut) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	page := gjson.Parse(pastBundle("", long("1", 1, 99), long("2", 2, 99), long("3", 3, 99)))
	for wanted, kept := range map[string]string{"2": "2", "": "23"} {
		h := history{base: "1", wanted: wanted, next: -1}
		if err := h.add(page, "p"); err != nil {
			t.Fatal(err)
		}
		with := ""
		for _, v := range h.versions {
			if v.body != nil {
				with += v.id
			}
		}
		if with != kept {
			t.Errorf("wanted %q: bodies of %s kept", wanted, with)
		}
	}
}
