package fhirsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// history answers GET Patient/_history and GET Patient/{id}/_history: newest
// first, deletions included.
func (s *Server) history(c *call, _ *Fault) answer {
	params, _ := url.ParseQuery(c.Query) // what cannot be read is not there
	count, offset := s.habits.MaxCount, 0
	if n, err := strconv.Atoi(params.Get("_count")); err == nil && n > 0 {
		count = min(n, count)
	}
	if n, err := strconv.Atoi(params.Get("_offset")); err == nil && n > 0 {
		offset = n
	}
	var q query
	if elements := params.Get("_elements"); elements != "" {
		q.elements = strings.Split(elements, ",")
	}
	var since time.Time
	if value := params.Get("_since"); value != "" {
		start, _, ok := period(value)
		if !ok {
			return s.problem(problem{status: http.StatusBadRequest, hapi: "HAPI-1882", text: fmt.Sprintf("Invalid date/time format: %q", value)})
		}
		since = start
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if c.ID != "" && s.store.records[c.ID] == nil {
		return s.problem(*s.unknown(http.StatusNotFound, c.ID))
	}
	var found []change
	for _, ch := range slices.Backward(s.store.changes) {
		if (c.ID == "" || ch.rec.id == c.ID) && !ch.at().Before(since) {
			found = append(found, ch)
		}
	}
	// By lastUpdated: one that was committed late is not the first.
	slices.SortStableFunc(found, func(a, b change) int { return b.at().Compare(a.at()) })
	now := s.now().UTC()
	b := bundle{
		ResourceType: "Bundle", ID: uuid.NewSHA1(versionSpace, []byte(c.Path+c.Query+now.String())).String(),
		Meta: map[string]string{"lastUpdated": now.Format(timeFormat)}, Type: "history",
		Link: []link{{"self", c.base + strings.TrimPrefix(c.Path, prefix) + question(c.Query)}},
	}
	if total := len(found); since.IsZero() {
		b.Total = &total
	}
	from, to := min(offset, len(found)), min(offset+count, len(found))
	for _, ch := range found[from:to] {
		b.Entry = append(b.Entry, historyEntry(c, ch, q))
	}
	if to < len(found) && s.habits.NextLinks {
		params.Set("_offset", strconv.Itoa(to))
		params.Set("_count", strconv.Itoa(count))
		b.Link = append(b.Link, link{"next", c.base + strings.TrimPrefix(c.Path, prefix) + "?" + params.Encode()})
	}
	a := jsonAnswer(http.StatusOK, encode(b))
	a.header.Set("Content-Location", c.base+"/Bundle/"+b.ID)
	return a
}

func historyEntry(c *call, ch change, q query) entry {
	v := &ch.rec.versions[ch.index]
	method, status := http.MethodPut, "200 OK"
	switch {
	case v.body == nil:
		method = http.MethodDelete
	case ch.index == 0:
		method, status = http.MethodPost, "201 Created" // HAPI says POST, however it was created
	}
	return entry{
		FullURL:  c.base + "/Patient/" + ch.rec.id,
		Resource: q.shown(v.body),
		Request:  map[string]string{"method": method, "url": "Patient/" + ch.rec.id + "/_history/" + v.id},
		Response: map[string]string{"status": status, "etag": etag(v)},
	}
}
