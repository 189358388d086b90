package fhirsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// maxSearches is how many results are kept for their next pages.
const maxSearches = 100

// prefetched is how far HAPI looks for its first page; a result below that is
// counted, a longer one only when asked for.
const prefetched = 13

// result is what a search found: which patients is frozen with its first
// page, their content is not.
type result struct {
	id      string // the Bundle's
	query   string
	at      time.Time
	records []*record
}

// searches keeps results for their next pages and for Habits.SearchCache.
type searches struct {
	mu   sync.Mutex
	made int
	list []*result
}

func (s *searches) keep(r *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	r.id = uuid.NewSHA1(versionSpace, []byte("search/"+strconv.Itoa(s.made))).String()
	if len(s.list) == maxSearches {
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, r)
}

func (s *searches) find(good func(*result) bool) *result {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.list) {
		if good(r) {
			return r
		}
	}
	return nil
}

// ExpireSearches forgets every result, as a restart does: the link to a next page then
// leads nowhere.
func (s *Server) ExpireSearches() {
	s.searches.mu.Lock()
	defer s.searches.mu.Unlock()
	s.searches.list = nil
}

// JumpClock sets the server's clock forward, or back.
func (s *Server) JumpClock(by time.Duration) { s.jumped.Add(int64(by)) }

type link struct {
	Relation string `json:"relation"`
	URL      string `json:"url"`
}

type entry struct {
	FullURL  string          `json:"fullUrl"`
	Resource json.RawMessage `json:"resource,omitempty"`
	Search   any             `json:"search,omitempty"`
	Request  any             `json:"request,omitempty"`
	Response any             `json:"response,omitempty"`
}

type bundle struct {
	ResourceType string            `json:"resourceType"`
	ID           string            `json:"id"`
	Meta         map[string]string `json:"meta"`
	Type         string            `json:"type"`
	Total        *int              `json:"total,omitempty"`
	Link         []link            `json:"link,omitempty"`
	Entry        []entry           `json:"entry,omitempty"`
}

// search answers the first page of GET Patient?…
func (s *Server) search(c *call, _ *Fault) answer {
	params, err := url.ParseQuery(c.Query)
	if err != nil {
		return s.problem(problem{status: http.StatusBadRequest, text: "The query cannot be read"})
	}
	q, p := s.parseSearch(params)
	if p != nil {
		if p.hapi == unknownParam && s.habits.UnknownParam == http.StatusOK {
			return s.bundle(c, &result{at: s.now()}, q, 0)
		}
		return s.problem(*p)
	}
	var r *result
	if s.habits.SearchCache > 0 && !strings.Contains(c.Header.Get("Cache-Control"), "no-cache") {
		r = s.searches.find(func(r *result) bool {
			return r.query == params.Encode() && s.now().Sub(r.at) < s.habits.SearchCache
		})
	}
	if r == nil {
		r = &result{query: params.Encode(), at: s.now(), records: s.match(q)}
		s.searches.keep(r)
	}
	return s.bundle(c, r, q, q.offset)
}

// page answers a further page, by the link of the page before.
func (s *Server) page(c *call, _ *Fault) answer {
	params, _ := url.ParseQuery(c.Query) // what cannot be read is no page
	id := params.Get("_getpages")
	if id == "" || c.Method != http.MethodGet {
		return s.problem(problem{status: http.StatusBadRequest, hapi: "HAPI-0287", text: "This is the base URL of FHIR server. Unable to handle this request, as it does not contain a resource type or operation name."})
	}
	r := s.searches.find(func(r *result) bool { return r.id == id })
	offset, err := strconv.Atoi(params.Get("_getpagesoffset"))
	if r == nil || err != nil || offset < 0 {
		return s.problem(problem{status: http.StatusGone, hapi: "HAPI-0417", text: fmt.Sprintf("Search ID %q does not exist and may have expired", id)})
	}
	q := query{count: s.habits.MaxCount}
	if n, err := strconv.Atoi(params.Get("_count")); err == nil && n > 0 {
		q.count = min(n, q.count)
	}
	a := s.bundle(c, r, q, offset)
	a.header.Set("Content-Location", c.base+"/Bundle/"+r.id)
	return a
}

// bundle answers with the entries from offset on.
func (s *Server) bundle(c *call, r *result, q query, offset int) answer {
	b := bundle{
		ResourceType: "Bundle", ID: r.id, Meta: map[string]string{"lastUpdated": r.at.UTC().Format(timeFormat)}, Type: "searchset",
		Link: []link{{"self", c.base + strings.TrimPrefix(c.Path, prefix) + question(c.Query)}},
	}
	total := len(r.records)
	from, to := min(offset, total), min(offset+q.count, total)
	if q.wantTotal || q.onlyCount || !q.byOffset && (total < prefetched || to-from == total) {
		b.Total = &total
	}
	if q.onlyCount {
		b.Link = nil
		return jsonAnswer(http.StatusOK, encode(b))
	}
	s.store.mu.Lock()
	for _, rec := range r.records[from:to] {
		if rec.alive() {
			b.Entry = append(b.Entry, entry{FullURL: c.base + "/Patient/" + rec.id, Resource: q.shown(rec.current().body), Search: map[string]string{"mode": "match"}})
		}
	}
	s.store.mu.Unlock()
	if to < total && s.habits.NextLinks {
		b.Link = append(b.Link, link{"next", s.nextURL(c, r, q, to)})
	}
	return jsonAnswer(http.StatusOK, encode(b))
}

// nextURL leads to the page from offset on: opaque, but by _offset where the
// client asked with it.
func (s *Server) nextURL(c *call, r *result, q query, offset int) string {
	if q.byOffset {
		params, _ := url.ParseQuery(c.Query) // it was read before
		params.Set("_offset", strconv.Itoa(offset))
		return c.base + "/Patient?" + params.Encode()
	}
	return fmt.Sprintf("%s?_getpages=%s&_getpagesoffset=%d&_count=%d&_bundletype=searchset", c.base, r.id, offset, q.count)
}

// shown is as much of a patient as was asked for.
func (q query) shown(body []byte) []byte {
	if q.elements == nil || body == nil {
		return body
	}
	body = pick(body, func(key string) bool {
		return slices.Contains([]string{"resourceType", "id", "meta"}, key) || slices.Contains(q.elements, key)
	})
	body, err := sjson.SetBytes(body, "meta.tag.-1", map[string]string{"code": "SUBSETTED"})
	if err != nil {
		panic(err) // what is stored is JSON
	}
	return body
}

func question(query string) string {
	if query == "" {
		return ""
	}
	return "?" + query
}

// match finds the living patients that a query asks for.
func (s *Server) match(q query) []*record {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	var found []*record
	at := map[*record]time.Time{}
	for _, rec := range s.store.order {
		if rec.alive() && q.matches(rec) {
			found = append(found, rec)
			at[rec] = rec.current().at
		}
	}
	switch q.sort {
	case "_lastUpdated":
		slices.SortStableFunc(found, func(a, b *record) int { return at[a].Compare(at[b]) })
	case "-_lastUpdated":
		slices.SortStableFunc(found, func(a, b *record) int { return at[b].Compare(at[a]) })
	case "_id":
		slices.SortFunc(found, func(a, b *record) int { return strings.Compare(a.id, b.id) })
	}
	return found
}

func (q query) matches(rec *record) bool {
	v := rec.current()
	for _, between := range q.updated {
		if !between(v.at) {
			return false
		}
	}
	if len(q.ids) > 0 && !slices.Contains(q.ids, rec.id) {
		return false
	}
	if len(q.identifiers) == 0 {
		return true
	}
	for _, identifier := range gjson.GetBytes(v.body, "identifier").Array() {
		for _, wanted := range q.identifiers {
			system, value, qualified := strings.Cut(wanted, "|")
			if !qualified {
				system, value = identifier.Get("system").String(), wanted
			}
			if identifier.Get("system").String() == system && (value == "" || identifier.Get("value").String() == value) {
				return true
			}
		}
	}
	return false
}
