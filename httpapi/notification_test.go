package httpapi

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

const notificationSecret = "a secret of the hook, 32 bytes or more"

// notified is a server that takes notifications, and how many it passed on.
type notified struct {
	*httptest.Server
	told atomic.Int64
}

func newNotified(t *testing.T, change func(*Options)) *notified {
	t.Helper()
	n := &notified{}
	o := Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Notified: func() { n.told.Add(1) }, NotificationSecret: notificationSecret}
	if change != nil {
		change(&o)
	}
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Server = httptest.NewServer(handler)
	t.Cleanup(n.Close)
	return n
}

func (n *notified) send(t *testing.T, method, path, authorization string) (response *http.Response, body string) {
	t.Helper()
	request, err := http.NewRequest(method, n.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	if response, err = http.DefaultClient.Do(request); err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

// TestANotificationNeedsItsSecret: whoever has not the whole of it hears 401 and nothing
// else, and nobody is told.
func TestANotificationNeedsItsSecret(t *testing.T) {
	t.Parallel()
	n := newNotified(t, nil)
	for name, c := range map[string]struct {
		method, path, authorization string
		status                      int
	}{
		"the secret":             {http.MethodPost, NotificationPath, "Bearer " + notificationSecret, http.StatusOK},
		"by PUT":                 {http.MethodPut, NotificationPath, "Bearer " + notificationSecret, http.StatusOK},
		"by PUT to a path below": {http.MethodPut, NotificationPath + "/Patient/a1", "Bearer " + notificationSecret, http.StatusOK},
		"by GET":                 {http.MethodGet, NotificationPath, "Bearer " + notificationSecret, http.StatusMethodNotAllowed},
		"none":                   {http.MethodPost, NotificationPath, "", http.StatusUnauthorized},
		"none, by GET":           {http.MethodGet, NotificationPath, "", http.StatusUnauthorized},
		"none, below":            {http.MethodPut, NotificationPath + "/Patient/a1", "", http.StatusUnauthorized},
		"an empty one":           {http.MethodPost, NotificationPath, "Bearer ", http.StatusUnauthorized},
		"the secret alone":       {http.MethodPost, NotificationPath, notificationSecret, http.StatusUnauthorized},
		"its beginning":          {http.MethodPost, NotificationPath, "Bearer " + notificationSecret[:32], http.StatusUnauthorized},
		"more than it":           {http.MethodPost, NotificationPath, "Bearer " + notificationSecret + "x", http.StatusUnauthorized},
		"in capitals":            {http.MethodPost, NotificationPath, "Bearer " + strings.ToUpper(notificationSecret), http.StatusUnauthorized},
		"as HTTP Basic":          {http.MethodPost, NotificationPath, "Basic " + notificationSecret, http.StatusUnauthorized},
		"another, as long":       {http.MethodPost, NotificationPath, "Bearer " + strings.Repeat("x", len(notificationSecret)), http.StatusUnauthorized},
	} {
		before := n.told.Load()
		response, body := n.send(t, c.method, c.path, c.authorization)
		if response.StatusCode != c.status || body != "" {
			t.Errorf("%s: status %d with %q, want %d with nothing", name, response.StatusCode, body, c.status)
		}
		if told := n.told.Load() - before; (told == 1) != (c.status == http.StatusOK) {
			t.Errorf("%s: %d were told", name, told)
		}
		if asks := response.Header.Get("WWW-Authenticate"); (asks == "Bearer") != (c.status == http.StatusUnauthorized) {
			t.Errorf("%s: WWW-Authenticate is %q", name, asks)
		}
	}
	_, metrics := n.send(t, http.MethodGet, "/metrics", "")
	for _, line := range []string{`{outcome="accepted"} 3`, `{outcome="refused"} 10`} {
		if !strings.Contains(metrics, "patientgraph_fhir_notifications_total"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// unreadable is a body that nobody may read.
type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body of a notification was read")
	return 0, errors.New("not to be read")
}

// TestTheBodyOfANotificationIsNotRead: it might hold a patient, and proves nothing.
func TestTheBodyOfANotificationIsNotRead(t *testing.T) {
	t.Parallel()
	told := 0
	n := newNotification(Options{Metrics: prometheus.NewRegistry(), Notified: func() { told++ }, NotificationSecret: notificationSecret})
	request := httptest.NewRequest(http.MethodPut, NotificationPath+"/Patient/a1", unreadable{t})
	request.Header.Set("Authorization", "Bearer "+notificationSecret)
	response := httptest.NewRecorder()
	n.ServeHTTP(response, request)
	if response.Code != http.StatusOK || told != 1 {
		t.Errorf("status %d, %d were told", response.Code, told)
	}
}

// TestWithoutASecretThereIsNoPathForNotifications: it is as one that does not exist.
func TestWithoutASecretThereIsNoPathForNotifications(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(*Options){
		"no secret":      func(o *Options) { o.NotificationSecret = "" },
		"nobody to tell": func(o *Options) { o.Notified = nil },
	} {
		n := newNotified(t, off)
		for _, authorization := range []string{"", "Bearer", "Bearer " + notificationSecret} {
			response, _ := n.send(t, http.MethodPost, NotificationPath, authorization)
			if response.StatusCode != http.StatusNotFound || n.told.Load() != 0 {
				t.Errorf("%s, %q: status %d, %d were told", name, authorization, response.StatusCode, n.told.Load())
			}
		}
	}
}
