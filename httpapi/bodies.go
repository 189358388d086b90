package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/semaphore"

	"patientgraph/jsonlimit"
)

const (
	// largeBody is from where on a body shares maxBodies with all others: it is in
	// memory, about three times, until its request is answered or its stream begins.
	largeBody = 64 << 10
	maxBodies = 64 << 20
)

// bodyRoom is what is left of maxBodies.
type bodyRoom struct {
	*semaphore.Weighted
	*faults
}

func newBodyRoom(f *faults) bodyRoom { return bodyRoom{semaphore.NewWeighted(maxBodies), f} }

func (b bodyRoom) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 || size > maxBody { // not told, or refused once so much has come
			size = maxBody
		}
		if size > largeBody {
			if !b.TryAcquire(size) {
				crowded := unavailable("too many large requests are under way: try again in a moment, or send less at once; nothing was done", 1)
				b.countUnavailable(crowded)
				refuse(w, r, http.StatusServiceUnavailable, crowded)
				return
			}
			leave := sync.OnceFunc(func() { b.Release(size) })
			defer leave()
			r = r.WithContext(context.WithValue(r.Context(), bodyRoomKey{}, leave))
		}
		next.ServeHTTP(w, r)
	})
}

type bodyRoomKey struct{}

// leaveBodyRoom gives back the room of a body that has been read.
func leaveBodyRoom(ctx context.Context) {
	if leave, ok := ctx.Value(bodyRoomKey{}).(func()); ok {
		leave()
	}
}

// checkBody looks at a body before it is decoded, which takes five times as long. It
// refuses more than one request and what holds too many blanks. A document that is
// refused for its length alone it replaces by a shorter one that is too long as well.
func checkBody(body []byte) ([]byte, *badRequest) {
	if len(body) > maxBlanks && jsonlimit.Blanks(body) > maxBlanks {
		return nil, &badRequest{err: limitExceeded("the JSON of the body has more than %d blanks between its values", maxBlanks)}
	}
	if bad := checkJSON("body", body); bad != nil { // gjson recurses
		return nil, bad
	}
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		return nil, badParameters("batches are not supported: send each operation as a request of its own")
	}
	if len(body) <= maxQuery {
		return body, nil
	}
	if query := gjson.GetBytes(body, "query"); len(query.Str) > maxQuery {
		shorter := `"` + strings.Repeat(" ", maxQuery+1) + `"`
		body = slices.Concat(body[:query.Index], []byte(shorter), body[query.Index+len(query.Raw):])
	}
	return body, nil
}
