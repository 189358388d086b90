package fhir

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"

	"patientgraph/internal/oauthserver"
	"patientgraph/internal/wait"
)

// guarded is a FHIR server that wants tokens of an authorization server. Each
// patient is there.
type guarded struct {
	*oauthserver.Server
	base string
	now  atomic.Int64 // how far the client's clock is ahead

	mu       sync.Mutex
	requests []string                                          // method, If-Match, status
	instead  func(w http.ResponseWriter, r *http.Request) bool // answers in place of the server
}

func startGuarded(t *testing.T, o oauthserver.Options) *guarded {
	t.Helper()
	g := &guarded{Server: oauthserver.Start(t, o)}
	patients := g.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		w.Header().Set("ETag", `W/"1"`)
		_, _ = w.Write(patientJSON(filepath.Base(r.URL.Path), ""))
	}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		instead := g.instead
		g.mu.Unlock()
		seen := httptest.NewRecorder()
		if instead == nil || !instead(seen, r) {
			patients.ServeHTTP(seen, r)
		}
		g.mu.Lock()
		g.requests = append(g.requests, strings.TrimSpace(fmt.Sprint(r.Method, " ", seen.Code, " ", r.Header.Get("If-Match"))))
		g.mu.Unlock()
		for name, values := range seen.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(seen.Code)
		_, _ = w.Write(seen.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	g.base = server.URL + "/fhir"
	return g
}

func (g *guarded) answerInstead(instead func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instead, g.requests = instead, nil
}

func (g *guarded) seen() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.requests, ", ")
}

func (g *guarded) client(t *testing.T, a Auth, change func(*Options)) *Client {
	t.Helper()
	c := newTestClient(t, g.base, func(o *Options) {
		o.Auth = a
		if change != nil {
			change(o)
		}
	})
	c.now = func() time.Time { return time.Now().Add(time.Duration(g.now.Load())) }
	if issued, ok := c.credentials.(*tokens); ok { // it was made with the client as NewClient had it
		issued.now = c.now
	}
	return c
}

func (g *guarded) advance(d time.Duration) { g.now.Add(int64(d)) }

func byCredentials(g *guarded) Auth {
	return Auth{Mode: "client_credentials", ClientID: oauthserver.Basic, ClientSecret: oauthserver.Secret, TokenURL: g.URL, Scopes: "system/Patient.rs"}
}

func mustRead(t *testing.T, c *Client) {
	t.Helper()
	if _, err := c.Read(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
}

func TestLoginWithEachGrant(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	jwk := func(key any, kid string) string {
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
			Marshal: jwkset.JWKMarshalOptions{Private: true}, Metadata: jwkset.JWKMetadataOptions{KID: kid},
		})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(jwk.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	nameOf := func(public crypto.PublicKey) string {
		name, err := thumbprint(public)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	rsaServer := oauthserver.Options{PublicKey: rsaKey.Public(), KeyID: nameOf(rsaKey.Public()), Algorithm: "RS384"}
	ecServer := oauthserver.Options{PublicKey: ecKey.Public(), KeyID: nameOf(ecKey.Public()), Algorithm: "ES384"}
	named := oauthserver.Options{PublicKey: ecKey.Public(), KeyID: "of the clinic", Algorithm: "ES384"}
	for name, tt := range map[string]struct {
		server oauthserver.Options
		auth   Auth
	}{
		"secret as HTTP Basic": {auth: Auth{Mode: "client_credentials", ClientID: oauthserver.Basic, ClientSecret: oauthserver.Secret}},
		"secret in the body":   {auth: Auth{Mode: "client_credentials", ClientID: oauthserver.Post, ClientSecret: oauthserver.Secret}},
		"RSA key, PEM":         {rsaServer, Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed, PrivateKey: pkcs8(rsaKey)}},
		"RSA key, older PEM": {rsaServer, Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed,
			PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))}},
		"RSA key, JWK": {rsaServer, Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed, PrivateKey: jwk(rsaKey, "")}},
		"EC key, PEM":  {ecServer, Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed, PrivateKey: pkcs8(ecKey)}},
		"EC key, older PEM": {ecServer, Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed,
			PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))}},
		"EC key, JWK set with a name":   {named, Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed, PrivateKey: `{"keys":[` + jwk(ecKey, "of the clinic") + `]}`}},
		"password, public client":       {auth: Auth{Mode: "password", ClientID: oauthserver.Public, Username: oauthserver.User, Password: oauthserver.Password}},
		"password, client with secret":  {auth: Auth{Mode: "password", ClientID: oauthserver.Basic, ClientSecret: oauthserver.Secret, Username: oauthserver.User, Password: oauthserver.Password}},
		"refresh, public client":        {auth: Auth{Mode: "refresh_token", ClientID: oauthserver.Public}},
		"refresh, secret in the body":   {auth: Auth{Mode: "refresh_token", ClientID: oauthserver.Post, ClientSecret: oauthserver.Secret}},
		"refresh, secret as HTTP Basic": {auth: Auth{Mode: "refresh_token", ClientID: oauthserver.Basic, ClientSecret: oauthserver.Secret}},
	} {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", token endpoint told: ", told), func(t *testing.T) {
				t.Parallel()
				g := startGuarded(t, tt.server)
				a := tt.auth
				a.Scopes = "user/Patient.read user/Patient.write"
				if told {
					a.TokenURL = g.URL
				}
				if a.Mode == "refresh_token" {
					client := a.ClientID
					if client == oauthserver.Basic { // the helper logs in with the secret in the body
						client = oauthserver.Post
						a.ClientID = client
					}
					a.RefreshToken, a.Store = g.RefreshToken(t, client), &memoryTokens{}
				}
				c := g.client(t, a, nil)
				mustRead(t, c)
				mustRead(t, c)
				forms := g.Asked()
				form := forms[len(forms)-1]
				if form.Get("grant_type") != a.Mode || form.Get("scope") != a.Scopes {
					t.Errorf("asked %v", form)
				}
				g.Revoke() // and once more
				mustRead(t, c)
			})
		}
	}
}

func TestOneTokenForManyRequests(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	c := g.client(t, byCredentials(g), nil)
	other := c.WithConns(2)
	write := func() {
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() {
				if _, err := c.Update(t.Context(), fmt.Sprint("p", n), patientJSON(fmt.Sprint("p", n), ""), `W/"7"`); err != nil {
					t.Error(err)
				}
				if _, err := other.Read(t.Context(), "p"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	write()
	if n := len(g.Asked()); n != 1 {
		t.Fatalf("%d tokens", n)
	}
	g.Revoke()
	g.answerInstead(nil)
	write()
	if n := len(g.Asked()); n != 2 {
		t.Errorf("%d tokens after the revocation", n)
	}
	if n := strings.Count(g.seen(), `PUT 200 W/"7"`); n != 10 {
		t.Errorf("%d PUTs were carried out, with their If-Match: %s", n, g.seen())
	}
}

func TestATokenIsRenewedBeforeItRunsOut(t *testing.T) {
	t.Parallel()
	for life, steps := range map[time.Duration][2]time.Duration{ // nothing yet, and now
		10 * time.Second: {7 * time.Second, 2 * time.Second},
		time.Minute:      {46 * time.Second, 4 * time.Second},
		time.Hour:        {58 * time.Minute, 90 * time.Second},
	} {
		g := startGuarded(t, oauthserver.Options{Life: life})
		c := g.client(t, byCredentials(g), nil)
		began := time.Now() // only advance moves this clock, however busy the machine is
		c.now = func() time.Time { return began.Add(time.Duration(g.now.Load())) }
		c.credentials.(*tokens).now = c.now
		mustRead(t, c)
		g.advance(steps[0])
		mustRead(t, c)
		early := len(g.Asked())
		g.advance(steps[1])
		mustRead(t, c)
		if late := len(g.Asked()); early != 1 || late != 2 || strings.Contains(g.seen(), "401") {
			t.Errorf("%v: %d and %d tokens, %s", life, early, late, g.seen())
		}
	}
}

// What the FHIR server refuses with every token costs one token, not one for each
// request, and ends.
func TestARefusalThatNoTokenMends(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	c := g.client(t, byCredentials(g), nil)
	mustRead(t, c)
	g.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			oauthserver.Refuse(w)
		}
		return r.Method == http.MethodPut
	})
	put := func() {
		t.Helper()
		_, err := c.Update(t.Context(), "p", patientJSON("p", ""), `W/"1"`)
		if e := asError(t, err, AuthFailed); e.Status != 401 {
			t.Errorf("%+v", e)
		}
	}
	put()
	if g.seen() != `PUT 401 W/"1", PUT 401 W/"1"` || len(g.Asked()) != 2 {
		t.Fatalf("%s, %d tokens", g.seen(), len(g.Asked()))
	}
	for range 5 {
		put()
		mustRead(t, c)
	}
	if n := len(g.Asked()); n != 2 {
		t.Errorf("%d tokens at once", n)
	}
	for range 200 { // a day and a half, a request each ten minutes
		g.advance(10 * time.Second)
		put()
	}
	if n := len(g.Asked()); n < 20 || n > 60 {
		t.Errorf("%d tokens in 2000 s of which each was refused", n)
	}
	g.answerInstead(nil)
	g.Revoke()
	g.advance(longestSuccessorRefusal)
	if _, err := c.Update(t.Context(), "p", patientJSON("p", ""), ""); err != nil {
		t.Errorf("the server takes tokens again: %v", err)
	}
}

// OpenEMR answers 400 where the session was ended.
func TestAnEndedSessionIsBegunAgain(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	c := g.client(t, byCredentials(g), nil)
	mustRead(t, c)
	var ended atomic.Bool
	g.answerInstead(func(w http.ResponseWriter, _ *http.Request) bool {
		if ended.Swap(true) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid _request","error_description":"…","message":"Refresh Token revoked or logged out"}`)
		return true
	})
	if _, err := c.Update(t.Context(), "p", patientJSON("p", ""), ""); err != nil || g.seen() != "PUT 400, PUT 200" || len(g.Asked()) != 2 {
		t.Errorf("%v, %s, %d tokens", err, g.seen(), len(g.Asked()))
	}
}

func answerWith(status int, header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAnAuthorizationServerThatFails(t *testing.T) {
	t.Parallel()
	isJSON := http.Header{"Content-Type": {"application/json"}}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	const refused = "the authorization server refused our credentials "
	for name, tt := range map[string]struct {
		fault  http.HandlerFunc
		kind   Kind
		reason string
	}{
		"down":           {answerWith(503, nil, "<html>SECRET</html>"), NotSent, "the authorization server failed (status 503)"},
		"comes back":     {answerWith(429, http.Header{"Retry-After": {"17"}}, ""), NotSent, "the authorization server failed (status 429)"},
		"its database":   {answerWith(500, isJSON, `{"error":"invalid_client"}`), NotSent, "the authorization server failed (status 500)"},
		"for the moment": {answerWith(400, isJSON, `{"error":"temporarily_unavailable"}`), NotSent, "the authorization server failed (status 400)"},
		"no such page":   {answerWith(404, nil, ""), NotSent, "the authorization server knows no token endpoint there (status 404); check FHIR_TOKEN_URL"},
		"redirect":       {answerWith(302, http.Header{"Location": {elsewhere.URL}}, ""), NotSent, "the authorization server answered with a redirect, which is not followed (status 302); check FHIR_TOKEN_URL"},
		"HTML":           {answerWith(200, http.Header{"Content-Type": {"text/html"}}, "<html>SECRET</html>"), NotSent, "the answer of the token endpoint is unusable: not one JSON value"},
		"a form":         {answerWith(200, nil, "access_token=SECRET&token_type=bearer"), NotSent, "the answer of the token endpoint is unusable: not one JSON value"},
		"a megabyte":     {answerWith(200, isJSON, `{"access_token":"`+strings.Repeat("SECRET", 1<<18)+`"}`), NotSent, "the answer of the token endpoint is unusable: longer than 65536 bytes"},
		"over the bound": {answerWith(200, isJSON, `{"access_token":"`+strings.Repeat("x", maxTokenAnswer)+`"}`), NotSent, "the answer of the token endpoint is unusable: longer than 65536 bytes"},
		"MAC":            {answerWith(200, isJSON, `{"access_token":"SECRET","token_type":"mac"}`), NotSent, "the answer of the token endpoint is unusable: its token_type is not Bearer"},
		"a header more":  {answerWith(200, isJSON, `{"access_token":"SECRET\r\nX: y","token_type":"Bearer"}`), NotSent, "the answer of the token endpoint is unusable: a token in it has characters that a header cannot carry"},
		"a line more":    {answerWith(200, isJSON, `{"access_token":"SEC\nRET"}`), NotSent, "the answer of the token endpoint is unusable: a token in it has characters that a header cannot carry"},
		"a blank":        {answerWith(200, isJSON, `{"access_token":"SECRET SECRET"}`), NotSent, "the answer of the token endpoint is unusable: a token in it has characters that a header cannot carry"},
		"a zero":         {answerWith(200, isJSON, `{"access_token":"SECRET\u0000"}`), NotSent, "the answer of the token endpoint is unusable: a token in it has characters that a header cannot carry"},
		"Hangul":         {answerWith(200, isJSON, `{"access_token":"SECRET비밀"}`), NotSent, "the answer of the token endpoint is unusable: a token in it has characters that a header cannot carry"},
		"refresh a line": {answerWith(200, isJSON, `{"access_token":"x","refresh_token":"SECRET\n"}`), NotSent, "the answer of the token endpoint is unusable: a token in it has characters that a header cannot carry"},
		"a list":         {answerWith(200, isJSON, `[{"access_token":"SECRET"}]`), NotSent, "the answer of the token endpoint is unusable: not a JSON object"},
		"two answers":    {answerWith(200, isJSON, `{"access_token":"SECRET"}{"access_token":"SECRET"}`), NotSent, "the answer of the token endpoint is unusable: not one JSON value"},
		"two tokens":     {answerWith(200, isJSON, `{"access_token":"SECRET","access_token":"SECRET2"}`), NotSent, "the answer of the token endpoint is unusable: a key given twice"},
		"a mark before":  {answerWith(200, isJSON, "\ufeff"+`{"access_token":"SECRET"}`), NotSent, "the answer of the token endpoint is unusable: not one JSON value"},
		"no text":        {answerWith(200, isJSON, `{"access_token":{"value":"SECRET"}}`), NotSent, "the answer of the token endpoint is unusable: it has no access_token"},
		"nothing":        {answerWith(200, isJSON, ""), NotSent, "the answer of the token endpoint is unusable: not one JSON value"},
		"204":            {answerWith(204, nil, ""), NotSent, "the authorization server answered with status 204"},
		"no gzip":        {answerWith(200, http.Header{"Content-Encoding": {"gzip"}}, `{"access_token":"SECRET"}`), NotSent, "the a"},
		"200, refused":   {answerWith(200, isJSON, `{"error":"invalid_grant","error_description":"SECRET"}`), AuthFailed, refused + "(invalid_grant)"},
		"200, a failure": {answerWith(200, isJSON, `{"error":"SECRET"}`), NotSent, "the answer of the token endpoint is unusable: it has no access_token"},
		"both":           {answerWith(200, isJSON, `{"access_token":"SECRET","error":"access_denied"}`), AuthFailed, refused + "(access_denied)"},
		"no token":       {answerWith(200, isJSON, `{"token_type":"Bearer","note":"SECRET"}`), NotSent, "the answer of the token endpoint is unusable: it has no access_token"},
		"half":           {answerWith(200, http.Header{"Content-Length": {"99"}}, `{"access_token":"SECRET`), NotSent, "the authorization server cannot be asked: Connection closed before the answer was complete"},
		"grant refused":  {answerWith(400, isJSON, `{"error":"invalid_grant","error_description":"SECRET"}`), AuthFailed, refused + "(invalid_grant)"},
		"OpenEMR's word": {answerWith(401, isJSON, `{"error":"invalid _request","message":"SECRET"}`), AuthFailed, refused + "(invalid_request)"},
		"own words":      {answerWith(401, isJSON, `{"error":"SECRET"}`), AuthFailed, refused + "(status 401)"},
		"wrong clock": {func(w http.ResponseWriter, r *http.Request) {
			answerWith(401, http.Header{"Date": {time.Now().Add(-2 * time.Hour).UTC().Format(http.TimeFormat)}}, "")(w, r)
		}, AuthFailed, refused + "(status 401); our clock differs from the server's by 2h0m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGuarded(t, oauthserver.Options{})
			g.Fail(tt.fault)
			c := g.client(t, byCredentials(g), nil)
			_, err := c.Update(t.Context(), "p", patientJSON("p", ""), "")
			e := asError(t, err, tt.kind)
			if !strings.HasPrefix(e.Reason, "No access to the FHIR server: "+tt.reason) || !e.NotAsked || strings.Contains(e.Error(), "SECRET") || e.Op != OpUpdate {
				t.Errorf("%+v", e)
			}
			if e.RetryAfter < time.Second || name == "comes back" && e.RetryAfter != 17*time.Second {
				t.Errorf("come back after %v", e.RetryAfter)
			}
			asked := len(g.Asked())
			for range 5 {
				_, err := c.Read(t.Context(), "p")
				if again := asError(t, err, tt.kind); again.Reason != e.Reason || again.RetryAfter > e.RetryAfter {
					t.Errorf("%+v", again)
				}
			}
			if n := len(g.Asked()); n != asked || g.seen() != "" {
				t.Errorf("asked %d times after %d, %s", n, asked, g.seen())
			}
			g.Fail(nil)
			g.advance(e.RetryAfter)
			mustRead(t, c)
		})
	}
}

// How long a token lives may be said in odd ways, or not: it is used all the same, and
// renewed for what it said, not for each request.
func TestLifetimesThatAreSaidOddly(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]int{ // how many tokens a day of requests takes, one each ten minutes
		``: 1, `,"expires_in":0`: 1, `,"expires_in":-5`: 1, `,"expires_in":null`: 1, `,"expires_in":"soon"`: 1, `,"expires_in":true`: 1,
		`,"expires_in":1e300`: 1, `,"expires_in":99999999999999999999`: 1, `,"expires_in":"86400000"`: 1, `,"expires_in":[60]`: 1,
		`,"expires_in":"28800"`: 3, `,"expires_in":28800.5`: 3,
	} {
		g := startGuarded(t, oauthserver.Options{})
		g.Fail(answerWith(200, nil, `{"access_token":"at-0001","token_type":"bearer"`+said+`}`))
		g.answerInstead(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/fhir+json")
			_, _ = w.Write(patientJSON("p", ""))
			return true
		})
		c := g.client(t, byCredentials(g), nil)
		for range 6 * 24 {
			mustRead(t, c)
			g.advance(10 * time.Minute)
		}
		if n := len(g.Asked()); n != want {
			t.Errorf("%s: %d tokens, want %d", said, n, want)
		}
	}
}

func TestAnAuthorizationServerThatHangs(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	g.Fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := g.client(t, byCredentials(g), func(o *Options) { o.Timeout = 2 * time.Second })
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			_, err := c.Read(t.Context(), "p")
			if e := asError(t, err, NotSent); !e.Timeout || !e.NotAsked || e.RetryAfter < time.Second || !strings.Contains(e.Reason, "the authorization server ") {
				t.Errorf("%+v", e)
			}
		})
	}
	all.Wait()
	c.Close() // what was asked for has an end of its own
	_, err := c.Read(t.Context(), "p")
	if e := asError(t, err, NotSent); !e.Timeout || !strings.HasSuffix(e.Reason, "the authorization server cannot be asked: Connection timeout") || len(g.Asked()) != 1 {
		t.Errorf("%+v, asked %d times", e, len(g.Asked()))
	}
	g.Fail(nil)
	g.advance(firstPause)
	mustRead(t, c)
}

func TestNoAuthorizationServer(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	a := byCredentials(g)
	a.TokenURL = closedPort(t)
	_, err := g.client(t, a, nil).Read(t.Context(), "p")
	if e := asError(t, err, NotSent); e.Reason != "No access to the FHIR server: the authorization server cannot be asked: Connection refused" {
		t.Error(e.Reason)
	}
	a.TokenURL = "" // and none is named
	g.answerInstead(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true })
	_, err = g.client(t, a, nil).Read(t.Context(), "p")
	if e := asError(t, err, NotSent); !strings.HasSuffix(e.Reason, "names no token endpoint (status 404); set FHIR_TOKEN_URL") {
		t.Error(e.Reason)
	}
	g.answerInstead(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, `{"token_endpoint":"http://auth.example/token"}`)
		return true
	})
	_, err = g.client(t, a, nil).Read(t.Context(), "p")
	if e := asError(t, err, NotSent); !strings.HasSuffix(e.Reason, "set FHIR_TOKEN_URL") {
		t.Errorf("secrets would go over plain http: %s", e.Reason)
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	name, err := thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	g := startGuarded(t, oauthserver.Options{PublicKey: other.Public(), KeyID: name, Algorithm: "RS384"})
	for name, a := range map[string]Auth{
		"secret":        {Mode: "client_credentials", ClientID: oauthserver.Basic, ClientSecret: "wrong-word"},
		"client":        {Mode: "client_credentials", ClientID: "nobody", ClientSecret: "wrong-word"},
		"key":           {Mode: "client_credentials", ClientID: oauthserver.Keyed, PrivateKey: pkcs1},
		"password":      {Mode: "password", ClientID: oauthserver.Public, Username: oauthserver.User, Password: "wrong-word"},
		"refresh token": {Mode: "refresh_token", ClientID: oauthserver.Public, RefreshToken: "wrong-word", Store: &memoryTokens{}},
	} {
		a.TokenURL = g.URL
		_, err := g.client(t, a, nil).Read(t.Context(), "p")
		if e := asError(t, err, AuthFailed); !strings.Contains(e.Reason, "refused our credentials (invalid_") || strings.Contains(e.Reason, "wrong-word") {
			t.Errorf("%s: %s", name, e.Reason)
		}
	}
}

// An assertion is for one audience and for minutes: a token endpoint with another name
// and a clock that is off are refused, and the clock is said.
func TestAssertionsForAnotherPlaceOrTime(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	kid, err := thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	auth := Auth{Mode: "client_credentials", ClientID: oauthserver.Keyed,
		PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))}
	for name, tt := range map[string]struct {
		endpoint func(told string) string
		ahead    time.Duration
		reason   string // "": works
	}{
		"the place and the time":    {func(told string) string { return told }, 0, ""},
		"another name of the place": {func(told string) string { return strings.Replace(told, "127.0.0.1", "localhost", 1) }, 0, "(invalid_client)"},
		// fosite answers 500 to an assertion that is over.
		"a clock that is slow": {func(told string) string { return told }, -2 * time.Hour, "our clock differs from the server's by -"},
	} {
		g := startGuarded(t, oauthserver.Options{PublicKey: key.Public(), KeyID: kid, Algorithm: "RS384"})
		a := auth
		a.TokenURL = tt.endpoint(g.URL)
		g.advance(tt.ahead)
		_, err := g.client(t, a, nil).Read(t.Context(), "p")
		if tt.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.reason) || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One caller that leaves does not end what others wait for, and each waits as
// long as it would.
func TestCallersLeaveWithoutTheToken(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	goOn := make(chan struct{})
	g.Fail(func(w http.ResponseWriter, r *http.Request) {
		<-goOn
		g.Answer(w, r)
	})
	c := g.client(t, byCredentials(g), nil)
	ctx, leave := context.WithCancel(t.Context())
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	results := make(chan error, 2)
	go func() { _, err := c.Read(ctx, "p"); results <- err }()
	wait.Until(t, "a token is asked for", func() bool { return len(g.Asked()) == 1 })
	_, err := c.Read(short, "p")
	if e := asError(t, err, NotSent); !e.Timeout || !e.NotAsked || e.Reason != "No access to the FHIR server: the authorization server has not answered: Connection timeout" {
		t.Errorf("%+v", e)
	}
	leave()
	if e := asError(t, <-results, NotSent); e.Timeout || !e.NotAsked {
		t.Errorf("%+v", e)
	}
	go func() { _, err := c.Read(context.Background(), "p"); results <- err }()
	close(goOn)
	if err := <-results; err != nil || len(g.Asked()) != 1 {
		t.Errorf("%v, %d tokens", err, len(g.Asked()))
	}
}

// A token that has not run out is used while no other can be had.
func TestAnOutageSparesTheTokenThatIsHeld(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{Life: time.Minute})
	c := g.client(t, byCredentials(g), nil)
	mustRead(t, c)
	g.Fail(answerWith(503, nil, ""))
	g.advance(55 * time.Second)
	mustRead(t, c)
	mustRead(t, c)
	if n := len(g.Asked()); n != 2 {
		t.Errorf("asked %d times", n)
	}
	g.advance(6 * time.Second) // now it has
	_, err := c.Read(t.Context(), "p")
	asError(t, err, NotSent)
	g.Revoke() // and a 401 while none can be had is told as the outage that it is
	g.now.Store(0)
	_, err = c.Update(t.Context(), "p", patientJSON("p", ""), "")
	if e := asError(t, err, NotSent); !e.NotAsked || e.RetryAfter == 0 {
		t.Errorf("%+v", e)
	}
}

func TestSettingsThatCannotLogIn(t *testing.T) {
	t.Parallel()
	small, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(small)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(small.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := func(kind string, der []byte) Auth {
		return Auth{Mode: "client_credentials", ClientID: "c", PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))}
	}
	for want, a := range map[string]Auth{
		"FHIR_AUTH=bearer needs FHIR_TOKEN":                                                          {Mode: "bearer"},
		"FHIR_AUTH=basic needs FHIR_USERNAME, FHIR_PASSWORD":                                         {Mode: "basic"},
		"FHIR_AUTH=client_credentials needs FHIR_CLIENT_ID, FHIR_CLIENT_SECRET or FHIR_PRIVATE_KEY":  {Mode: "client_credentials"},
		"FHIR_AUTH=refresh_token needs FHIR_REFRESH_TOKEN":                                           {Mode: "refresh_token", ClientID: "c"},
		"FHIR_AUTH=password needs FHIR_PASSWORD":                                                     {Mode: "password", ClientID: "c", Username: "u"},
		"FHIR_CLIENT_SECRET and FHIR_PRIVATE_KEY exclude each other":                                 {Mode: "client_credentials", ClientID: "c", ClientSecret: "s", PrivateKey: "k"},
		"FHIR_TOKEN_URL must be https: secrets are sent to it":                                       {Mode: "client_credentials", ClientID: "c", ClientSecret: "s", TokenURL: "http://auth.example/t"},
		"FHIR_TOKEN_URL must be an http(s) URL without user, password and fragment":                  {Mode: "client_credentials", ClientID: "c", ClientSecret: "s", TokenURL: "https://u:secret@auth.example/t"},
		"FHIR_PRIVATE_KEY: holds no private key, neither as PEM nor as a JWK":                        key("PUBLIC KEY", public),
		"FHIR_PRIVATE_KEY: an EC key must be on the curve P-384 (ES384)":                             key("EC PRIVATE KEY", der),
		"FHIR_PRIVATE_KEY: is encrypted; a key without a passphrase is needed":                       key("ENCRYPTED PRIVATE KEY", der),
		"FHIR_PRIVATE_KEY: the private key cannot be read":                                           key("PRIVATE KEY", der[:9]),
		"FHIR_PRIVATE_KEY: the JWK cannot be read":                                                   {Mode: "client_credentials", ClientID: "c", PrivateKey: `{"kty":"RSA","d":"secret"}`},
		"FHIR_PRIVATE_KEY: the JWK is no JSON":                                                       {Mode: "client_credentials", ClientID: "c", PrivateKey: `{"kty":secret`},
		`FHIR_AUTH "digest": not none, bearer, basic, client_credentials, refresh_token or password`: {Mode: "digest"},
		"FHIR_TOKEN_FILE: must hold one token, of printable ASCII without blanks":                    {Mode: "bearer", TokenFile: writeFile(t, "two secret tokens")},
		"FHIR_TOKEN_FILE: stat /nonexistent/secret: no such file or directory":                       {Mode: "bearer", TokenFile: "/nonexistent/secret"},
		"FHIR_TOKEN: must be of printable ASCII without blanks":                                      {Mode: "bearer", Token: "secret\nsecret"},
	} {
		_, err := NewClient(Options{BaseURL: "https://fhir.example", Auth: a})
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestATokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	var good atomic.Value
	good.Store("at-0001")
	g.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer "+good.Load().(string) {
			oauthserver.Refuse(w)
			return true
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write(patientJSON("p", ""))
		return true
	})
	file := writeFile(t, "at-0001\n")
	stamp, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := g.client(t, Auth{Mode: "bearer", TokenFile: file}, nil)
	mustRead(t, c)

	good.Store("at-0003-longer")
	replace("at-0003-longer\n")
	mustRead(t, c)
	if g.seen() != "GET 200, GET 200" {
		t.Errorf("a changed file was not seen: %s", g.seen())
	}

	// The same size and time: only the refusal tells.
	good.Store("at-0004-longer")
	replace("at-0004-longer\n")
	if err := os.Chtimes(file, stamp.ModTime(), stamp.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update(t.Context(), "p", patientJSON("p", ""), `W/"1"`); err != nil {
		t.Fatal(err)
	}

	// Gone, or being written: what was known stays.
	replace("")
	mustRead(t, c)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	mustRead(t, c)
	good.Store("at-0005")
	_, err = c.Read(t.Context(), "p")
	asError(t, err, AuthFailed)
}

// The token was refused, and the file has no other: why is said, and nothing of it.
func TestATokenFileWithoutAToken(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	g.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
		oauthserver.Refuse(w)
		return true
	})
	for name, c := range map[string]struct{ content, says string }{
		"UTF-16":    {"\xff\xfea\x00t\x00-\x002\x00", "cannot be used: it must hold one token"},
		"two lines": {"at-0002\nat-0003\n", "cannot be used: it must hold one token"},
		"empty":     {"", "cannot be used: it must hold one token"},
		"a mark":    {"\ufeff\r\n", "cannot be used: it must hold one token"},
		"gone":      {"gone", "cannot be read: no such file or directory"},
		"the same":  {"at-0001", ""},
		"another":   {"\ufeffat-0004\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, "at-0001")
			client := g.client(t, Auth{Mode: "bearer", TokenFile: file}, func(o *Options) { o.Timeout = 300 * time.Millisecond })
			err := os.WriteFile(file, []byte(c.content), 0o600)
			if c.content == "gone" {
				err = os.Remove(file)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Read(t.Context(), "p")
			e := asError(t, err, AuthFailed)
			if !strings.Contains(e.Reason, c.says) || strings.Contains(e.Reason, "FHIR_TOKEN_FILE") != (c.says != "") {
				t.Errorf("%q", e.Reason)
			}
			if strings.Contains(e.Error(), "at-0") || strings.Contains(e.Error(), file) {
				t.Errorf("it shows too much: %q", e.Error())
			}
		})
	}
}

// Whoever renews the file is late: the refused request waits for the next token. A
// token that nobody renews is waited for once, not by each request.
func TestATokenFileThatIsLate(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	file := writeFile(t, "at-0001")
	g.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer at-0002" {
			w.Header().Set("Content-Type", "application/fhir+json")
			_, _ = w.Write(patientJSON("p", ""))
			return true
		}
		oauthserver.Refuse(w)
		go func() {
			time.Sleep(3 * filePoll)
			if err := os.WriteFile(file, []byte("at-0002"), 0o600); err != nil {
				t.Error(err)
			}
		}()
		return true
	})
	c := g.client(t, Auth{Mode: "bearer", TokenFile: file}, nil)
	mustRead(t, c)
	if g.seen() != "GET 401, GET 200" {
		t.Errorf("a late token: %s", g.seen())
	}

	b := c.credentials.(*bearerFile)
	looks := 0
	b.now = func() time.Time { // a second goes by with each look
		looks++
		return testNow.Add(time.Duration(looks) * time.Second)
	}
	for range 10 {
		if value, err := b.get(t.Context(), "Bearer at-0002"); value != "" || err != nil {
			t.Fatalf("%q, %v", value, err)
		}
	}
	if most := int(fileGrace/time.Second) + 10 + 2; looks > most {
		t.Errorf("10 requests looked %d times for another token, want at most %d", looks, most)
	}
}

func FuzzParseToken(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"a","token_type":"bearer","expires_in":60,"refresh_token":"r"}`, `{"access_token":"a","expires_in":"3600"}`,
		`{"access_token":"a","expires_in":1e300}`, `{"access_token":"a","expires_in":-1}`, `{"access_token":"a","expires_in":"NaN"}`,
		`{"access_token":["a"]}`, `{"access_token":"a","access_token":"b"}`, "\xef\xbb\xbf{}", "", "[", strings.Repeat("[", 1000), `{"access_token":"\u0000"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		token, why := parseToken([]byte(body), testNow)
		switch {
		case why != "":
			return
		case token.Value == "" || !isVisible(token.Value) || !isVisible(token.Refresh):
			t.Errorf("%q gives %+v", body, token)
		case !token.Expires.IsZero() && (token.Expires.Before(testNow) || token.RenewFrom.After(token.Expires) || token.RenewFrom.Before(testNow)):
			t.Errorf("%q gives %+v", body, token)
		}
		r := http.Request{Header: http.Header{"Authorization": {"Bearer " + token.Value}}, URL: &url.URL{Host: "h"}, Method: "GET"}
		if err := r.Write(io.Discard); err != nil {
			t.Errorf("%q cannot be sent: %v", body, err)
		}
	})
}
