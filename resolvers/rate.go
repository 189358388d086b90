package resolvers

import (
	"context"
	"fmt"
	"math"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"patientgraph/auth"
)

// Rates bounds how often each of many callers may do something in this process. It
// is safe for concurrent use.
type Rates struct {
	now     func() time.Time
	limit   rate.Limit
	atOnce  int
	callers *lru.Cache[string, *rate.Limiter]
}

// callersRemembered bounds the memory of Rates: whoever has not asked for long is
// forgotten.
const callersRemembered = 10_000

// NewRates returns Rates of which nothing is used up: so many at once, and then as
// limit says.
func NewRates(now func() time.Time, limit rate.Limit, atOnce int) *Rates {
	callers, _ := lru.New[string, *rate.Limiter](callersRemembered) // it refuses only a size below 1
	return &Rates{now, limit, atOnce, callers}
}

// Wait returns how long a caller has to wait before the next time; 0 means that this
// one is allowed, and counts.
func (r *Rates) Wait(caller string) time.Duration {
	limiter, known := r.callers.Get(caller)
	if !known {
		limiter = rate.NewLimiter(r.limit, r.atOnce)
		if first, raced, _ := r.callers.PeekOrAdd(caller, limiter); raced {
			limiter = first
		}
	}
	now := r.now()
	if limiter.AllowN(now, 1) { // nearly always; a reservation takes memory
		return 0
	}
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// How often a patient may change the own record: each change leaves a line in
// the journal. Staff is not bound, for among it are systems that work for many.
const (
	changesAtOnce = 60
	changesEvery  = time.Second // after these, one in each
)

// ChangeRate bounds how often patients change their own records in this process.
// It is safe for concurrent use.
type ChangeRate struct{ patients *Rates }

// NewChangeRate returns a ChangeRate of which nothing is used up.
func NewChangeRate(now func() time.Time) *ChangeRate {
	return &ChangeRate{NewRates(now, rate.Every(changesEvery), changesAtOnce)}
}

// wait returns how long the viewer has to wait before the next change; 0 means
// that this one may be made, and counts.
func (c *ChangeRate) wait(v auth.Viewer, patientID string) time.Duration {
	if v.Role != auth.RolePatient {
		return 0
	}
	return c.patients.Wait(patientID)
}

// tooFast refuses a change for now; nil lets it pass.
func (r *Resolver) tooFast(ctx context.Context, v auth.Viewer, patientID string) error {
	wait := r.Rate.wait(v, patientID)
	if wait == 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	e := requestError(ctx, CodeLimitExceeded, fmt.Sprintf("a patient may change the own record %d times at once and then every %v: try again in %d s", changesAtOnce, changesEvery, seconds))
	e.Extensions["retryAfterSeconds"] = seconds
	withOthers(ctx, e)
	return e
}
