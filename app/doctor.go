package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

type doctorCommand struct{}

// Run checks everything and reports each thing on a line of its own.
func (doctorCommand) Run(p *program) error {
	out := bufio.NewWriter(p.stdout)
	defer out.Flush()
	failed := 0
	report := func(what string, err error, found string) {
		if err != nil {
			failed++
			fmt.Fprintf(out, "FAIL  %s: %v\n", what, err)
			return
		}
		fmt.Fprintf(out, "ok    %s: %s\n", what, found)
	}
	if p.config.Demo {
		if err := p.config.check(); err != nil {
			return fmt.Errorf("doctor: %w", err)
		}
		fmt.Fprintln(out, "FHIR_BASE_URL is not set: serve would start the demo; nothing else to check")
		return nil
	}
	report("settings", p.config.check(), "complete")
	report("database", checkDatabase(p), databaseKind(p.config.databaseURL()))
	found, err := describeFHIR(p)
	report("FHIR server", err, found)
	if failed > 0 {
		return fmt.Errorf("doctor: %d checks failed", failed)
	}
	return nil
}

func checkDatabase(p *program) error {
	store, err := db.Open(p.ctx, p.config.databaseURL())
	if err != nil {
		return err
	}
	return errors.Join(store.Ping(p.ctx), store.Close())
}

func describeFHIR(p *program) (string, error) {
	var tokens fhir.TokenStore
	if p.config.FHIRAuth == "refresh_token" {
		store, err := db.Open(p.ctx, p.config.databaseURL())
		if err != nil {
			return "", err
		}
		defer store.Close()
		tokens = readOnlyTokens{store}
	}
	client, err := newFHIRClient(p.config, tokens, maxDoctorConns)
	if err != nil {
		return "", err
	}
	found, err := client.Capabilities(p.ctx)
	if err != nil {
		return "", err
	}
	chosen, err := client.Profile(p.ctx)
	if err != nil {
		return "", err
	}
	versions := "keeps no versions: a concurrent change by another client can be overwritten"
	if found.Versioned {
		versions = "keeps versions: a concurrent change is detected"
	}
	return fmt.Sprintf("%s %s, FHIR %s, %s; profile %s: %s", found.SoftwareName, found.SoftwareVersion, found.FHIRVersion, versions, chosen.Name, chosen.Why), nil
}

// readOnlyTokens shows the tokens of a server that runs. To ask for others would
// use up its refresh token.
type readOnlyTokens struct{ *db.Store }

func (readOnlyTokens) LeaseFHIRToken(context.Context, string, string, time.Duration) (bool, error) {
	return false, &fhir.Error{Kind: fhir.NotSent, NotAsked: true, Reason: "no server that runs holds a token, and doctor uses up no refresh token"}
}
