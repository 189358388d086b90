package writethrough

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
)

// metrics are what operators watch of the write protocol. Every series is there from
// the start: a rate misses the step from nothing to one.
type metrics struct {
	updates     *prometheus.CounterVec
	settled     *prometheus.CounterVec
	cached      *prometheus.CounterVec
	resurrected prometheus.Counter
	panics      prometheus.Counter
}

// The results of cached.
const (
	cacheStored = "stored"
	cacheFailed = "failed"
)

func newMetrics() metrics {
	m := metrics{
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_contact_updates_total", Help: "Contact updates by what the caller was told: SUCCESS or an ErrorCode.",
		}, []string{"outcome"}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_contact_updates_settled_total", Help: "Contact updates whose outcome was found out later, by state.",
		}, []string{"state"}),
		cached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_cache_updates_total", Help: "How often the end of a contact update was to be written to the database, by whether it took it.",
		}, []string{"result"}),
		resurrected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_fhir_patients_resurrected_total", Help: "PUTs that created or resurrected a patient that was gone from the FHIR server.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_settle_panics_total", Help: "Contact updates that could not be settled because of a fault in the program.",
		}),
	}
	for code := range reports {
		m.updates.WithLabelValues(string(code))
	}
	for _, code := range []Code{NotFound, KeyReused, codeInternal} {
		m.updates.WithLabelValues(string(code))
	}
	for _, state := range []db.UpdateState{db.UpdateApplied, db.UpdateRejected, db.UpdateConflict, db.UpdateNotApplied} {
		m.settled.WithLabelValues(string(state))
	}
	m.cached.WithLabelValues(cacheStored)
	m.cached.WithLabelValues(cacheFailed)
	return m
}

// register exports the metrics of a Writer.
func (w *Writer) register(r prometheus.Registerer) {
	m := w.metrics
	r.MustRegister(m.updates, m.settled, m.cached, m.resurrected, m.panics, newOpenUpdates(w.Store, w.Now),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "patientgraph_circuit_open", Help: "1 while no writes are sent to the FHIR server because it does not answer.",
		}, func() float64 {
			if w.circuit.isOpen() {
				return 1
			}
			return 0
		}))
}

// codeInternal is the outcome of an update that an error ended.
const codeInternal Code = "INTERNAL"

// count counts what a caller was told.
func (m metrics) count(o *Outcome, err error) {
	m.updates.WithLabelValues(string(codeOf(o, err))).Inc()
}

func codeOf(o *Outcome, err error) Code {
	if err != nil {
		return codeInternal
	}
	return o.Code
}

// countCached counts an end that was to be written down. That another process has the
// update by now, or the row has moved on, is no failure.
func (m metrics) countCached(err error) {
	switch {
	case err == nil:
		m.cached.WithLabelValues(cacheStored).Inc()
	case !errors.Is(err, db.ErrVersionMismatch) && !errors.Is(err, db.ErrLostLease) && !errors.Is(err, db.ErrNotFound):
		m.cached.WithLabelValues(cacheFailed).Inc()
	}
}

// How long one look at the open updates counts, and how long it may take.
const (
	openLookFor     = 10 * time.Second
	openLookTimeout = 2 * time.Second
)

// openUpdates exports how many contact updates are open, of all replicas. All who
// scrape share one look at the journal for a while.
type openUpdates struct {
	store      Store
	now        func() time.Time
	count, age *prometheus.Desc

	mu    sync.Mutex // held while it looks
	until time.Time
	open  db.OpenUpdates
	err   error
}

func newOpenUpdates(store Store, now func() time.Time) *openUpdates {
	return &openUpdates{
		store: store, now: now,
		count: prometheus.NewDesc("patientgraph_contact_updates_open", "Contact updates that have not ended, by state, as of a look within the last 10 s. NaN: the database cannot be asked.", []string{"state"}, nil),
		age:   prometheus.NewDesc("patientgraph_contact_updates_oldest_open_seconds", "How long ago the oldest open contact update was asked for; 0: none is open. NaN: the database cannot be asked.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (u *openUpdates) Describe(to chan<- *prometheus.Desc) {
	to <- u.count
	to <- u.age
}

// Collect implements prometheus.Collector.
func (u *openUpdates) Collect(to chan<- prometheus.Metric) {
	open, err := u.look()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		if err != nil {
			value = math.NaN()
		}
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, state := range []db.UpdateState{db.UpdateAccepted, db.UpdateSent, db.UpdateUnknown} {
		gauge(u.count, float64(open.Count[state]), string(state))
	}
	gauge(u.age, open.Oldest.Seconds())
}

func (u *openUpdates) look() (db.OpenUpdates, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := u.now(); !now.Before(u.until) {
		ctx, cancel := context.WithTimeout(context.Background(), openLookTimeout)
		defer cancel()
		u.until = now.Add(openLookFor)
		u.open, u.err = u.store.OpenUpdates(ctx)
	}
	return u.open, u.err
}
