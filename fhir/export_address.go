package fhir

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode/utf8"
)

var (
	errBadAddress = errors.New("not an http or https address")
	errLocal      = errors.New("an address of this machine or of its network link")
)

// readAddress reads an address that the server gave in its answer from at.
func readAddress(at *url.URL, address string) (*url.URL, error) {
	if len(address) > maxLink || !utf8.ValidString(address) {
		return nil, errBadAddress
	}
	u, err := at.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errBadAddress
	}
	return u, nil
}

// rewritten is the same address below our base; nil: FHIR_REWRITE_LINKS is not set, or
// there is none.
func (x *exporter) rewritten(u *url.URL) *url.URL {
	if !x.rewriteLinks {
		return nil
	}
	if to := x.rewrite(u); x.below(to) && to.String() != x.base.String() {
		return to
	}
	return nil
}

// place decides how a file is fetched. Our credentials go to our own base alone. From
// another origin a file is fetched without them, with no less TLS than our base has, and
// never from what only this machine can reach.
func (x *exporter) place(address string, withToken bool) (exportFile, error) {
	u, err := readAddress(x.status, address)
	if err != nil {
		return exportFile{}, unusableExport(http.StatusOK, "The export has a file at what is no http or https address", err)
	}
	if x.below(u) {
		return exportFile{url: u, withToken: withToken}, nil
	}
	why := x.refuses(u, withToken)
	if why == "" && (!x.rewriteLinks || u.Scheme+origin(u) != x.inside) {
		return exportFile{url: u, elsewhere: true}, nil
	}
	if to := x.rewritten(u); to != nil {
		return exportFile{url: to, withToken: withToken}, nil
	}
	e := unusableExport(http.StatusOK, "The export's files lead away from FHIR_BASE_URL, to "+u.Scheme+"://"+printable(u.Host)+why+
		"; if that is the FHIR server under another name set FHIR_REWRITE_LINKS=true, else run sync without --bulk", nil)
	e.Cause = LeadsAway
	return exportFile{}, e
}

// refuses says why a file is not fetched from outside our base; "": it is.
func (x *exporter) refuses(u *url.URL, withToken bool) string {
	switch {
	case withToken:
		return ", where our credentials do not go"
	case u.User != nil:
		return ", with a password in the address"
	case u.Scheme != "https" && u.Scheme != x.base.Scheme:
		return ", without TLS"
	case isLocal(u.Hostname()) && !isLocal(x.base.Hostname()):
		return ", which only this machine or its network link can reach"
	}
	return ""
}

// isLocal reports whether a host is this machine, or on its network link: what is served
// there is often not protected otherwise (cloud metadata is).
func isLocal(host string) bool {
	ip := net.ParseIP(strings.TrimSuffix(host, "."))
	if address, _, zoned := strings.Cut(host, "%"); zoned {
		ip = net.ParseIP(address)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified())
}

// transportTo makes a connection to another origin than our base's: with the system's
// authorities too, and without our client certificate.
func (x *exporter) transportTo(u *url.URL) (*http.Transport, error) {
	files, err := newTLSFiles(x.tls.TLSFiles, true, x.now)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: x.timeout}
	request := &http.Request{URL: u}
	if proxy, err := http.ProxyFromEnvironment(request); err == nil && proxy == nil && !isLocal(x.base.Hostname()) {
		// A name may lead where its address may not.
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if host, _, err := net.SplitHostPort(address); err != nil || isLocal(host) {
				return errLocal
			}
			return nil
		}
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: files.config().Clone(),
		TLSHandshakeTimeout: handshakeTimeout, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader, Protocols: &protocols,
	}, nil
}
