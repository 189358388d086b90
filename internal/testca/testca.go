// Package testca is a certificate authority for tests, as a hospital has its own.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA issues certificates.
type CA struct {
	Cert *x509.Certificate
	File string // Cert, PEM

	t   testing.TB
	key *ecdsa.PrivateKey
}

// New makes an authority that lives as long as the test.
func New(t testing.TB, name string) *CA {
	t.Helper()
	ca := &CA{t: t}
	ca.Cert, ca.key = ca.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	ca.File = WritePEM(t, "CERTIFICATE", ca.Cert.Raw)
	return ca
}

// Below makes an authority that this one vouches for.
func (ca *CA) Below(name string) *CA {
	ca.t.Helper()
	below := &CA{t: ca.t}
	below.Cert, below.key = ca.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	below.File = WritePEM(ca.t, "CERTIFICATE", below.Cert.Raw)
	return below
}

// issue signs a certificate, by itself if there is no authority yet. It is valid
// for an hour unless the template says otherwise.
func (ca *CA) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if ca.Cert != nil {
		parent, signer = ca.Cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}

// Pair issues a certificate for a server.
func (ca *CA) Pair(template *x509.Certificate) tls.Certificate {
	ca.t.Helper()
	cert, key := ca.issue(template)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// Files issues a client certificate and returns its PEM files.
func (ca *CA) Files(template *x509.Certificate) (cert, key string) {
	ca.t.Helper()
	template.Subject = pkix.Name{CommonName: "gateway"}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c, k := ca.issue(template)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		ca.t.Fatal(err)
	}
	return WritePEM(ca.t, "CERTIFICATE", c.Raw), WritePEM(ca.t, "PRIVATE KEY", der)
}

// WritePEM writes one block into a file of its own.
func WritePEM(t testing.TB, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
