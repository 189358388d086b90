package fhirsim

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestALateCommitIsOlderThanItLooks: it shows up with the time at which it was begun.
func TestALateCommitIsOlderThanItLooks(t *testing.T) {
	t.Parallel()
	s, base, at := many(t, 2, HAPI())
	begun := at.Now()
	commit := s.PutLate([]byte(`{"resourceType":"Patient","id":"late"}`))
	at.Pass(time.Minute)
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"early"}`)); err != nil {
		t.Fatal(err)
	}
	since := "?_since=" + begun.Format(time.RFC3339)
	ids, _ := found(t, base+"/Patient/_history"+since)
	wantList(t, "before the commit", ids, []string{"early"})
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	ids, _ = found(t, base+"/Patient/_history"+since)
	wantList(t, "after the commit", ids, []string{"early", "late"})
	ids, _ = found(t, base+"/Patient?_sort=-_lastUpdated&_lastUpdated=ge"+begun.Format(time.RFC3339))
	wantList(t, "by _lastUpdated", ids, []string{"early", "late"})
}

// TestExpiredSearch: a restart forgets the results.
func TestExpiredSearch(t *testing.T) {
	t.Parallel()
	s, base, _ := many(t, 3, HAPI())
	_, next := found(t, base+"/Patient?_count=2")
	found(t, next)
	s.ExpireSearches()
	r := do(t, http.MethodGet, next, "")
	wantEqual(t, "status", r.status, http.StatusGone)
	wantContains(t, r.body, "HAPI-0417")
}

func TestJumpClock(t *testing.T) {
	t.Parallel()
	s, _, at := many(t, 1, HAPI())
	s.JumpClock(-time.Hour)
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"p000"}`)); err != nil {
		t.Fatal(err)
	}
	body, _, _ := s.Get("p000")
	wantEqual(t, "lastUpdated", gjson.GetBytes(body, "meta.lastUpdated").Str, at.Now().Add(-time.Hour).Format(timeFormat))
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, deletes := range []bool{false, true} {
		s, base := running(t, Options{})
		for _, body := range []string{
			`{"resourceType":"Patient","id":"old","identifier":[{"system":"urn:n","value":"7"}]}`, `{"resourceType":"Patient","id":"kept","link":[]}`,
		} {
			if err := s.Put([]byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		parameters := `{"resourceType":"Parameters","parameter":[{"name":"source-patient","valueReference":{"reference":"Patient/old"}},` +
			`{"name":"target-patient","valueReference":{"reference":"Patient/kept"}}`
		if deletes {
			parameters += `,{"name":"delete-source","valueBoolean":true}`
		}
		r := do(t, http.MethodPost, base+"/Patient/$merge", parameters+"]}")
		wantEqual(t, "status", r.status, http.StatusOK)
		kept, _, _ := s.Get("kept")
		wantContains(t, string(kept), `{"system":"urn:n","value":"7","use":"old"}`)
		wantEqual(t, "replaces", strings.Contains(string(kept), `"replaces"`), !deletes)
		old, _, alive := s.Get("old")
		wantEqual(t, "source lives", alive, !deletes)
		if alive {
			wantContains(t, string(old), `"active":false`, `{"other":{"reference":"Patient/kept"},"type":"replaced-by"}`)
		}
		r = do(t, http.MethodPost, base+"/Patient/$merge", parameters+"]}")
		wantEqual(t, "again", r.status, http.StatusUnprocessableEntity)
	}
}

// TestLastUpdatedPrefixes of FHIR's dates.
func TestLastUpdatedPrefixes(t *testing.T) {
	t.Parallel()
	_, base, _ := many(t, 3, HAPI())
	for prefix, want := range map[string]string{
		"": "p001", "eq": "p001", "ne": "p000 p002", "gt": "p002", "sa": "p002", "ge": "p001 p002", "lt": "p000", "eb": "p000", "le": "p000 p001",
	} {
		ids, _ := found(t, base+"/Patient?_sort=_id&_lastUpdated="+prefix+"2026-11-23T12:00:01Z")
		wantEqual(t, prefix, strings.Join(ids, " "), want)
	}
}

// TestAFaultInTheMiddle of a listing: the first pages are as ever.
func TestAFaultInTheMiddle(t *testing.T) {
	t.Parallel()
	s, base, _ := many(t, 6, HAPI())
	s.SetFault("", Fault{On: OnSearch, After: 1, Times: 1, Status: http.StatusOK, Body: "<html>"})
	_, next := found(t, base+"/Patient?_count=2")
	wantEqual(t, "the second page", do(t, http.MethodGet, next, "").body, "<html>")
	found(t, next)
}
