package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/jsonlimit"
)

const (
	// largeBody is from where on what has come of a body shares maxBodies with all others:
	// it is in memory, about three times, until its request is answered. One caller may
	// have a quarter. A subscription, which may last for hours, is not asked for so.
	largeBody = 64 << 10
	maxBodies = 64 << 20
	// largeBodyTime is how long the rest may take to come.
	largeBodyTime = 20 * time.Second
)

// bodyRoom is what is taken of maxBodies.
type bodyRoom struct {
	*faults
	*room
	restTime time.Duration // largeBodyTime
}

func newBodyRoom(f *faults) *bodyRoom {
	return &bodyRoom{f, newRoom(maxBodies), largeBodyTime}
}

func (b *bodyRoom) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			refuse(w, r, http.StatusRequestEntityTooLarge, tooLarge())
			return
		}
		info := infoOf(r.Context())
		info.body = &sharedBody{ReadCloser: r.Body, room: b, caller: info.caller, answer: w}
		defer info.body.leave()
		r.Body = info.body
		next.ServeHTTP(w, r)
	})
}

// crowded refuses what there is no room for.
func (b *bodyRoom) crowded() *gqlerror.Error {
	e := unavailable("too many large requests are under way: try again in a moment, or send less at once; nothing was done", 1)
	b.countUnavailable(e)
	return e
}

// sharedBody is a body that takes room as its bytes come in: a client that announces a
// large body (Content-Length) and sends nothing takes none.
type sharedBody struct {
	io.ReadCloser
	room    *bodyRoom
	caller  string
	answer  http.ResponseWriter // of the same request
	read    int64
	taken   int64
	hurries bool // the rest must come in time
	ended   bool
}

func (s *sharedBody) Read(p []byte) (int, error) {
	// Before a read: net/http lifts the deadline when it meets the end, and from then on
	// watches the connection, which a deadline would end, and with it the request.
	if s.taken > 0 && !s.hurries && !s.ended {
		s.hurries = true
		_ = http.NewResponseController(s.answer).SetReadDeadline(time.Now().Add(s.room.restTime))
	}
	n, err := s.ReadCloser.Read(p)
	s.ended = s.ended || err != nil
	s.read += int64(n)
	for s.read > largeBody+s.taken {
		if !s.room.take(s.caller, largeBody) {
			return 0, s.room.crowded()
		}
		s.taken += largeBody
	}
	return n, err
}

func (s *sharedBody) leave() {
	if s.taken > 0 {
		s.room.giveBack(s.caller, s.taken)
		s.taken = 0
	}
}

// isLarge reports whether a body takes room.
func (s *sharedBody) isLarge() bool { return s != nil && s.taken > 0 }

// forgetRequest is for a subscription that has begun, and may last for hours: the
// operation has what it needs of what was read. Others end soon.
func forgetRequest(ctx context.Context) {
	if isSubscription(ctx) {
		*infoOf(ctx).parameters = graphql.RawParams{}
	}
}

func tooLarge() *gqlerror.Error {
	return limitExceeded("the request is larger than %d MiB", maxBody>>20)
}

// checkBody looks at a body before it is read: it refuses more than one request, and what
// holds too many blanks.
func checkBody(body []byte) *badRequest {
	if len(body) > maxBlanks && jsonlimit.Blanks(body) > maxBlanks {
		return &badRequest{err: limitExceeded("the JSON of the body has more than %d blanks between its values", maxBlanks)}
	}
	if bad := checkJSON("body", body); bad != nil { // readers of JSON recurse
		return bad
	}
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		return badParameters("batches are not supported: send each operation as a request of its own")
	}
	return nil
}
