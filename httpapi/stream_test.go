package httpapi

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/coder/websocket"

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
		"application/json;q=0.9, text/event-stream":                                &sse,
		"text/event-stream;q=0.5, application/json":                                nil,
		"text/event-stream;q=0":                                                    nil,
		"text/event-stream;q=x":                                                    nil,
		"text/html, text/event-stream":                                             &sse,
		"multipart/mixed":                                                          nil,
		"multipart/mixed;deferSpec=20220824, */*":                                  nil,
		"multipart/mixed;subscriptionSpec=1.0":                                     &multipartMixed,
		`multipart/mixed;subscriptionSpec="1.0"`:                                   &multipartMixed,
		"multipart/mixed;subscriptionSpec=2.0":                                     nil,
		"multipart/mixed; boundary=graphql; SUBSCRIPTIONSPEC=1.0,application/json": &multipartMixed,
		"multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9": &multipartMixed, // Apollo Client
		`multipart/mixed;boundary="graphql";subscriptionSpec=1.0, application/json`:                                      &multipartMixed,
		"multipart/mixed;deferSpec=20220824,multipart/mixed;subscriptionSpec=1.0,application/json":                       &multipartMixed,
		strings.Repeat("text/event-stream;q=0.1,", 2000) + "multipart/mixed;subscriptionSpec=1.0;q=0.2, ;;;, a/b;c, \"":  &multipartMixed,
	} {
		r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
		r.Header.Set("Accept", accept)
		if got := chosenFraming(r); got != want {
			t.Errorf("%.100q: %+v", accept, got)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header["Accept"] = []string{"application/json;q=0.1", "text/event-stream"}
	if chosenFraming(r) != &sse {
		t.Error("of two headers the second is not read")
	}
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

// listening serves subscriptions that wait, to an admin. Like the product's, the server
// ends requests that take too long to arrive.
func listening(t *testing.T, o Options, wrap func(http.Handler) http.Handler) (url string) {
	t.Helper()
	o.Resolver = &resolvers.Resolver{Writer: undecided{}, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	if o.Log == nil {
		o.Log = o.Resolver.Log
	}
	handler := checkedRequest(newGraphQL(o))
	if wrap != nil {
		handler = wrap(handler)
	}
	viewer := auth.Viewer{Role: auth.RoleAdmin, Expires: time.Now().Add(time.Hour)}
	server := httptest.NewUnstartedServer(guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(auth.WithViewer(r.Context(), viewer)))
	})))
	server.Config.ReadTimeout = 50 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

const waitingSubscription = `{"query":"subscription { contactUpdateSettled(operationId: \"op\") { state } }"}`

// TestSubscriptionsShowLifeWhileNothingHappens: longer than a request may take to arrive.
func TestSubscriptionsShowLifeWhileNothingHappens(t *testing.T) {
	t.Parallel()
	url := listening(t, Options{timing: timing{heartbeat: 10 * time.Millisecond}}, nil)
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
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		Subprotocols: []string{transportWS}, OnPingReceived: func(context.Context, []byte) bool { pinged++; return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, message := range []string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1","payload":` + waitingSubscription + `}`} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 20 || pinged < 10; n++ {
		_, text, err := conn.Read(t.Context())
		if err != nil || string(text) != `{"type":"ping"}` && string(text) != `{"type":"connection_ack"}` {
			t.Fatalf("message %d is %s, %v", n, text, err)
		}
	}
}

func TestAWebSocketThatSaysNothingIsClosed(t *testing.T) {
	t.Parallel()
	url := listening(t, Options{timing: timing{init: 10 * time.Millisecond}}, nil)
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{transportWS}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != closeInitTimeout {
		t.Errorf("it ended with %v", err)
	}
}

// TestAClientThatAnswersNoPingIsDropped: its connection may be dead.
func TestAClientThatAnswersNoPingIsDropped(t *testing.T) {
	t.Parallel()
	url := listening(t, Options{timing: timing{heartbeat: 10 * time.Millisecond, send: 50 * time.Millisecond}}, nil)
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		Subprotocols: []string{transportWS}, OnPingReceived: func(context.Context, []byte) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"connection_init"}`)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if code := websocket.CloseStatus(err); code != -1 { // a dead one would read nothing
		t.Errorf("it was closed with %d", code)
	}
}

// endless is a GraphQL server whose answers do not end.
type endless struct {
	graphql.GraphExecutor
	answered chan struct{} // closed when nobody takes any more
}

func (e endless) DispatchOperation(ctx context.Context, _ *graphql.OperationContext) (graphql.ResponseHandler, context.Context) {
	context.AfterFunc(ctx, func() { close(e.answered) })
	large := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	return func(ctx context.Context) *graphql.Response {
		if ctx.Err() != nil {
			return nil
		}
		return &graphql.Response{Data: large}
	}, ctx
}

// TestAbuseAClientThatDoesNotReceiveIsCutOff: what waits for it is one answer.
func TestAbuseAClientThatDoesNotReceiveIsCutOff(t *testing.T) {
	t.Parallel()
	answered := make(chan struct{})
	o := Options{Log: slog.New(slog.DiscardHandler), timing: timing{send: 50 * time.Millisecond}}
	url := listening(t, o, func(next http.Handler) http.Handler {
		sockets := &webSockets{Options: o, metrics: newStreamMetrics(nil), answers: &answerLimit{}}
		executor := executor.New(graph.NewExecutableSchema(graph.Config{Resolvers: &resolvers.Resolver{}}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sockets.Do(w, r, endless{executor, answered}) })
	})
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{transportWS}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, message := range []string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1","payload":` + waitingSubscription + `}`} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, "it is cut off", func() bool {
		select {
		case <-answered:
			return true
		default:
			return false
		}
	})
}
