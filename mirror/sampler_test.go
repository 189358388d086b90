package mirror_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
	"patientgraph/mirror"
)

// sampleRig is a sampler of a verifyRig.
type sampleRig struct {
	*verifyRig
	sampler *mirror.Sampler
	log     locked.Buffer
	metrics *prometheus.Registry
	leads   atomic.Bool
}

func newSampleRig(t *testing.T, databaseURL string, fhirIDs ...string) *sampleRig {
	t.Helper()
	r := &sampleRig{verifyRig: newVerifyRig(t, databaseURL, fhirIDs...), metrics: prometheus.NewRegistry()}
	r.leads.Store(true)
	r.looks(r.clock.Now())
	r.sampler = mirror.NewSampler(mirror.SamplerConfig{Verifier: *r.Verifier, Interval: time.Millisecond, Leading: r.leads.Load,
		Log: slog.New(slog.NewJSONHandler(&r.log, nil)), Metrics: r.metrics})
	return r
}

// passes lets time go by, in which the mirror looks and one row is sampled.
func (r *sampleRig) passes(d time.Duration) {
	r.clock.Pass(d)
	r.looks(r.clock.Now())
	r.sampler.Sample(r.t.Context())
}

// figures are the values of every series, without patientgraph_verify_ and those that are 0.
func (r *sampleRig) figures() map[string]float64 {
	r.t.Helper()
	figures := map[string]float64{}
	for name, value := range r.series() {
		if value != 0 {
			figures[name] = value
		}
	}
	return figures
}

func (r *sampleRig) series() map[string]float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	figures := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "patientgraph_verify_")
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			figures[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return figures
}

func (r *sampleRig) wantFigures(when string, want map[string]float64) {
	r.t.Helper()
	if figures := r.figures(); !maps.Equal(figures, want) {
		r.t.Errorf("%s: %v, want %v", when, figures, want)
	}
}

func TestEverySeriesOfTheSamplerIsThereFromTheStart(t *testing.T) {
	t.Parallel()
	r := newSampleRig(t, dbtest.SQLite(t))
	want := map[string]float64{"checked_total": 0, "different_total 0s": 0, "different_total 1m": 0, "different_total 5m": 0, "different_total 60m": 0,
		"marked_total": 0, "failed_total": 0, "still_different": 0}
	if series := r.series(); !maps.Equal(series, want) {
		t.Errorf("%v", series)
	}
	r.sampler.Sample(t.Context()) // of an empty cache
	r.wantFigures("an empty cache", map[string]float64{})
}

func TestADifferenceIsLookedAtAgainAfterOneFiveAndSixtyMinutes(t *testing.T) {
	t.Parallel()
	apptest.OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		r := newSampleRig(t, databaseURL, "a")
		r.passes(time.Second)
		r.wantFigures("the same", map[string]float64{"checked_total": 1})
		r.put("a", number(0), "010-1111-2222", "010-7777-7777", "Main St", "Side St")
		r.passes(0)
		r.wantFigures("found", map[string]float64{"checked_total": 2, "different_total 0s": 1, "still_different": 1})
		r.passes(59 * time.Second)
		r.wantFigures("after 59 s", map[string]float64{"checked_total": 3, "different_total 0s": 1, "still_different": 1})
		r.passes(time.Second)
		r.wantFigures("after 1 m", map[string]float64{"checked_total": 4, "different_total 0s": 1, "different_total 1m": 1, "still_different": 1})
		r.passes(3*time.Minute + 59*time.Second)
		if strings.Contains(r.log.String(), "differed") {
			t.Errorf("told before 5 m: %s", &r.log)
		}
		r.passes(time.Second)
		r.wantFigures("after 5 m", map[string]float64{"checked_total": 6, "different_total 0s": 1, "different_total 1m": 1, "different_total 5m": 1, "still_different": 1})
		if line := r.log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, `"level":"WARN"`) ||
			!strings.Contains(line, `"patient":"`+number(0)+`","kind":"wrong","fields":["phone","address"]`) {
			t.Errorf("told: %s", line)
		}
		r.passes(55 * time.Minute)
		last := map[string]float64{"checked_total": 7, "different_total 0s": 1, "different_total 1m": 1, "different_total 5m": 1, "different_total 60m": 1, "still_different": 1}
		r.wantFigures("after 60 m", last)
		r.passes(60 * time.Minute)
		last["checked_total"] = 8
		r.wantFigures("after 2 h", last)
		r.fill()
		r.passes(60 * time.Minute)
		last["checked_total"] = 9
		delete(last, "still_different")
		r.wantFigures("put right", last)
		for _, value := range []string{"7777-7777", "Side St", "길동", "1990-05", "example.org"} {
			if strings.Contains(r.log.String(), value) {
				t.Errorf("the log holds %s: %s", value, &r.log)
			}
		}
	})
}

// TestARowThatChangedSinceIsAnotherDifference: the one that was found is over.
func TestARowThatChangedSinceIsAnotherDifference(t *testing.T) {
	t.Parallel()
	r := newSampleRig(t, dbtest.SQLite(t), "a")
	r.clock.Pass(time.Second)
	r.put("a", number(0), "010-1111-2222", "010-7777-7777")
	r.passes(0)
	r.fill()
	r.clock.Pass(time.Second)
	r.put("a", number(0), "010-1111-2222", "010-8888-8888")
	r.passes(time.Minute)
	r.wantFigures("changed again", map[string]float64{"checked_total": 2, "different_total 0s": 2, "still_different": 1})
}

// TestARowThatSaysThatItMayBeOldIsNotCounted among those that are different, from the
// start or later.
func TestARowThatSaysThatItMayBeOldIsNotCounted(t *testing.T) {
	t.Parallel()
	r := newSampleRig(t, dbtest.SQLite(t), "a")
	r.clock.Pass(6 * time.Minute) // nobody has looked since
	r.put("a", number(0), "010-1111-2222", "010-7777-7777")
	r.sampler.Sample(t.Context())
	r.wantFigures("stale", map[string]float64{"checked_total": 1, "marked_total": 1})
	r.passes(0)
	r.wantFigures("it looks again", map[string]float64{"checked_total": 2, "marked_total": 1, "different_total 0s": 1, "still_different": 1})
	r.clock.Pass(6 * time.Minute)
	r.sampler.Sample(t.Context())
	r.wantFigures("stale again", map[string]float64{"checked_total": 3, "marked_total": 2, "different_total 0s": 1, "still_different": 1})
}

// TestWhatCannotBeReadIsCounted, and is no difference; one that was found is not forgotten.
func TestWhatCannotBeReadIsCounted(t *testing.T) {
	t.Parallel()
	r := newSampleRig(t, dbtest.SQLite(t), "a")
	r.put("a", number(0), "010-1111-2222", "010-7777-7777")
	r.passes(0)
	r.FHIR.SetFault("", fhirsim.Fault{Status: 503})
	r.passes(time.Minute)
	r.wantFigures("the server is away", map[string]float64{"checked_total": 1, "failed_total": 2, "different_total 0s": 1, "still_different": 1})
	r.FHIR.ClearFaults()
	r.passes(time.Minute)
	r.wantFigures("it is back", map[string]float64{"checked_total": 2, "failed_total": 2, "different_total 0s": 1, "different_total 1m": 1, "still_different": 1})
	if err := r.cache.Close(); err != nil {
		t.Fatal(err)
	}
	r.passes(0)
	if figures := r.figures(); figures["failed_total"] != 3 || !strings.Contains(r.log.String(), "could not be compared") {
		t.Errorf("the database fails: %v, %s", figures, &r.log)
	}
}

// TestOneReplicaSamples: the one that leads; who no longer does forgets what it found.
func TestOneReplicaSamples(t *testing.T) {
	t.Parallel()
	r := newSampleRig(t, dbtest.SQLite(t), "a")
	r.put("a", number(0), "010-1111-2222", "010-7777-7777")
	r.leads.Store(false)
	r.passes(0)
	if n := len(r.FHIR.Requests()); n != 0 {
		t.Errorf("%d requests of one that does not lead", n)
	}
	r.leads.Store(true)
	r.passes(0)
	r.wantFigures("it leads", map[string]float64{"checked_total": 1, "different_total 0s": 1, "still_different": 1})
	r.leads.Store(false)
	r.passes(time.Hour)
	r.wantFigures("another leads", map[string]float64{"checked_total": 1, "different_total 0s": 1})
}

// TestTheSamplerMeetsEveryPartOfALargeCache.
func TestTheSamplerMeetsEveryPartOfALargeCache(t *testing.T) {
	t.Parallel()
	const part = 1500
	rows, metrics := &listed{n: 3 * part}, prometheus.NewRegistry()
	picked := make([]int, 3)
	s := mirror.NewSampler(mirror.SamplerConfig{Interval: time.Second, Leading: func() bool { return true }, Log: slog.New(slog.DiscardHandler), Metrics: metrics,
		Verifier: mirror.Verifier{Store: rows, Now: time.Now, FHIR: readerFunc(func(_ context.Context, id string) (fhir.Resource, error) {
			n := 0
			_, err := fmt.Sscanf(id, "%d", &n)
			picked[n/part]++
			return rows.resource(id), err
		})}})
	for range 1500 {
		s.Sample(t.Context())
	}
	for n, times := range picked {
		if times < 350 { // of 500 on average
			t.Errorf("part %d was picked from %d times", n, times)
		}
	}
}

// TestTheSamplerFollowsABoundedNumberOfDifferences; it counts the others once.
func TestTheSamplerFollowsABoundedNumberOfDifferences(t *testing.T) {
	t.Parallel()
	r := &sampleRig{verifyRig: &verifyRig{t: t}, metrics: prometheus.NewRegistry()}
	gone := &fhir.Error{Kind: fhir.Gone, Op: fhir.OpRead}
	s := mirror.NewSampler(mirror.SamplerConfig{Interval: time.Second, Leading: func() bool { return true }, Log: slog.New(slog.DiscardHandler), Metrics: r.metrics,
		Verifier: mirror.Verifier{Store: &listed{n: 20_000}, Now: func() time.Time { return time.Time{} },
			FHIR: readerFunc(func(context.Context, string) (fhir.Resource, error) { return fhir.Resource{}, gone })}})
	for range 1200 {
		s.Sample(t.Context())
	}
	if figures := r.figures(); figures["still_different"] != 1000 || figures["different_total 0s"] < 1100 {
		t.Errorf("%v", figures)
	}
}

// TestTheSamplerRunsUntilItsContextEnds.
func TestTheSamplerRunsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	r := newSampleRig(t, dbtest.SQLite(t), "a")
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.sampler.Run(ctx)
	}()
	wait.Until(t, "rows are compared", func() bool { return r.figures()["checked_total"] > 2 })
	end()
	<-ended
}
