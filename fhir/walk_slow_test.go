package fhir

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"
)

// slowServer is a simulated server that fails where a page of more than a few is asked
// for. asked are the _count of its searches and histories.
func slowServer(t *testing.T, habits fhirsim.Habits, patients, most int) (c *Client, asked func() []int) {
	t.Helper()
	_, direct, _ := simulated(t, habits, patients)
	var mu sync.Mutex
	var counts []int
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: direct.base.Scheme, Host: direct.base.Host})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(r.URL.Query().Get("_count")); err == nil {
			mu.Lock()
			counts = append(counts, n)
			mu.Unlock()
			if n > most {
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c = newTestClient(t, server.URL+direct.base.Path, func(o *Options) { o.Server, o.RewriteLinks = "auto", true })
	return c, func() []int {
		mu.Lock()
		defer mu.Unlock()
		was := counts
		counts = nil
		return was
	}
}

// TestPagesThatCannotBeMadeInTime are asked for in smaller ones, also by the next walk,
// until Following has tried whether the server became faster.
func TestPagesThatCannotBeMadeInTime(t *testing.T) {
	t.Parallel()
	for _, habits := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4(), fhirsim.OpenEMR("8.0.0")} {
		c, asked := slowServer(t, habits, 230, 60)
		failed := func() (failed int) {
			for _, count := range asked() {
				if count > 60 {
					failed++
				}
			}
			return failed
		}
		for walk, want := range []int{1, 1, 0} { // 200, then 100
			ids := map[string]bool{}
			for page, err := range c.List(t.Context(), "") {
				if err != nil {
					t.Fatalf("%s: %v", habits.Name, err)
				}
				for _, change := range page.Changes {
					ids[change.ID] = true
				}
			}
			if got := failed(); len(ids) != 230 || got != want {
				t.Errorf("%s, walk %d: %d patients, %d pages failed", habits.Name, walk, len(ids), got)
			}
		}
		if _, err := changed(t.Context(), c, testNow.Add(-time.Hour)); err != nil || c.pageCount.Load() > 100 {
			t.Errorf("%s: %v, pages of %d", habits.Name, err, c.pageCount.Load())
		}
		for range 5 {
			if _, err := c.Following(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if c.pageCount.Load() != pageCount {
			t.Errorf("%s: pages of %d for ever", habits.Name, c.pageCount.Load())
		}
	}
}

// TestAServerThatDoesNotAnswer is asked twice and no more, and pages stay as long as they
// were: it is not their length.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, hangs := range []bool{true, false} {
		done := make(chan struct{})
		asked := make(chan struct{}, 9)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			if hangs {
				<-done
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		c := newTestClient(t, server.URL, func(o *Options) { o.Timeout = 100 * time.Millisecond })
		var failure error
		for _, failure = range c.List(t.Context(), "") {
		}
		asError(t, failure, Lost)
		close(done)
		server.Close()
		if len(asked) != 2 || c.pageCount.Load() != pageCount {
			t.Errorf("asked %d times, pages of %d", len(asked), c.pageCount.Load())
		}
	}
}
