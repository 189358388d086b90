package fhir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tidwall/gjson"
)

const (
	// maxSubscriptionPages bounds a search that one page should answer.
	maxSubscriptionPages = 20
	// A server may activate a Subscription after its answer. HAPI works off what was
	// stored every five seconds.
	activationLooks = 30
	activationPause = time.Second
)

// Subscribe asks the server to notify endpoint when a Patient has changed: by a FHIR R4
// Subscription with a rest-hook, and without a payload, so that nothing of a patient is
// sent. Each notification has secret as its Bearer token. The Subscriptions that name
// the endpoint already are updated; only if there is none is one created. It returns the
// id of one, when all of them are active.
func (c *Client) Subscribe(ctx context.Context, endpoint, secret string) (id string, err error) {
	return c.subscribe(ctx, endpoint, secret, activationPause)
}

func (c *Client) subscribe(ctx context.Context, endpoint, secret string, pause time.Duration) (id string, err error) {
	own := *c
	own.secrets = append(slices.Clone(c.secrets), secret) // a refusal may repeat what was sent
	found, err := own.subscriptions(ctx, endpoint)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		found = []subscription{{}}
	}
	for _, s := range found {
		if err := own.saveSubscription(ctx, s.id, endpoint, secret); err != nil {
			return "", err
		}
	}
	for range activationLooks {
		if found, err = own.subscriptions(ctx, endpoint); err != nil {
			return "", err
		}
		switch active, err := areActive(found); {
		case err != nil:
			return "", err
		case active:
			return found[0].id, nil
		}
		select {
		case <-ctx.Done():
			return "", subscriptionError(Lost, "The Subscription was not active yet", ctx.Err())
		case <-time.After(pause):
		}
	}
	if len(found) == 0 {
		return "", subscriptionError(Unusable, "The server took the Subscription, and a search by its url does not find it", nil)
	}
	return "", subscriptionError(CannotApply, "The server keeps the Subscription and does not activate it: rest-hooks are probably switched off there", nil)
}

// areActive fails if the server gave one up. None is no active one.
func areActive(found []subscription) (bool, error) {
	for _, s := range found {
		switch s.status {
		case "active":
		case "error", "off":
			reason := "The server does not activate the Subscription"
			if s.failure != "" {
				reason += ": " + s.failure
			}
			return false, subscriptionError(Rejected, reason, nil)
		default:
			return false, nil
		}
	}
	return len(found) > 0, nil
}

// subscription is what counts of a Subscription.
type subscription struct {
	id, status string
	failure    string // Subscription.error, freed of our secrets
}

// subscriptions returns those whose channel is a rest-hook to the endpoint.
func (c *Client) subscriptions(ctx context.Context, endpoint string) (found []subscription, err error) {
	at, err := url.Parse(c.base.String() + "/Subscription?url=" + url.QueryEscape(endpoint))
	if err != nil {
		return nil, subscriptionError(NotSent, "The address of Subscriptions is none", err)
	}
	for range maxSubscriptionPages {
		a := c.exchange(ctx, request{op: OpSubscribe, method: http.MethodGet, url: at.String(), want: "Bundle"})
		if err := a.failure(); err != nil {
			return nil, untaken(err)
		}
		for _, e := range elements(member(a.doc, "entry")) {
			resource := member(e, "resource")
			channel := member(resource, "channel")
			// The server may not know the parameter, and show all.
			if str(resource, "resourceType") == "Subscription" && str(channel, "type") == "rest-hook" &&
				str(channel, "endpoint") == endpoint && checkID(OpSubscribe, str(resource, "id")) == nil {
				found = append(found, c.readSubscription(resource))
			}
		}
		if at, err = c.nextLink(a.doc, at); err != nil {
			return nil, subscriptionError(Unusable, "The answer is unusable: "+err.Error(), err)
		}
		if at == nil {
			return found, nil
		}
	}
	return nil, subscriptionError(Unusable, "The answer is unusable: "+errNoProgress.Error(), errNoProgress)
}

func (c *Client) readSubscription(resource gjson.Result) subscription {
	s := subscription{id: str(resource, "id"), status: str(resource, "status")}
	if failure := str(resource, "error"); failure != "" {
		secrets := SecretsOf()
		secrets.addCredentials(c.secrets...)
		s.failure = secrets.Text(failure, "")
	}
	return s
}

// saveSubscription updates the Subscription of that id; "" creates one.
func (c *Client) saveSubscription(ctx context.Context, id, endpoint, secret string) error {
	resource := map[string]any{
		"resourceType": "Subscription", "status": "requested", "reason": "PatientGraph follows the Patients of this server",
		"criteria": "Patient?", // HAPI wants the question mark
		"channel": map[string]any{
			// HAPI tells of deletions only if it is asked to.
			"extension": []any{map[string]any{"url": "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages", "valueBoolean": true}},
			"type":      "rest-hook", "endpoint": endpoint, "header": []string{"Authorization: Bearer " + secret},
		},
	}
	r := request{op: OpSubscribe, method: http.MethodPost, url: c.base.String() + "/Subscription", want: "Subscription"}
	if id != "" {
		resource["id"], r.method, r.url = id, http.MethodPut, r.url+"/"+id
	}
	var err error
	if r.body, err = json.Marshal(resource); err != nil {
		return subscriptionError(NotSent, "The Subscription cannot be written as JSON", err)
	}
	a := c.exchange(ctx, r)
	if a.silent() {
		return nil
	}
	return untaken(a.failure())
}

// untaken says of a server that has no Subscriptions that it has none.
func untaken(err error) error {
	var e *Error
	if errors.As(err, &e) && slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, e.Status) {
		return &Error{Kind: CannotApply, Op: e.Op, Status: e.Status, Err: err, Reason: fmt.Sprintf("The server has no Subscriptions (status %d)", e.Status)}
	}
	return err
}

func subscriptionError(kind Kind, reason string, err error) *Error {
	return &Error{Kind: kind, Op: OpSubscribe, Reason: reason, Err: err}
}
