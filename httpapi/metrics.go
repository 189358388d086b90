package httpapi

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

// faults counts what callers see of faults that are not theirs.
type faults struct{ internal, unavailable prometheus.Counter }

func newFaults(r *prometheus.Registry) *faults {
	with := promauto.With(r)
	return &faults{
		internal: with.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_internal_errors_total", Help: "Errors that callers saw as INTERNAL; the log has each with its incident id.",
		}),
		unavailable: with.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_unavailable_answers_total", Help: "Answers with an error that callers saw as UNAVAILABLE: the database was away, or there was too much to do at once.",
		}),
	}
}

// countInternal counts an error that a caller is shown, if only the operator may see its
// cause.
func (f *faults) countInternal(shown *gqlerror.Error) {
	if shown.Extensions["incident"] != nil {
		f.internal.Inc()
	}
}

// countUnavailable counts an answer with these errors.
func (f *faults) countUnavailable(shown ...*gqlerror.Error) {
	if slices.ContainsFunc(shown, isUnavailable) {
		f.unavailable.Inc()
	}
}

func isUnavailable(e *gqlerror.Error) bool { return e.Extensions["code"] == resolvers.CodeUnavailable }

// streamMetrics counts subscriptions, by transport, and WebSockets.
type streamMetrics struct {
	open    *prometheus.GaugeVec
	ended   *prometheus.CounterVec
	sockets prometheus.Gauge
}

func newStreamMetrics(r *prometheus.Registry) *streamMetrics {
	with := promauto.With(r)
	m := &streamMetrics{
		open: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "patientgraph_subscriptions", Help: "Subscriptions that are open, by transport.",
		}, []string{"transport"}),
		ended: with.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_subscriptions_ended_total", Help: "Subscriptions that ended, by transport and why.",
		}, []string{"transport", "reason"}),
		sockets: with.NewGauge(prometheus.GaugeOpts{
			Name: "patientgraph_websockets", Help: "WebSockets that are open, with or without an operation.",
		}),
	}
	for _, transport := range []string{sse.name, multipartMixed.name, overWebSocket} {
		m.open.WithLabelValues(transport)
		for _, reason := range allEnds {
			m.ended.WithLabelValues(transport, reason)
		}
	}
	return m
}

// newNotifications counts what the FHIR server tells, by outcome.
func newNotifications(r *prometheus.Registry) *prometheus.CounterVec {
	return promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "patientgraph_fhir_notifications_total",
		Help: "Notifications of the FHIR server that a Patient has changed: accepted, or refused for their secret.",
	}, []string{"outcome"})
}
