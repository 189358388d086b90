package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// leeway is how far the issuer's clock may differ from ours.
	leeway = 30 * time.Second
	// minSecret is the least key size for HS256 (RFC 7518 section 3.2).
	minSecret = 32
	// maxToken bounds what is parsed; tokens with long lists of groups stay
	// well below it.
	maxToken = 16 << 10
	// maxPatients is how many patients the claim of one token may name.
	maxPatients = 100
	// cacheSize and cacheFor bound the memory of verified tokens, and so does
	// maxCached, of the texts of one viewer: usual ones have 100 bytes.
	cacheSize = 4096
	cacheFor  = 5 * time.Minute
	maxCached = 1 << 10
)

// ErrInvalidToken is what every refused token matches. The message around it
// gives a reason such as "expired", and never any part of the token.
var ErrInvalidToken = errors.New("invalid token")

// What a client is told of a refused token, by PublicReason; of all else it only
// hears that the token is invalid.
var (
	errExpired         = fmt.Errorf("%w: expired", ErrInvalidToken)
	errTooLong         = fmt.Errorf("%w: too long", ErrInvalidToken)
	errPatientClaim    = fmt.Errorf("%w: the patient claim is no text and no list of texts", ErrInvalidToken)
	errTooManyPatients = fmt.Errorf("%w: too many patients", ErrInvalidToken)
)

// Config says which tokens to trust and how to read them.
type Config struct {
	// Secret is the HS256 key, at least 32 bytes. Exactly one of Secret and
	// JWKSURL is set.
	Secret []byte
	// JWKSURL is where the issuer publishes its public keys. It is https,
	// or http to a loopback address.
	JWKSURL string
	// Issuer and Audience are checked when set; aud may be an array that
	// holds Audience.
	Issuer, Audience string
	// RoleClaim ("role" if empty) and PatientClaim ("patient_id" if empty)
	// name the claims; a dotted path goes into nested objects
	// (realm_access.roles). A role claim that is an array counts as the
	// first role in it that is known.
	RoleClaim, PatientClaim string
	// FHIRPatientClaim says that PatientClaim holds FHIR ids, as SMART's patient
	// does, and not patient numbers.
	FHIRPatientClaim bool
	Now              func() time.Time // time.Now if nil
	Log              *slog.Logger     // slog.Default() if nil
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	config Config
	parser *jwt.Parser
	remote *remoteKeys // nil with a secret
	cache  *lru.Cache[[sha256.Size]byte, cached]
}

// cached is a token that was found valid. It counts until the time given, and
// only while the keys are still those it was verified with.
type cached struct {
	viewer Viewer
	until  time.Time
	keys   *keySet
}

// NewVerifier checks the configuration and, with a JWKSURL, fetches the keys:
// it fails if that cannot be done, so that a server does not start that could
// let nobody in. The keys are fetched again every five minutes until ctx ends.
// Errors name the setting (JWT_SECRET, JWT_JWKS_URL) to look at.
func NewVerifier(ctx context.Context, c Config) (*Verifier, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if (len(c.Secret) == 0) == (c.JWKSURL == "") {
		return nil, errors.New("set exactly one of JWT_SECRET and JWT_JWKS_URL")
	}
	cache, err := lru.New[[sha256.Size]byte, cached](cacheSize)
	if err != nil {
		return nil, fmt.Errorf("make token cache: %w", err)
	}
	v := &Verifier{config: c, cache: cache}
	methods := []string{"HS256"}
	if c.JWKSURL == "" {
		err = checkSecret(c.Secret)
	} else {
		methods = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}
		v.remote, err = startRemoteKeys(ctx, c, refreshInterval)
	}
	if err != nil {
		return nil, err
	}
	v.parser = jwt.NewParser(v.parserOptions(methods)...)
	return v, nil
}

func (v *Verifier) parserOptions(methods []string) []jwt.ParserOption {
	options := []jwt.ParserOption{
		// Without this list a token signed by HMAC with a public key, or
		// with alg "none", could pass (RFC 8725 section 2.1).
		jwt.WithValidMethods(methods),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(v.config.Now),
		jwt.WithStrictDecoding(),
	}
	if v.config.Issuer != "" {
		options = append(options, jwt.WithIssuer(v.config.Issuer))
	}
	if v.config.Audience != "" {
		options = append(options, jwt.WithAudience(v.config.Audience))
	}
	return options
}

func checkSecret(secret []byte) error {
	if len(secret) < minSecret {
		return fmt.Errorf("JWT_SECRET has %d bytes; HS256 needs at least %d", len(secret), minSecret)
	}
	return nil
}

// Verify returns the viewer that a valid token stands for; a role that is not
// known is no error, that viewer may do nothing. Any error matches
// ErrInvalidToken. A valid token is remembered until it expires, at most for
// five minutes and never beyond the removal of its key; one with a viewer whose
// texts are unusually long is verified each time.
func (v *Verifier) Verify(ctx context.Context, token string) (Viewer, error) {
	if len(token) > maxToken {
		return Viewer{}, errTooLong
	}
	id := sha256.Sum256([]byte(token))
	if hit, ok := v.cache.Get(id); ok {
		if v.config.Now().Before(hit.until) && hit.keys == v.currentKeys() {
			return hit.viewer, nil
		}
		v.cache.Remove(id)
	}
	verified, err := v.verify(ctx, token)
	if err != nil {
		return Viewer{}, err
	}
	if u := verified.viewer; len(u.Subject)+len(u.Role)+len(strings.Join(u.PatientClaim, "")) <= maxCached {
		v.cache.Add(id, verified)
	}
	return verified.viewer, nil
}

// currentKeys is nil with a secret, which never changes.
func (v *Verifier) currentKeys() *keySet {
	if v.remote == nil {
		return nil
	}
	return v.remote.current.Load()
}

func (v *Verifier) verify(ctx context.Context, token string) (cached, error) {
	var keys *keySet
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		// No critical extension is understood here, so RFC 7515 section
		// 4.1.11 says to refuse; the library does not look.
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("critical extension")
		}
		if v.remote == nil {
			return v.config.Secret, nil
		}
		var key any
		var err error
		key, keys, err = v.remote.find(ctx, t)
		return key, err
	})
	if err != nil {
		return cached{}, refusal(err)
	}
	viewer, err := v.config.viewer(claims)
	if err != nil {
		return cached{}, err
	}
	expiry, err := claims.GetExpirationTime()
	if err != nil || expiry == nil { // the parser has seen to it
		return cached{}, fmt.Errorf("%w: exp is missing", ErrInvalidToken)
	}
	viewer.Expires, viewer.actor = expiry.Add(leeway), viewer.Actor()
	until := v.config.Now().Add(cacheFor)
	if expiry.Before(until) {
		until = expiry.Time
	}
	return cached{viewer: viewer, until: until, keys: keys}, nil
}

// refusal replaces an error of the JWT library, whose text may quote the
// token, by a short reason.
func refusal(err error) error {
	if errors.Is(err, jwt.ErrTokenExpired) {
		return errExpired
	}
	reasons := []struct {
		is     error
		reason string
	}{
		{jwt.ErrTokenMalformed, "malformed"},
		{jwt.ErrTokenSignatureInvalid, "wrong signature or algorithm"},
		{jwt.ErrTokenNotValidYet, "not valid yet"},
		{jwt.ErrTokenInvalidIssuer, "wrong issuer"},
		{jwt.ErrTokenInvalidAudience, "wrong audience"},
		{jwt.ErrTokenRequiredClaimMissing, "exp, iss or aud is missing"},
		{jwt.ErrTokenUnverifiable, "no key for it"},
	}
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return fmt.Errorf("%w: %s", ErrInvalidToken, r.reason)
		}
	}
	return fmt.Errorf("%w: wrong claims", ErrInvalidToken)
}
