package app

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/examples/queries"
	"patientgraph/fhir"
	"patientgraph/httpapi"
	"patientgraph/mirror"
	"patientgraph/resolvers"
	"patientgraph/web"
	"patientgraph/writethrough"
)

// serve runs the server until ctx ends, then lets writes under way finish.
func serve(p *program) error {
	c := p.config
	defer runtime.KeepAlive(tuneMemory(p.getenv))
	s := &startup{}
	defer s.close()
	for _, check := range startChecks(c) {
		if _, err := check.run(s, p); err != nil {
			return err
		}
	}
	if s.database != nil {
		if err := s.database.Close(); err != nil {
			return fmt.Errorf("DATABASE_URL: %w", err)
		}
	}

	var demo *demo
	var err error
	if c.Demo {
		if demo, err = startDemo(c); err != nil {
			return fmt.Errorf("start demo: %w", err)
		}
		defer demo.stop()
	}
	p.log.Info("starting", "settings", c)
	for _, warning := range s.warnings(c) {
		p.log.Warn(warning)
	}
	store, err := openStore(p.ctx, c, p.log)
	if err != nil {
		return err
	}
	defer store.Close()
	if demo != nil {
		if err := demo.fill(p.ctx, store, p.log); err != nil {
			return fmt.Errorf("fill demo: %w", err)
		}
	}
	metrics := newMetrics()
	options := fhirOptions(c, store, maxFHIRConns)
	options.Observer = newFHIRWatch(metrics, p.log).observe
	client, err := fhir.NewClient(options)
	if err != nil {
		return err
	}
	defer client.Close() // before the database that keeps its tokens
	product, err := newProduct(p, s, store, client, demo, metrics)
	if err != nil {
		return err
	}
	if demo != nil {
		if err := demo.welcome(p.stdout, s.listener.Addr().String()+strings.TrimSuffix(c.BasePath, "/")); err != nil {
			return err
		}
	} else {
		defer logExamination(p, client.WithConns(maxProbeConns))()
	}
	return product.listenAndServe(p, s.listener)
}

// examinedWithin is how long a start waits for the FHIR server, so that the log says
// what was found before it says that it serves. Reads do not need that server.
const examinedWithin = time.Second

// logExamination looks at the FHIR server, and goes on beside the start if that takes
// long. stop ends it.
func logExamination(p *program, client *fhir.Client) (stop func()) {
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if cause := recover(); cause != nil { // it can be served all the same
				p.log.Error("the FHIR server could not be looked at", "error", resolvers.Panic(cause))
			}
		}()
		if found := examine(ctx, p.config, client); ctx.Err() == nil {
			found.log(ctx, p.log)
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(examinedWithin):
	}
	return func() {
		cancel()
		<-done
	}
}

// product is what runs while it serves.
type product struct {
	handler http.Handler
	writer  *writethrough.Writer
	mirror  *mirror.Mirror
	sampler *mirror.Sampler // nil: it is off
	sockets *sync.WaitGroup // the WebSockets
}

// newProduct puts together what answers requests, what writes and what follows.
func newProduct(p *program, s *startup, store *db.Store, client *fhir.Client, demo *demo, metrics *prometheus.Registry) (*product, error) {
	c := p.config
	probe := client.WithConns(maxProbeConns)
	if demo != nil { // its secret was made after the checks
		var err error
		if s.verifier, err = newVerifier(p.ctx, p.log, c); err != nil {
			return nil, err
		}
	}
	validation, err := resolvers.NewValidation(c.PhoneRegion)
	if err != nil {
		return nil, err
	}
	newID := func() string { return uuid.Must(uuid.NewV7()).String() }
	writer := writethrough.New(writethrough.Config{
		FHIR: client, Store: store, Log: p.log, Timeout: c.FHIRTimeout, Keep: c.IdempotencyTTL, Metrics: metrics,
		Now: time.Now, NewID: newID, PhoneRegion: c.PhoneRegion,
	})
	follower := newMirror(c, p.log, store, client.WithConns(maxMirrorConns), metrics)
	if err := follower.Refresh(p.ctx); err != nil { // what is said of the first reads
		return nil, err
	}
	page, err := playground(c, demo)
	if err != nil {
		return nil, err
	}
	var sockets sync.WaitGroup
	handler, err := httpapi.New(httpapi.Options{
		Log: p.log, Verifier: s.verifier, PatientNumbers: patientNumbers(c, store), Metrics: metrics, Database: store.Ping,
		RateLimit: c.RateLimit, Used: follower.Used,
		FHIR: func(ctx context.Context) error {
			_, err := probe.Capabilities(ctx)
			return err
		},
		Resolver: &resolvers.Resolver{
			Store: store, Validation: validation, Rate: resolvers.NewChangeRate(time.Now), Log: p.log, Now: time.Now, NewID: newID, Writer: writer,
			Mirror: follower, StaleAfter: c.StaleAfter, FHIRBase: c.FHIRBaseURL, PhoneRegion: c.PhoneRegion,
		},
		FHIRTimeout: c.FHIRTimeout, CORSOrigins: c.CORSOrigins, Introspection: *c.Introspection,
		BasePath: c.BasePath, TrustedProxies: c.TrustedProxies,
		TrustedDocuments: s.trusted, Playground: page, Example: example(c, demo), OnlyLocal: demo != nil,
		Notified: notified(c, follower.Wake), NotificationSecret: c.SubscriptionSecret,
		SchemaPublic: *c.SchemaPublic,
		Stopping:     writer.Stopping(), Sockets: &sockets,
	})
	if err != nil {
		return nil, err
	}
	return &product{handler, writer, follower, newSampler(c, p.log, store, client.WithConns(1), follower, metrics), &sockets}, nil
}

// playground is the page at /, if it is wanted; the demo's has its tokens.
func playground(c *Config, demo *demo) (*web.Page, error) {
	if !*c.Playground {
		return nil, nil
	}
	var page web.Page
	var server string
	if demo != nil {
		page.SignIns, server = demo.signIns, c.DemoServer
	}
	var err error
	page.Examples, err = queries.Examples(server)
	return &page, err
}

// example is the front end at /app/, which the demo alone has; who wants no pages gets none.
func example(c *Config, demo *demo) *web.ExamplePage {
	if demo == nil || !*c.Playground {
		return nil
	}
	return &web.ExamplePage{SignIns: demo.signIns}
}

// listenAndServe serves until ctx ends. Then it takes no more writes, and waits
// for those under way as long as one may take; what is left then is settled by
// whoever runs next.
func (served *product) listenAndServe(p *program, listener net.Listener) error {
	server := httpapi.NewServer(served.handler, log.New(quietLog{p.log, "HTTP server"}, "", 0))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	running, stop := context.WithCancel(p.ctx)
	defer stop()
	bound, abandon := context.WithCancel(context.Background())
	defer abandon()
	var work sync.WaitGroup
	work.Go(func() { restWhenIdle(running) })
	work.Go(func() { served.writer.Run(running, bound) })
	work.Go(func() { served.mirror.Run(running) })
	if served.sampler != nil {
		work.Go(func() { served.sampler.Run(running) })
	}
	p.log.Info("serving", "address", listener.Addr().String())

	var err error
	select {
	case failure := <-failed:
		err = fmt.Errorf("serve: %w", failure)
		stop()
	case <-p.ctx.Done():
		p.log.Info("shutting down: no more writes are taken, those under way may finish")
	}
	defer time.AfterFunc(p.config.FHIRTimeout+writeGrace, abandon).Stop()
	if shut := server.Shutdown(bound); shut != nil {
		err = errors.Join(err, fmt.Errorf("shut down: %w", shut), server.Close())
	}
	sockets := make(chan struct{})
	go func() {
		served.sockets.Wait()
		close(sockets)
	}()
	select {
	case <-sockets:
	case <-bound.Done():
	}
	work.Wait()
	return err
}

// openStore opens the cache and brings its schema up to date.
func openStore(ctx context.Context, c *Config, log *slog.Logger) (*db.Store, error) {
	store, err := db.Open(ctx, c.databaseURL())
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("DATABASE_URL: migrate: %w", err), store.Close())
	}
	store.LocalID = func(reference string) string { return fhir.LocalID(reference, c.FHIRBaseURL) }
	store.Caller = func(ctx context.Context) string {
		viewer, _ := auth.FromContext(ctx) // nobody: the program itself
		return viewer.Actor()
	}
	store.Log = log
	return store, nil
}

// How many connections to the FHIR server writes may open, the mirror, readiness, and doctor.
const (
	maxFHIRConns   = 512
	maxMirrorConns = 4
	maxProbeConns  = 2
	maxDoctorConns = 1
)

// newFHIRClient makes the one client that logs in. tokens keeps what a refresh gave;
// nil: nothing is asked for that would have to be kept.
func newFHIRClient(c *Config, tokens fhir.TokenStore, conns int) (*fhir.Client, error) {
	return fhir.NewClient(fhirOptions(c, tokens, conns))
}

func fhirOptions(c *Config, tokens fhir.TokenStore, conns int) fhir.Options {
	return fhir.Options{
		MaxConns: conns,
		BaseURL:  c.FHIRBaseURL, Server: c.FHIRServer, Timeout: c.FHIRTimeout, UserAgent: "PatientGraph",
		Auth:         fhirAuth(c, tokens),
		TLS:          fhir.TLSFiles{CA: c.FHIRCAFile, Cert: c.FHIRClientCert, Key: c.FHIRClientKey},
		RewriteLinks: c.FHIRRewriteLinks, RequestID: httpapi.RequestID,
	}
}

func fhirAuth(c *Config, tokens fhir.TokenStore) fhir.Auth {
	return fhir.Auth{
		Mode: c.FHIRAuth, Token: c.FHIRToken, TokenFile: c.FHIRTokenFile, Username: c.FHIRUsername, Password: c.FHIRPassword,
		TokenURL: c.FHIRTokenURL, ClientID: c.FHIRClientID, ClientSecret: c.FHIRClientSecret, PrivateKey: c.FHIRPrivateKey,
		RefreshToken: c.FHIRRefreshToken, Scopes: c.FHIRScopes, Store: tokens,
	}
}

func newVerifier(ctx context.Context, log *slog.Logger, c *Config) (*auth.Verifier, error) {
	a := authConfig(c)
	a.Log = log
	verifier, err := auth.NewVerifier(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("JWT_SECRET, JWT_JWKS_URL: %w", err)
	}
	return verifier, nil
}

func authConfig(c *Config) auth.Config {
	return auth.Config{
		Secret: []byte(c.JWTSecret), JWKSURL: c.JWTJWKSURL, Issuer: c.JWTIssuer, Audience: c.JWTAudience,
		RoleClaim: c.JWTRoleClaim, PatientClaim: c.JWTPatientClaim, FHIRPatientClaim: c.JWTPatientClaimKind == claimFHIR, Now: time.Now,
	}
}

// patientNumbers is how the patient claim of a token leads to patient numbers: it
// holds FHIR ids, or numbers that the patients have or had.
func patientNumbers(c *Config, store *db.Store) func(context.Context, []string) ([]string, error) {
	if c.JWTPatientClaimKind == claimFHIR {
		return store.NumbersOfFHIR
	}
	return store.NumbersOf
}
