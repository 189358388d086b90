package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rs/cors"
	"golang.org/x/net/publicsuffix"

	"patientgraph/auth"
)

// Origins are those whose pages and apps may read what is answered here.
type Origins struct {
	exact      []string
	subdomains []subdomains
	local      bool // whatever this machine serves, at any port: for the demo
}

// subdomains are all names below a domain, at any depth, but not the domain itself:
// https://*.example.org has the scheme https:// and the domain .example.org.
type subdomains struct{ scheme, domain string }

var (
	// originSyntax is an origin (RFC 6454 section 6.2) of any scheme, for apps have their
	// own; or a wildcard before its host.
	originSyntax = regexp.MustCompile(`^([a-z][a-z0-9+.-]*://)(\*\.)?([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`)
	labels       = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)
)

// ParseOrigins reads CORS_ORIGINS. An error says which entry cannot be meant, without
// what stands there.
func ParseOrigins(entries []string) (Origins, error) {
	var o Origins
	for i, entry := range entries {
		if err := o.add(strings.ToLower(strings.TrimSpace(entry))); err != nil {
			return Origins{}, fmt.Errorf("entry %d %w", i+1, err)
		}
	}
	return o, nil
}

func (o *Origins) add(entry string) error {
	parts := originSyntax.FindStringSubmatch(entry)
	switch {
	case entry == "null":
		return errors.New("is null, which every sandboxed page and every file says: name the origin of the page")
	case entry == "*":
		return errors.New("is *, which would let every page read patients: name each origin, or https://*.example.org for the subdomains of one")
	case strings.Contains(entry, "*") && parts == nil:
		return errors.New("has a * where none can be: it takes the place of subdomains, as in https://*.example.org")
	case strings.ContainsFunc(entry, func(r rune) bool { return r > '~' }):
		return errors.New("is not in ASCII: write the host as browsers send it (xn--…)")
	case parts == nil:
		return errors.New("is no origin: write scheme, host and any port, and nothing behind, such as https://app.example or capacitor://localhost")
	}
	scheme, wildcard, host, port := parts[1], parts[2], parts[3], parts[4]
	if scheme == "https://" && port == ":443" || scheme == "http://" && port == ":80" {
		port = "" // browsers leave it out
	}
	if wildcard == "" {
		o.exact = append(o.exact, scheme+host+port)
		return nil
	}
	if _, err := publicsuffix.EffectiveTLDPlusOne(host); err != nil || isNumeric(host) {
		return errors.New("has a * below a name under which anybody can have a page: name your own domain, as in https://*.example.org")
	}
	o.subdomains = append(o.subdomains, subdomains{scheme, "." + host + port})
	return nil
}

// isNumeric reports whether a host is an address, which has no subdomains.
func isNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") == "" || strings.HasPrefix(host, "[")
}

// Allow reports whether pages of an origin, as the Origin header names it, may read
// answers. null is no origin.
func (o Origins) Allow(origin string) bool {
	origin = strings.ToLower(origin)
	return slices.Contains(o.exact, origin) || o.local && isLocalOrigin(origin) ||
		slices.ContainsFunc(o.subdomains, func(s subdomains) bool { return s.hold(origin) })
}

func (s subdomains) hold(origin string) bool {
	host, isScheme := strings.CutPrefix(origin, s.scheme)
	name, isBelow := strings.CutSuffix(host, s.domain)
	return isScheme && isBelow && labels.MatchString(name)
}

func isLocalOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && originSyntax.MatchString(origin) && auth.IsLoopback(u.Hostname())
}

// requestHeaders are what clients of GraphQL send from other pages.
var requestHeaders = []string{
	"accept", "accept-language", "authorization", "cache-control", "content-type", "if-none-match", "last-event-id",
	"idempotency-key", "x-request-id", "x-correlation-id", "x-requested-with",
	// Apollo, and other clients that show that they are no form
	"apollographql-client-name", "apollographql-client-version", "apollo-require-preflight",
	"x-apollo-operation-id", "x-apollo-operation-name", "x-apollo-operation-type", "graphql-preflight",
	// traces: W3C, Sentry, B3 (OpenTelemetry, Zipkin), Jaeger, Datadog, Elastic, New Relic
	"traceparent", "tracestate", "baggage", "sentry-trace",
	"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "uber-trace-id",
	"x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority",
	"elastic-apm-traceparent", "newrelic",
}

// preflightKept is for how many seconds a browser need not ask again; Chromium keeps no
// answer longer.
const preflightKept = 7200

// crossOrigin lets the pages of these origins read the answers of a handler, refusals
// among them, and answers their preflights itself. The log says which page was refused:
// its user sees only that nothing came. A route that is wrapped so names no method, for
// preflights come by OPTIONS.
func crossOrigin(log *slog.Logger, origins Origins) func(http.Handler) http.Handler {
	allowed := cors.New(cors.Options{
		AllowOriginFunc: origins.Allow, AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowedHeaders: requestHeaders, ExposedHeaders: []string{"Retry-After, WWW-Authenticate, " + requestIDHeader}, // one text, which the library leaves in its case
		MaxAge: preflightKept, OptionsPassthrough: true,
	})
	// The library refuses headers that are not sorted, and a preflight with one more
	// without a word. So every preflight is told all, and the browser says which it misses.
	all := strings.Join(slices.Sorted(slices.Values(requestHeaders)), ",")
	return func(next http.Handler) http.Handler {
		checked := allowed.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !isPreflight(r) {
				next.ServeHTTP(w, r)
				return
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			}
			w.WriteHeader(http.StatusNoContent)
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if origin := r.Header.Get("Origin"); origin != "" && !isOwnOrigin(origin, r.Host) && !origins.Allow(origin) {
				log.DebugContext(r.Context(), "an origin is not in CORS_ORIGINS", "origin", shownOrigin(origin))
				if isWebSocket(r) { // a browser shows it to any page
					refuse(w, r, http.StatusForbidden, badInput("a page of this origin may open no WebSocket here: its origin must be in CORS_ORIGINS"))
					return
				}
			}
			if isPreflight(r) {
				r.Header.Set("Access-Control-Request-Headers", all)
			}
			checked.ServeHTTP(w, r)
		})
	}
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// isOwnOrigin reports whether a page is ours: browsers send its Origin with a POST too.
func isOwnOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

// shownOrigin is scheme, host and port alone: anybody may write anything there.
func shownOrigin(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || len(origin) > 256 {
		return "(none that a browser sends)"
	}
	return u.Scheme + "://" + u.Host
}
