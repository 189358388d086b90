package app

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/mirror"
)

type syncCommand struct {
	Full bool `help:"Look at every patient, also where it was done before, and take who is missing for gone, also where the log has said that they are too many."`
	Bulk bool `help:"As --full, but have the FHIR server export all patients at once ($export), where it can."`

	Subscribe bool `help:"First have the FHIR server tell us at once of each change (FHIR Subscription to SUBSCRIPTION_URL)."`
}

// Run brings the cache up to date with the FHIR server, takes what it can, and fails if
// anything could not be taken.
func (c syncCommand) Run(p *program) error {
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
	client, err := newFHIRClient(p.config, store, 2) // one reads ahead
	if err != nil {
		return err
	}
	defer client.Close() // before the database that keeps its tokens
	if c.Subscribe {
		if err := subscribe(p, client); err != nil {
			return err
		}
	}
	var source mirror.FHIR = client
	if c.Bulk {
		export, err := startExport(p, client)
		if err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		defer export.Close()
		source = mirror.Bulk{Client: client, Export: export}
	}
	m := newMirror(p.config, p.log, store, source, nil)
	shown := newProgress(p, "patients read", -1)
	r, err := m.Once(p.ctx, c.Full || c.Bulk, func(page mirror.Result) { shown.add(page.Read()) })
	shown.end()
	if err == nil || r.Read()+r.Gone > 0 {
		fmt.Fprintf(p.stdout, "%d new, %d updated, %d as they were, %d gone, %d bad patients\n", r.Inserted, r.Updated, r.Same, r.Gone, r.Bad)
	}
	var failures []error
	if err != nil {
		failures = append(failures, fmt.Errorf("sync: %w", err))
	}
	if r.Bad > 0 {
		failures = append(failures, fmt.Errorf("sync: %d patients were not taken, or not wholly; see the log above", r.Bad))
	}
	return errors.Join(failures...)
}

// startExport has the FHIR server export all patients, waits until it has, and tells what
// it says of it.
func startExport(p *program, client *fhir.Client) (*fhir.Export, error) {
	export, err := client.Export(p.ctx, func(progress string) {
		p.log.Info("the FHIR server prepares the export", "progress", progress)
	})
	if err != nil {
		return nil, err
	}
	for _, issue := range export.Issues {
		p.log.Warn("the FHIR server says of its export", "severity", issue.Severity, "code", issue.Code, "says", issue.Message)
	}
	return export, nil
}

// newMirror makes what fills the cache from the FHIR server.
func newMirror(c *Config, log *slog.Logger, store *db.Store, server mirror.FHIR, metrics prometheus.Registerer) *mirror.Mirror {
	return mirror.New(mirror.Config{
		FHIR: server, Cache: store, Log: log, Now: time.Now, NewID: uuid.NewString, Metrics: metrics, Base: c.FHIRBaseURL,
		Interval: c.SyncInterval, StaleAfter: c.StaleAfter, PatientIDSystem: c.PatientIDSystem,
	})
}
