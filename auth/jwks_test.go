package auth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

func jwkMeta(kid string) jwkset.JWKMetadataOptions {
	return jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}
}

func TestJWKSAlgorithms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method jwt.SigningMethod
		key    crypto.Signer
	}{
		{jwt.SigningMethodRS256, rsaKey()},
		{jwt.SigningMethodRS384, rsaKey()},
		{jwt.SigningMethodRS512, rsaKey()},
		{jwt.SigningMethodES256, newECKey(elliptic.P256())},
		{jwt.SigningMethodES384, newECKey(elliptic.P384())},
		{jwt.SigningMethodES512, newECKey(elliptic.P521())},
		{jwt.SigningMethodEdDSA, newEdKey()},
	}
	for _, tt := range tests {
		t.Run(tt.method.Alg(), func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t, jwk(t, newEdKey(), jwkMeta("other")), jwk(t, tt.key, jwkMeta("k")))
			v, _ := newTestVerifier(t, Config{JWKSURL: i.URL})
			want := Viewer{Subject: "dr-kim", Role: RoleDoctor, Expires: expires(testStart.Add(time.Hour).Unix())}
			want.actor = want.Actor()
			for _, kid := range []string{"k", ""} { // without a kid every key is tried
				if got := verifyOK(t, v, sign(t, tt.method, tt.key, kid, doctorClaims())); !reflect.DeepEqual(got, want) {
					t.Errorf("kid %q: Verify = %+v, want %+v", kid, got, want)
				}
			}
			if _, err := v.Verify(t.Context(), sign(t, tt.method, tt.key, "other", doctorClaims())); !errors.Is(err, ErrInvalidToken) {
				t.Errorf("a token that names another key: %v, want ErrInvalidToken", err)
			}
		})
	}
}

// TestAlgorithmConfusion signs with HMAC and what everybody knows: the public
// key, in the forms that vulnerable servers have used as the HMAC secret.
func TestAlgorithmConfusion(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, jwk(t, rsaKey(), jwkMeta("k")))
	v, _ := newTestVerifier(t, Config{JWKSURL: i.URL})
	der, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"HS256 with PEM":     sign(t, jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "k", doctorClaims()),
		"HS256 with DER":     sign(t, jwt.SigningMethodHS256, der, "k", doctorClaims()),
		"HS256 with modulus": sign(t, jwt.SigningMethodHS256, rsaKey().N.Bytes(), "k", doctorClaims()),
		"none":               sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "k", doctorClaims()),
		"PS256":              sign(t, jwt.SigningMethodPS256, rsaKey(), "k", doctorClaims()),
		"key of a stranger":  sign(t, jwt.SigningMethodRS256, rsaOther(), "k", doctorClaims()),
	} {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%s: Verify error = %v, want ErrInvalidToken", name, err)
		}
	}
}

func TestKeysPassedOver(t *testing.T) {
	t.Parallel()
	symmetric := jwkset.JWKMarshal{KTY: jwkset.KtyOct, KID: "oct", K: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}
	good, signer := newEdKey(), newECKey(elliptic.P256())
	wrongAlg := jwkset.JWKMetadataOptions{KID: "alg", ALG: jwkset.AlgES384}
	i := newIssuer(t,
		symmetric,
		jwkset.JWKMarshal{KTY: "XYZ", KID: "odd"},
		jwk(t, rsaSmall(), jwkMeta("small")),
		jwk(t, rsaKey(), jwkset.JWKMetadataOptions{KID: "enc", USE: jwkset.UseEnc}),
		jwk(t, signer, wrongAlg),
		jwk(t, good, jwkMeta("good")),
	)
	var logged locked.Buffer
	v, _ := newTestVerifier(t, Config{JWKSURL: i.URL, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	verifyOK(t, v, sign(t, jwt.SigningMethodEdDSA, good, "good", doctorClaims()))
	for name, token := range map[string]string{
		"symmetric":           sign(t, jwt.SigningMethodHS256, testSecret, "oct", doctorClaims()),
		"for encryption":      sign(t, jwt.SigningMethodRS256, rsaKey(), "enc", doctorClaims()),
		"encryption, no kid":  sign(t, jwt.SigningMethodRS256, rsaKey(), "", doctorClaims()),
		"alg other than said": sign(t, jwt.SigningMethodES256, signer, "alg", doctorClaims()),
	} {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%s: Verify error = %v, want ErrInvalidToken", name, err)
		}
	}
	for _, reason := range []string{"a symmetric key", "RSA key of 1024 bits", "not for signatures"} {
		if !strings.Contains(logged.String(), reason) {
			t.Errorf("the log does not say %q:\n%s", reason, logged.String())
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	first, second := newEdKey(), newECKey(elliptic.P256())
	i := newIssuer(t, jwk(t, first, jwkMeta("1")))
	v, clock := newTestVerifier(t, Config{JWKSURL: i.URL})
	clock.advance(time.Minute)
	oldToken := sign(t, jwt.SigningMethodEdDSA, first, "1", doctorClaims())
	newToken := sign(t, jwt.SigningMethodES256, second, "2", doctorClaims())
	verifyOK(t, v, oldToken)

	i.publish(t, jwk(t, first, jwkMeta("1")), jwk(t, second, jwkMeta("2")))
	verifyOK(t, v, newToken) // its key id was unknown: fetched at once
	verifyOK(t, v, oldToken)

	i.publish(t, jwk(t, second, jwkMeta("2")))
	verifyOK(t, v, oldToken)
	if err := v.remote.refresh(t.Context(), 0); err != nil { // as the ticker does
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), oldToken); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("a cached token whose key was removed: %v, want ErrInvalidToken", err)
	}
	verifyOK(t, v, newToken)
}

func TestKeysAreRefreshedAtTheInterval(t *testing.T) {
	t.Parallel()
	key := newEdKey()
	i := newIssuer(t, jwk(t, key, jwkMeta("1")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := startRemoteKeys(ctx, Config{JWKSURL: i.URL, Now: time.Now, Log: quiet}, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	i.publish(t, jwk(t, newEdKey(), jwkMeta("2"))) // the first was withdrawn
	wait.Until(t, "the key is gone that was withdrawn", func() bool { return !r.current.Load().ids["1"] })
}

func TestUnknownKeyIDsDoNotFloodTheIssuer(t *testing.T) {
	t.Parallel()
	key := newEdKey()
	i := newIssuer(t, jwk(t, key, jwkMeta("1")))
	v, clock := newTestVerifier(t, Config{JWKSURL: i.URL})
	flood := func() {
		var wg sync.WaitGroup
		for _, kid := range strings.Split("abcdefghijklmnop", "") {
			token := sign(t, jwt.SigningMethodEdDSA, key, kid, doctorClaims())
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) {
					t.Errorf("kid %q: %v, want ErrInvalidToken", kid, err)
				}
			})
		}
		wg.Wait()
	}
	flood()
	if n := i.requests.Load(); n != 1 {
		t.Errorf("%d requests right after the start, want the first alone", n)
	}
	clock.advance(unknownKeyGap)
	flood()
	if n := i.requests.Load(); n != 2 {
		t.Errorf("%d requests, want one more", n)
	}
}

// rotated is a verifier that knows its issuer's first key; the second, 2, has taken
// its place a minute later.
func rotated(t *testing.T) (*Verifier, *issuer, ed25519.PrivateKey) {
	t.Helper()
	key := newEdKey()
	i := newIssuer(t, jwk(t, newEdKey(), jwkMeta("1")))
	v, clock := newTestVerifier(t, Config{JWKSURL: i.URL})
	clock.advance(time.Minute)
	i.publish(t, jwk(t, key, jwkMeta("2")))
	return v, i, key
}

// TestConcurrentRequestsAfterRotation: all callers that meet the new key while
// it is being fetched wait for that one fetch and succeed.
func TestConcurrentRequestsAfterRotation(t *testing.T) {
	t.Parallel()
	v, i, key := rotated(t)
	var wg sync.WaitGroup
	for n := range 16 {
		token := sign(t, jwt.SigningMethodEdDSA, key, "2", with(doctorClaims(), "n", n))
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("Verify: %v", err)
			}
		})
	}
	wg.Wait()
	if n := i.requests.Load(); n != 2 {
		t.Errorf("%d requests, want the first and one more", n)
	}
}

func TestCallerWhoHangsUpDoesNotUseUpTheFetch(t *testing.T) {
	t.Parallel()
	v, _, key := rotated(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	token := sign(t, jwt.SigningMethodEdDSA, key, "2", doctorClaims())
	_, _ = v.Verify(gone, token) // may succeed or not: nobody reads the answer
	verifyOK(t, v, token)
}

func TestIssuerDownAtStart(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	tests := []struct {
		name  string
		spoil func()
		want  string
	}{
		{"no keys", func() {}, "holds no RSA, EC or Ed25519 key"},
		{"error", func() { i.status.Store(http.StatusServiceUnavailable) }, "503"},
		{"not JSON", func() {
			i.status.Store(http.StatusOK)
			page := []byte("<html>")
			i.body.Store(&page)
		}, "not a JWK Set"},
		{"other JSON", func() { other := []byte(`{"jwks_uri":"x"}`); i.body.Store(&other) }, "not a JWK Set"},
		{"endless", func() { long := make([]byte, maxJWKS+1); i.body.Store(&long) }, "longer than"},
		{"unreachable", func() { i.Close() }, "connection refused"},
	}
	for _, tt := range tests { // in order: they share the server
		tt.spoil()
		_, err := NewVerifier(t.Context(), Config{JWKSURL: i.URL, Log: quiet})
		if err == nil || !strings.Contains(err.Error(), "JWT_JWKS_URL") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: NewVerifier error = %v, want JWT_JWKS_URL and %q", tt.name, err, tt.want)
		}
	}
}

func TestKnownKeysStayWhileIssuerIsDown(t *testing.T) {
	t.Parallel()
	key := newEdKey()
	i := newIssuer(t, jwk(t, key, jwkMeta("1")))
	var logged locked.Buffer
	v, clock := newTestVerifier(t, Config{JWKSURL: i.URL, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	i.status.Store(http.StatusBadGateway)
	clock.advance(time.Minute)
	if err := v.remote.refresh(t.Context(), 0); err == nil {
		t.Error("refresh succeeded although the issuer is down")
	}
	verifyOK(t, v, sign(t, jwt.SigningMethodEdDSA, key, "1", doctorClaims()))
	clock.advance(time.Minute)
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, key, "9", doctorClaims())); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("unknown key id: %v, want ErrInvalidToken", err)
	}
	if !strings.Contains(logged.String(), "502") {
		t.Errorf("the failed fetch is not in the log:\n%s", logged.String())
	}
}

func TestRedirectToPlainHTTPIsRefused(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.RedirectHandler("http://issuer.example/keys", http.StatusFound))
	t.Cleanup(s.Close)
	_, err := NewVerifier(t.Context(), Config{JWKSURL: s.URL, Log: quiet})
	if err == nil || !strings.Contains(err.Error(), "must be https") {
		t.Errorf("NewVerifier error = %v, want a refusal of the redirect", err)
	}
}

// A URL may hold a secret, and net/http repeats it in its errors.
func TestErrorsHoldNothingOfTheURL(t *testing.T) {
	t.Parallel()
	const secret = "hunter3"
	i := newIssuer(t, jwk(t, newEdKey(), jwkMeta("1")))
	var logged locked.Buffer
	v, _ := newTestVerifier(t, Config{JWKSURL: i.URL + "/jwks?sig=" + secret, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	i.Close()
	err := v.remote.refresh(t.Context(), 0)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), secret) {
		t.Errorf("the issuer is gone: %v", err)
	}
	_, _ = v.Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, newEdKey(), "9", doctorClaims()))
	if strings.Contains(logged.String(), secret) {
		t.Errorf("logged: %s", logged.String())
	}
	for location, says := range map[string]string{
		"http://issuer.example/keys?sig=" + secret:         "must be https",
		"https://u:" + secret + "@issuer.example/keys":     "without user and password",
		"http://[::1/keys?sig=" + secret:                   "not to a URL",
		"/keys\x7f?sig=" + secret:                          "not HTTP",
		"https://127.0.0.1:1/keys?sig=" + secret + "#here": "connection refused",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}))
		_, err := NewVerifier(t.Context(), Config{JWKSURL: s.URL + "/?sig=" + secret, Log: quiet})
		s.Close()
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", location, err)
		}
	}
	for _, u := range []string{"https://u:" + secret + "@issuer.example/jwks", "http://" + secret + "@127.0.0.1/jwks", "https://issuer.example/%zz?sig=" + secret} {
		if _, err := NewVerifier(t.Context(), Config{JWKSURL: u, Log: quiet}); err == nil || !strings.Contains(err.Error(), "JWT_JWKS_URL") || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	}
}
