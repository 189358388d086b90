package fhir

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Why an entry or a page is not used.
var (
	errOtherBundle = errors.New("its Bundle is of another type than was asked for")
	errOtherSearch = errors.New("it answers another search than was asked for")
	errNoResource  = errors.New("holds no resource")
	errOtherURL    = errors.New("its fullUrl names another resource")
)

// page is one page of a search or a history.
type page struct {
	entries    []entry
	next       *url.URL // nil: no link
	others     []uint64 // entries that are no Patient, by a hash
	total      int      // how many match, as it says; 0: it does not
	serverTime time.Time
	failed     bool   // in part, as an OperationOutcome says; the entries are good all the same
	linkErr    error  // why its link cannot be followed; likewise
	tooLong    bool   // err: a shorter page may do
	head       []byte // with tooLong: how it begins
	slow       bool   // err: likewise; the server could not make it, or not in time
	err        error  // why there is no page
}

// entry is a Patient of a page, as one version of it, or why it is none.
type entry struct {
	id      string // "": untold
	version string
	instant string    // lastUpdated, as it is told
	at      time.Time // the same; zero: not told
	deleted bool
	final   bool // it was read directly: nothing is newer
	patient Resource
	err     error
	hash    uint64 // of what was shown
}

// mark tells an entry from those of other patients, and from another version. One that
// changes may change its place. Without an id it says nothing.
func (e *entry) mark() string {
	return e.id + " " + e.instant
}

// read asks for one page.
func (w *walk) read(ctx context.Context, at *url.URL) (p page) {
	r := request{op: OpSearch, method: http.MethodGet, url: at.String(), want: "Bundle"}
	if w.history {
		r.op = OpHistory
	}
	a := w.c.exchange(ctx, r)
	if p.err = a.failure(); p.err != nil {
		p.tooLong, p.head = a.status == http.StatusOK && a.unread != "", a.head
		var e *Error
		p.slow = errors.As(p.err, &e) && e.Kind == Lost && (e.Timeout || e.Status >= 500) && !notOffered(e)
		return p
	}
	if p.err = w.belongs(a.doc, at); p.err != nil {
		return p
	}
	if kind := str(a.doc, "type"); kind == "searchset" || kind == "history" && !w.noTotal {
		p.total = int(member(a.doc, "total").Num)
	}
	p.serverTime = serverTime(a)
	for _, e := range elements(member(a.doc, "entry")) {
		resource := member(e, "resource")
		kind, mode := str(resource, "resourceType"), str(member(e, "search"), "mode")
		shown := len(p.entries)
		switch {
		case kind == "OperationOutcome":
			p.failed = p.failed || hasError(resource)
		case mode == "include", mode == "outcome", kind != "Patient" && resource.IsObject():
		case w.history || kind == "Patient" || entryType(e) == "Patient" || entryType(e) == "":
			p.entries = append(p.entries, w.readEntry(e, resource))
		}
		if len(p.entries) == shown {
			p.others = append(p.others, maphash.String(w.seed, e.Raw))
		}
	}
	if p.next, p.linkErr = w.c.nextLink(a.doc, at); p.linkErr != nil {
		p.linkErr = searchError(p.linkErr)
	}
	return p
}

// serverTime is when the server found what an answer shows.
func serverTime(a answer) time.Time {
	if t, err := time.Parse(time.RFC3339, str(member(a.doc, "meta"), "lastUpdated")); err == nil {
		return t
	}
	t, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	age, _ := strconv.Atoi(a.header.Get("Age")) // how long a cache on the way has kept the answer
	return t.Add(time.Duration(age) * time.Second)
}

// belongs refuses a Bundle of another type, and one whose self link says that it
// answers something else than the address asks for (R4 http#search: self has the
// parameters that were used).
func (w *walk) belongs(bundle gjson.Result, at *url.URL) error {
	switch kind := str(bundle, "type"); {
	case w.history && kind != "history", !w.history && kind == "history":
		return searchError(errOtherBundle)
	}
	asked := at.Query()
	for _, link := range elements(member(bundle, "link")) {
		self, err := at.Parse(str(link, "url"))
		if str(link, "relation") != "self" || err != nil {
			continue
		}
		if kind, _ := resourceOf(self.Path); kind != "" && kind != "Patient" {
			return searchError(errOtherSearch)
		}
		for name, values := range self.Query() {
			narrows := !strings.HasPrefix(name, "_") || name == "_id"
			if narrows && !asked.Has(name) || asked.Has(name) && laterThan(values, asked[name]) {
				return searchError(errOtherSearch)
			}
		}
	}
	return nil
}

// laterThan reports whether the first of two values is a later time, so that what lies
// between is left out.
func laterThan(values, asked []string) bool {
	a, err := time.Parse(time.RFC3339, strings.TrimPrefix(values[0], "ge"))
	b, askedErr := time.Parse(time.RFC3339, strings.TrimPrefix(asked[0], "ge"))
	return err == nil && askedErr == nil && a.After(b)
}

// resourcePath is what a URL of a resource, of a version of it or of a search ends in.
var resourcePath = regexp.MustCompile(`(?:^|/)([A-Z][A-Za-z]+)(?:/([A-Za-z0-9\-.]{1,64}))?(?:/_history(?:/[^/]*)?)?/?$`)

func resourceOf(path string) (kind, id string) {
	if m := resourcePath.FindStringSubmatch(path); m != nil {
		return m[1], m[2]
	}
	return "", ""
}

// entryType is the type of resource that an entry names beside the resource; "": none.
func entryType(e gjson.Result) string {
	kind, _ := namedBy(e)
	return kind
}

// namedBy is the resource that an entry names by fullUrl, else by request.url.
func namedBy(e gjson.Result) (kind, id string) {
	if kind, id = resourceOf(str(e, "fullUrl")); id == "" {
		if asked, name := resourceOf(str(member(e, "request"), "url")); asked != "" {
			return asked, name
		}
	}
	return kind, id
}

// readEntry reads an entry that is a Patient, or should be one.
func (w *walk) readEntry(e, resource gjson.Result) entry {
	asked, answered, meta := member(e, "request"), member(e, "response"), member(resource, "meta")
	kind, named := namedBy(e)
	is := entry{
		id:      str(resource, "id"),
		version: cmp.Or(str(meta, "versionId"), versionOf(str(answered, "etag")), versionInURL(str(asked, "url"))),
		instant: cmp.Or(str(meta, "lastUpdated"), str(answered, "lastModified")),
	}
	if t, err := time.Parse(time.RFC3339, is.instant); err == nil {
		is.at = t
	}
	if is.id == "" && kind == "Patient" {
		is.id = named
	}
	// Medplum says 410 where others say DELETE.
	is.deleted = w.history && (str(asked, "method") == http.MethodDelete || !resource.IsObject() && strings.HasPrefix(str(answered, "status"), "410"))
	var err error
	switch {
	case kind != "" && named != "" && (kind != "Patient" || named != is.id):
		err = errOtherURL
	case repeatsOwnKey(e):
		err = errTwice
	case is.deleted:
	case !resource.IsObject():
		err = errNoResource
	default:
		is.patient = w.profile.show(Resource{ID: is.id, JSON: []byte(resource.Raw)})
		_, err = parsePatient([]byte(resource.Raw))
	}
	if checkID(OpSearch, is.id) != nil || errors.Is(err, errOtherURL) {
		is.id = ""
		if err == nil {
			err = errOtherID
		}
	}
	if err != nil {
		is.patient, is.err, is.deleted = Resource{}, badEntry(err), false
	}
	is.hash = maphash.String(w.seed, e.Raw)
	is.id, is.version, is.instant = strings.Clone(is.id), strings.Clone(is.version), strings.Clone(is.instant) // parts of the page, which would stay
	return is
}

func lastUpdated(body []byte) time.Time {
	t, err := time.Parse(time.RFC3339, str(member(gjson.ParseBytes(body), "meta"), "lastUpdated"))
	if err != nil {
		return time.Time{}
	}
	return t
}
