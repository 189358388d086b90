package fhirsim

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"patientgraph/internal/wait"
)

// hook is an endpoint of Subscriptions, and what it was sent.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	sent []string // method, path, Authorization and body of each notification
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sent = append(h.sent, fmt.Sprintf("%s %s %s %q", r.Method, r.URL.Path, r.Header.Get("Authorization"), body))
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sent)
}

func subscriptionTo(endpoint string) string {
	return `{"resourceType":"Subscription","status":"requested","criteria":"Patient?","channel":{"type":"rest-hook","endpoint":"` + endpoint + `","header":["Authorization: Bearer s"]}}`
}

// TestASubscriptionIsToldOfEachChange, whoever makes it, once and without a payload.
func TestASubscriptionIsToldOfEachChange(t *testing.T) {
	t.Parallel()
	s, base := seeded(t, Options{})
	h := newHook(t)
	r := do(t, http.MethodPost, base+"/Subscription", subscriptionTo(h.URL+"/told"))
	wantEqual(t, "status of the POST", r.status, http.StatusCreated)
	wantEqual(t, "what it shows", gjson.Get(r.body, "status").Str, "requested")
	id := gjson.Get(r.body, "id").Str
	wantEqual(t, "Location", r.header.Get("Location"), base+"/Subscription/"+id+"/_history/1")
	wantEqual(t, "its status then", gjson.Get(do(t, http.MethodGet, base+"/Subscription/"+id, "").body, "status").Str, "active")

	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	do(t, http.MethodPut, base+"/Patient/x", strings.Replace(patientX, "Seoul", "Busan", 1))
	do(t, http.MethodPut, base+"/Patient/x", strings.Replace(patientX, "Seoul", "Busan", 1)) // the same: no change
	do(t, http.MethodDelete, base+"/Patient/x", "")
	wait.Until(t, "three notifications have come", func() bool { return h.count() >= 3 })
	do(t, http.MethodPut, base+"/Patient/x", patientX)
	wait.Until(t, "the fourth has come", func() bool { return h.count() >= 4 })
	told := `POST /told Bearer s ""`
	wantList(t, "notifications", h.sent, []string{told, told, told, told})
}

// TestASubscriptionIsUpdatedAndFound: a PUT changes what is there, a search by url finds
// it, and "off" is told nothing more.
func TestASubscriptionIsUpdatedAndFound(t *testing.T) {
	t.Parallel()
	s, base := seeded(t, Options{})
	first, second := newHook(t), newHook(t)
	id := gjson.Get(do(t, http.MethodPost, base+"/Subscription", subscriptionTo(first.URL)).body, "id").Str
	withID := func(body string) string { return strings.Replace(body, `{`, `{"id":"`+id+`",`, 1) }
	wantEqual(t, "status of the PUT", do(t, http.MethodPut, base+"/Subscription/"+id, withID(subscriptionTo(second.URL))).status, http.StatusOK)
	s.SetFault("", Fault{On: OnSearch, Status: http.StatusServiceUnavailable}) // of Patients
	for url, want := range map[string]int64{"": 1, "?url=" + first.URL: 0, "?url=" + second.URL: 1} {
		wantEqual(t, "entries of "+url, gjson.Get(do(t, http.MethodGet, base+"/Subscription"+url, "").body, "entry.#").Int(), want)
	}
	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the new endpoint is told", func() bool { return second.count() == 1 })
	do(t, http.MethodPut, base+"/Subscription/"+id, withID(strings.Replace(subscriptionTo(second.URL), "requested", "off", 1)))
	third := newHook(t)
	do(t, http.MethodPost, base+"/Subscription", subscriptionTo(third.URL))
	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the one that is on is told", func() bool { return third.count() == 1 })
	wantEqual(t, "notifications of the former endpoint", first.count(), 0)
	wantEqual(t, "notifications of the one that is off", second.count(), 1)
}

// TestNotificationsWaitForNobody: a hundred changes are made while an endpoint does not
// answer; each is told afterwards, one after another, and stop leaves none under way.
func TestNotificationsWaitForNobody(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	base, stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var mu sync.Mutex
	told, atOnce, answer := 0, 0, make(chan struct{})
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		told++
		atOnce++
		if atOnce > 1 {
			t.Error("two notifications at once")
		}
		mu.Unlock()
		select {
		case <-answer:
		case <-r.Context().Done():
		}
		mu.Lock()
		atOnce--
		mu.Unlock()
	}))
	defer endpoint.Close()
	do(t, http.MethodPost, base+"/Subscription", subscriptionTo(endpoint.URL))
	for range 100 {
		if err := s.Put([]byte(patientX)); err != nil {
			t.Fatal(err)
		}
	}
	for range 99 {
		answer <- struct{}{}
	}
	wait.Until(t, "the last one is under way", func() bool { mu.Lock(); defer mu.Unlock(); return told == 100 })
	stop()
	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	wantEqual(t, "notifications", told, 100)
}

// TestSubscriptionsThatAreNotTaken, each in the words of the server.
func TestSubscriptionsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	refusing := func(status int) Habits { h := HAPI(); h.SubscriptionStatus = status; return h }
	for name, c := range map[string]struct {
		habits Habits
		status int
		says   string
	}{
		"no such resource": {refusing(http.StatusNotFound), http.StatusNotFound, "HAPI-0302"},
		"forbidden":        {refusing(http.StatusForbidden), http.StatusForbidden, "not taken"},
		"unprocessable":    {refusing(http.StatusUnprocessableEntity), http.StatusUnprocessableEntity, "not taken"},
		"no versions":      {PlainR4(), http.StatusNotFound, "Unknown resource type 'Subscription'"},
		"OpenEMR":          {OpenEMR("8.0.0"), http.StatusNotFound, "Route not found"},
	} {
		_, base := running(t, Options{Habits: c.habits})
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := do(t, method, base+"/Subscription", subscriptionTo("http://127.0.0.1:1/"))
			if r.status != c.status || !strings.Contains(r.body, c.says) {
				t.Errorf("%s, %s: %d %s", name, method, r.status, r.body)
			}
		}
	}
	off := HAPI()
	off.SubscriptionsOff = true
	s, base := seeded(t, Options{Habits: off})
	h := newHook(t)
	id := gjson.Get(do(t, http.MethodPost, base+"/Subscription", subscriptionTo(h.URL)).body, "id").Str
	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	s.subscriptions.stop() // what was to be sent is sent then
	wantEqual(t, "notifications while rest-hooks are off", h.count(), 0)
	wantEqual(t, "status while rest-hooks are off", gjson.Get(do(t, http.MethodGet, base+"/Subscription/"+id, "").body, "status").Str, "requested")

	_, base = running(t, Options{})
	good := subscriptionTo("http://127.0.0.1:1/")
	for name, bad := range map[string]string{
		"no JSON": good[1:], "another resource": strings.Replace(good, `"Subscription"`, `"Patient"`, 1),
		"no status": strings.Replace(good, `"requested"`, `""`, 1), "criteria": strings.Replace(good, "Patient?", "Patient", 1),
		"channel": strings.Replace(good, "rest-hook", "email", 1), "endpoint": strings.Replace(good, "http://", "", 1),
		"payload": strings.Replace(good, `"header"`, `"payload":"application/fhir+json","header"`, 1),
	} {
		if r := do(t, http.MethodPost, base+"/Subscription", bad); r.status != http.StatusBadRequest && r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	wantEqual(t, "Subscriptions that were kept", gjson.Get(do(t, http.MethodGet, base+"/Subscription", "").body, "entry.#").Int(), 0)
}
