package app

import (
	"errors"
	"fmt"
	"net/url"
)

// syncCount is how many patients a page is asked for: OpenEMR gives no more.
const syncCount = "200"

type syncCommand struct {
	Full bool `help:"Has no effect yet: every patient is always read."`
}

// Run reads every patient of the FHIR server into the cache, takes what it can, and
// fails if anything could not be taken.
func (syncCommand) Run(p *program) error {
	if p.config.Demo {
		return errors.New("sync: FHIR_BASE_URL is not set; the demo fills its own cache")
	}
	if err := p.config.checkFHIR(); err != nil {
		return err
	}
	store, err := openStore(p.ctx, p.config, p.log)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := newFHIRClient(p.config, store, 1)
	if err != nil {
		return err
	}
	defer client.Close() // before the database that keeps its tokens
	imported := newImport(p, store, func(_ string, n int, err error) {
		p.log.Error("patient not taken", "nth", n, "error", err)
	})
	var failures []error
	if err := imported.Patients(p.ctx, client.Search(p.ctx, url.Values{"_count": {syncCount}})); err != nil {
		failures = append(failures, fmt.Errorf("sync: %w", err))
	}
	return endImport(p, "sync", "patients", imported, failures)
}
