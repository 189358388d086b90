package httpapi

import (
	"crypto/subtle"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// NotificationPath is where the FHIR server tells that a Patient has changed (FHIR R4
// Subscription, channel rest-hook).
const NotificationPath = "/fhir-notification"

// notification takes what the FHIR server tells, and passes on that there is something
// to look for. What changed is read from the FHIR server: whatever was sent is left
// unread, and net/http ends a connection that brings more than 256 KiB of it.
type notification struct {
	authorization     []byte // what the Authorization header must be
	notified          func()
	accepted, refused prometheus.Counter
}

func newNotification(o Options) *notification {
	notifications := newNotifications(o.Metrics)
	return &notification{
		authorization: []byte("Bearer " + o.NotificationSecret), notified: o.Notified,
		accepted: notifications.WithLabelValues("accepted"), refused: notifications.WithLabelValues("refused"),
	}
}

func (n *notification) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), n.authorization) != 1:
		n.refused.Inc()
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method != http.MethodPost && r.Method != http.MethodPut: // HAPI sends a payload, if one was asked for, by PUT to a path below
		w.Header().Set("Allow", "POST, PUT")
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		n.accepted.Inc()
		n.notified()
		w.WriteHeader(http.StatusOK)
	}
}
