package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// TestAChangeAtTheDeskIsToldAtOnce: sync --subscribe has the FHIR server call us with
// the secret, once for each change, however often it was registered.
func TestAChangeAtTheDeskIsToldAtOnce(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL, SubscriptionSettings...)
	if n := s.Notified(); n != "0" {
		t.Errorf("%q notifications before there was one", n)
	}
	for range 2 {
		if out, err := s.SyncSubscribe(databaseURL); err != nil || !strings.Contains(out, "the FHIR server notifies "+s.URL+"/fhir-notification of each change (Subscription/1)") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	changed := strings.Replace(s.Stored(), OldPhone, NewPhone, 1)
	if err := s.FHIR.Put([]byte(changed)); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the change is told", func() bool { return s.Notified() == "1" })
	s.FHIR.Delete("a1")
	wait.Until(t, "the deletion is told, and nothing twice", func() bool { return s.Notified() == "2" })
	secret, _ := strings.CutPrefix(SubscriptionSettings[1], "SUBSCRIPTION_SECRET=")
	if strings.Contains(s.Log.String(), secret) {
		t.Errorf("the log shows the secret:\n%s", s.Log)
	}
}

// TestNotificationsAreTakenOnlyWithBothSettings: with one of them the path does not
// exist, and the log says that it has no effect.
func TestNotificationsAreTakenOnlyWithBothSettings(t *testing.T) {
	t.Parallel()
	const warning = "SUBSCRIPTION_URL and SUBSCRIPTION_SECRET have no effect without each other"
	for name, c := range map[string]struct {
		settings []string
		status   int
	}{
		"neither": {nil, http.StatusNotFound}, "the URL": {SubscriptionSettings[:1], http.StatusNotFound},
		"the secret": {SubscriptionSettings[1:], http.StatusNotFound}, "both": {SubscriptionSettings, http.StatusUnauthorized},
	} {
		p := StartWith(t, "http://127.0.0.1:1/fhir", dbtest.SQLite(t), c.settings...)
		response, err := http.Post(p.URL+"/fhir-notification", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if warned := strings.Contains(p.Log.String(), warning); response.StatusCode != c.status || warned != (len(c.settings) == 1) {
			t.Errorf("%s: status %d, warned: %v", name, response.StatusCode, warned)
		}
	}
}

// TestSubscribeThatCannotWorkIsRefused before a patient is read, saying what to do.
func TestSubscribeThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	refusing := fhirsim.HAPI()
	refusing.SubscriptionStatus = http.StatusForbidden
	for name, c := range map[string]struct {
		habits   fhirsim.Habits
		settings []string
		says     string
	}{
		"no settings": {fhirsim.HAPI(), nil, "set SUBSCRIPTION_URL to where the FHIR server reaches this server, and SUBSCRIPTION_SECRET to at least 32 bytes"},
		"no secret":   {fhirsim.HAPI(), SubscriptionSettings[:1], "set SUBSCRIPTION_URL"},
		"no URL":      {fhirsim.HAPI(), SubscriptionSettings[1:], "set SUBSCRIPTION_URL"},
		"bad URL":     {fhirsim.HAPI(), []string{"SUBSCRIPTION_URL=http://graph.example", SubscriptionSettings[1]}, "SUBSCRIPTION_URL must be https"},
		"no Subscriptions": {fhirsim.PlainR4(), SubscriptionSettings,
			"The server has no Subscriptions (status 404); without --subscribe changes are found by asking"},
		"no rights": {refusing, SubscriptionSettings, "forbidden (status 403): HAPI-0838: Subscriptions are not taken from this client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, base := StartFHIR(t, fhirsim.Options{Habits: c.habits})
			var out, log locked.Buffer
			err := Run(context.Background(), []string{"sync", "--subscribe"}, &out, &log,
				append([]string{"FHIR_BASE_URL=" + base, "DATABASE_URL=" + dbtest.SQLite(t)}, c.settings...)...)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it ended with %v, want one line with %q", err, c.says)
			}
			for _, r := range server.Requests() {
				if strings.HasPrefix(r.Path, "/fhir/Patient") {
					t.Errorf("it asked for %s", r.Path)
				}
			}
		})
	}
}
