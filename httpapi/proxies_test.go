package httpapi

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheClientIsWhomTrustedProxiesName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trusted, peer string
		forwarded     []string
		client        string
	}{
		"no proxy is trusted":            {"", "10.0.0.1:99", []string{"203.0.113.7"}, "10.0.0.1"},
		"another one speaks":             {"10.0.0.0/8", "192.0.2.9:99", []string{"203.0.113.7"}, "192.0.2.9"},
		"one proxy":                      {"10.0.0.0/8", "10.0.0.1:99", []string{"203.0.113.7"}, "203.0.113.7"},
		"a single address":               {"10.0.0.1", "10.0.0.1:99", []string{"203.0.113.7"}, "203.0.113.7"},
		"another than that":              {"10.0.0.1", "10.0.0.2:99", []string{"203.0.113.7"}, "10.0.0.2"},
		"with host bits":                 {"10.0.0.1/8", "10.9.9.9:99", []string{"203.0.113.7"}, "203.0.113.7"},
		"nothing forwarded":              {"10.0.0.0/8", "10.0.0.1:99", nil, "10.0.0.1"},
		"what the client wrote itself":   {"10.0.0.0/8", "10.0.0.1:99", []string{"1.2.3.4, 203.0.113.7"}, "203.0.113.7"},
		"in a line of its own":           {"10.0.0.0/8", "10.0.0.1:99", []string{"1.2.3.4", "203.0.113.7"}, "203.0.113.7"},
		"two proxies":                    {"10.0.0.0/8,192.0.2.0/24", "10.0.0.1:99", []string{"1.2.3.4,203.0.113.7, 192.0.2.5"}, "203.0.113.7"},
		"a trusted address, spoofed":     {"10.0.0.0/8", "10.0.0.1:99", []string{"10.6.6.6, 203.0.113.7"}, "203.0.113.7"},
		"all are proxies":                {"10.0.0.0/8", "10.0.0.1:99", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"no address":                     {"10.0.0.0/8", "10.0.0.1:99", []string{"unknown"}, "10.0.0.1"},
		"no address in the middle":       {"10.0.0.0/8", "10.0.0.1:99", []string{"1.2.3.4, Okoro, 10.0.0.2"}, "10.0.0.2"},
		"no address before the client":   {"10.0.0.0/8", "10.0.0.1:99", []string{"<script>, 203.0.113.7"}, "203.0.113.7"},
		"empty":                          {"10.0.0.0/8", "10.0.0.1:99", []string{""}, "10.0.0.1"},
		"an empty entry":                 {"10.0.0.0/8", "10.0.0.1:99", []string{"1.2.3.4,"}, "10.0.0.1"},
		"a name":                         {"10.0.0.0/8", "10.0.0.1:99", []string{"client.example"}, "10.0.0.1"},
		"too large a number":             {"10.0.0.0/8", "10.0.0.1:99", []string{"203.0.113.777"}, "10.0.0.1"},
		"IPv6":                           {"fd00::/8", "[fd00::1]:99", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 in brackets":               {"fd00::/8", "[fd00::1]:99", []string{"[2001:db8::7]"}, "2001:db8::7"},
		"IPv6 with port":                 {"fd00::/8", "[fd00::1]:99", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		"IPv4 with port":                 {"fd00::/8", "[fd00::1]:99", []string{"203.0.113.7:4711"}, "203.0.113.7"},
		"a zone":                         {"fe80::/10", "[fe80::1%eth0]:99", []string{"203.0.113.7"}, "203.0.113.7"},
		"a zone of the client":           {"fe80::/10,10.0.0.0/8", "10.0.0.1:99", []string{"2001:db8::7%eth0"}, "2001:db8::7"},
		"IPv4 as IPv6":                   {"10.0.0.0/8", "[::ffff:10.0.0.1]:99", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"a network of IPv4 as IPv6":      {"::ffff:10.0.0.0/104", "10.0.0.1:99", []string{"203.0.113.7"}, "203.0.113.7"},
		"an address of IPv4 as IPv6":     {"::ffff:10.0.0.1", "10.0.0.1:99", []string{"203.0.113.7"}, "203.0.113.7"},
		"IPv6 does not stand for IPv4":   {"fd00::/8", "10.0.0.1:99", []string{"203.0.113.7"}, "10.0.0.1"},
		"a socket that has no address":   {"10.0.0.0/8", "@", []string{"203.0.113.7"}, "invalid IP"},
		"an IPv6 address without a port": {"fd00::/8", "[fd00::1]:99", []string{"2001:db8::7:443"}, "2001:db8::7:443"},
	} {
		var entries []string
		if c.trusted != "" {
			entries = strings.Split(c.trusted, ",")
		}
		proxies, err := ParseProxies(entries)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-For"] = c.forwarded
		if client, _ := proxies.client(r); client.String() != c.client {
			t.Errorf("%s: the client is %s, want %s", name, client, c.client)
		}
	}
}

func TestHTTPSIsWhatTrustedProxiesSay(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		peer  string
		proto []string
		tls   bool
		https bool
	}{
		"plain":                       {"10.0.0.1:99", nil, false, false},
		"our own TLS":                 {"192.0.2.9:99", nil, true, true},
		"a proxy with TLS":            {"10.0.0.1:99", []string{"https"}, false, true},
		"in capitals":                 {"10.0.0.1:99", []string{"HTTPS"}, false, true},
		"a proxy without":             {"10.0.0.1:99", []string{"http"}, true, false},
		"what the client wrote":       {"10.0.0.1:99", []string{"https, http"}, false, false},
		"anybody":                     {"192.0.2.9:99", []string{"https"}, false, false},
		"anybody, against our TLS":    {"192.0.2.9:99", []string{"http"}, true, true},
		"what is no protocol":         {"10.0.0.1:99", []string{"https;x"}, false, false},
		"what is no protocol, by TLS": {"10.0.0.1:99", []string{"gopher"}, true, true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-Proto"] = c.proto
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if _, https := proxies.client(r); https != c.https {
			t.Errorf("%s: https is %v", name, https)
		}
	}
}

func TestAnUnusableNetworkIsNamed(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"", "proxy.example", "10.0.0.0/33", "10.0.0/8", "10.0.0.0-10.0.0.9", "10.0.0.1:80", "*", "::/129", "fe80::1%eth0", "fe80::%eth0/10",
		"::ffff:10.0.0.0/64", "0.0.0.0/0", "::/0", "10.0.0.0/", "private",
	} {
		if _, err := ParseProxies([]string{"192.0.2.0/24", entry}); err == nil || !strings.Contains(err.Error(), `"`+entry+`"`) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}
