package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/internal/wait"
	"patientgraph/resolvers"
	"patientgraph/writethrough"
)

func TestWhatAClientLikesBestIsChosen(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]*framing{
		"":                                    nil,
		"*/*":                                 nil,
		"application/json":                    nil,
		"text/event-stream":                   &sse,
		"Text/Event-Stream":                   &sse,
		"text/event-stream; charset=utf-8":    &sse,
		"text/event-stream, application/json": &sse,
		"text/event-stream, multipart/mixed":  &sse, // urql
		"application/json, text/event-stream": nil,
		"application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed": nil, // urql's queries
		"application/json;q=0.9, text/event-stream":     &sse,
		"text/event-stream;q=0.5, application/json":     nil,
		"text/event-stream;q=0":                         nil,
		"text/event-stream;q=x":                         &sse,
		"text/event-stream;q=2":                         &sse,
		"text/*":                                        &sse,
		"application/*;q=0, */*":                        &sse,
		"multipart/*":                                   &multipartMixed,
		"multipart/mixed;subscriptionSpec=1.0;q=0, */*": nil,
		"text/html, text/event-stream":                  &sse,
		"multipart/mixed":                               nil,
		"multipart/mixed;deferSpec=20220824, */*":       nil,
		"multipart/mixed;subscriptionSpec=1.0":          &multipartMixed,
		`multipart/mixed;subscriptionSpec="1.0"`:        &multipartMixed,
		"multipart/mixed;subscriptionSpec=2.0":          nil,
		"multipart/mixed; boundary=graphql; SUBSCRIPTIONSPEC=1.0,application/json":                                       &multipartMixed,
		"multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9": &multipartMixed, // Apollo Client
		`multipart/mixed;boundary="graphql";subscriptionSpec=1.0, application/json`:                                      &multipartMixed,
		"multipart/mixed;deferSpec=20220824,multipart/mixed;subscriptionSpec=1.0,application/json":                       &multipartMixed,
		strings.Repeat("text/event-stream;q=0.1,", 50) + "multipart/mixed;subscriptionSpec=1.0;q=0.2, ;;;, a/b;c, \"":    &multipartMixed,
	} {
		if got := streamFor(accept); got != want {
			t.Errorf("%.100q: %+v", accept, got)
		}
	}
	if streamFor("application/json;q=0.1", "text/event-stream") != &sse {
		t.Error("of two headers the second is not read")
	}
}

// streamFor is how a client that sends these headers gets a stream; nil: it gets none.
func streamFor(accept ...string) (stream *framing) {
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header["Accept"] = accept
	known(negotiated(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stream = infoOf(r.Context()).agreed.stream }))).ServeHTTP(httptest.NewRecorder(), r)
	return stream
}

// undecided is a Writer with one update, whose end nobody learns.
type undecided struct{ resolvers.Writer }

func (undecided) ContactUpdate(context.Context, string) (*writethrough.Update, error) {
	return &writethrough.Update{OperationID: "op", PatientID: "P-1", State: db.UpdateUnknown}, nil
}

func (undecided) Await(ctx context.Context, _ string) (*writethrough.Update, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// listening serves subscriptions that wait, to an admin; with an executor, that alone.
func listening(t *testing.T, s server, executor graphql.GraphExecutor) (url string) {
	t.Helper()
	listener := httptest.NewServer(waiting(s, executor))
	t.Cleanup(listener.Close)
	return listener.URL
}

func waiting(s server, executor graphql.GraphExecutor) http.Handler {
	s.timing, s.Metrics = s.timing.orUsual(), prometheus.NewRegistry()
	s.faults = newFaults(s.Metrics)
	if s.bodies == nil {
		s.bodies = newBodyRoom(s.faults)
	}
	s.Log = slog.New(slog.DiscardHandler)
	s.Resolver = &resolvers.Resolver{Writer: undecided{}, Log: s.Log, Now: time.Now}
	handler := negotiated(checkedRequest(newGraphQL(&s)))
	if executor != nil {
		sockets := newWebSockets(&s, delivery{newStreamMetrics(prometheus.NewRegistry()), newAnswerLimit()})
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sockets.Do(w, r, executor) })
	}
	viewer := auth.Viewer{Role: auth.RoleAdmin, Expires: time.Now().Add(time.Hour)}
	return guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known(handler).ServeHTTP(w, r.WithContext(auth.WithViewer(r.Context(), viewer)))
	}))
}

// dial opens a WebSocket and sends messages.
func dial(t *testing.T, url string, options websocket.DialOptions, messages ...string) *websocket.Conn {
	t.Helper()
	options.Subprotocols = []string{transportWS}
	conn, _, err := websocket.Dial(t.Context(), url, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	for _, message := range messages {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// TestAnIdleWebSocketKeepsNoRequest: the handler of the request returns, and the socket goes
// on; what a client sent behind its request is not lost.
func TestAnIdleWebSocketKeepsNoRequest(t *testing.T) {
	t.Parallel()
	handler, returned := waiting(server{}, nil), make(chan struct{})
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		handler.ServeHTTP(w, r)
	}))
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const ping = `{"type":"ping"}` // its mask is of zeros
	fmt.Fprintf(conn, "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n%s%s", transportWS, []byte{0x81, byte(0x80 | len(ping)), 0, 0, 0, 0}, ping)
	answers := bufio.NewReader(conn)
	wait.Until(t, "the early ping is answered", func() bool {
		line, err := answers.ReadString('}')
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(line, "pong")
	})
	<-returned
}

const initMessage = `{"type":"connection_init"}`

func subscribeMessage(id string) string {
	return `{"type":"subscribe","id":"` + id + `","payload":` + waitingSubscription + `}`
}

const waitingSubscription = `{"query":"subscription { contactUpdateSettled(operationId: \"op\") { state } }"}`

func TestSubscriptionsShowLifeWhileNothingHappens(t *testing.T) {
	t.Parallel()
	url := listening(t, server{timing: timing{heartbeat: 10 * time.Millisecond}}, nil)
	for accept, heartbeat := range map[string]string{
		"text/event-stream":                    ":\n\n",
		"multipart/mixed;subscriptionSpec=1.0": "Content-Type: application/json\r\n\r\n{}\r\n--graphql\r\n",
	} {
		ctx, leave := context.WithCancel(t.Context())
		request, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(waitingSubscription))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(response.Body)
		if accept != "text/event-stream" {
			if _, err := io.ReadFull(body, make([]byte, len("--graphql\r\n"))); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 20 {
			text := make([]byte, len(heartbeat))
			if _, err := io.ReadFull(body, text); err != nil || string(text) != heartbeat {
				t.Fatalf("%s: heartbeat %d is %q, %v", accept, n, text, err)
			}
		}
		leave()
		response.Body.Close()
	}
	pinged := 0
	conn := dial(t, url, websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { pinged++; return true }}, initMessage, subscribeMessage("1"))
	for n := 0; n < 20 || pinged < 10; n++ {
		_, text, err := conn.Read(t.Context())
		if err != nil || string(text) != `{"type":"ping"}` && string(text) != `{"type":"connection_ack"}` {
			t.Fatalf("message %d is %s, %v", n, text, err)
		}
	}
}

// TestASubscriptionOfALargeRequestIsRefused: it would be kept as long as its token lasts.
func TestASubscriptionOfALargeRequestIsRefused(t *testing.T) {
	t.Parallel()
	room := newBodyRoom(newFaults(prometheus.NewRegistry()))
	handler := known(room.middleware(waiting(server{}, nil)))
	large := `{"variables":{"x":"` + strings.Repeat("x", 2*largeBody) + `"},` + waitingSubscription[1:]
	for _, accept := range []string{jsonType, sse.mediaType, "multipart/mixed;subscriptionSpec=1.0"} {
		answer := ask(handler, http.MethodPost, "/graphql", large, "Accept", accept)
		if text, _ := io.ReadAll(answer.Body); !strings.Contains(string(text), "LIMIT_EXCEEDED") {
			t.Errorf("%s: %s", accept, text)
		}
		if !room.isEmpty() {
			t.Errorf("%s: it keeps room", accept)
		}
	}
}

// TestAHandshakeThatIsNoneIsRefusedAsEverythingIs: as JSON, and without what was sent.
func TestAHandshakeThatIsNoneIsRefusedAsEverythingIs(t *testing.T) {
	t.Parallel()
	handler := endpoint(t, Options{})
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	for name, c := range map[string]struct {
		version, key string
		status       int
	}{
		"another version": {"Solveig", key, http.StatusUpgradeRequired},
		"no version":      {"", key, http.StatusUpgradeRequired},
		"no key":          {"13", "", http.StatusBadRequest},
		"a short key":     {"13", "U29sdmVpZw==", http.StatusBadRequest},
		"no base64":       {"13", "Solveig", http.StatusBadRequest},
	} {
		response := ask(handler, http.MethodGet, "/graphql", "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", c.version, "Sec-WebSocket-Key", c.key)
		body, code := read(t, response)
		if response.StatusCode != c.status || code != "BAD_USER_INPUT" || response.Header.Get("Sec-WebSocket-Version") != "13" || strings.Contains(fmt.Sprint(body), "Solveig") {
			t.Errorf("%s: status %d, %v, %v", name, response.StatusCode, response.Header, body)
		}
	}
}

func TestAWebSocketThatSaysNothingIsClosed(t *testing.T) {
	t.Parallel()
	conn := dial(t, listening(t, server{timing: timing{init: 10 * time.Millisecond}}, nil), websocket.DialOptions{})
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != closeInitTimeout {
		t.Errorf("it ended with %v", err)
	}
}

// TestAClientThatAnswersNoPingIsDropped: its connection may be dead.
func TestAClientThatAnswersNoPingIsDropped(t *testing.T) {
	t.Parallel()
	url := listening(t, server{timing: timing{heartbeat: 10 * time.Millisecond, send: 50 * time.Millisecond}}, nil)
	conn := dial(t, url, websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	var err error
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if code := websocket.CloseStatus(err); code != -1 { // a dead one would read nothing
		t.Errorf("it was closed with %d", code)
	}
}

// TestAbuseAMessageMustComeInTime: what has come of it is held until it is whole.
func TestAbuseAMessageMustComeInTime(t *testing.T) {
	t.Parallel()
	conn := dial(t, listening(t, server{timing: timing{receive: 50 * time.Millisecond}}, nil), websocket.DialOptions{}, initMessage)
	if _, _, err := conn.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // between two messages it may be silent
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.Read(t.Context()); err != nil || string(text) != `{"type":"pong"}` {
		t.Fatalf("heard %s, %v", text, err)
	}
	message, err := conn.Writer(t.Context(), websocket.MessageText)
	if err == nil {
		_, err = message.Write([]byte(strings.Repeat(" ", 8<<10))) // a first fragment, and no other
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("it ended with %v", err)
	}
}

// scripted is a GraphQL server that answers as respond says.
type scripted struct {
	graphql.GraphExecutor
	respond graphql.ResponseHandler
	left    chan struct{} // gets an element from each operation that nobody awaits any more
}

func script(respond graphql.ResponseHandler) scripted {
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: &resolvers.Resolver{}})
	return scripted{executor.New(schema), respond, make(chan struct{}, maxAtOnce)}
}

func (s scripted) DispatchOperation(ctx context.Context, _ *graphql.OperationContext) (graphql.ResponseHandler, context.Context) {
	context.AfterFunc(ctx, func() { s.left <- struct{}{} })
	return s.respond, ctx
}

// TestAnEventTakesNoRoomWhileTheNextIsAwaited, which may come hours later.
func TestAnEventTakesNoRoomWhileTheNextIsAwaited(t *testing.T) {
	t.Parallel()
	d := delivery{newStreamMetrics(prometheus.NewRegistry()), newAnswerLimit()}
	info := &requestInfo{}
	defer d.answers.begin(info, &recipient{caller: "a"})()
	told := 0
	exec := script(func(context.Context) *graphql.Response {
		if taken := d.answers.large.all + info.size.to.underWay.Load(); taken != 0 {
			t.Errorf("after %d events their room is %d bytes", told, taken)
		}
		if told == 2 {
			return nil
		}
		d.answers.count(info.size, 2*largeAnswer)
		return &graphql.Response{Data: []byte("{}")}
	})
	rc := &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: ast.Subscription}}
	ended, _ := d.deliver(withInfo(t.Context(), info), overWebSocket, exec, rc, func(*graphql.Response) error {
		told++
		return nil
	})
	if told != 2 || ended != endedComplete {
		t.Errorf("%d events were told; it ended as %s", told, ended)
	}
}

// TestWhoLeavesAsAnOperationBeginsHasLeft, whatever the operation makes of it.
func TestWhoLeavesAsAnOperationBeginsHasLeft(t *testing.T) {
	t.Parallel()
	d := delivery{newStreamMetrics(prometheus.NewRegistry()), newAnswerLimit()}
	for _, kind := range []ast.Operation{ast.Query, ast.Mutation, ast.Subscription} {
		for name, response := range map[string]*graphql.Response{"an error": {Errors: gqlerror.List{serverStops()}}, "nothing": nil} {
			ctx, leave := context.WithCancel(t.Context())
			exec := script(func(context.Context) *graphql.Response {
				leave()
				return response
			})
			rc := &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: kind}}
			if ended, failure := d.deliver(ctx, overWebSocket, exec, rc, nil); ended != endedLeft || failure != nil {
				t.Errorf("a %s with %s ended as %s: %v", kind, name, ended, failure)
			}
		}
	}
}

// TestWhoLeavesHasHisPlaceAgain: of the subscriptions that a viewer may have.
func TestWhoLeavesHasHisPlaceAgain(t *testing.T) {
	t.Parallel()
	d := delivery{newStreamMetrics(prometheus.NewRegistry()), newAnswerLimit()}
	r := &resolvers.Resolver{Writer: undecided{}, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	exec := executor.New(graph.NewExecutableSchema(graph.Config{Resolvers: r}))
	viewer := auth.Viewer{Role: auth.RoleAdmin, Expires: time.Now().Add(time.Hour)}
	for n := range 60 {
		ctx, leave := context.WithCancel(auth.WithViewer(t.Context(), viewer))
		time.AfterFunc(10*time.Millisecond, leave)
		asked := graphql.RawParams{Query: `subscription { contactUpdateSettled(operationId: "op") { __typename } }`}
		ctx, rc, _, errs := begin(withInfo(ctx, &requestInfo{}), exec, asked, http.MethodPost)
		if errs != nil {
			t.Fatal(errs)
		}
		if ended, failure := d.deliver(ctx, overWebSocket, exec, rc, nil); ended != endedLeft {
			t.Fatalf("subscription %d ended as %s: %v", n+1, ended, failure)
		}
	}
}

// TestAbuseAClientThatDoesNotReceiveIsCutOff: what waits for it is one answer.
func TestAbuseAClientThatDoesNotReceiveIsCutOff(t *testing.T) {
	t.Parallel()
	large := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	endless := script(func(ctx context.Context) *graphql.Response {
		if ctx.Err() != nil {
			return nil
		}
		return &graphql.Response{Data: large}
	})
	dial(t, listening(t, server{timing: timing{send: time.Second}}, endless), websocket.DialOptions{}, initMessage, subscribeMessage("1"))
	<-endless.left
}

func TestAbuseOperationsOfOneWebSocketAreBounded(t *testing.T) {
	t.Parallel()
	stuck := script(func(ctx context.Context) *graphql.Response {
		<-ctx.Done()
		return nil
	})
	messages := []string{initMessage}
	for n := range maxAtOnce + 1 {
		messages = append(messages, subscribeMessage(fmt.Sprint(n)))
	}
	conn := dial(t, listening(t, server{}, stuck), websocket.DialOptions{}, messages...)
	read := func() string {
		t.Helper()
		_, text, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if ack := read(); ack != `{"type":"connection_ack"}` {
		t.Errorf("first came %s", ack)
	}
	if refused := read(); !strings.HasPrefix(refused, `{"id":"100","type":"error"`) || !strings.Contains(refused, "100 operations") || !strings.Contains(refused, resolvers.CodeLimitExceeded) {
		t.Errorf("one more hears %s", refused)
	}
	for _, message := range []string{`{"type":"complete","id":"7"}`, subscribeMessage("100"), `{"type":"ping"}`} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	if pong := read(); pong != `{"type":"pong"}` {
		t.Errorf("after one was completed, another hears %s", pong)
	}
}

// TestAbuseOperationsOfOneViewerAreBounded opens as many over several WebSockets as one
// viewer may have, and one more.
func TestAbuseOperationsOfOneViewerAreBounded(t *testing.T) {
	t.Parallel()
	began := make(chan *recipient, maxOfViewer)
	stuck := script(func(ctx context.Context) *graphql.Response {
		began <- infoOf(ctx).size.to
		<-ctx.Done()
		return nil
	})
	url := listening(t, server{}, stuck)
	messages := []string{initMessage}
	for n := range maxAtOnce {
		messages = append(messages, subscribeMessage(fmt.Sprint(n)))
	}
	sockets := map[*recipient]int{}
	var conn *websocket.Conn
	for range maxOfViewer / maxAtOnce {
		conn = dial(t, url, websocket.DialOptions{}, messages...)
		for range maxAtOnce {
			sockets[<-began]++
		}
	}
	if len(sockets) != maxOfViewer/maxAtOnce { // the answers of one WebSocket are counted together
		t.Errorf("the answers are for %v", sockets)
	}
	next := dial(t, url, websocket.DialOptions{}, initMessage, subscribeMessage("1"))
	var heard string
	for range 2 {
		_, text, err := next.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		heard += string(text)
	}
	if !strings.Contains(heard, `{"id":"1","type":"error"`) || !strings.Contains(heard, "500 operations") || !strings.Contains(heard, resolvers.CodeLimitExceeded) {
		t.Errorf("one more hears %s", heard)
	}
	_ = conn.CloseNow()
	wait.Until(t, "there is room again", func() bool {
		_ = next.Write(t.Context(), websocket.MessageText, []byte(subscribeMessage("1"))) // the id is free, or the socket is closed
		return len(began) > 0
	})
}

// TestAbuseLargeMessagesTakeRoomAmongTheBodies: until their operations have ended, or
// their subscriptions begun.
func TestAbuseLargeMessagesTakeRoomAmongTheBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query string
		size  int
		takes bool
	}{
		{`{ viewer { role } }`, largeMessage, true},
		{`{ viewer { role } }`, largeMessage / 2, false},
		{`subscription { contactUpdateSettled(operationId: 7) { state } }`, largeMessage, false},
	} {
		room, taken := newBodyRoom(nil), make(chan int64)
		executing := script(func(context.Context) *graphql.Response {
			room.mu.Lock()
			defer room.mu.Unlock()
			taken <- room.all
			return nil
		})
		dial(t, listening(t, server{bodies: room}, executing), websocket.DialOptions{}, initMessage,
			`{"type":"subscribe","id":"1","payload":{"query":"`+c.query+` #`+strings.Repeat("x", c.size)+`"}}`)
		if n := <-taken; n > largeMessage != c.takes || !c.takes && n != 0 {
			t.Errorf("%s, %d bytes, takes %d", c.query, c.size, n)
		}
		wait.Until(t, "all room is given back", room.isEmpty)
	}
	full := newBodyRoom(newFaults(prometheus.NewRegistry()))
	s := &socket{webSockets: &webSockets{server: &server{bodies: full}}, caller: "a"}
	full.take("a", maxBodies/shares)
	if _, _, err := s.enter(maxReceived); err == nil || err.Extensions["code"] != resolvers.CodeUnavailable {
		t.Errorf("a large one hears %v", err)
	}
	ended, forget, err := s.enter(largeMessage)
	if err != nil {
		t.Errorf("a small one hears %v", err)
	}
	ended()
	forget()
	full.giveBack("a", maxBodies/shares)
	if !full.isEmpty() {
		t.Errorf("%v are taken", full.taken)
	}
	if end, ok := s.operations.Begin(s.viewer, 1); !ok {
		t.Error("an operation that was refused is counted")
	} else {
		end()
	}
}

// A fault of ours ends one operation: nothing else recovers in its goroutine.
func TestAPanicEndsOneOperationOfAWebSocket(t *testing.T) {
	t.Parallel()
	faulty := script(func(context.Context) *graphql.Response { panic("Okoro, born 1960") })
	conn := dial(t, listening(t, server{}, faulty), websocket.DialOptions{}, initMessage, subscribeMessage("1"), `{"type":"ping"}`)
	var heard string
	for range 3 {
		_, text, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		heard += string(text)
	}
	if !strings.Contains(heard, `"type":"pong"`) || !strings.Contains(heard, `{"id":"1","type":"error","payload":[{`) ||
		!strings.Contains(heard, `"code":"INTERNAL"`) || strings.Contains(heard, "Okoro") {
		t.Errorf("heard %s", heard)
	}
}
