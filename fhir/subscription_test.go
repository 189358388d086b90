package fhir

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/fhir/fhirsim"
)

const (
	hookURL    = "https://graph.example/fhir-notification"
	hookSecret = "Vq3kLx81TnWz0RbYc7Hd5JmGs2PfUeAo"
)

// simulated starts a server that keeps Subscriptions as its habits say.
func subscribable(t *testing.T, change func(*fhirsim.Habits)) (*fhirsim.Server, string) {
	t.Helper()
	habits := fhirsim.HAPI()
	if change != nil {
		change(&habits)
	}
	s := fhirsim.New(fhirsim.Options{Habits: habits})
	base, stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s, base
}

// subscriptionsAt returns the Subscriptions that a server has.
func subscriptionsAt(t *testing.T, base string) []gjson.Result {
	t.Helper()
	response, err := http.Get(base + "/Subscription")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return gjson.GetBytes(body, "entry.#.resource").Array()
}

// TestSubscribeRegistersOnce: again, with another secret, updates what is there; what
// belongs to others stays.
func TestSubscribeRegistersOnce(t *testing.T) {
	t.Parallel()
	_, base := subscribable(t, nil)
	c := newTestClient(t, base, nil)
	other, err := c.Subscribe(t.Context(), hookURL+"-of-another", hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Subscribe(t.Context(), hookURL, hookSecret)
	if err != nil || id == other {
		t.Fatalf("%q, %v", id, err)
	}
	if again, err := c.Subscribe(t.Context(), hookURL, strings.ToLower(hookSecret)); err != nil || again != id {
		t.Errorf("the second time it is %q (%v), want %q", again, err, id)
	}
	all := subscriptionsAt(t, base)
	if len(all) != 2 || all[1].Get("id").Str != id {
		t.Fatalf("the server has %v", all)
	}
	ours := all[1]
	for path, want := range map[string]string{
		"status": `"active"`, "criteria": `"Patient?"`, "channel.type": `"rest-hook"`, "channel.endpoint": `"` + hookURL + `"`,
		"channel.header": `["Authorization: Bearer ` + strings.ToLower(hookSecret) + `"]`, "channel.payload": "",
		"channel.extension.0.valueBoolean": "true",
	} {
		if got := ours.Get(path).Raw; got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if ours.Get("reason").Str == "" {
		t.Error("the reason, which FHIR requires, is missing")
	}
}

// TestSubscribeTellsWhyNot: each server that has no Subscriptions, or takes none of us.
func TestSubscribeTellsWhyNot(t *testing.T) {
	t.Parallel()
	refused := func(status int) func(*fhirsim.Habits) {
		return func(h *fhirsim.Habits) { h.SubscriptionStatus = status }
	}
	for name, c := range map[string]struct {
		habits func(*fhirsim.Habits)
		kind   Kind
		says   string
	}{
		"no such resource": {refused(http.StatusNotFound), CannotApply, "The server has no Subscriptions (status 404)"},
		"forbidden":        {refused(http.StatusForbidden), Forbidden, "Subscriptions are not taken from this client"},
		"unprocessable":    {refused(http.StatusUnprocessableEntity), Rejected, "Subscriptions are not taken from this client"},
		"never active":     {func(h *fhirsim.Habits) { h.SubscriptionsOff = true }, CannotApply, "rest-hooks are probably switched off"},
		"OpenEMR":          {func(h *fhirsim.Habits) { *h = fhirsim.OpenEMR("8.0.0") }, CannotApply, "The server has no Subscriptions (status 404)"},
		"a plain server":   {func(h *fhirsim.Habits) { *h = fhirsim.PlainR4() }, CannotApply, "The server has no Subscriptions (status 404)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, base := subscribable(t, c.habits)
			_, err := newTestClient(t, base, nil).subscribe(t.Context(), hookURL, hookSecret, time.Millisecond)
			if e := asError(t, err, c.kind); !strings.Contains(e.Reason, c.says) || e.Op != OpSubscribe {
				t.Errorf("it says %v, want %q", e, c.says)
			}
		})
	}
}

// fakeSubscriptions answers a search with these entries, and a write with a status and
// a body; what was written is in writes.
type fakeSubscriptions struct {
	search []string // the answers, the last one again and again; {base} is its own
	status int
	body   string
	writes []string // method and path
}

func (f *fakeSubscriptions) start(t *testing.T) string {
	t.Helper()
	searched := 0
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		if r.Method == http.MethodGet {
			fmt.Fprint(w, strings.ReplaceAll(f.search[min(searched, len(f.search)-1)], "{base}", server.URL))
			searched++
			return
		}
		f.writes = append(f.writes, r.Method+" "+r.URL.Path)
		if media := r.Header.Get("Content-Type"); media != "application/fhir+json" {
			t.Errorf("it writes %q", media)
		}
		w.WriteHeader(f.status)
		fmt.Fprint(w, f.body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func shownSubscription(id, endpoint, status, rest string) string {
	return `{"resourceType":"Subscription","id":"` + id + `","status":"` + status + `"` + rest + `,"channel":{"type":"rest-hook","endpoint":"` + endpoint + `"}}`
}

func bundleOf(next string, resources ...string) string {
	var entries []string
	for _, r := range resources {
		entries = append(entries, `{"resource":`+r+`}`)
	}
	link := ""
	if next != "" {
		link = `,"link":[{"relation":"next","url":"` + next + `"}]`
	}
	return `{"resourceType":"Bundle","type":"searchset"` + link + `,"entry":[` + strings.Join(entries, ",") + `]}`
}

// TestSubscribeBelievesNoFilter: of a server that shows all Subscriptions, page by page,
// only those of our endpoint are updated, each of them, and waited for.
func TestSubscribeBelievesNoFilter(t *testing.T) {
	t.Parallel()
	others := []string{
		shownSubscription("1", "https://lab.example/hook", "active", ""), `{"resourceType":"Patient","id":"2"}`,
		strings.Replace(shownSubscription("3", hookURL, "active", ""), "rest-hook", "email", 1),
		shownSubscription("../4", hookURL, "active", ""), shownSubscription("5", hookURL+"/", "active", ""),
	}
	for name, answer := range map[string]string{"the resource": shownSubscription("6", hookURL, "requested", ""), "nothing": "", "an outcome": `{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}`} {
		f := &fakeSubscriptions{status: http.StatusOK, body: answer, search: []string{
			bundleOf("{base}?page=2", others...), bundleOf("", shownSubscription("6", hookURL, "active", ""), shownSubscription("7", hookURL, "off", "")),
			bundleOf("", shownSubscription("6", hookURL, "active", ""), shownSubscription("7", hookURL, "requested", "")), bundleOf(""),
			bundleOf("", shownSubscription("6", hookURL, "active", ""), shownSubscription("7", hookURL, "active", "")),
		}}
		c := newTestClient(t, f.start(t), nil)
		if id, err := c.subscribe(t.Context(), hookURL, hookSecret, time.Millisecond); err != nil || id != "6" {
			t.Errorf("answered with %s: %q, %v", name, id, err)
		}
		if got := strings.Join(f.writes, ", "); got != "PUT /Subscription/6, PUT /Subscription/7" {
			t.Errorf("answered with %s: written were %s", name, got)
		}
	}
}

// TestSubscribeNeverSaysThatItWorks where it does not, and repeats no secret.
func TestSubscribeNeverSaysThatItWorks(t *testing.T) {
	t.Parallel()
	const created = `{"resourceType":"Subscription","id":"1","status":"requested"}`
	none := bundleOf("")
	outcome := func(text string) string {
		return `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"` + text + `"}]}`
	}
	for name, c := range map[string]struct {
		fake fakeSubscriptions
		kind Kind
		says string
	}{
		"it gave up": {fakeSubscriptions{[]string{none, bundleOf("", shownSubscription("1", hookURL, "error", `,"error":"401 for Bearer `+hookSecret+`"`))}, http.StatusCreated, created, nil},
			Rejected, "does not activate the Subscription: 401 for Bearer …"},
		"it switched it off":  {fakeSubscriptions{[]string{none, bundleOf("", shownSubscription("1", hookURL, "off", ""))}, http.StatusCreated, created, nil}, Rejected, "does not activate"},
		"it forgot it":        {fakeSubscriptions{[]string{none}, http.StatusCreated, created, nil}, Unusable, "does not find it"},
		"a refusal":           {fakeSubscriptions{[]string{none}, http.StatusUnprocessableEntity, outcome("no rest-hook to graph.example, header " + hookSecret), nil}, Rejected, "no rest-hook to graph.example, header …"},
		"an error with a 200": {fakeSubscriptions{[]string{none}, http.StatusOK, outcome("no rest-hook"), nil}, Unusable, "no rest-hook"},
		"another resource":    {fakeSubscriptions{[]string{none}, http.StatusCreated, `{"resourceType":"Patient","id":"1"}`, nil}, Unusable, ""},
		"a page":              {fakeSubscriptions{[]string{none}, http.StatusOK, "<html>signed in</html>", nil}, Unusable, "HTML"},
		"only a search":       {fakeSubscriptions{[]string{none}, http.StatusMethodNotAllowed, "", nil}, CannotApply, "has no Subscriptions (status 405)"},
		"not implemented":     {fakeSubscriptions{[]string{none}, http.StatusNotImplemented, "", nil}, CannotApply, "has no Subscriptions (status 501)"},
		"an outage":           {fakeSubscriptions{[]string{none}, http.StatusServiceUnavailable, "", nil}, Lost, ""},
		"no rights":           {fakeSubscriptions{[]string{none}, http.StatusUnauthorized, "", nil}, AuthFailed, ""},
		"a search elsewhere":  {fakeSubscriptions{[]string{bundleOf("https://elsewhere.example/fhir?page=2")}, http.StatusOK, "", nil}, Unusable, "elsewhere.example"},
		"pages without end":   {fakeSubscriptions{[]string{bundleOf("{base}?page=2")}, http.StatusOK, "", nil}, Unusable, "do not come to an end"},
		"no Bundle":           {fakeSubscriptions{[]string{created}, http.StatusOK, "", nil}, Unusable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := c.fake.start(t)
			id, err := newTestClient(t, base, nil).subscribe(t.Context(), hookURL, hookSecret, time.Millisecond)
			e := asError(t, err, c.kind)
			if id != "" || !strings.Contains(e.Reason, c.says) {
				t.Errorf("%q and %v, want %q", id, e, c.says)
			}
			if shown, _ := json.Marshal(e); strings.Contains(string(shown)+e.Error(), hookSecret) {
				t.Errorf("the secret is repeated: %s", shown)
			}
		})
	}
}
