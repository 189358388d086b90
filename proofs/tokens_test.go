package proofs_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/oauthserver"
	"patientgraph/internal/wait"
)

// TestTokensRunOutUnderLoad has real HAPI behind a guard whose tokens run out again
// and again while several clients write and read: every write is a success, for another
// token can be had each time. At full length a token lives for 20 s and the load lasts
// for ten minutes; else the guard decides that a token has been used enough.
func TestTokensRunOutUnderLoad(t *testing.T) {
	t.Parallel()
	hapi := HAPI(t)
	t.Run("client credentials", func(t *testing.T) {
		t.Parallel()
		g := guardHAPI(t, hapi)
		g.load(t, dbtest.SQLite(t), "FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID="+oauthserver.Post, "FHIR_CLIENT_SECRET="+oauthserver.Secret)
	})
	// As OpenEMR does it: a refresh ends the token of before, also under requests that
	// are on their way with it.
	t.Run("refresh token", func(t *testing.T) {
		t.Parallel()
		OnEachDatabase(t, func(t *testing.T, databaseURL string) {
			g := guardHAPI(t, hapi)
			g.refreshEnds = true
			g.load(t, databaseURL, "FHIR_AUTH=refresh_token", "FHIR_CLIENT_ID="+oauthserver.Public,
				"FHIR_REFRESH_TOKEN="+g.auth.RefreshToken(t, oauthserver.Public))
			if !*full && g.overtaken.Load() == 0 { // at full length it is left to chance
				t.Error("no token ended under a request that was on its way with it")
			}
		})
	})
	// Somebody else renews the file, each time a moment after its token ran out.
	t.Run("token file", func(t *testing.T) {
		t.Parallel()
		g := guardHAPI(t, hapi)
		file := filepath.Join(t.TempDir(), "token")
		g.renew(t, file)
		over := make(chan struct{})
		var somebody sync.WaitGroup
		somebody.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-g.refusals:
				}
				time.Sleep(300 * time.Millisecond)
				g.renew(t, file)
				select { // those who had the old one
				case <-g.refusals:
				default:
				}
			}
		})
		defer somebody.Wait()
		defer close(over)
		g.load(t, dbtest.SQLite(t), "FHIR_AUTH=bearer", "FHIR_TOKEN_FILE="+file)
	})
}

// guardedHAPI is real HAPI that wants a token.
type guardedHAPI struct {
	hapi        *HAPIServer
	url         string // FHIR's base, with the guard
	auth        *oauthserver.Server
	proxy       *httputil.ReverseProxy
	refreshEnds bool          // the token of before
	refusals    chan struct{} // holds one when a request was refused

	mu   sync.Mutex
	uses map[string]int // of each Authorization

	refused   atomic.Int64 // requests without a token that is good
	overtaken atomic.Int64 // those of them that left with a good one
	usedUp    atomic.Int64 // tokens
}

// enough is how many requests a token is good for, at less than full length. There are
// fewer clients, so each can use what it was given.
const enough = 40

func guardHAPI(t *testing.T, hapi *HAPIServer) *guardedHAPI {
	t.Helper()
	target, err := url.Parse(hapi.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := oauthserver.Options{}
	if *full {
		o.Life = 20 * time.Second
	}
	// HAPI closes what is idle for long, and our own part is not to lose a PUT by that.
	transport := &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: 5 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	g := &guardedHAPI{
		hapi: hapi, auth: oauthserver.Start(t, o), uses: map[string]int{}, refusals: make(chan struct{}, 1),
		proxy: &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
		}},
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.url = server.URL + target.Path
	return g
}

func (g *guardedHAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/metadata") { // public, as everywhere
		g.proxy.ServeHTTP(w, r)
		return
	}
	left := g.auth.Accepts(r)
	left = g.use(r) && left
	time.Sleep(5 * time.Millisecond) // on its way
	switch {
	case left && g.auth.Accepts(r):
		g.proxy.ServeHTTP(w, r)
		return
	case left:
		g.overtaken.Add(1)
	}
	g.refused.Add(1)
	oauthserver.Refuse(w)
	select {
	case g.refusals <- struct{}{}:
	default:
	}
}

// use counts, and reports whether the token has not been used enough before. The last
// request that has it is on its way until the next token ended it, where a refresh does.
func (g *guardedHAPI) use(r *http.Request) bool {
	token := r.Header.Get("Authorization")
	g.mu.Lock()
	g.uses[token]++
	n := g.uses[token]
	g.mu.Unlock()
	if *full {
		return true
	}
	if n == enough {
		g.usedUp.Add(1)
		for end := time.Now().Add(5 * time.Second); g.refreshEnds && g.auth.Accepts(r) && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return n <= enough
}

// renew replaces the file by one with another token.
func (g *guardedHAPI) renew(t *testing.T, file string) {
	response, err := http.PostForm(g.auth.URL, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {oauthserver.Post}, "client_secret": {oauthserver.Secret},
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Errorf("no token: status %d, %v", response.StatusCode, err)
		return
	}
	if err := os.WriteFile(file+".next", []byte(answer.AccessToken), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		t.Error(err)
	}
}

// load writes to several patients, two clients each, and reads what was written, until
// enough tokens have run out.
func (g *guardedHAPI) load(t *testing.T, databaseURL string, settings ...string) {
	t.Helper()
	const patients = 4
	run := strings.ToLower(rand.Text()) // nobody else writes these patients
	id := func(n int) string { return fmt.Sprintf("tokens-%s-%d", run, n) }
	number := func(n int) string { return fmt.Sprintf("P-2025-%06d", n+1) }
	var lines []string
	for n := range patients {
		lines = append(lines, PatientJSON(id(n), number(n)))
		if err := g.hapi.Put(lines[n]); err != nil {
			t.Fatal(err)
		}
	}
	MustImport(t, databaseURL, lines...)
	p := StartWith(t, g.url, databaseURL, append([]string{"FHIR_TIMEOUT=30s", "FHIR_TOKEN_URL=" + g.auth.URL, "LOG_LEVEL=info"}, settings...)...)

	const success = "UpdatePatientContactSuccess"
	var mu sync.Mutex
	outcomes, last := map[string]int{}, map[string]string{} // the last value by patient and field
	end := time.Now().Add(10 * time.Minute)
	var failed atomic.Bool
	over := func() bool {
		if *full {
			return time.Now().After(end)
		}
		return g.usedUp.Load() >= 4 || failed.Load() // without another token none is used up either
	}
	write := func(n int, field, value string) {
		answer := p.Update(Object{"patientId": number(n), field: value})
		outcome := fmt.Sprint(answer["__typename"])
		if outcome != success {
			outcome = fmt.Sprint(answer)
		}
		now, err := p.Read(number(n))
		if shown := map[string]string{"phone": now.Phone, "email": now.Email}[field]; err != nil || shown != value {
			outcome += fmt.Sprint(", and then another value was read: ", err)
		}
		failed.CompareAndSwap(false, outcome != success)
		mu.Lock()
		defer mu.Unlock()
		outcomes[outcome]++
		last[id(n)+field] = value
	}
	var clients sync.WaitGroup
	for n := range patients {
		for field, format := range map[string]string{"phone": "010-%04d-%04d", "email": "p%d.%d@example.org"} {
			clients.Go(func() {
				for k := 0; !over(); k++ {
					write(n, field, fmt.Sprintf(format, n, k))
					if *full {
						time.Sleep(200 * time.Millisecond) // HAPI serves all that runs beside
					}
				}
			})
		}
	}
	clients.Wait()
	t.Logf("%v; %d tokens were asked for, %d requests refused, %d of them overtaken on their way", outcomes, len(g.auth.Asked()), g.refused.Load(), g.overtaken.Load())
	for outcome, times := range outcomes {
		if outcome != success {
			t.Errorf("%d times: %s", times, outcome)
		}
	}
	if !*full && g.refused.Load() == 0 {
		t.Error("no request was refused")
	}
	for n := range patients {
		stored, err := g.hapi.Get(id(n))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"phone", "email"} {
			if !strings.Contains(string(stored), `"`+last[id(n)+field]+`"`) {
				t.Errorf("HAPI lacks the last %s of %s: %s", field, id(n), stored)
			}
		}
	}
	for authorization := range g.uses {
		if token := strings.TrimPrefix(authorization, "Bearer "); token != "" && strings.Contains(p.Log.String(), token) {
			t.Error("the log shows a token")
		}
	}
}

// TestReplicaKilledAskingForTokens kills a process while the authorization server keeps
// it waiting: the other asks for none until the lease of the dead one has run out, and
// writes nothing, then it goes on with the same chain.
func TestReplicaKilledAskingForTokens(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		auth := oauthserver.Start(t, oauthserver.Options{})
		sim := fhirsim.New(fhirsim.Options{})
		if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(auth.Guard(sim))
		t.Cleanup(server.Close)
		MustImport(t, databaseURL, PatientJSON("a1", Number))
		first := auth.RefreshToken(t, oauthserver.Public)
		start := func(timeout string) *Process {
			return Launch(t, Binary(t, ""), server.URL+"/fhir", databaseURL, "FHIR_TIMEOUT="+timeout, "FHIR_AUTH=refresh_token",
				"FHIR_CLIENT_ID="+oauthserver.Public, "FHIR_REFRESH_TOKEN="+first)
		}
		auth.Fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		dies := start("20s") // as long as it may ask, and 10 s, is its lease
		wait.Until(t, "it asks for tokens", func() bool { return len(auth.Asked()) == 1 })
		dies.Kill()
		auth.Fail(nil)

		lives := start("9s")
		Want(t, lives.Update(Object{"patientId": Number, "phone": "010-1111-0001"}), Object{"__typename": "FhirUnavailable", "applied": "NO"})
		if n := len(auth.Asked()); n != 1 {
			t.Errorf("%d refreshes while another replica has the lease", n-1)
		}
		wait.Until(t, "a write succeeds", func() bool {
			return lives.Update(Object{"patientId": Number, "phone": "010-1111-0002"})["__typename"] == "UpdatePatientContactSuccess"
		})
		if n := len(auth.Asked()); n != 2 {
			t.Errorf("%d refreshes afterwards", n-1)
		}
	})
}
