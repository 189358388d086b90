package mirror

import (
	"context"
	"errors"
)

// Once brings the cache up to date and returns: what has changed since the last time, or
// every patient if that was never done or full says so; then patients that the server does
// not have any more are taken for gone however many they are. A process that follows is
// interrupted meanwhile. each hears of every page of a walk through all.
func (m *Mirror) Once(ctx context.Context, full bool, each func(Result)) (result Result, err error) {
	if _, err := m.Cache.LeadMirror(m.owner, lease, true); err != nil {
		return result, err
	}
	m.leading.Store(true)
	defer m.leading.Store(false)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		for sleep(ctx, tick) == nil {
			if leads, err := m.Cache.LeadMirror(m.owner, lease, false); err == nil && !leads {
				stop(errInterrupted)
			}
		}
	}()
	defer func() {
		stop(nil)
		<-kept
		err = errors.Join(err, m.Cache.LeaveMirror(m.owner))
	}()
	if err := m.begin(ctx); err != nil {
		return result, err
	}
	if err := m.Refresh(ctx); err != nil {
		return result, err
	}
	m.mu.Lock()
	whole := full || !m.progress.Filled
	if full { // one that knows from its start who was shown
		m.progress.Sweep = nil
	}
	m.mu.Unlock()
	if whole {
		refuse := m.refusesMany
		if full {
			refuse = func(int, int) bool { return false }
		}
		if result, err = m.sweep(ctx, refuse, each); err != nil {
			return result, cause(ctx, err)
		}
	}
	changed, err := m.poll(ctx)
	result.add(changed)
	return result, cause(ctx, err)
}

var errInterrupted = errors.New("another process follows the FHIR server now; what was read is in the cache")

// cause says why a context ended early, where that is known.
func cause(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) == errInterrupted {
		return errInterrupted
	}
	return err
}
