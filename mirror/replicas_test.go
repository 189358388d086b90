package mirror

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

// memory is a cache and a FHIR server that hold nothing but the lease and what was asked.
type memory struct {
	mu    sync.Mutex
	state db.Mirror
	owner string
	until time.Time
	away  map[string]bool // whom the database does not answer
	polls []string        // who has looked at the changes, in turn
	slow  time.Duration   // how long a look takes
	busy  time.Duration   // what the server asks to wait for instead of showing changes
}

func (m *memory) ask(owner string) error {
	if m.away[owner] {
		return errors.New("the database is away")
	}
	return nil
}

func (m *memory) Mirror(context.Context) (db.Mirror, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, nil
}

func (m *memory) LeadMirror(owner string, lease time.Duration, take bool) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ask(owner); err != nil {
		return false, err
	}
	if m.owner != "" && m.owner != owner && !take && time.Now().Before(m.until) {
		return false, nil
	}
	m.owner, m.until = owner, time.Now().Add(lease)
	return true, nil
}

func (m *memory) LeaveMirror(owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ask(owner); err != nil {
		return err
	}
	if m.owner == owner {
		m.owner = ""
	}
	return nil
}

func (m *memory) SaveMirror(owner string, lookedAt time.Time, progress string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != owner {
		return db.ErrLostLease
	}
	m.state.LookedAt, m.state.Progress = lookedAt, progress
	return m.ask(owner)
}

func (m *memory) WakeMirror() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Woken++
	return nil
}

func (m *memory) FillPatients(_ context.Context, batch []db.NewPatient, _ time.Time, f db.Fill) (db.Filled, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.Progress != "" && f.Owner == m.owner {
		m.state.Progress = f.Progress
	}
	return db.Filled{Outcomes: make([]db.ImportOutcome, len(batch))}, nil
}

func (m *memory) NumberChanges(context.Context) (int64, error) { return 0, nil }
func (m *memory) SettleNumbers(context.Context, string, time.Time) ([]db.RefusedNumber, error) {
	return nil, nil
}
func (m *memory) Unseen(context.Context, int) ([]string, error) { return nil, nil }
func (m *memory) KnownOfFHIR(context.Context, string, time.Time, int) ([]string, error) {
	return nil, nil
}
func (m *memory) NewestFHIR(context.Context) (time.Time, string, error) { return time.Time{}, "", nil }

func (m *memory) List(context.Context, string) iter.Seq2[fhir.Listing, error] {
	return func(yield func(fhir.Listing, error) bool) { yield(fhir.Listing{ServerTime: time.Now()}, nil) }
}

func (m *memory) Changed(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
	return func(func(fhir.Listing, error) bool) {}
}

func (m *memory) Following(context.Context) (fhir.Following, error) { return fhir.Following{}, nil }

func (m *memory) Read(context.Context, string) (fhir.Resource, error) {
	return fhir.Resource{}, &fhir.Error{Kind: fhir.Gone}
}

// replica is a process with a Mirror.
type replica struct {
	*Mirror
	*memory
	stop context.CancelFunc
	done chan struct{}
}

func (r *replica) Changed(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
	return func(yield func(fhir.Listing, error) bool) {
		r.memory.mu.Lock()
		slow, busy := r.slow, r.busy
		r.memory.mu.Unlock()
		time.Sleep(slow)
		r.memory.mu.Lock()
		r.polls = append(r.polls, r.owner())
		r.memory.mu.Unlock()
		if busy > 0 {
			yield(fhir.Listing{}, &fhir.Error{Kind: fhir.NotSent, RetryAfter: busy})
			return
		}
		yield(fhir.Listing{ServerTime: time.Now(), Deletes: true}, nil)
	}
}

func (r *replica) owner() string { return r.Mirror.owner }

// looks counts who has looked at the changes since it was asked last.
func (m *memory) looks() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	looks := map[string]int{}
	for _, owner := range m.polls {
		looks[owner]++
	}
	m.polls = nil
	return looks
}

// run starts a process.
func (m *memory) run(name string, interval time.Duration) *replica {
	r := &replica{memory: m, done: make(chan struct{})}
	r.Mirror = New(Config{FHIR: r, Cache: m, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return name },
		Base: "base", Interval: interval, StaleAfter: time.Hour})
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		r.Run(ctx)
	}()
	return r
}

func (r *replica) end() {
	r.stop()
	<-r.done
}

// Times in these tests pass as the test says (testing/synctest).

func TestOneOfTwoFollowsAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{away: map[string]bool{}}
		a := m.run("a", time.Second)
		time.Sleep(time.Second)
		b := m.run("b", time.Second)
		time.Sleep(time.Minute)
		if looks := m.looks(); looks["a"] < 50 || looks["b"] > 0 || !a.Leading() || b.Leading() {
			t.Errorf("%v looked", looks)
		}
		if !b.LookedAt().After(time.Now().Add(-2*tick)) || !b.Filled() {
			t.Errorf("b knows of a look at %v", b.LookedAt())
		}

		a.end() // it leaves
		time.Sleep(tick + time.Second)
		if looks := m.looks(); looks["b"] == 0 || looks["a"] > 1 || !b.Leading() { // a may have looked at that very moment
			t.Errorf("when a has ended, %v looked", looks)
		}

		c := m.run("c", time.Second)
		m.mu.Lock()
		m.away["b"] = true // it loses the database
		m.mu.Unlock()
		time.Sleep(lease + tick + time.Second)
		if !c.Leading() {
			t.Error("c does not take over from b, which is cut off")
		}
		m.looks()
		m.mu.Lock()
		m.away["b"] = false
		m.mu.Unlock()
		time.Sleep(2 * tick)
		m.looks()
		time.Sleep(time.Minute)
		if looks := m.looks(); looks["b"] > 0 || looks["c"] < 50 || b.Leading() || !c.Leading() {
			t.Errorf("when b is back, %v looked", looks)
		}
		b.end()
		c.end()
		if m.owner != "" {
			t.Errorf("the lease is left to %q", m.owner)
		}
	})
}

// A sync interrupts whoever follows, who goes on afterwards: however long it took.
func TestASyncInterruptsWhoFollows(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{0, time.Second, 1500 * time.Millisecond, tick, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			m := &memory{away: map[string]bool{}}
			a := m.run("a", time.Second)
			time.Sleep(time.Minute + 100*time.Millisecond)
			m.mu.Lock()
			m.slow = takes
			m.mu.Unlock()
			once := &replica{memory: m}
			once.Mirror = New(Config{FHIR: once, Cache: m, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return "once" }, Base: "base", StaleAfter: time.Hour})
			if _, err := once.Once(context.Background(), false, func(Result) {}); err != nil {
				t.Errorf("a sync of %v: %v", takes, err)
			}
			if once.Leading() || once.LookedAt().Before(time.Now().Add(-takes-time.Second)) {
				t.Errorf("a sync of %v looked at %v", takes, once.LookedAt())
			}
			m.mu.Lock()
			m.slow = 0
			m.mu.Unlock()
			time.Sleep(2*tick + time.Minute)
			m.looks()
			time.Sleep(time.Minute)
			if looks := m.looks(); looks["a"] < 50 || !a.Leading() {
				t.Errorf("after a sync of %v, %v looked", takes, looks)
			}
			a.end()
		})
	}
}

// A sync that another one interrupts says so.
func TestASyncThatIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{away: map[string]bool{}, slow: time.Minute}
		once := &replica{memory: m}
		once.Mirror = New(Config{FHIR: once, Cache: m, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return "once" }, Base: "base", StaleAfter: time.Hour})
		time.AfterFunc(10*time.Second, func() { _, _ = m.LeadMirror("other", 2*time.Minute, true) })
		if _, err := once.Once(context.Background(), false, func(Result) {}); !errors.Is(err, errInterrupted) {
			t.Errorf("%v", err)
		}
		if m.owner != "other" {
			t.Errorf("the lease is %q's", m.owner)
		}
	})
}

// Whoever is woken often looks once, in whichever process it is that follows.
func TestWakesCoalesce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{away: map[string]bool{}}
		a := m.run("a", time.Hour)
		time.Sleep(time.Minute)
		b := m.run("b", time.Hour)
		time.Sleep(time.Minute)
		m.looks()
		for range 1000 {
			a.Wake()
		}
		time.Sleep(10 * time.Second)
		if looks := m.looks(); looks["a"] < 1 || looks["a"] > 2 || looks["b"] > 0 {
			t.Errorf("woken 1000 times at once, %v looked", looks)
		}
		for range 1000 {
			a.Wake()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if looks := m.looks(); looks["a"] < 5 || looks["a"] > 12 { // one a second
			t.Errorf("woken 1000 times in 10 s, %v looked", looks)
		}
		for range 1000 {
			b.Wake() // which does not follow
		}
		time.Sleep(10 * time.Second)
		if looks := m.looks(); looks["a"] < 1 || looks["a"] > 2 || looks["b"] > 0 || m.state.Woken > 2 {
			t.Errorf("the other one woken 1000 times, %v looked, woken %d times", looks, m.state.Woken)
		}
		a.end()
		b.end()
	})
}

// A server that asks to be left alone is left alone, whoever wakes the mirror.
func TestAWakeDoesNotShortenRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{away: map[string]bool{}}
		a := m.run("a", time.Minute)
		time.Sleep(10 * time.Minute)
		m.mu.Lock()
		m.busy = 2 * time.Minute
		m.mu.Unlock()
		time.Sleep(time.Minute + time.Second)
		m.looks()
		for range 100 {
			a.Wake()
			time.Sleep(time.Second)
		}
		if looks := m.looks(); looks["a"] > 1 {
			t.Errorf("within the two minutes that the server asks for, %v looked", looks)
		}
		time.Sleep(3 * time.Minute)
		if looks := m.looks(); looks["a"] == 0 {
			t.Error("nobody looks afterwards")
		}
		a.end()
	})
}
