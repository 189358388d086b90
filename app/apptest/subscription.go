package apptest

import (
	"context"
	"strings"

	"patientgraph/internal/locked"
)

// SubscriptionSettings let a product take notifications of the FHIR server. Where it
// serves is known only then: see SyncSubscribe.
var SubscriptionSettings = []string{"SUBSCRIPTION_URL=http://127.0.0.1", "SUBSCRIPTION_SECRET=" + strings.Repeat("subscribed", 4)}

// SyncSubscribe runs sync --subscribe as the operator of this product does, which must
// serve with SubscriptionSettings, and returns what it printed and logged.
func (s *System) SyncSubscribe(databaseURL string) (string, error) {
	s.T.Helper()
	var out, log locked.Buffer
	err := Run(context.Background(), []string{"sync", "--subscribe"}, &out, &log, append(OutsideDemo(s.base, databaseURL),
		s.settings[0], "SUBSCRIPTION_URL="+s.URL+"/", SubscriptionSettings[1])...)
	return out.String() + log.String(), err
}

// Notified is how many notifications of the FHIR server the product has accepted.
func (p *Product) Notified() string {
	p.T.Helper()
	_, metrics := p.Get("/metrics")
	_, count, _ := strings.Cut(metrics, `patientgraph_fhir_notifications_total{outcome="accepted"} `)
	count, _, _ = strings.Cut(count, "\n")
	return count
}
