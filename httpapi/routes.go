package httpapi

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patientgraph/auth"
	"patientgraph/resolvers"
	"patientgraph/web"
)

// Options is what the handler is made of.
type Options struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
	// Stopping is closed when the server takes no more writes: subscriptions end then.
	Stopping <-chan struct{}
	// Sockets counts the WebSockets, for which http.Server.Shutdown does not wait.
	Sockets *sync.WaitGroup

	// Where it is served, and to whom.
	BasePath       string   // below which everything is served, see ParseBasePath
	TrustedProxies []string // see ParseProxies
	CORSOrigins    []string // whose pages may call /graphql, see ParseOrigins; none: no other page's
	OnlyLocal      bool     // answer requests to names of this machine alone, see onlyThisMachine

	// Who asks, and how often.
	Verifier *auth.Verifier
	// PatientNumbers returns the numbers of the patients that the patient claim of
	// a token names; nil: it holds them.
	PatientNumbers func(ctx context.Context, claim []string) ([]string, error)
	RateLimit      int    // requests of one caller in a second; 0: any number
	Used           func() // is told of each; nil: nobody is

	// What is answered.
	Resolver    *resolvers.Resolver
	FHIRTimeout time.Duration // of one write's conversation: mutations may take longer than queries
	// TrustedDocuments are the operations that are accepted; nil: any.
	TrustedDocuments *TrustedDocuments
	Introspection    bool
	SchemaPublic     bool             // the schema is served to everybody, not only to who has a token
	Playground       *web.Page        // at /; nil: none
	Example          *web.ExamplePage // at /app/; nil: none

	// What is watched, and what the FHIR server tells.
	Database func(context.Context) error // asks whether it can be reached
	FHIR     func(context.Context) error // likewise, over connections that the writes do not need
	// Notified is called when the FHIR server tells, with NotificationSecret, that a
	// Patient has changed; it must return at once. Without both, NotificationPath is off.
	Notified           func()
	NotificationSecret string
}

// server is what New makes of Options.
type server struct {
	Options
	*faults
	proxies Proxies
	rate    requestRate
	bodies  *bodyRoom
	timing  timing
}

// New returns everything that is served over HTTP.
func New(o Options) (http.Handler, error) {
	origins, err := ParseOrigins(o.CORSOrigins)
	if err != nil {
		return nil, fmt.Errorf("origins: %w", err)
	}
	origins.local = o.OnlyLocal
	proxies, err := ParseProxies(o.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("proxies: %w", err)
	}
	base, err := ParseBasePath(o.BasePath)
	if err != nil {
		return nil, fmt.Errorf("base path: %w", err)
	}
	faults := newFaults(o.Metrics)
	s := &server{o, faults, proxies, newRequestRate(o.RateLimit, time.Now), newBodyRoom(faults), timing{}.orUsual()}
	mux := http.NewServeMux()
	authenticated := o.Verifier.Middleware(unauthenticated)
	withCORS := crossOrigin(o.Log, origins)
	graphQL := newGraphQL(s)
	for _, wrap := range slices.Backward([]func(http.Handler) http.Handler{ // the first is the outermost
		isGraphQL,                   // the log has a line of each request, whatever becomes of it
		withCORS,                    // before the token, which no preflight has; pages may read what is refused
		withLanguage,                // before anything is refused in words
		negotiated,                  // and in a media type
		orTokenLater(authenticated), // whoever goes on is known, or says it in a WebSocket
		noteViewer,                  // now it is known
		s.admitted,                  // counts it; before the body, which costs more
		s.bodies.middleware,         // before the body is in memory
		checkedRequest,              // reads it
	}) {
		graphQL = wrap(graphQL)
	}
	mux.Handle("/graphql", graphQL)
	mux.HandleFunc("/healthz", onlyGET(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }))
	mux.HandleFunc("/readyz", onlyGET(newReadiness(o).ServeHTTP))
	mux.HandleFunc("/metrics", onlyGET(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}).ServeHTTP))
	if o.Notified != nil && o.NotificationSecret != "" {
		notifications := newNotification(o)
		mux.Handle(NotificationPath, notifications)
		mux.Handle(NotificationPath+"/", notifications)
	}
	if err := handleSchema(mux, o, authenticated, withCORS); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if o.Playground != nil {
		page := *o.Playground
		page.BasePath = base
		playground, err := web.Handler(page)
		if err != nil {
			return nil, fmt.Errorf("playground: %w", err)
		}
		mux.Handle("/", playground)
	}
	if o.Example != nil {
		page := *o.Example
		page.BasePath = base
		front, err := web.ExampleHandler(page)
		if err != nil {
			return nil, err
		}
		mux.Handle("/app", front)
		mux.Handle("/app/", front)
	}
	served := below(base, mux)
	if o.OnlyLocal {
		served = onlyThisMachine(served)
	}
	return accessLog(s, secured(guarded(served))), nil
}

// NewServer bounds how long a client may take to send. What goes wrong below HTTP
// is written to errors.
func NewServer(handler http.Handler, errors *log.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: errors,
	}
}

// onlyGET refuses other methods itself: of a pattern such as "GET /healthz" the mux
// would give them to the page at /, which knows no such file.
func onlyGET(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuseMethod(w, r, "GET, HEAD", badInput("use GET"))
			return
		}
		next(w, r)
	}
}

// onlyThisMachine refuses requests to another name than one of this machine: a
// page elsewhere could have its own name lead here, and read the token that the
// playground holds.
func onlyThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !auth.IsLoopback(strings.Trim(host, "[]")) {
			refuse(w, r, http.StatusMisdirectedRequest, badInput("this server answers to localhost and loopback addresses only"))
			return
		}
		next.ServeHTTP(w, r)
	})
}
