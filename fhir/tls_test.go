package fhir

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patientgraph/internal/testca"
)

// startTLS serves patients with these settings.
func startTLS(t *testing.T, config *tls.Config) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write(patientJSON(filepath.Base(r.URL.Path), ""))
	}))
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it would report each handshake that fails
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

var here = []net.IP{net.IPv4(127, 0, 0, 1)}

func TestFaultsOfTLSAreToldApart(t *testing.T) {
	t.Parallel()
	own, other := testca.New(t, "St. Example Internal CA"), testca.New(t, "Another CA")
	good := &x509.Certificate{IPAddresses: here}
	past := &x509.Certificate{IPAddresses: here, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	future := &x509.Certificate{IPAddresses: here, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)}
	elsewhere := &x509.Certificate{DNSNames: []string{"emr.internal.example"}}
	clients := x509.NewCertPool()
	clients.AddCert(own.Cert)
	cert, key := own.Files(&x509.Certificate{})
	foreignCert, foreignKey := other.Files(&x509.Certificate{})
	for name, tt := range map[string]struct {
		server *x509.Certificate
		asks   bool // for a client certificate
		files  TLSFiles
		reason string // "": works
	}{
		"good":                     {good, false, TLSFiles{CA: own.File}, ""},
		"good, and ours":           {good, true, TLSFiles{CA: own.File, Cert: cert, Key: key}, ""},
		"ours without need":        {good, false, TLSFiles{CA: own.File, Cert: cert, Key: key}, ""},
		"no authority":             {good, false, TLSFiles{}, "the server's certificate is from an unknown authority"},
		"another authority":        {good, false, TLSFiles{CA: other.File}, "the server's certificate is from an unknown authority"},
		"expired":                  {past, false, TLSFiles{CA: own.File}, "the server's certificate has expired"},
		"not valid yet":            {future, false, TLSFiles{CA: own.File}, "the server's certificate is not valid yet"},
		"another name":             {elsewhere, false, TLSFiles{CA: own.File}, "the server's certificate is for another name"},
		"no client certificate":    {good, true, TLSFiles{CA: own.File}, "the server asks for a client certificate"},
		"client of another issuer": {good, true, TLSFiles{CA: own.File, Cert: foreignCert, Key: foreignKey}, "the server refused our client certificate"},
	} {
		for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
			t.Run(name+", "+version, func(t *testing.T) {
				t.Parallel()
				template := *tt.server
				config := &tls.Config{Certificates: []tls.Certificate{own.Pair(&template)}, MinVersion: number, MaxVersion: number}
				if tt.asks {
					config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, clients
				}
				c := newTestClient(t, startTLS(t, config), func(o *Options) { o.TLS = tt.files })
				for range 3 { // whether the server's reason or the end of the connection comes first
					_, err := c.Read(t.Context(), "p")
					if tt.reason == "" {
						if err != nil {
							t.Error(err)
						}
						continue
					}
					var e *Error
					if !errors.As(err, &e) || e.Kind != NotSent && !(tt.asks && number == tls.VersionTLS13 && e.Kind == Lost) { // told after the handshake
						t.Fatal(err)
					}
					if e.Reason != "TLS handshake failed: "+tt.reason || e.Cause != tlsCauses[tt.reason] {
						t.Errorf("%q, cause %d", e.Reason, e.Cause)
					}
				}
			})
		}
	}
}

// What both speak is asked for before anything else.
func TestNoTLSInCommon(t *testing.T) {
	t.Parallel()
	own := testca.New(t, "CA")
	for name, config := range map[string]*tls.Config{
		"TLS 1.0":        {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
		"TLS 1.1":        {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"another cipher": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}},
	} {
		config.Certificates = []tls.Certificate{own.Pair(&x509.Certificate{IPAddresses: here})}
		for _, asks := range []tls.ClientAuthType{tls.NoClientCert, tls.RequireAnyClientCert} {
			config := config.Clone()
			config.ClientAuth = asks
			c := newTestClient(t, startTLS(t, config), func(o *Options) { o.TLS = TLSFiles{CA: own.File} })
			_, err := c.Read(t.Context(), "p")
			if e := asError(t, err, NotSent); e.Reason != "TLS handshake failed: no TLS version or cipher in common" {
				t.Errorf("%s: %q", name, e.Reason)
			}
		}
	}
	// A server that answers in a version that was not offered.
	for answer, says := range map[error]string{
		errors.New("tls: server selected unsupported protocol version 302"): ": no TLS version or cipher in common",
		errors.New("tls: server chose an unconfigured cipher suite"):        ": no TLS version or cipher in common",
		errors.New("tls: something else"):                                   "",
	} {
		if got, _ := tlsReason(answer, certificateNotAsked); got != "TLS handshake failed"+says {
			t.Errorf("%v: %q", answer, got)
		}
	}
}

// Editors of Windows put a mark before the text.
func TestPEMFilesWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	own := testca.New(t, "CA")
	cert, key := own.Files(&x509.Certificate{})
	files := []string{own.File, cert, key}
	for i, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = writeFile(t, "\ufeff"+strings.ReplaceAll(string(content), "\n", "\r\n"))
	}
	clients := x509.NewCertPool()
	clients.AddCert(own.Cert)
	base := startTLS(t, &tls.Config{Certificates: []tls.Certificate{own.Pair(&x509.Certificate{IPAddresses: here})}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients})
	c := newTestClient(t, base, func(o *Options) { o.TLS = TLSFiles{CA: files[0], Cert: files[1], Key: files[2]} })
	mustRead(t, c)
}

// tlsCauses are the causes that an operator can mend.
var tlsCauses = map[string]Cause{
	"the server's certificate is from an unknown authority": UnknownAuthority, "the server's certificate is for another name": OtherName,
	"the server's certificate has expired": Expired, "the server's certificate is not valid yet": NotYetValid,
	"the server asks for a client certificate": CertificateWanted, "the server refused our client certificate": CertificateRefused,
}

// Between the server's certificate and the authority there may be another, which the
// server has to send; and a certificate may not be for this.
func TestChainsAndUsesOfServerCertificates(t *testing.T) {
	t.Parallel()
	root := testca.New(t, "Root CA")
	between := root.Below("Issuing CA 3")
	good := func() *x509.Certificate { return &x509.Certificate{IPAddresses: here} }
	chained := between.Pair(good())
	chained.Certificate = append(chained.Certificate, between.Cert.Raw)
	forClients := good()
	forClients.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for name, tt := range map[string]struct {
		certificate tls.Certificate
		ca          string
		reason      string // "": works
	}{
		"the one between is sent":        {chained, root.File, ""},
		"the one between is not sent":    {between.Pair(good()), root.File, "the server's certificate is from an unknown authority"},
		"the one between is trusted":     {between.Pair(good()), between.File, ""},
		"its own, and trusted":           {root.Pair(good()), root.File, ""},
		"the name in the common name":    {root.Pair(&x509.Certificate{Subject: pkix.Name{CommonName: "127.0.0.1"}}), root.File, "the server's certificate is for another name"},
		"the address as a name":          {root.Pair(&x509.Certificate{DNSNames: []string{"127.0.0.1"}}), root.File, "the server's certificate is for another name"},
		"another address":                {root.Pair(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 7)}}), root.File, "the server's certificate is for another name"},
		"a certificate for clients only": {root.Pair(forClients), root.File, "the server's certificate is not valid"},
	} {
		_, err := newTestClient(t, startTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.certificate}}), func(o *Options) { o.TLS.CA = tt.ca }).Read(t.Context(), "p")
		if tt.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if e := asError(t, err, NotSent); e.Reason != "TLS handshake failed: "+tt.reason || e.Cause != tlsCauses[tt.reason] {
			t.Errorf("%s: %q, cause %d", name, e.Reason, e.Cause)
		}
	}
}

func TestTLSFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	own := testca.New(t, "CA")
	cert, key := own.Files(&x509.Certificate{})
	otherCert, _ := own.Files(&x509.Certificate{})
	oldCert, oldKey := own.Files(&x509.Certificate{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)})
	newCert, newKey := own.Files(&x509.Certificate{NotBefore: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)})
	empty, der := writeFile(t, ""), writeFile(t, string(own.Cert.Raw))
	broken := testca.WritePEM(t, "CERTIFICATE", own.Cert.Raw[:40])
	locked := testca.WritePEM(t, "ENCRYPTED PRIVATE KEY", []byte("x"))
	for _, tt := range []struct {
		files TLSFiles
		want  string
	}{
		{TLSFiles{CA: "/nonexistent/ca.pem"}, "FHIR_CA_FILE: open /nonexistent/ca.pem: no such file or directory"},
		{TLSFiles{CA: empty}, "FHIR_CA_FILE: holds no certificate in PEM form"},
		{TLSFiles{CA: der}, "FHIR_CA_FILE: holds no certificate in PEM form"},
		{TLSFiles{CA: key}, "FHIR_CA_FILE: holds no certificate in PEM form"},
		{TLSFiles{CA: broken}, "FHIR_CA_FILE: a certificate in it cannot be read"},
		{TLSFiles{CA: oldCert}, "FHIR_CA_FILE: the certificate expired on 2026-01-31"},
		{TLSFiles{Cert: cert}, "FHIR_CLIENT_KEY is needed with FHIR_CLIENT_CERT"},
		{TLSFiles{Key: key}, "FHIR_CLIENT_CERT is needed with FHIR_CLIENT_KEY"},
		{TLSFiles{Cert: "/nonexistent/c.pem", Key: key}, "FHIR_CLIENT_CERT: open /nonexistent/c.pem: no such file or directory"},
		{TLSFiles{Cert: cert, Key: "/nonexistent/k.pem"}, "FHIR_CLIENT_KEY: open /nonexistent/k.pem: no such file or directory"},
		{TLSFiles{Cert: key, Key: key}, "FHIR_CLIENT_CERT: holds no certificate in PEM form"},
		{TLSFiles{Cert: cert, Key: cert}, "FHIR_CLIENT_KEY: holds no private key in PEM form"},
		{TLSFiles{Cert: cert, Key: locked}, "FHIR_CLIENT_KEY: is encrypted; a key without a passphrase is needed"},
		{TLSFiles{Cert: otherCert, Key: key}, "FHIR_CLIENT_KEY: is not the key of the certificate in FHIR_CLIENT_CERT"},
		{TLSFiles{Cert: oldCert, Key: oldKey}, "FHIR_CLIENT_CERT: the certificate expired on 2026-01-31"},
		{TLSFiles{Cert: newCert, Key: newKey}, "FHIR_CLIENT_CERT: the certificate is not valid before 2999-01-01T00:00:00Z"},
	} {
		_, err := NewClient(Options{BaseURL: "https://fhir.example", TLS: tt.files})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

// Certificates that are replaced are used from the next connection on; while the
// files do not fit each other, those of before.
func TestChangedTLSFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	own, next := testca.New(t, "CA"), testca.New(t, "next CA")
	clients := x509.NewCertPool()
	clients.AddCert(next.Cert)
	base := startTLS(t, &tls.Config{
		Certificates: []tls.Certificate{next.Pair(&x509.Certificate{IPAddresses: here})}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	cert, key := own.Files(&x509.Certificate{})
	nextCert, nextKey := next.Files(&x509.Certificate{})
	c := newTestClient(t, base, func(o *Options) { o.TLS = TLSFiles{CA: own.File, Cert: cert, Key: key} })
	replace := func(name, with string) {
		t.Helper()
		if err := os.Rename(with, name); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		_, err := c.Read(t.Context(), "p")
		if err == nil {
			return ""
		}
		return err.Error()
	}
	if got := read(); !strings.HasSuffix(got, "unknown authority") {
		t.Error(got)
	}
	replace(cert, nextCert)
	replace(own.File, next.File)
	if got := read(); !strings.HasSuffix(got, "unknown authority") {
		t.Errorf("with half of the new files: %q", got)
	}
	replace(key, nextKey)
	if got := read(); got != "" {
		t.Error(got)
	}
}

// At the FHIR server's host the authorization server is trusted as it; elsewhere
// the system's authorities are trusted too, and our certificate is not shown.
func TestTLSOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	own := testca.New(t, "CA")
	cert, key := own.Files(&x509.Certificate{})
	shownTo := make(chan int, 4)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		if r.URL.Path == "/token" {
			shownTo <- len(r.TLS.PeerCertificates)
			_, _ = io.WriteString(w, `{"access_token":"a","token_type":"Bearer"}`)
			return
		}
		_, _ = w.Write(patientJSON("p", ""))
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{own.Pair(&x509.Certificate{IPAddresses: here, DNSNames: []string{"localhost"}})}, ClientAuth: tls.RequestClientCert,
	}
	server.StartTLS()
	defer server.Close()
	for host, want := range map[string]int{"127.0.0.1": 1, "localhost": 0} {
		c := newTestClient(t, server.URL, func(o *Options) {
			o.TLS = TLSFiles{CA: own.File, Cert: cert, Key: key}
			o.Auth = Auth{Mode: "client_credentials", ClientID: "c", ClientSecret: "s", TokenURL: strings.Replace(server.URL, "127.0.0.1", host, 1) + "/token"}
		})
		if _, err := c.Read(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		if got := <-shownTo; got != want {
			t.Errorf("%s was shown %d client certificates", host, got)
		}
	}
}

// A server that took our certificate and breaks down later has not refused it.
func TestABreakdownIsNoRefusedCertificate(t *testing.T) {
	t.Parallel()
	own := testca.New(t, "CA")
	cert, key := own.Files(&x509.Certificate{})
	clients := x509.NewCertPool()
	clients.AddCert(own.Cert)
	for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{own.Pair(&x509.Certificate{IPAddresses: here})},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: number, MaxVersion: number}
		server.StartTLS()
		defer server.Close()
		c := newTestClient(t, server.URL, func(o *Options) { o.TLS = TLSFiles{CA: own.File, Cert: cert, Key: key} })
		_, err := c.Read(t.Context(), "p")
		if e := asError(t, err, Lost); e.Reason != "Connection closed before the answer was complete" {
			t.Errorf("%s: %s", version, e.Reason)
		}
	}
}
