package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/mirror"
)

type verifyCommand struct {
	Sample *int `xor:"rows" placeholder:"100" help:"How many rows to compare, picked at random (default 100)."`
	All    bool `xor:"rows" help:"Compare every row."`
	JSON   bool `name:"json" help:"Print one JSON object instead of lines."`
}

// maxVerifyConns is how many connections to the FHIR server a comparison may open.
const maxVerifyConns = 4

// Run compares rows with the FHIR server, prints in which fields which differ, and fails
// if a row is wrong that does not say so, or nothing could be compared. It changes no row.
func (v verifyCommand) Run(p *program) error {
	switch {
	case p.config.Demo:
		return errors.New("verify: FHIR_BASE_URL is not set; the demo compares its own cache while it runs (VERIFY_INTERVAL)")
	case v.Sample != nil && *v.Sample < 1:
		return errors.New("verify: --sample must be at least 1")
	}
	if err := p.config.checkFHIR(); err != nil {
		return err
	}
	store, err := openFilled(p.ctx, p.config)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := newFHIRClient(p.config, store, maxVerifyConns)
	if err != nil {
		return err
	}
	defer client.Close() // before the database that keeps its tokens
	verifier := newComparison(p.config, store, client)
	if p.config.SyncInterval > 0 {
		verifier.NextLook = p.config.SyncInterval + lookGrace
	}
	rows, err := store.CountFHIRIDs(p.ctx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	ids := verifier.All(p.ctx)
	if !v.All {
		sample := 100
		if v.Sample != nil {
			sample = *v.Sample
		}
		ids, rows = verifier.Sample(p.ctx, sample), min(rows, sample)
	}
	out := v.printer(p.stdout)
	bar := newProgress(p, "rows compared", rows)
	result, err := verifier.Verify(p.ctx, ids, func(d mirror.Difference) {
		bar.clear()
		out.difference(d)
	}, func() { bar.add(1) })
	bar.end()
	out.end(result, err == nil && result.OK())
	switch {
	case err != nil:
		return fmt.Errorf("verify: %w", errors.Join(err, out.err))
	case out.err != nil:
		return fmt.Errorf("verify: %w", out.err)
	case result.Rows > 0 && result.Kinds[mirror.Unknown] == result.Rows:
		return errors.New("verify: nothing could be compared: run patientgraph doctor, which says why the FHIR server cannot be read")
	case !result.OK():
		return fmt.Errorf("verify: %d rows differ from the FHIR server and do not say so: read them anew with patientgraph sync --full",
			result.Kinds[mirror.Wrong]+result.Kinds[mirror.Gone]+result.Kinds[mirror.Back])
	}
	return nil
}

// lookGrace is what a look of the mirror may take.
const lookGrace = 30 * time.Second

// openFilled opens a cache that is there, as it is.
func openFilled(ctx context.Context, c *Config) (*db.Store, error) {
	url := c.databaseURL()
	found, err := db.Inspect(ctx, url) // makes no file, as Open would
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	product := found.Product
	if err := found.Close(); err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if product == "" {
		return nil, errors.New("DATABASE_URL: there is no database: name the one that serve uses, or run patientgraph sync first")
	}
	store, err := db.Open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if err := store.Ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("DATABASE_URL: %w", err), store.Close())
	}
	return store, nil
}

func newComparison(c *Config, store *db.Store, client *fhir.Client) mirror.Verifier {
	return mirror.Verifier{FHIR: client, Store: store, PatientIDSystem: c.PatientIDSystem, StaleAfter: c.StaleAfter, Now: time.Now}
}

// newSampler makes what compares rows while the server runs, in the process that follows
// the FHIR server if one does; nil: it is off.
func newSampler(c *Config, log *slog.Logger, store *db.Store, client *fhir.Client, follower *mirror.Mirror, metrics prometheus.Registerer) *mirror.Sampler {
	if c.VerifyInterval == 0 {
		return nil
	}
	return mirror.NewSampler(mirror.SamplerConfig{
		Verifier: newComparison(c, store, client), Interval: c.VerifyInterval,
		Leading: func() bool { return c.SyncInterval == 0 || follower.Leading() }, Log: log, Metrics: metrics,
	})
}

// differences prints what differs while it is found: it keeps none.
type differences struct {
	w    io.Writer
	json bool
	n    int
	err  error
}

func (v verifyCommand) printer(w io.Writer) *differences {
	d := &differences{w: w, json: v.JSON}
	if v.JSON {
		d.print("{\"differences\": [")
	}
	return d
}

func (d *differences) print(text string) {
	if d.err == nil {
		_, d.err = io.WriteString(d.w, text)
	}
}

func (d *differences) difference(found mirror.Difference) {
	if d.n++; d.json {
		separator := ",\n  "
		if d.n == 1 {
			separator = "\n  "
		}
		d.print(separator + toJSON(found))
		return
	}
	line := found.Patient + " " + string(found.Kind)
	if told := strings.Join(found.Fields, ", ") + found.Why; told != "" {
		line += ": " + told
	}
	d.print(line + "\n")
}

// end prints the counts.
func (d *differences) end(r mirror.VerifyResult, ok bool) {
	if d.json {
		d.print(fmt.Sprintf("\n], \"rows\": %d, \"same\": %d, \"kinds\": %s, \"ok\": %t}\n", r.Rows, r.Same, toJSON(r.Kinds), ok))
		return
	}
	line := fmt.Sprintf("%d rows: %d the same", r.Rows, r.Same)
	for _, kind := range mirror.Kinds {
		line += fmt.Sprintf(", %d %s", r.Kinds[kind], kind)
	}
	d.print(line + "\n")
}

func toJSON(v any) string {
	text, _ := json.Marshal(v) // strings and numbers always encode
	return string(text)
}
