package mirror

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"patientgraph/fhir"
)

const (
	// A sweep begins so long after the last one: it finds what the changes did not show.
	sweepEvery = 24 * time.Hour
	// Where they do not show who was deleted, it begins after so many Intervals.
	sweepsForDeletes      = 20
	sweepPauseAfterFailed = 30 * time.Second
	// storedTogether are stored in one transaction where they come faster than the cache
	// takes them.
	storedTogether = 400
	// restFactor is how many times as long as a page took a sweep rests before the next
	// one: people use the server too. The first one rests only while they use us.
	restFactor = 4
)

// sweepAgainAndAgain sweeps: at once where that never came to its end,
// later from time to time.
func (m *Mirror) sweepAgainAndAgain(ctx context.Context) {
	failed := "" // what the log has said of
	for ctx.Err() == nil {
		pause := m.untilSweep()
		if pause == 0 {
			result, err := m.sweep(ctx, areTooMany, func(Result) {})
			if ctx.Err() != nil || hasLostLease(err) {
				return
			}
			m.metrics.sweep(err)
			if err == nil {
				failed = ""
				m.Log.Info("a sweep ended: all patients of the FHIR server were looked at", "read", result.Read(),
					"inserted", result.Inserted, "updated", result.Updated, "gone", result.Gone, "bad", result.Bad)
				continue
			}
			if err.Error() != failed {
				failed = err.Error()
				m.Log.Warn("a sweep of the FHIR server broke off; it is tried again", "error", err)
			}
			pause = asServerAsks(min(sweepPauseAfterFailed, sweepsForDeletes*m.Interval), err)
		}
		_ = sleep(ctx, pause)
	}
}

// untilSweep is how long the next sweep has time, at most a minute.
func (m *Mirror) untilSweep() time.Duration {
	m.mu.Lock()
	p := m.progress
	m.mu.Unlock()
	if !p.Filled || p.Sweep != nil {
		return 0
	}
	every := sweepsForDeletes * m.Interval
	switch {
	case p.Alone:
		every = m.Interval
	case p.Deletes:
		every = sweepEvery
	}
	return min(max(every-m.Now().Sub(p.SweptAt), 0), time.Minute)
}

// shown is what a sweep was shown, on its way from the server to the cache.
type shown struct {
	batch   *batch // begun before the first of its pages was asked for
	listing fhir.Listing
	err     error
}

// sweep goes through all patients, from where the last one broke off. At its end it asks
// for those of the cache that were not shown, unless tooMany says that they are too many
// to be taken for deleted. each hears of every page.
func (m *Mirror) sweep(ctx context.Context, tooMany func(missing, known int) bool, each func(Result)) (Result, error) {
	m.mu.Lock()
	if m.progress.Sweep == nil {
		m.progress.Sweep = &sweep{Began: m.Now()}
	}
	s, first := *m.progress.Sweep, !m.progress.Filled
	m.mu.Unlock()
	met := newIDs()
	whole := s.Next == "" // else who was shown before is not known any more
	var result Result
	pages, stop := m.pages(ctx, s.Next, first)
	defer stop()
	claimed := false
	for page := range pages {
		if page.err != nil {
			return result, m.withoutList(page.err)
		}
		b := page.batch
		b.add(page.listing.Changes)
		for _, id := range b.ids {
			met.add(id)
		}
		s.Next = page.listing.Next
		began := time.Now()
		if err := m.storePage(ctx, b, s, page.listing.ServerTime); err != nil {
			return result, err
		}
		m.storing.Store(int64(time.Since(began)))
		claimed = claimed || b.claimed
		result.add(b.result)
		each(b.result)
		if b.result.Again > 0 { // they are read by themselves with the next poll
			m.Wake()
		}
	}
	if err := ctx.Err(); err != nil {
		return result, err
	}
	if err := m.settleNumbers(ctx, claimed); err != nil {
		return result, err
	}
	if whole {
		gone, err := m.missing(ctx, met, s.Began, tooMany)
		result.add(gone)
		if err != nil {
			return result, err
		}
	}
	return result, m.endSweep(s, whole)
}

// pages reads ahead, so that the server works while the cache does. A page that the
// cache has not come to when the next one is there goes with it.
func (m *Mirror) pages(ctx context.Context, from string, first bool) (<-chan shown, func()) {
	ctx, stop := context.WithCancel(ctx)
	pages := make(chan shown, 1)
	go func() {
		defer close(pages)
		send := func(s shown) bool {
			select {
			case waiting := <-pages:
				if s.err == nil && len(waiting.listing.Changes) < storedTogether {
					s.batch, s.listing.ServerTime = waiting.batch, waiting.listing.ServerTime
					s.listing.Changes = append(waiting.listing.Changes, s.listing.Changes...)
				} else {
					pages <- waiting // nobody else sends
				}
			default:
			}
			select {
			case pages <- s:
				return true
			case <-ctx.Done():
				return false
			}
		}
		b, err := m.newBatch(ctx)
		if err != nil {
			send(shown{err: err})
			return
		}
		askedAt := time.Now()
		for listing, err := range m.FHIR.List(ctx, from) {
			took := time.Since(askedAt)
			if !send(shown{b, listing, err}) || err != nil {
				return
			}
			took += time.Duration(m.storing.Load())
			if (!first && !m.hurries || m.inUse()) && sleep(ctx, restFactor*took) != nil {
				return
			}
			if b, err = m.newBatch(ctx); err != nil { // before the next page is asked for
				send(shown{err: err})
				return
			}
			askedAt = time.Now()
		}
	}()
	return pages, func() {
		stop()
		for range pages { // until it is closed
		}
	}
}

// storePage stores a page together with where the sweep goes on: none is taken twice, and
// none is left out.
func (m *Mirror) storePage(ctx context.Context, b *batch, s sweep, serverAt time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.progress
	next.Sweep = &s
	if next.From.IsZero() { // the changes from the first page on are looked at
		if serverAt.IsZero() {
			serverAt = b.fill.AskedAt
		}
		next.From = serverAt.Add(-late)
		m.Wake()
	}
	if !next.Filled && b.newest.After(next.Newest) {
		next.Newest, next.NewestID, next.NewestAt = b.newest, b.newestID, b.fill.AskedAt
	}
	if err := b.store(ctx, next.encode()); err != nil {
		return err
	}
	m.progress = next
	return nil
}

// beginning is before every change.
var beginning = time.Unix(1, 0).UTC()

// withoutList: a server that shows all changes since the beginning of time needs no list.
func (m *Mirror) withoutList(err error) error {
	var f *fhir.Error
	if !errors.As(err, &f) || f.Kind != fhir.Rejected && f.Kind != fhir.Gone && f.Kind != fhir.Unusable && f.Kind != fhir.Forbidden {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.Cause == fhir.ListingExpired {
		m.progress.Sweep = nil // from the beginning: what is stored is kept
		return err
	}
	if !m.progress.Filled && !m.progress.From.Equal(beginning) {
		m.progress.From, m.progress.ServerAt = beginning, time.Time{}
		m.Wake()
	}
	return err
}

// endSweep notes that every patient was shown.
func (m *Mirror) endSweep(s sweep, whole bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Sweep, m.progress.Filled = nil, true
	if m.progress.SweptAt = m.Now(); !whole {
		m.progress.SweptAt = time.Time{} // who was deleted meanwhile is still to be found
	}
	if m.progress.Alone && whole {
		return m.save(s.Began)
	}
	if m.LookedAt().IsZero() { // a poll counts from now on
		m.Wake()
	}
	return m.save(time.Time{})
}

const (
	// manyMissing and more than a tenth of the cache, or all of it from allMissing on: rather
	// another server than deleted.
	manyMissing = 20
	allMissing  = 3
	// togetherMissing are asked for together.
	togetherMissing = 50
	knownAtOnce     = 5000
)

// errManyMissing: the operator has to say whether that is true.
var errManyMissing = errors.New("too many patients of the cache are missing on the FHIR server to take them for deleted: check FHIR_BASE_URL; if it is right, and they are deleted, run patientgraph sync --full")

// areTooMany is the tooMany of sweeps that nobody has asked for.
func areTooMany(missing, known int) bool {
	return missing > manyMissing && missing > known/10 || missing >= allMissing && missing == known
}

// missing asks for each patient of the cache that a whole sweep did not show: a list may
// leave somebody out, and only an answer about the patient says that he is gone.
func (m *Mirror) missing(ctx context.Context, met *ids, began time.Time, tooMany func(missing, known int) bool) (Result, error) {
	var result Result
	known, unshown := 0, []string(nil)
	for after := ""; ; {
		some, err := m.Cache.KnownOfFHIR(ctx, after, began, knownAtOnce)
		if err != nil {
			return result, err
		}
		if len(some) == 0 {
			break
		}
		for _, id := range some {
			if !met.has(id) {
				unshown = append(unshown, id)
			}
		}
		known += len(some)
		after = some[len(some)-1]
	}
	stay := tooMany(len(unshown), known)
	m.mu.Lock()
	m.progress.TooManyMissing = stay
	m.mu.Unlock()
	m.metrics.missing.Set(0)
	if stay {
		m.metrics.missing.Set(float64(len(unshown)))
		if !m.hurries {
			m.Log.Error(errManyMissing.Error(), "missing", len(unshown), "cached", known)
		}
		return result, m.markStale(ctx, unshown)
	}
	for some := range slices.Chunk(unshown, togetherMissing) {
		if ctx.Err() != nil {
			break
		}
		b, err := m.readTogether(ctx, some, false)
		if err != nil {
			return result, fmt.Errorf("ask for patients that were not shown: %w", err)
		}
		result.add(b.result)
	}
	return result, ctx.Err()
}

// markStale has the cache say STALE of patients that nobody takes for gone.
func (m *Mirror) markStale(ctx context.Context, ids []string) error {
	for some := range slices.Chunk(ids, knownAtOnce) {
		b, err := m.newBatch(ctx)
		if err != nil {
			return err
		}
		b.fill.Unusable = some
		if err := b.store(ctx, ""); err != nil {
			return err
		}
	}
	return nil
}

// ids is a set of FHIR ids in little memory. Two that share a hash, one in 10^13 pairs of
// a million, would only hide that one of them is gone.
type ids struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newIDs() *ids { return &ids{maphash.MakeSeed(), map[uint64]struct{}{}} }

func (s *ids) add(id string)      { s.hashes[maphash.String(s.seed, id)] = struct{}{} }
func (s *ids) has(id string) bool { _, ok := s.hashes[maphash.String(s.seed, id)]; return ok }
