package app

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/httpapi"
)

// startup is what the checks of a start leave behind.
type startup struct {
	listener net.Listener
	verifier *auth.Verifier            // nil in the demo, which makes its own secret
	database *db.Inspection            // nil in the demo, which makes its own
	trusted  *httpapi.TrustedDocuments // nil: any operation is accepted
}

// startCheck looks whether one thing that a start needs is there, and says what it
// found.
type startCheck struct {
	name string
	run  func(s *startup, p *program) (found string, err error)
}

// startChecks are the checks that a start makes, in this order. serve ends at the
// first that fails; doctor makes them all. None of them changes what is stored; listen
// takes the port, and checkTokens keeps keys current, until the start ends.
func startChecks(c *Config) []startCheck {
	checks := []startCheck{{"settings", (*startup).checkSettings}, {"address", (*startup).listen}}
	if c.TrustedDocuments != "" {
		checks = append(checks, startCheck{"trusted documents", (*startup).checkTrustedDocuments})
	}
	if !c.Demo {
		checks = append(checks, startCheck{"tokens", (*startup).checkTokens}, startCheck{"database", (*startup).checkDatabase})
	}
	return checks
}

func (s *startup) checkSettings(p *program) (string, error) { return "complete", p.config.check() }

func (s *startup) listen(p *program) (string, error) {
	var err error
	s.listener, err = listen(p.ctx, p.config.ListenAddr, unansweredTimeout)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "", fmt.Errorf("LISTEN_ADDR: %s is in use, by another program or a patientgraph that runs: %w", p.config.ListenAddr, err)
	case err != nil:
		return "", fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	return p.config.ListenAddr + " is free", nil
}

func (s *startup) checkTrustedDocuments(p *program) (found string, err error) {
	enforce := p.config.TrustedDocumentsMode == trustedEnforce
	if s.trusted, err = httpapi.OpenTrustedDocuments(p.config.TrustedDocuments, enforce, p.log, time.Now); err != nil {
		return "", fmt.Errorf("TRUSTED_DOCUMENTS: %w", err)
	}
	found = fmt.Sprintf("operations that TRUSTED_DOCUMENTS lists: %d", s.trusted.Len())
	if !enforce {
		found += "; others are accepted, and logged"
	}
	return found, nil
}

func (s *startup) checkTokens(p *program) (found string, err error) {
	if s.verifier, err = newVerifier(p.ctx, p.log, p.config); err != nil {
		return "", err
	}
	if p.config.JWTJWKSURL != "" {
		return "JWT_JWKS_URL has keys that can be used", nil
	}
	return "JWT_SECRET is long enough", nil
}

func (s *startup) checkDatabase(p *program) (found string, err error) {
	url := p.config.databaseURL()
	if s.database, err = db.Inspect(p.ctx, url); err != nil {
		return "", fmt.Errorf("DATABASE_URL: %w", err)
	}
	found = databaseKind(url)
	if s.database.Product == "" {
		return found + ", not there yet: serve makes it", nil
	}
	found += " (" + s.database.Product + ")"
	if s.database.Pooled {
		found += ", behind a pooler"
	}
	switch known := db.SchemaVersion(); {
	case s.database.Schema == known:
		return fmt.Sprintf("%s, schema version %d", found, known), nil
	case s.database.Schema == 0:
		return fmt.Sprintf("%s, empty: serve makes the schema", found), nil
	default:
		return fmt.Sprintf("%s, schema version %d: serve brings it to %d", found, s.database.Schema, known), nil
	}
}

// warnings are what the start finds odd and goes on with.
func (s *startup) warnings(c *Config) []string {
	told := c.warnings()
	if s.database != nil && s.database.Readable {
		told = append(told, "DATABASE_URL: others than its owner can read the file, which holds patients; serve sets its mode to 0600")
	}
	return told
}

// close ends what serve does not go on with.
func (s *startup) close() error {
	var errs []error
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.database != nil {
		errs = append(errs, s.database.Close())
	}
	return errors.Join(errs...)
}
