package httpapi

import (
	"context"
	"io"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/graph"
)

const (
	// maxAnswer bounds the data of one answer, in bytes of JSON.
	maxAnswer = 16 << 20
	// largeAnswer is from where on what is under way to one client shares maxLarge with
	// all others: while it is made and sent, up to four copies of it are in memory.
	largeAnswer = 64 << 10
	maxLarge    = 128 << 20
	// longText is from how many bytes on a text is counted before it is written. What is
	// shorter is bounded by the cost of the operation, and counted with the whole answer.
	longText = 64
	// maxErrors bounds how many errors are told: a document can have one for
	// each of its fields.
	maxErrors = 50
	// memoryReturns is how long after large answers, of muchMemory in all, their memory
	// is given back.
	memoryReturns = 10 * time.Second
	muchMemory    = 4 << 20
)

// answerLimit ends an operation whose answer grows beyond maxAnswer before all of it is
// written, for a long text can be asked for under a thousand names; and
// one whose large answer does not fit beside those that are under way: a client that
// does not read has them wait.
type answerLimit struct {
	large     *room       // of the large answers under way
	returning atomic.Bool // their memory is about to be given back
}

func newAnswerLimit() *answerLimit { return &answerLimit{large: newRoom(maxLarge)} }

// recipient is who gets the answers to one request, or all of one WebSocket.
type recipient struct {
	caller   string
	underWay atomic.Int64 // bytes
}

// answerSize counts one answer: its patients while they are written, other long texts as
// they are found, then all of it.
type answerSize struct {
	to      *recipient
	bytes   atomic.Int64
	large   atomic.Int64 // what of them is taken of answerLimit.large
	crowded atomic.Bool  // there was no room for them
}

// middleware holds the room that an answer takes until it is sent.
func (l *answerLimit) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := infoOf(r.Context())
		defer l.begin(info, &recipient{caller: info.caller})()
		next.ServeHTTP(w, r)
	})
}

// begin counts what the answers of one operation take, until they are sent.
func (l *answerLimit) begin(info *requestInfo, to *recipient) (sent func()) {
	size := &answerSize{to: to}
	info.size = size
	return func() { l.release(size) }
}

// count takes in so many more bytes of an answer.
func (l *answerLimit) count(size *answerSize, more int64) {
	size.bytes.Add(more)
	switch {
	case size.to.underWay.Add(more) <= largeAnswer || size.refusal() != nil:
	case l.large.take(size.to.caller, more):
		size.large.Add(more)
	default:
		size.crowded.Store(true)
	}
}

// refusal is why an answer is not sent.
func (size *answerSize) refusal() *gqlerror.Error {
	switch {
	case size.bytes.Load() > maxAnswer:
		return limitExceeded("the answer would have more than %d MiB: ask for fewer patients or fields at once (what a mutation changed stays changed)", maxAnswer>>20)
	case size.crowded.Load():
		return unavailable("too many large answers are under way: try again in a moment, or ask for less at once (what a mutation changed stays changed)", 1)
	}
	return nil
}

func (l *answerLimit) release(size *answerSize) {
	size.to.underWay.Add(-size.bytes.Swap(0))
	size.crowded.Store(false)
	taken := size.large.Swap(0)
	if taken == 0 {
		return
	}
	left := l.large.giveBack(size.to.caller, taken)
	if left+taken >= muchMemory && l.returning.CompareAndSwap(false, true) {
		time.AfterFunc(memoryReturns, func() {
			l.returning.Store(false)
			debug.FreeOSMemory() // the runtime would keep it for minutes
		})
	}
}

func (*answerLimit) ExtensionName() string                   { return "AnswerLimit" }
func (*answerLimit) Validate(graphql.ExecutableSchema) error { return nil }

func (l *answerLimit) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	size := infoOf(ctx).size
	l.release(size) // of a plan that was given up
	response := next(ctx)
	if response == nil {
		return nil
	}
	if more := len(response.Errors) - maxErrors; more > 0 {
		response.Errors = append(response.Errors[:maxErrors:maxErrors], limitExceeded("%d more errors are not told", more))
	}
	if more := int64(len(response.Data)) - size.bytes.Load(); more > 0 {
		l.count(size, more)
	}
	if refusal := size.refusal(); refusal != nil {
		l.release(size)
		return withoutData(refusal)
	}
	return response
}

// InterceptField counts what is long before it is written, and patients while they are
// written: see graph.Project.
func (l *answerLimit) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	value, err := next(ctx)
	switch value.(type) {
	case *graph.Patient, *graph.PatientConnection:
		if err == nil {
			return l.projected(ctx, value)
		}
	}
	if !isLong(value) { // as most are: there are hundreds
		return value, err
	}
	if refusal := l.countMore(infoOf(ctx).size, textBytes(value)); refusal != nil {
		return nil, refusal
	}
	return value, err
}

// projected is what was selected of patients, or they themselves.
func (l *answerLimit) projected(ctx context.Context, value any) (any, error) {
	size := infoOf(ctx).size
	json, projected, err := graph.Project(ctx, value, func(bytes int64) error { return l.countMore(size, bytes) })
	switch {
	case err != nil:
		return nil, err
	case projected:
		return graphql.WriterFunc(func(w io.Writer) { _, _ = w.Write(json) }), nil
	}
	return value, nil
}

// countMore counts what comes, unless the answer is refused already, and reports if it is.
func (l *answerLimit) countMore(size *answerSize, bytes int64) error {
	if size.refusal() == nil {
		l.count(size, bytes)
	}
	if refusal := size.refusal(); refusal != nil {
		return refusal
	}
	return nil
}

// withoutData is the answer of an operation that was executed: it has data all the same.
func withoutData(err *gqlerror.Error) *graphql.Response {
	return &graphql.Response{Data: []byte("null"), Errors: gqlerror.List{err}}
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
	for _, c := range []byte(`"\`) {
		table[c] = true
	}
	return table
}()

var _ interface {
	graphql.ResponseInterceptor
	graphql.FieldInterceptor
} = (*answerLimit)(nil)
