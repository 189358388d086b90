package mirror_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/mirror"
)

// paged shows ten pages of 50 patients; before the last one it opens the gate.
type paged struct{ gate chan struct{} }

func (p paged) List(context.Context, string) iter.Seq2[fhir.Listing, error] {
	return func(yield func(fhir.Listing, error) bool) {
		for page := range 10 {
			l := fhir.Listing{ServerTime: time.Now(), Next: fmt.Sprint(page + 1)}
			for n := range 50 {
				id := fmt.Sprintf("p-%d-%d", page, n)
				l.Changes = append(l.Changes, fhir.Change{ID: id, Patient: fhir.Resource{ID: id, JSON: []byte(patient(id))}})
			}
			if page == 9 {
				l.Next = ""
				close(p.gate)
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (paged) Changed(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
	return func(yield func(fhir.Listing, error) bool) { yield(fhir.Listing{ServerTime: time.Now()}, nil) }
}

func (paged) Following(context.Context) (fhir.Following, error) { return fhir.Following{}, nil }

func (paged) Read(context.Context, string) (fhir.Resource, error) { return fhir.Resource{}, nil }

// gated is a cache that is busy until the gate opens.
type gated struct {
	*db.Store
	gate   chan struct{}
	stored []int
}

func (c *gated) FillPatients(ctx context.Context, batch []db.NewPatient, now time.Time, f db.Fill) (db.Filled, error) {
	<-c.gate
	c.stored = append(c.stored, len(batch))
	return c.Store.FillPatients(ctx, batch, now, f)
}

func TestPagesThatWaitAreStoredTogether(t *testing.T) {
	t.Parallel()
	apptest.OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		gate := make(chan struct{})
		cache := &gated{Store: benchStore(t, databaseURL), gate: gate}
		m := mirror.New(mirror.Config{
			FHIR: paged{gate}, Cache: cache, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return "me" },
			Base: "http://fhir", StaleAfter: time.Minute,
		})
		result, err := m.Once(t.Context(), false, func(mirror.Result) {})
		if err != nil || result.Inserted != 500 {
			t.Errorf("%+v: %v", result, err)
		}
		// The first one may be of a page alone, or of those that came before anybody looked.
		if len(cache.stored) > 4 || slices.Max(cache.stored) > 400 {
			t.Errorf("stored together: %d", cache.stored)
		}
	})
}
