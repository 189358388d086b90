package httpapi

import (
	"context"
	"crypto/sha256"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"golang.org/x/time/rate"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// burstSeconds is how many seconds' worth of RATE_LIMIT a caller may ask for at once.
const burstSeconds = 5

// requestRate bounds how many operations one caller may ask for, whatever they cost.
// A request pays before its body is read; the further operations of a WebSocket pay
// one by one. Who has no valid token is not known, and is the matter of the proxy in
// front.
type requestRate struct {
	perSecond int
	callers   *resolvers.Rates // nil: there is no bound
}

func newRequestRate(perSecond int, now func() time.Time) requestRate {
	if perSecond == 0 {
		return requestRate{}
	}
	return requestRate{perSecond, resolvers.NewRates(now, rate.Limit(perSecond), burstSeconds*perSecond)}
}

// caller is who made a request.
type caller struct {
	name string
	paid atomic.Bool // for the next operation
}

type callerKey struct{}

// callerName tells callers apart: by the subject of their tokens, else by the token.
func callerName(v auth.Viewer, token string) string {
	switch {
	case v.Subject != "":
		return "sub " + v.Subject
	case token != "":
		sum := sha256.Sum256([]byte(token))
		return string(sum[:])
	}
	return v.Actor()
}

func (l requestRate) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, known := auth.FromContext(r.Context())
		if l.callers == nil || !known {
			next.ServeHTTP(w, r)
			return
		}
		c := &caller{name: callerName(v, r.Header.Get("Authorization"))}
		c.paid.Store(true)
		if err := l.refusal(c.name); err != nil {
			refuse(w, r, http.StatusTooManyRequests, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// refusal is what a caller is told who asks too often; nil lets it pass.
func (l requestRate) refusal(name string) *gqlerror.Error {
	wait := l.callers.Wait(name)
	if wait == 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	err := limitExceeded("one caller may make %d requests at once and then %d in a second: try again in %d s", burstSeconds*l.perSecond, l.perSecond, seconds)
	err.Extensions["retryAfterSeconds"] = seconds
	return err
}

func (requestRate) ExtensionName() string                   { return "RequestRate" }
func (requestRate) Validate(graphql.ExecutableSchema) error { return nil }

func (l requestRate) MutateOperationParameters(ctx context.Context, _ *graphql.RawParams) *gqlerror.Error {
	if l.callers == nil {
		return nil
	}
	c, _ := ctx.Value(callerKey{}).(*caller)
	switch {
	case c == nil: // a WebSocket whose token came after its handshake
		v, _ := auth.FromContext(ctx)
		return l.refusal(callerName(v, ""))
	case c.paid.Swap(false):
		return nil
	}
	return l.refusal(c.name)
}
