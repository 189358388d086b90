package writethrough_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
	"patientgraph/writethrough"
)

// watchedStore counts looks at the open updates, and refuses to write ends down.
type watchedStore struct {
	*db.Store
	looks   int
	refuses bool
	fails   error
}

func (s *watchedStore) OpenUpdates(ctx context.Context) (db.OpenUpdates, error) {
	s.looks++
	if s.fails != nil {
		return db.OpenUpdates{}, s.fails
	}
	return s.Store.OpenUpdates(ctx)
}

func (s *watchedStore) CloseUpdate(c db.Closing) (*db.Patient, error) {
	if s.refuses {
		return nil, errors.New("the disk is full")
	}
	return s.Store.CloseUpdate(c)
}

// wantMetrics fails unless each of these series has the value that stands behind it.
func wantMetrics(t *testing.T, r *prometheus.Registry, series ...string) {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := answer.Body.String()
	for _, line := range series {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("the metrics lack %q:\n%s", line, text)
		}
	}
}

func TestEverySeriesOfWritesIsThereFromTheStart(t *testing.T) {
	t.Parallel()
	r, metrics := newRig(t, 1), prometheus.NewRegistry()
	r.writer(false, r.client, r.store, func(c *writethrough.Config) { c.Metrics = metrics })
	wantMetrics(t, metrics,
		`patientgraph_contact_updates_total{outcome="SUCCESS"} 0`, `patientgraph_contact_updates_total{outcome="FHIR_REJECTED"} 0`,
		`patientgraph_contact_updates_total{outcome="PATIENT_NOT_FOUND"} 0`, `patientgraph_contact_updates_total{outcome="IDEMPOTENCY_KEY_REUSED"} 0`,
		`patientgraph_contact_updates_total{outcome="INTERNAL"} 0`, `patientgraph_contact_updates_settled_total{state="NOT_APPLIED"} 0`,
		`patientgraph_cache_updates_total{result="stored"} 0`, `patientgraph_cache_updates_total{result="failed"} 0`,
		`patientgraph_contact_updates_open{state="ACCEPTED"} 0`, `patientgraph_contact_updates_open{state="SENT"} 0`,
		`patientgraph_contact_updates_open{state="UNKNOWN"} 0`, `patientgraph_contact_updates_oldest_open_seconds 0`,
		`patientgraph_circuit_open 0`, `patientgraph_settle_panics_total 0`, `patientgraph_fhir_patients_resurrected_total 0`)
}

func TestWhatTheDatabaseTookOfEndsIsCounted(t *testing.T) {
	t.Parallel()
	r, metrics := newRig(t, 1), prometheus.NewRegistry()
	store := &watchedStore{Store: r.store}
	w := r.writer(false, r.client, store, func(c *writethrough.Config) { c.Metrics = metrics })
	if _, err := update(t.Context(), w, setPhone("010-1111-1111")); err != nil {
		t.Fatal(err)
	}
	wantMetrics(t, metrics, `patientgraph_cache_updates_total{result="stored"} 1`, `patientgraph_cache_updates_total{result="failed"} 0`,
		`patientgraph_contact_updates_total{outcome="SUCCESS"} 1`)
	store.refuses = true
	if _, err := update(t.Context(), w, setPhone("010-2222-2222")); err != nil { // FHIR has it
		t.Fatal(err)
	}
	wantMetrics(t, metrics, `patientgraph_cache_updates_total{result="failed"} 1`)
}

// Scraping often costs the database nothing, and what cannot be known is no number.
func TestOpenUpdatesAreLookedUpOnceInTenSeconds(t *testing.T) {
	t.Parallel()
	r, metrics, now := newRig(t, 2), prometheus.NewRegistry(), time.Now()
	store := &watchedStore{Store: r.store}
	r.writer(false, r.client, store, func(c *writethrough.Config) {
		c.Metrics, c.Now = metrics, func() time.Time { return now }
	})
	wantMetrics(t, metrics, `patientgraph_contact_updates_open{state="SENT"} 0`)
	r.leave(1, "left", `W/"1"`)
	for range 3 {
		wantMetrics(t, metrics, `patientgraph_contact_updates_open{state="SENT"} 0`)
	}
	now = now.Add(10 * time.Second)
	wantMetrics(t, metrics, `patientgraph_contact_updates_open{state="SENT"} 1`)
	if store.looks != 2 {
		t.Errorf("the journal was asked %d times", store.looks)
	}
	now, store.fails = now.Add(10*time.Second), errors.New("it is away")
	wantMetrics(t, metrics, `patientgraph_contact_updates_open{state="SENT"} NaN`, `patientgraph_contact_updates_oldest_open_seconds NaN`)
}

func TestAnOpenCircuitShows(t *testing.T) {
	t.Parallel()
	r, metrics := newRig(t, 10), prometheus.NewRegistry()
	silent := &scriptedFHIR{Client: r.client, read: func(context.Context, string) (fhir.Resource, error) {
		return fhir.Resource{}, &fhir.Error{Kind: fhir.NotSent, Op: fhir.OpRead, Reason: "Connection refused"}
	}}
	w := r.writer(false, silent, r.store, func(c *writethrough.Config) { c.Metrics = metrics; c.Timeout = 100 * time.Millisecond })
	for n := range 10 {
		if _, err := w.UpdateContact(t.Context(), writethrough.Change{PatientID: patientID(n), Edit: phone("010-3333-3333")}); err != nil {
			t.Fatal(err)
		}
	}
	wantMetrics(t, metrics, `patientgraph_circuit_open 1`)
}

// brokenStore cannot look through the journal until it is mended.
type brokenStore struct {
	*db.Store
	mended atomic.Bool
}

func (s *brokenStore) ClaimUpdates(owner, patientID string, lease time.Duration, limit int) ([]db.ContactUpdate, error) {
	if !s.mended.Load() {
		return nil, errors.New("it is away")
	}
	return s.Store.ClaimUpdates(owner, patientID, lease, limit)
}

func TestADatabaseThatComesBackIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	store, log := &brokenStore{Store: r.store}, &locked.Buffer{}
	r.writer(true, r.client, store, func(c *writethrough.Config) {
		c.Log, c.Lease = slog.New(slog.NewTextHandler(log, nil)), 300*time.Millisecond
	})
	says := func(text string) func() bool {
		return func() bool { return strings.Contains(log.String(), text) }
	}
	wait.Until(t, "the failure is told", says("unsettled contact updates could not be looked up"))
	if says("the database answers again")() {
		t.Error("it is said to answer already")
	}
	store.mended.Store(true)
	wait.Until(t, "the return is told", says("the database answers again"))
}
