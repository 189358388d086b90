package fhir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"
)

// clock is a settable clock of a server.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// simulated starts a server with patients p-000, p-001 and so on, each a second later
// than the one before.
func simulated(t *testing.T, habits fhirsim.Habits, patients int) (*fhirsim.Server, *Client, *clock) {
	t.Helper()
	at := &clock{testNow}
	server := fhirsim.New(fhirsim.Options{Habits: habits, Now: at.now})
	for n := range patients {
		at.Time = at.Add(time.Second)
		put(t, server, n, "1")
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server, newTestClient(t, base, func(o *Options) { o.Server = "auto" }), at
}

func put(t *testing.T, server *fhirsim.Server, n int, phone string) {
	t.Helper()
	body := patientJSON(patientID(n), `"name":[{"family":"Moreau","given":["Paul"]}],"gender":"male","birthDate":"1970-12-12","telecom":[{"system":"phone","use":"home","value":"`+phone+`"}]`)
	if err := server.Put(body); err != nil {
		t.Fatal(err)
	}
}

func patientID(n int) string { return fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n) }

// changed collects what Changed shows: by id the phone, "deleted" or "bad".
func changed(ctx context.Context, c *Client, since time.Time) (map[string]string, error) {
	got := map[string]string{}
	for page, err := range c.Changed(ctx, since) {
		if err != nil {
			return got, err
		}
		for _, change := range page.Changes {
			if _, twice := got[change.ID]; twice {
				return got, fmt.Errorf("%s is shown twice", change.ID)
			}
			got[change.ID] = told(change)
		}
	}
	return got, nil
}

func told(c Change) string {
	switch {
	case c.Err != nil:
		return "bad"
	case c.Deleted:
		return "deleted"
	}
	p, err := ParsePatient(c.Patient.JSON, testNow)
	if err != nil {
		return err.Error()
	}
	return p.Contact.Phone
}

var everyKind = []fhirsim.Habits{
	fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4(), fhirsim.OpenEMR("7.0.3"), fhirsim.OpenEMR("8.0.0"),
}

// TestChangesAreFound in each kind of server: who was edited, created, deleted or lives
// again, as far as the server tells, and each once.
func TestChangesAreFound(t *testing.T) {
	t.Parallel()
	for _, habits := range everyKind {
		t.Run(habits.Name+" "+habits.Software, func(t *testing.T) {
			t.Parallel()
			server, c, at := simulated(t, habits, 250)
			at.Time = at.Add(100 * time.Hour)
			since := at.Time
			put(t, server, 3, "2")
			put(t, server, 3, "3")
			put(t, server, 300, "1")
			server.Delete(patientID(7))
			server.Delete(patientID(8))
			put(t, server, 8, "8")
			got, err := changed(t.Context(), c, since)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{patientID(3): "3", patientID(300): "1", patientID(8): "8"}
			if habits == fhirsim.HAPI() {
				want[patientID(7)] = "deleted"
			}
			if !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			before := len(server.Requests())
			at.Time = at.Add(100 * time.Hour)
			if got, err := changed(t.Context(), c, at.Time); err != nil || len(got) > 0 {
				t.Errorf("nothing changed: %v, %v", got, err)
			}
			if asked := len(server.Requests()) - before; asked != 1 {
				t.Errorf("a poll that finds nothing took %d requests", asked)
			}
		})
	}
}

// TestFollowingTellsTheMethod of each kind of server.
func TestFollowingTellsTheMethod(t *testing.T) {
	t.Parallel()
	want := []Following{
		{"_history", true, time.Millisecond}, {"_lastUpdated", false, time.Millisecond}, {"_lastUpdated", false, time.Millisecond},
		{"_lastUpdated by day", false, time.Second}, {"_lastUpdated by day", false, time.Second},
	}
	for i, habits := range everyKind {
		server, c, _ := simulated(t, habits, 3)
		got, err := c.Following(t.Context())
		if err != nil || got != want[i] {
			t.Errorf("%s %s: %+v, %v", habits.Name, habits.Software, got, err)
		}
		if asked := len(server.Requests()); asked > 7 {
			t.Errorf("%s: it took %d requests", habits.Name, asked)
		}
	}
}

// TestListShowsEverybodyOnce of servers that link their pages, cap _count without a
// word, or know only _offset; also when each page is asked for by another process.
func TestListShowsEverybodyOnce(t *testing.T) {
	t.Parallel()
	for _, habits := range everyKind {
		for _, resumed := range []bool{false, true} {
			t.Run(fmt.Sprint(habits.Name, " ", habits.Software, ", resumed: ", resumed), func(t *testing.T) {
				t.Parallel()
				_, c, _ := simulated(t, habits, 430)
				ids := map[string]int{}
				for from, more := "", true; more; {
					more = false
					for page, err := range c.List(t.Context(), from) {
						if err != nil {
							t.Fatal(err)
						}
						for _, change := range page.Changes {
							ids[change.ID]++
						}
						if page.ServerTime.IsZero() {
							t.Error("the server's time is not told")
						}
						if from = page.Next; resumed && from != "" {
							more = true
							break
						}
					}
				}
				twice := slices.DeleteFunc(slices.Collect(maps.Keys(ids)), func(id string) bool { return ids[id] == 1 })
				if len(ids) != 430 || len(twice) > 0 {
					t.Errorf("%d patients, twice %v", len(ids), twice)
				}
			})
		}
	}
}

// TestListByOffsetFindsItsPlaceAgain where patients are deleted while its pages are read.
func TestListByOffsetFindsItsPlaceAgain(t *testing.T) {
	t.Parallel()
	for _, habits := range []fhirsim.Habits{fhirsim.Medplum(), fhirsim.OpenEMR("8.0.0")} {
		server, c, at := simulated(t, habits, 60)
		from := `{"Count":10,"ByOffset":true}`
		if !habits.OpenEMR {
			from = `{"Count":10,"ByOffset":true,"Sorted":true}`
		}
		ids := map[string]int{}
		pages := 0
		for page, err := range c.List(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range page.Changes {
				ids[change.ID]++
			}
			at.Time = at.Add(time.Second)
			switch pages++; pages {
			case 1:
				server.Delete(patientID(2))
			case 2:
				for n := range 15 {
					server.Delete(patientID(n))
				}
			case 3:
				put(t, server, 20, "2")
			}
		}
		for n := range 60 {
			if ids[patientID(n)] == 0 {
				t.Errorf("%s: patient %d was not shown", habits.Name, n)
			}
		}
	}
}

// TestNothingShowsWhatChanged: where a server ignores or does not know what it is asked
// by, nobody is said to follow it.
func TestNothingShowsWhatChanged(t *testing.T) {
	t.Parallel()
	habits := fhirsim.PlainR4()
	_, c, _ := simulated(t, habits, 3)
	if _, err := c.Following(t.Context()); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := c.Following(t.Context()); errors.As(err, &e) && !strings.Contains(e.Reason, "listing") {
		t.Error(err)
	}
}
