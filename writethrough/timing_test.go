package writethrough

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/record"
)

// silentFHIR is a server without versions that carries a PUT out without an answer,
// after a while.
type silentFHIR struct {
	chosen fhir.Chosen
	asks   error // why nobody knows what the server is
	lands  time.Time
	body   []byte
	put    []byte
}

func (s *silentFHIR) Profile(context.Context) (fhir.Chosen, error) { return s.chosen, s.asks }

func (s *silentFHIR) Read(context.Context, string) (fhir.Resource, error) {
	if s.put != nil && !time.Now().Before(s.lands) {
		s.body = s.put
	}
	return fhir.Resource{ID: modelID, JSON: s.body, Profile: s.chosen.Profile}, nil
}

func (s *silentFHIR) Update(context.Context, string, []byte, string) (fhir.Update, error) {
	s.put = bytes.ReplaceAll(s.body, []byte("010-1"), []byte("010-2"))
	return fhir.Update{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpUpdate, Reason: "Connection reset"}
}

func (s *silentFHIR) After(context.Context, string, string) (fhir.Resource, error) {
	return fhir.Resource{}, errors.ErrUnsupported
}

func (s *silentFHIR) ReadsOthers(context.Context) (bool, error) { return true, nil }

func profileOf(t *testing.T, server string, habits fhirsim.Habits) fhir.Chosen {
	t.Helper()
	base, stop, err := fhirsim.New(fhirsim.Options{Habits: habits}).Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client, err := fhir.NewClient(fhir.Options{BaseURL: base, Server: server})
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := client.Profile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

// TestALostPutHasTheTimeThatItsServerMayTake: behind OpenEMR a statement waits 50 s for a
// row. Until the settle window is over it is not told as lost, the next write is told
// when to come back, and while nobody knows what the server is nothing is settled.
func TestALostPutHasTheTimeThatItsServerMayTake(t *testing.T) {
	openEMR := profileOf(t, "openemr", fhirsim.OpenEMR("8.1.1-dev"))
	plain := profileOf(t, "", fhirsim.PlainR4())
	const never = time.Hour
	for name, c := range map[string]struct {
		chosen         fhir.Chosen
		timeout, lands time.Duration
		window         time.Duration
		ends           db.UpdateState
	}{
		"OpenEMR, after 38 s":          {openEMR, 10 * time.Second, 38 * time.Second, 80 * time.Second, db.UpdateApplied},
		"OpenEMR, after 79 s":          {openEMR, 10 * time.Second, 79 * time.Second, 80 * time.Second, db.UpdateApplied},
		"OpenEMR, never":               {openEMR, 10 * time.Second, never, 80 * time.Second, db.UpdateNotApplied},
		"OpenEMR, a short timeout":     {openEMR, time.Second, never, 20 * time.Second, db.UpdateNotApplied},
		"another server, never":        {plain, 10 * time.Second, never, 20 * time.Second, db.UpdateNotApplied},
		"another server, after 19 s":   {plain, 10 * time.Second, 19 * time.Second, 20 * time.Second, db.UpdateApplied},
		"another server, long timeout": {plain, 30 * time.Second, never, 60 * time.Second, db.UpdateNotApplied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := []byte(`{"resourceType":"Patient","id":"p1","telecom":[{"system":"phone","use":"mobile","value":"010-1"}],"gender":"female","birthDate":"1990-01-01"}`)
				p, err := fhir.ParsePatient(body, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				store, err := db.Open(t.Context(), "sqlite::memory:")
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				if err := store.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := store.ImportPatients(t.Context(), []db.NewPatient{{Number: modelNumber, FHIRID: modelID, State: record.State(p)}}, time.Now()); err != nil {
					t.Fatal(err)
				}
				server := &silentFHIR{chosen: c.chosen, body: body, lands: time.Now().Add(c.lands)}
				w := New(Config{
					FHIR: server, Store: store, Log: slog.New(slog.DiscardHandler), Timeout: c.timeout, Keep: 24 * time.Hour, Now: time.Now, NewID: uuid.NewString,
				})
				change := Change{PatientID: modelNumber, Edit: fhir.ContactEdit{SetPhone: true, Phone: "010-2"}}
				begun := time.Now()
				o, err := w.UpdateContact(t.Context(), change)
				if err != nil || o.Code != OutcomeUnknown {
					t.Fatalf("told %+v, %v", o, err)
				}
				next, err := w.UpdateContact(t.Context(), change)
				if err != nil || next.Code != Unavailable || next.RetryAfter > c.window || next.RetryAfter < c.window-2*time.Second {
					t.Errorf("the next write is told %+v, %v, want that it comes back in %v", next, err, c.window)
				}
				state := func() db.UpdateState {
					w.reconcilePatient(t.Context(), "")
					u, err := store.ContactUpdate(t.Context(), o.OperationID)
					if err != nil {
						t.Fatal(err)
					}
					return u.State
				}
				known := min(c.window, c.lands)
				for time.Since(begun) < known-time.Second {
					if s := state(); s != db.UpdateUnknown {
						t.Fatalf("%s after %v", s, time.Since(begun))
					}
					time.Sleep(500 * time.Millisecond)
				}
				time.Sleep(time.Minute)
				server.asks = &fhir.Error{Kind: fhir.NotSent, Op: fhir.OpCapabilities, Reason: "Connection refused"}
				if s := state(); s != db.UpdateUnknown {
					t.Errorf("%s while nobody knows what the server is", s)
				}
				server.asks = nil
				time.Sleep(time.Minute)
				if s := state(); s != c.ends {
					t.Errorf("ended as %s, want %s", s, c.ends)
				}
				time.Sleep(2 * databaseTimeout) // what bounds a statement has ended
			})
		})
	}
}
