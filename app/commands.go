package app

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"patientgraph/auth"
)

// cli is the command line: the settings, and what to do.
type cli struct {
	Config  `group:"settings"`
	Serve   serveCommand   `cmd:"" default:"1" help:"Serve (the default)."`
	Import  importCommand  `cmd:"" help:"Load FHIR Patients (NDJSON, Bundle, gzip) into the cache."`
	Sync    syncCommand    `cmd:"" help:"Bring the cache up to date: what has changed on the FHIR server, or every patient the first time."`
	Verify  verifyCommand  `cmd:"" help:"Compare cached rows with the FHIR server: which fields of which patients differ; nothing is changed."`
	Token   tokenCommand   `cmd:"" help:"Print a signed token for development (JWT_SECRET only)."`
	Doctor  doctorCommand  `cmd:"" help:"Make the checks that serve makes, and say what the FHIR server can do; nothing is changed unless --write-test."`
	Version versionCommand `cmd:"" help:"Print version, commit, Go and schema version."`
	Migrate migrateCommand `cmd:"" help:"Bring the database schema up to date."`
	Schema  schemaCommand  `cmd:"" help:"Print the GraphQL schema, as client code is made from it."`
}

type serveCommand struct{}

func (serveCommand) Run(p *program) error {
	err := serve(p)
	if err == nil { // else the error is the last line
		p.log.Info("stopped")
	}
	return err
}

type tokenCommand struct {
	Role    string        `required:"" enum:"${roles}" help:"Role of the viewer: ${enum}."`
	Patient []string      `sep:"none" help:"Patient that the token names, as JWT_PATIENT_CLAIM_KIND says: by number or FHIR id. Given several times: a list. Role patient needs one."`
	TTL     time.Duration `name:"ttl" default:"1h" help:"How long the token is valid."`
}

func (t tokenCommand) Run(p *program) error {
	switch {
	case len(p.config.JWTSecret) < minSecret:
		return fmt.Errorf("JWT_SECRET of at least %d bytes is needed: the one that the server runs with", minSecret)
	case t.Role == string(auth.RolePatient) && strings.Join(t.Patient, "") == "":
		return errors.New("--patient is needed with --role patient")
	case t.TTL <= 0:
		return errors.New("--ttl must be more than 0")
	}
	token, err := auth.Sign([]byte(p.config.JWTSecret), authConfig(p.config), auth.Role(t.Role), t.Patient, t.TTL, time.Now())
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	fmt.Fprintln(p.stdout, token)
	return nil
}

type migrateCommand struct{}

func (migrateCommand) Run(p *program) error {
	store, err := openStore(p.ctx, p.config, p.log)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, "the database schema is up to date")
	return store.Close()
}
