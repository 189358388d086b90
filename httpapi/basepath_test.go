package httpapi

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/web"
)

func TestBasePaths(t *testing.T) {
	t.Parallel()
	for text, base := range map[string]string{"": "", "/": "", "/apps": "/apps", "/apps/records": "/apps/records", "/apps/records/": "/apps/records", "/a.b-c_d~e/v1": "/a.b-c_d~e/v1"} {
		if got, err := ParseBasePath(text); err != nil || got != base {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"apps", "apps/records", "/apps//records", "//apps", "/apps//", "/..", "/apps/../x", "/apps/.", "/./apps", "/apps?x=y", "/apps#x", "/apps records",
		"/apps/{id}", "/앱", "/%61pps", "https://h.example/apps", `/apps\x`, "/apps\nx",
	} {
		if got, err := ParseBasePath(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// belowApps is everything below /apps/records, and its log.
func belowApps(t *testing.T, change func(*Options)) (http.Handler, interface{ String() string }) {
	t.Helper()
	o, log := logged()
	o.Metrics, o.Playground, o.BasePath = prometheus.NewRegistry(), &web.Page{}, "/apps/records/"
	o.Notified, o.NotificationSecret = func() {}, notificationSecret
	if change != nil {
		change(&o)
	}
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return handler, log
}

func get(h http.Handler, target string) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w.Result()
}

func TestEverythingIsBelowTheBasePath(t *testing.T) {
	t.Parallel()
	handler, log := belowApps(t, nil)
	for path, status := range map[string]int{
		"": 200, "static/licenses.txt": 200, "healthz": 200, "metrics": 200, "fhir-notification": 401, "fhir-notification/Patient/x": 401, "nothing": 404,
	} {
		if got := get(handler, "/apps/records/"+path).StatusCode; got != status {
			t.Errorf("/apps/records/%s: %d, want %d", path, got, status)
		}
		if got := get(handler, "/"+path).StatusCode; got != http.StatusNotFound {
			t.Errorf("/%s: %d outside the base path", path, got)
		}
	}
	for _, path := range []string{"/apps", "/apps/", "/apps/recordsx", "/apps/recordsx/healthz", "/apps/records/apps/records/healthz", "/apps/records%2Fhealthz"} {
		if got := get(handler, path).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: %d", path, got)
		}
	}
	if !strings.Contains(log.String(), `"route":"/healthz"`) {
		t.Errorf("the log does not say which route it was:\n%s", log)
	}
}

// A proxy with TLS in front has another scheme, host and port than we see.
func TestTheBasePathLeadsToThePageWhateverTheHost(t *testing.T) {
	t.Parallel()
	handler, _ := belowApps(t, nil)
	for asked, location := range map[string]string{
		"http://inner.example:8080/apps/records":          "/apps/records/",
		"http://inner.example:8080/apps/records?x=y":      "/apps/records/?x=y",
		"http://inner.example:8080/apps/records//healthz": "/apps/records/healthz",
	} {
		if r := get(handler, asked); r.StatusCode/100 != 3 || r.Header.Get("Location") != location {
			t.Errorf("%s: %d to %q", asked, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

func TestThePageNamesItsFilesBelowTheBasePath(t *testing.T) {
	t.Parallel()
	handler, _ := belowApps(t, nil)
	server := httptest.NewServer(handler)
	defer server.Close()
	answer, err := http.Get(server.URL + "/apps/records")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil || answer.Request.URL.Path != "/apps/records/" {
		t.Fatalf("the page is at %s: %v", answer.Request.URL, err)
	}
	page := string(content)
	named := regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(named) < 4 || !strings.Contains(page, `"basePath":"/apps/records"`) {
		t.Errorf("the page:\n%s", page)
	}
	for _, name := range named {
		if strings.HasSuffix(name[1], "/schema.graphql") {
			continue
		}
		if status := get(handler, name[1]).StatusCode; status != http.StatusOK {
			t.Errorf("%s: %d", name[1], status)
		}
	}
}

func TestWithoutABasePathNothingIsBelowOne(t *testing.T) {
	t.Parallel()
	handler, _ := belowApps(t, func(o *Options) { o.BasePath = "/"; o.Log = slog.New(slog.DiscardHandler) })
	if a, b := get(handler, "/healthz").StatusCode, get(handler, "/apps/records/healthz").StatusCode; a != 200 || b != 404 {
		t.Errorf("%d at the root, %d below", a, b)
	}
}
