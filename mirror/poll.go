package mirror

import (
	"context"
	"errors"
	"time"

	"patientgraph/fhir"
)

const (
	// leastGap is between two looks, however often the mirror is woken.
	leastGap = time.Second
	// longestWait bounds what a FHIR server can ask us to wait.
	longestWait = 5 * time.Minute
)

// pollAgainAndAgain looks at the changes so often that each is shown an Interval after it
// was made, if a look takes no longer than a third of that, and says when looking begins to
// fail and when it works again.
func (m *Mirror) pollAgainAndAgain(ctx context.Context) {
	var failing time.Time // since when; zero: it works
	for ctx.Err() == nil {
		began := time.Now()
		result, err := m.poll(ctx)
		pause := m.Interval
		switch {
		case ctx.Err() != nil || isLost(err):
			return
		case err != nil:
			m.metrics.polls.WithLabelValues("failed").Inc()
			if failing.IsZero() {
				failing = began
				m.Log.Warn("the FHIR server cannot be followed; what is shown may become old", "error", err)
			}
			var f *fhir.Error
			if errors.As(err, &f) {
				pause = max(pause, min(f.RetryAfter, longestWait))
			}
		default:
			m.metrics.polls.WithLabelValues("ok").Inc()
			if result.Inserted+result.Updated+result.Gone > 0 {
				m.Log.Info("changes of the FHIR server were taken", "inserted", result.Inserted, "updated", result.Updated, "gone", result.Gone)
			}
			if !failing.IsZero() {
				m.Log.Info("the FHIR server is followed again", "after", time.Since(failing).Round(time.Second).String())
				failing = time.Time{}
			}
			// What this look has just missed shall be shown an Interval after it was made,
			// should the next one take twice as long.
			pause = max(pause-3*time.Since(began), pause/4)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-m.wake:
			_ = sleep(ctx, min(leastGap, m.Interval)-time.Since(began))
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// poll takes what has changed since the last look, and reads by itself what could not be
// taken then.
func (m *Mirror) poll(ctx context.Context) (result Result, err error) {
	began := m.Now()
	m.mu.Lock()
	p := m.progress
	m.mu.Unlock()
	since, isWide := p.since(began, m.StaleAfter)
	if since.IsZero() {
		return result, nil // the first page of the first sweep will say what time it is there
	}
	var seen sight
	if isWide { // a server may have learnt, or lost, a way to tell
		_, err = m.FHIR.Following(ctx)
	}
	if err == nil {
		seen, err = m.changes(ctx, since)
	}
	unfollowable := isUnfollowable(err)
	if err != nil && !unfollowable {
		return seen.result, err
	}
	if again := p.setBack(seen.serverAt, began); !again.IsZero() {
		m.Log.Warn("the clock of the FHIR server was set back; changes since then are looked for again")
		before := seen.result
		seen, err = m.changes(ctx, again)
		seen.result.add(before)
		if err != nil {
			return seen.result, err
		}
	}
	result = seen.result
	if err := m.readUnseen(ctx, &result); err != nil {
		return result, err
	}
	if err := m.settle(ctx, seen.claimed); err != nil {
		return result, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Alone, m.progress.Deletes = unfollowable, seen.deletes
	if unfollowable { // a sweep that ends has looked
		return result, nil
	}
	m.progress.ServerAt, m.progress.PolledAt = seen.serverAt, began
	if m.progress.ServerAt.IsZero() {
		m.progress.ServerAt = began
	}
	if seen.newest.After(p.Newest) || isWide || p.Newest.After(m.progress.ServerAt) {
		m.progress.Newest = seen.newest
	}
	if isWide {
		m.progress.WideAt = began
	}
	if since.Equal(beginning) { // that was everybody
		m.progress.Filled, m.progress.Sweep, m.progress.SweptAt = true, nil, began
	}
	return result, m.save(began)
}

// isUnfollowable reports whether the server cannot be asked for changes: it is followed
// by sweeps alone.
func isUnfollowable(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && f.Cause == fhir.NotFollowable
}

// sight is what a look at the changes has shown.
type sight struct {
	serverAt time.Time // by the server: when it answered the first request
	newest   time.Time // by the server: the latest change
	deletes  bool      // the changes show who was deleted
	claimed  bool      // a patient came with another's number
	result   Result
}

// changes takes what the server shows as changed.
func (m *Mirror) changes(ctx context.Context, since time.Time) (sight, error) {
	var s sight
	b, err := m.ask(ctx)
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
		for _, c := range listing.Changes {
			if c.At.After(s.newest) {
				s.newest = c.At
			}
		}
		b.add(listing.Changes)
		if err := b.store(ctx, ""); err != nil {
			return s, err
		}
		s.claimed = s.claimed || b.claimed
		s.result.add(b.result)
		if b, err = m.ask(ctx); err != nil { // before the next page is asked for
			return s, err
		}
	}
	return s, nil
}

// retry says when a patient that cannot be read is tried again.
type retry struct {
	at   time.Time
	wait time.Duration
}

const (
	// mostUnseen bounds how many patients are read by themselves in one look.
	mostUnseen = 500
	// togetherUnseen of them are stored together.
	togetherUnseen = 25
)

// readUnseen reads the patients whose rows could not be brought up to date before.
func (m *Mirror) readUnseen(ctx context.Context, result *Result) error {
	ids, err := m.Cache.Unseen(ctx, mostUnseen)
	if err != nil {
		return err
	}
	waiting := map[string]retry{}
	var due []string
	for _, id := range ids {
		if r := m.retries[id]; r.at.After(m.Now()) {
			waiting[id] = r
		} else {
			due = append(due, id)
		}
	}
	for len(due) > 0 {
		some := due[:min(togetherUnseen, len(due))]
		due = due[len(some):]
		b, err := m.readTogether(ctx, some, m.refuses())
		if err != nil {
			return err
		}
		result.add(b.result)
		for _, id := range b.unread {
			wait := min(max(2*m.retries[id].wait, m.Interval), longestWait)
			waiting[id] = retry{m.Now().Add(wait), wait}
		}
	}
	m.retries = waiting
	return nil
}

// readTogether reads patients by themselves and takes what is shown. Some may stay unread,
// though the server answers; with kept, those that it does not have as well.
func (m *Mirror) readTogether(ctx context.Context, ids []string, kept bool) (*batch, error) {
	b, err := m.ask(ctx)
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
		case f.Kind == fhir.Gone && !kept:
			b.fill.Gone = append(b.fill.Gone, id)
		default:
			b.unread = append(b.unread, id)
		}
	}
	b.fill.Unusable = append(b.fill.Unusable, b.unread...)
	return b, b.store(ctx, "")
}

// refuses reports whether nobody is taken for gone who is only missing.
func (m *Mirror) refuses() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress.Refused
}

// settle gives patients the numbers that others had when they came.
func (m *Mirror) settle(ctx context.Context, claimed bool) error {
	if !claimed {
		return nil
	}
	refused, err := m.Cache.SettleNumbers(ctx, m.PatientIDSystem, m.Now())
	for _, r := range refused {
		m.Log.Warn("patient number refused, the rest of the record is taken", "patient", r.Number, "error", r.Why)
	}
	return err
}
