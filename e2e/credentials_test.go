package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/oauthserver"
	"patientgraph/internal/testca"
)

// replay gives a recorded answer, with some words of it replaced.
func replay(t testing.TB, w http.ResponseWriter, file string, replace ...string) {
	text, err := os.ReadFile(filepath.Join("testdata", "credentials", file))
	if err != nil {
		t.Error(err)
		return
	}
	text = []byte(strings.NewReplacer(replace...).Replace(string(text)))
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	if _, err := io.Copy(w, answer.Body); err != nil {
		t.Error(err)
	}
}

// clinic is a FHIR server that takes one token at a time, and its authorization
// server, which counts the tokens: at-0001, at-0002 …
type clinic struct {
	*fhirsim.Server
	URL string

	mu       sync.Mutex
	issued   int
	refusal  func(w http.ResponseWriter) // nil: token-refused.http
	taken    string                      // the token that is good; "": none is
	spoiled  bool                        // what is issued is refused
	readOnly bool                        // what is issued is refused for a PUT
	refused  int                         // requests that were refused
}

const clinicPatients = 10

func number(n int) string { return fmt.Sprintf("P-2025-%06d", n+1) }

func startClinic(t *testing.T, databaseURL string) *clinic {
	t.Helper()
	c := &clinic{Server: fhirsim.New(fhirsim.Options{})}
	var patients []string
	for n := range clinicPatients {
		patients = append(patients, PatientJSON(fmt.Sprint("a", n+1), number(n)))
		if err := c.Put([]byte(patients[n])); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case r.URL.Path == "/fhir/.well-known/smart-configuration":
			_, _ = fmt.Fprintf(w, `{"token_endpoint":%q}`, "http://"+r.Host+"/token")
		case r.URL.Path == "/token":
			c.issued++
			token := fmt.Sprintf("at-%04d", c.issued)
			if !c.spoiled {
				c.taken = token
			}
			replay(t, w, "token-answer.http", "at-0002", token)
		case c.taken == "" || r.Header.Get("Authorization") != "Bearer "+c.taken || c.readOnly && r.Method == http.MethodPut:
			c.refused++
			if c.refusal != nil {
				c.refusal(w)
				return
			}
			replay(t, w, "token-refused.http")
		default:
			c.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL + "/fhir"
	MustImport(t, databaseURL, patients...)
	return c
}

func (c *clinic) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *clinic) counts() (issued, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.issued, c.refused
}

// all writes to every patient at once, and returns the answers.
func (c *clinic) all(t *testing.T, p *Product, phone string) (answers []Object) {
	t.Helper()
	answers = make([]Object, clinicPatients)
	var writes sync.WaitGroup
	for n := range answers {
		writes.Go(func() { answers[n] = p.Update(Object{"patientId": number(n), "phone": phone + fmt.Sprint(n)}) })
	}
	writes.Wait()
	return answers
}

func TestATokenThatRunsOut(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		c := startClinic(t, databaseURL)
		p := StartWith(t, c.URL, databaseURL, "FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID=gateway", "FHIR_CLIENT_SECRET=not-for-the-log",
			"FHIR_SCOPES=system/Patient.rs")
		success := func(phone string, issued int) {
			t.Helper()
			for _, answer := range c.all(t, p, phone) {
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
			}
			if n, _ := c.counts(); n != issued {
				t.Errorf("%d tokens were asked for, want %d", n, issued)
			}
		}
		success("010-1234-000", 1)
		success("010-1234-100", 1)
		c.set(func() { c.taken = "" }) // revoked early
		success("010-1234-200", 2)

		// What is issued is refused as well: told, and no loop.
		c.set(func() { c.taken, c.spoiled = "", true })
		_, before := c.counts()
		for _, answer := range c.all(t, p, "010-1234-300") {
			Want(t, answer, Object{"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false})
		}
		issued, refused := c.counts()
		if issued > 4 || refused-before > 4*clinicPatients {
			t.Errorf("%d tokens and %d refused requests", issued, refused-before)
		}
		for _, secret := range []string{"at-00", "not-for-the-log"} {
			if strings.Contains(p.Log.String(), secret) {
				t.Errorf("the log shows %s", secret)
			}
		}
		p.WantLog("our credentials were refused")
	})
}

// refusal answers with these headers, in pairs.
func refusal(status int, body string, header ...string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// A refused token is told in many words. Where another may mend it one is asked for,
// once; where the one that was issued is not enough none is.
func TestARefusedTokenInManyWords(t *testing.T) {
	t.Parallel()
	const isJSON, words = "application/json", "Solveig Aune"
	for name, tt := range map[string]struct {
		refusal func(w http.ResponseWriter)
		mends   bool // another token
	}{
		"401, empty":                 {refusal(401, "", "Content-Type", "text/html"), true},
		"401, a page":                {refusal(401, "<html>"+words+"</html>", "Content-Type", "text/html"), true},
		"401, OpenEMR":               {refusal(401, `{"error":"An error occurred","message":"Unauthorized","code":0}`, "Content-Type", isJSON), true},
		"401, OpenEMR 7.0.3":         {refusal(401, `{"error":"access_denied","error_description":"x","hint":"Access token has been revoked","message":"x"}`, "Content-Type", isJSON), true},
		"401, two values":            {refusal(401, `{"error":"x"}{"error":"y"}`, "Content-Type", isJSON), true},
		"401, cut":                   {refusal(401, `{"resourceType":"OperationOutcome","issue":[{"sev`, "Content-Type", "application/fhir+json"), true},
		"401, a scope is missing":    {refusal(401, "", "WWW-Authenticate", `Bearer error="insufficient_scope"`), true},
		"401, several challenges":    {refusal(401, "", "WWW-Authenticate", `Negotiate, Basic realm="x", Bearer error="invalid_token"`), true},
		"400, the session was ended": {refusal(400, `{"error":"invalid _request","error_description":"x","message":"Refresh Token revoked or logged out"}`, "Content-Type", isJSON), true},
		"403, a scope is missing":    {refusal(403, "", "WWW-Authenticate", `Bearer error="insufficient_scope", scope="system/Patient.u"`), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.SQLite(t)
			c := startClinic(t, databaseURL)
			p := StartWith(t, c.URL, databaseURL, "FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID=gateway", "FHIR_CLIENT_SECRET=not-for-the-log")
			Want(t, p.Update(Object{"patientId": Number, "phone": "010-1234-0001"}), Object{"__typename": "UpdatePatientContactSuccess"})
			issued, _ := c.counts()
			c.set(func() { c.refusal, c.taken = tt.refusal, "" })
			answer := p.Update(Object{"patientId": Number, "phone": "010-1234-0002"})
			now, _ := c.counts()
			if tt.mends {
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
			} else {
				Want(t, answer, Object{"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false})
			}
			if want := map[bool]int{true: issued + 1, false: issued}[tt.mends]; now != want {
				t.Errorf("%d tokens, want %d", now, want)
			}
			c.set(func() { c.taken, c.spoiled = "", true })
			_, before := c.counts()
			Want(t, p.Update(Object{"patientId": Number, "phone": "010-1234-0003"}), Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
			if last, refused := c.counts(); last > now+2 || refused-before > 4 {
				t.Errorf("%d tokens and %d refused requests more", last-now, refused-before)
			}
			p.WantLog("our credentials were refused")
			for _, secret := range []string{"at-00", "not-for-the-log", words} {
				if strings.Contains(p.Log.String(), secret) || strings.Contains(JSON(t, answer), secret) {
					t.Errorf("%s is shown", secret)
				}
			}
		})
	}
}

// A token that allows less than was asked for: the start says so, and a write that the
// server refuses for it is told as ours.
func TestATokenThatAllowsLess(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	c := startClinic(t, databaseURL) // its tokens say system/Patient.rs
	c.set(func() {
		c.readOnly, c.refusal = true, refusal(403, "", "WWW-Authenticate", `Bearer error="insufficient_scope", scope="system/Patient.u"`)
	})
	p := StartWith(t, c.URL, databaseURL, "FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID=gateway", "FHIR_CLIENT_SECRET=not-for-the-log",
		"FHIR_SCOPES=system/Patient.rus")
	p.UntilLog("the granted scopes allow no update of Patient")
	p.WantLog("ask for it in FHIR_SCOPES")
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}),
		Object{"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false})
	if issued, refused := c.counts(); issued != 1 || refused != 1 {
		t.Errorf("%d tokens, %d refused requests", issued, refused)
	}
}

func TestATokenFileThatIsReplaced(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	c := startClinic(t, databaseURL)
	file := filepath.Join(t.TempDir(), "token")
	replace := func(token string) {
		t.Helper()
		next := file + ".next" // as a sidecar does it
		if err := os.WriteFile(next, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	replace("one")
	c.set(func() { c.taken = "one" })
	p := StartWith(t, c.URL, databaseURL, "FHIR_AUTH=bearer", "FHIR_TOKEN_FILE="+file)
	for _, token := range []string{"one", "two", "three"} {
		replace(token)
		c.set(func() { c.taken = token })
		for _, answer := range c.all(t, p, "010-1234-"+fmt.Sprint(len(token))+"00") {
			Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
		}
	}
	c.set(func() { c.taken = "four" })
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
	replace("four")
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
}

// securedFHIR is a FHIR server behind a real authorization server.
func securedFHIR(t *testing.T, auth *oauthserver.Server) (*fhirsim.Server, string) {
	t.Helper()
	sim := fhirsim.New(fhirsim.Options{})
	if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(auth.Guard(sim))
	t.Cleanup(server.Close)
	return sim, server.URL + "/fhir"
}

// Tokens that live for two seconds, under load: no write fails for want of one.
func TestShortTokensUnderLoad(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	auth := oauthserver.Start(t, oauthserver.Options{Life: 2 * time.Second})
	sim, base := securedFHIR(t, auth)
	var patients []string
	for n := range 8 {
		patients = append(patients, PatientJSON(fmt.Sprint("a", n+1), number(n)))
		if err := sim.Put([]byte(patients[n])); err != nil {
			t.Fatal(err)
		}
	}
	MustImport(t, databaseURL, patients...)
	p := StartWith(t, base, databaseURL, "FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID="+oauthserver.Post, "FHIR_CLIENT_SECRET="+oauthserver.Secret)
	var writes sync.WaitGroup
	for n := range patients {
		writes.Go(func() {
			for k := 0; len(auth.Asked()) < 4; k++ {
				Want(t, p.Update(Object{"patientId": number(n), "phone": fmt.Sprintf("010-1234-%04d", k%10000)}), Object{"__typename": "UpdatePatientContactSuccess"})
			}
		})
	}
	writes.Wait()
}

// An authorization server that is away is an outage: nothing took effect, come back.
func TestNoTokenCanBeHad(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	auth := oauthserver.Start(t, oauthserver.Options{})
	sim, base := securedFHIR(t, auth)
	MustImport(t, databaseURL, PatientJSON("a1", Number))
	auth.Fail(func(w http.ResponseWriter, _ *http.Request) { // from before the start, which logs in
		http.Error(w, "<html>Solveig Aune</html>", http.StatusServiceUnavailable)
	})
	p := StartWith(t, base, databaseURL, "FHIR_AUTH=password", "FHIR_CLIENT_ID="+oauthserver.Public, "FHIR_USERNAME="+oauthserver.User,
		"FHIR_PASSWORD="+oauthserver.Password)
	for range 5 {
		answer := p.Update(Object{"patientId": Number, "phone": NewPhone})
		Want(t, answer, Object{"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "retryable": true,
			"detail": "No access to the FHIR server: the authorization server failed (status 503)"})
		if seconds, _ := answer["retryAfterSeconds"].(float64); seconds < 1 {
			t.Errorf("no hint when to come back: %v", answer)
		}
	}
	if n := len(auth.Asked()); n > 3 {
		t.Errorf("the authorization server was asked %d times", n)
	}
	if n := len(sim.Requests()); n != 0 {
		t.Errorf("%d requests without a token", n)
	}
	auth.Fail(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"Solveig Aune"}`)
	})
	until := time.Now().Add(30 * time.Second)
	for code := any(""); code != "FHIR_AUTH_FAILED"; {
		answer := p.Update(Object{"patientId": Number, "phone": NewPhone})
		if code = answer["code"]; time.Now().After(until) {
			t.Fatalf("still told: %v", answer)
		}
		Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO"})
	}
	if strings.Contains(p.Log.String(), "Solveig") {
		t.Error("the log repeats the authorization server")
	}
}

// Replicas, and one that is started later, go on with the refresh token of the
// others. The database does not show it.
func TestReplicasShareTheRefreshToken(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		auth := oauthserver.Start(t, oauthserver.Options{})
		_, base := securedFHIR(t, auth)
		MustImport(t, databaseURL, PatientJSON("a1", Number))
		first := auth.RefreshToken(t, oauthserver.Public)
		start := func() *Product {
			return StartWith(t, base, databaseURL, "FHIR_AUTH=refresh_token", "FHIR_CLIENT_ID="+oauthserver.Public, "FHIR_REFRESH_TOKEN="+first)
		}
		doctor := func() string {
			var out, log locked.Buffer
			err := Run(context.Background(), []string{"doctor"}, &out, &log, "FHIR_BASE_URL="+base, "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret, "LISTEN_ADDR=127.0.0.1:0",
				"FHIR_AUTH=refresh_token", "FHIR_CLIENT_ID="+oauthserver.Public, "FHIR_REFRESH_TOKEN="+first)
			return fmt.Sprint(out.String(), log.String(), err)
		}
		if told := doctor(); !strings.Contains(told, "doctor uses up no refresh token") {
			t.Error(told)
		}
		if n := len(auth.Asked()); n != 0 {
			t.Fatalf("doctor used up the refresh token")
		}
		write := func(p *Product, phone string) {
			t.Helper()
			Want(t, p.Update(Object{"patientId": Number, "phone": phone}), Object{"__typename": "UpdatePatientContactSuccess"})
		}
		one, two := start(), start()
		write(one, "010-1111-0001")
		write(two, "010-1111-0002")
		if told := doctor(); !strings.Contains(told, "ok    FHIR server") {
			t.Error(told)
		}
		if n := len(auth.Asked()); n != 1 {
			t.Errorf("%d refreshes", n)
		}
		auth.Revoke()
		write(two, "010-1111-0003")
		write(one, "010-1111-0004")
		if err := one.Stop(); err != nil {
			t.Fatal(err)
		}
		three := start()
		auth.Revoke()
		write(three, "010-1111-0005")
		write(two, "010-1111-0006")
		if n := len(auth.Asked()); n != 3 {
			t.Errorf("%d refreshes", n)
		}
		var kept []byte
		if err := dbtest.Open(t, databaseURL).QueryRow("SELECT sealed FROM fhir_tokens").Scan(&kept); err != nil {
			t.Fatal(err)
		}
		for _, form := range auth.Asked() {
			token := form.Get("refresh_token")
			if bytes.Contains(kept, []byte(token)) || strings.Contains(two.Log.String()+three.Log.String(), token) {
				t.Error("a refresh token is shown")
			}
		}
	})
}

// The hospital's own authority, and a server that asks for a client certificate.
func TestTheHospitalsOwnAuthority(t *testing.T) {
	t.Parallel()
	ca, other := testca.New(t, "St. Example Internal CA 2"), testca.New(t, "Another CA")
	cert, key := ca.Files(&x509.Certificate{})
	foreignCert, foreignKey := other.Files(&x509.Certificate{})
	clients := x509.NewCertPool()
	clients.AddCert(ca.Cert)
	sim := fhirsim.New(fhirsim.Options{})
	if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
		t.Fatal(err)
	}
	start := func(certificate *x509.Certificate) string {
		server := httptest.NewUnstartedServer(sim)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Pair(certificate)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL + "/fhir"
	}
	here := []net.IP{net.IPv4(127, 0, 0, 1)}
	good := start(&x509.Certificate{IPAddresses: here})
	ours := []string{"FHIR_CA_FILE=" + ca.File, "FHIR_CLIENT_CERT=" + cert, "FHIR_CLIENT_KEY=" + key}
	for name, tt := range map[string]struct {
		base     string
		settings []string
		reason   string // "": works
	}{
		"works":                    {good, ours, ""},
		"unknown authority":        {good, append([]string{"FHIR_CA_FILE=" + other.File}, ours[1:]...), "the server's certificate is from an unknown authority"},
		"expired":                  {start(&x509.Certificate{IPAddresses: here, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), ours, "the server's certificate has expired"},
		"wrong name":               {start(&x509.Certificate{DNSNames: []string{"emr.internal.example"}}), ours, "the server's certificate is for another name"},
		"no client certificate":    {good, ours[:1], "the server asks for a client certificate"},
		"client of another issuer": {good, []string{ours[0], "FHIR_CLIENT_CERT=" + foreignCert, "FHIR_CLIENT_KEY=" + foreignKey}, "the server refused our client certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.SQLite(t)
			MustImport(t, databaseURL, PatientJSON("a1", Number))
			var out, log locked.Buffer
			err := Run(context.Background(), []string{"doctor"}, &out, &log,
				append([]string{"FHIR_BASE_URL=" + tt.base, "DATABASE_URL=" + databaseURL, "JWT_SECRET=" + Secret, "LISTEN_ADDR=127.0.0.1:0"}, tt.settings...)...)
			p := StartWith(t, tt.base, databaseURL, tt.settings...)
			answer := p.Update(Object{"patientId": Number, "phone": NewPhone})
			if tt.reason == "" {
				if err != nil {
					t.Errorf("doctor: %v\n%s", err, out.String())
				}
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
				return
			}
			if err == nil || !strings.Contains(out.String(), "TLS handshake failed: "+tt.reason) {
				t.Errorf("doctor: %v\n%s", err, out.String())
			}
			Want(t, answer, Object{"__typename": "FhirUnavailable", "applied": "NO", "detail": "TLS handshake failed: " + tt.reason})
			p.WantLog(tt.reason)
		})
	}
}

// A file that is replaced while the program runs is used from the next connection on.
func TestAnAuthorityThatIsReplacedWhileRunning(t *testing.T) {
	t.Parallel()
	old, next := testca.New(t, "Internal CA 2025"), testca.New(t, "Internal CA 2026")
	sim := fhirsim.New(fhirsim.Options{})
	if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(sim)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{next.Pair(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, PatientJSON("a1", Number))
	p := StartWith(t, server.URL+"/fhir", databaseURL, "FHIR_CA_FILE="+old.File)
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"applied": "NO", "detail": "TLS handshake failed: the server's certificate is from an unknown authority"})
	if err := os.WriteFile(old.File, []byte("half of a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"applied": "NO"})
	if err := os.Rename(next.File, old.File); err != nil {
		t.Fatal(err)
	}
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
}
