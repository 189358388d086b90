package fhir

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// TLSFiles names PEM files for the connections to the FHIR server; "" is none.
type TLSFiles struct {
	CA   string // trusted instead of the system's authorities
	Cert string // our client certificate, the chain behind it
	Key  string // its private key
}

// tlsFiles makes the settings of a connection from the files, and again when
// they have changed: certificates of an internal authority may live for hours.
type tlsFiles struct {
	TLSFiles
	public bool // for a host that is not the FHIR server's: the system's authorities too, and no client certificate
	now    func() time.Time

	mu     sync.Mutex
	stamps []os.FileInfo // of the files as they were read
	made   *tls.Config
}

func newTLSFiles(files TLSFiles, public bool, now func() time.Time) (*tlsFiles, error) {
	if public {
		files.Cert, files.Key = "", ""
	}
	t := &tlsFiles{TLSFiles: files, public: public, now: now}
	t.stamps = t.look()
	var err error
	t.made, err = t.read()
	return t, err
}

// config is what the files say now. While one is being replaced, and may not
// fit the other, it is what they said before.
func (t *tlsFiles) config() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stamps := t.look(); !slices.EqualFunc(stamps, t.stamps, sameFile) {
		if made, err := t.read(); err == nil {
			t.made, t.stamps = made, stamps
		}
	}
	return t.made
}

func (t *tlsFiles) look() []os.FileInfo {
	var stamps []os.FileInfo
	for _, name := range []string{t.CA, t.Cert, t.Key} {
		stamp, _ := os.Stat(name) // nil for "" and for a file that is gone, which read reports
		stamps = append(stamps, stamp)
	}
	return stamps
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (t *tlsFiles) read() (*tls.Config, error) {
	config := &tls.Config{}
	if t.CA != "" {
		pool := x509.NewCertPool()
		if t.public {
			if system, err := x509.SystemCertPool(); err == nil {
				pool = system
			}
		}
		certificates, err := readCertificates("FHIR_CA_FILE", t.CA)
		if err != nil {
			return nil, err
		}
		if err := checkDates("FHIR_CA_FILE", certificates, t.now()); err != nil {
			return nil, err
		}
		for _, c := range certificates {
			pool.AddCert(c)
		}
		config.RootCAs = pool
	}
	switch {
	case t.Cert != "" && t.Key == "":
		return nil, errors.New("FHIR_CLIENT_KEY is needed with FHIR_CLIENT_CERT")
	case t.Cert == "" && t.Key != "":
		return nil, errors.New("FHIR_CLIENT_CERT is needed with FHIR_CLIENT_KEY")
	case t.Cert != "":
		certificate, err := t.readClient()
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

func (t *tlsFiles) readClient() (tls.Certificate, error) {
	var none tls.Certificate
	chain, err := readCertificates("FHIR_CLIENT_CERT", t.Cert)
	if err != nil {
		return none, err
	}
	if err := checkDates("FHIR_CLIENT_CERT", chain[:1], t.now()); err != nil {
		return none, err
	}
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return none, fmt.Errorf("FHIR_CLIENT_CERT: %w", err)
	}
	key, err := os.ReadFile(t.Key)
	if err != nil {
		return none, fmt.Errorf("FHIR_CLIENT_KEY: %w", err)
	}
	private := privateBlock(key)
	switch {
	case private == nil:
		return none, errors.New("FHIR_CLIENT_KEY: holds no private key in PEM form")
	case isEncrypted(private):
		return none, errors.New("FHIR_CLIENT_KEY: is encrypted; a key without a passphrase is needed")
	}
	pair, err := tls.X509KeyPair(withoutBOM(cert), pem.EncodeToMemory(private))
	if err != nil && strings.Contains(err.Error(), "does not match") { // crypto/tls has no other word for it
		return none, errors.New("FHIR_CLIENT_KEY: is not the key of the certificate in FHIR_CLIENT_CERT")
	}
	if err != nil {
		return none, errors.New("FHIR_CLIENT_KEY: the private key cannot be read")
	}
	return pair, nil
}

// readCertificates gives at least one.
func readCertificates(setting, name string) ([]*x509.Certificate, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(withoutBOM(content)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: a certificate in it cannot be read", setting)
		}
		certificates = append(certificates, c)
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("%s: holds no certificate in PEM form", setting)
	}
	return certificates, nil
}

// withoutBOM drops the mark that editors of Windows put before UTF-8.
func withoutBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

// checkDates refuses certificates of which none is valid now.
func checkDates(setting string, certificates []*x509.Certificate, now time.Time) (err error) {
	for _, c := range certificates {
		switch {
		case now.After(c.NotAfter):
			err = fmt.Errorf("%s: the certificate expired on %s", setting, c.NotAfter.UTC().Format(time.DateOnly))
		case now.Before(c.NotBefore):
			err = fmt.Errorf("%s: the certificate is not valid before %s", setting, c.NotBefore.UTC().Format(time.RFC3339))
		default:
			return nil
		}
	}
	return err
}

// privateBlock finds the private key in a PEM text; nil: there is none.
func privateBlock(text []byte) *pem.Block {
	for block, rest := pem.Decode(withoutBOM(text)); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
	}
	return nil
}

func isEncrypted(block *pem.Block) bool {
	return strings.HasPrefix(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
}

// certificateState is what became of a server's wish for a client certificate.
type certificateState int

const (
	certificateNotAsked certificateState = iota
	certificateLacking                   // it asked, and we have none
	certificateGiven
)

// handshakeError says why TLS failed. A server that refuses a client certificate
// may say so only after the handshake (TLS 1.3), or just close the connection.
type handshakeError struct {
	certificate certificateState
	err         error
}

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// tlsReason tells the faults apart in plain words.
func tlsReason(err error, certificate certificateState) (reason string, cause Cause) {
	var notTLS tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var other *tls.CertificateVerificationError
	switch {
	case errors.As(err, &notTLS):
		reason = ": the server does not speak TLS"
	case errors.As(err, &authority):
		reason, cause = ": the server's certificate is from an unknown authority", UnknownAuthority
	case errors.As(err, &name):
		reason, cause = ": the server's certificate is for another name", OtherName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore):
		reason, cause = ": the server's certificate is not valid yet", NotYetValid
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		reason, cause = ": the server's certificate has expired", Expired
	case errors.As(err, &other):
		reason = ": the server's certificate is not valid"
	case certificate == certificateGiven:
		reason, cause = ": the server refused our client certificate", CertificateRefused
	case certificate == certificateLacking, isAlert(err, "certificate required"):
		reason, cause = ": the server asks for a client certificate", CertificateWanted
	case isAlert(err, "protocol version not supported"), isAlert(err, "handshake failure"), isAlert(err, "insufficient security level"),
		strings.Contains(err.Error(), "tls: server selected unsupported protocol version"),
		strings.Contains(err.Error(), "tls: server chose an unconfigured cipher suite"):
		reason, cause = ": no TLS version or cipher in common", NoCommonTLS
	}
	return "TLS handshake failed" + reason, cause
}

// isAlert knows a TLS alert by its words: crypto/tls does not export its type
// (Go 1.26).
func isAlert(err error, words string) bool {
	return strings.Contains(err.Error(), "remote error: tls: "+words)
}
