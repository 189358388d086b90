package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
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
