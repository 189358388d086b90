package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

var (
	testSecret = []byte("0123456789abcdef0123456789abcdef")
	testStart  = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	quiet      = slog.New(slog.NewTextHandler(io.Discard, nil))
)

// clock is a time that a test moves.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(testStart.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func newTestVerifier(t testing.TB, c Config) (*Verifier, *clock) {
	t.Helper()
	clock := newClock()
	c.Now = clock.now
	if c.Log == nil {
		c.Log = quiet
	}
	v, err := NewVerifier(t.Context(), c)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	return v, clock
}

// sign makes a token of any algorithm; kid is left out when empty.
func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	return s
}

// doctorClaims are valid for an hour.
func doctorClaims() jwt.MapClaims {
	return jwt.MapClaims{"sub": "dr-kim", "role": "doctor", "exp": testStart.Add(time.Hour).Unix()}
}

// expires is Viewer.Expires of a token with this exp.
func expires(exp int64) time.Time { return time.Unix(exp, 0).Add(leeway) }

func with(claims jwt.MapClaims, name string, value any) jwt.MapClaims {
	claims[name] = value
	return claims
}

// Making RSA keys is slow, so tests share them.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaOther = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaSmall = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newECKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

func newEdKey() ed25519.PrivateKey {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return must(private, err)
}

func jwk(t testing.TB, key crypto.Signer, meta jwkset.JWKMetadataOptions) jwkset.JWKMarshal {
	t.Helper()
	k, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: meta})
	if err != nil {
		t.Fatalf("make JWK: %v", err)
	}
	return k.Marshal()
}

// issuer is a real HTTP server that publishes keys and counts the requests.
type issuer struct {
	*httptest.Server
	body     atomic.Pointer[[]byte]
	status   atomic.Int64
	requests atomic.Int64
}

func newIssuer(t testing.TB, keys ...jwkset.JWKMarshal) *issuer {
	t.Helper()
	i := &issuer{}
	i.status.Store(http.StatusOK)
	i.publish(t, keys...)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.requests.Add(1)
		w.WriteHeader(int(i.status.Load()))
		_, _ = w.Write(*i.body.Load())
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(t testing.TB, keys ...jwkset.JWKMarshal) {
	t.Helper()
	if keys == nil {
		keys = []jwkset.JWKMarshal{}
	}
	body, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	i.body.Store(&body)
}

func verifyOK(t *testing.T, v *Verifier, token string) Viewer {
	t.Helper()
	viewer, err := v.Verify(context.Background(), token)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return viewer
}
