package fhir

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxLink bounds a next link, which is remembered to the end of the search.
const maxLink = 16 << 10

var (
	errBadLink    = errors.New("its next link is no address")
	errLongLink   = errors.New("its next link is too long")
	errNoProgress = errors.New("its pages do not come to an end")
	errOutcome    = errors.New("the search failed in part")
)

func (c *Client) searchURL(params url.Values) url.URL {
	at := *c.base
	at.Path += "/Patient"
	if at.RawPath != "" {
		at.RawPath += "/Patient"
	}
	at.RawQuery = params.Encode()
	return at
}

// ReadsOthers reports whether a search shows us any Patient: then a 403 to the read of
// one is about that one. The server may well refuse the search, or show nothing. One
// that we cannot use is shown all the same; and where a server shows all patients or
// none, an answer that is too long shows some.
func (c *Client) ReadsOthers(ctx context.Context) (bool, error) {
	p, _, err := c.some(ctx)
	var e *Error
	switch {
	case p.tooLong:
		return c.chooser.current().countHidesAll, nil
	case errors.As(err, &e) && (e.Kind == Forbidden || e.Kind == AuthFailed || e.Kind == Rejected || e.Kind == Unusable):
		return false, nil
	}
	return err == nil && len(p.entries) > 0, err
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
