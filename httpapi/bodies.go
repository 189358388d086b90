package httpapi

import (
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"golang.org/x/sync/semaphore"

	"patientgraph/jsonlimit"
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

// checkBody refuses, before it is decoded (that takes five times as long), what would
// be refused for its size afterwards, and more than one request.
func checkBody(body []byte) *badRequest {
	switch {
	case len(body) > maxBlanks && jsonlimit.Blanks(body) > maxBlanks:
		return &badRequest{code: resolvers.CodeLimitExceeded, message: fmt.Sprintf("the JSON of the body has more than %d blanks between its values", maxBlanks)}
	case len(body) > maxQuery && len(gjson.GetBytes(body, "query").Str) > maxQuery:
		return &badRequest{code: resolvers.CodeLimitExceeded, message: queryTooLong().Message}
	case gjson.ParseBytes(body).IsArray():
		return &badRequest{code: resolvers.CodeBadUserInput, message: "batches are not supported: send each operation as a request of its own"}
	}
	return nil
}
