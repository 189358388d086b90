package fhir

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

const (
	// maxIdlePages is how many pages in a row may bring no other patients than
	// the page before did.
	maxIdlePages = 3
	// maxLink bounds a next link, which is remembered to the end of the search.
	maxLink = 16 << 10
)

var (
	errBadLink    = errors.New("its next link is no address")
	errLongLink   = errors.New("its next link is too long")
	errNoProgress = errors.New("its pages do not come to an end")
	errMoved      = errors.New("patients were added or removed while its pages were read; try again")
	errOutcome    = errors.New("the search failed in part")
)

// Search yields the Patients that match params, page after page. In the place of one
// that is no whole Patient it yields an error with the cause BadEntry and goes on;
// any other error ends it, after what the page has shown. A page leads to the next by
// its link, which must have the base URL's origin and lie below it, for it is followed
// with our credentials; where the profile knows of no links, and params has a _count,
// by _offset until a page is empty. The resources carry no ETag. An empty result is no
// proof that nothing matches: servers answer so to parameters that they do not know.
func (c *Client) Search(ctx context.Context, params url.Values) iter.Seq2[Resource, error] {
	return func(yield func(Resource, error) bool) {
		at := c.searchURL(params)
		asked := map[string]bool{}
		var before map[string]bool // what the page before showed
		last := ""                 // by _offset: the last of the page before, with which this one begins
		for idle, seen := 0, 0; ; {
			asked[at.String()] = true
			page := c.searchPage(ctx, &at, params)
			shown := map[string]bool{}
			fresh := false
			if last != "" && page.err == nil {
				if len(page.entries) == 0 || page.entries[0].key != last {
					yield(Resource{}, searchError(errMoved))
					return
				}
				page.entries = page.entries[1:]
			}
			for _, e := range page.entries {
				if !yield(e.patient, e.err) {
					return
				}
				shown[e.key] = true
				fresh = fresh || !before[e.key]
			}
			if page.err != nil {
				yield(Resource{}, page.err)
				return
			}
			seen += len(page.entries)
			if page.next == nil {
				if page.next = pageAfter(at, page.profile, seen, len(page.entries)); page.next != nil && seen > 0 {
					last = page.entries[len(page.entries)-1].key
				}
			}
			if page.next == nil {
				if len(asked) == 1 && page.total > seen {
					yield(Resource{}, searchError(fmt.Errorf("the server has %d patients, shows %d and names no further page", page.total, seen)))
				}
				return
			}
			if idle++; fresh {
				idle = 0
			}
			if idle >= maxIdlePages || asked[page.next.String()] {
				yield(Resource{}, searchError(errNoProgress))
				return
			}
			at, before = *page.next, shown
		}
	}
}

func (c *Client) searchURL(params url.Values) url.URL {
	at := *c.base
	at.Path += "/Patient"
	if at.RawPath != "" {
		at.RawPath += "/Patient"
	}
	at.RawQuery = params.Encode()
	return at
}

// pageAfter leads on from a page of so many patients that has no link, and begins with
// its last: if it does not, patients were added or removed meanwhile, and others would be
// left out. nil: it was the last.
func pageAfter(at url.URL, profile *Profile, seen, onPage int) *url.URL {
	query := at.Query()
	switch {
	case !profile.pagesByOffset, !query.Has("_count"):
		return nil
	case onPage > 0 && query.Get("_count") == "1": // who asks for one wants no more
		return nil
	case onPage > 0:
		query.Set("_offset", strconv.Itoa(seen-1))
	case seen == 0 && profile.countHidesAll:
		query.Del("_count")
	default:
		return nil
	}
	at.RawQuery = query.Encode()
	return &at
}

// ReadsOthers reports whether a search shows us any Patient: then a 403 to the read of
// one is about that one. The server may well refuse the search, or show nothing. One
// that we cannot use is shown all the same; and where a server shows all patients or
// none, an answer that is too long shows some.
func (c *Client) ReadsOthers(ctx context.Context) (bool, error) {
	for _, err := range c.Search(ctx, url.Values{"_count": {"1"}}) {
		var e *Error
		if errors.As(err, &e) && (e.Cause == BadEntry || e.Cause == TooLong && c.chooser.current().countHidesAll) {
			return true, nil
		}
		if errors.As(err, &e) && (e.Kind == Forbidden || e.Kind == AuthFailed || e.Kind == Rejected || e.Kind == Unusable) {
			return false, nil
		}
		return err == nil, err
	}
	return false, nil
}

func searchError(err error) *Error {
	e := &Error{Kind: Unusable, Op: OpSearch, Status: http.StatusOK, Reason: "The answer is unusable: " + err.Error(), Err: err}
	if errors.As(err, new(leadsAway)) {
		e.Cause = LeadsAway
	}
	return e
}

func badEntry(err error) *Error {
	return &Error{Kind: Unusable, Op: OpSearch, Status: http.StatusOK, Cause: BadEntry, Reason: "A Patient of the answer is unusable: " + err.Error(), Err: err}
}

type page struct {
	profile *Profile
	entries []entry
	next    *url.URL // nil: no link
	total   int      // how many match, as a searchset says; 0: it does not
	err     error    // why the search cannot go on; the entries are good all the same
}

// entry is a Patient of a page, or why it is none.
type entry struct {
	patient Resource
	err     error
	key     string // tells it from others
}

func (c *Client) searchPage(ctx context.Context, at *url.URL, params url.Values) (p page) {
	profile, err := c.Profile(ctx)
	if err != nil {
		return page{err: err}
	}
	p.profile = profile.Profile
	a := c.exchange(ctx, request{
		op: OpSearch, method: http.MethodGet, url: at.String(), want: "Bundle", secrets: searchValues(params),
	})
	if p.err = a.failure(); p.err != nil {
		return p
	}
	if str(a.doc, "type") == "searchset" {
		p.total = int(member(a.doc, "total").Num)
	}
	for _, e := range elements(member(a.doc, "entry")) {
		resource := member(e, "resource")
		kind, mode := str(resource, "resourceType"), str(member(e, "search"), "mode")
		switch {
		case kind == "OperationOutcome" && hasError(resource):
			p.err = searchError(errOutcome)
		case kind == "Patient" && mode != "include" && mode != "outcome":
			p.entries = append(p.entries, readEntry(p.profile, e, resource))
		}
	}
	if p.err == nil {
		if p.next, err = c.nextLink(a.doc, at); err != nil {
			p.err = searchError(err)
		}
	}
	return p
}

func readEntry(profile *Profile, e, resource gjson.Result) entry {
	body, id := []byte(resource.Raw), str(resource, "id")
	_, err := parsePatient(body)
	switch {
	case err == nil && repeatsOwnKey(e):
		err = errTwice
	case err == nil && checkID(OpSearch, id) != nil:
		err = errOtherID
	}
	if err != nil {
		return entry{err: badEntry(err), key: resource.Raw}
	}
	return entry{patient: profile.show(Resource{ID: id, JSON: body}), key: id}
}

// leadsAway is a next link that our credentials must not follow.
type leadsAway struct{ to string }

func (e leadsAway) Error() string {
	return "its next link leads away from FHIR_BASE_URL, to " + e.to + "; with FHIR_REWRITE_LINKS=true the same query is asked of FHIR_BASE_URL"
}

// nextLink is where a Bundle read from at goes on; nil: nowhere.
func (c *Client) nextLink(bundle gjson.Result, at *url.URL) (*url.URL, error) {
	var found *url.URL
	for _, link := range elements(member(bundle, "link")) {
		if str(link, "relation") != "next" {
			continue
		}
		address := str(link, "url")
		if repeatsOwnKey(link) || !utf8.ValidString(address) {
			return nil, errBadLink
		}
		if len(address) > maxLink {
			return nil, errLongLink
		}
		next, err := at.Parse(address)
		if err != nil || next.Host == "" {
			return nil, errBadLink
		}
		if !c.below(next) {
			if !c.rewriteLinks {
				return nil, leadsAway{next.Scheme + "://" + printable(next.Host)}
			}
			if next = c.rewrite(next); !c.below(next) {
				return nil, errBadLink
			}
		}
		found = next
	}
	return found, nil
}

// printable is a host as the server wrote it, short and without odd characters.
func printable(host string) string {
	const most = 100
	quoted := strconv.QuoteToASCII(host)
	return quoted[1:min(len(quoted)-1, most)]
}

// rewrite asks for the same of our base. What stands in front of a link behind a
// proxy is unknown; the base ends at our own path, at the last segment of it, or in
// front of Patient. Where it is none of these the query alone tells the page, as
// HAPI's does.
func (c *Client) rewrite(link *url.URL) *url.URL {
	base := strings.TrimRight(c.base.EscapedPath(), "/")
	there := link.EscapedPath()
	rest := ""
	if after, found := strings.CutPrefix(there, base+"/"); found && base != "" {
		rest = "/" + after
	} else if i := strings.LastIndex(there+"/", "/Patient/"); i >= 0 {
		rest = there[i:]
	} else if i := strings.Index(there+"/", "/"+path.Base(base)+"/"); i >= 0 {
		rest = there[min(i+1+len(path.Base(base)), len(there)):]
	}
	to := *c.base
	to.RawQuery = link.RawQuery
	to.RawPath = base + rest
	unescaped, err := url.PathUnescape(to.RawPath)
	if err != nil {
		return link
	}
	to.Path = unescaped
	return &to
}

func hasError(outcome gjson.Result) bool {
	for _, issue := range outcomeIssues(outcome) {
		if severityRank(issue.Severity) == 0 {
			return true
		}
	}
	return false
}

// below reports whether u has the base URL's origin and path.
func (c *Client) below(u *url.URL) bool {
	base := strings.TrimRight(c.base.Path, "/")
	// A path that cleaning would change ("/fhir/../admin") may be cleaned by a
	// proxy and then lead elsewhere.
	clean := path.Clean(u.Path) == strings.TrimRight(u.Path, "/") || u.Path == "/" || u.Path == ""
	return u.Scheme == c.base.Scheme && origin(u) == origin(c.base) && u.User == nil && u.Opaque == "" && clean &&
		(u.Path == base || strings.HasPrefix(u.Path, base+"/"))
}

// origin is host and port, the scheme's own port written out.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// searchValues are the values searched for, which a refusal may repeat.
func searchValues(params url.Values) []string {
	var values []string
	for name, list := range params {
		if name != "_id" && strings.HasPrefix(name, "_") {
			continue
		}
		for _, value := range list {
			values = append(values, strings.Split(value, ",")...)
		}
	}
	return values
}
