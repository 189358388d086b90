package httpapi

import (
	"net/http"

	"github.com/vektah/gqlparser/v2/gqlerror"
	"golang.org/x/sync/semaphore"

	"patientgraph/resolvers"
)

const (
	// largeBody is from where on a body shares maxBodies with all others: it is in
	// memory, about three times, until its request is answered.
	largeBody = 64 << 10
	maxBodies = 64 << 20
)

// bodyRoom is what is left of maxBodies.
type bodyRoom struct{ *semaphore.Weighted }

func newBodyRoom() bodyRoom { return bodyRoom{semaphore.NewWeighted(maxBodies)} }

func (b bodyRoom) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 || size > maxBody { // not told, or refused once so much has come
			size = maxBody
		}
		if size > largeBody {
			if !b.TryAcquire(size) {
				writeLater(w, http.StatusServiceUnavailable, &gqlerror.Error{
					Message:    "too many large requests are under way: try again in a moment, or send less at once; nothing was done",
					Extensions: map[string]any{"code": resolvers.CodeUnavailable, "retryAfterSeconds": 1},
				})
				return
			}
			defer b.Release(size)
		}
		next.ServeHTTP(w, r)
	})
}
