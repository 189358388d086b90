package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"patientgraph/auth"
	"patientgraph/fhir"
)

// finding is what one check says, in sentences for an operator. docs/operations.md
// documents its JSON.
type finding struct {
	Check  string `json:"check"`
	Status status `json:"status"`
	Says   string `json:"says"`
	Do     string `json:"do,omitempty"` // what to change
}

type status string

const (
	ok      status = "ok"
	limit   status = "limit"   // what this FHIR server cannot do
	warning status = "warning" // works, and is probably not meant so
	failed  status = "failed"
	skipped status = "skipped"
)

// clockDiffers is from when on a difference of the clocks is told: assertions and
// tokens live for minutes.
const clockDiffers = time.Minute

// examination is what the FHIR server tells of itself: by the CapabilityStatement,
// which most show to anybody, and by a search, which proves that our credentials work.
type examination struct {
	findings     []finding
	capabilities fhir.Capabilities
	some         string // the id of a patient there; "": none was shown
	reads        bool   // our credentials are good
}

func (e *examination) add(check string, s status, says, do string) {
	e.findings = append(e.findings, finding{check, s, says, do})
}

// examine looks at the FHIR server. serve logs what it finds, and doctor prints it.
func examine(ctx context.Context, c *Config, client *fhir.Client) *examination {
	e := &examination{}
	var err error
	e.capabilities, err = client.Capabilities(ctx)
	var fault *fhir.Error
	switch {
	case !errors.As(err, &fault):
		e.server(c)
		e.profile(ctx, c, client)
	case fault.NotAsked: // there is no token, without which we send nothing
		e.add("FHIR server", skipped, "not asked", "")
		e.denied(c, fault)
		return e
	case fault.Status == 0:
		e.add("FHIR server", failed, fault.Error(), advice(c, fault))
		e.add("FHIR access", skipped, "the server was not reached", "")
		return e
	default:
		e.add("FHIR server", failed, fault.Error(), advice(c, fault))
	}
	e.access(ctx, c, client)
	return e
}

// server tells what the CapabilityStatement says.
func (e *examination) server(c *Config) {
	found := e.capabilities
	name := strings.TrimSpace(found.SoftwareName + " " + found.SoftwareVersion)
	if name == "" {
		name = "a server that does not say its name"
	}
	says := fmt.Sprintf("%s, FHIR %s", name, found.FHIRVersion)
	if strings.HasPrefix(c.FHIRBaseURL, "https:") {
		says += ", TLS"
	}
	switch {
	case found.FHIRVersion == "":
		e.add("FHIR server", warning, name+" does not say its FHIR version", "R4 (4.0.1) is needed; check FHIR_BASE_URL")
	case !strings.HasPrefix(found.FHIRVersion, "4."):
		e.add("FHIR server", failed, says+": R4 (4.0.1) is needed", "set FHIR_BASE_URL to the server's R4 endpoint")
	default:
		e.add("FHIR server", ok, says, "")
	}
	if len(found.Interactions) > 0 {
		e.interactions()
	}
	switch skew := found.Skew.Abs(); {
	case !found.Dated:
		e.add("FHIR clock", skipped, "the server does not tell the time", "")
	case skew > clockDiffers && found.Skew > 0:
		e.add("FHIR clock", warning, fmt.Sprintf("our clock is %v ahead of the server's", skew), "set both by NTP: tokens and times are judged by them")
	case skew > clockDiffers:
		e.add("FHIR clock", warning, fmt.Sprintf("our clock is %v behind the server's", skew), "set both by NTP: tokens and times are judged by them")
	default:
		e.add("FHIR clock", ok, "differs from ours by less than a minute", "")
	}
}

// profile tells how the server is written to, and what that cannot do.
func (e *examination) profile(ctx context.Context, c *Config, client *fhir.Client) {
	chosen, err := client.Profile(ctx)
	var fault *fhir.Error
	if errors.As(err, &fault) {
		e.add("FHIR profile", failed, fault.Error(), advice(c, fault))
		return
	}
	e.add("FHIR profile", ok, chosen.Name+": "+chosen.Why, "")
	switch chosen.Versioning {
	case fhir.VersionsAlways:
		e.add("FHIR versions", ok, "keeps versions: a concurrent change is detected", "")
	case fhir.VersionsNever:
		e.add("FHIR versions", limit, "keeps no versions: a concurrent change by another client can be overwritten", "")
	default: // FHIR promises If-Match of versioned-update alone
		e.add("FHIR versions", skipped, "does not say whether it refuses a change of an older version (If-Match): it is asked to wherever a read shows a version", "")
	}
	if len(chosen.Limits) > 0 {
		e.add("FHIR contact", limit, strings.Join(chosen.Limits, "; "), "")
	}
}

// interactions tells what the server says that it does not do with a Patient.
func (e *examination) interactions() {
	var lacks []string
	for _, i := range []struct{ code, means string }{
		{"read", "read: contact updates cannot be made"},
		{"update", "update: contact updates are refused"},
		{"search-type", "search-type: patients cannot be listed"},
		{"history-instance", "history-instance: an update whose answer was lost takes longer to settle"},
	} {
		if !e.capabilities.Offers(i.code) {
			lacks = append(lacks, i.means)
		}
	}
	if len(lacks) == 0 {
		e.add("FHIR capabilities", ok, "offers to read, update, search and show the history of a Patient", "")
		return
	}
	e.add("FHIR capabilities", limit, "does not offer "+strings.Join(lacks, "; "), "")
}

// access searches for one patient with our credentials.
func (e *examination) access(ctx context.Context, c *Config, client *fhir.Client) {
	var hidden bool
	var err error
	e.some, hidden, err = client.SomePatient(ctx)
	var fault *fhir.Error
	switch errors.As(err, &fault); {
	case fault == nil && hidden:
		e.reads = true
		e.add("FHIR access", limit, accessedBy(c)+": the server took our request, and showed no patient; a server of this kind may hide them from a search for one", "run sync, which reads all of them and counts")
	case fault == nil && e.some == "":
		e.reads = true
		e.add("FHIR access", warning, "the server took our request and showed no patient: it has none, or our credentials see none", "check what FHIR_SCOPES, or the rights of the user, cover")
	case fault == nil:
		e.reads = true
		e.add("FHIR access", ok, accessedBy(c)+": a patient can be read", "")
	case e.some != "", fault.Cause == fhir.LeadsAway: // the page itself is good
		e.reads = true
		e.add("FHIR access", warning, accessedBy(c)+": patients can be read, the first page of a list alone: "+fault.Reason, advice(c, fault))
	case fault.Cause == fhir.BadEntry:
		e.reads = true
		e.add("FHIR access", warning, accessedBy(c)+": a patient was shown that cannot be used: "+fault.Reason, "")
	default:
		e.denied(c, fault)
	}
	if granted := client.GrantedScopes(); granted != "" {
		e.scopes(granted)
	}
}

// denied tells why no patient can be read.
func (e *examination) denied(c *Config, fault *fhir.Error) {
	says := fault.Error()
	switch {
	case fault.Kind == fhir.AuthFailed && c.FHIRAuth == "none":
		says = "the server refused us without credentials: " + says
	case fault.Kind == fhir.AuthFailed:
		says = "our credentials were refused: " + says
	}
	e.add("FHIR access", failed, says, advice(c, fault))
}

func accessedBy(c *Config) string {
	if c.FHIRAuth == "none" {
		return "without credentials"
	}
	return "with FHIR_AUTH=" + c.FHIRAuth
}

// scopes tells what a token allows that says so. Servers leave out what a client was
// not registered for, without a word.
func (e *examination) scopes(granted string) {
	rights := auth.PatientRights(granted)
	var lacks []string
	for _, r := range []struct {
		has  bool
		name string
	}{{rights.Read, "read"}, {rights.Search, "search"}, {rights.Update, "update"}} {
		if !r.has {
			lacks = append(lacks, r.name)
		}
	}
	switch {
	case !rights.NamesResources:
		e.add("FHIR scopes", ok, "the token names no SMART scope for resources: what it allows is not known", "")
	case len(lacks) > 0:
		e.add("FHIR scopes", warning, "the granted scopes allow no "+strings.Join(lacks, ", no ")+" of Patient",
			"register the client for it and ask for it in FHIR_SCOPES, such as system/Patient.read system/Patient.write, or system/Patient.rus")
	default:
		e.add("FHIR scopes", ok, "the granted scopes allow to read, search and update Patient", "")
	}
}

// advice is what to change when the FHIR server failed us so.
func advice(c *Config, fault *fhir.Error) string {
	if errors.Is(fault, errNoRefresh) {
		return "look again while the server runs; if it goes on, log in again and set a new FHIR_REFRESH_TOKEN"
	}
	if do := causeAdvice[fault.Cause]; do != "" {
		return do
	}
	switch {
	case fault.Kind == fhir.AuthFailed:
		return credentialsAdvice[c.FHIRAuth]
	case fault.Kind == fhir.Forbidden:
		return "grant our user or client to read and search Patient"
	case fault.Timeout:
		return "check FHIR_BASE_URL and the network, or raise FHIR_TIMEOUT"
	case fault.Kind == fhir.Unusable:
		return "check the path of FHIR_BASE_URL: no FHIR server answers there"
	}
	return ""
}

var causeAdvice = map[fhir.Cause]string{
	fhir.UnknownAuthority:   "set FHIR_CA_FILE to the certificate of the authority that issued the server's",
	fhir.CertificateWanted:  "set FHIR_CLIENT_CERT and FHIR_CLIENT_KEY",
	fhir.CertificateRefused: "check FHIR_CLIENT_CERT: the server trusts another authority, or it has expired",
	fhir.OtherName:          "use the name of the certificate in FHIR_BASE_URL",
	fhir.Expired:            "renew the server's certificate",
	fhir.NoCommonTLS:        "let the server speak TLS 1.2 or 1.3",
	fhir.NotYetValid:        "check the clocks, and the server's certificate",
	fhir.LeadsAway:          "set FHIR_REWRITE_LINKS=true, or FHIR_BASE_URL to the name that the server uses",
	fhir.HostNotFound:       "check the host in FHIR_BASE_URL",
	fhir.ConnectionRefused:  "check host and port in FHIR_BASE_URL, and whether the server runs",
	fhir.TooLong:            "check FHIR_BASE_URL, and what stands between: no answer may be that long",
	fhir.OtherServer:        "set FHIR_SERVER=auto",
}

var credentialsAdvice = map[string]string{
	"none":               "set FHIR_AUTH and the credentials that belong to it",
	"bearer":             "check FHIR_TOKEN, or FHIR_TOKEN_FILE: it has run out, or is for another server",
	"basic":              "check FHIR_USERNAME and FHIR_PASSWORD",
	"client_credentials": "check FHIR_CLIENT_ID, FHIR_CLIENT_SECRET or FHIR_PRIVATE_KEY, FHIR_SCOPES, and that the client is enabled there",
	"refresh_token":      "check FHIR_CLIENT_ID and FHIR_SCOPES, and log in again for a new FHIR_REFRESH_TOKEN",
	"password":           "check FHIR_CLIENT_ID, FHIR_USERNAME, FHIR_PASSWORD and FHIR_SCOPES, and that the password grant is on there",
}

// log tells an operator what a start found. Nothing of it ends the start.
func (e *examination) log(ctx context.Context, log *slog.Logger) {
	for _, f := range e.findings {
		level := slog.LevelInfo
		if f.Status != ok {
			level = slog.LevelWarn
		}
		attributes := []any{"check", f.Check, "status", string(f.Status), "says", f.Says}
		if f.Do != "" {
			attributes = append(attributes, "do", f.Do)
		}
		log.Log(ctx, level, "found at the FHIR server", attributes...)
	}
}
