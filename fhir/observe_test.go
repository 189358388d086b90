package fhir_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/fhir"
)

// observed is what an Observer was told.
type observed struct {
	mu   sync.Mutex
	told []string
}

func (o *observed) observe(interaction, result string, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if took < 0 || !slices.Contains(fhir.Interactions(), interaction) || !slices.Contains(fhir.Results(), result) {
		interaction = "unlisted " + interaction
	}
	o.told = append(o.told, interaction+" "+result)
}

func (o *observed) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	told := strings.Join(o.told, ", ")
	o.told = nil
	return told
}

// answering serves what answer says, in FHIR's JSON.
func answering(t *testing.T, answer func(r *http.Request) (status int, body string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := answer(r)
		w.Header().Set("Content-Type", "application/fhir+json")
		w.Header().Set("ETag", `W/"1"`)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestEachRequestIsObservedOnceWithItsOutcome(t *testing.T) {
	t.Parallel()
	const patient = `{"resourceType":"Patient","id":"a1","meta":{"versionId":"1"}}`
	status, body := http.StatusOK, patient
	base := answering(t, func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/metadata") {
			return http.StatusOK, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`
		}
		return status, body
	})
	var seen observed
	c, err := fhir.NewClient(fhir.Options{BaseURL: base, Observer: seen.observe})
	if err != nil {
		t.Fatal(err)
	}
	read := func() { _, _ = c.Read(t.Context(), "a1") } // how it ended is what is observed
	update := func() { _, _ = c.Update(t.Context(), "a1", []byte(patient), `W/"1"`) }
	if _, err := c.Capabilities(t.Context()); err != nil {
		t.Fatal(err)
	}
	if told := seen.take(); told != "metadata ok" {
		t.Errorf("the first look: %s", told)
	}
	for _, tt := range []struct {
		ask    func()
		status int
		body   string
		want   string
	}{
		{read, http.StatusOK, patient, "read ok"},
		{read, http.StatusGone, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"deleted"}]}`, "read gone"},
		{read, http.StatusServiceUnavailable, "", "read lost"},
		{read, http.StatusTooManyRequests, "", "read rate limited"},
		{read, http.StatusUnauthorized, "", "read authentication failed"},
		{read, http.StatusOK, "<html>", "read unusable answer"},
		{update, http.StatusOK, patient, "update ok"},
		{update, http.StatusOK, "", "update ok"},
		{update, http.StatusUnprocessableEntity, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value"}]}`, "update rejected"},
		{update, http.StatusPreconditionFailed, "", "update busy"},
		{func() {
			for _, err := range c.List(t.Context(), "") {
				_ = err // the answer is no Bundle
			}
		}, http.StatusInternalServerError, "", "search lost, search lost"}, // the second time a short page
		{func() { _, _ = c.After(t.Context(), "a1", `W/"1"`) }, http.StatusForbidden, "", "history forbidden, history forbidden"},
		{func() { _ = c.Delete(t.Context(), "a1") }, http.StatusOK, "", "other ok"},
	} {
		status, body = tt.status, tt.body
		tt.ask()
		if told := seen.take(); told != tt.want {
			t.Errorf("status %d, %.20q: observed %q, want %q", tt.status, tt.body, told, tt.want)
		}
	}
}

// A caller who leaves says nothing of the server.
func TestACanceledRequestIsNoFailureOfTheServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	var seen observed
	c, err := fhir.NewClient(fhir.Options{BaseURL: s.URL, Observer: seen.observe})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Capabilities(ctx); err == nil {
		t.Fatal("the request was not canceled")
	}
	if told := seen.take(); told != "metadata canceled" {
		t.Errorf("observed %q", told)
	}
}

func TestAskingForATokenIsObservedByItself(t *testing.T) {
	t.Parallel()
	status, body := http.StatusBadRequest, `{"error":"invalid_grant"}`
	base := answering(t, func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			return status, body
		}
		return http.StatusOK, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`
	})
	for _, want := range []string{"token authentication failed", "token ok, metadata ok"} {
		var seen observed
		c, err := fhir.NewClient(fhir.Options{BaseURL: base, Observer: seen.observe, Auth: fhir.Auth{
			Mode: "client_credentials", TokenURL: base + "/token", ClientID: "us", ClientSecret: "not so secret"}})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Capabilities(t.Context()) // how it ended is what is observed
		c.Close()
		if told := seen.take(); told != want {
			t.Errorf("observed %q, want %q", told, want)
		}
		status, body = http.StatusOK, `{"access_token":"t","token_type":"Bearer"}`
	}
}
