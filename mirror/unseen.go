package mirror

import (
	"context"
	"errors"
	"slices"
	"time"

	"patientgraph/fhir"
)

// retry says when a patient that cannot be read is tried again.
type retry struct {
	at   time.Time
	wait time.Duration
}

const (
	// mostUnseen bounds how many patients are read by themselves in one poll.
	mostUnseen = 500
	// togetherUnseen of them are stored together.
	togetherUnseen = 25
	// leastRead is how long that may take at least.
	leastRead = 10 * time.Second
)

// readUnseen reads the patients whose rows could not be brought up to date before, and
// those who have none because they could not be used, as many as the time until the next
// poll allows.
func (m *Mirror) readUnseen(ctx context.Context, result *Result) error {
	ids, err := m.Cache.Unseen(ctx, mostUnseen+len(m.retries)) // beside those that wait
	if err != nil {
		return err
	}
	waiting := map[string]retry{}
	var due []string
	for _, id := range m.remembered.with(ids) {
		if r := m.retries[id]; r.at.After(m.Now()) {
			waiting[id] = r
		} else {
			due = append(due, id)
		}
	}
	before := m.retries
	m.retries = waiting
	bound, cancel := context.WithTimeout(ctx, max(m.Interval, leastRead))
	defer cancel()
	for some := range slices.Chunk(due, togetherUnseen) {
		if bound.Err() != nil {
			break
		}
		b, err := m.readTogether(bound, some, m.tooManyMissing())
		if err != nil && bound.Err() != nil && ctx.Err() == nil {
			break // those that take so long wait, so that others come first
		}
		if err != nil {
			return err
		}
		result.add(b.result)
		for _, id := range b.unread {
			wait := min(max(2*before[id].wait, m.Interval), longestWait)
			waiting[id] = retry{m.Now().Add(wait), wait}
		}
	}
	return ctx.Err()
}

// readTogether reads patients by themselves and takes what is shown. Some may stay unread,
// though the server answers; with keepGone, those that it does not have as well.
func (m *Mirror) readTogether(ctx context.Context, ids []string, keepGone bool) (*batch, error) {
	b, err := m.newBatch(ctx)
	if err != nil {
		return nil, err
	}
	b.fill.Single = true
	for _, id := range ids {
		patient, err := m.FHIR.Read(ctx, id)
		var f *fhir.Error
		switch {
		case err == nil:
			b.add([]fhir.Change{{ID: id, Patient: patient}})
		case !errors.As(err, &f), f.Kind == fhir.NotSent, f.Kind == fhir.AuthFailed, f.Kind == fhir.RateLimited:
			return nil, err
		case f.Kind == fhir.Gone && !keepGone:
			b.fill.Gone = append(b.fill.Gone, id)
		default:
			b.unread = append(b.unread, id)
		}
	}
	b.fill.Unusable = append(b.fill.Unusable, b.unread...)
	return b, b.store(ctx, "")
}

// tooManyMissing reports whether nobody is taken for gone who is only missing.
func (m *Mirror) tooManyMissing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress.TooManyMissing
}
