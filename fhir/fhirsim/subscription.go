package fhirsim

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

const (
	// maxSubscriptions is how many may be there.
	maxSubscriptions = 100
	// notifyTimeout bounds one notification.
	notifyTimeout = 5 * time.Second
)

// subscription is a Subscription (FHIR R4) with a rest-hook.
type subscription struct {
	id      string
	body    []byte // as it was sent, with its id
	version int
	active  bool
	pending int // notifications to send; one goroutine sends them, one after another
}

// subscriptions keeps the Subscriptions and notifies their endpoints of each change of
// a Patient: once, without a payload, whether or not the endpoint takes it.
type subscriptions struct {
	mu      sync.Mutex
	list    []*subscription
	stopped bool
	senders sync.WaitGroup
	ctx     context.Context // of the notifications
	cancel  context.CancelFunc
}

// changed is called for each change of a Patient; it waits for nobody.
func (s *subscriptions) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	for _, sub := range s.list {
		if !sub.active {
			continue
		}
		if sub.pending++; sub.pending == 1 {
			s.senders.Add(1)
			go s.send(sub)
		}
	}
}

// send sends what is pending of a Subscription, and what comes meanwhile.
func (s *subscriptions) send(sub *subscription) {
	defer s.senders.Done()
	for {
		s.mu.Lock()
		channel := gjson.GetBytes(sub.body, "channel")
		s.mu.Unlock()
		s.notify(channel)
		s.mu.Lock()
		sub.pending--
		done := sub.pending == 0 || s.stopped
		s.mu.Unlock()
		if done {
			return
		}
	}
}

func (s *subscriptions) notify(channel gjson.Result) {
	ctx, cancel := context.WithTimeout(s.ctx, notifyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, channel.Get("endpoint").Str, nil)
	if err != nil {
		return // it was a URL when it was taken
	}
	for _, header := range channel.Get("header").Array() {
		name, value, _ := strings.Cut(header.Str, ":")
		request.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if response, err := http.DefaultClient.Do(request); err == nil { // a server does not mind either
		response.Body.Close()
	}
}

// stop ends the notifications and returns when none is under way.
func (s *subscriptions) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.senders.Wait()
}

func (s *subscriptions) find(id string) *subscription {
	for _, sub := range s.list {
		if sub.id == id {
			return sub
		}
	}
	return nil
}

// resource is a Subscription as it is served, with the status that it has by now.
func (s *subscription) resource() []byte {
	body := s.body
	if s.active {
		body, _ = sjson.SetBytes(body, "status", "active") // it is JSON
	}
	return body
}

// subscriptionRoute finds what answers a call about Subscriptions.
func (s *Server) subscriptionRoute(c *call, parts []string) handler {
	switch {
	case s.habits.SubscriptionStatus == http.StatusNotFound:
		return s.unknownType(parts[0])
	case s.habits.SubscriptionStatus != 0:
		return s.fails(problem{status: s.habits.SubscriptionStatus, hapi: "HAPI-0838", text: "Subscriptions are not taken from this client"})
	case len(parts) == 1 && c.Method == http.MethodGet:
		return s.searchSubscriptions
	case len(parts) == 1 && c.Method == http.MethodPost:
		return func(c *call, _ *Fault) answer { return s.saveSubscription(c, "") }
	case len(parts) == 2 && c.Method == http.MethodPut:
		return func(c *call, _ *Fault) answer { return s.saveSubscription(c, parts[1]) }
	case len(parts) == 2 && c.Method == http.MethodGet:
		return func(*call, *Fault) answer { return s.readSubscription(parts[1]) }
	}
	return s.unsupported
}

func (s *Server) readSubscription(id string) answer {
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	sub := s.subscriptions.find(id)
	if sub == nil {
		return s.problem(problem{status: http.StatusNotFound, hapi: "HAPI-2001", code: s.notFoundCode(), text: "Resource Subscription/" + id + " is not known"})
	}
	return jsonAnswer(http.StatusOK, sub.resource())
}

// searchSubscriptions answers GET Subscription?url=…
func (s *Server) searchSubscriptions(c *call, _ *Fault) answer {
	params, _ := url.ParseQuery(c.Query) // what cannot be read is not there
	b := bundle{ResourceType: "Bundle", Type: "searchset", Link: []link{{"self", c.base + "/Subscription" + question(c.Query)}}}
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	for _, sub := range s.subscriptions.list {
		if !params.Has("url") || gjson.GetBytes(sub.body, "channel.endpoint").Str == params.Get("url") {
			b.Entry = append(b.Entry, entry{FullURL: c.base + "/Subscription/" + sub.id, Resource: sub.resource(), Search: map[string]string{"mode": "match"}})
		}
	}
	return jsonAnswer(http.StatusOK, encode(b))
}

// saveSubscription answers POST Subscription (id is ""), and PUT Subscription/{id}. The
// answer shows what was sent; the Subscription is active from then on.
func (s *Server) saveSubscription(c *call, id string) answer {
	if p := checkSubscription(c.Body, id); p != nil {
		return s.problem(*p)
	}
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	sub, status := s.subscriptions.find(id), http.StatusOK
	if sub == nil {
		if status = http.StatusCreated; len(s.subscriptions.list) == maxSubscriptions {
			return s.problem(problem{status: http.StatusUnprocessableEntity, text: "There are too many Subscriptions"})
		}
		if id == "" {
			id = strconv.Itoa(len(s.subscriptions.list) + 1)
		}
		sub = &subscription{id: id}
		s.subscriptions.list = append(s.subscriptions.list, sub)
	}
	sub.version++
	sub.body, _ = sjson.SetBytes(c.Body, "id", sub.id) // it is JSON
	sub.active = !s.habits.SubscriptionsOff && gjson.GetBytes(sub.body, "status").Str != "off"
	a := jsonAnswer(status, sub.body)
	a.header.Set("Location", c.base+"/Subscription/"+sub.id+"/_history/"+strconv.Itoa(sub.version))
	return a
}

// checkSubscription refuses what HAPI refuses, and what is sent nowhere here.
func checkSubscription(body []byte, id string) *problem {
	doc := gjson.ParseBytes(body)
	channel := doc.Get("channel")
	endpoint, err := url.Parse(channel.Get("endpoint").Str)
	unprocessable := func(code, text string) *problem {
		return &problem{status: http.StatusUnprocessableEntity, hapi: code, text: text}
	}
	switch {
	case !gjson.ValidBytes(body) || doc.Get("resourceType").Str != "Subscription" || id != doc.Get("id").Str:
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0450", text: "Failed to parse request body as a Subscription with that id"}
	case doc.Get("status").Str == "":
		return unprocessable("HAPI-0008", "Can not process submitted Subscription - Subscription.status must be populated on this server")
	case !strings.HasPrefix(doc.Get("criteria").Str, "Patient?"):
		return unprocessable("HAPI-0014", "Subscription.criteria must be in the form \"{Resource Type}?[params]\"")
	case channel.Get("type").Str != "rest-hook" || channel.Get("payload").Exists():
		return unprocessable("HAPI-0020", "Of Subscription.channel.type only rest-hook without a payload is implemented")
	case err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "":
		return unprocessable("HAPI-0021", "Rest-hook subscriptions must have Subscription.channel.endpoint defined")
	}
	return nil
}
