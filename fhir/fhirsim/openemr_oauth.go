package fhirsim

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/tidwall/gjson"
)

// OpenEMR's authorization server: clients register, an administrator enables them, and
// they ask for tokens by the grants client_credentials, password and refresh_token.

const oauthPath = "/oauth2/default"

// How long access tokens live: those of a user, and those of client_credentials.
const (
	userTokenLife   = time.Hour
	systemTokenLife = 5 * time.Minute
)

type oauthClient struct {
	secret  string
	keys    map[string]*rsa.PublicKey // by kid
	scopes  []string                  // asked for at registration
	enabled bool
}

// issuedToken is an access token.
type issuedToken struct {
	scopes  []string // that count
	expires time.Time
	orphan  bool // its session was kept under no client
}

// oauthSession is what a refresh token stands for.
type oauthSession struct {
	client string
	scopes []string
	access string // the access token that came with it
	used   bool
	orphan bool
}

// oauth is the state of the authorization server.
type oauth struct {
	clients  map[string]*oauthClient
	users    map[string]string // passwords
	tokens   map[string]issuedToken
	sessions map[string]*oauthSession // by refresh token
	seen     map[string]bool          // jti of assertions
}

func newOAuth() oauth {
	return oauth{map[string]*oauthClient{}, map[string]string{}, map[string]issuedToken{}, map[string]*oauthSession{}, map[string]bool{}}
}

// AddUser makes a user who may log in with a password. From then on every request needs
// a token.
func (k *Clinic) AddUser(name, password string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.oauth.users[name] = password
}

// EnableClient is what an administrator does with a client that registered (System, API
// Clients). It reports whether there is one.
func (k *Clinic) EnableClient(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	client := k.oauth.clients[id]
	if client != nil {
		client.enabled = true
	}
	return client != nil
}

// RevokeTokens ends the access tokens that were issued so far.
func (k *Clinic) RevokeTokens() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for token := range k.oauth.tokens {
		k.revoked[token] = true
	}
}

// access is the token of a request; ok says whether it is a good one.
func (k *Clinic) access(authorization string) (t issuedToken, ok bool) {
	token, bearer := strings.CutPrefix(authorization, "Bearer ") // in lower case it is none
	if issued, found := k.oauth.tokens[token]; bearer && found {
		return issued, !k.revoked[token] && k.now().Before(issued.expires)
	}
	t = issuedToken{scopes: k.scopes}
	if k.token == "" {
		return t, len(k.oauth.users) == 0
	}
	return t, bearer && token == k.token
}

// smartConfiguration says where tokens are to be had.
func (k *Clinic) smartConfiguration(c *call, _ *Fault) answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := strings.TrimSuffix(c.base, prefix) + oauthPath
	return k.json(http.StatusOK, object{
		{"issuer", c.base}, {"grant_types_supported", []string{"client_credentials", "authorization_code"}},
		{"token_endpoint", at + "/token"},
		{"token_endpoint_auth_methods_supported", []string{"client_secret_basic", "private_key_jwt"}},
	})
}

// oauthRoute finds what answers a call of the authorization server.
func (k *Clinic) oauthRoute(c *call) handler {
	serve := map[string]func(*call) answer{"/registration": k.register, "/token": k.issue}[strings.TrimPrefix(c.Path, oauthPath)]
	return func(c *call, _ *Fault) answer {
		k.mu.Lock()
		defer k.mu.Unlock()
		switch {
		case k.database != DatabaseUp:
			return k.databaseDown()
		case serve == nil || c.Method != http.MethodPost:
			return k.error(http.StatusNotFound, "Route not found", 0)
		}
		return serve(c)
	}
}

// register takes a client in. One with user/ or system/ scopes needs a secret, and waits
// for an administrator.
func (k *Clinic) register(c *call) answer {
	metadata := gjson.ParseBytes(c.Body)
	invalid := func(why string) answer {
		return k.oauthError(http.StatusBadRequest, "invalid_client_metadata", why, "")
	}
	scopes := strings.Fields(metadata.Get("scope").Str)
	system := slices.ContainsFunc(scopes, func(s string) bool { return strings.HasPrefix(s, "system/") })
	user := slices.ContainsFunc(scopes, func(s string) bool { return strings.HasPrefix(s, "user/") })
	private := metadata.Get("application_type").Str == "private"
	switch {
	case !strings.HasPrefix(c.Header.Get("Content-Type"), "application/json"):
		return invalid("Unexpected content type")
	case !private && (system || user):
		return invalid("system and user scopes are only allowed for confidential clients")
	case system && !metadata.Get("jwks").Exists():
		return invalid("jwks is invalid")
	case !metadata.Get("redirect_uris").Exists():
		return k.oauthError(http.StatusBadRequest, "invalid_redirect_uri", "redirect_uris is invalid", "")
	}
	for _, scope := range scopes {
		if !k.knows(scope) {
			return k.invalidScope(scope)
		}
	}
	client := &oauthClient{keys: map[string]*rsa.PublicKey{}, scopes: scopes, enabled: !system && !user}
	for _, key := range metadata.Get("jwks.keys").Array() {
		n, failed := base64.RawURLEncoding.DecodeString(key.Get("n").Str)
		if key.Get("kty").Str == "RSA" && failed == nil {
			client.keys[key.Get("kid").Str] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
		}
	}
	id := k.random("client")
	o := object{{"client_id", id}}
	if private {
		client.secret = k.random("secret")
		o = append(o, property{"client_secret", client.secret})
	}
	k.oauth.clients[id] = client
	return k.oauthAnswer(http.StatusOK, append(o, property{"client_id_issued_at", k.now().Unix()}, property{"client_secret_expires_at", 0},
		property{"redirect_uris", json.RawMessage(metadata.Get("redirect_uris").Raw)}, property{"scope", metadata.Get("scope").Str}))
}

// knows reports whether there is such a scope. 7.0.3 has neither SMART's letters nor
// writing by a system.
func (k *Clinic) knows(scope string) bool {
	context, rest, _ := strings.Cut(scope, "/")
	right, ofPatient := strings.CutPrefix(rest, "Patient.")
	switch {
	case slices.Contains([]string{"openid", "fhirUser", "offline_access", "api:fhir", "api:oemr"}, scope):
		return true
	case !ofPatient || context != "user" && context != "system":
		return false
	case right == "read" || right == "write" && context == "user":
		return true
	case k.version == emr703:
		return false
	}
	return slices.Contains([]string{"write", "rs", "cruds"}, right) || right == "u" && context == "user"
}

// issue answers the token endpoint.
func (k *Clinic) issue(c *call) answer {
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return k.oauthError(http.StatusBadRequest, "invalid_request", "The request is malformed.", "")
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		id, client := k.asserted(c, form.Get("client_assertion"))
		if client == nil { // 400, as the US certification wants it
			return k.oauthError(http.StatusBadRequest, "invalid_client", clientFailed, "")
		}
		return k.grant(id, client, form, nil)
	case "password":
		id, client := k.authenticated(c, form)
		switch password, known := k.oauth.users[form.Get("username")]; {
		case client == nil:
			return k.oauthError(http.StatusUnauthorized, "invalid_client", clientFailed, "")
		case form.Get("user_role") != "users":
			return k.oauthError(http.StatusBadRequest, "invalid_request", "The request is malformed.", "Check the `user_role` parameter")
		case !known || form.Get("password") != password:
			return k.oauthError(http.StatusBadRequest, "invalid_grant", "The provided authorization grant is invalid.", "Failed Authentication")
		}
		return k.grant(id, client, form, &oauthSession{client: id, orphan: form.Get("client_id") == ""})
	case "refresh_token":
		id, client := k.authenticated(c, form)
		session := k.oauth.sessions[form.Get("refresh_token")]
		switch {
		case client == nil:
			return k.oauthError(http.StatusUnauthorized, "invalid_client", clientFailed, "")
		case session == nil || session.client != id:
			return k.oauthError(http.StatusUnauthorized, "invalid_request", badRefresh, "Cannot decrypt the refresh token")
		case session.used:
			return k.oauthError(http.StatusUnauthorized, "invalid_request", badRefresh, "Token has been revoked")
		}
		session.used, k.revoked[session.access] = true, true // at once, under whatever is on its way
		if form.Get("scope") == "" {
			form.Set("scope", strings.Join(session.scopes, " "))
		}
		return k.grant(id, client, form, &oauthSession{client: id, orphan: session.orphan})
	}
	return k.oauthError(http.StatusBadRequest, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server.", "")
}

const (
	clientFailed = "Client authentication failed"
	badRefresh   = "The refresh token is invalid."
)

// grant issues a token; with a session also the refresh token of it. What was not asked
// for at registration is left out without a word.
func (k *Clinic) grant(id string, client *oauthClient, form url.Values, session *oauthSession) answer {
	asked := strings.Fields(form.Get("scope"))
	if k.version == emr703 && !slices.Contains(asked, "api:fhir") {
		return k.invalidScope("api:fhir")
	}
	var scopes, count []string
	context, life := "user/", userTokenLife
	if session == nil {
		context, life = "system/", systemTokenLife
	}
	for _, scope := range asked {
		if !k.knows(scope) {
			return k.invalidScope(scope)
		}
		if slices.Contains(client.scopes, scope) {
			scopes = append(scopes, scope)
			if strings.HasPrefix(scope, context) { // user/ in the token of a system is of no use
				count = append(count, scope)
			}
		}
	}
	access := k.random("access")
	k.oauth.tokens[access] = issuedToken{count, k.now().Add(life), session != nil && session.orphan}
	o := object{{"token_type", "Bearer"}, {"expires_in", int(life.Seconds())}, {"access_token", access}, {"scope", strings.Join(scopes, " ")}}
	if session != nil {
		refresh := k.random("refresh")
		session.access, session.scopes = access, scopes
		k.oauth.sessions[refresh] = session
		o = append(o, property{"refresh_token", refresh})
	}
	return k.oauthAnswer(http.StatusOK, o)
}

// authenticated is the client that names itself by its secret; nil where it is none.
func (k *Clinic) authenticated(c *call, form url.Values) (id string, client *oauthClient) {
	id, secret, basic := (&http.Request{Header: c.Header}).BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	if client = k.oauth.clients[id]; client == nil || !client.enabled || client.secret != secret {
		return id, nil
	}
	return id, client
}

// asserted is the client that signed an assertion, with RS384 and nothing else.
func (k *Clinic) asserted(c *call, assertion string) (id string, client *oauthClient) {
	var claims jwt.RegisteredClaims
	endpoint := strings.TrimSuffix(c.base, prefix) + oauthPath + "/token"
	_, err := jwt.ParseWithClaims(assertion, &claims, func(t *jwt.Token) (any, error) {
		client = k.oauth.clients[claims.Subject]
		kid, _ := t.Header["kid"].(string)
		if client == nil || !client.enabled || client.keys[kid] == nil {
			return nil, fmt.Errorf("no key %s of %s", kid, claims.Subject)
		}
		return client.keys[kid], nil
	}, jwt.WithValidMethods([]string{"RS384"}), jwt.WithAudience(endpoint), jwt.WithLeeway(time.Minute), jwt.WithTimeFunc(k.now), jwt.WithExpirationRequired())
	if err != nil || claims.Issuer != claims.Subject || claims.ID == "" || k.oauth.seen[claims.ID] {
		return "", nil
	}
	k.oauth.seen[claims.ID] = true
	return claims.Subject, client
}

// random is a secret that nobody guesses and that differs from every other one.
func (k *Clinic) random(kind string) string { return kind + "-" + uuid.NewString() }

func (k *Clinic) invalidScope(scope string) answer {
	return k.oauthError(http.StatusBadRequest, "invalid_scope", "The requested scope is invalid, unknown, or malformed", "Check the `"+scope+"` scope")
}

// oauthAnswer is one that nobody may keep.
func (k *Clinic) oauthAnswer(status int, o object) answer {
	a := k.json(status, o)
	a.header.Set("Cache-Control", "no-store")
	return a
}
