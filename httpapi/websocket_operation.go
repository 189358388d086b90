package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// running is an operation of a WebSocket.
type running struct {
	id     string
	cancel context.CancelFunc
	forget func() // gives back the room that its message takes
}

// errNotAwaited is why nothing more is told of an operation that the client completed.
var errNotAwaited = errors.New("the client has completed it")

// subscribe begins an operation.
func (s *socket) subscribe(m *received) *closing {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.running[m.id] != nil:
		return &closing{closeSameID, fmt.Sprintf("Subscriber for %s already exists", m.id)}
	case s.ending: // the socket is closed in a moment, and the client comes again
		return nil
	case !time.Now().Before(s.viewer.Expires):
		return &closing{closeForbidden, "Forbidden: the token has expired"}
	case len(s.running) >= maxAtOnce:
		m.tooMuch = limitExceeded("this WebSocket has %d operations under way, and may have no more at once", maxAtOnce)
	}
	op := &running{id: m.id}
	var ended func()
	if m.tooMuch == nil {
		ended, op.forget, m.tooMuch = s.enter(m.size)
	}
	if m.tooMuch != nil {
		ctx, info := s.forOperation(s.ctx)
		defer s.answers.begin(info, s.recipient)()
		_ = s.send(errorsMessage(m.id, s.exec.DispatchError(ctx, gqlerror.List{m.tooMuch}).Errors...)) // the next read says if the client is gone
		return nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	op.cancel = cancel
	s.running[m.id] = op
	s.work.Go(func() {
		defer ended()
		defer cancel()
		s.run(ctx, op, m.params)
	})
	return nil
}

// enter counts an operation until it has ended, and what its message takes until it is
// forgotten.
func (s *socket) enter(size int64) (ended, forget func(), err *gqlerror.Error) {
	if err := s.admit(s.caller); err != nil {
		return nil, nil, err
	}
	ended, ok := s.operations.Begin(s.viewer, maxOfViewer)
	if !ok {
		return nil, nil, limitExceeded("you have %d operations under way over WebSockets, and may have no more at once", maxOfViewer)
	}
	if size <= largeMessage {
		return ended, func() {}, nil
	}
	if !s.bodies.take(s.caller, size) {
		ended()
		return nil, nil, s.bodies.crowded()
	}
	return ended, sync.OnceFunc(func() { s.bodies.giveBack(s.caller, size) }), nil
}

// complete ends an operation that the client awaits no more. One that is not there has
// ended meanwhile.
func (s *socket) complete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op := s.running[id]; op != nil {
		op.cancel()
		delete(s.running, id)
	}
}

// reply sends a message of an operation, unless the client has completed it. After the
// last one its id is free.
func (s *socket) reply(op *running, m message, last bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[op.id] != op {
		return errNotAwaited
	}
	if last {
		delete(s.running, op.id)
	}
	return s.send(m)
}

// run carries an operation out and sends its answers.
func (s *socket) run(ctx context.Context, op *running, params *graphql.RawParams) {
	defer op.forget()
	ctx, info := s.forOperation(ctx)
	sent := s.answers.begin(info, s.recipient)
	defer sent()
	ended, failure := endedFailed, gqlerror.List(nil)
	defer func() {
		if cause := recover(); cause != nil {
			fault := resolvers.Internal(ctx, s.Log, resolvers.Panic(cause))
			s.countInternal(fault)
			_ = s.reply(op, errorsMessage(op.id, fault), true)
		}
		info.transport, info.ended = overWebSocket, ended
		info.logOperation(ctx, s.Log)
	}()
	var rc *graphql.OperationContext
	var errs gqlerror.List
	resolvers.Apart(func() { ctx, rc, _, errs = begin(ctx, s.exec, *params, http.MethodPost) })
	if errs != nil {
		_ = s.reply(op, errorsMessage(op.id, s.exec.DispatchError(ctx, errs).Errors...), true)
		return
	}
	if isSubscription(ctx) { // it may last for hours, and there are not many
		op.forget()
	}
	ended, failure = s.deliver(ctx, overWebSocket, s.exec, rc, func(response *graphql.Response) error {
		return s.reply(op, message{ID: op.id, Type: "next", Payload: response}, false)
	})
	switch ended {
	case endedComplete:
		_ = s.reply(op, message{ID: op.id, Type: "complete"}, true)
	case endedFailed:
		_ = s.reply(op, errorsMessage(op.id, failure...), true)
	case endedExpired: // the socket ends, and with it the operation: its client comes again
		go s.expire()
	}
}

func errorsMessage(id string, errs ...*gqlerror.Error) message {
	return message{ID: id, Type: "error", Payload: errs}
}

// forOperation gives an operation of a WebSocket a line of its own in the log.
func (s *socket) forOperation(ctx context.Context) (context.Context, *requestInfo) {
	info := &requestInfo{id: infoOf(ctx).id, began: time.Now()}
	info.noteViewer(s.viewer, s.caller)
	return withInfo(auth.WithViewer(ctx, s.viewer), info), info
}

func (info *requestInfo) logOperation(ctx context.Context, log *slog.Logger) {
	asked := info.asked()
	log.InfoContext(ctx, "GraphQL operation", "operation_name", asked.name, "operation_type", string(asked.kind),
		"transport", info.transport, "ended", info.ended, info.ms())
}
