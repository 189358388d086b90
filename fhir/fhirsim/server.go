package fhirsim

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	prefix = "/fhir"
	// maxBody bounds what one request may bring.
	maxBody = 32 << 20
	// How much the log remembers of requests; above that it forgets the oldest quarter.
	maxRequests = 4096
	maxLogged   = 64 << 20 // bytes of bodies
)

// Options says how a server is to behave.
type Options struct {
	Habits Habits           // the zero value: HAPI()
	Now    func() time.Time // time of lastUpdated; nil: time.Now
	Bearer string           // token that every request but /metadata needs; "": none
}

// Server keeps Patients in memory and serves them below /fhir. All methods
// are safe for concurrent use; If-Match check and write are one step.
type Server struct {
	habits Habits
	now    func() time.Time
	bearer string
	jumped atomic.Int64 // how far its clock is ahead
	clinic *Clinic      // nil unless the habits are OpenEMR's

	store         store
	searches      searches
	exports       exports
	subscriptions subscriptions
	faults        faults
	log           requestLog
}

// New returns a server without patients.
func New(o Options) *Server {
	if o.Habits == (Habits{}) {
		o.Habits = HAPI()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{habits: o.Habits, bearer: o.Bearer}
	clock := o.Now
	o.Now = func() time.Time { return clock().Add(time.Duration(s.jumped.Load())) }
	s.now = o.Now
	s.store = store{habits: o.Habits, now: o.Now, records: map[string]*record{}}
	s.subscriptions.ctx, s.subscriptions.cancel = context.WithCancel(context.Background())
	s.store.changed = s.subscriptions.changed
	if o.Habits.OpenEMR {
		s.clinic = newClinic(o)
	}
	return s
}

// Start serves on a free port of 127.0.0.1. The base URL ends in /fhir,
// without a slash. stop closes every connection and returns when the last
// request and the last notification have ended; it may be called again.
func (s *Server) Start() (baseURL string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for FHIR: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.RWMutex // read-locked by each request under way
	stopped := false
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.RLock()
			defer running.RUnlock()
			if stopped {
				panic(http.ErrAbortHandler)
			}
			s.ServeHTTP(w, r)
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with stop; tests see anything else as refused connections
	}()
	stop = func() {
		cancel()
		_ = server.Close() // nothing is left to do for a listener that does not close
		<-served
		running.Lock()
		stopped = true
		running.Unlock()
		s.subscriptions.stop()
	}
	return "http://" + listener.Addr().String() + prefix, stop, nil
}

// Request is one request as it came. Status is 0 while it is under way and
// for one that got no answer.
type Request struct {
	Method  string
	Path    string // without the query
	Query   string
	ID      string // FHIR id of the patient; "" for a search
	IfMatch string
	Header  http.Header
	Body    []byte
	Status  int
}

// requestLog remembers the latest requests.
type requestLog struct {
	mu    sync.Mutex
	list  []*Request
	bytes int // of their bodies
}

func (l *requestLog) add(r *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes += len(r.Body); len(l.list) == maxRequests || l.bytes > maxLogged {
		l.list, l.bytes = slices.Clone(l.list[(len(l.list)+3)/4:]), len(r.Body)
		for _, kept := range l.list {
			l.bytes += len(kept.Body)
		}
	}
	l.list = append(l.list, r)
}

func (l *requestLog) setStatus(r *Request, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Status = status
}

// Requests returns the latest requests, in the order of their arrival, those
// under way included.
func (s *Server) Requests() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	list := make([]Request, len(s.log.list))
	for i, r := range s.log.list {
		list[i] = *r
	}
	return list
}

// call is a request with its path taken apart.
type call struct {
	*Request
	base    string // base URL as the client knows it
	history bool   // …/_history
	version string // …/_history/<version>
	export  string // Fault.On of a request of an export; "": it is none
}

// ServeHTTP answers one request below /fhir.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	c := &call{
		Request: &Request{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
			IfMatch: r.Header.Get("If-Match"), Header: r.Header.Clone(), Body: body,
		},
		base: "http://" + r.Host + prefix,
	}
	route := s.route(c)
	s.log.add(c.Request)
	fault := s.faults.take(c)
	if fault == nil {
		fault = &Fault{}
	}
	s.serve(w, r, c, route, fault)
}

// handler answers a call; the fault may change what is stored.
type handler func(*call, *Fault) answer

// route takes the path apart and finds what answers it.
func (s *Server) route(c *call) handler {
	path, below := strings.CutPrefix(c.Path, prefix)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if s.clinic != nil && strings.HasPrefix(c.Path, oauthPath+"/") {
		return s.clinic.oauthRoute(c)
	}
	if !below || path != "" && path[0] != '/' {
		return s.fails(problem{status: http.StatusNotFound, text: "Nothing is served here"})
	}
	if s.clinic != nil {
		return s.clinic.route(c)
	}
	if parts[0] == "metadata" && len(parts) == 1 {
		return s.metadata
	}
	if answers := s.exportRoute(c, parts); answers != nil {
		return answers
	}
	if s.bearer != "" && c.Header.Get("Authorization") != "Bearer "+s.bearer {
		return s.fails(problem{status: http.StatusUnauthorized, text: "Missing or wrong bearer token"})
	}
	switch {
	case parts[0] == "":
		return s.page
	case parts[0] == "Subscription":
		return s.subscriptionRoute(c, parts)
	case parts[0] != "Patient":
		return s.unknownType(parts[0])
	case len(parts) == 1:
		return s.typeRoute(c)
	case len(parts) == 2 && parts[1] == "$merge" && c.Method == http.MethodPost && s.habits.Merges:
		return s.merge
	case len(parts) == 2 && parts[1] == "_history":
		c.history = true
		return s.readOnly(c, s.history)
	}
	c.ID = parts[1]
	c.history = len(parts) > 2 && parts[2] == "_history"
	switch {
	case len(parts) == 2:
		return s.instanceRoute(c)
	case len(parts) == 3 && c.history:
		return s.readOnly(c, s.history)
	case len(parts) == 4 && c.history:
		c.version = parts[3]
		return s.instanceRoute(c)
	}
	return s.unsupported
}

func (s *Server) typeRoute(c *call) handler {
	if c.Method == http.MethodPut {
		return s.put
	}
	return s.readOnly(c, s.search)
}

func (s *Server) instanceRoute(c *call) handler {
	switch {
	case c.history && !s.habits.Versions:
		return s.unsupported
	case c.Method == http.MethodPut:
		return s.put
	case c.Method == http.MethodDelete && !c.history && s.habits.Deletes:
		return s.delete
	}
	return s.readOnly(c, s.read)
}

func (s *Server) readOnly(c *call, read handler) handler {
	if c.Method != http.MethodGet && c.Method != http.MethodHead || c.history && !s.habits.Versions {
		return s.unsupported
	}
	return read
}

func (s *Server) fails(p problem) handler {
	return func(*call, *Fault) answer { return s.problem(p) }
}

func (s *Server) unknownType(name string) handler {
	return s.fails(problem{status: http.StatusNotFound, hapi: "HAPI-0302", text: "Unknown resource type '" + name + "' - Server knows how to handle: [Patient]"})
}

func (s *Server) unsupported(c *call, _ *Fault) answer {
	return s.problem(problem{status: http.StatusBadRequest, code: "not-supported", text: "Invalid request: The FHIR endpoint on this server does not know how to handle " +
		c.Method + " operation[" + strings.TrimPrefix(c.Path, prefix+"/") + "]"})
}
