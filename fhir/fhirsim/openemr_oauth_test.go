package fhirsim

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/tidwall/gjson"
)

// loginClinic is an OpenEMR whose clock can be moved, with a user and two clients that
// are enabled: one with a key, one with a secret.
type loginClinic struct {
	t          *testing.T
	base, root string
	version    string
	ahead      atomic.Int64 // of its clock
	key        *rsa.PrivateKey
	system     string // client ids
	user       string
	secret     string
}

const userScopes = "openid offline_access api:fhir user/Patient.read user/Patient.write"

func startLoginClinic(t *testing.T, version string) *loginClinic {
	t.Helper()
	l := &loginClinic{t: t, version: version}
	s, base := running(t, Options{Habits: OpenEMR(version), Now: func() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }})
	s.Clinic().Put(clinicID, clinicRow())
	s.Clinic().AddUser("ann", "pass")
	l.base, l.root = base, strings.TrimSuffix(base, prefix)+oauthPath
	var err error
	if l.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	system := "system/Patient.read system/Patient.write user/Patient.write"
	if version == "7.0.3" {
		system = "api:fhir system/Patient.read"
	}
	n := base64.RawURLEncoding.EncodeToString(l.key.N.Bytes())
	l.system = l.register(system, `,"jwks":{"keys":[{"kty":"RSA","kid":"k","n":"`+n+`","e":"AQAB"}]}`).Get("client_id").Str
	registered := l.register(userScopes, "")
	l.user, l.secret = registered.Get("client_id").Str, registered.Get("client_secret").Str
	wantEqual(t, "before it is enabled", l.login().Get("error").Str, "invalid_client")
	wantEqual(t, "enabled", s.Clinic().EnableClient(l.system) && s.Clinic().EnableClient(l.user), true)
	return l
}

func (l *loginClinic) register(scope, more string) gjson.Result {
	l.t.Helper()
	return gjson.Parse(do(l.t, http.MethodPost, l.root+"/registration", `{"application_type":"private","redirect_uris":["x"],"scope":"`+scope+`"`+more+`}`,
		"Content-Type", "application/json").body)
}

func (l *loginClinic) token(form url.Values) response {
	l.t.Helper()
	return do(l.t, http.MethodPost, l.root+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (l *loginClinic) login(change ...string) gjson.Result {
	l.t.Helper()
	form := url.Values{
		"grant_type": {"password"}, "user_role": {"users"}, "username": {"ann"}, "password": {"pass"}, "scope": {userScopes},
		"client_id": {l.user}, "client_secret": {l.secret},
	}
	for i := 0; i < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return gjson.Parse(l.token(form).body)
}

func (l *loginClinic) refresh(token string) response {
	l.t.Helper()
	return l.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {l.user}, "client_secret": {l.secret}})
}

func (l *loginClinic) asSystem(method jwt.SigningMethod, audience, scope string) gjson.Result {
	l.t.Helper()
	claims := jwt.MapClaims{"iss": l.system, "sub": l.system, "aud": audience, "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix()}
	assertion := jwt.NewWithClaims(method, claims)
	assertion.Header["kid"] = "k"
	signed, err := assertion.SignedString(l.key)
	if err != nil {
		l.t.Fatal(err)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "client_assertion": {signed}}
	answer := l.token(form)
	if answer.status == http.StatusOK {
		wantEqual(l.t, "the same assertion again", gjson.Get(l.token(form).body, "error").Str, "invalid_client")
	}
	return gjson.Parse(answer.body)
}

// statuses are the answers to a read and to a write with this Authorization.
func (l *loginClinic) statuses(authorization string) string {
	l.t.Helper()
	at := l.base + "/Patient/" + clinicID
	read := do(l.t, http.MethodGet, at, "", "Authorization", authorization)
	write := do(l.t, http.MethodPut, at, safe(""), "Authorization", authorization)
	return fmt.Sprint(read.status, " ", write.status)
}

func TestOpenEMRLogsAUserIn(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		l := startLoginClinic(t, version)
		wantEqual(t, "without a token", l.statuses(""), "401 401")
		wantEqual(t, "wrong password", l.login("password", "x").Get("error").Str, "invalid_grant")
		wantEqual(t, "no role", l.login("user_role", "").Get("error").Str, "invalid_request")
		without := l.login("scope", "user/Patient.read").Get("error").Str
		if version == "7.0.3" {
			wantEqual(t, "without api:fhir", without, "invalid_scope")
		} else {
			wantEqual(t, "without api:fhir", without, "")
		}
		first := l.login()
		token := first.Get("access_token").Str
		wantEqual(t, "life", first.Get("expires_in").Int(), 3600)
		wantEqual(t, "a user", l.statuses("Bearer "+token), "200 200")
		wantEqual(t, "in lower case", l.statuses("bearer "+token), "401 401")

		answer := l.refresh(first.Get("refresh_token").Str)
		second := gjson.Parse(answer.body)
		wantEqual(t, "refresh", answer.status, http.StatusOK)
		wantEqual(t, "the token of before", l.statuses("Bearer "+token), "401 401")
		wantEqual(t, "the new one", l.statuses("Bearer "+second.Get("access_token").Str), "200 200")
		again := l.refresh(first.Get("refresh_token").Str)
		wantEqual(t, "used twice", again.status, http.StatusUnauthorized)
		wantEqual(t, "used twice", again.body, // as recorded
			`{"error":"invalid_request","error_description":"The refresh token is invalid.","hint":"Token has been revoked","message":"The refresh token is invalid."}`)
		l.ahead.Store(int64(time.Hour + time.Minute))
		wantEqual(t, "after an hour", l.statuses("Bearer "+second.Get("access_token").Str), "401 401")

		// Where the client names itself by HTTP Basic alone, nobody finds its session.
		r := do(t, http.MethodPost, l.root+"/token", url.Values{
			"grant_type": {"password"}, "user_role": {"users"}, "username": {"ann"}, "password": {"pass"}, "scope": {userScopes},
		}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.secret)))
		wantEqual(t, "Basic alone", l.statuses("Bearer "+gjson.Get(r.body, "access_token").Str), "400 400")
	})
}

func TestOpenEMRLogsASystemIn(t *testing.T) {
	t.Parallel()
	eachOpenEMR(t, func(t *testing.T, version string) {
		l := startLoginClinic(t, version)
		endpoint := l.root + "/token"
		wantEqual(t, "RS256", l.asSystem(jwt.SigningMethodRS256, endpoint, "api:fhir system/Patient.read").Get("error").Str, "invalid_client")
		wantEqual(t, "for another audience", l.asSystem(jwt.SigningMethodRS384, l.base, "api:fhir system/Patient.read").Get("error").Str, "invalid_client")
		wantEqual(t, "with a secret", gjson.Get(l.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {l.user}, "client_secret": {l.secret}}).body, "error").Str, "invalid_client")
		scope := "api:fhir system/Patient.read system/Patient.write"
		if version == "7.0.3" {
			wantEqual(t, "to write", l.asSystem(jwt.SigningMethodRS384, endpoint, scope).Get("error").Str, "invalid_scope")
			wantEqual(t, "to write, at registration", l.register("system/Patient.write", `,"jwks":{"keys":[]}`).Get("error").Str, "invalid_scope")
			return
		}
		answer := l.asSystem(jwt.SigningMethodRS384, endpoint, scope)
		wantEqual(t, "life", answer.Get("expires_in").Int(), 300)
		wantEqual(t, "scopes that were registered", answer.Get("scope").Str, "system/Patient.read system/Patient.write")
		wantEqual(t, "a system", l.statuses("Bearer "+answer.Get("access_token").Str), "200 200")
		user := l.asSystem(jwt.SigningMethodRS384, endpoint, "system/Patient.read user/Patient.write")
		wantEqual(t, "user/ for a system", l.statuses("Bearer "+user.Get("access_token").Str), "200 401")
		wantEqual(t, "no such scope", l.asSystem(jwt.SigningMethodRS384, endpoint, "system/Patient.u").Get("error").Str, "invalid_scope")
		l.ahead.Store(int64(6 * time.Minute))
		wantEqual(t, "after six minutes", l.statuses("Bearer "+answer.Get("access_token").Str), "401 401")
		if answer.Get("refresh_token").Exists() {
			t.Error("a system was given a refresh token")
		}
	})
}
