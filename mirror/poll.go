package mirror

import (
	"context"
	"errors"
	"time"

	"patientgraph/fhir"
)

const (
	// leastGap is between two polls, however often the mirror is woken.
	leastGap = time.Second
	// longestWait bounds what a FHIR server can ask us to wait.
	longestWait = 5 * time.Minute
)

// pollAgainAndAgain polls so often that each change is shown an Interval after it was made,
// if a poll takes no longer than a third of that, and says when polls begin to fail and when
// they work again. taken hears of what each poll has taken.
func (m *Mirror) pollAgainAndAgain(ctx context.Context, taken func(Result)) {
	var failing time.Time // since when; zero: it works
	for ctx.Err() == nil {
		began := time.Now()
		result, err := m.poll(ctx)
		taken(result)
		pause := m.Interval
		next := began.Add(min(leastGap, m.Interval)) // at the earliest, however often it is woken
		switch {
		case ctx.Err() != nil || hasLostLease(err):
			return
		case err != nil:
			m.metrics.polls.WithLabelValues("failed").Inc()
			if failing.IsZero() {
				failing = began
				m.Log.Warn("the FHIR server cannot be followed; what is shown may become old", "error", err)
			}
			pause = asServerAsks(pause, err)
			if wait := asServerAsks(0, err); wait > 0 {
				next = time.Now().Add(wait)
			}
		default:
			if result.Inserted+result.Updated+result.Gone > 0 {
				m.Log.Info("changes of the FHIR server were taken", "inserted", result.Inserted, "updated", result.Updated, "gone", result.Gone)
			}
			if !failing.IsZero() {
				m.Log.Info("the FHIR server is followed again", "after", time.Since(failing).Round(time.Second).String())
				failing = time.Time{}
			}
			// What this poll has just missed shall be shown an Interval after it was made,
			// should the next one take twice as long.
			pause = max(pause-3*time.Since(began), pause/4)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-m.wake:
			_ = sleep(ctx, time.Until(next))
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// asServerAsks is a pause, or what the server asks us to wait if that is longer.
func asServerAsks(pause time.Duration, err error) time.Duration {
	var f *fhir.Error
	if errors.As(err, &f) {
		pause = max(pause, min(f.RetryAfter, longestWait))
	}
	return pause
}

// poll takes what has changed since the last poll, and then reads by itself what could
// not be taken.
func (m *Mirror) poll(ctx context.Context) (Result, error) {
	began := m.Now()
	m.mu.Lock()
	p := m.progress
	m.mu.Unlock()
	since := p.since()
	if since.IsZero() {
		return Result{}, nil // the first page of the first sweep will say what time it is there
	}
	seen, err := m.allChanges(ctx, &p, began, since)
	if isUnfollowable(err) { // a sweep that ends is the look
		m.sweepsAlone()
	} else if err != nil {
		return seen.result, err
	} else if err := m.savePoll(began, since, p.From, seen); err != nil {
		return seen.result, err
	}
	result := seen.result
	again := result.Again
	if err := m.readUnseen(ctx, &result); err != nil {
		return result, err
	}
	if result.Again > again { // they were written just then
		m.Wake()
	}
	if err := m.settleNumbers(ctx, seen.claimed); err != nil {
		return result, err
	}
	m.metrics.polls.WithLabelValues("ok").Inc()
	return result, nil
}

// allChanges takes what has changed since a time, and makes sure that it is everything.
func (m *Mirror) allChanges(ctx context.Context, p *progress, began, since time.Time) (seen polled, err error) {
	if p.ServerAt.IsZero() || p.Alone {
		if err := m.findWay(ctx); err != nil {
			return seen, err
		}
	}
	if seen, err = m.changes(ctx, since); err != nil {
		return seen, err
	}
	if err := m.pollFromSetBack(ctx, p, began, &seen); err != nil {
		return seen, err
	}
	err = m.checkShown(ctx, p, since, &seen)
	return seen, err
}

// pollFromSetBack polls again where the server's clock was set back.
func (m *Mirror) pollFromSetBack(ctx context.Context, p *progress, began time.Time, seen *polled) error {
	earlier := p.setBack(seen.serverAt, began)
	if earlier.IsZero() {
		m.clockTold = false
		return nil
	}
	if !m.clockTold {
		m.clockTold = true
		m.Log.Warn("the clock of the FHIR server was set back; changes since then are looked for again")
	}
	more, err := m.changes(ctx, earlier)
	more.result.add(seen.result)
	if more.serverAt.IsZero() {
		more.serverAt = seen.serverAt
	}
	*seen = more
	return err
}

// errHides: what a server shows in such an answer is no ground to call anything SYNCED.
var errHides = errors.New("the FHIR server shows no changes, and not even the latest that it has shown before: what it shows is not the whole")

// checkShown makes sure of a poll that has shown nobody: the latest change must be among
// what is shown, unless that patient is gone.
func (m *Mirror) checkShown(ctx context.Context, p *progress, since time.Time, seen *polled) error {
	if seen.shown > 0 || p.NewestID == "" || since.After(p.Newest) {
		return nil
	}
	b, err := m.readTogether(ctx, []string{p.NewestID}, true)
	if err != nil {
		return err
	}
	seen.result.add(b.result)
	if len(b.patients) > 0 && !b.patients[0].State.FHIRUpdatedAt.Before(since) {
		return errHides
	}
	seen.newestGone = true // the next change is a new beginning
	return nil
}

// savePoll notes that a poll has come to its end.
func (m *Mirror) savePoll(began, since, from time.Time, seen polled) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &m.progress
	if !p.From.Equal(from) { // meanwhile it turned out that more is to be looked at
		m.Wake()
		return nil
	}
	first := p.ServerAt.IsZero()
	if p.ServerAt, p.PolledAt = seen.serverAt, began; p.ServerAt.IsZero() {
		p.ServerAt = began
	}
	if seen.newest.After(p.Newest) || seen.newestGone || p.Newest.After(p.ServerAt) && !seen.newest.IsZero() {
		p.Newest, p.NewestID, p.NewestAt = seen.newest, seen.newestID, began
	}
	if first { // it has gone as far back as there is something to show
		p.WideAt, p.WideTo = began, p.latest()
	}
	if seen.deletes && !p.Deletes && !first { // who was deleted while it did not tell is still to be found
		p.SweptAt = time.Time{}
	}
	p.Alone, p.Deletes = false, seen.deletes
	if since.Equal(beginning) { // that was everybody
		p.Filled, p.Sweep, p.SweptAt = true, nil, began
	}
	lookedAt := began
	if p.Imported && !p.Filled || p.isWideLate(began, m.StaleAfter) { // nobody knows whether all of the rows were right before
		lookedAt = time.Time{}
	}
	return m.save(lookedAt)
}

// sweepsAlone notes that only sweeps show what has changed.
func (m *Mirror) sweepsAlone() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Alone = true
}

// polled is what a poll has shown.
type polled struct {
	serverAt   time.Time // by the server: when it answered the first request
	newest     time.Time // by the server: the latest change
	newestID   string    // whose it is
	shown      int       // how many changes
	newestGone bool      // the latest change of before is not shown any more: its patient is gone
	deletes    bool      // the changes show who was deleted
	claimed    bool      // a patient came with another's number
	result     Result
}

// changes takes what the server shows as changed.
func (m *Mirror) changes(ctx context.Context, since time.Time) (polled, error) {
	var s polled
	b, err := m.newBatch(ctx)
	if err != nil {
		return s, err
	}
	for listing, err := range m.FHIR.Changed(ctx, since) {
		if err != nil {
			return s, err
		}
		if s.serverAt.IsZero() {
			s.serverAt = listing.ServerTime
		}
		s.deletes = listing.Deletes
		b.add(listing.Changes)
		if s.shown += len(listing.Changes); b.newest.After(s.newest) {
			s.newest, s.newestID = b.newest, b.newestID
		}
		if err := b.store(ctx, ""); err != nil {
			return s, err
		}
		s.claimed = s.claimed || b.claimed
		s.result.add(b.result)
		if b, err = m.newBatch(ctx); err != nil { // before the next page is asked for
			return s, err
		}
	}
	return s, nil
}

// settleNumbers gives patients the numbers that others had when they came.
func (m *Mirror) settleNumbers(ctx context.Context, claimed bool) error {
	if !claimed {
		return nil
	}
	refused, err := m.Cache.SettleNumbers(ctx, m.PatientIDSystem, m.Now())
	for _, r := range refused {
		m.tellRefused(r.Number, r.Why)
	}
	return err
}
