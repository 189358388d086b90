package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

const (
	overWebSocket = "websocket"
	transportWS   = "graphql-transport-ws" // the subprotocol
	legacyWS      = "graphql-ws"           // of the npm library subscriptions-transport-ws: another protocol

	// maxInit bounds a message of a client that we do not know yet, in bytes, as the
	// headers of a request are bounded.
	maxInit = 64 << 10
	// maxReceived bounds a message of one that we know, in bytes: a document of the most
	// that there may be, and as much beside it.
	maxReceived = 128 << 10
	// largeMessage is from where on a message takes room among the bodies of requests until
	// its operation has ended, or its subscription begun.
	largeMessage = 16 << 10
	// maxSockets is how many WebSockets one viewer may have at once in one process, for
	// each takes memory even if nothing is subscribed to. Viewers are told apart as by Actor.
	maxSockets = 50
	// maxAtOnce is how many operations one WebSocket may have under way, maxOfViewer all
	// those of one viewer in one process: what each has read and parsed is in memory.
	maxAtOnce   = 100
	maxOfViewer = 500
)

// The codes that graphql-transport-ws closes with (PROTOCOL.md of graphql-ws).
const (
	closeBadRequest   websocket.StatusCode = 4400
	closeUnauthorized websocket.StatusCode = 4401
	closeForbidden    websocket.StatusCode = 4403
	closeSubprotocol  websocket.StatusCode = 4406
	closeInitTimeout  websocket.StatusCode = 4408
	closeSameID       websocket.StatusCode = 4409
	closeTwoInits     websocket.StatusCode = 4429
)

func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header, "Connection", "upgrade") && hasToken(r.Header, "Upgrade", "websocket")
}

func hasToken(h http.Header, name, token string) bool {
	for value := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(value), token) {
			return true
		}
	}
	return false
}

// orTokenLater lets a WebSocket without an Authorization header through, which no
// browser can send: its token comes with connection_init.
func orTokenLater(authenticated func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		now := authenticated(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isWebSocket(r) && len(r.Header.Values("Authorization")) == 0 {
				next.ServeHTTP(w, r)
				return
			}
			now.ServeHTTP(w, r)
		})
	}
}

// webSockets is the transport graphql-transport-ws. gqlgen's own closes with none of the
// codes above, says complete after error, and lets two operations have one id.
type webSockets struct {
	*server
	delivery
	open       resolvers.PerViewer
	operations resolvers.PerViewer // under way
	stopping   context.Context     // as Stopping
}

// newWebSockets also waits for Stopping, so that not every socket has to.
func newWebSockets(s *server, d delivery) *webSockets {
	stopping, stop := context.WithCancel(context.Background())
	go func() {
		<-s.Stopping
		stop()
	}()
	return &webSockets{server: s, delivery: d, stopping: stopping}
}

// Do makes a WebSocket of a request and returns: the stack of the request, its buffers and
// its headers, most of what an idle socket would take, are not kept as long as the socket.
func (t *webSockets) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	ended := func() {}
	if t.Sockets != nil {
		t.Sockets.Add(1)
		ended = t.Sockets.Done
	}
	s := t.accept(w, r, exec)
	if s == nil {
		ended()
		return
	}
	go func() {
		defer ended()
		s.serve()
	}()
}

// accept returns the socket that a request becomes; nil: it was refused.
func (t *webSockets) accept(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) *socket {
	if status, err := checkHandshake(r); err != nil {
		w.Header().Set("Sec-WebSocket-Version", webSocketVersion) // the one that there is (RFC 6455 section 4.4)
		w.Header().Set("Upgrade", "websocket")                    // of 426 (RFC 9110 section 15.5.22)
		refuse(w, r, status, err)
		return nil
	}
	// Who may call from a page was decided before (withCORS).
	conn, err := websocket.Accept(smallBuffers{w}, r, &websocket.AcceptOptions{Subprotocols: []string{transportWS, legacyWS}, InsecureSkipVerify: true})
	if err != nil {
		return nil // and said to the client
	}
	if conn.Subprotocol() != transportWS {
		noteStream(r.Context(), overWebSocket, strconv.Itoa(int(closeSubprotocol)))
		_ = conn.Close(closeSubprotocol, "Subprotocol not acceptable: use "+transportWS)
		return nil
	}
	conn.SetReadLimit(maxInit)
	s := &socket{webSockets: t, conn: conn, exec: exec, acknowledged: make(chan struct{}), running: map[string]*running{}}
	ctx := resolvers.WithAcceptLanguage(context.Background(), resolvers.Language(r.Context()))
	of := infoOf(r.Context())
	of.lives = true
	s.ctx, s.cancel = context.WithCancel(withInfo(ctx, &requestInfo{id: of.id, began: of.began, client: of.client, role: of.role, caller: of.caller, graphql: true}))
	s.viewer, s.known = auth.FromContext(r.Context())
	s.caller = of.caller
	s.timeout = time.AfterFunc(t.timing.init, s.timeUp)
	return s
}

// smallBuffers gives a connection that becomes a WebSocket smaller buffers than those of
// HTTP: most have nothing to say.
type smallBuffers struct{ http.ResponseWriter }

const (
	socketReads  = 256
	socketWrites = 512
)

func (w smallBuffers) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := buffers.Peek(buffers.Reader.Buffered()) // what a client sent behind its request
	reader := bufio.NewReaderSize(bytes.NewReader(early), max(socketReads, len(early)))
	_, _ = reader.Peek(len(early)) // now it is in this buffer, as whoever takes it over expects
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, socketWrites)), nil
}

const webSocketVersion = "13"

// checkHandshake refuses a request that asks for a WebSocket in a way that RFC 6455 does
// not allow. The library would refuse it too, but as plain text that repeats what was sent.
func checkHandshake(r *http.Request) (status int, err *gqlerror.Error) {
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case !r.ProtoAtLeast(1, 1):
		return http.StatusUpgradeRequired, badInput("a WebSocket needs HTTP/1.1")
	case r.Header.Get("Sec-WebSocket-Version") != webSocketVersion:
		return http.StatusUpgradeRequired, badInput("send Sec-WebSocket-Version: " + webSocketVersion)
	case len(keys) != 1:
		return http.StatusBadRequest, badInput("send one Sec-WebSocket-Key")
	}
	if key, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); bad != nil || len(key) != 16 {
		return http.StatusBadRequest, badInput("Sec-WebSocket-Key must be the base64 of 16 bytes")
	}
	return 0, nil
}

// socket is one WebSocket.
type socket struct {
	*webSockets
	conn   *websocket.Conn
	exec   graphql.GraphExecutor
	ctx    context.Context // of its operations
	cancel context.CancelFunc

	known        bool          // the request had a token
	viewer       auth.Viewer   // whose it was; once it is acknowledged, who may ask
	caller       string        // as it is counted
	recipient    *recipient    // of its answers
	left         func()        // of its viewer's count
	acknowledged chan struct{} // closed then
	timeout      *time.Timer   // until it is acknowledged; then until its token expires
	code         atomic.Int32  // that we close with; 0: the client has left

	mu      sync.Mutex
	running map[string]*running // by the client's id
	ending  bool                // no more operations are begun
	work    sync.WaitGroup      // the operations
}

// closing is why a socket must be closed.
type closing struct {
	code   websocket.StatusCode
	reason string
}

// serve reads messages until the socket is closed, and then logs it.
func (s *socket) serve() {
	s.metrics.sockets.Inc()
	defer s.metrics.sockets.Dec()
	r := (&http.Request{Method: http.MethodGet}).WithContext(s.ctx) // all that is left of it
	defer func() {
		if cause := recover(); cause != nil {
			s.countInternal(resolvers.Internal(s.ctx, s.Log, resolvers.Panic(cause)))
		}
		infoOf(s.ctx).log(s.Log, r, http.StatusSwitchingProtocols)
	}()
	unwatch := context.AfterFunc(s.stopping, func() {
		s.finish()
		s.close(websocket.StatusGoingAway, "the server stops: connect again")
	})
	time.AfterFunc(s.timing.heartbeat, s.beat)
	defer func() {
		_ = s.conn.CloseNow() // it may be closed
		s.cancel()
		unwatch()
		s.timeout.Stop()
		s.work.Wait()
		if s.left != nil {
			s.left()
		}
	}()
	for {
		kind, data, err := s.read()
		if err != nil {
			code := int(s.code.Load())
			if code == 0 {
				code = max(int(websocket.CloseStatus(err)), 0) // 0: it was cut off
			}
			noteStream(s.ctx, overWebSocket, strconv.Itoa(code))
			return
		}
		resolvers.Apart(func() { // most sockets have nothing more to say after the first messages
			if bad := s.handle(kind, data); bad != nil {
				s.close(bad.code, bad.reason)
			}
		})
	}
}

// read waits for a message as long as it takes; once it has begun it must come in time.
func (s *socket) read() (websocket.MessageType, []byte, error) {
	kind, reader, err := s.conn.Reader(context.Background()) // a context that can end takes memory as long as nothing comes
	if err != nil {
		return kind, nil, err
	}
	defer time.AfterFunc(s.timing.receive, func() { _ = s.conn.CloseNow() }).Stop() // without a word
	data, err := io.ReadAll(reader)
	return kind, data, err
}

// close ends the operations and says why. Whoever closes first is heard.
func (s *socket) close(code websocket.StatusCode, reason string) {
	if !s.code.CompareAndSwap(0, int32(code)) {
		return
	}
	s.cancel()
	_ = s.conn.Close(code, shortReason(reason)) // the client is gone if this fails
}

// shortReason is what fits into a close frame.
func shortReason(reason string) string {
	const most = 123 // bytes: RFC 6455 section 5.5
	if len(reason) <= most {
		return reason
	}
	return strings.ToValidUTF8(reason[:most], "")
}

// timeUp ends a socket that does not say who it is, or whose token expires.
func (s *socket) timeUp() {
	switch {
	case !s.isAcknowledged():
		s.close(closeInitTimeout, "Connection initialisation timeout")
	case time.Now().Before(s.viewer.Expires): // it was acknowledged just now
		s.timeout.Reset(time.Until(s.viewer.Expires))
	default:
		s.expire()
	}
}

// expire ends a socket whose token is valid no longer.
func (s *socket) expire() {
	s.finish()
	s.close(closeForbidden, "Forbidden: the token has expired")
}

// finish begins no more operations and waits for those under way: a write must be told
// how it ended. Subscriptions end by themselves when the token or the server does.
func (s *socket) finish() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.work.Wait()
}

// beat sends both pings, the one that clients see and the one that every WebSocket
// must answer, and drops a client that does not.
func (s *socket) beat() {
	if s.ctx.Err() != nil {
		return
	}
	err := s.send(message{Type: "ping"})
	if err == nil {
		ctx, cancel := context.WithTimeout(s.ctx, s.timing.send)
		err = s.conn.Ping(ctx)
		cancel()
	}
	if err == nil {
		time.AfterFunc(s.timing.heartbeat, s.beat)
	} else if s.ctx.Err() == nil {
		_ = s.conn.CloseNow()
	}
}

// handle does what a message asks for.
func (s *socket) handle(kind websocket.MessageType, data []byte) *closing {
	if kind != websocket.MessageText {
		return &closing{closeBadRequest, "Invalid message: it must be text"}
	}
	m, bad := parseMessage(data)
	if bad != nil {
		return bad
	}
	switch m.kind {
	case "connection_init":
		if s.isAcknowledged() {
			return &closing{closeTwoInits, "Too many initialisation requests"}
		}
		v, caller, bad := s.identify(m.payload)
		if bad != nil {
			return bad
		}
		left, ok := s.open.Begin(v, maxSockets)
		if !ok { // a client tries again later
			return &closing{websocket.StatusTryAgainLater, fmt.Sprintf("%s: you have %d WebSockets already, and may have no more at once", resolvers.CodeLimitExceeded, maxSockets)}
		}
		s.viewer, s.caller, s.left, s.recipient = v, caller, left, &recipient{caller: caller}
		infoOf(s.ctx).noteViewer(v, caller)
		s.conn.SetReadLimit(maxReceived)
		close(s.acknowledged)
		s.timeout.Reset(time.Until(v.Expires))
		_ = s.send(message{Type: "connection_ack"}) // the next read says if the client is gone
	case "ping":
		pong := message{Type: "pong"}
		if m.payload.Exists() {
			pong.Payload = json.RawMessage(m.payload.Raw)
		}
		_ = s.send(pong)
	case "pong":
	case "complete":
		s.complete(m.id)
	case "subscribe":
		if !s.isAcknowledged() {
			return &closing{closeUnauthorized, "Unauthorized"}
		}
		return s.subscribe(m)
	}
	return nil
}

func (s *socket) isAcknowledged() bool {
	select {
	case <-s.acknowledged:
		return true
	default:
		return false
	}
}

// identify returns whose token the payload of connection_init holds; without one, whose
// the header of the request held. The caller is as callerName has it.
func (s *socket) identify(payload gjson.Result) (v auth.Viewer, caller string, bad *closing) {
	var given []gjson.Result
	payload.ForEach(func(key, value gjson.Result) bool {
		if strings.EqualFold(key.Str, "Authorization") {
			given = append(given, value)
		}
		return true
	})
	switch {
	case len(given) > 1:
		return v, "", &closing{closeForbidden, "Forbidden: more than one Authorization"}
	case len(given) == 0 && s.known:
		return s.viewer, s.caller, nil
	case len(given) == 0:
		return v, "", &closing{closeForbidden, "Forbidden: a bearer token is required in the payload of connection_init, as Authorization"}
	}
	token, ok := auth.ParseBearer(given[0].Str)
	if !ok {
		return v, "", &closing{closeForbidden, `Forbidden: Authorization must be "Bearer" and a token`}
	}
	v, err := s.Verifier.Verify(s.ctx, token)
	if err != nil {
		s.Log.InfoContext(s.ctx, "request refused", "reason", err)
		return v, "", &closing{closeForbidden, "Forbidden: " + auth.PublicReason(err)}
	}
	return v, callerName(v, token), nil
}
