package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"patientgraph/jsonlimit"
)

const (
	// refreshInterval is how long a key that left the JWK Set may still
	// count.
	refreshInterval = 5 * time.Minute
	// unknownKeyGap is the least time between two fetches that tokens with
	// an unknown key id can cause, so that they cannot flood the issuer.
	unknownKeyGap = 10 * time.Second
	fetchTimeout  = 5 * time.Second
	maxJWKS       = 1 << 20
	// A key has about ten values, and its certificates are one list in it.
	maxJWKSDepth  = 8
	maxJWKSValues = 4096
	// maxTried is how many keys at most are tried for a token that names none.
	maxTried = 16
	// minRSABits is the least key size for RS256 (RFC 7518 section 3.3). What
	// one signature costs to check grows with the square of the size, which
	// crypto/rsa of Go 1.26 does not bound; crypto/tls takes maxRSABits.
	minRSABits, maxRSABits = 2048, 8192
	// maxPassedOver is how many keys that cannot be used are logged one by one.
	maxPassedOver = 10
)

// keySet is one state of the issuer's keys. Its address identifies it: a fetch
// that brings the same bytes keeps the value.
type keySet struct {
	raw   []byte
	ids   map[string]bool
	count int // of keys: some may have no id
	keys  keyfunc.Keyfunc
}

// remoteKeys keeps the issuer's JWK Set current.
type remoteKeys struct {
	url     string
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger
	current atomic.Pointer[keySet]
	// fetching holds one element while a fetch runs; lastFetch belongs to
	// whoever put it there.
	fetching  chan struct{}
	lastFetch time.Time
}

// startRemoteKeys fetches the keys once, and then at every interval until ctx
// ends. While the issuer cannot be reached, or publishes no key that can be
// used, the last known keys count.
func startRemoteKeys(ctx context.Context, c Config, interval time.Duration) (*remoteKeys, error) {
	u, err := url.Parse(c.JWKSURL)
	if err != nil {
		return nil, errors.New("JWT_JWKS_URL is not a URL")
	}
	if err := checkURL(u); err != nil {
		return nil, fmt.Errorf("JWT_JWKS_URL: %w", err)
	}
	r := &remoteKeys{
		url: c.JWKSURL, now: c.Now, log: c.Log, fetching: make(chan struct{}, 1),
		client: &http.Client{Timeout: fetchTimeout, CheckRedirect: checkRedirect},
	}
	if err := r.refresh(ctx, 0); err != nil {
		return nil, fmt.Errorf("fetch keys from JWT_JWKS_URL: %w", err)
	}
	go r.refreshEvery(ctx, interval)
	return r, nil
}

func (r *remoteKeys) refreshEvery(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			err := r.refresh(ctx, 0)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				r.log.ErrorContext(ctx, "cannot refresh the keys of JWT_JWKS_URL; the known ones stay", "error", err)
			case failing:
				r.log.InfoContext(ctx, "the keys of JWT_JWKS_URL are refreshed again")
			}
			failing = err != nil
		}
	}
}

// find returns the key for the token, and the set it is from. A key id that is
// not known may be a new key of the issuer: the set is fetched again, unless
// that was done a moment ago.
func (r *remoteKeys) find(ctx context.Context, t *jwt.Token) (any, *keySet, error) {
	set := r.current.Load()
	id, named := t.Header[jwkset.HeaderKID].(string)
	if !named && set.count > maxTried {
		return nil, nil, fmt.Errorf("the token names none of %d keys", set.count)
	}
	if named && !set.ids[id] {
		if err := r.refresh(ctx, unknownKeyGap); err != nil && ctx.Err() == nil {
			r.log.ErrorContext(ctx, "cannot fetch the keys of JWT_JWKS_URL for an unknown key id", "error", err)
		}
		set = r.current.Load()
	}
	key, err := set.keys.Keyfunc(t)
	return key, set, err
}

// refresh fetches the keys if the last attempt is at least minAge ago. A call
// that finds another one under way waits for that one's result. The fetch goes
// on when ctx ends: a caller who hangs up must not use up the attempt.
func (r *remoteKeys) refresh(ctx context.Context, minAge time.Duration) error {
	select {
	case r.fetching <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.fetching }()
	if r.now().Sub(r.lastFetch) < minAge {
		return nil
	}
	defer func() { r.lastFetch = r.now() }()

	raw, err := r.fetch(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if old := r.current.Load(); old != nil && bytes.Equal(old.raw, raw) {
		return nil
	}
	set, err := r.parse(ctx, raw)
	if err != nil {
		return err
	}
	r.current.Store(set)
	return nil
}

func (r *remoteKeys) fetch(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered with status %d", response.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(raw) > maxJWKS {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxJWKS)
	}
	return raw, nil
}

// withoutURL drops what net/http puts into its errors: a URL may hold a secret.
func withoutURL(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	switch text := e.Err.Error(); { // these repeat one all the same
	case strings.Contains(text, "malformed"):
		return errors.New("the answer is not HTTP")
	case strings.Contains(text, "Location header"):
		return errors.New("the server redirects, and not to a URL")
	case strings.Contains(text, "invalid proxy address"):
		return errors.New("the proxy of the environment is no URL")
	}
	return e.Err
}

// parse reads a JWK Set. As RFC 7517 section 5 says, a key that cannot be used
// is passed over, so that one odd key does not shut everybody out. A set without
// any key that can be used is an error: it would shut everybody out too, and an
// issuer that withdraws a key publishes another one.
func (r *remoteKeys) parse(ctx context.Context, raw []byte) (*keySet, error) {
	if err := jsonlimit.Check(raw, maxJWKSDepth, maxJWKSValues); err != nil {
		return nil, fmt.Errorf("read the JWK Set: %w", err)
	}
	var set struct{ Keys *[]json.RawMessage }
	if err := json.Unmarshal(raw, &set); err != nil || set.Keys == nil {
		return nil, errors.New("the answer is not a JWK Set")
	}
	store := jwkset.NewMemoryStorage()
	found := &keySet{raw: raw, ids: map[string]bool{}}
	passedOver := 0
	for i, rawKey := range *set.Keys {
		key, err := parseKey(rawKey)
		if err != nil {
			if passedOver++; passedOver <= maxPassedOver {
				r.log.WarnContext(ctx, "key of JWT_JWKS_URL passed over", "index", i, "reason", err)
			}
			continue
		}
		if err := store.KeyWrite(ctx, key); err != nil {
			return nil, fmt.Errorf("store key: %w", err)
		}
		found.ids[key.Marshal().KID] = true
		found.count++
	}
	if passedOver > maxPassedOver {
		r.log.WarnContext(ctx, "more keys of JWT_JWKS_URL passed over", "keys", passedOver-maxPassedOver)
	}
	if found.count == 0 {
		return nil, errors.New("the JWK Set holds no RSA, EC or Ed25519 key to verify signatures with")
	}
	var err error
	if found.keys, err = keyfunc.New(keyfunc.Options{Storage: store}); err != nil {
		return nil, fmt.Errorf("use keys: %w", err)
	}
	return found, nil
}

func parseKey(raw []byte) (jwkset.JWK, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return jwkset.JWK{}, errors.New("not a JWK")
	}
	if m.USE != "" && m.USE != jwkset.UseSig {
		return jwkset.JWK{}, errors.New("not for signatures")
	}
	if m.KTY == jwkset.KtyOct {
		return jwkset.JWK{}, errors.New("a symmetric key")
	}
	// The keys are trusted because of where they come from; certificates
	// add nothing here, and x5u names another server.
	m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
	key, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwkset.JWK{}, err
	}
	switch public := key.Key().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return jwkset.JWK{}, fmt.Errorf("RSA key of %d bits", bits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default: // X25519: for key agreement
		return jwkset.JWK{}, errors.New("not for signatures")
	}
	return key, nil
}

// checkURL keeps the keys from being replaced on their way: https, or a server
// on this machine.
func checkURL(u *url.URL) error {
	if u.Hostname() == "" {
		return errors.New("the URL has no host")
	}
	if u.User != nil {
		return errors.New("must be a URL without user and password")
	}
	if u.Scheme == "https" || u.Scheme == "http" && IsLoopback(u.Hostname()) {
		return nil
	}
	return errors.New("must be https (http only to a loopback address)")
}

// IsLoopback reports whether a host, without port and brackets, is certainly this
// machine: no name but localhost is looked up.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > 3 {
		return errors.New("too many redirects")
	}
	return checkURL(request.URL)
}
