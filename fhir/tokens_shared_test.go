package fhir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/internal/oauthserver"
)

// memoryTokens is a TokenStore for tests; that of the product is in package db.
type memoryTokens struct {
	mu      sync.Mutex
	sealed  []byte
	version int64
	owner   string
	saving  error // what SaveFHIRToken says
	saves   int
}

func (m *memoryTokens) LoadFHIRToken(context.Context, string) ([]byte, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sealed, m.version, nil
}

func (m *memoryTokens) LeaseFHIRToken(_, owner string, _ time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != "" {
		return false, nil
	}
	m.owner = owner
	return true, nil
}

func (m *memoryTokens) SaveFHIRToken(_ string, sealed []byte, version int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves++
	if m.saving != nil {
		return false, m.saving
	}
	if version != m.version {
		return false, nil
	}
	m.sealed, m.version, m.owner = sealed, version+1, ""
	return true, nil
}

func (m *memoryTokens) ReleaseFHIRToken(_, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner == owner {
		m.owner = ""
	}
	return nil
}

func (m *memoryTokens) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saving = err
}

// Replicas use one chain of refresh tokens. Each refresh ends the tokens of before;
// a token that is used twice would end the whole chain.
func TestReplicasShareOneRefreshToken(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{Life: time.Minute})
	store := &memoryTokens{}
	a := Auth{Mode: "refresh_token", ClientID: oauthserver.Public, RefreshToken: g.RefreshToken(t, oauthserver.Public), TokenURL: g.URL, Store: store}
	var replicas []*Client
	for range 3 {
		replicas = append(replicas, g.client(t, a, nil))
	}
	const rounds = 4
	for range rounds {
		var all sync.WaitGroup
		for _, c := range replicas {
			for n := range 4 {
				all.Go(func() {
					if _, err := c.Update(t.Context(), fmt.Sprint("p", n), patientJSON(fmt.Sprint("p", n), ""), ""); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		g.advance(50 * time.Second)
	}
	if n := len(g.Asked()); n != rounds {
		t.Errorf("%d refreshes in %d rounds", n, rounds)
	}
	used := map[string]bool{}
	for _, form := range g.Asked() {
		token := form.Get("refresh_token")
		if used[token] {
			t.Error("a refresh token was used twice")
		}
		used[token] = true
		if bytes.Contains(store.sealed, []byte(token)) {
			t.Error("a refresh token is kept in clear")
		}
	}

	// A restart goes on where the others are.
	late := g.client(t, a, nil)
	mustRead(t, late)
	if store.version != rounds+1 {
		t.Errorf("version %d", store.version)
	}
	// What somebody else put there is not used.
	store.sealed = append([]byte{1}, store.sealed...)
	_, err := g.client(t, a, nil).Read(t.Context(), "p")
	if e := asError(t, err, NotSent); !strings.HasSuffix(e.Reason, "cannot be decrypted; set a new FHIR_REFRESH_TOKEN") {
		t.Error(e.Reason)
	}
}

// A session that has ended is begun by a login alone; a server that fails, or is not
// there, is waited for.
func TestAnEndedSessionNeedsALogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		says   bool
	}{
		"400, invalid_grant":     {400, `{"error":"invalid_grant"}`, true},
		"400, not said why":      {400, `{"message":"no"}`, true},
		"401, revoked":           {401, `{"error":"invalid_request","hint":"Token has been revoked"}`, true},
		"403":                    {403, "", true},
		"200 that names a fault": {200, `{"error":"invalid_grant"}`, true},
		"404":                    {404, "", false},
		"503":                    {503, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []string{"refresh_token", "client_credentials"} {
				g := startGuarded(t, oauthserver.Options{})
				g.Fail(answerWith(c.status, nil, c.body))
				a := byCredentials(g)
				if mode == "refresh_token" {
					a = Auth{Mode: mode, ClientID: oauthserver.Public, RefreshToken: g.RefreshToken(t, oauthserver.Public), TokenURL: g.URL, Store: &memoryTokens{}}
				}
				_, err := g.client(t, a, nil).Read(t.Context(), "p")
				want := c.says && mode == "refresh_token"
				if err == nil || strings.HasSuffix(err.Error(), "; if it goes on, log in again and set a new FHIR_REFRESH_TOKEN") != want {
					t.Errorf("%s: %v, want it said: %t", mode, err, want)
				}
			}
		})
	}
}

// New tokens are used once they are kept, and not lost meanwhile.
func TestTokensAreKeptBeforeTheyAreUsed(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	store := &memoryTokens{}
	a := Auth{Mode: "refresh_token", ClientID: oauthserver.Public, RefreshToken: g.RefreshToken(t, oauthserver.Public), TokenURL: g.URL, Store: store}
	c := g.client(t, a, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	store.fail(errors.New("the disk is full"))
	_, err := c.Read(t.Context(), "p")
	if e := asError(t, err, NotSent); !e.NotAsked || strings.Contains(e.Error(), "disk") {
		t.Errorf("%+v", e)
	}
	if g.seen() != "" || len(g.Asked()) != 1 {
		t.Fatalf("a token that is not kept was used: %s, %d refreshes", g.seen(), len(g.Asked()))
	}
	c.Close()
	store.fail(nil)
	g.advance(firstPause)
	mustRead(t, c)
	if store.version != 1 || len(g.Asked()) != 1 {
		t.Errorf("version %d, %d refreshes", store.version, len(g.Asked()))
	}
	mustRead(t, g.client(t, a, nil)) // as another replica
}

// A replica that was away while its refresh token was used up finds the next one.
func TestAnOlderRefreshTokenIsNotTheLastWord(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, oauthserver.Options{})
	store := &memoryTokens{}
	a := Auth{Mode: "refresh_token", ClientID: oauthserver.Public, RefreshToken: g.RefreshToken(t, oauthserver.Public), TokenURL: g.URL, Store: store}
	first, second := g.client(t, a, nil), g.client(t, a, nil)
	mustRead(t, first)
	old := memoryTokens{}
	// While the second asks with what it read, the first saves what came of it.
	kept := store.sealed
	store.sealed, store.version = old.sealed, 0
	g.Fail(func(w http.ResponseWriter, r *http.Request) {
		store.mu.Lock()
		store.sealed, store.version = kept, 1
		store.mu.Unlock()
		answerWith(400, nil, `{"error":"invalid_grant"}`)(w, r)
	})
	mustRead(t, second)
	if n := len(g.Asked()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}
