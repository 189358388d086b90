package fhirsim

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// searchIDs are the patients of the search tests, by their letters.
var searchIDs = map[string]string{
	"a": "a34bc1c3-0000-4000-8000-000000000001", "b": "a34bc1c3-0000-4000-8000-000000000002",
	"c": "a34bc1c3-0000-4000-8000-000000000003", "d": "a34bc1c3-0000-4000-8000-000000000004",
}

// searched starts an OpenEMR with four patients whose last_updated is a minute
// apart; d has next to nothing.
func searched(t *testing.T, version string, zone *time.Location) (*Server, string) {
	t.Helper()
	s, base := running(t, Options{Habits: OpenEMR(version)})
	s.Clinic().SetZone(zone)
	s.Clinic().Put(searchIDs["a"], Columns{"lname": "Adams", "fname": "Zoe", "email": "Zoe@example.org", "ss": "1", "pubpid": "P-1", "DOB": "1950-02-28", "phone_home": "413-555-0001", "sex": "Female", "city": "Boston", "last_updated": "2026-11-23 10:00:00"})
	s.Clinic().Put(searchIDs["b"], Columns{"lname": "adamson", "fname": "Yan", "email_direct": "yan@example.org", "pubpid": "P-2", "DOB": "1950-03-01", "sex": "female", "last_updated": "2026-11-23 10:01:00"})
	s.Clinic().Put(searchIDs["c"], Columns{"lname": "Baker", "fname": "Adam", "pubpid": "1", "DOB": "1951-01-01", "sex": "Male", "last_updated": "2026-11-24 10:02:00"})
	s.Clinic().Put(searchIDs["d"], Columns{"pubpid": "P-4", "last_updated": "2026-11-22 23:59:59"})
	return s, base + "/Patient"
}

// letters are the patients on a page, in its order.
func letters(t *testing.T, r response) string {
	t.Helper()
	wantEqual(t, "status", r.status, 200)
	var found strings.Builder
	entries := gjson.Get(r.body, "entry.#.resource.id").Array()
	for _, id := range entries {
		for name, known := range searchIDs {
			if id.Str == known {
				found.WriteString(name)
			}
		}
	}
	wantEqual(t, "total", gjson.Get(r.body, "total").Int(), int64(len(entries)))
	wantEqual(t, "links", gjson.Get(r.body, "link.#.relation").Raw, `["self"]`)
	wantEqual(t, "type", gjson.Get(r.body, "type").Str, "collection")
	return found.String()
}

// pages are the parameters that 7.0.3 does not know.
var pages = regexp.MustCompile(`_count|_offset|_sort`)

func TestOpenEMRSearch(t *testing.T) {
	t.Parallel()
	both := searchIDs["b"] + "," + searchIDs["c"]
	for query, want := range map[string]string{
		"": "abcd", "_id=" + searchIDs["b"]: "b", "_id=" + strings.ToUpper(searchIDs["b"]): "b", "_id=" + both: "bc", "_id=" + both + ",abc": "", "_id=": "",
		"_id=a34bb9d5-039f-4a87-8a06-aa0c0ecd4eff": "",
		"identifier=1": "ac", "identifier=http://any|p-1": "a", "identifier=P": "",
		"family=adam": "ab", "family:exact=Adams": "a", "family:exact=adams": "", "family:contains=DAM": "ab", "given=y": "b", "name=ad": "abc", "family=adams,b": "abc",
		"email=zoe@example.org": "a", "email=yan@example.org": "b", "gender=female": "ab", "gender=FEMALE": "ab", "address-city=bos": "a", "address=bos": "a",
		"birthdate=1950-02-28": "a", "birthdate=1950": "ab", "birthdate=ge1950-03": "bc", "birthdate=lt1951": "ab", "birthdate=ne1950": "c", "birthdate=xx1950": "",
		"family=adam&gender=female&birthdate=1950-03-01": "b",
		"phone=413-555-0001":                             "", "telecom=413-555-0001": "", "telecom=zoe@example.org": "",
		"_summary=count": "", "_total=accurate": "", "_elements=name": "", "_format=json": "", "active=true": "", "bogus=1": "", "family=adam&bogus=1": "", "_id=abc": "",
		"_lastUpdated=bogus": "", "_lastUpdated=2026-11-23T10:00": "", "_lastUpdated=gt2026-11-23": "c", "_lastUpdated=ge2026-11-23": "abc", "_lastUpdated=2026-11-23": "ab",
		"_lastUpdated=lt2026-11-23": "d", "_lastUpdated=le2026-11-23": "abd", "_lastUpdated=gt2026-11-23T10:00:00Z": "bc", "_lastUpdated=ge2026-11-23T10:01:00%2B00:00": "bc",
		"_lastUpdated=gt2026-11-23T10:00:00.500Z": "bc", "_lastUpdated=2026-11-23T10:00:00Z": "a", "_lastUpdated=gt2026-11-23T19:00:00%2B09:00": "bc", "_lastUpdated=ge2026-11-23T10:01:00+00:00": "",
		"_lastUpdated=ge2026-11-23&_lastUpdated=le2026-11-23": "abd",
		"_sort=_lastUpdated": "dabc", "_sort=-_lastUpdated": "cbad", "_sort=family": "dabc", "_sort=-family": "cbad", "_sort=name": "dcba", "_sort=bogus": "abcd", "_sort=": "abcd",
		"_count=2": "ab", "_count=2&_offset=1": "bc", "_count=2&_offset=3": "d", "_count=2&_offset=9": "", "_offset=1": "abcd", "_count=0": "abcd", "_count=abc": "abcd", "_count=2x": "ab", "_count=": "abcd",
		"_sort=-_lastUpdated&_count=1": "c", "_revinclude=bogus": "abcd",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			for _, version := range OpenEMRVersions {
				_, url := searched(t, version, time.UTC)
				want := want
				if version == "7.0.3" && pages.MatchString(query) {
					want = ""
				}
				wantEqual(t, version+": GET", letters(t, do(t, http.MethodGet, url+"?"+query, "")), want)
				wantEqual(t, version+": POST", letters(t, do(t, http.MethodPost, url+"/_search", query, "Content-Type", "application/x-www-form-urlencoded")), want)
			}
		})
	}
}

func TestOpenEMRSearchWithNegativePages(t *testing.T) {
	t.Parallel()
	for query, text := range map[string]string{"_count=-1": "Limit must be greater than or equal to 0", "_count=1&_offset=-1": "Offset Id must be greater than or equal to 0"} {
		for _, version := range OpenEMRVersions {
			_, url := searched(t, version, time.UTC)
			r := do(t, http.MethodGet, url+"?"+query, "")
			if version == "7.0.3" {
				wantEqual(t, version+" "+query, letters(t, r), "")
				continue
			}
			wantEqual(t, version+" "+query, r.status, 500)
			wantEqual(t, version+" "+query, r.body, `{"error":"An error occurred","message":"`+text+`","code":0}`)
		}
	}
}

func TestOpenEMRGivesAtMost200APage(t *testing.T) {
	t.Parallel()
	s, base := running(t, Options{Habits: OpenEMR("8.0.0")})
	for i := range 230 {
		s.Clinic().Put(fmt.Sprintf("a34bc1c3-0000-4000-8000-%012d", i), Columns{})
	}
	for query, want := range map[string]int{"": 230, "_count=0": 230, "_count=200": 200, "_count=201": 200, "_count=99999999999999999999": 200, "_count=200&_offset=200": 30} {
		r := do(t, http.MethodGet, base+"/Patient?"+query, "")
		wantEqual(t, query, int(gjson.Get(r.body, "entry.#").Int()), want)
		wantEqual(t, query+": total", int(gjson.Get(r.body, "total").Int()), want)
	}
}

// TestOpenEMRWallClock: times are the clinic's, and stay what they are on the
// clock when the zone changes.
func TestOpenEMRWallClock(t *testing.T) {
	t.Parallel()
	seoul, newYork := time.FixedZone("", 9*3600), time.FixedZone("", -5*3600)
	s, url := searched(t, "8.0.0", seoul)
	updated := func() string {
		return gjson.Get(do(t, http.MethodGet, url+"/"+searchIDs["a"], "").body, "meta.lastUpdated").Str
	}
	wantEqual(t, "in Seoul", updated(), "2026-11-23T10:00:00+09:00")
	wantEqual(t, "found", letters(t, do(t, http.MethodGet, url+"?_lastUpdated=2026-11-23T01:00:00Z", "")), "a")
	s.Clinic().SetZone(newYork)
	wantEqual(t, "moved to New York", updated(), "2026-11-23T10:00:00-05:00")
	wantEqual(t, "found no more", letters(t, do(t, http.MethodGet, url+"?_lastUpdated=2026-11-23T01:00:00Z", "")), "")
	wantEqual(t, "found 14 hours later", letters(t, do(t, http.MethodGet, url+"?_lastUpdated=2026-11-23T15:00:00Z", "")), "a")
}

func TestOpenEMRSearchSeesWrites(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		s, url := clinic(t, version)
		collection := strings.TrimSuffix(url, "/"+clinicID)
		found := func(query string) bool {
			ids := gjson.Get(do(t, http.MethodGet, collection+"?"+query, "").body, "entry.#.resource.id").Array()
			return slices.ContainsFunc(ids, func(id gjson.Result) bool { return id.Str == clinicID })
		}
		do(t, http.MethodPut, url, safe(`"telecom":[{"system":"email","value":"new@example.org"}]`))
		wantEqual(t, "by the new email", found("email=new@example.org"), true)
		wantEqual(t, "by the old email", found("email=home@example.org"), false)
		s.Delete(clinicID)
		wantEqual(t, "deleted", found(""), false)
	})
}
