package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// farBack stands before the server's answers to wide polls alone.
func farBack(r *rig, answer func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error]) {
	r.fhir.changed = func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error] {
		if since.Before(r.clock.Now().Add(-2*late + time.Minute)) {
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
// the server is: not this process, nor the next one, nor sync.
func TestWhileWidePollsFailNoPollCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	broken := errors.New("broken off")
	farBack(r, func(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
		return func(yield func(fhir.Listing, error) bool) { yield(fhir.Listing{}, broken) }
	})
	wideIsDue(r)
	poll := func(m *Mirror) {
		t.Helper()
		r.clock.Pass(time.Second)
		if _, err := m.pollWide(t.Context()); err != nil && !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if _, err := m.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for r.clock.Now().Sub(r.progress.WideAt) <= 2*r.StaleAfter {
		poll(r.Mirror)
		r.clock.Pass(r.StaleAfter / 4)
	}
	looked := r.LookedAt()
	next := r.another(r.Base)
	if err := next.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Mirror{r.Mirror, next} {
		if poll(m); m.LookedAt().After(looked) {
			t.Errorf("it says to have looked at %v", m.LookedAt())
		}
	}
	if _, err := next.Once(t.Context(), false, func(Result) {}); !errors.Is(err, broken) || next.LookedAt().After(looked) {
		t.Errorf("sync: %v, and it says to have looked at %v", err, next.LookedAt())
	}
	r.fhir.changed = nil
	if _, err := next.Once(t.Context(), false, func(Result) {}); err != nil || !next.LookedAt().Equal(r.clock.Now()) {
		t.Errorf("sync: %v, looked at %v, now is %v", err, next.LookedAt(), r.clock.Now())
	}
}

// What becomes visible late is found however long nobody has looked meanwhile, or the wide
// polls have failed, or lie apart.
func TestWhatIsCommittedLateIsFoundAfterAGap(t *testing.T) {
	t.Parallel()
	for name, gap := range map[string]func(r *rig){
		"stopped": func(*rig) {},
		"wide polls fail": func(r *rig) {
			farBack(r, func(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
				return func(yield func(fhir.Listing, error) bool) { yield(fhir.Listing{}, errors.New("broken off")) }
			})
			for n := range 4 {
				r.clock.Pass(5 * time.Minute)
				r.puts("b", fmt.Sprint("010-3333-000", n))
				_, _ = r.pollWide(t.Context())
				if _, err := r.poll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			r.fhir.changed = nil
		},
		"wide polls lie apart": func(r *rig) {
			for n := range 4 {
				r.clock.Pass(5 * time.Minute)
				r.puts("b", fmt.Sprint("010-3333-000", n))
				if _, err := r.poll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ways(t, func(t *testing.T, habits fhirsim.Habits) {
				r := newRig(t, habits)
				r.puts("a", "010-1111-1111")
				r.puts("b", "010-1111-1111")
				r.walks()
				r.looks()
				r.clock.Pass(time.Minute)
				commit := r.server.PutLate([]byte(patientOf("a", "010-2222-2222")))
				r.clock.Pass(3 * time.Second)
				r.puts("b", "010-2222-2222")
				r.looks()
				if err := commit(); err != nil {
					t.Fatal(err)
				}
				gap(r)
				r.clock.Pass(15 * time.Minute)
				r.looks()
				r.wants("after the gap", "a", "010-2222-2222")
			})
		})
	}
}
