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

// How often a patient may change the own record: each change leaves a line in
// the journal. Staff is not bound, for among it are systems that work for many.
const (
	changesAtOnce      = 60
	changesEvery       = time.Second // after these, one in each
	patientsRemembered = 10_000      // whoever has not changed anything for long is forgotten
)

// ChangeRate bounds how often patients change their own records in this process.
// It is safe for concurrent use.
type ChangeRate struct {
	now      func() time.Time
	patients *lru.Cache[string, *rate.Limiter]
}

// NewChangeRate returns a ChangeRate of which nothing is used up.
func NewChangeRate(now func() time.Time) *ChangeRate {
	patients, _ := lru.New[string, *rate.Limiter](patientsRemembered) // it refuses only a size below 1
	return &ChangeRate{now, patients}
}

// wait returns how long the viewer has to wait before the next change; 0 means
// that this one may be made, and counts.
func (c *ChangeRate) wait(v auth.Viewer, patientID string) time.Duration {
	if v.Role != auth.RolePatient {
		return 0
	}
	limiter, known := c.patients.Get(patientID)
	if !known {
		limiter = rate.NewLimiter(rate.Every(changesEvery), changesAtOnce)
		if first, raced, _ := c.patients.PeekOrAdd(patientID, limiter); raced {
			limiter = first
		}
	}
	now := c.now()
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
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
	return e
}
