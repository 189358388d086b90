package auth

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestNewVerifierRefusesUnsafeConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"neither", Config{}, "exactly one of JWT_SECRET and JWT_JWKS_URL"},
		{"both", Config{Secret: testSecret, JWKSURL: "https://issuer.example/keys"}, "exactly one of JWT_SECRET and JWT_JWKS_URL"},
		{"short secret", Config{Secret: testSecret[:31]}, "JWT_SECRET has 31 bytes"},
		{"plain http", Config{JWKSURL: "http://issuer.example/keys"}, "JWT_JWKS_URL: must be https"},
		{"other scheme", Config{JWKSURL: "file:///keys"}, "JWT_JWKS_URL: the URL has no host"},
		{"no URL", Config{JWKSURL: "://"}, "JWT_JWKS_URL is not a URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewVerifier(t.Context(), tt.config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewVerifier error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestVerifyAccepts(t *testing.T) {
	t.Parallel()
	hour := testStart.Add(time.Hour).Unix()
	tests := []struct {
		name   string
		config Config
		claims jwt.MapClaims
		want   Viewer
	}{
		{"doctor", Config{}, doctorClaims(), Viewer{Subject: "dr-kim", Role: RoleDoctor}},
		{"patient", Config{}, jwt.MapClaims{"sub": "u1", "role": "patient", "patient_id": "P-2025-000001", "exp": hour},
			of(Viewer{Subject: "u1", Role: RolePatient}, "P-2025-000001")},
		{"unknown role", Config{}, jwt.MapClaims{"role": "janitor", "exp": hour}, Viewer{Role: "janitor"}},
		{"no role", Config{}, jwt.MapClaims{"exp": hour}, Viewer{}},
		{"role is a number", Config{}, jwt.MapClaims{"role": 7, "exp": hour}, Viewer{}},
		{"first known role of an array", Config{}, jwt.MapClaims{"role": []any{"offline_access", 3, "nurse", "admin"}, "exp": hour}, Viewer{Role: RoleNurse}},
		{"array without a known role", Config{}, jwt.MapClaims{"role": []any{"x", "y"}, "exp": hour}, Viewer{Role: "x"}},
		{"dotted paths", Config{RoleClaim: "realm_access.roles", PatientClaim: "hospital.patient.id"},
			jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"patient"}}, "hospital": map[string]any{"patient": map[string]any{"id": "P-1"}}, "exp": hour},
			of(Viewer{Role: RolePatient}, "P-1")},
		{"claim name with dots", Config{RoleClaim: "https://hospital.example/role"},
			jwt.MapClaims{"https://hospital.example/role": "lab", "exp": hour}, Viewer{Role: RoleLab}},
		{"object key with dots", Config{RoleClaim: "resource_access.my.client.roles"},
			jwt.MapClaims{"resource_access": map[string]any{"my.client": map[string]any{"roles": []string{"rib"}}}, "exp": hour}, Viewer{Role: RoleRib}},
		{"path through a string", Config{RoleClaim: "a.b"}, jwt.MapClaims{"a": "b", "exp": hour}, Viewer{}},
		{"issuer and one of the audiences", Config{Issuer: "https://issuer.example", Audience: "patientgraph"},
			with(with(doctorClaims(), "iss", "https://issuer.example"), "aud", []string{"other", "patientgraph"}), Viewer{Subject: "dr-kim", Role: RoleDoctor}},
		{"expired within the leeway", Config{}, with(doctorClaims(), "exp", testStart.Add(-29*time.Second).Unix()), Viewer{Subject: "dr-kim", Role: RoleDoctor}},
		{"valid soon, within the leeway", Config{}, with(doctorClaims(), "nbf", testStart.Add(29*time.Second).Unix()), Viewer{Subject: "dr-kim", Role: RoleDoctor}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.config.Secret = testSecret
			tt.want.Expires, tt.want.actor = expires(tt.claims["exp"].(int64)), tt.want.Actor()
			v, _ := newTestVerifier(t, tt.config)
			token := sign(t, jwt.SigningMethodHS256, testSecret, "", tt.claims)
			for range 2 { // the second answer may come from the cache
				if got := verifyOK(t, v, token); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("Verify = %+v, want %+v", got, tt.want)
				}
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	hs256 := func(claims jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodHS256, testSecret, "", claims)
	}
	good := hs256(doctorClaims())
	critical := jwt.NewWithClaims(jwt.SigningMethodHS256, doctorClaims())
	critical.Header["crit"] = []string{"b64"}
	withCritical, err := critical.SignedString(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	noExpiry := doctorClaims()
	delete(noExpiry, "exp")
	ours := func(claims jwt.MapClaims) jwt.MapClaims {
		return with(with(claims, "iss", "https://issuer.example"), "aud", "patientgraph")
	}

	strict := Config{Issuer: "https://issuer.example", Audience: "patientgraph"}
	tests := []struct {
		name   string
		config Config
		token  string
		reason string
	}{
		{"empty", Config{}, "", "malformed"},
		{"no JWT", Config{}, "abc", "malformed"},
		{"four parts", Config{}, good + ".x", "malformed"},
		{"no signature", Config{}, good[:strings.LastIndex(good, ".")+1], "wrong signature"},
		{"alg none", Config{}, sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", doctorClaims()), "wrong signature or algorithm"},
		{"HS512 with the secret", Config{}, sign(t, jwt.SigningMethodHS512, testSecret, "", doctorClaims()), "wrong signature or algorithm"},
		{"RS256", Config{}, sign(t, jwt.SigningMethodRS256, rsaKey(), "", doctorClaims()), "wrong signature or algorithm"},
		{"other secret", Config{}, sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), "", doctorClaims()), "wrong signature"},
		{"expired", Config{}, hs256(with(doctorClaims(), "exp", testStart.Add(-31*time.Second).Unix())), "expired"},
		{"not yet valid", Config{}, hs256(with(doctorClaims(), "nbf", testStart.Add(31*time.Second).Unix())), "not valid yet"},
		{"no exp", Config{}, hs256(noExpiry), "missing"},
		{"exp is a string", Config{}, hs256(with(doctorClaims(), "exp", "tomorrow")), "wrong claims"},
		{"sub is a number", Config{}, hs256(with(doctorClaims(), "sub", 5)), "sub is not a string"},
		{"critical extension", Config{}, withCritical, "no key"},
		{"no issuer", strict, hs256(with(doctorClaims(), "aud", "patientgraph")), "missing"},
		{"other issuer", strict, hs256(with(ours(doctorClaims()), "iss", "https://other.example")), "wrong issuer"},
		{"other audience", strict, hs256(with(ours(doctorClaims()), "aud", "billing")), "wrong audience"},
		{"absurdly long", Config{}, hs256(with(doctorClaims(), "pad", strings.Repeat("x", maxToken))), "too long"},
		{"non-canonical base64", Config{}, nonCanonical(good), "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.config.Secret = testSecret
			v, _ := newTestVerifier(t, tt.config)
			checkRefused(t, v, tt.token, tt.reason)
		})
	}
}

func checkRefused(t *testing.T, v *Verifier, token, reason string) {
	t.Helper()
	viewer, err := v.Verify(t.Context(), token)
	if !errors.Is(err, ErrInvalidToken) || !reflect.DeepEqual(viewer, Viewer{}) {
		t.Fatalf("Verify = %+v, %v, want ErrInvalidToken", viewer, err)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("error %q does not say %q", err, reason)
	}
	if len(err.Error()) > 100 {
		t.Errorf("error text is long enough to hold the token: %q", err)
	}
}

// nonCanonical changes bits of the last character that decoding ignores unless
// it is strict; a lenient decoder would accept several spellings of one token.
func nonCanonical(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func TestCachedTokenStillExpires(t *testing.T) {
	t.Parallel()
	v, clock := newTestVerifier(t, Config{Secret: testSecret})
	exp := testStart.Add(time.Minute).Unix()
	token := sign(t, jwt.SigningMethodHS256, testSecret, "", with(doctorClaims(), "exp", exp))
	verifyOK(t, v, token)
	clock.advance(time.Minute + leeway - time.Second)
	if got := verifyOK(t, v, token); got.Expires != expires(exp) {
		t.Errorf("Expires = %v, want %v", got.Expires, expires(exp))
	}
	clock.advance(2 * time.Second)
	_, err := v.Verify(t.Context(), token)
	if !errors.Is(err, errExpired) {
		t.Errorf("Verify after expiry = %v, want expired", err)
	}
}

// TestLongTextsAreNotCached: 4,096 of them would hold 60 MiB.
func TestLongTextsAreNotCached(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	for _, claims := range []jwt.MapClaims{
		with(doctorClaims(), "sub", long),
		with(doctorClaims(), "role", long),
		with(doctorClaims(), "role", []string{long, "y"}),
		with(doctorClaims(), "patient_id", long),
		with(with(doctorClaims(), "sub", long[:600]), "patient_id", long[:600]),
		with(doctorClaims(), "patient_id", []string{long[:600], long[1:600]}),
	} {
		v, _ := newTestVerifier(t, Config{Secret: testSecret})
		token := sign(t, jwt.SigningMethodHS256, testSecret, "", claims)
		for range 2 {
			verifyOK(t, v, token)
		}
		if n := v.cache.Len(); n != 0 {
			t.Errorf("the cache holds %d tokens, want none", n)
		}
	}
	// What is long and not kept does not count.
	v, _ := newTestVerifier(t, Config{Secret: testSecret})
	verifyOK(t, v, sign(t, jwt.SigningMethodHS256, testSecret, "", with(doctorClaims(), "groups", long)))
	if n := v.cache.Len(); n != 1 {
		t.Errorf("the cache holds %d tokens, want one", n)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	v, _ := newTestVerifier(t, Config{Secret: testSecret})
	for i := range cacheSize + 10 {
		verifyOK(t, v, sign(t, jwt.SigningMethodHS256, testSecret, "", with(doctorClaims(), "n", i)))
	}
	if v.cache.Len() != cacheSize {
		t.Errorf("cache holds %d tokens, want %d", v.cache.Len(), cacheSize)
	}
}

func TestRefusedTokenIsNotCached(t *testing.T) {
	t.Parallel()
	v, clock := newTestVerifier(t, Config{Secret: testSecret})
	token := sign(t, jwt.SigningMethodHS256, testSecret, "", with(doctorClaims(), "nbf", testStart.Add(time.Minute).Unix()))
	if _, err := v.Verify(t.Context(), token); err == nil {
		t.Fatal("a token of the future was accepted")
	}
	clock.advance(time.Minute)
	verifyOK(t, v, token)
}

func TestSign(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		config   Config
		role     Role
		patients []string
		want     Viewer
	}{
		{"staff", Config{}, RoleAdmin, nil, Viewer{Subject: "admin", Role: RoleAdmin}},
		{"patient", Config{}, RolePatient, []string{"P-1"}, of(Viewer{Subject: "patient:P-1", Role: RolePatient}, "P-1")},
		{"parent", Config{}, RolePatient, []string{"P-2", "P-1"}, of(Viewer{Subject: "patient:P-2,P-1", Role: RolePatient}, "P-1", "P-2")},
		{"dotted, sharing an object", Config{RoleClaim: "x.y.role", PatientClaim: "x.y.patient", Issuer: "i", Audience: "a"},
			RolePatient, []string{"P-1"}, of(Viewer{Subject: "patient:P-1", Role: RolePatient}, "P-1")},
		{"claim name with dots", Config{RoleClaim: "https://hospital.example/role"}, RoleLab, nil, Viewer{Subject: "lab", Role: RoleLab}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.config.Secret = testSecret
			tt.want.Expires, tt.want.actor = expires(testStart.Add(time.Minute).Unix()), tt.want.Actor()
			v, clock := newTestVerifier(t, tt.config)
			token, err := Sign(testSecret, tt.config, tt.role, tt.patients, time.Minute, testStart)
			if err != nil {
				t.Fatal(err)
			}
			if got := verifyOK(t, v, token); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Verify = %+v, want %+v", got, tt.want)
			}
			clock.advance(time.Minute + leeway + time.Second)
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, errExpired) {
				t.Errorf("Verify after the lifetime = %v, want expired", err)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		secret []byte
		config Config
		role   Role
		ttl    time.Duration
		want   string
	}{
		{"short secret", testSecret[:10], Config{}, RoleAdmin, time.Hour, "JWT_SECRET has 10 bytes"},
		{"no role", testSecret, Config{}, "", time.Hour, "no role"},
		{"no lifetime", testSecret, Config{}, RoleAdmin, 0, "lifetime"},
		{"one claim for both", testSecret, Config{RoleClaim: "x", PatientClaim: "x"}, RoleAdmin, time.Hour, `claim "x" is used twice`},
		{"one claim inside the other", testSecret, Config{RoleClaim: "x", PatientClaim: "x.y"}, RoleAdmin, time.Hour, `claim "x" is used twice`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token, err := Sign(tt.secret, tt.config, tt.role, []string{"P-1"}, tt.ttl, testStart)
			if err == nil || token != "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Sign = %q, %v, want error %q", token, err, tt.want)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	good := sign(f, jwt.SigningMethodHS256, testSecret, "", doctorClaims())
	for _, seed := range []string{"", ".", "..", good, good + "=", strings.ToUpper(good), "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	v, _ := newTestVerifier(f, Config{Secret: testSecret})
	f.Fuzz(func(t *testing.T, token string) {
		viewer, err := v.Verify(t.Context(), token)
		// Nobody without the secret can make another token that passes.
		if token == good {
			if err != nil {
				t.Fatalf("the good token is refused: %v", err)
			}
			return
		}
		if !errors.Is(err, ErrInvalidToken) || !reflect.DeepEqual(viewer, Viewer{}) {
			t.Fatalf("Verify = %+v, %v, want ErrInvalidToken", viewer, err)
		}
		if len(token) > 20 && strings.Contains(err.Error(), token) {
			t.Fatalf("the error quotes the token: %v", err)
		}
	})
}

// FuzzClaims holds that no signed payload makes reading the claims panic, and
// that what was accepted had an expiry.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{`{}`, `{"role":"admin","exp":4102444800}`, `{"role":["x",null,{}],"exp":1e300}`,
		`{"a":{"b":{"c":"patient"}},"exp":9e18}`, `{"exp":-1e308,"sub":[]}`, `null`, `[]`, `{"exp":4102444800,"exp":null}`} {
		f.Add(seed, "a.b.c")
	}
	f.Fuzz(func(t *testing.T, payload, path string) {
		v, _ := newTestVerifier(t, Config{Secret: testSecret, RoleClaim: path, PatientClaim: path})
		text := "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		signature, err := jwt.SigningMethodHS256.Sign(text, testSecret)
		if err != nil {
			t.Fatal(err)
		}
		viewer, err := v.Verify(t.Context(), text+"."+base64.RawURLEncoding.EncodeToString(signature))
		if err != nil {
			if !errors.Is(err, ErrInvalidToken) || !reflect.DeepEqual(viewer, Viewer{}) {
				t.Fatalf("Verify = %+v, %v, want ErrInvalidToken", viewer, err)
			}
			return
		}
		if !strings.Contains(payload, "exp") && !strings.Contains(payload, `\u`) {
			t.Fatalf("accepted without exp: %q", payload)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	hs := sign(b, jwt.SigningMethodHS256, testSecret, "", doctorClaims())
	rs := sign(b, jwt.SigningMethodRS256, rsaKey(), "k", doctorClaims())
	i := newIssuer(b, jwk(b, rsaKey(), jwkMeta("k")))
	for _, bb := range []struct {
		name   string
		config Config
		token  string
	}{
		{"HS256", Config{Secret: testSecret}, hs},
		{"RS256", Config{JWKSURL: i.URL}, rs},
	} {
		v, _ := newTestVerifier(b, bb.config)
		b.Run(bb.name+"/cached", func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Verify(b.Context(), bb.token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bb.name+"/uncached", func(b *testing.B) {
			for b.Loop() {
				if _, err := v.verify(b.Context(), bb.token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
