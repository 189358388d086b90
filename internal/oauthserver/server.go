// Package oauthserver is an authorization server for tests: ory/fosite, which
// rotates refresh tokens, ends the access token of before and, when a refresh token
// is used twice, everything that came of it. It is also the guard in front of a
// FHIR server.
package oauthserver

import (
	"context"
	"crypto"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"golang.org/x/crypto/bcrypt"
)

// What the server knows.
const (
	Secret   = "client secret: 1+1=2" // of each client that has one
	User     = "clinic"
	Password = "correct horse"

	Basic  = "basic client" // sends its secret as HTTP Basic
	Post   = "post-client"  // sends it in the body
	Public = "public-client"
	Keyed  = "keyed-client" // private_key_jwt
)

// Options say how the server behaves.
type Options struct {
	Life      time.Duration    // of an access token; 0: an hour
	PublicKey crypto.PublicKey // of the client Keyed
	KeyID     string
	Algorithm string // of its assertions
}

// Server is an authorization server.
type Server struct {
	URL string // of the token endpoint

	provider fosite.OAuth2Provider

	mu      sync.Mutex
	asked   []url.Values // what was asked for, without HTTP Basic
	issued  []string     // access tokens
	revoked map[string]bool
	fault   http.HandlerFunc
}

// Start serves until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Life == 0 {
		o.Life = time.Hour
	}
	s := &Server{revoked: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/token"

	hash, err := bcrypt.GenerateFromPassword([]byte(Secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	client := func(id string) *fosite.DefaultClient {
		return &fosite.DefaultClient{
			ID: id, Secret: hash, Scopes: []string{"system/Patient.rs", "user/Patient.read", "user/Patient.write"},
			GrantTypes: []string{"client_credentials", "refresh_token", "password"},
		}
	}
	public := client(Public)
	public.Public = true
	keys := &jose.JSONWebKeySet{}
	if o.PublicKey != nil {
		keys.Keys = []jose.JSONWebKey{{Key: o.PublicKey, KeyID: o.KeyID, Use: "sig", Algorithm: o.Algorithm}}
	}
	store := storage.NewMemoryStore()
	store.Clients = map[string]fosite.Client{
		Public: public,
		Basic:  &fosite.DefaultOpenIDConnectClient{DefaultClient: client(Basic), TokenEndpointAuthMethod: "client_secret_basic"},
		Post:   &fosite.DefaultOpenIDConnectClient{DefaultClient: client(Post), TokenEndpointAuthMethod: "client_secret_post"},
		Keyed: &fosite.DefaultOpenIDConnectClient{
			DefaultClient: client(Keyed), TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlgorithm: o.Algorithm, JSONWebKeys: keys,
		},
	}
	store.Users = map[string]storage.MemoryUserRelation{User: {Username: User, Password: Password}}
	config := &fosite.Config{
		AccessTokenLifespan: o.Life, RefreshTokenLifespan: 24 * time.Hour, RefreshTokenScopes: []string{},
		GlobalSecret: []byte("of the tests alone, 32 bytes long"), TokenURL: s.URL, SendDebugMessagesToClients: true,
	}
	//lint:ignore SA1019 the password grant is deprecated, and OpenEMR has it
	password := compose.OAuth2ResourceOwnerPasswordCredentialsFactory
	s.provider = compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config), compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2RefreshTokenGrantFactory, password, compose.OAuth2TokenIntrospectionFactory)
	return s
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm() // fosite reports what is wrong with it
	s.mu.Lock()
	s.asked = append(s.asked, r.PostForm)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	s.Answer(w, r)
}

// Answer is what the server does without a fault.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, &fosite.DefaultSession{Subject: User})
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.mu.Lock()
	s.issued = append(s.issued, response.GetAccessToken())
	s.mu.Unlock()
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

// Fail makes every request end so, until it is given nil.
func (s *Server) Fail(fault http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Asked returns the forms that came in so far.
func (s *Server) Asked() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]url.Values{}, s.asked...)
}

// Revoke ends the access tokens that were issued so far.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range s.issued {
		s.revoked[token] = true
	}
}

// Accepts reports whether a request has an access token that is valid.
func (s *Server) Accepts(r *http.Request) bool {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return false
	}
	s.mu.Lock()
	revoked := s.revoked[token]
	s.mu.Unlock()
	_, _, err := s.provider.IntrospectToken(context.WithoutCancel(r.Context()), token, fosite.AccessToken, &fosite.DefaultSession{})
	return err == nil && !revoked
}

// Guard answers 401 to what has no valid token, and names the token endpoint.
func (s *Server) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/.well-known/smart-configuration"):
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"token_endpoint": s.URL})
		case !s.Accepts(r):
			Refuse(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Refuse answers 401 as a FHIR server does.
func Refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	w.Header().Set("Content-Type", "application/fhir+json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"expired","diagnostics":"token is no longer valid"}]}`)
}

// RefreshToken logs the user in and returns the first refresh token. It does not
// count as asked.
func (s *Server) RefreshToken(t testing.TB, client string) string {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {User}, "password": {Password}, "scope": {"user/Patient.read user/Patient.write"}, "client_id": {client}}
	if client != Public {
		form.Set("client_secret", Secret)
	}
	r := httptest.NewRequest(http.MethodPost, s.URL, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.Answer(w, r)
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.RefreshToken == "" {
		t.Fatalf("no refresh token: %d %s", w.Code, w.Body)
	}
	return answer.RefreshToken
}
