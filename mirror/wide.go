package mirror

import (
	"context"
	"errors"
	"time"

	"patientgraph/fhir"
)

// pollWideAgainAndAgain makes wide polls when they are due, beside the others: there may be
// many changes to go through.
func (m *Mirror) pollWideAgainAndAgain(ctx context.Context, taken func(Result)) {
	failing := false
	for pause := time.Duration(0); sleep(ctx, pause) == nil; {
		result, err := m.pollWide(ctx)
		taken(result)
		if ctx.Err() != nil || hasLostLease(err) {
			return
		}
		if failed := err != nil; failed != failing {
			if failing = failed; failed {
				m.Log.Warn("what the FHIR server may show late cannot be looked for; what is shown may become old", "error", err)
			} else {
				m.Log.Info("what the FHIR server may show late is looked for again")
			}
		}
		pause = asServerAsks(m.Interval, err)
	}
}

// pollWide polls, where that is due, from so far back that what became visible late is
// shown too.
func (m *Mirror) pollWide(ctx context.Context) (Result, error) {
	began := m.Now()
	m.mu.Lock()
	p := m.progress
	m.mu.Unlock()
	if !p.isWideDue(began, m.StaleAfter) {
		return Result{}, nil
	}
	var seen polled
	err := m.findWay(ctx) // the server may have learnt, or lost, a way to tell
	if since := p.sinceWide(); err == nil && !since.IsZero() {
		seen, err = m.changes(ctx, since)
	}
	if isUnfollowable(err) {
		m.sweepsAlone()
		return seen.result, nil
	}
	if err == nil {
		err = m.settleNumbers(ctx, seen.claimed)
	}
	if err != nil {
		return seen.result, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.progress.isWideLate(began, m.StaleAfter) { // a poll counts from now on
		m.Wake()
	}
	m.progress.WideAt, m.progress.WideTo = began, p.latest()
	return seen.result, m.save(time.Time{})
}

// findWay finds out how changes are found, and says when that is another way than before.
func (m *Mirror) findWay(ctx context.Context) error {
	way, err := m.FHIR.Following(ctx)
	m.said.Lock()
	defer m.said.Unlock()
	if (err == nil || isUnfollowable(err)) && (way != m.said.way || err != nil && !m.said.alone) {
		if m.said.way, m.said.alone = way, err != nil; m.said.alone {
			m.Log.Warn("the FHIR server cannot be asked for changes: only going through all patients shows them")
		} else {
			m.Log.Info("changes of the FHIR server are found", "by", way.Method, "deletions", way.Deletes)
		}
	}
	return err
}

// isUnfollowable reports whether the server cannot be asked for changes: it is followed
// by sweeps alone.
func isUnfollowable(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && f.Cause == fhir.NotFollowable
}
