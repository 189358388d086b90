package app

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"patientgraph/fhir"
)

// newMetrics returns the registry of all that /metrics shows.
func newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// downAfter is after how many requests in a row that got no good answer the FHIR server
// counts as away: one may be about one patient.
const downAfter = 3

// fhirWatch measures the FHIR server, and says when it cannot be reached and when it
// can again.
type fhirWatch struct {
	log      *slog.Logger
	requests *prometheus.HistogramVec
	failures atomic.Int64 // in a row
}

func newFHIRWatch(r prometheus.Registerer, log *slog.Logger) *fhirWatch {
	w := &fhirWatch{log: log, requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "patientgraph_fhir_request_seconds",
		Help: "How long the FHIR server took to answer, by interaction (token: the authorization server) and outcome: ok, canceled, or why there was no good answer.",
		// Up to the default of FHIR_TIMEOUT.
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"interaction", "outcome"})}
	for _, interaction := range fhir.Interactions() {
		for _, result := range fhir.Results() {
			w.requests.WithLabelValues(interaction, result)
		}
	}
	down := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "patientgraph_fhir_down", Help: "1 while the FHIR server cannot be reached or fails (5xx), as the last requests found it.",
	}, func() float64 {
		if w.failures.Load() >= downAfter {
			return 1
		}
		return 0
	})
	r.MustRegister(w.requests, down)
	return w
}

// observe is a fhir.Observer.
func (w *fhirWatch) observe(interaction, result string, took time.Duration) {
	w.requests.WithLabelValues(interaction, result).Observe(took.Seconds())
	switch {
	case interaction == fhir.InteractionToken, result == fhir.ResultCanceled: // not the FHIR server's
	case fhir.IsUnreachable(result):
		if w.failures.Add(1) == downAfter {
			w.log.Warn("the FHIR server cannot be reached or fails", "outcome", result)
		}
	case w.failures.Swap(0) >= downAfter:
		w.log.Info("the FHIR server is reachable again")
	}
}
