package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

const (
	// maxAnswer bounds the data of one answer, in bytes of JSON.
	maxAnswer = 16 << 20
	// largeAnswer is from where on an answer shares maxLarge with all others:
	// while it is made and sent, about four copies of it are in memory.
	largeAnswer = 1 << 20
	maxLarge    = 128 << 20
	// longText is from how many bytes on a text is counted. What is shorter is
	// bounded by the cost of the operation.
	longText = 64
	// maxErrors bounds how many errors are told: a document can have one for
	// each of its fields.
	maxErrors = 50
	// memoryReturns is how long after a large answer its memory is given back.
	memoryReturns = 10 * time.Second
)

// answerLimit ends an operation whose answer grows beyond maxAnswer before its
// texts are written, for a long text can be asked for under a thousand names; and
// one whose large answer does not fit beside those that are under way.
type answerLimit struct {
	large     atomic.Int64 // bytes of the large answers under way
	returning atomic.Bool  // their memory is about to be given back
}

// answerSize counts the long texts of one answer.
type answerSize struct {
	bytes   atomic.Int64
	large   atomic.Int64 // what of them counts in answerLimit.large
	crowded atomic.Bool  // there was no room for them
}

type answerSizeKey struct{}

// middleware holds the room that an answer takes until it is sent.
func (l *answerLimit) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, sent := l.begin(r.Context())
		defer sent()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// begin counts what the answers of one operation take, until they are sent.
func (l *answerLimit) begin(ctx context.Context) (_ context.Context, sent func()) {
	size := &answerSize{}
	return context.WithValue(ctx, answerSizeKey{}, size), func() { l.release(size) }
}

func (l *answerLimit) release(size *answerSize) {
	taken := size.large.Swap(0)
	size.bytes.Store(0)
	size.crowded.Store(false)
	if taken == 0 {
		return
	}
	l.large.Add(-taken)
	if l.returning.CompareAndSwap(false, true) {
		time.AfterFunc(memoryReturns, func() {
			l.returning.Store(false)
			debug.FreeOSMemory() // the runtime would keep it for minutes
		})
	}
}

func (*answerLimit) ExtensionName() string                   { return "AnswerLimit" }
func (*answerLimit) Validate(graphql.ExecutableSchema) error { return nil }

func (l *answerLimit) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	size, _ := ctx.Value(answerSizeKey{}).(*answerSize)
	l.release(size) // of the event before
	response := next(ctx)
	if response == nil {
		return nil
	}
	if more := len(response.Errors) - maxErrors; more > 0 {
		response.Errors = append(response.Errors[:maxErrors:maxErrors], limitExceeded("%d more errors are not told", more))
	}
	switch {
	case len(response.Data) > maxAnswer, size.bytes.Load() > maxAnswer:
		return withoutData(answerTooLong())
	case size.crowded.Load():
		return withoutData(tooManyLarge())
	}
	return response
}

func (l *answerLimit) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	value, err := next(ctx)
	if !isLong(value) {
		return value, err
	}
	size, _ := ctx.Value(answerSizeKey{}).(*answerSize)
	switch {
	case size.crowded.Load():
		return nil, tooManyLarge()
	case size.bytes.Load() > maxAnswer:
		return nil, answerTooLong()
	}
	more := textBytes(value)
	bytes := size.bytes.Add(more)
	if bytes > maxAnswer {
		return nil, answerTooLong()
	}
	if bytes > largeAnswer {
		size.large.Add(more)
		if l.large.Add(more) > maxLarge {
			size.crowded.Store(true)
			return nil, tooManyLarge()
		}
	}
	return value, err
}

// withoutData is the answer of an operation that was executed: it has data all the same.
func withoutData(err *gqlerror.Error) *graphql.Response {
	return &graphql.Response{Data: []byte("null"), Errors: gqlerror.List{err}}
}

func answerTooLong() *gqlerror.Error {
	return limitExceeded("the answer would have more than %d MiB: ask for fewer patients or fields at once (what a mutation changed stays changed)", maxAnswer>>20)
}

func tooManyLarge() *gqlerror.Error {
	return unavailable("too many large answers are under way: try again in a moment, or ask for less at once (what a mutation changed stays changed)", 1)
}

// isLong reports whether a field's texts are worth counting.
func isLong(value any) bool {
	switch text := value.(type) {
	case string:
		return len(text) >= longText
	case *string:
		return text != nil && len(*text) >= longText
	case []string:
		return len(text) > 0
	}
	return false
}

// textBytes is how many bytes of JSON a field's texts take at most.
func textBytes(value any) (bytes int64) {
	switch text := value.(type) {
	case string:
		return jsonBytes(text)
	case *string:
		return jsonBytes(*text)
	case []string:
		for _, s := range text {
			bytes += 3 + jsonBytes(s)
		}
	}
	return bytes
}

// jsonBytes counts six bytes for what may be written as an escape.
func jsonBytes(text string) int64 {
	escaped := 0
	for i := range len(text) {
		if mayEscape[text[i]] {
			escaped++
		}
	}
	return int64(len(text) + 5*escaped)
}

var mayEscape = func() (table [256]bool) {
	for c := range byte(' ') {
		table[c] = true
	}
	for _, c := range []byte(`"\<>&`) {
		table[c] = true
	}
	return table
}()

var _ interface {
	graphql.ResponseInterceptor
	graphql.FieldInterceptor
} = (*answerLimit)(nil)
