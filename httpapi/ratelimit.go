package httpapi

import (
	"crypto/sha256"
	"math"
	"net/http"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"
	"golang.org/x/time/rate"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// burstSeconds is how many seconds' worth of RATE_LIMIT a caller may ask for at once.
const burstSeconds = 5

// requestRate bounds how many operations one caller may ask for, whatever they cost.
// Who has no valid token is not known, and is the matter of the proxy in front.
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

// bearerOf is the token of a request, if it has one.
func bearerOf(r *http.Request) string {
	token, _ := auth.ParseBearer(r.Header.Get("Authorization"))
	return token
}

// admitted counts a request before its body is read.
func (s *server) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller := infoOf(r.Context()).caller; caller != "" { // else it is a WebSocket whose token comes later
			if err := s.admit(caller); err != nil {
				refuse(w, r, http.StatusTooManyRequests, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// admit counts what a caller asks for. The error is for who asks too often.
func (s *server) admit(caller string) *gqlerror.Error {
	if err := s.rate.refusal(caller); err != nil {
		return err
	}
	if s.Used != nil {
		s.Used()
	}
	return nil
}

// refusal is what a caller is told who asks too often; nil lets it pass.
func (l requestRate) refusal(name string) *gqlerror.Error {
	if l.callers == nil {
		return nil
	}
	wait := l.callers.Wait(name)
	if wait == 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	err := limitExceeded("one caller may make %d requests at once and then %d in a second: try again in %d s", burstSeconds*l.perSecond, l.perSecond, seconds)
	err.Extensions["retryAfterSeconds"] = seconds
	return err
}
