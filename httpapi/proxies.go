package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks of the proxies whose X-Forwarded-For and -Proto are believed.
type Proxies []netip.Prefix

// ParseProxies reads TRUSTED_PROXIES: networks (10.0.0.0/8) and single addresses.
func ParseProxies(entries []string) (Proxies, error) {
	var proxies Proxies
	for _, entry := range entries {
		network, err := parseNetwork(strings.TrimSpace(entry))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is no network such as 10.0.0.0/8 or fd00::/8, and no address (without a zone)", entry)
		case network.Bits() == 0:
			return nil, fmt.Errorf("%q is everybody, who could then say to be anybody: name the proxies' own networks", entry)
		}
		proxies = append(proxies, network)
	}
	return proxies, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		if address.Zone() != "" { // the address of another link too, since no client is shown with its zone
			return netip.Prefix{}, errors.New("a zone")
		}
		address = address.Unmap()
		return address.Prefix(address.BitLen())
	}
	network, err := netip.ParsePrefix(text)
	if err == nil && network.Addr().Is4In6() {
		network, err = network.Addr().Unmap().Prefix(network.Bits() - 96)
	}
	return network, err
}

func (p Proxies) trust(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(address) })
}

// client returns who sent a request, and whether by https. X-Forwarded-For is read from
// the right, each address as long as the one that wrote it is trusted: what stands further
// left anybody may have sent. It ends at what is no address.
func (p Proxies) client(r *http.Request) (address netip.Addr, https bool) {
	https = r.TLS != nil
	address, ok := parseAddress(r.RemoteAddr)
	if !ok || !p.trust(address) {
		return address, https
	}
	switch _, proto := lastOf(listOf(r, "X-Forwarded-Proto")); strings.ToLower(proto) {
	case "https":
		https = true
	case "http":
		https = false
	}
	left := listOf(r, "X-Forwarded-For")
	for left != "" && p.trust(address) {
		var hop string
		left, hop = lastOf(left)
		before, ok := parseAddress(hop)
		if !ok {
			break
		}
		address = before
	}
	return address, https
}

// listOf returns a header that is a list as one, however many lines it came in.
func listOf(r *http.Request, name string) string { return strings.Join(r.Header.Values(name), ",") }

// lastOf takes the last entry off a list.
func lastOf(list string) (left, last string) {
	comma := strings.LastIndexByte(list, ',')
	return list[:max(comma, 0)], strings.TrimSpace(list[comma+1:])
}

// parseAddress reads an address that may have a port, brackets and a zone, which mean
// nothing here.
func parseAddress(text string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	if inner, opened := strings.CutPrefix(text, "["); opened {
		text = strings.TrimSuffix(inner, "]")
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap().WithZone(""), err == nil
}
