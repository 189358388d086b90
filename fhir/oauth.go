package fhir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// maxTokenAnswer bounds an answer of the authorization server. A token of that
// length would not fit into the head of a request anyway.
const maxTokenAnswer = 64 << 10

const smartConfiguration = "/.well-known/smart-configuration"

// accessToken is what a token endpoint issued.
type accessToken struct {
	Value     string
	Refresh   string    // the next refresh token; "": the one that was used stays
	Issued    time.Time // when it was asked for
	RenewFrom time.Time // a little before it runs out; zero: nobody said when
	Expires   time.Time
	Scope     string `json:",omitempty"` // what it allows; "": nobody said
}

// isOver reports whether it has run out at that time.
func (t accessToken) isOver(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// isFresh reports whether it need not be renewed yet.
func (t accessToken) isFresh(now time.Time) bool {
	return t.Value != "" && (t.RenewFrom.IsZero() || now.Before(t.RenewFrom))
}

// endpoint asks an authorization server for tokens (RFC 6749). One request is
// under way at a time (see tokens). golang.org/x/oauth2 (v0.38.0) is not used: it
// finds out the way of authentication by asking twice, reads forms and repeats
// bodies in its errors.
type endpoint struct {
	auth      Auth
	key       *signer // nil: with the secret, or as a public client
	base      *url.URL
	files     TLSFiles
	userAgent string
	timeout   time.Duration
	observer  Observer // nil: none
	now       func() time.Time

	url       *url.URL // of the token endpoint; nil: not known yet
	transport *http.Transport
	inBody    bool // the secret is sent in the body, not as HTTP Basic
}

// noToken is told where no token could be had: nothing of the request has left.
func noToken(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, NotAsked: true, Reason: "No access to the FHIR server: " + fmt.Sprintf(format, args...)}
}

// invalidClient is the error after which the other way of sending the secret is
// tried: the grant was not looked at.
const invalidClient = "invalid_client"

// grant asks for a token. What it was asked with is used up only if it succeeds.
func (e *endpoint) grant(ctx context.Context, form url.Values) (t accessToken, err *Error) {
	if e.observer != nil {
		began := time.Now()
		defer func() {
			result := ResultOK
			if err != nil {
				result = err.Kind.String()
			}
			e.observer(InteractionToken, result, time.Since(began))
		}()
	}
	if err := e.find(ctx); err != nil {
		return accessToken{}, err
	}
	t, code, err := e.ask(ctx, form)
	if code == invalidClient && e.key == nil && e.auth.ClientSecret != "" {
		e.inBody = !e.inBody
		t, _, err = e.ask(ctx, form)
		if err != nil {
			e.inBody = !e.inBody
		}
	}
	return t, err
}

// ask also returns the error code of OAuth, if the server refused with one.
func (e *endpoint) ask(ctx context.Context, form url.Values) (accessToken, string, *Error) {
	began := e.now()
	body, header, err := e.authenticate(form)
	if err != nil {
		return accessToken{}, "", err
	}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := e.roundTrip(ctx, e.transport, http.MethodPost, e.url, header, body)
	if err != nil {
		return accessToken{}, "", err
	}
	if (got.status == http.StatusOK || got.status == http.StatusCreated) && got.errorCode() == "" {
		t, why := parseToken(got.body, began)
		if why != "" {
			return accessToken{}, "", noToken(NotSent, "the answer of the token endpoint is unusable: %s", why)
		}
		return t, "", nil
	}
	code, err := got.refusal(e.now())
	if e.auth.Mode == "refresh_token" && (err.Kind == AuthFailed || got.status == http.StatusBadRequest) { // the session may have ended
		err.Reason += "; if it goes on, log in again and set a new FHIR_REFRESH_TOKEN"
	}
	return accessToken{}, code, err
}

// authenticate adds who we are to a form: by assertion, secret or name alone.
func (e *endpoint) authenticate(form url.Values) (string, http.Header, *Error) {
	body, header := url.Values{}, http.Header{}
	for name, values := range form {
		body[name] = values
	}
	if e.auth.Scopes != "" {
		body.Set("scope", e.auth.Scopes)
	}
	switch {
	case e.key != nil:
		assertion, err := e.key.assertion(e.auth.ClientID, e.url.String(), e.now())
		if err != nil {
			return "", nil, noToken(NotSent, "FHIR_PRIVATE_KEY cannot sign")
		}
		body.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		body.Set("client_assertion", assertion)
		body.Set("client_id", e.auth.ClientID)
	case e.auth.ClientSecret != "" && !e.inBody:
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(e.auth.ClientID), url.QueryEscape(e.auth.ClientSecret)) // RFC 6749 section 2.3.1
	default:
		body.Set("client_id", e.auth.ClientID)
		if e.auth.ClientSecret != "" {
			body.Set("client_secret", e.auth.ClientSecret)
		}
	}
	return body.Encode(), header, nil
}

// find asks the FHIR server for its token endpoint, unless it was told.
func (e *endpoint) find(ctx context.Context) *Error {
	if e.url != nil {
		return nil
	}
	if e.auth.TokenURL != "" {
		u, err := parseTokenURL(e.auth.TokenURL)
		if err != nil {
			return noToken(NotSent, "FHIR_TOKEN_URL %v", err)
		}
		return e.use(u)
	}
	transport, err := e.transportTo(e.base)
	if err != nil {
		return err
	}
	at := *e.base
	at.Path, at.RawPath = strings.TrimRight(at.Path, "/")+smartConfiguration, ""
	got, err := e.roundTrip(ctx, transport, http.MethodGet, &at, http.Header{}, "")
	if err != nil {
		return err
	}
	address := ""
	if doc, failed := parseBounded(got.body); got.status == http.StatusOK && failed == nil {
		address = str(doc, "token_endpoint")
		for _, way := range elements(member(doc, "token_endpoint_auth_methods_supported")) {
			e.inBody = e.inBody || way.String() == "client_secret_post"
			if way.String() == "client_secret_basic" {
				e.inBody = false
				break
			}
		}
	}
	u, failed := parseTokenURL(address)
	if failed != nil {
		return noToken(NotSent, "%s of the FHIR server names no token endpoint (status %d); set FHIR_TOKEN_URL", smartConfiguration, got.status)
	}
	return e.use(u)
}

// use sets the endpoint.
func (e *endpoint) use(u *url.URL) *Error {
	transport, err := e.transportTo(u)
	if err != nil {
		return err
	}
	e.url, e.transport = u, transport
	return nil
}

// transportTo returns the way to a host. To the FHIR server's the TLS files are used
// as there; elsewhere the system's authorities are trusted too, and no client
// certificate is shown.
func (e *endpoint) transportTo(u *url.URL) (*http.Transport, *Error) {
	elsewhere := !strings.EqualFold(u.Hostname(), e.base.Hostname())
	files, err := newTLSFiles(e.files, elsewhere, e.now)
	if err != nil {
		return nil, noToken(NotSent, "%v", err)
	}
	const conns = 2 // one may still be dialing for a request that was given up
	transport := newTransport(u, conns, 2*maxTokenAnswer+1<<20, e.timeout, files)
	transport.DisableKeepAlives = true
	return transport, nil
}

// parseTokenURL says nothing of the URL in its errors.
func parseTokenURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.Fragment != "":
		return nil, errors.New("must be an http(s) URL without user, password and fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("must be https: secrets are sent to it")
	}
	return u, nil
}

// tokenAnswer is a whole answer of the authorization server.
type tokenAnswer struct {
	status int
	header http.Header
	body   []byte
}

// roundTrip sends one request and reads the whole answer. No redirect is followed:
// the secrets go to the endpoint alone.
func (e *endpoint) roundTrip(ctx context.Context, transport *http.Transport, method string, u *url.URL, header http.Header, body string) (tokenAnswer, *Error) {
	var w wire
	req, err := http.NewRequestWithContext(w.trace(ctx), method, u.String(), strings.NewReader(body))
	if err != nil {
		return tokenAnswer{}, noToken(NotSent, "the token endpoint cannot be asked")
	}
	header.Set("Accept", "application/json")
	header.Set("User-Agent", e.userAgent)
	req.Header = header
	res, err := transport.RoundTrip(req)
	if err != nil {
		return tokenAnswer{}, e.unreachable(w.explain(err), w.handshakeFailed())
	}
	defer res.Body.Close()
	a := tokenAnswer{status: res.StatusCode, header: res.Header}
	if a.status < http.StatusOK {
		return a, noToken(NotSent, "the authorization server answered with status %d", a.status)
	}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxTokenAnswer+1))
	if err != nil && a.status < 300 {
		return a, e.unreachable(err, false)
	}
	return a, nil
}

func (e *endpoint) unreachable(err error, tlsFailure bool) *Error {
	reason, timeout, why := cause(err, tlsFailure)
	failed := noToken(NotSent, "the authorization server cannot be asked: %s", reason)
	failed.Timeout, failed.Cause, failed.Err = timeout, why, err
	return failed
}

// oauthErrors are the codes that may be repeated (RFC 6749 section 5.2, RFC 7523);
// OpenEMR writes "invalid _request". Other words of the server are not.
var oauthErrors = setOf(`invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope
	access_denied invalid_token`)

// errorCode is the error that the answer names, if we know it. Some servers name one
// with 200.
func (a tokenAnswer) errorCode() string {
	doc, err := parseBounded(a.body)
	if err != nil {
		return ""
	}
	if code := strings.ReplaceAll(str(doc, "error"), " ", ""); oauthErrors[code] {
		return code
	}
	return ""
}

// refusal tells a server that refused us from one that failed.
func (a tokenAnswer) refusal(now time.Time) (code string, e *Error) {
	code = a.errorCode()
	known := code != ""
	switch s := a.status; {
	case s < 300 && known, s == http.StatusBadRequest && known, s == http.StatusForbidden, s == http.StatusUnauthorized:
		said := fmt.Sprintf("status %d", s)
		if known {
			said = code
		}
		e = noToken(AuthFailed, "the authorization server refused our credentials (%s)%s", said, a.skew(now))
	case s < 300:
		e = noToken(NotSent, "the authorization server answered with status %d", s)
	case s < 400:
		e = noToken(NotSent, "the authorization server answered with a redirect, which is not followed (status %d); check FHIR_TOKEN_URL", s)
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		e = noToken(NotSent, "the authorization server knows no token endpoint there (status %d); check FHIR_TOKEN_URL", s)
	default:
		e = noToken(NotSent, "the authorization server failed (status %d)%s", s, a.skew(now))
		e.RetryAfter = retryAfter(a.header.Get("Retry-After"), now)
	}
	return code, e
}

// skew says so where the clocks differ by more than an assertion bears.
func (a tokenAnswer) skew(now time.Time) string {
	theirs, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return ""
	}
	if d := now.Sub(theirs).Round(time.Second); d.Abs() > time.Minute {
		return fmt.Sprintf("; our clock differs from the server's by %v", d)
	}
	return ""
}

// parseBounded reads what is one JSON object of modest size.
func parseBounded(body []byte) (gjson.Result, error) {
	if len(body) > maxTokenAnswer {
		return gjson.Result{}, fmt.Errorf("longer than %d bytes", maxTokenAnswer)
	}
	if err := jsonlimit.Check(body, maxDepth, 1000); err != nil {
		return gjson.Result{}, err
	}
	return parseObject(body)
}

// parseToken reads a token answer (RFC 6749 section 5.1). why is what is wrong
// with it; nothing of it is repeated.
func parseToken(body []byte, began time.Time) (t accessToken, why string) {
	doc, err := parseBounded(body)
	if err != nil {
		return t, err.Error()
	}
	t = accessToken{Value: str(doc, "access_token"), Refresh: str(doc, "refresh_token"), Issued: began, Scope: tidy(str(doc, "scope"))}
	kind := member(doc, "token_type")
	switch {
	case t.Value == "":
		return t, "it has no access_token"
	case !isVisible(t.Value), t.Refresh != "" && !isVisible(t.Refresh):
		return t, "a token in it has characters that a header cannot carry"
	case kind.Exists() && !strings.EqualFold(kind.String(), "Bearer"):
		return t, "its token_type is not Bearer"
	}
	if life := lifetime(member(doc, "expires_in")); life > 0 {
		t.Expires = began.Add(life)
		t.RenewFrom = t.Expires.Add(-min(life/5, time.Minute))
	}
	return t, ""
}

// isVisible reports whether a text is of printable ASCII without blanks.
func isVisible(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// lifetime reads expires_in: seconds, which some servers write as a string. 0 is
// not said.
func lifetime(v gjson.Result) time.Duration {
	const most = 365 * 24 * 3600
	seconds := v.Num
	if v.Type == gjson.String {
		seconds, _ = strconv.ParseFloat(strings.TrimSpace(v.Str), 64)
	}
	if math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	return time.Duration(min(seconds, most) * float64(time.Second))
}
