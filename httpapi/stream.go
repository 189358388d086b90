package httpapi

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

// timing is what tests shorten; what is 0 is as usual.
type timing struct {
	// heartbeat is how often a subscription shows that it lives while nothing happens:
	// proxies end what is silent, some of them after 15 seconds.
	heartbeat time.Duration
	init      time.Duration // how long a WebSocket may take to say who it is
	send      time.Duration // as sendTimeout, of a WebSocket
	receive   time.Duration // how long a message of a WebSocket may take, as the body of a request
}

func (t timing) orUsual() timing {
	return timing{cmp.Or(t.heartbeat, 12*time.Second), cmp.Or(t.init, 10*time.Second), cmp.Or(t.send, sendTimeout), cmp.Or(t.receive, time.Minute)}
}

// Why there is nothing more to tell of an operation.
const (
	endedComplete = "complete"
	endedFailed   = "failed"      // before it began, or by a fault of ours
	endedLeft     = "client left" // or does not receive
	endedExpired  = "token expired"
	endedStopped  = "server stopped"
)

var allEnds = []string{endedComplete, endedFailed, endedLeft, endedExpired, endedStopped}

// framing is how answers are told in the body of one HTTP response.
type framing struct {
	name        string // of the transport
	mediaType   string
	spec        string // that a client must name as its subscriptionSpec; "": none
	contentType string
	begin       string // at once, before anything is resolved
	heartbeat   string
	before      string // an answer
	after       string
	complete    string
	// stopped wraps the errors when the client should reconnect; "": the body ends, which
	// its client takes for a lost connection.
	stoppedBefore, stoppedAfter string
}

// streamTypes is how a client names them.
var streamTypes = sse.mediaType + " or " + multipartMixed.mediaType + ";subscriptionSpec=" + multipartMixed.spec

// streams is the transport for operations whose answers are told in one HTTP response:
// server-sent events, and the multipart protocol of Apollo. gqlgen's own for events takes
// no GET, goes on writing when the request is over, and says complete where the
// client should come again; for subscriptions as multipart it has none.
type streams struct {
	*server
	delivery
}

func (t streams) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	info := infoOf(r.Context())
	f := info.agreed.stream
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ctx, rc, status, errs := begin(ctx, exec, *info.parameters, r.Method)
	if status != 0 {
		answer{Response: exec.DispatchError(ctx, errs), status: status}.write(w, r, info.agreed.single)
		return
	}
	forgetRequest(ctx)
	s := newStream(w, f)
	if s.write(f.begin) != nil {
		return
	}
	ended, failure := endedFailed, gqlerror.List(nil)
	defer func() { noteStream(ctx, f.name, ended) }()
	if errs != nil {
		_ = s.end(exec.DispatchError(ctx, errs).Errors) // the client is gone if this fails
		return
	}
	stopBeat := s.beat(t.timing.heartbeat)
	defer stopBeat() // also in a panic
	ended, failure = t.deliver(ctx, f.name, exec, rc, s.send)
	stopBeat()
	switch ended {
	case endedComplete:
		_ = s.write(f.complete)
	case endedExpired:
		_ = s.end(exec.DispatchError(ctx, gqlerror.List{tokenExpired()}).Errors)
	case endedFailed:
		_ = s.end(failure)
	case endedStopped:
		if f.stoppedBefore != "" {
			_ = s.write(f.stoppedBefore, errorsJSON(exec.DispatchError(ctx, gqlerror.List{serverStops()}).Errors), f.stoppedAfter)
		}
	}
}

// delivery tells operations that may have many answers.
type delivery struct {
	metrics *streamMetrics
	answers *answerLimit
}

// deliver sends all answers of an operation, and reports why there are no more; of what
// did not begin or has failed, the errors that its client is to hear. It keeps its stack
// small: see resolvers.Apart.
func (d delivery) deliver(
	ctx context.Context, transport string, exec graphql.GraphExecutor, rc *graphql.OperationContext, send func(*graphql.Response) error,
) (ended string, failure gqlerror.List) {
	ended = endedFailed // in a panic
	subscribed := rc.Operation.Operation == ast.Subscription
	if subscribed {
		d.metrics.open.WithLabelValues(transport).Inc()
		defer func() {
			d.metrics.open.WithLabelValues(transport).Dec()
			d.metrics.ended.WithLabelValues(transport, ended).Inc()
		}()
	}
	ctx, events := resolvers.WithEvents(ctx)
	defer events.Leave()
	var responses graphql.ResponseHandler
	var answering context.Context
	resolvers.Apart(func() { responses, answering = exec.DispatchOperation(ctx, rc) })
	answered := false
	for !events.Begun() || events.Next() {
		var response *graphql.Response
		var left error
		resolvers.Apart(func() {
			if response = responses(answering); response != nil && response.Data != nil {
				left = send(response)
				d.answers.release(infoOf(ctx).size) // the next event may come hours later
			}
		})
		if response == nil {
			break
		}
		if left != nil || response.Data == nil && ctx.Err() != nil {
			return endedLeft, nil
		}
		if response.Data == nil {
			return endedFailed, response.Errors
		}
		answered = true
	}
	switch err := events.End(); {
	case !subscribed && answered:
		return endedComplete, nil
	case ctx.Err() != nil:
		return endedLeft, nil
	case !subscribed:
		return endedFailed, exec.DispatchError(ctx, gqlerror.List{notInTime()}).Errors
	case err == nil:
		return endedComplete, nil
	case errors.Is(err, resolvers.ErrTokenExpired):
		return endedExpired, nil
	case errors.Is(err, resolvers.ErrStopping):
		return endedStopped, nil
	default:
		return endedFailed, exec.DispatchError(ctx, gqlerror.List{gqlerror.WrapIfUnwrapped(err)}).Errors
	}
}

// notInTime is for an operation whose time was over before it began.
func notInTime() *gqlerror.Error {
	return unavailable("the operation could not begin in time: try again", 1)
}

func tokenExpired() *gqlerror.Error {
	return coded(codeUnauthenticated, resolvers.ErrTokenExpired.Error())
}

func serverStops() *gqlerror.Error {
	return unavailable(resolvers.ErrStopping.Error(), 1)
}

func errorsJSON(errs gqlerror.List) string {
	text, _ := writeJSON(errs) // of texts and numbers
	return string(text)
}

// stream is the body of one response, written to by whoever has something to tell.
type stream struct {
	*framing
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
}

// newStream sends the head.
func newStream(w http.ResponseWriter, f *framing) *stream {
	s := &stream{framing: f, w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events until it has 4 KiB
	w.WriteHeader(http.StatusOK)
	return s
}

func (s *stream) write(texts ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		if _, err := io.WriteString(s.w, text); err != nil {
			return err
		}
	}
	return s.control.Flush()
}

func (s *stream) send(response *graphql.Response) error {
	text, err := writeJSON(response)
	if err != nil {
		return err
	}
	return s.write(s.before, string(text), s.after)
}

// end sends errors that have no data beside them, the last that is sent.
func (s *stream) end(errs gqlerror.List) error {
	return s.write(s.before, `{"errors":`, errorsJSON(errs), "}", s.after, s.complete)
}

// beat writes heartbeats until stop is called, which returns when none is written any more.
func (s *stream) beat(every time.Duration) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-ticker.C:
				_ = s.write(s.heartbeat) // the server ends the request of a client that is gone
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(stopped)
		<-done
	})
}
