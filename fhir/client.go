package fhir

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// Options configures a Client.
type Options struct {
	BaseURL      string // FHIR base: absolute http or https, without userinfo, query or fragment
	Server       string // one of Servers; "": r4
	Auth         Auth
	TLS          TLSFiles
	RewriteLinks bool          // next links that lead away from BaseURL are asked of it
	MaxConns     int           // connections at most, and idle at most (net/http keeps two, which halves the rate); 0: 512
	MaxBody      int64         // bytes of an answer, after decompression, at most; 0: 8 MiB
	UserAgent    string        // 0 bytes: "patientgraph"
	Timeout      time.Duration // bound of one request with getting a token for it, unless its context ends earlier; 0: 10 s
	Observer     Observer      // is told of each request; nil: nobody

	// RequestID is the id of what a request is made for. It is sent as X-Request-Id, which
	// servers take into their logs; nil, or an empty one: none is.
	RequestID func(context.Context) string
}

// Client talks to one FHIR R4 server. It is safe for concurrent use, follows
// no redirect and keeps no cookie. All errors of its methods are *Error.
type Client struct {
	base         *url.URL // without a slash at the end
	chooser      *chooser
	following    *atomic.Pointer[foundWay] // how changes are found; nil: not known
	pageCount    *atomic.Int32             // patients that a page is asked for at most
	credentials  credentials
	secrets      []string // what no answer may repeat, besides the Authorization
	tls          *tlsFiles
	rewriteLinks bool
	userAgent    string
	timeout      time.Duration
	maxBody      int64
	transport    *http.Transport
	observer     Observer                     // nil: none
	requestID    func(context.Context) string // nil: none
	now          func() time.Time
	sleep        func(context.Context, time.Duration) error // between two looks at an export
}

// NewClient checks the options and returns a Client; it asks the server
// nothing.
func NewClient(o Options) (*Client, error) {
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 512
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 8 << 20
	}
	if o.UserAgent == "" {
		o.UserAgent = "patientgraph"
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	c := &Client{
		base: base, secrets: []string{o.Auth.Password, o.Auth.ClientSecret, o.Auth.RefreshToken}, rewriteLinks: o.RewriteLinks,
		userAgent: o.UserAgent, timeout: o.Timeout, maxBody: o.MaxBody, observer: o.Observer, requestID: o.RequestID, now: time.Now,
		following: new(atomic.Pointer[foundWay]), pageCount: new(atomic.Int32),
	}
	c.pageCount.Store(pageCount)
	if c.chooser, err = newChooser(o.Server); err != nil {
		return nil, err
	}
	if c.tls, err = newTLSFiles(o.TLS, false, c.now); err != nil {
		return nil, err
	}
	if c.credentials, err = c.newCredentials(o.Auth, o.TLS); err != nil {
		return nil, err
	}
	c.sleep = sleep
	return c.WithConns(o.MaxConns), nil
}

// WithConns returns a Client of the same server with the same credentials, and
// with connections of its own. Two clients that logged in by themselves might end
// each other's tokens.
func (c *Client) WithConns(maxConns int) *Client {
	other := *c
	// Twice the body: chunks, TLS records and headers take their part.
	other.transport = newTransport(c.base, maxConns, 2*c.maxBody+1<<20, c.timeout, c.tls)
	return &other
}

// Close lets a request for tokens that is under way finish, so that none is lost, and
// closes the connections that are not in use.
func (c *Client) Close() {
	c.credentials.close()
	c.transport.CloseIdleConnections()
}

// parseBase says nothing of the URL in its errors: it may hold a password.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("FHIR_BASE_URL: not a URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		return nil, errors.New("FHIR_BASE_URL: must be absolute, http:// or https://")
	case u.User != nil:
		return nil, errors.New("FHIR_BASE_URL: must not hold a user name or password")
	case strings.ContainsAny(raw, "?#"):
		return nil, errors.New("FHIR_BASE_URL: must not hold a query or fragment")
	}
	return url.Parse(strings.TrimRight(raw, "/"))
}

// IsID reports whether FHIR allows a text as an id (R4 datatypes#id).
func IsID(id string) bool { return idPattern.MatchString(id) }

var idPattern = regexp.MustCompile(`^[A-Za-z0-9\-.]{1,64}$`)

// checkID refuses what FHIR (datatypes#id) calls no id, and "." and "..",
// which a URL path cannot carry: no such patient can exist.
func checkID(op, id string) error {
	if !IsID(id) || id == "." || id == ".." {
		return &Error{Kind: Gone, Op: op, Reason: "The id is not a FHIR id"}
	}
	return nil
}

// Read fetches the current version of a Patient, past all caches. A body that
// is only a part of the resource (SUBSETTED) is Unusable: to PUT it back would
// delete the rest. So is one of a server with versions whose version cannot be put
// into If-Match: the PUT would be unguarded.
func (c *Client) Read(ctx context.Context, id string) (Resource, error) {
	if err := checkID(OpRead, id); err != nil {
		return Resource{}, err
	}
	profile, err := c.Profile(ctx) // how else could the answer be understood?
	if err != nil {
		return Resource{}, err
	}
	a := c.exchange(ctx, request{op: OpRead, method: http.MethodGet, url: c.patientURL(id), want: "Patient", id: id})
	if err := a.failure(); err != nil {
		return Resource{}, err
	}
	if err := c.check(profile, a); err != nil {
		return Resource{}, err
	}
	r := profile.show(a.resource())
	if r.ETag == "" && profile.Versioning == VersionsAlways {
		return Resource{}, &Error{Kind: Unusable, Op: OpRead, Status: a.status, Reason: "The answer is unusable: " + errUnguarded.Error(), Err: errUnguarded}
	}
	return r, nil
}

// Update is what a server showed after a PUT.
type Update struct {
	Resource Resource // without JSON: the server said OK and did not show the patient
	Created  bool     // 201: there was no such patient, or a deleted one lives again
	Status   int      // 200, 201 or 204
}

// Update puts body, as Profile.Edit made it, with If-Match unless ifMatch is empty.
// The PUT leaves at most once: nothing is repeated once a byte of it was written.
func (c *Client) Update(ctx context.Context, id string, body []byte, ifMatch string) (Update, error) {
	if err := checkID(OpUpdate, id); err != nil {
		return Update{}, err
	}
	if int64(len(body)) > c.maxBody { // it could be written, and never read again
		return Update{}, &Error{Kind: NotSent, Op: OpUpdate, NotAsked: true,
			Reason: fmt.Sprintf("The patient would be longer than %d bytes", c.maxBody)}
	}
	a := c.exchange(ctx, request{
		op: OpUpdate, method: http.MethodPut, url: c.patientURL(id), want: "Patient", id: id, body: body, ifMatch: ifMatch,
	})
	var shown Resource
	if a.silent() {
		etag, _ := a.etag() // one that cannot be sent back is as none: the patient is read again
		shown = Resource{ID: id, ETag: etag}
	} else if err := a.failure(); err != nil {
		return Update{}, err
	} else if shown = a.resource(); a.header.Get("ETag") == "" && IsVersion(body, shown.ETag) {
		shown.ETag = "" // what was sent said the same: it may be an echo
	}
	shown = c.chooser.current().show(shown)
	return Update{Resource: shown, Created: a.status == http.StatusCreated, Status: a.status}, nil
}

func (c *Client) patientURL(id string) string { return c.base.String() + "/Patient/" + id }
