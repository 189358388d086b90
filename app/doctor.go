package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"patientgraph/db"
	"patientgraph/fhir"
)

type doctorCommand struct {
	JSON      bool `name:"json" help:"Print one JSON object instead of lines."`
	WriteTest bool `help:"Also create, change and delete one scratch patient on the FHIR server; else nothing but GETs are sent there."`
}

// Run makes the checks of a start, then looks closer at the FHIR server. It makes
// nothing and changes nothing, but for the scratch patient of --write-test.
func (d doctorCommand) Run(p *program) (err error) {
	ctx, cancel := context.WithCancel(p.ctx) // ends what keeps the keys of JWT_JWKS_URL current
	defer cancel()
	inner := *p
	inner.ctx = ctx
	s := &startup{}
	defer func() { err = errors.Join(err, s.close()) }()
	findings := startFindings(&inner, s)
	switch {
	case p.config.Demo:
		findings = append(findings, finding{"FHIR server", skipped, "FHIR_BASE_URL is not set: serve would start the demo", ""})
	default:
		findings = append(findings, d.fhirFindings(&inner, s)...)
	}
	return d.report(p.stdout, findings)
}

// startFindings makes every check of a start, whatever fails.
func startFindings(p *program, s *startup) (findings []finding) {
	for _, check := range startChecks(p.config) {
		f := finding{Check: check.name, Status: ok}
		found, err := check.run(s, p)
		if f.Says = found; err != nil {
			f.Status, f.Says = failed, err.Error()
		}
		findings = append(findings, f)
	}
	for _, w := range s.warnings(p.config) {
		findings = append(findings, finding{"settings", warning, w, ""})
	}
	return findings
}

func (d doctorCommand) fhirFindings(p *program, s *startup) []finding {
	err := p.config.checkFHIR() // credentials go nowhere where serve would not send them
	var client *fhir.Client
	if err == nil {
		client, err = newFHIRClient(p.config, readOnlyTokens{s.database}, maxDoctorConns)
	}
	if err != nil {
		return []finding{{"FHIR server", skipped, "not asked: " + err.Error(), ""}}
	}
	defer client.Close()
	e := examine(p.ctx, p.config, client)
	if e.reads {
		e.etags(p.ctx, client)
		e.cachedIDs(p.ctx, client, s.database)
	}
	if d.WriteTest {
		e.writeTest(p.ctx, p.config, client)
	}
	return e.findings
}

// report prints the findings and fails if one did.
func (d doctorCommand) report(w io.Writer, findings []finding) error {
	bad := 0
	for _, f := range findings {
		if f.Status == failed {
			bad++
		}
	}
	var err error
	if d.JSON {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(map[string]any{"ok": bad == 0, "failed": bad, "findings": findings})
	} else {
		_, err = io.WriteString(w, lines(findings))
	}
	if bad > 0 {
		err = errors.Join(fmt.Errorf("doctor: failed checks: %d", bad), err)
	}
	return err
}

// statusWords are how a status stands before its line.
var statusWords = map[status]string{ok: "ok   ", limit: "limit", warning: "warn ", failed: "FAIL ", skipped: "skip "}

func lines(findings []finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s %s: %s\n", statusWords[f.Status], f.Check, f.Says)
		if f.Do != "" {
			fmt.Fprintf(&b, "      -> %s\n", f.Do)
		}
	}
	return b.String()
}

// isDoctor reports whether doctor was meant, though its settings could not be read.
func isDoctor(command *kong.Context, unread error) bool {
	var parse *kong.ParseError
	if errors.As(unread, &parse) {
		command = parse.Context
	}
	return command != nil && command.Command() == "doctor"
}

// reportUnread reports that, in the form that was asked for.
func reportUnread(w io.Writer, args []string, unread error) error {
	return doctorCommand{JSON: wantsJSON(args)}.report(w, []finding{{"settings", failed, unread.Error(), ""}})
}

// wantsJSON reads --json as kong would have.
func wantsJSON(args []string) (wants bool) {
	for _, arg := range args {
		if name, value, given := strings.Cut(arg, "="); name == "--json" {
			wants = !given || slices.Contains([]string{"true", "1", "yes"}, strings.ToLower(value))
		}
	}
	return wants
}

var errNoRefresh = errors.New("no server that runs holds a token, and doctor uses up no refresh token")

// readOnlyTokens shows the tokens of a server that runs. To ask for others would
// use up its refresh token.
type readOnlyTokens struct{ database *db.Inspection }

func (t readOnlyTokens) LoadFHIRToken(ctx context.Context, id string) ([]byte, int64, error) {
	if t.database == nil {
		return nil, 0, errors.New("the database that keeps them cannot be used")
	}
	return t.database.LoadFHIRToken(ctx, id)
}

func (readOnlyTokens) LeaseFHIRToken(string, string, time.Duration) (bool, error) {
	return false, &fhir.Error{Kind: fhir.NotSent, NotAsked: true, Err: errNoRefresh, Reason: errNoRefresh.Error()}
}

func (readOnlyTokens) SaveFHIRToken(string, []byte, int64) (bool, error) {
	return false, errors.New("doctor keeps no tokens")
}

func (readOnlyTokens) ReleaseFHIRToken(string, string) error { return nil }
