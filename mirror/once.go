package mirror

import (
	"context"
	"errors"

	"patientgraph/fhir"
)

// What says what Once looks at, beside what has changed since the last time.
type What struct {
	Full   bool         // every patient, and who is missing is gone, however many they are; else only if that was never done
	Export *fhir.Export // the same, but from this; nil: page by page
}

// Once brings the cache up to date and returns. A process that follows is interrupted
// meanwhile. each hears of what a page of a walk through all has shown.
func (m *Mirror) Once(ctx context.Context, what What, each func(Result)) (result Result, err error) {
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
	switch {
	case what.Export != nil:
		result, err = m.fromExport(ctx, what.Export, each)
	case what.Full:
		m.mu.Lock()
		m.progress.Sweep = nil // from the beginning: then it is known who was shown
		m.mu.Unlock()
		result, err = m.sweep(ctx, func(int, int) bool { return false }, each)
	case !m.progress.Filled:
		result, err = m.sweep(ctx, m.refusesMany, each)
	}
	if err != nil {
		return result, cause(ctx, err)
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
