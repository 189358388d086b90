package fhir

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPagesThatEndBeforeTheirTotalAreNoEnd: the server says how many there are, and the
// pages end before so many were shown.
func TestPagesThatEndBeforeTheirTotalAreNoEnd(t *testing.T) {
	t.Parallel()
	search := func(query url.Values) (int, string) {
		if query.Get("page") == "2" { // of three
			return http.StatusOK, `{"resourceType":"Bundle","type":"searchset","total":3,"entry":[` + versionEntry("b", "1", noon, "2") + `]}`
		}
		return http.StatusOK, `{"resourceType":"Bundle","type":"searchset","total":3,"link":[{"relation":"next","url":"Patient?page=2"}],"entry":[` + versionEntry("a", "1", noon, "1") + `]}`
	}
	history := func(query url.Values) (int, string) {
		if since, err := time.Parse(time.RFC3339, query.Get("_since")); err == nil && since.After(testNow.Add(time.Hour)) {
			return http.StatusOK, `{"resourceType":"Bundle","type":"history","total":0}`
		}
		return http.StatusOK, `{"resourceType":"Bundle","type":"history","total":3,"entry":[` + versionEntry("a", "1", noon, "1") + `]}`
	}
	end := func(what string, pages func(func(Listing, error) bool)) {
		var failure error
		for _, err := range pages {
			failure = err
		}
		if failure == nil {
			t.Errorf("%s: it counts as shown to its end", what)
		}
	}
	end("a listing", follow(t, &follower{search: search}).List(t.Context(), ""))
	end("changes by search", follow(t, &follower{search: func(query url.Values) (int, string) {
		if at, err := time.Parse(time.RFC3339, query.Get("_lastUpdated")[min(2, len(query.Get("_lastUpdated"))):]); err == nil && at.After(testNow.Add(time.Hour)) {
			return http.StatusOK, `{"resourceType":"Bundle","type":"searchset","total":0}`
		}
		return search(query)
	}}).Changed(t.Context(), testNow.Add(-time.Hour)))
	end("changes by history", follow(t, &follower{search: search, history: history}).Changed(t.Context(), testNow.Add(-time.Hour)))
}

// TestAnEditThatShiftsThePages of a server that finds each page anew: who follows the
// edited one is on no page, as the total tells.
func TestAnEditThatShiftsThePages(t *testing.T) {
	t.Parallel()
	var list []string
	for n := range 9 {
		list = append(list, versionEntry(patientID(n), "1", testNow.Add(time.Duration(n-60)*time.Second).Format(time.RFC3339), "1"))
	}
	c := follow(t, &follower{search: func(query url.Values) (int, string) {
		if query.Get("_summary") == "count" {
			return http.StatusOK, fmt.Sprintf(`{"resourceType":"Bundle","type":"searchset","total":%d}`, len(list))
		}
		start, _ := strconv.Atoi(query.Get("start"))
		end, link := min(start+3, len(list)), ""
		if end < len(list) {
			link = fmt.Sprintf(`{"relation":"next","url":"Patient?start=%d"}`, end)
		}
		return http.StatusOK, fmt.Sprintf(`{"resourceType":"Bundle","type":"searchset","total":%d,"link":[%s],"entry":[%s]}`, len(list), link, strings.Join(list[start:end], ","))
	}})
	var failure error
	pages := 0
	for _, failure = range c.List(t.Context(), "") {
		if pages++; pages == 1 {
			list = append(list[1:], versionEntry(patientID(0), "2", testNow.Add(time.Minute).Format(time.RFC3339), "2"))
		}
	}
	asError(t, failure, Unusable)
}

// TestWhoComesOrGoesMeanwhileIsNotMissing from a result that is frozen with its total.
func TestWhoComesOrGoesMeanwhileIsNotMissing(t *testing.T) {
	t.Parallel()
	for _, resumed := range []bool{false, true} {
		for _, tt := range []struct {
			come, hidden, shown int
			fails               bool
		}{{0, 0, 7, false}, {1, 0, 7, false}, {3, 0, 7, false}, {0, 1, 8, true}} {
			at := func(n int) string { return testNow.Add(time.Duration(n) * time.Second).Format(time.RFC3339) }
			patients, frozen := map[string]string{}, []string{} // lastUpdated by id
			for n := range 9 {
				patients[patientID(n)] = at(n - 60)
				frozen = append(frozen, patientID(n))
			}
			c := follow(t, &follower{search: func(query url.Values) (int, string) {
				start, _ := strconv.Atoi(query.Get("start"))
				list, total := frozen[start:min(start+3, 9)], 9
				if since := strings.TrimPrefix(query.Get("_lastUpdated"), "ge"); since != "" || query.Has("_summary") {
					list = slices.DeleteFunc(slices.Sorted(maps.Keys(patients)), func(id string) bool { return patients[id] < since })
					total, start = len(list), 9
				}
				link := ""
				if start+3 < 9 {
					link = fmt.Sprintf(`{"relation":"next","url":"Patient?start=%d"}`, start+3)
				}
				var shown []string
				for _, id := range list {
					if instant := patients[id]; instant != "" && !query.Has("_summary") && (tt.hidden == 0 || id != patientID(8)) {
						shown = append(shown, versionEntry(id, "1", instant, "1"))
					}
				}
				return http.StatusOK, fmt.Sprintf(`{"resourceType":"Bundle","type":"searchset","total":%d,"link":[%s],"entry":[%s]}`, total, link, strings.Join(shown, ","))
			}})
			ids, failure := map[string]bool{}, error(nil)
			for from, more := "", true; more; {
				more = false
				for page, err := range c.List(t.Context(), from) {
					failure = err
					for _, change := range page.Changes {
						ids[change.ID] = true
					}
					if len(ids) == 3 && tt.hidden == 0 {
						delete(patients, patientID(5))
						delete(patients, patientID(7))
						for n := range tt.come {
							patients[patientID(20+n)] = at(20 + n)
						}
						patients[patientID(1)] = at(30)
					}
					if from = page.Next; resumed && from != "" {
						more = true
						break
					}
				}
			}
			if tt.fails != (failure != nil) || len(ids) != tt.shown {
				t.Errorf("resumed %v, %+v: %d patients, %v", resumed, tt, len(ids), failure)
			}
		}
	}
}

// TestATotalIsKeptByTheNextProcess, with how many were shown so far.
func TestATotalIsKeptByTheNextProcess(t *testing.T) {
	t.Parallel()
	for total, whole := range map[int]bool{3: true, 4: false} {
		c := follow(t, &follower{search: func(query url.Values) (int, string) {
			if page, _ := strconv.Atoi(query.Get("page")); page > 0 {
				link := map[int]string{1: `{"relation":"next","url":"Patient?page=2"}`, 2: ""}[page]
				return http.StatusOK, `{"resourceType":"Bundle","type":"searchset","link":[` + link + `],"entry":[` + versionEntry(fmt.Sprint("p", page), "1", noon, "1") + `]}`
			}
			return http.StatusOK, fmt.Sprintf(`{"resourceType":"Bundle","type":"searchset","total":%d,"link":[{"relation":"next","url":"Patient?page=1"}],"entry":[%s]}`, total, versionEntry("p0", "1", noon, "1"))
		}})
		var failure error
		from := ""
		for range 3 {
			for page, err := range c.List(t.Context(), from) {
				if failure = err; err != nil {
					break
				}
				if from = page.Next; from != "" {
					break
				}
			}
		}
		if whole != (failure == nil) || from != "" {
			t.Errorf("of %d: %v, next %q", total, failure, from)
		}
	}
}

// TestTotalsThatCountOtherwise are no reason to refuse what is whole.
func TestTotalsThatCountOtherwise(t *testing.T) {
	t.Parallel()
	a, b := versionEntry("a", "1", noon, "1"), versionEntry("b", "1", noon, "1")
	page := func(kind string, total int, list ...string) string {
		return fmt.Sprintf(`{"resourceType":"Bundle","type":"%s","total":%d,"entry":[%s]}`, kind, total, strings.Join(list, ","))
	}
	for name, body := range map[string]string{
		"includes":     page("searchset", 2, a, `{"resource":{"resourceType":"Group","id":"g"},"search":{"mode":"include"}}`),
		"outcomes":     page("searchset", 2, a, `{"resource":{"resourceType":"OperationOutcome","issue":[]},"search":{"mode":"outcome"}}`),
		"the unusable": page("searchset", 3, a, `{}`, `{"fullUrl":"http://x/Patient/bad"}`),
		"fewer":        page("searchset", 1, a, b),
		"no search's":  page("collection", 9, a),
	} {
		c := follow(t, &follower{search: func(url.Values) (int, string) { return http.StatusOK, body }})
		for _, err := range c.List(t.Context(), "") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	c := follow(t, &follower{search: entries("searchset", a), history: func(query url.Values) (int, string) {
		list := []string{a}
		if since, err := time.Parse(time.RFC3339, query.Get("_since")); err == nil && since.After(testNow.Add(time.Hour)) {
			list = nil
		}
		return http.StatusOK, page("history", 7, list...) // of all that it has, whatever _since says
	}})
	if got, err := changed(t.Context(), c, testNow); err != nil || got["a"] != "1" {
		t.Errorf("a history: %v, %v", got, err)
	}
}

// TestAPatientWhoCannotBeReadDirectly is told, and the rest goes on; where the server
// refuses or answers nobody the walk ends.
func TestAPatientWhoCannotBeReadDirectly(t *testing.T) {
	t.Parallel()
	twin := func(id, phone string) string {
		return `{"resource":` + string(patientJSON(id, `"telecom":[{"system":"phone","value":"`+phone+`"}]`)) + `}`
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		ends   bool
	}{
		"fails": {500, ``, false}, "HTML": {200, `<html>`, false}, "a proxy's 404": {404, `<html>`, false}, "another": {200, string(patientJSON("x", "")), false},
		"refused": {403, ``, false}, "a bad request": {400, ``, false}, "too often": {429, ``, true}, "our credentials": {401, ``, true},
	} {
		f := &follower{read: status(tt.status)}
		f.read = func(url.Values) (int, string) { return tt.status, tt.body }
		f.search = entries("searchset", twin("a", "1"), twin("a", "2"), versionEntry("b", "1", noon, "1"))
		f.history = func(url.Values) (int, string) { return http.StatusNotFound, "" }
		c := follow(t, f)
		var told []string
		var failure error
		for page, err := range c.List(t.Context(), "") {
			failure = err
			for _, change := range page.Changes {
				told = append(told, change.ID)
				if change.ID == "a" && !tt.ends {
					if e := asError(t, change.Err, Unusable); e.Cause != BadEntry {
						t.Error(e)
					}
				}
			}
		}
		if tt.ends != (failure != nil) || !tt.ends && !slices.Equal(told, []string{"a", "b"}) {
			t.Errorf("%s: %v, %v", name, told, failure)
		}
	}
}

// TestATotalIsOfItsOwnQuery: a listing that goes on with another query counts anew.
func TestATotalIsOfItsOwnQuery(t *testing.T) {
	t.Parallel()
	c := follow(t, &follower{search: func(query url.Values) (int, string) {
		a := versionEntry("a", "1", noon, "1")
		switch {
		case query.Has("page"):
			return http.StatusGone, ""
		case query.Has("_lastUpdated"):
			return http.StatusOK, `{"resourceType":"Bundle","type":"searchset","total":3,"entry":[` + a + `,` + versionEntry("b", "1", noon, "1") + `]}`
		}
		return http.StatusOK, `{"resourceType":"Bundle","type":"searchset","total":4,"link":[{"relation":"next","url":"Patient?page=2"}],"entry":[` +
			versionEntry("before", "1", "2026-11-23T11:00:00.000Z", "1") + `,` + a + `]}`
	}})
	var failure error
	for _, failure = range c.List(t.Context(), "") {
	}
	asError(t, failure, Unusable)
}

// TestReadsThatAreNotAnswered are one patient's fault for a while; then the server answers
// nobody, and each would be waited for.
func TestReadsThatAreNotAnswered(t *testing.T) {
	t.Parallel()
	for patients, ends := range map[int]bool{maxUnanswered - 1: false, maxUnanswered + 1: true} {
		var list []string
		for n := range patients {
			for _, gender := range []string{"male", "female"} {
				list = append(list, `{"resource":`+string(patientJSON(patientID(n), `"gender":"`+gender+`"`))+`}`)
			}
		}
		c := follow(t, &follower{search: entries("searchset", list...), read: func(url.Values) (int, string) {
			panic(http.ErrAbortHandler)
		}})
		var failure error
		for _, failure = range c.List(t.Context(), "") {
		}
		if ends != (failure != nil) {
			t.Errorf("%d patients: %v", patients, failure)
		}
	}
}
