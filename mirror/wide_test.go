package mirror

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// farBack stands before the server's answers to wide polls alone.
func farBack(r *rig, answer func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error]) {
	r.fhir.changed = func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error] {
		if since.Before(r.clock.Now().Add(-late/2 - time.Minute)) {
			return answer(ctx, since)
		}
		return r.fhir.Client.Changed(ctx, since)
	}
}

// wideIsDue has it come, on a server that is busy.
func wideIsDue(r *rig) {
	r.puts("a", "010-1111-1111")
	r.walks()
	r.looks()
	r.clock.Pass(r.StaleAfter)
	r.puts("a", "010-2222-2222")
	if _, err := r.poll(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// A wide poll may have much to go through: what changes meanwhile does not wait for it.
func TestAWidePollHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	begun, goOn := make(chan struct{}), make(chan struct{})
	farBack(r, func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error] {
		close(begun)
		<-goOn
		return r.fhir.Client.Changed(ctx, since)
	})
	wideIsDue(r)
	ended := make(chan error)
	go func() {
		_, err := r.pollWide(t.Context())
		ended <- err
	}()
	<-begun
	r.puts("a", "010-3333-3333")
	r.clock.Pass(time.Second)
	if _, err := r.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wants("during a wide poll", "a", "010-3333-3333")
	looked := r.LookedAt()
	if !looked.Equal(r.clock.Now()) {
		t.Errorf("looked at %v, now is %v", looked, r.clock.Now())
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !r.LookedAt().Equal(looked) || r.progress.isWideDue(r.clock.Now(), r.StaleAfter) {
		t.Errorf("after the wide poll: looked at %v, before %v; %+v", r.LookedAt(), looked, r.progress)
	}
	r.wants("after it", "a", "010-3333-3333")
}

// While what becomes visible late cannot be looked for, nobody says that the cache is as
// the server is.
func TestAWidePollThatFailsIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	var works atomic.Bool
	farBack(r, func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error] {
		if works.Load() {
			return r.fhir.Client.Changed(ctx, since)
		}
		return func(yield func(fhir.Listing, error) bool) { yield(fhir.Listing{}, errors.New("broken off")) }
	})
	wideIsDue(r)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.pollWideAgainAndAgain(ctx, func(Result) {})
	}()
	defer func() { stop(); <-ended }()
	wait.Until(t, "the failure is known", r.wideFails.Load)
	looked := r.LookedAt()
	polls := func() {
		t.Helper()
		r.clock.Pass(time.Second)
		if _, err := r.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	polls()
	if !r.LookedAt().Equal(looked) {
		t.Errorf("it says to have looked at %v", r.LookedAt())
	}
	works.Store(true)
	wait.Until(t, "it works again", func() bool { return !r.wideFails.Load() })
	polls()
	if !r.LookedAt().Equal(r.clock.Now()) {
		t.Errorf("looked at %v, now is %v", r.LookedAt(), r.clock.Now())
	}
}
