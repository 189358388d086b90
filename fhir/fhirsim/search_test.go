package fhirsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"patientgraph/internal/wait"
	"strings"
	"testing"
	"time"
)

// many starts a server with n patients, p000 and on, a second apart.
func many(t *testing.T, n int, habits Habits) (*Server, string, *wait.Clock) {
	t.Helper()
	c := wait.NewClock(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	s, base := running(t, Options{Habits: habits, Now: c.Now})
	for i := range n {
		if err := s.Put(fmt.Appendf(nil, `{"resourceType":"Patient","id":"p%03d"}`, i)); err != nil {
			t.Fatal(err)
		}
		c.Pass(time.Second)
	}
	return s, base, c
}

// found reads a Bundle: its ids (of a history with the method) and next link.
func found(t *testing.T, url string, header ...string) (ids []string, next string) {
	t.Helper()
	r := do(t, http.MethodGet, url, "", header...)
	if r.status != http.StatusOK {
		t.Fatalf("%s: %d %s", url, r.status, r.body)
	}
	var b map[string]any
	if err := json.Unmarshal([]byte(r.body), &b); err != nil {
		t.Fatal(err)
	}
	for _, e := range list(b["entry"]) {
		full := e["fullUrl"].(string)
		ids = append(ids, full[strings.LastIndex(full, "/")+1:])
	}
	return ids, links(b)["next"]
}

func TestAllPages(t *testing.T) {
	t.Parallel()
	s, base, _ := many(t, 120, HAPI())
	for _, path := range []string{"/Patient?_sort=_lastUpdated&_count=1000", "/Patient?_sort=_lastUpdated&_count=7", "/Patient?_sort=_lastUpdated&_count=9&_offset=0", "/Patient"} {
		var all []string
		for next := base + path; next != ""; {
			if !strings.HasPrefix(next, base) {
				t.Fatalf("%s leads away from %s", next, base)
			}
			var ids []string
			ids, next = found(t, next)
			if len(ids) > 50 {
				t.Errorf("%s: a page of %d", path, len(ids))
			}
			all = append(all, ids...)
		}
		wantList(t, path, all, s.IDs())
	}
}

// TestFrozenResult: who is found is settled with the first page; what is
// deleted later is missing, and content is the latest.
func TestFrozenResult(t *testing.T) {
	t.Parallel()
	s, base, _ := many(t, 30, HAPI())
	_, next := found(t, base+"/Patient?_count=10&_sort=_lastUpdated")
	s.Delete("p012")
	for _, id := range []string{"p011", "p999"} {
		if err := s.Put([]byte(`{"resourceType":"Patient","id":"` + id + `","active":false}`)); err != nil {
			t.Fatal(err)
		}
	}
	wantContains(t, do(t, http.MethodGet, next, "").body, `"active":false`)
	ids, _ := found(t, next)
	wantList(t, "second page", ids, []string{"p010", "p011", "p013", "p014", "p015", "p016", "p017", "p018", "p019"})
	for range maxSearches {
		found(t, base+"/Patient?_count=1", "Cache-Control", "no-cache")
	}
	wantEqual(t, "an expired page", do(t, http.MethodGet, next, "").status, http.StatusGone)
}

func TestSearchCache(t *testing.T) {
	t.Parallel()
	s, base, clock := many(t, 1, HAPI())
	const query = "/Patient?_sort=_lastUpdated"
	see := func(n int, header ...string) {
		t.Helper()
		ids, _ := found(t, base+query, header...)
		wantEqual(t, "patients", len(ids), n)
	}
	see(1)
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"new"}`)); err != nil {
		t.Fatal(err)
	}
	see(1)
	see(2, "Cache-Control", "no-cache")
	see(2)
	s.Delete("new")
	see(1)
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"newer"}`)); err != nil {
		t.Fatal(err)
	}
	clock.Pass(time.Minute)
	see(2)
}

func TestSearchParameters(t *testing.T) {
	t.Parallel()
	s, base, _ := many(t, 3, HAPI()) // at 12:00:00, :01, :02
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"q","identifier":[{"value":"1"},{"system":"s","value":"2"}]}`)); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"_lastUpdated=gt2026-11-23T12:00:01Z":                                 "p002 q",
		"_lastUpdated=ge2026-11-23T12:00:01Z":                                 "p001 p002 q",
		"_lastUpdated=le2026-11-23T12:00:01Z":                                 "p000 p001",
		"_lastUpdated=lt2026-11-23T12:00:01.000Z":                             "p000",
		"_lastUpdated=2026-11-23T12:00:01":                                    "p001",
		"_lastUpdated=gt2026-11-23":                                           "",
		"_lastUpdated=2026-11":                                                "p000 p001 p002 q",
		"_lastUpdated=ge2026-11-23T21:00:02%2B09:00":                          "p002 q",
		"_lastUpdated=ge2026-11-23T12:00&_lastUpdated=lt2026-11-23T12:00:01Z": "p000",
		"_id=p001,q,nobody":                                                   "p001 q",
		"_id=q&_id=p000":                                                      "p000 q",
		"identifier=1":                                                        "q",
		"identifier=s|2":                                                      "q",
		"identifier=s|":                                                       "q",
		"identifier=|1":                                                       "q",
		"identifier=s|1":                                                      "",
		"identifier=x|2,s|2":                                                  "q",
		"_sort=-_lastUpdated":                                                 "q p002 p001 p000",
		"_sort=_id&_count=2":                                                  "p000 p001",
		"_count=2&_offset=3":                                                  "q",
		"_offset=9":                                                           "",
		"_format=json&_id=p000":                                               "p000",
	} {
		ids, _ := found(t, base+"/Patient?"+query)
		wantEqual(t, query, strings.Join(ids, " "), want)
	}
	wantContains(t, do(t, http.MethodGet, base+"/Patient?_count=2&_total=accurate", "").body, `"total":4`)
	wantContains(t, do(t, http.MethodGet, base+"/Patient?_summary=count", "").body, `"total":4`)
}

func TestServersWithoutNextLinks(t *testing.T) {
	t.Parallel()
	_, base, _ := many(t, 5, Medplum())
	ids, next := found(t, base+"/Patient?_count=3&_offset=1")
	wantList(t, "ids", ids, []string{"p001", "p002", "p003"})
	wantEqual(t, "next", next, "")
}

func TestTypeHistory(t *testing.T) {
	t.Parallel()
	s, base, clock := many(t, 2, HAPI())
	since := clock.Now()
	s.Delete("p000")
	clock.Pass(time.Second)
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"p001","active":true}`)); err != nil {
		t.Fatal(err)
	}
	ids, next := found(t, base+"/Patient/_history?_count=3")
	wantList(t, "newest first", ids, []string{"p001", "p000", "p001"})
	ids, next = found(t, next)
	wantList(t, "the rest", ids, []string{"p000"})
	wantEqual(t, "next", next, "")
	ids, _ = found(t, base+"/Patient/_history?_since="+since.Format(time.RFC3339))
	wantList(t, "since", ids, []string{"p001", "p000"})
	wantContains(t, do(t, http.MethodGet, base+"/Patient/_history", "").body, `"request":{"method":"DELETE","url":"Patient/p000/_history/2"}`)
}
