package fhir

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Auth says how to log in to the FHIR server.
type Auth struct {
	Mode string // none (or ""), bearer, basic, client_credentials, refresh_token, password

	Token     string // bearer
	TokenFile string // bearer: the file that holds it, read again when it changes
	Username  string // basic, password
	Password  string // basic, password

	// The OAuth modes.
	TokenURL     string // "": as the server's SMART configuration says
	ClientID     string
	ClientSecret string     // "": a public client, or one with a PrivateKey
	PrivateKey   string     // PEM or JWK, for private_key_jwt
	RefreshToken string     // refresh_token: the first one; those that follow are in the Store
	Scopes       string     // separated by blanks
	Store        TokenStore // refresh_token
}

// credentials make the Authorization of each request.
type credentials interface {
	// get returns its value, "" for none, other than the one that the FHIR server
	// refused; "" as well if there is no other.
	get(ctx context.Context, refused string) (string, *Error)
	// noteTaken takes in whether the server took the value that came after a refused one.
	noteTaken(value string, taken bool)
	// close waits for what must not be cut off.
	close()
}

func (c *Client) newCredentials(a Auth, files TLSFiles) (credentials, error) {
	if missing := a.missing(); len(missing) > 0 {
		return nil, fmt.Errorf("FHIR_AUTH=%s needs %s", a.Mode, strings.Join(missing, ", "))
	}
	switch a.Mode {
	case "", "none":
		return fixed(""), nil
	case "bearer":
		return newBearer(a, c.now)
	case "basic":
		if strings.Contains(a.Username, ":") {
			return nil, errors.New("FHIR_USERNAME: must not hold a colon")
		}
		return fixed("Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password))), nil
	case "client_credentials", "refresh_token", "password":
		return c.newTokens(a, files)
	}
	return nil, fmt.Errorf("FHIR_AUTH %q: not none, bearer, basic, client_credentials, refresh_token or password", a.Mode)
}

// authSetting is a setting of Auth.
type authSetting struct {
	name, value string
	modes       string // the values of FHIR_AUTH that use it
	needed      string // those of them that cannot log in without it
	or          string // or without this one in its place
}

func (a Auth) settings() []authSetting {
	const oauth = "client_credentials refresh_token password"
	return []authSetting{
		{"FHIR_TOKEN", a.Token, "bearer", "bearer", ""},
		{"FHIR_TOKEN_FILE", a.TokenFile, "bearer", "", ""},
		{"FHIR_TOKEN_URL", a.TokenURL, oauth, "", ""},
		{"FHIR_CLIENT_ID", a.ClientID, oauth, oauth, ""},
		{"FHIR_CLIENT_SECRET", a.ClientSecret, oauth, "client_credentials", "FHIR_PRIVATE_KEY"},
		{"FHIR_PRIVATE_KEY", a.PrivateKey, oauth, "", ""},
		{"FHIR_REFRESH_TOKEN", a.RefreshToken, "refresh_token", "refresh_token", ""},
		{"FHIR_SCOPES", a.Scopes, oauth, "", ""},
		{"FHIR_USERNAME", a.Username, "basic password", "basic password", ""},
		{"FHIR_PASSWORD", a.Password, "basic password", "basic password", ""},
	}
}

// missing names the settings without which the mode cannot log in.
func (a Auth) missing() (names []string) {
	given := map[string]bool{}
	for _, s := range a.settings() {
		given[s.name] = s.value != ""
	}
	for _, s := range a.settings() {
		switch {
		case given[s.name] || given[s.name+"_FILE"] || given[s.or] || !slices.Contains(strings.Fields(s.needed), a.Mode):
		case s.or != "":
			names = append(names, s.name+" or "+s.or)
		default:
			names = append(names, s.name)
		}
	}
	return names
}

// Unused says which settings are given in vain: the mode does not use them.
func (a Auth) Unused() (told []string) {
	for _, s := range a.settings() {
		if modes := strings.Fields(s.modes); s.value != "" && !slices.Contains(modes, a.Mode) {
			told = append(told, fmt.Sprintf("%s has no effect with FHIR_AUTH=%s: it is for FHIR_AUTH=%s", s.name, a.Mode, strings.Join(modes, " or ")))
		}
	}
	return told
}

// fixed stays as it is.
type fixed string

func (f fixed) get(_ context.Context, refused string) (string, *Error) {
	if refused != "" {
		return "", nil
	}
	return string(f), nil
}
func (fixed) noteTaken(string, bool) {}
func (fixed) close()                 {}

func newBearer(a Auth, now func() time.Time) (credentials, error) {
	if a.TokenFile == "" {
		if !isVisible(a.Token) {
			return nil, errors.New("FHIR_TOKEN: must be of printable ASCII without blanks")
		}
		return fixed("Bearer " + a.Token), nil
	}
	b := &bearerFile{name: a.TokenFile, now: now}
	if err := b.read(); err != nil {
		return nil, fmt.Errorf("FHIR_TOKEN_FILE: %w", err)
	}
	return b, nil
}

// Whoever renews a token file may be a moment late: from the first refusal of what it
// holds on, the next one is waited for so long.
const (
	fileGrace = 3 * time.Second
	filePoll  = 50 * time.Millisecond
)

// bearerFile is a token that somebody else renews.
type bearerFile struct {
	name string
	now  func() time.Time

	mu       sync.Mutex
	stamp    os.FileInfo // of the file as it was read
	token    string
	deniedAt time.Time // when the server first refused it; zero: it did not
	failure  error     // why the file cannot be used now; nil: it can
}

func (b *bearerFile) read() error {
	stamp, err := os.Stat(b.name)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(b.name)
	if err != nil {
		return err
	}
	token := strings.TrimSpace(string(withoutBOM(content)))
	if token == "" || !isVisible(token) {
		return errors.New("must hold one token, of printable ASCII without blanks")
	}
	if token != b.token {
		b.deniedAt = time.Time{}
	}
	b.stamp, b.token = stamp, token
	return nil
}

// get waits a moment for another token where the server refused the file's, at most
// for half of the time that is left: a refusal is to be told as one.
func (b *bearerFile) get(ctx context.Context, refused string) (string, *Error) {
	value, wait := b.look(refused)
	if deadline, bounded := ctx.Deadline(); wait && bounded {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	for wait {
		select {
		case <-ctx.Done():
			return "", b.unusable()
		case <-time.After(filePoll):
		}
		value, wait = b.look(refused)
	}
	if value == "" {
		return "", b.unusable()
	}
	return value, nil
}

// unusable says why there is no other token than the refused one, if the file is the
// reason. It repeats neither its content nor its name, which callers must not see.
func (b *bearerFile) unusable() *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var file *fs.PathError
	switch {
	case b.failure == nil:
		return nil
	case errors.As(b.failure, &file):
		return noToken(AuthFailed, "the token was refused, and FHIR_TOKEN_FILE cannot be read: %v", file.Err)
	}
	return noToken(AuthFailed, "the token was refused, and FHIR_TOKEN_FILE cannot be used: it %v", b.failure)
}

// look reads the file if it was replaced or the server refused what it held. While
// it cannot be read the token of before stays. wait: another one may come yet.
func (b *bearerFile) look(refused string) (value string, wait bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if stamp, err := os.Stat(b.name); err != nil || refused == "Bearer "+b.token || !sameFile(stamp, b.stamp) {
		b.failure = b.read()
	}
	if value := "Bearer " + b.token; value != refused {
		return value, false
	}
	if b.deniedAt.IsZero() {
		b.deniedAt = b.now()
	}
	return "", b.now().Sub(b.deniedAt) < fileGrace
}
func (*bearerFile) noteTaken(string, bool) {}
func (*bearerFile) close()                 {}

func (c *Client) newTokens(a Auth, files TLSFiles) (credentials, error) {
	if a.TokenURL != "" {
		if _, err := parseTokenURL(a.TokenURL); err != nil {
			return nil, fmt.Errorf("FHIR_TOKEN_URL %w", err)
		}
	}
	t := &tokens{timeout: c.timeout, now: c.now}
	e := &endpoint{auth: a, base: c.base, files: files, userAgent: c.userAgent, timeout: c.timeout, observer: c.observer, now: func() time.Time { return t.now() }}
	switch {
	case a.ClientSecret != "" && a.PrivateKey != "":
		return nil, errors.New("FHIR_CLIENT_SECRET and FHIR_PRIVATE_KEY exclude each other")
	case a.PrivateKey != "":
		var err error
		if e.key, err = newSigner(a.PrivateKey); err != nil {
			return nil, err
		}
	}
	switch a.Mode {
	case "client_credentials":
		t.fetch = e.fetch(url.Values{"grant_type": {"client_credentials"}})
	case "password":
		t.fetch = e.fetch(url.Values{
			"grant_type": {"password"}, "username": {a.Username}, "password": {a.Password},
			"user_role": {"users"}, // OpenEMR wants to know that it is no patient
			// OpenEMR keeps the session under the client_id of the body: without it the
			// token that it gives is refused as logged out.
			"client_id": {a.ClientID},
		})
	case "refresh_token":
		s, err := newShared(e, a.Store)
		if err != nil {
			return nil, err
		}
		t.fetch = s.fetch
	}
	return t, nil
}

// fetch asks for a token with the same grant each time.
func (e *endpoint) fetch(form url.Values) func(context.Context, string) (accessToken, *Error) {
	return func(ctx context.Context, _ string) (accessToken, *Error) { return e.grant(ctx, form) }
}

// isLoopback is auth.IsLoopback, which this package must not know.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
