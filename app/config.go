package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
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
	// The FHIR server, and its patients.
	FHIRBaseURL      string        `name:"fhir-base-url" help:"FHIR R4 base URL, e.g. https://hapi.example/fhir; none starts the demo."`
	FHIRServer       string        `name:"fhir-server" default:"auto" enum:"${fhir_servers}" help:"Kind of FHIR server: ${enum}."`
	FHIRTimeout      time.Duration `name:"fhir-timeout" help:"Bound of the whole FHIR conversation of one write (default 10s; demo 3s)."`
	FHIRAuth         string        `name:"fhir-auth" default:"none" help:"none, bearer, basic, client_credentials, refresh_token or password."`
	FHIRToken        string        `name:"fhir-token" help:"Token for FHIR_AUTH=bearer."`
	FHIRTokenFile    string        `name:"fhir-token-file" help:"File that holds FHIR_TOKEN; read again when it changes."`
	FHIRUsername     string        `name:"fhir-username" help:"User for FHIR_AUTH=basic or password."`
	FHIRPassword     string        `name:"fhir-password" help:"Password for FHIR_AUTH=basic or password."`
	FHIRClientID     string        `name:"fhir-client-id" help:"OAuth client."`
	FHIRClientSecret string        `name:"fhir-client-secret" help:"Its secret; none for a public client, or with FHIR_PRIVATE_KEY."`
	FHIRPrivateKey   string        `name:"fhir-private-key" help:"Its private key, PEM or JWK, RSA (RS384) or EC P-384 (ES384)."`
	FHIRRefreshToken string        `name:"fhir-refresh-token" help:"First refresh token for FHIR_AUTH=refresh_token; those that follow are kept in the database, encrypted with a key made from it."`
	FHIRTokenURL     string        `name:"fhir-token-url" help:"Token endpoint (default: as the FHIR server's SMART configuration says)."`
	FHIRScopes       string        `name:"fhir-scopes" help:"OAuth scopes to ask for, separated by blanks."`
	FHIRCAFile       string        `name:"fhir-ca-file" help:"PEM file of the authorities to trust instead of the system's."`
	FHIRClientCert   string        `name:"fhir-client-cert" help:"PEM file of our client certificate."`
	FHIRClientKey    string        `name:"fhir-client-key" help:"PEM file of its private key."`
	FHIRRewriteLinks bool          `name:"fhir-rewrite-links" help:"Ask FHIR_BASE_URL for next links that name another host."`
	PatientIDSystem  string        `name:"patient-id-system" help:"identifier.system whose value is the hospital's patient number."`
	PhoneRegion      string        `name:"phone-region" help:"Check phone numbers for this region (KR, US, …)."`
	DemoServer       string        `name:"demo-server" default:"hapi" enum:"hapi,openemr,medplum" help:"What the demo's FHIR server behaves as: hapi, openemr or medplum."`

	// The database.
	DatabaseURL string `name:"database-url" help:"sqlite:PATH, sqlite::memory: or postgres://…, with ?pool=transaction behind PgBouncer and its like (default sqlite:patientgraph.db; demo: a temporary file)."`

	// The tokens of callers.
	JWTSecret           string `name:"jwt-secret" help:"HS256 secret, at least 32 bytes (demo: generated)."`
	JWTJWKSURL          string `name:"jwt-jwks-url" help:"JWKS of the token issuer (RS, ES, EdDSA)."`
	JWTIssuer           string `name:"jwt-issuer" help:"Required iss claim."`
	JWTAudience         string `name:"jwt-audience" help:"Required aud claim."`
	JWTRoleClaim        string `name:"jwt-role-claim" default:"role" help:"Claim that holds the role; dotted paths allowed."`
	JWTPatientClaim     string `name:"jwt-patient-claim" default:"patient_id" help:"Claim that names the patient, or a list of patients; dotted paths allowed."`
	JWTPatientClaimKind string `name:"jwt-patient-claim-kind" default:"number" enum:"number,fhir" help:"What that claim holds: number (Patient.id) or fhir (FHIR id)."`

	// What is served.
	ListenAddr     string   `name:"listen-addr" default:"127.0.0.1:8080" help:"Address to serve on."`
	BasePath       string   `name:"base-path" default:"/" help:"Path below which everything is served."`
	TrustedProxies []string `name:"trusted-proxies" help:"Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma-separated."`
	CORSOrigins    []string `name:"cors-origins" help:"Origins whose pages may call /graphql, comma-separated; https://*.example.org are the subdomains of example.org."`
	Playground     *bool    `name:"playground" help:"Serve GraphiQL at / (default: only in the demo)."`
	Introspection  *bool    `name:"introspection" help:"Answer introspection (default: only in the demo)."`
	SchemaPublic   *bool    `name:"schema-public" help:"Serve /schema.graphql and /possibleTypes.json to everybody, not only to who has a token (default: as INTROSPECTION)."`
	LogLevel       string   `name:"log-level" default:"info" enum:"debug,info,warn,error" help:"Least severe log lines to write."`
	LogFormat      string   `name:"log-format" enum:"json,text,auto" default:"auto" help:"json, or text (default on a terminal)."`

	// What is accepted, and remembered.
	RateLimit            int           `name:"rate-limit" default:"1000" help:"Requests to /graphql that one caller may make in a second, and five times as many at once; 0: any number."`
	TrustedDocuments     string        `name:"trusted-documents" help:"File of the only operations that are accepted: Apollo's persisted-query manifest, or Relay's ids and texts; read again when it changes."`
	TrustedDocumentsMode string        `name:"trusted-documents-mode" default:"enforce" enum:"enforce,log" help:"What becomes of others: enforce refuses them, log writes a line about them."`
	IdempotencyTTL       time.Duration `name:"idempotency-ttl" default:"24h" help:"How long a settled contact update and its idempotency key are remembered."`

	// Following the FHIR server.
	SyncInterval       time.Duration `name:"sync-interval" default:"30s" help:"From one look at the FHIR server's changes to the next; 0: none, and no first fill."`
	StaleAfter         time.Duration `name:"stale-after" default:"5m" help:"How old the last look may be before SYNCED becomes STALE."`
	VerifyInterval     time.Duration `name:"verify-interval" default:"10s" help:"Pause between two rows that are compared with the FHIR server while the server runs; 0: none are."`
	SubscriptionURL    string        `name:"subscription-url" help:"Where the FHIR server reaches this server, e.g. https://graph.example, to tell at once that a patient has changed."`
	SubscriptionSecret string        `name:"subscription-secret" help:"Secret that it sends with that, at least 32 bytes."`

	Demo bool `kong:"-"` // runs on synthetic patients of its own: no FHIR_BASE_URL was given
}

// The value of JWT_PATIENT_CLAIM_KIND that stands for FHIR ids.
const claimFHIR = "fhir"

// The value of TRUSTED_DOCUMENTS_MODE that refuses what is not listed.
const trustedEnforce = "enforce"

// secrets are the settings that may come from a file named by NAME_FILE. FHIR_TOKEN
// is not among them: its file is a setting of its own, for it is read again.
var secrets = []string{"DATABASE_URL", "FHIR_PASSWORD", "FHIR_CLIENT_SECRET", "FHIR_PRIVATE_KEY", "FHIR_REFRESH_TOKEN", "JWT_SECRET", "SUBSCRIPTION_SECRET"}

// complete fills in the defaults that depend on other settings.
func (c *Config) complete() {
	c.Demo = c.FHIRBaseURL == ""
	if c.FHIRTimeout == 0 {
		c.FHIRTimeout = 10 * time.Second
		if c.Demo {
			c.FHIRTimeout = 3 * time.Second // one of its patients shows a timeout
		}
	}
	c.Playground = orDefault(c.Playground, c.Demo)
	c.Introspection = orDefault(c.Introspection, c.Demo)
	c.SchemaPublic = orDefault(c.SchemaPublic, *c.Introspection) // who may introspect has the schema anyway
}

// orDefault returns the setting, or if it was not given its default.
func orDefault(setting *bool, byDefault bool) *bool {
	if setting == nil {
		return &byDefault
	}
	return setting
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
		name := variable(flag.Name)
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
		name := variable(path.Flag.Name)
		if slices.Contains(secrets, name) && getenv(name+"_FILE") != "" {
			return fmt.Errorf("--%s and %s_FILE exclude each other", path.Flag.Name, name)
		}
	}
	return nil
}

var leadingFlag = regexp.MustCompile(`^--([a-z0-9-]+)`)

// namedAsGiven names a setting of the environment by its variable: kong knows its flag alone.
func namedAsGiven(err error, args []string) error {
	flag := leadingFlag.FindStringSubmatch(err.Error())
	if flag == nil || slices.ContainsFunc(args, func(arg string) bool { return arg == flag[0] || strings.HasPrefix(arg, flag[0]+"=") }) {
		return err
	}
	name, says := variable(flag[1]), strings.TrimPrefix(err.Error(), flag[0])
	return errors.New(name + strings.TrimPrefix(says, ": "+name)) // what environment refuses has it already
}

// variable is the environment variable of the flag that is called so.
func variable(flag string) string {
	return strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
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

// LogValue shows every setting but the secrets, in the order of Config, as people read it.
func (c *Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for n, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name := field.Tag.Get("name")
		setting := variable(name)
		value := reflect.ValueOf(c).Elem().Field(n).Interface()
		isSecret := setting == "FHIR_TOKEN" || slices.Contains(secrets, setting)
		if name == "" || isSecret && setting != "DATABASE_URL" {
			continue
		}
		switch v := value.(type) {
		case *bool:
			value = *v
		case time.Duration:
			value = v.String()
		case []string:
			value = strings.Join(v, ",")
		case string:
			switch {
			case setting == "DATABASE_URL":
				value = databaseKind(c.databaseURL())
			case strings.HasSuffix(setting, "_URL"):
				value = withoutQuery(v)
			}
		}
		attrs = append(attrs, slog.Any(strings.ToLower(setting), value))
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
