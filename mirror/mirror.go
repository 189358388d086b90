package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
	"patientgraph/fhir"
)

// FHIR is what the mirror needs of the FHIR server. Errors are *fhir.Error.
type FHIR interface {
	// List shows every patient, page by page; from is the Next of a page, or empty.
	List(ctx context.Context, from string) iter.Seq2[fhir.Listing, error]
	// Changed shows what has changed since a time of the server's clock.
	Changed(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error]
	// Following finds out how changes are found.
	Following(ctx context.Context) (fhir.Following, error)
	// Read returns the Patient as it is now.
	Read(ctx context.Context, id string) (fhir.Resource, error)
}

// Cache is what the mirror needs of the cache.
type Cache interface {
	Mirror(ctx context.Context) (db.Mirror, error)
	LeadMirror(owner string, lease time.Duration, take bool) (bool, error)
	LeaveMirror(owner string) error
	SaveMirror(owner string, lookedAt time.Time, progress string) error
	WakeMirror() error
	NumberChanges(ctx context.Context) (int64, error)
	FillPatients(ctx context.Context, batch []db.NewPatient, now time.Time, f db.Fill) (db.Filled, error)
	SettleNumbers(ctx context.Context, system string, at time.Time) ([]db.RefusedNumber, error)
	Unseen(ctx context.Context, limit int) ([]string, error)
	KnownOfFHIR(ctx context.Context, after string, before time.Time, limit int) ([]string, error)
	NewestFHIR(ctx context.Context) (at time.Time, fhirID string, err error)
}

// Config is what a Mirror is made of.
type Config struct {
	FHIR     FHIR
	Cache    Cache
	Log      *slog.Logger
	Now      func() time.Time
	NewID    func() string         // names this process
	Metrics  prometheus.Registerer // nil: none are registered
	Base     string                // of the FHIR server: what was seen of another one says nothing of it
	Interval time.Duration         // from one poll to the next; 0: nobody follows (but see Once)

	StaleAfter      time.Duration // how old the last look may be
	PatientIDSystem string        // identifier.system of the hospital's patient number; "" = none
}

// How the work is shared among processes: whoever holds the lease follows, and another
// takes over at most lease + tick after it stands still.
const (
	lease = 10 * time.Second
	tick  = 2 * time.Second
)

// Mirror keeps the cache as the FHIR server is. It is safe for concurrent use.
type Mirror struct {
	Config
	owner   string
	metrics *metrics
	leading atomic.Bool
	state   atomic.Pointer[state] // as it was read last
	wake    chan struct{}         // holds one: poll at once
	hurries bool                  // somebody waits for the end of a sweep, and hears by an error that too many are missing
	used    atomic.Int64          // when Used was called, in ns
	storing atomic.Int64          // how long a sweep's last page took to be stored, in ns

	mu       sync.Mutex // of progress; held while it is stored
	progress progress

	said       said       // has a lock of its own
	remembered remembered // likewise

	// What polls alone use, one after the other.
	retries   map[string]retry
	clockTold bool // the log has said that the server's clock was set back
}

// New returns a Mirror. Nothing happens before Run or Once.
func New(c Config) *Mirror {
	m := &Mirror{Config: c, owner: c.NewID(), wake: make(chan struct{}, 1), said: newSaid(), remembered: newRemembered(), retries: map[string]retry{}}
	m.state.Store(&state{})
	m.metrics = newMetrics(m)
	return m
}

// state is what the cache says of the mirror.
type state struct {
	db.Mirror
	progress progress
}

func stateOf(s db.Mirror) *state {
	is := &state{Mirror: s}
	if json.Unmarshal([]byte(s.Progress), &is.progress) != nil {
		is.progress = progress{}
	}
	return is
}

// LookedAt is when the last completed poll began, by whichever process, or the last sweep
// where the server cannot be asked for changes; zero: nobody has looked.
func (m *Mirror) LookedAt() time.Time { return m.state.Load().LookedAt }

// Leading reports whether this process leads: it is the one that follows.
func (m *Mirror) Leading() bool { return m.leading.Load() }

// Follows reports whether a process follows: it polls again and again.
func (m *Mirror) Follows() bool { return m.Interval > 0 }

// Filled reports whether the cache has held every patient since some time.
func (m *Mirror) Filled() bool {
	p := &m.state.Load().progress
	return p.Base == m.Base && p.Filled
}

// Locked are the FHIR ids of rows that are unseen though they do not say so, since when:
// another session of the database holds them locked.
func (m *Mirror) Locked() map[string]time.Time { return m.state.Load().progress.Locked }

// Wake has whoever follows poll at once: somebody says that there is a change. It costs
// nothing to be called often.
func (m *Mirror) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Used says that somebody uses this process now: for a second a first fill leaves room.
func (m *Mirror) Used() { m.used.Store(time.Now().UnixNano()) }

func (m *Mirror) inUse() bool { return time.Since(time.Unix(0, m.used.Load())) < time.Second }

// Refresh reads how far whoever follows has come.
func (m *Mirror) Refresh(ctx context.Context) error {
	s, err := m.Cache.Mirror(ctx)
	if err != nil {
		return err
	}
	if before := m.state.Swap(stateOf(s)); before.Woken != s.Woken && m.leading.Load() {
		m.Wake()
	}
	return nil
}

// Run follows the FHIR server as long as no other process does, until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var work sync.WaitGroup
	end := func() {}
	defer func() {
		end()
		work.Wait()
		if m.leading.Swap(false) {
			if err := m.Cache.LeaveMirror(m.owner); err != nil {
				m.Log.Warn("another replica has to wait until it may follow the FHIR server", "error", err)
			}
		}
	}()
	failed := false
	for ctx.Err() == nil {
		leads := false
		err := m.Refresh(ctx)
		if err == nil && m.Interval > 0 {
			leads, err = m.Cache.LeadMirror(m.owner, lease, false)
		}
		if err != nil && ctx.Err() == nil {
			if !failed {
				m.Log.Error("the mirror's state could not be read or written", "error", err)
			}
			failed = true
		} else if failed {
			failed = false
			m.Log.Info("the mirror's state is read and written again")
		}
		switch {
		case err != nil: // whoever has the lease keeps it for a while; what it stores is fenced
		case leads && !m.leading.Load():
			working, stop := context.WithCancel(ctx)
			end = stop
			m.leading.Store(true)
			work.Go(func() {
				if m.follow(working); working.Err() == nil { // another took the lease, if only for a moment
					m.leading.Store(false)
				}
			})
		case !leads && m.leading.Load():
			m.Log.Info("another process follows the FHIR server now")
			m.leading.Store(false)
			end()
			work.Wait()
		}
		m.untilTick(ctx, ticker.C)
	}
}

// untilTick waits, and passes on to whoever follows, once at most, that there is a change.
func (m *Mirror) untilTick(ctx context.Context, tick <-chan time.Time) {
	woken := m.wake
	if m.leading.Load() { // its polls hear it themselves
		woken = nil
	}
	for {
		select {
		case <-tick:
			return
		case <-ctx.Done():
			return
		case <-woken:
			woken = nil
			if err := m.Cache.WakeMirror(); err != nil {
				m.Log.Warn("whoever follows the FHIR server could not be told of a change, and will find it when it looks again", "error", err)
			}
		}
	}
}

// follow polls again and again, beside that from further back, and sweeps: at first to fill
// the cache, later in search of what the changes did not show. It returns when ctx ends, or
// when another process follows.
func (m *Mirror) follow(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := m.begin(ctx); err != nil {
		m.Log.Error("the FHIR server cannot be followed now", "error", err)
		return
	}
	m.Log.Info("following the FHIR server", "interval", m.Interval.String())
	var beside sync.WaitGroup
	beside.Go(func() {
		defer stop()
		m.sweepAgainAndAgain(ctx)
	})
	beside.Go(func() {
		defer stop()
		m.pollWideAgainAndAgain(ctx, func(Result) {})
	})
	m.pollAgainAndAgain(ctx, func(Result) {})
	stop()
	beside.Wait()
}

// begin takes up the progress where whoever followed before has left it.
func (m *Mirror) begin(ctx context.Context) error {
	s, err := m.Cache.Mirror(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = progress{}
	if s.Progress != "" {
		if err := json.Unmarshal([]byte(s.Progress), &m.progress); err != nil {
			m.Log.Warn("how far the mirror came cannot be read; it begins anew", "error", err)
			m.progress = progress{}
		}
	}
	if m.progress.Base != m.Base { // what was seen of another server says nothing of this one
		m.progress = progress{Base: m.Base}
		text := m.progress.encode()
		if err := m.Cache.SaveMirror(m.owner, time.Time{}, text); err != nil {
			return err
		}
		m.state.Store(&state{db.Mirror{Progress: text, Woken: s.Woken}, m.progress})
	}
	if m.progress.System != m.PatientIDSystem { // everybody may have another number
		m.progress.System, m.progress.Sweep, m.progress.Filled = m.PatientIDSystem, nil, false
	}
	m.remembered.setLocked(m.progress.Locked)
	if m.progress.From.IsZero() {
		// A cache that was filled from an export knows what the server had until then.
		m.progress.From, m.progress.NewestID, err = m.Cache.NewestFHIR(ctx)
		m.progress.Newest, m.progress.Imported = m.progress.From, !m.progress.From.IsZero()
	}
	return err
}

// save stores the progress; with lookedAt, also that a poll or a sweep that counts has ended.
func (m *Mirror) save(lookedAt time.Time) error {
	if lookedAt.IsZero() {
		lookedAt = m.LookedAt()
	}
	m.progress.Locked = m.remembered.allLocked()
	text := m.progress.encode()
	if err := m.Cache.SaveMirror(m.owner, lookedAt, text); err != nil {
		return err
	}
	s := m.state.Load().Mirror
	s.LookedAt, s.Progress = lookedAt, text
	m.state.Store(&state{s, m.progress})
	return nil
}

// hasLostLease reports whether another process follows by now.
func hasLostLease(err error) bool { return errors.Is(err, db.ErrLostLease) }

// sleep returns early with the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
