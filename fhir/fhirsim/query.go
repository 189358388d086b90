package fhirsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// unknownParam marks the problem that some servers answer with an empty
// Bundle instead.
const unknownParam = "HAPI-0524"

// query is a search, understood.
type query struct {
	ids, identifiers     []string
	updated              []func(time.Time) bool // all must hold
	sort                 string
	count, offset        int
	byOffset             bool
	wantTotal, onlyCount bool
	elements             []string // of each patient, besides id and meta; nil: all
}

// parseSearch reads the parameters of a search for Patients.
func (s *Server) parseSearch(params url.Values) (query, *problem) {
	q := query{count: s.habits.MaxCount}
	for name, values := range params {
		for _, value := range values {
			if p := q.set(name, value, s.habits.MaxCount); p != nil {
				return q, p
			}
		}
	}
	return q, nil
}

func (q *query) set(name, value string, maxCount int) *problem {
	bad := func(code, text string) *problem {
		return &problem{status: http.StatusBadRequest, hapi: code, text: text}
	}
	switch name {
	case "_id":
		q.ids = append(q.ids, strings.Split(value, ",")...)
	case "identifier":
		q.identifiers = append(q.identifiers, strings.Split(value, ",")...)
	case "_lastUpdated":
		between, ok := parseTime(value)
		if !ok {
			return bad("HAPI-1940", fmt.Sprintf("Invalid date/time/quantity format: %q", value))
		}
		q.updated = append(q.updated, between)
	case "_sort":
		if !slices.Contains([]string{"_lastUpdated", "-_lastUpdated", "_id"}, value) {
			return bad("HAPI-1194", fmt.Sprintf("Unknown _sort parameter value %q for resource type \"Patient\"", value))
		}
		q.sort = value
	case "_count", "_offset":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return bad("HAPI-0375", "Invalid "+name+" value: "+value)
		}
		if name == "_offset" {
			q.offset, q.byOffset = n, true
			return nil
		}
		q.count, q.onlyCount = min(n, maxCount), q.onlyCount || n == 0
	case "_summary":
		if value != "count" && value != "false" {
			return bad("HAPI-0523", "Of _summary only count is implemented")
		}
		q.onlyCount = q.onlyCount || value == "count"
	case "_total":
		q.wantTotal = value == "accurate"
	case "_elements":
		q.elements = append(q.elements, strings.Split(value, ",")...)
	case "_format", "_pretty":
	default:
		return bad(unknownParam, fmt.Sprintf("Unknown search parameter %q for resource type \"Patient\". Valid search parameters for this search are: %v", name, searchParams))
	}
	return nil
}

// parseTime reads a date parameter (FHIR search, date): a prefix and a time of
// some precision, which stands for the whole of that day, minute or second.
func parseTime(value string) (func(time.Time) bool, bool) {
	op := "eq"
	if len(value) > 2 && slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"}, value[:2]) {
		op, value = value[:2], value[2:]
	}
	start, end, ok := period(value)
	return func(t time.Time) bool {
		switch op {
		case "ne":
			return t.Before(start) || !t.Before(end)
		case "gt", "sa":
			return !t.Before(end)
		case "ge":
			return !t.Before(start)
		case "lt", "eb":
			return t.Before(start)
		case "le":
			return t.Before(end)
		}
		return !t.Before(start) && t.Before(end)
	}, ok
}

// period reads a FHIR date or dateTime as from and until; without a time zone
// it is UTC.
func period(value string) (start, end time.Time, ok bool) {
	for _, p := range []struct {
		layout              string
		years, months, days int
		rest                time.Duration
	}{
		{layout: "2006", years: 1}, {layout: "2006-01", months: 1}, {layout: "2006-01-02", days: 1},
		{layout: "2006-01-02T15:04Z07:00", rest: time.Minute}, {layout: "2006-01-02T15:04", rest: time.Minute},
		{layout: time.RFC3339, rest: time.Second}, {layout: "2006-01-02T15:04:05", rest: time.Second},
	} {
		start, err := time.Parse(p.layout, value)
		if err != nil {
			continue
		}
		if start.Nanosecond() != 0 || strings.Contains(value, ".") {
			p.rest = time.Millisecond
		}
		return start, start.AddDate(p.years, p.months, p.days).Add(p.rest), true
	}
	return start, end, false
}
