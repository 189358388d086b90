package auth

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"patientgraph/internal/locked"
)

// answer has the issuer answer with this text.
func (i *issuer) answer(text string) {
	body := []byte(text)
	i.body.Store(&body)
}

// TestKeysStayWhenTheNewSetIsUnusable: whatever the issuer answers, who could
// log in still can, and the operator is told.
func TestKeysStayWhenTheNewSetIsUnusable(t *testing.T) {
	t.Parallel()
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519 := fmt.Sprintf(`{"kty":"OKP","crv":"X25519","kid":"x","x":%q}`, base64.RawURLEncoding.EncodeToString(agreement.PublicKey().Bytes()))
	huge := fmt.Sprintf(`{"kty":"RSA","kid":"h","e":"AQAB","n":%q}`, base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 100_000))))
	for name, text := range map[string]string{
		"no keys":           `{"keys":[]}`,
		"null":              `{"keys":null}`,
		"none usable":       `{"keys":[{"kty":"oct","k":"MDEyMw"},{"kty":"XYZ"},{},null,7]}`,
		"key agreement":     `{"keys":[` + x25519 + `]}`,
		"a huge RSA key":    `{"keys":[` + huge + `]}`,
		"empty":             ``,
		"no JWK Set":        `{"error":"try later"}`,
		"nested":            strings.Repeat("[", maxJWKS),
		"nested in keys":    `{"keys":` + strings.Repeat("[", maxJWKS-100),
		"nested in a key":   `{"keys":[{"kty":"RSA","x5c":` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat("}", 100_000) + `}]}`,
		"too many keys":     `{"keys":[{}` + strings.Repeat(",{}", 300_000) + `]}`,
		"too many elements": `{"keys":[{"x5c":[0` + strings.Repeat(",0", 500_000) + `]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := newEdKey()
			i := newIssuer(t, jwk(t, key, jwkMeta("1")))
			var logged locked.Buffer
			v, clock := newTestVerifier(t, Config{JWKSURL: i.URL, Log: slog.New(slog.NewTextHandler(&logged, nil))})
			known := sign(t, jwt.SigningMethodEdDSA, key, "1", doctorClaims())
			verifyOK(t, v, known)
			i.answer(text)
			if err := v.remote.refresh(t.Context(), 0); err == nil { // as the ticker does, which logs the error
				t.Error("refresh took the set")
			}
			verifyOK(t, v, known)
			verifyOK(t, v, sign(t, jwt.SigningMethodEdDSA, key, "1", with(doctorClaims(), "n", 2))) // not cached

			// Unknown key ids do not make it ask again and again.
			clock.advance(unknownKeyGap)
			before := i.requests.Load()
			for n := range 50 {
				token := sign(t, jwt.SigningMethodEdDSA, key, fmt.Sprint("unknown", n), doctorClaims())
				if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) {
					t.Errorf("unknown key id: %v, want ErrInvalidToken", err)
				}
			}
			if asked := i.requests.Load() - before; asked != 1 {
				t.Errorf("%d requests for 50 unknown key ids, want one", asked)
			}
			if !strings.Contains(logged.String(), "level=ERROR") {
				t.Errorf("no error in the log:\n%s", logged.String())
			}
			if n := strings.Count(logged.String(), "\n"); n > 50 {
				t.Errorf("%d lines in the log", n)
			}
		})
	}
}

// TestTokenWithoutKeyIDAndManyKeys: trying each of a thousand keys would cost a
// stranger's token 50 ms.
func TestTokenWithoutKeyIDAndManyKeys(t *testing.T) {
	t.Parallel()
	var keys []jwkset.JWKMarshal
	var last *ecdsa.PrivateKey
	for n := range maxTried + 1 {
		last = newECKey(elliptic.P256())
		keys = append(keys, jwk(t, last, jwkMeta(fmt.Sprint(n))))
	}
	i := newIssuer(t, keys...)
	v, _ := newTestVerifier(t, Config{JWKSURL: i.URL})
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, last, "", doctorClaims())); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("a token without key id, and %d keys: %v, want ErrInvalidToken", len(keys), err)
	}
	verifyOK(t, v, sign(t, jwt.SigningMethodES256, last, fmt.Sprint(maxTried), with(doctorClaims(), "exp", testStart.Add(time.Minute).Unix())))
	i.publish(t, keys[1:]...)
	if err := v.remote.refresh(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	verifyOK(t, v, sign(t, jwt.SigningMethodES256, last, "", doctorClaims()))
}
