package writethrough

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// maxAttempts bounds how often one update sends a PUT: again because somebody
	// else changed the patient between our read and our PUT, or because the answer
	// was lost and If-Match makes the repetition safe.
	maxAttempts = 3
	// historyWindows is after how many settle windows a history that cannot be read
	// does not count.
	historyWindows = 10

	// databaseTimeout bounds a look into the journal that the caller's leaving must
	// not end.
	databaseTimeout = 5 * time.Second
	// How often the journal is asked while another process holds a patient.
	pollAtFirst = 10 * time.Millisecond
	pollAtMost  = 250 * time.Millisecond
	// watchEvery is how often the journal is asked for the updates that somebody in
	// this process waits for. Those that end in this process are seen at once.
	watchEvery = 250 * time.Millisecond

	settleAtLeast = 20 * time.Second // the settle window, see settleWindow
	settleAtOnce  = 64               // updates that the reconciler settles at the same time
	cleanInterval = 10 * time.Minute
)

// pauses are between the looks at what a server shows that said OK.
var pauses = []time.Duration{50 * time.Millisecond, 150 * time.Millisecond}

// setTimings sets those that a Config leaves to us.
func (c *Config) setTimings() {
	if c.Lease == 0 {
		c.Lease = 10 * time.Second
	}
	testTimings(c)
}

// settleWindow is how long a lost PUT may still take effect on this kind of server. An
// error means that the server could not be asked what it is.
func (w *Writer) settleWindow(ctx context.Context) (time.Duration, error) {
	if w.SettleWindow != 0 {
		return w.SettleWindow, nil
	}
	chosen, err := w.FHIR.Profile(ctx)
	if err != nil {
		return 0, err
	}
	return max(time.Duration(max(2, chosen.SettleTimeouts))*w.Timeout, settleAtLeast), nil
}

// tick is how often leases are looked after, and what is open is settled.
func (c *Config) tick() time.Duration { return c.Lease / 5 }

// uncancelled bounds a look into the journal that ctx must not end.
func uncancelled(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), databaseTimeout)
}

// sleep waits about that long; the spread keeps replicas out of step.
func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
