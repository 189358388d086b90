package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"patientgraph/auth"
	"patientgraph/httpapi"
	"patientgraph/resolvers"
)

// Config holds every setting. Each is a flag and an environment variable of
// the same name in capitals; a secret may also come from a file named by
// NAME_FILE. It is read once, at start.
type Config struct {
	ListenAddr  string `default:"127.0.0.1:8080" help:"Address to serve on."`
	DatabaseURL string `name:"database-url" help:"sqlite:PATH, sqlite::memory: or postgres://…, with ?pool=transaction behind PgBouncer and its like (default sqlite:patientgraph.db; demo: a temporary file)."`

	FHIRBaseURL string        `name:"fhir-base-url" help:"FHIR R4 base URL, e.g. https://hapi.example/fhir; none starts the demo."`
	FHIRServer  string        `name:"fhir-server" default:"auto" enum:"${fhir_servers}" help:"Kind of FHIR server: ${enum}."`
	FHIRTimeout time.Duration `name:"fhir-timeout" help:"Bound of the whole FHIR conversation of one write (default 10s; demo 3s)."`
	FHIRAuth    string        `name:"fhir-auth" default:"none" help:"none, bearer, basic, client_credentials, refresh_token or password."`

	FHIRToken        string `name:"fhir-token" help:"Token for FHIR_AUTH=bearer."`
	FHIRTokenFile    string `name:"fhir-token-file" help:"File that holds FHIR_TOKEN; read again when it changes."`
	FHIRUsername     string `name:"fhir-username" help:"User for FHIR_AUTH=basic or password."`
	FHIRPassword     string `name:"fhir-password" help:"Password for FHIR_AUTH=basic or password."`
	FHIRTokenURL     string `name:"fhir-token-url" help:"Token endpoint (default: as the FHIR server's SMART configuration says)."`
	FHIRClientID     string `name:"fhir-client-id" help:"OAuth client."`
	FHIRClientSecret string `name:"fhir-client-secret" help:"Its secret; none for a public client, or with FHIR_PRIVATE_KEY."`
	FHIRPrivateKey   string `name:"fhir-private-key" help:"Its private key, PEM or JWK, RSA (RS384) or EC P-384 (ES384)."`
	FHIRRefreshToken string `name:"fhir-refresh-token" help:"First refresh token for FHIR_AUTH=refresh_token; those that follow are kept in the database, encrypted with a key made from it."`
	FHIRScopes       string `name:"fhir-scopes" help:"OAuth scopes to ask for, separated by blanks."`
	FHIRCAFile       string `name:"fhir-ca-file" help:"PEM file of the authorities to trust instead of the system's."`
	FHIRClientCert   string `name:"fhir-client-cert" help:"PEM file of our client certificate."`
	FHIRClientKey    string `name:"fhir-client-key" help:"PEM file of its private key."`
	FHIRRewriteLinks bool   `name:"fhir-rewrite-links" help:"Ask FHIR_BASE_URL for next links that name another host."`

	SubscriptionURL    string `name:"subscription-url" help:"Where the FHIR server reaches this server, e.g. https://graph.example, to tell at once that a patient has changed."`
	SubscriptionSecret string `name:"subscription-secret" help:"Secret that it sends with that, at least 32 bytes."`

	SchemaPublic *bool `name:"schema-public" help:"Serve /schema.graphql and /possibleTypes.json to everybody, not only to who has a token (default: as INTROSPECTION)."`

	PatientIDSystem string `name:"patient-id-system" help:"identifier.system whose value is the hospital's patient number."`

	JWTSecret           string `name:"jwt-secret" help:"HS256 secret, at least 32 bytes (demo: generated)."`
	JWTJWKSURL          string `name:"jwt-jwks-url" help:"JWKS of the token issuer (RS, ES, EdDSA)."`
	JWTIssuer           string `name:"jwt-issuer" help:"Required iss claim."`
	JWTAudience         string `name:"jwt-audience" help:"Required aud claim."`
	JWTRoleClaim        string `name:"jwt-role-claim" default:"role" help:"Claim that holds the role; dotted paths allowed."`
	JWTPatientClaim     string `name:"jwt-patient-claim" default:"patient_id" help:"Claim that names the patient, or a list of patients; dotted paths allowed."`
	JWTPatientClaimKind string `name:"jwt-patient-claim-kind" default:"number" help:"What that claim holds: number (Patient.id) or fhir (FHIR id)."`

	PhoneRegion          string   `name:"phone-region" help:"Check phone numbers for this region (KR, US, …)."`
	Playground           *bool    `help:"Serve GraphiQL at / (default: only in the demo)."`
	Introspection        *bool    `help:"Answer introspection (default: only in the demo)."`
	TrustedDocuments     string   `help:"File of the only operations that are accepted: Apollo's persisted-query manifest, or Relay's ids and texts; read again when it changes."`
	TrustedDocumentsMode string   `default:"enforce" enum:"enforce,log" help:"What becomes of others: enforce refuses them, log writes a line about them."`
	CORSOrigins          []string `name:"cors-origins" help:"Origins whose pages may call /graphql, comma-separated; https://*.example.org are the subdomains of example.org."`
	LogLevel             string   `default:"info" enum:"debug,info,warn,error" help:"Least severe log lines to write."`
	LogFormat            string   `enum:"json,text,auto" default:"auto" help:"json, or text (default on a terminal)."`

	IdempotencyTTL time.Duration `name:"idempotency-ttl" default:"24h" help:"How long a settled contact update and its idempotency key are remembered."`
	SyncInterval   time.Duration `name:"sync-interval" default:"30s" help:"From one look at the FHIR server's changes to the next; 0: none, and no first fill."`
	StaleAfter     time.Duration `name:"stale-after" default:"5m" help:"How old the last look may be before SYNCED becomes STALE."`

	VerifyInterval time.Duration `default:"10s" help:"Pause between two rows that are compared with the FHIR server while the server runs; 0: none are."`

	BasePath       string   `default:"/" help:"Path below which everything is served."`
	TrustedProxies []string `help:"Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma-separated."`

	RateLimit int `name:"rate-limit" default:"1000" help:"Requests to /graphql that one caller may make in a second, and five times as many at once; 0: any number."`

	DemoServer string `name:"demo-server" default:"hapi" enum:"hapi,openemr,medplum" help:"What the demo's FHIR server behaves as: hapi, openemr or medplum."`

	Demo bool `kong:"-"` // runs on synthetic patients of its own: no FHIR_BASE_URL was given
}

// Values of JWT_PATIENT_CLAIM_KIND.
const (
	claimNumber = "number"
	claimFHIR   = "fhir"
)

// The value of TRUSTED_DOCUMENTS_MODE that refuses what is not listed.
const trustedEnforce = "enforce"

// secrets are the settings that may come from a file named by NAME_FILE. FHIR_TOKEN
// is not among them: its file is a setting of its own, for it is read again.
var secrets = []string{"DATABASE_URL", "FHIR_PASSWORD", "FHIR_CLIENT_SECRET", "FHIR_PRIVATE_KEY", "FHIR_REFRESH_TOKEN", "JWT_SECRET", "SUBSCRIPTION_SECRET"}

// complete fills in the defaults that differ in the demo.
func (c *Config) complete() {
	c.Demo = c.FHIRBaseURL == ""
	if c.FHIRTimeout == 0 {
		c.FHIRTimeout = 10 * time.Second
		if c.Demo {
			c.FHIRTimeout = 3 * time.Second // one of its patients shows a timeout
		}
	}
}

// databaseURL returns where the cache is.
func (c *Config) databaseURL() string {
	if c.DatabaseURL == "" {
		return "sqlite:patientgraph.db"
	}
	return c.DatabaseURL
}

// environment makes each setting also an environment variable: --fhir-token
// is FHIR_TOKEN.
func environment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, path *kong.Path, flag *kong.Flag) (any, error) {
		if path.App == nil || flag.Name == "help" { // what a command is told is no setting
			return nil, nil
		}
		name := variable(flag)
		value, file := getenv(name), ""
		if slices.Contains(secrets, name) {
			file = getenv(name + "_FILE")
		}
		switch {
		case value != "" && file != "":
			return nil, fmt.Errorf("%s and %s_FILE exclude each other", name, name)
		case value != "":
			return value, nil
		case file == "":
			return nil, nil
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s_FILE: %w", name, err)
		}
		secret := strings.TrimRight(strings.TrimPrefix(string(content), "\ufeff"), "\r\n")
		if strings.TrimSpace(secret) == "" { // to go on as if it were not set would be another setting
			return nil, fmt.Errorf("%s_FILE: the file is empty", name)
		}
		return secret, nil
	})
}

// givenTwice refuses a secret that is a flag and in a file. A flag and the variable of
// the same name are no mistake: the flag is meant.
func givenTwice(command *kong.Context, getenv func(string) string) error {
	for _, path := range command.Path {
		if path.Flag == nil || path.Resolved {
			continue
		}
		name := variable(path.Flag)
		if slices.Contains(secrets, name) && getenv(name+"_FILE") != "" {
			return fmt.Errorf("--%s and %s_FILE exclude each other", path.Flag.Name, name)
		}
	}
	return nil
}

// variable is the environment variable of a flag.
func variable(flag *kong.Flag) string {
	return strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// check refuses a missing or unsafe setting; the error names it.
func (c *Config) check() error {
	if c.FHIRTimeout < 100*time.Millisecond || c.FHIRTimeout > 10*time.Minute {
		return errors.New("FHIR_TIMEOUT must be from 100ms to 10m")
	}
	if c.IdempotencyTTL < time.Minute {
		return errors.New("IDEMPOTENCY_TTL must be at least 1m")
	}
	if c.VerifyInterval != 0 && c.VerifyInterval < 10*time.Millisecond {
		return errors.New("VERIFY_INTERVAL must be at least 10ms, or 0 for none")
	}
	if c.RateLimit < 0 || c.RateLimit > 1_000_000 {
		return errors.New("RATE_LIMIT must be from 1 to 1000000 requests in a second, or 0 for any number")
	}
	if c.SyncInterval != 0 && c.SyncInterval < 100*time.Millisecond {
		return errors.New("SYNC_INTERVAL must be at least 100ms, or 0 for none")
	}
	if c.StaleAfter <= 0 || c.StaleAfter <= c.SyncInterval {
		return errors.New("STALE_AFTER must be longer than SYNC_INTERVAL: else every patient is STALE between two looks")
	}
	if c.JWTPatientClaimKind != claimNumber && c.JWTPatientClaimKind != claimFHIR {
		return fmt.Errorf("JWT_PATIENT_CLAIM_KIND is number or fhir, not %q", c.JWTPatientClaimKind)
	}
	if _, err := httpapi.ParseOrigins(c.CORSOrigins); err != nil {
		return fmt.Errorf("CORS_ORIGINS: %w", err)
	}
	if _, err := httpapi.ParseBasePath(c.BasePath); err != nil {
		return fmt.Errorf("BASE_PATH %w", err)
	}
	if _, err := httpapi.ParseProxies(c.TrustedProxies); err != nil {
		return fmt.Errorf("TRUSTED_PROXIES: %w", err)
	}
	if _, err := resolvers.NewValidation(c.PhoneRegion); err != nil {
		return err
	}
	if err := c.checkSubscription(); err != nil {
		return err
	}
	if c.Demo {
		return c.checkDemo()
	}
	if err := c.checkFHIR(); err != nil {
		return err
	}
	return c.checkJWT()
}

// checkDemo refuses what would mix real data or the network with the demo,
// whose token anybody on the page gets.
func (c *Config) checkDemo() error {
	host, _, err := net.SplitHostPort(c.ListenAddr)
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	if !auth.IsLoopback(host) {
		return errors.New("LISTEN_ADDR: the demo (no FHIR_BASE_URL) hands out an admin token and serves on a loopback address only; set FHIR_BASE_URL, or LISTEN_ADDR=127.0.0.1:8080")
	}
	if c.DatabaseURL != "" {
		return errors.New("FHIR_BASE_URL is needed when DATABASE_URL is set; leave both out for the demo")
	}
	if c.JWTJWKSURL != "" {
		return errors.New("JWT_JWKS_URL: the demo makes its own tokens; set FHIR_BASE_URL or leave it out")
	}
	return c.checkSecret()
}

// minSecret is the length of JWT_SECRET: HS256 wants as many bytes as its hash has
// (RFC 7518 section 3.2).
const minSecret = 32

func (c *Config) checkSecret() error {
	if c.JWTSecret != "" && len(c.JWTSecret) < minSecret {
		return fmt.Errorf("JWT_SECRET must have at least %d bytes", minSecret)
	}
	return nil
}

func (c *Config) checkFHIR() error {
	if c.FHIRToken != "" && c.FHIRTokenFile != "" {
		return errors.New("FHIR_TOKEN and FHIR_TOKEN_FILE exclude each other")
	}
	if _, err := newFHIRClient(c, nil, 1); err != nil { // asks nothing of the server
		return err
	}
	u, err := url.Parse(c.FHIRBaseURL) // the client took it
	if err != nil || c.FHIRAuth != "none" && u.Scheme != "https" && !auth.IsLoopback(u.Hostname()) {
		return errors.New("FHIR_BASE_URL must be https when credentials are sent to another machine (FHIR_AUTH)")
	}
	return nil
}

func (c *Config) checkJWT() error {
	switch {
	case c.JWTSecret == "" && c.JWTJWKSURL == "":
		return errors.New("JWT_SECRET or JWT_JWKS_URL is needed")
	case c.JWTSecret != "" && c.JWTJWKSURL != "":
		return errors.New("JWT_SECRET and JWT_JWKS_URL exclude each other")
	}
	return c.checkSecret()
}

// warnings are settings that have no effect, which nobody wants who sets them.
func (c *Config) warnings() (told []string) {
	told = fhirAuth(c, nil).Unused()
	if c.on(c.Playground) && !c.on(c.Introspection) {
		told = append(told, "PLAYGROUND without INTROSPECTION: GraphiQL has no schema to show; set INTROSPECTION=true")
	}
	if !c.Demo && c.DemoServer != "hapi" {
		told = append(told, "DEMO_SERVER has no effect with FHIR_BASE_URL: it is for the demo")
	}
	if !c.subscribes() && c.SubscriptionURL+c.SubscriptionSecret != "" {
		told = append(told, "SUBSCRIPTION_URL and SUBSCRIPTION_SECRET have no effect without each other")
	}
	if c.TrustedDocuments == "" && c.TrustedDocumentsMode != trustedEnforce {
		told = append(told, "TRUSTED_DOCUMENTS_MODE has no effect without TRUSTED_DOCUMENTS")
	}
	if c.FHIRAuth == "refresh_token" && c.DatabaseURL == "sqlite::memory:" {
		told = append(told, "FHIR_AUTH=refresh_token with a database in memory: a restart loses the refresh token in use, and FHIR_REFRESH_TOKEN is used up")
	}
	return told
}

// on returns a setting that is true only in the demo unless it is given.
func (c *Config) on(setting *bool) bool {
	if setting == nil {
		return c.Demo
	}
	return *setting
}

// schemaPublic reports whether everybody may have the schema: who may ask for it by
// introspection has it anyway.
func (c *Config) schemaPublic() bool {
	if c.SchemaPublic == nil {
		return c.on(c.Introspection)
	}
	return *c.SchemaPublic
}

// LogValue shows the settings without secrets, and durations so that people can read them.
func (c *Config) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("listen_addr", c.ListenAddr),
		slog.String("database", databaseKind(c.databaseURL())),
		slog.String("fhir_base_url", c.FHIRBaseURL),
		slog.String("fhir_server", c.FHIRServer),
		slog.String("fhir_timeout", c.FHIRTimeout.String()),
		slog.String("fhir_auth", c.FHIRAuth),
		slog.String("fhir_client_id", c.FHIRClientID),
		slog.String("fhir_ca_file", c.FHIRCAFile),
		slog.String("fhir_client_cert", c.FHIRClientCert),
		slog.Bool("fhir_rewrite_links", c.FHIRRewriteLinks),
		slog.String("idempotency_ttl", c.IdempotencyTTL.String()),
		slog.String("verify_interval", c.VerifyInterval.String()),
		slog.String("sync_interval", c.SyncInterval.String()),
		slog.String("stale_after", c.StaleAfter.String()),
		slog.String("subscription_url", c.SubscriptionURL),
		slog.String("patient_id_system", c.PatientIDSystem),
		slog.Bool("schema_public", c.schemaPublic()),
		slog.String("jwt_jwks_url", withoutQuery(c.JWTJWKSURL)),
		slog.String("jwt_patient_claim_kind", c.JWTPatientClaimKind),
		slog.String("phone_region", c.PhoneRegion),
		slog.String("trusted_documents", c.TrustedDocuments),
		slog.String("trusted_documents_mode", c.TrustedDocumentsMode),
		slog.Bool("playground", c.on(c.Playground)),
		slog.Bool("introspection", c.on(c.Introspection)),
		slog.String("cors_origins", strings.Join(c.CORSOrigins, ",")),
		slog.String("base_path", c.BasePath),
		slog.String("trusted_proxies", strings.Join(c.TrustedProxies, ",")),
	}
	if c.Demo {
		attrs = append(attrs, slog.String("demo_server", c.DemoServer))
	}
	return slog.GroupValue(attrs...)
}

// withoutQuery shows where a URL leads, without what it may hold of secrets.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// databaseKind names the database without what a URL may hold of secrets.
func databaseKind(databaseURL string) string {
	if u, err := url.Parse(databaseURL); err == nil && u.Host != "" {
		kind := withoutQuery(databaseURL)
		if u.Query().Get("pool") == "transaction" {
			kind += "?pool=transaction"
		}
		return kind
	}
	kind, _, _ := strings.Cut(databaseURL, ":")
	return kind
}
