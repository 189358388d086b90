package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Once brings the cache up to date and returns: by what has changed since the last time, or
// by every patient if that was never done or full says so. Where too many are missing to be
// gone it is an error at first; after such a warning full takes them for gone. A process
// that follows is interrupted meanwhile. each hears of what a page of a sweep has shown.
func (m *Mirror) Once(ctx context.Context, full bool, each func(Result)) (result Result, err error) {
	for leads := false; !leads; { // it is not ours yet while another process stores something long
		if leads, err = m.Cache.LeadMirror(m.owner, lease, true); err == nil && !leads {
			err = sleep(ctx, tick)
		}
		if err != nil {
			return result, err
		}
	}
	m.leading.Store(true)
	defer m.leading.Store(false)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var keeper sync.WaitGroup // of the lease
	keeper.Go(func() {
		for sleep(ctx, tick) == nil {
			if leads, err := m.Cache.LeadMirror(m.owner, lease, false); err == nil && !leads {
				stop(errInterrupted)
			}
		}
	})
	defer func() {
		stop(nil)
		keeper.Wait()
		err = errors.Join(err, m.Cache.LeaveMirror(m.owner))
	}()
	if err := m.begin(ctx); err != nil {
		return result, err
	}
	if err := m.Refresh(ctx); err != nil {
		return result, err
	}
	if full || !m.progress.Filled {
		if result, err = m.sweepOnce(ctx, full, each); err != nil {
			return result, cause(ctx, err)
		}
	}
	changed, err := m.pollWide(ctx) // without it the next poll might not count
	if err == nil {
		var more Result
		more, err = m.poll(ctx)
		changed.add(more)
	}
	if result.Read() > 0 { // they were counted a moment ago
		changed.Same = 0
	}
	result.add(changed)
	return result, cause(ctx, err)
}

// sweepOnce sweeps without a rest, and polls meanwhile,
// as whoever follows would.
func (m *Mirror) sweepOnce(ctx context.Context, full bool, each func(Result)) (Result, error) {
	m.hurries = true
	missing, cached := 0, 0
	tooMany := func(unshown, known int) bool {
		missing, cached = unshown, known
		return areTooMany(unshown, known)
	}
	if full {
		m.progress.Sweep = nil         // from the beginning: then it is known who was shown
		if m.progress.TooManyMissing { // the operator was warned, and says that it is so
			tooMany = func(int, int) bool { return false }
		}
	}
	polling, stop := context.WithCancel(ctx)
	var polls sync.WaitGroup
	var counting sync.Mutex
	var changed Result // beside the sweep, which may have come by too early or too late to count it
	count := func(r Result) {
		counting.Lock()
		defer counting.Unlock()
		changed.add(Result{Inserted: r.Inserted, Updated: r.Updated, Gone: r.Gone})
	}
	if m.Interval > 0 {
		polls.Go(func() { m.pollAgainAndAgain(polling, count) })
		polls.Go(func() { m.pollWideAgainAndAgain(polling, count) })
	}
	result, err := m.sweep(ctx, tooMany, each)
	stop()
	polls.Wait()
	result.add(changed)
	if err == nil && m.progress.TooManyMissing {
		if err = errManyMissing; cached > 0 {
			err = fmt.Errorf("%w (%d of %d)", err, missing, cached)
		}
	}
	return result, err
}

var errInterrupted = errors.New("another process follows the FHIR server now; what was read is in the cache")

// cause says why a context ended early, where that is known.
func cause(ctx context.Context, err error) error {
	if hasLostLease(err) || err != nil && context.Cause(ctx) == errInterrupted {
		return errInterrupted
	}
	return err
}
