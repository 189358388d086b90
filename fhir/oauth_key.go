package fhir

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// assertionLife is for how long a client assertion is valid: SMART Backend
// Services allows five minutes, and our clock may be slow or fast by a little.
const assertionLife = 4 * time.Minute

// signer makes the client assertions of private_key_jwt (RFC 7523, SMART App
// Launch "asymmetric").
type signer struct {
	key    crypto.Signer
	method jwt.SigningMethod
	kid    string
}

// newSigner reads an RSA key, for RS384, or one on P-384, for ES384, as PEM or
// as a JWK. Its errors say nothing of the text.
func newSigner(text string) (*signer, error) {
	read := signerFromPEM
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		read = signerFromJWK
	}
	s, err := read(text)
	if err != nil {
		return nil, err
	}
	switch key := s.key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 {
			return nil, errors.New("FHIR_PRIVATE_KEY: an RSA key must have at least 2048 bits")
		}
		s.method = jwt.SigningMethodRS384
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P384() {
			return nil, errors.New("FHIR_PRIVATE_KEY: an EC key must be on the curve P-384 (ES384)")
		}
		s.method = jwt.SigningMethodES384
	default:
		return nil, errors.New("FHIR_PRIVATE_KEY: must be an RSA key (RS384) or an EC key on P-384 (ES384)")
	}
	if s.kid == "" {
		s.kid, err = thumbprint(s.key.Public())
	}
	return s, err
}

func signerFromPEM(text string) (*signer, error) {
	block := privateBlock([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("FHIR_PRIVATE_KEY: holds no private key, neither as PEM nor as a JWK")
	case isEncrypted(block):
		return nil, errors.New("FHIR_PRIVATE_KEY: is encrypted; a key without a passphrase is needed")
	}
	key, err := parsePrivateKey(block)
	if err != nil {
		return nil, errors.New("FHIR_PRIVATE_KEY: the private key cannot be read")
	}
	private, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("FHIR_PRIVATE_KEY: the key cannot sign")
	}
	return &signer{key: private}, nil
}

func parsePrivateKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// signerFromJWK takes a JWK, or a set that holds one.
func signerFromJWK(text string) (*signer, error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return nil, errors.New("FHIR_PRIVATE_KEY: the JWK is no JSON")
	}
	switch len(set.Keys) {
	case 0:
	case 1:
		text = string(set.Keys[0])
	default:
		return nil, errors.New("FHIR_PRIVATE_KEY: the JWK set has several keys; give the one to sign with")
	}
	jwk, err := jwkset.NewJWKFromRawJSON(json.RawMessage(text), jwkset.JWKMarshalOptions{Private: true},
		jwkset.JWKValidateOptions{SkipKeyOps: true, SkipUse: true, SkipMetadata: true})
	if err != nil {
		return nil, errors.New("FHIR_PRIVATE_KEY: the JWK cannot be read")
	}
	private, ok := jwk.Key().(crypto.Signer)
	if !ok {
		return nil, errors.New("FHIR_PRIVATE_KEY: the JWK is not a private key")
	}
	return &signer{key: private, kid: jwk.Marshal().KID}, nil
}

// thumbprint names a key that has no name (RFC 7638).
func thumbprint(public crypto.PublicKey) (string, error) {
	jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{})
	if err != nil {
		return "", errors.New("FHIR_PRIVATE_KEY: the private key cannot be read")
	}
	m := jwk.Marshal()
	text := fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, m.E, m.N)
	if m.CRV != "" {
		text = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, m.CRV, m.X, m.Y)
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// assertion vouches for the client once, at one token endpoint.
func (s *signer) assertion(clientID, tokenURL string, now time.Time) (string, error) {
	token := jwt.NewWithClaims(s.method, jwt.MapClaims{
		"iss": clientID, "sub": clientID, "aud": tokenURL, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	token.Header["kid"] = s.kid
	return token.SignedString(s.key)
}
