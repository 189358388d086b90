package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ages are how long after it was found a difference is looked at again; after the last
// one so often.
var ages = []struct {
	after time.Duration
	name  string
}{{0, "0s"}, {time.Minute, "1m"}, {5 * time.Minute, "5m"}, {time.Hour, "60m"}}

const (
	toldAge = 2 // of ages: the log tells a difference that stands so long
	// maxFollowed bounds the differences that are looked at again.
	maxFollowed = 1000
	// readAgain is how long a followed row that could not be read is left alone.
	readAgain = time.Minute
)

// SamplerConfig says what a Sampler works with.
type SamplerConfig struct {
	Verifier
	Interval time.Duration // between two rows
	// Leading reports whether this replica is the one that samples.
	Leading func() bool
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Sampler compares one random row after the other with the FHIR server, and counts for
// how long rows differ that say SYNCED.
type Sampler struct {
	SamplerConfig
	after    string // the FHIR id up to which rows were picked from
	followed []*followed

	checked, marked, failed prometheus.Counter
	different               *prometheus.CounterVec
	standing                prometheus.Gauge
}

// followed is a row that was found different.
type followed struct {
	fhirID  string
	version int64 // of the row: one that has changed since is another difference
	since   time.Time
	due     time.Time
	age     int // of ages: the next one
}

// NewSampler makes a Sampler; its figures are there from the start.
func NewSampler(c SamplerConfig) *Sampler {
	s := &Sampler{
		SamplerConfig: c,
		after:         fmt.Sprintf("%04x", rand.IntN(1<<16)), // else each start would begin with the same rows
		checked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_verify_checked_total", Help: "Cached patients picked at random that were compared with the FHIR server.",
		}),
		different: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patientgraph_verify_different_total", Help: "Cached patients picked at random that said SYNCED and differed from the FHIR server, by how long after they were found they still did.",
		}, []string{"after"}),
		marked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_verify_marked_total", Help: "Cached patients picked at random that differed from the FHIR server and said so: PENDING or STALE.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patientgraph_verify_failed_total", Help: "Comparisons that failed: the cached patient or the FHIR server's could not be read.",
		}),
		standing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "patientgraph_verify_still_different", Help: "Cached patients that were found different and, when last looked at, still were.",
		}),
	}
	for _, age := range ages {
		s.different.WithLabelValues(age.name)
	}
	c.Metrics.MustRegister(s.checked, s.different, s.marked, s.failed, s.standing)
	return s
}

// Run samples until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.Sample(ctx)
		}
	}
}

// Sample compares one row, and those found different whose time has come.
func (s *Sampler) Sample(ctx context.Context) {
	defer func() { s.standing.Set(float64(len(s.followed))) }()
	if !s.Leading() {
		s.followed = nil // whoever leads finds them again
		return
	}
	s.again(ctx)
	id, err := s.pick(ctx)
	if id == "" && err == nil { // no row has a FHIR id
		return
	}
	var d *Difference
	if err == nil {
		d, err = s.Compare(ctx, id)
	}
	switch {
	case s.couldNot(ctx, d, err):
		return
	case d == nil:
	case d.Kind == Marked:
		s.marked.Inc()
	case !s.follows(id):
		s.different.WithLabelValues(ages[0].name).Inc()
		if len(s.followed) < maxFollowed {
			now := s.Now()
			s.followed = append(s.followed, &followed{id, d.version, now, now.Add(ages[1].after), 1})
		}
	}
	s.checked.Inc()
}

// couldNot counts a comparison that failed, and tells what is wrong with the database; of
// the FHIR server others tell.
func (s *Sampler) couldNot(ctx context.Context, d *Difference, err error) bool {
	switch {
	case ctx.Err() != nil: // it ends
		return true
	case err != nil:
		s.Log.Warn("a cached patient could not be compared with the FHIR server; another one is tried", "error", err)
	case d == nil || d.Kind != Unknown:
		return false
	case d.fault == nil:
		s.Log.Warn("a cached patient could not be compared with the FHIR server", "patient", d.Patient, "error", d.Why)
	}
	s.failed.Inc()
	return true
}

func (s *Sampler) follows(fhirID string) bool {
	for _, f := range s.followed {
		if f.fhirID == fhirID {
			return true
		}
	}
	return false
}

// again looks at the rows whose time has come, until one cannot be read.
func (s *Sampler) again(ctx context.Context) {
	now, failed := s.Now(), false
	var stay []*followed
	for _, f := range s.followed {
		if failed || now.Before(f.due) {
			stay = append(stay, f)
			continue
		}
		d, err := s.compare(ctx, f.fhirID, f.since)
		if failed = s.couldNot(ctx, d, err); failed {
			f.due = now.Add(readAgain)
		} else if d == nil || d.version != f.version {
			continue
		} else {
			s.stillDiffers(f, d, now)
		}
		stay = append(stay, f)
	}
	s.followed = stay
}

// stillDiffers counts a row that has not changed since it was found different. One that
// says by now that it may be old is not counted.
func (s *Sampler) stillDiffers(f *followed, d *Difference, now time.Time) {
	age := f.age
	if f.age++; f.age < len(ages) {
		f.due = f.since.Add(ages[f.age].after)
	} else {
		f.due = now.Add(ages[len(ages)-1].after)
	}
	if d.Kind == Marked || age >= len(ages) {
		return
	}
	s.different.WithLabelValues(ages[age].name).Inc()
	if age == toldAge {
		s.Log.Warn("a cached patient has differed from the FHIR server for "+ages[age].name, "patient", d.Patient, "kind", string(d.Kind), "fields", d.Fields)
	}
}

// pick returns the FHIR id of a random row, "" if there is none. It goes through the ids
// page by page and takes one of each, which costs the same however many there are.
func (s *Sampler) pick(ctx context.Context) (string, error) {
	ids, err := s.Store.FHIRIDs(ctx, s.after, idsAtOnce)
	if err == nil && rand.IntN(idsAtOnce) >= len(ids) { // the last page is the less likely the fewer are left
		ids, err = s.Store.FHIRIDs(ctx, "", idsAtOnce)
	}
	if err != nil || len(ids) == 0 {
		return "", err
	}
	if s.after = ""; len(ids) == idsAtOnce {
		s.after = ids[len(ids)-1]
	}
	return ids[rand.IntN(len(ids))], nil
}
