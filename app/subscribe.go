package app

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"patientgraph/auth"
	"patientgraph/fhir"
	"patientgraph/httpapi"
)

// checkSubscription refuses what a FHIR server could not call, or only so that others
// read the secret.
func (c *Config) checkSubscription() error {
	u, err := url.Parse(c.SubscriptionURL)
	switch {
	case c.SubscriptionSecret != "" && len(c.SubscriptionSecret) < minSecret:
		return fmt.Errorf("SUBSCRIPTION_SECRET must have at least %d bytes", minSecret)
	case strings.ContainsFunc(c.SubscriptionSecret, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("SUBSCRIPTION_SECRET is sent in a header: it must be ASCII without blanks, as openssl rand -hex 32 makes it")
	case c.SubscriptionSecret != "" && c.SubscriptionSecret == c.JWTSecret:
		return errors.New("SUBSCRIPTION_SECRET must not be JWT_SECRET: whoever reads Subscriptions on the FHIR server could sign tokens with it")
	case c.SubscriptionURL == "":
		return nil
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(c.SubscriptionURL, "?#"):
		return errors.New("SUBSCRIPTION_URL must be a URL such as https://graph.example, without user, query or fragment")
	case u.Scheme != "https" && !auth.IsLoopback(u.Hostname()):
		return errors.New("SUBSCRIPTION_URL must be https, for a secret is sent there")
	}
	return nil
}

// subscribes reports whether the FHIR server can be asked to tell us of changes.
func (c *Config) subscribes() bool { return c.SubscriptionURL != "" && c.SubscriptionSecret != "" }

// notified is what is done when the FHIR server tells of a change; nil: it is not to tell.
func notified(c *Config, wake func()) func() {
	if !c.subscribes() {
		return nil
	}
	return wake
}

// notificationURL is where the FHIR server tells of changes. SUBSCRIPTION_URL, which was
// checked, may end with BASE_PATH already.
func (c *Config) notificationURL() string {
	u, _ := url.Parse(c.SubscriptionURL)
	base := strings.TrimSuffix(c.BasePath, "/")
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), base)
	return u.Scheme + "://" + u.Host + path + base + httpapi.NotificationPath
}

// subscribe registers a Subscription that tells this server at once of each change.
func subscribe(p *program, client *fhir.Client) error {
	c := p.config
	if err := c.checkSubscription(); err != nil {
		return err
	}
	if !c.subscribes() {
		return fmt.Errorf("sync --subscribe: set SUBSCRIPTION_URL to where the FHIR server reaches this server, and SUBSCRIPTION_SECRET to at least %d bytes, for serve too", minSecret)
	}
	endpoint := c.notificationURL()
	id, err := client.Subscribe(p.ctx, endpoint, c.SubscriptionSecret)
	if err != nil {
		return fmt.Errorf("sync --subscribe: %w; without --subscribe changes are found by asking", err)
	}
	fmt.Fprintf(p.stdout, "the FHIR server notifies %s of each change (Subscription/%s)\n", endpoint, id)
	return nil
}
