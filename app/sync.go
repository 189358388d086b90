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
	Full bool `help:"Look at every patient, also where it was done before, and take those that the server does not have for gone, however many they are."`
	Bulk bool `help:"The same by an export ($export), where the FHIR server offers one."`
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
	store, err := openStore(p.ctx, p.config)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := newFHIRClient(p.config, store, 2) // one reads ahead
	if err != nil {
		return err
	}
	defer client.Close() // before the database that keeps its tokens
	what := mirror.What{Full: c.Full}
	if c.Bulk {
		if what.Export, err = client.Export(p.ctx, func(progress string) {
			p.log.Info("the FHIR server prepares the export", "progress", progress)
		}); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		defer what.Export.Close()
		for _, issue := range what.Export.Issues {
			p.log.Warn("the FHIR server says of its export", "severity", issue.Severity, "code", issue.Code, "says", issue.Message)
		}
	}
	shown := newProgress(p, "patients read", -1)
	r, err := newMirror(p.config, p.log, store, client, nil).Once(p.ctx, what, func(page mirror.Result) { shown.add(page.Read()) })
	shown.end()
	fmt.Fprintf(p.stdout, "%d new, %d updated, %d as they were, %d gone, %d bad patients\n", r.Inserted, r.Updated, r.Same, r.Gone, r.Bad)
	var failures []error
	if err != nil {
		failures = append(failures, fmt.Errorf("sync: %w", err))
	}
	if r.Bad > 0 {
		failures = append(failures, fmt.Errorf("sync: %d patients were not taken, or not wholly; see the log above", r.Bad))
	}
	return errors.Join(failures...)
}

// newMirror makes what fills the cache from the FHIR server.
func newMirror(c *Config, log *slog.Logger, store *db.Store, client *fhir.Client, metrics prometheus.Registerer) *mirror.Mirror {
	return mirror.New(mirror.Config{
		FHIR: client, Cache: store, Log: log, Now: time.Now, NewID: uuid.NewString, Metrics: metrics, Base: c.FHIRBaseURL,
		Interval: c.SyncInterval, StaleAfter: c.StaleAfter, PatientIDSystem: c.PatientIDSystem,
	})
}
