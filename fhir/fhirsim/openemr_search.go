package fhirsim

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// searchField is a search parameter: it finds the patients of whom one of the
// columns has the value.
type searchField struct {
	name, kind string // kind: token, string, date
	columns    []string
}

// searchFields are the search parameters of Patient. phone and telecom are
// taken and find nobody.
var searchFields = []searchField{
	{"_id", "token", []string{"uuid"}},
	{"identifier", "token", []string{"ss", "pubpid"}},
	{"name", "string", []string{"fname", "mname", "lname", "title"}},
	{"birthdate", "date", []string{"DOB"}},
	{"gender", "token", []string{"sex"}},
	{"address", "string", []string{"street", "street_line_2", "postal_code", "city", "state"}},
	{"address-city", "string", []string{"city"}},
	{"address-postalcode", "string", []string{"postal_code"}},
	{"address-state", "string", []string{"state"}},
	{"email", "token", []string{"email", "email_direct"}},
	{"family", "string", []string{"lname"}},
	{"given", "string", []string{"fname", "mname"}},
	{"phone", "token", nil},
	{"telecom", "token", nil},
	{"_lastUpdated", "date", []string{"last_updated"}},
	{"generalPractitioner", "reference", nil},
}

func findSearchField(name string) (searchField, bool) {
	i := slices.IndexFunc(searchFields, func(f searchField) bool { return f.name == name })
	if i < 0 {
		return searchField{}, false
	}
	return searchFields[i], true
}

// badSearchValue starts the text about a value that cannot be searched for.
const badSearchValue = "The search field argument was invalid, improperly formatted, or could not be parsed.  Inner message: "

// mostPerPage is the most that _count can ask for.
const mostPerPage = 200

// search answers GET Patient?… and POST Patient/_search: a page without a link
// to the next one, and without anybody where a parameter is not supported or
// has a bad value.
func (k *Clinic) search(c *call, _ *Fault) answer {
	params, err := url.ParseQuery(c.Query)
	if form, formErr := url.ParseQuery(string(c.Body)); err == nil && c.Method == http.MethodPost {
		params, err = mergeParams(params, form), formErr
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version == emr703 && (params.Has("_count") || params.Has("_offset") || params.Has("_sort")) { // it knows none of them
		return k.json(http.StatusOK, k.bundle(c, nil))
	}
	count, countOK := pageNumber(params, "_count")
	offset, offsetOK := pageNumber(params, "_offset")
	switch {
	case !offsetOK:
		return k.error(http.StatusInternalServerError, "Offset Id must be greater than or equal to 0", 0)
	case !countOK:
		return k.error(http.StatusInternalServerError, "Limit must be greater than or equal to 0", 0)
	}
	var found []*row
	if err == nil {
		found = k.match(params)
	}
	if count = min(count, mostPerPage); count > 0 { // else all, from the first on
		found = found[min(offset, len(found)):min(offset+count, len(found))]
	}
	return k.json(http.StatusOK, k.bundle(c, found))
}

func mergeParams(a, b url.Values) url.Values {
	for name, values := range b {
		a[name] = append(a[name], values...)
	}
	return a
}

// last is the value of a parameter as PHP has it: of several, the last one.
func last(params url.Values, name string) string {
	if values := params[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// pageNumber reads _count or _offset as PHP's intval does, in which anything
// else is 0; ok is false for a negative one.
func pageNumber(params url.Values, name string) (n int, ok bool) {
	digits := leadingNumber.FindString(last(params, name))
	n, _ = strconv.Atoi(strings.TrimSpace(digits)) // nothing is 0, too much the most there is
	return min(n, 1<<30), n >= 0
}

var leadingNumber = regexp.MustCompile(`^\s*-?[0-9]+`)

func (k *Clinic) bundle(c *call, found []*row) object {
	self := c.base + strings.TrimPrefix(c.Path, prefix)
	b := object{
		{"meta", object{{"lastUpdated", k.now().In(k.zone).Format("2006-01-02T15:04:05")}}},
		{"resourceType", "Bundle"}, {"type", "collection"}, {"total", len(found)},
		{"link", []object{{{"relation", "self"}, {"url", self}}}},
	}
	var entries []object
	for _, r := range found {
		entries = append(entries, object{{"fullUrl", self + "/" + r.id}, {"resource", k.resource(r.id, r.current())}})
	}
	if len(entries) > 0 {
		b = append(b, property{"entry", entries})
	}
	return b
}

// match finds the patients that all parameters are true of, sorted.
func (k *Clinic) match(params url.Values) []*row {
	found := slices.DeleteFunc(slices.Clone(k.order), func(r *row) bool { return !r.alive() })
	for parameter := range params {
		if slices.Contains([]string{"_sort", "_count", "_offset", "_revinclude"}, parameter) {
			continue
		}
		name, modifier, _ := strings.Cut(parameter, ":")
		field, known := findSearchField(name)
		if !known {
			return nil
		}
		tests := make([]func(text string) bool, 0, 1)
		for value := range strings.SplitSeq(last(params, parameter), ",") { // any of them
			test, ok := k.test(field, modifier, value)
			if !ok {
				return nil
			}
			tests = append(tests, test)
		}
		found = slices.DeleteFunc(found, func(r *row) bool {
			return !slices.ContainsFunc(field.columns, func(column string) bool {
				text, entered := r.column(column)
				return entered && slices.ContainsFunc(tests, func(test func(string) bool) bool { return test(text) })
			})
		})
	}
	k.sort(found, last(params, "_sort"))
	return found
}

// column is a column of a row, its uuid included; entered is false for NULL.
func (r *row) column(name string) (text string, entered bool) {
	if name == "uuid" {
		return r.id, true
	}
	text, entered = r.current()[name]
	return text, entered
}

// test is whether a column has a value that is searched for; ok is false for a
// value that cannot be. The database does not tell upper from lower case.
func (k *Clinic) test(field searchField, modifier, value string) (test func(text string) bool, ok bool) {
	lower := strings.ToLower(value)
	switch {
	case field.kind == "date":
		return k.dateTest(field.name, value)
	case field.kind == "token":
		lower = lower[strings.LastIndexByte(lower, '|')+1:] // whatever the system is
		return func(text string) bool { return strings.ToLower(text) == lower }, field.name != "_id" || isUUID(value) || k.find(value) != nil
	case modifier == "exact":
		return func(text string) bool { return text == value }, true
	case modifier == "contains":
		return func(text string) bool { return strings.Contains(strings.ToLower(text), lower) }, true
	}
	return func(text string) bool { return strings.HasPrefix(strings.ToLower(text), lower) }, true
}

// sort orders by search parameters, each by all of its columns; one that there
// is not is left out.
func (k *Clinic) sort(found []*row, by string) {
	slices.SortStableFunc(found, func(a, b *row) int {
		for name := range strings.SplitSeq(by, ",") {
			name, descending := strings.CutPrefix(name, "-")
			field, _ := findSearchField(name)
			for _, column := range field.columns {
				x, _ := a.column(column)
				y, _ := b.column(column)
				order := strings.Compare(strings.ToLower(x), strings.ToLower(y))
				if descending {
					order = -order
				}
				if order != 0 {
					return order
				}
			}
		}
		return 0
	})
}

// searchDate is what OpenEMR takes for a date to search by.
var searchDate = regexp.MustCompile(`^(\D{2})?(\d{4})(-\d{2})?(-\d{2})?(?:(T\d{2}:\d{2})(:\d{2})?)?(\.\d{1,4})?(Z|[+-]\d{2}:\d{2})?$`)

// dateTest compares a stored date, or wall-clock time, with one of some
// precision, which stands for the whole of its year, month, day or second. A
// time without a zone is the clinic's; minutes alone will not do.
func (k *Clinic) dateTest(name, value string) (test func(text string) bool, ok bool) {
	m := searchDate.FindStringSubmatch(value)
	if m == nil || m[5] != "" && m[6] == "" {
		return nil, false
	}
	number := func(part string, least, most int) int {
		n, _ := strconv.Atoi(strings.TrimLeft(part, "-T:."))
		return max(least, min(n, most))
	}
	zone := k.zone
	if offset, err := time.Parse("Z07:00", m[8]); err == nil {
		zone = offset.Location()
	}
	year := number(m[2], 0, 9999)
	from, to := [5]int{1, 1, 0, 0, 0}, [5]int{12, 31, 23, 59, 59} // month, day, hour, minute, second
	set := func(i, n int) { from[i], to[i] = n, n }
	if m[3] != "" {
		set(0, number(m[3], 1, 12))
	}
	to[1] = time.Date(year, time.Month(to[0]+1), 0, 0, 0, 0, 0, time.UTC).Day()
	if m[4] != "" {
		set(1, number(m[4], 1, to[1]))
	}
	if m[5] != "" {
		set(2, number(m[5][1:3], 0, 23))
		set(3, number(m[5][4:], 0, 59))
		set(4, number(m[6], 0, 59))
	}
	stored := func(p [5]int) string {
		t := time.Date(year, time.Month(p[0]), p[1], p[2], p[3], p[4], 0, zone).In(k.zone)
		if name == "birthdate" {
			return t.Format(time.DateOnly)
		}
		return t.Format(wallClock)
	}
	start, end := stored(from), stored(to)
	if m[7] != "" {
		fraction := fmt.Sprintf(".%04d", number(m[7], 0, 999)) // milliseconds, read as ten-thousandths
		start, end = start+fraction, end+fraction
	}
	compare, known := map[string]func(text string) bool{
		"": func(text string) bool { return start <= text && text <= end }, "eq": func(text string) bool { return start <= text && text <= end },
		"ne": func(text string) bool { return text < start || text > end },
		"gt": func(text string) bool { return text > end }, "sa": func(text string) bool { return text > end },
		"ge": func(text string) bool { return text >= start }, "le": func(text string) bool { return text <= end },
		"lt": func(text string) bool { return text < start }, "eb": func(text string) bool { return text < start },
	}[m[1]]
	return compare, known
}
