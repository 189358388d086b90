package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

func newInternalErrors() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "patientgraph_internal_errors_total", Help: "Errors that callers saw as INTERNAL; the log has each with its incident id.",
	})
}

// countInternal counts an error that a caller is shown, if only the operator may see its
// cause.
func (o Options) countInternal(shown *gqlerror.Error) {
	if o.internalErrors != nil && shown.Extensions["incident"] != nil {
		o.internalErrors.Inc()
	}
}

// streamMetrics counts subscriptions, by transport, and WebSockets.
type streamMetrics struct {
	open    *prometheus.GaugeVec
	ended   *prometheus.CounterVec
	sockets prometheus.Gauge
}

// newStreamMetrics makes them; without a registry nobody sees them.
func newStreamMetrics(r *prometheus.Registry) *streamMetrics {
	var registerer prometheus.Registerer
	if r != nil {
		registerer = r
	}
	with := promauto.With(registerer)
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
