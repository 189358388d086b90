package mirror

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what an operator sees of the mirror.
type metrics struct {
	polls    *prometheus.CounterVec
	sweeps   *prometheus.CounterVec
	patients *prometheus.CounterVec
	missing  prometheus.Gauge
}

func newMetrics(m *Mirror) *metrics {
	began := m.Now()
	c := &metrics{
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_mirror_polls_total", Help: "Polls of the changes of the FHIR server, by outcome.",
		}, []string{"outcome"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_mirror_sweeps_total", Help: "Sweeps through all patients of the FHIR server, by outcome.",
		}, []string{"outcome"}),
		patients: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_mirror_patients_total", Help: "Patients that the FHIR server has shown, by what became of them in the cache.",
		}, []string{"result"}),
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "patientgraph_mirror_missing_patients", Help: "Patients of the cache that the FHIR server does not show, too many to be taken for deleted.",
		}),
	}
	for _, outcome := range []string{"ok", "failed"} {
		c.polls.WithLabelValues(outcome)
		c.sweeps.WithLabelValues(outcome)
	}
	c.count(Result{})
	if m.Metrics == nil {
		return c
	}
	m.Metrics.MustRegister(c.polls, c.sweeps, c.patients, c.missing,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "patientgraph_mirror_last_look_timestamp_seconds", Help: "When the last completed poll of the FHIR server began, in seconds since 1970; 0: there was none.",
		}, func() float64 {
			at := m.LookedAt()
			if at.IsZero() {
				return 0
			}
			return float64(at.UnixMilli()) / 1000
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "patientgraph_mirror_lag_seconds", Help: "Seconds since the last completed poll of the FHIR server began, or since this process began if there was none; 0 with SYNC_INTERVAL=0.",
		}, func() float64 {
			at := m.LookedAt()
			if at.IsZero() {
				at = began
			}
			if !m.Follows() {
				return 0
			}
			return max(m.Now().Sub(at).Seconds(), 0)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "patientgraph_mirror_leading", Help: "1 where this process follows the FHIR server.",
		}, func() float64 {
			if m.Leading() {
				return 1
			}
			return 0
		}))
	return c
}

// count adds what became of patients.
func (c *metrics) count(r Result) {
	for result, n := range map[string]int{
		"inserted": r.Inserted, "updated": r.Updated, "same": r.Same, "gone": r.Gone, "again": r.Again, "bad": r.Bad,
	} {
		c.patients.WithLabelValues(result).Add(float64(n))
	}
}

func (c *metrics) sweep(err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	c.sweeps.WithLabelValues(outcome).Inc()
}
