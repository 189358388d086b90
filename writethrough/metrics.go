package writethrough

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators watch of the write protocol.
type metrics struct {
	updates     *prometheus.CounterVec
	settled     *prometheus.CounterVec
	resurrected prometheus.Counter
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_contact_updates_total", Help: "Contact updates by what the caller was told: SUCCESS or an ErrorCode.",
		}, []string{"outcome"}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_contact_updates_settled_total", Help: "Contact updates whose outcome was found out later, by state.",
		}, []string{"state"}),
		resurrected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_fhir_patients_resurrected_total", Help: "PUTs that created or resurrected a patient that was gone from the FHIR server.",
		}),
	}
	if r != nil {
		r.MustRegister(m.updates, m.settled, m.resurrected)
	}
	return m
}

// count counts what a caller was told.
func (m metrics) count(o *Outcome, err error) {
	code := "INTERNAL"
	if err == nil {
		code = string(o.Code)
	}
	m.updates.WithLabelValues(code).Inc()
}
