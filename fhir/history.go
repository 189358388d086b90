package fhir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

const (
	historyCount    = 1000 // versions asked for at once; HAPI gives 50 at most
	maxHistoryPages = 10
	// A server that shows more than it was asked for is not followed further.
	maxVersions = historyCount * maxHistoryPages
	// Bytes kept of all versions together: two answers of the usual size.
	maxHistoryBytes = 16 << 20
)

// Why a history does not tell what followed a version, in words that may be
// passed on.
var (
	errNoVersion   = errors.New("there is no version to start from")
	errNoBase      = errors.New("it does not hold the version to start from")
	errNoneAfter   = errors.New("it holds no version after the one to start from")
	errNoOrder     = errors.New("it holds versions that are no numbers")
	errSameInstant = errors.New("versions share an instant, so their order is not known")
	errNoInstant   = errors.New("it holds versions without id or time")
	errCut         = errors.New("it is not shown to its end")
	errNoBody      = errors.New("it does not hold the version's content")
)

// After returns the version that directly followed the one with this ETag:
// what a PUT whose If-Match named it left behind, if it landed. Kind Gone: what
// followed was a deletion. Kind Unusable: the server keeps no history, or its
// history does not tell. Lost, NotSent, AuthFailed and RateLimited as ever:
// ask again.
//
// Numbered versions mostly count one by one, so number n+1 is asked for itself: HAPI
// counts a history once a minute and leaves out the oldest of what has come since.
// Only where it cannot be had is _history searched, and what follows is the next
// number that it holds: some servers count for all resources together. It must
// hold the version to start from, and be shown to its end; versions are removed
// from the oldest on. Other version ids have no order, nor has such a history: then lastUpdated decides, unless
// an instant is shared or missing, or a part of the history is missing.
//
// The Resource's ETag is the server's, or W/"versionId" where it gives none.
func (c *Client) After(ctx context.Context, id, etag string) (Resource, error) {
	if err := checkID(OpHistory, id); err != nil {
		return Resource{}, err
	}
	base := plainVersion(etag)
	if base == "" {
		e := untold(errNoVersion)
		e.Status = 0
		return Resource{}, e
	}
	next := nextNumber(base)
	if next != "" {
		r, told, err := c.readVersion(ctx, id, next)
		if told {
			return r, err
		}
	}
	h, err := c.history(ctx, id, base, next)
	if err != nil {
		return Resource{}, err
	}
	var found version
	if next != "" {
		found, err = h.numbered()
	} else {
		found, err = h.following(base)
	}
	if err != nil {
		return Resource{}, untold(err)
	}
	return found.resource(id)
}

func untold(err error) *Error {
	return &Error{Kind: Unusable, Op: OpHistory, Status: http.StatusOK, Reason: "The history does not tell: " + err.Error(), Err: err}
}

func deleted(status int) *Error {
	return &Error{Kind: Gone, Op: OpHistory, Status: status, Reason: "The version that followed deletes the patient"}
}

var numberPattern = regexp.MustCompile(`^(?:0|[1-9][0-9]{0,17})$`)

// versionInURL is the version at the end of a URL, if it names one.
func versionInURL(url string) string {
	at := strings.LastIndexByte(url, '/')
	if at < 0 || !strings.HasSuffix(url[:at], "/_history") || strings.ContainsAny(url[at:], "?#") {
		return ""
	}
	return url[at+1:]
}

// versionOf is the versionId in an ETag (FHIR http#versioning), quoted or not.
func versionOf(etag string) string {
	if version, ok := quoted(etag); ok {
		return version
	}
	return etag
}

// quoted is what stands between the quotes of an ETag that has the form of one.
func quoted(etag string) (version string, ok bool) {
	version, ok = strings.CutPrefix(strings.TrimPrefix(etag, "W/"), `"`)
	if !ok {
		return "", false
	}
	version, ok = strings.CutSuffix(version, `"`)
	return version, ok && !strings.Contains(version, `"`)
}

func weakETag(version string) string { return `W/"` + version + `"` }

// nextNumber counts on; "" where the version is no number.
func nextNumber(version string) string {
	if !numberPattern.MatchString(version) {
		return ""
	}
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(n+1, 10)
}

// readVersion reads one version (vread). told is false when the history may
// still hold what this answer does not.
func (c *Client) readVersion(ctx context.Context, id, version string) (r Resource, told bool, err error) {
	a := c.exchange(ctx, request{
		op: OpHistory, method: http.MethodGet, url: c.patientURL(id) + "/_history/" + version, want: "Patient", id: id,
	})
	err = a.failure()
	switch {
	case err == nil:
		r = a.resource()
		// Else the server shows the current version, whichever is asked for.
		return r, plainVersion(r.ETag) == version, nil
	case a.status == http.StatusGone:
		// Without a Location it may only mean that the patient is gone by now.
		return r, versionInURL(a.header.Get("Location")) == version, deleted(a.status)
	}
	return r, unanswered(err), err
}

// unanswered reports whether a failure says nothing about the history: to ask again
// may help.
func unanswered(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Status == http.StatusForbidden || e.Status == http.StatusNotImplemented {
		return false
	}
	return e.Kind == Lost || e.Kind == NotSent || e.Kind == AuthFailed || e.Kind == RateLimited
}

// version is one entry of a history.
type version struct {
	id, etag string
	at       time.Time // zero: not said
	body     []byte
	deletion bool
}

func (v version) resource(id string) (Resource, error) {
	switch {
	case v.deletion:
		return Resource{}, deleted(http.StatusOK)
	case v.body == nil:
		return Resource{}, untold(errNoBody)
	}
	return Resource{ID: id, ETag: v.etag, JSON: v.body}, nil
}

// history is what a server shows of a patient's past, in any order.
type history struct {
	base, wanted string // wanted is empty when time must tell what followed base

	versions []version // each once
	byID     map[string]int
	next     int // with wanted: the index of the lowest number above base so far; -1: none
	total    int // how many there are, as far as the server says
	bytes    int // kept
}

// history reads page after page to the end, or until it holds the version
// wanted.
func (c *Client) history(ctx context.Context, id, base, wanted string) (h history, err error) {
	h = history{base: base, wanted: wanted, next: -1}
	at, err := url.Parse(c.patientURL(id) + "/_history?_count=" + strconv.Itoa(historyCount))
	if err != nil {
		return h, &Error{Kind: NotSent, Op: OpHistory, Reason: "Communication failed", Err: err}
	}
	for range maxHistoryPages {
		a := c.exchange(ctx, request{op: OpHistory, method: http.MethodGet, url: at.String(), want: "Bundle", id: id})
		if err := a.failure(); err != nil {
			return h, historyFailure(err)
		}
		if err := h.add(a.doc, id); err != nil {
			return h, untold(err)
		}
		if h.find(wanted) >= 0 {
			return h, nil
		}
		if at, err = c.nextLink(a.doc, at); err != nil {
			return h, untold(err)
		}
		if at == nil {
			return h, nil
		}
	}
	return h, untold(errCut)
}

// historyFailure tells a server that keeps no history from one that fails.
func historyFailure(err error) error {
	var e *Error
	if !errors.As(err, &e) || unanswered(err) || e.Status < 400 {
		return err
	}
	return &Error{Kind: Unusable, Op: OpHistory, Status: e.Status, Err: e,
		Reason: fmt.Sprintf("The server keeps no history of its patients, or does not show it (status %d)", e.Status)}
}

// add takes the entries of one page.
func (h *history) add(bundle gjson.Result, id string) error {
	if total := member(bundle, "total"); total.Type == gjson.Number {
		h.total = max(h.total, int(total.Int()))
	}
	if h.byID == nil {
		h.byID = map[string]int{}
	}
	entries := member(bundle, "entry")
	if !entries.IsArray() {
		return nil
	}
	var err error
	entries.ForEach(func(_, entry gjson.Result) bool {
		if len(h.versions) == maxVersions {
			err = errCut
			return false
		}
		var v version
		if v, err = readVersionEntry(entry, id); err != nil {
			return false
		}
		// A page may repeat what the one before showed.
		if h.find(v.id) < 0 {
			if !h.needsBody(v.id) {
				v.body = nil
			} else if i := h.next; h.wanted != "" { // one that is nearer than the one so far
				h.next = len(h.versions)
				if i >= 0 {
					h.bytes -= len(h.versions[i].body)
					h.versions[i].body = nil
				}
			}
			if h.bytes += len(v.id) + len(v.etag) + len(v.body); h.bytes > maxHistoryBytes {
				err = errCut
				return false
			}
			v.id, v.etag = strings.Clone(v.id), strings.Clone(v.etag) // parts of the page, which would stay
			if v.id != "" {
				h.byID[v.id] = len(h.versions)
			}
			h.versions = append(h.versions, v)
		}
		return true
	})
	return err
}

func (h *history) needsBody(id string) bool {
	if h.wanted != "" {
		return above(id, h.base) && (h.next < 0 || above(h.versions[h.next].id, id))
	}
	return id != h.base
}

// above reports whether a is a number and above the number b.
func above(a, b string) bool {
	return numberPattern.MatchString(a) && (len(a) > len(b) || len(a) == len(b) && a > b)
}

func readVersionEntry(entry gjson.Result, id string) (v version, err error) {
	resource, asked, answered := member(entry, "resource"), member(entry, "request"), member(entry, "response")
	meta := member(resource, "meta")
	v.id = str(meta, "versionId")
	if v.id == "" {
		v.id = versionOf(str(answered, "etag"))
	}
	if v.id == "" {
		v.id = versionInURL(str(asked, "url"))
	}
	v.etag = str(answered, "etag")
	if in, ok := quoted(v.etag); !ok || in != v.id {
		v.etag = weakETag(v.id)
	}
	instant := str(meta, "lastUpdated")
	if instant == "" {
		instant = str(answered, "lastModified")
	}
	if t, err := time.Parse(time.RFC3339, instant); err == nil {
		v.at = t
	}
	if resource.IsObject() {
		v.body = []byte(resource.Raw)
		err = checkPatient(resource, id)
	}
	// Medplum says 410 where others say DELETE.
	v.deletion = str(asked, "method") == http.MethodDelete || v.body == nil && strings.HasPrefix(str(answered, "status"), "410")
	return v, err
}

// find gives the index of a version; -1: it is not there.
func (h *history) find(id string) int {
	if i, ok := h.byID[id]; ok {
		return i
	}
	return -1
}

// numbered finds the number wanted, or the next one after base.
func (h *history) numbered() (version, error) {
	switch {
	case h.find(h.wanted) >= 0:
		return h.versions[h.find(h.wanted)], nil
	case h.find(h.base) < 0:
		return version{}, errNoBase
	case h.total > len(h.versions):
		return version{}, errCut
	case slices.ContainsFunc(h.versions, func(v version) bool { return !numberPattern.MatchString(v.id) }):
		return version{}, errNoOrder
	case h.next < 0:
		return version{}, errNoneAfter
	}
	return h.versions[h.next], nil
}

// following finds the version next in time after base.
func (h *history) following(base string) (version, error) {
	i := h.find(base)
	switch {
	case i < 0:
		return version{}, errNoBase
	case h.total > len(h.versions):
		return version{}, errCut
	case slices.ContainsFunc(h.versions, func(v version) bool { return v.id == "" || v.at.IsZero() }):
		return version{}, errNoInstant
	}
	from := h.versions[i]
	later := slices.DeleteFunc(slices.Clone(h.versions), func(v version) bool {
		return v.id == base || v.at.Before(from.at)
	})
	slices.SortFunc(later, func(a, b version) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.id, b.id)) })
	switch {
	case len(later) == 0:
		return version{}, errNoneAfter
	case later[0].at.Equal(from.at), len(later) > 1 && later[0].at.Equal(later[1].at):
		return version{}, errSameInstant
	}
	return later[0], nil
}
