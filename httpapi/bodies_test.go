package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/internal/wait"
	"patientgraph/resolvers"
)

func (r *room) isEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all == 0 && len(r.taken) == 0
}

// crowd reads bodies whole and keeps them until it is told to leave.
type crowd struct {
	http.Handler
	room    *bodyRoom
	metrics *prometheus.Registry
	read    chan error
	leave   chan bool
}

func newCrowd() *crowd {
	c := &crowd{metrics: prometheus.NewRegistry(), read: make(chan error), leave: make(chan bool)}
	c.room = newBodyRoom(newFaults(c.metrics))
	c.Handler = known(withLanguage(c.room.middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := readBody(w, r)
		var crowded *gqlerror.Error
		if errors.As(err, &crowded) {
			refuse(w, r, http.StatusServiceUnavailable, crowded)
			return
		}
		c.read <- err
		<-c.leave
	}))))
	return c
}

// send answers when the crowd leaves, or refuses.
func (c *crowd) send(caller string, body io.Reader, size int64) *httptest.ResponseRecorder {
	answer, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/graphql", body)
	r.ContentLength = size
	r.Header.Set("Accept-Language", "ko")
	r = r.WithContext(auth.WithViewer(r.Context(), auth.Viewer{Subject: caller}))
	c.ServeHTTP(answer, r)
	return answer
}

// fill sends the largest bodies of one caller until one is refused, which it returns.
func (c *crowd) fill(caller string) (taken int, refused *httptest.ResponseRecorder) {
	ended := make(chan *httptest.ResponseRecorder, maxBodies/largeBody)
	for ; ; taken++ {
		go func() { ended <- c.send(caller, strings.NewReader(strings.Repeat("x", maxBody)), -1) }()
		select {
		case <-c.read:
		case refused := <-ended:
			return taken, refused
		}
	}
}

// TestAbuseLargeBodiesShareABound lets callers send as many large requests as there is
// room for: each has a quarter of it, one more is told to come back, a small one is
// answered.
func TestAbuseLargeBodiesShareABound(t *testing.T) {
	t.Parallel()
	c := newCrowd()
	const quarter = maxBodies / shares / (maxBody - largeBody)
	for _, caller := range []string{"a", "b", "c", "d", "e"} {
		want := quarter
		if caller == "e" {
			want = 0
		}
		taken, refused := c.fill(caller)
		if taken != want {
			t.Errorf("%s may have %d large requests under way, want %d", caller, taken, want)
		}
		if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") != "1" || !strings.Contains(refused.Body.String(), resolvers.CodeUnavailable) {
			t.Errorf("status %d, %v, %s", refused.Code, refused.Header(), refused.Body)
		}
		if !strings.Contains(refused.Body.String(), "큰 요청") || refused.Header().Get("Content-Language") != "ko" {
			t.Errorf("in Korean: %v, %s", refused.Header(), refused.Body)
		}
	}
	if counted := gathered(c.metrics); !strings.Contains(counted, "patientgraph_unavailable_answers_total 5\n") {
		t.Errorf("the refusals are not counted: %s", counted)
	}
	go c.send("a", strings.NewReader(strings.Repeat("x", largeBody)), largeBody)
	if err := <-c.read; err != nil {
		t.Errorf("a small one: %v", err)
	}
	// What can never succeed is not told to come back.
	if never := c.send("f", failingReader{}, maxBody+1); never.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: status %d", never.Code)
	}
	close(c.leave)
	wait.Until(t, "all room is given back", c.room.isEmpty)
}

// failingReader is a body of which nothing may be asked: Expect: 100-continue would be
// answered.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { panic("the body was read") }

// TestAbuseWhoSendsNothingTakesNoRoom stalls more bodies than there would be room for.
func TestAbuseWhoSendsNothingTakesNoRoom(t *testing.T) {
	t.Parallel()
	c := newCrowd()
	defer close(c.leave)
	for n := range 2 * maxBodies / maxBody {
		stalled, sender := io.Pipe()
		go c.send("a", stalled, []int64{maxBody, -1}[n%2])
		if _, err := sender.Write([]byte("{")); err != nil { // until it is read
			t.Fatal(err)
		}
		defer func() {
			sender.Close()
			<-c.read
		}()
	}
	go c.send("a", strings.NewReader(strings.Repeat("x", maxBody)), maxBody)
	if err := <-c.read; err != nil {
		t.Error(err)
	}
}

// TestAbuseTheRestOfALargeBodyMustComeSoon sends what takes room, and no more.
func TestAbuseTheRestOfALargeBodyMustComeSoon(t *testing.T) {
	t.Parallel()
	read := make(chan error, 4)
	serve := func(restTime time.Duration) *httptest.Server {
		room := newBodyRoom(newFaults(prometheus.NewRegistry()))
		room.restTime = restTime
		server := httptest.NewServer(guarded(known(room.middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := readBody(w, r)
			read <- err
			if err != nil {
				return
			}
			select { // all has come, and nothing hurries any more
			case <-r.Context().Done():
				t.Error("the request ended")
			case <-time.After(restTime + restTime/2):
			}
		})))))
		t.Cleanup(server.Close)
		return server
	}
	patient := serve(2 * time.Second)
	var sent sync.WaitGroup
	for _, size := range []int{largeBody + 1, maxBody} { // of the first the last byte alone takes room
		text := strings.Repeat("x", size)
		for _, body := range []io.Reader{strings.NewReader(text), io.MultiReader(strings.NewReader(text))} { // whose length is told, or not
			sent.Go(func() {
				response, err := http.Post(patient.URL, jsonType, body)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
			})
		}
	}
	sent.Wait()
	for range 4 {
		if err := <-read; err != nil {
			t.Errorf("a body that comes at once: %v", err)
		}
	}
	server := serve(100 * time.Millisecond)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", largeBody+1)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a body that stalls: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a body that stalls is waited for")
	}
}

func TestWhatIsForgottenOnceASubscriptionHasBegun(t *testing.T) {
	t.Parallel()
	for kind, forgets := range map[ast.Operation]bool{ast.Subscription: true, ast.Query: false, ast.Mutation: false} {
		asked := &graphql.RawParams{Query: "x", Variables: map[string]any{"undeclared": "x"}}
		ctx := withInfo(t.Context(), &requestInfo{parameters: asked})
		forgetRequest(graphql.WithOperationContext(ctx, &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: kind}}))
		if forgot := asked.Variables == nil; forgot != forgets {
			t.Errorf("%s: %v is kept", kind, asked)
		}
	}
}

func TestOnlyWhatIsReadOfTheExtensionsIsKept(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`null`:                    `null`,
		`{"x":"y"}`:               `null`,
		`{"persistedQuery":7}`:    `{"persistedQuery":7}`, // and refused later
		`{"persistedQuery":null}`: `null`,
		`{"x":"y","persistedQuery":{"version":1,"sha256Hash":"h","x":"y"}}`: `{"persistedQuery":{"sha256Hash":"h","version":1}}`,
	} {
		asked, bad := readParameters([]byte(`{"extensions":` + given + `}`))
		if bad != nil {
			t.Fatal(bad.err)
		}
		if kept, _ := json.Marshal(asked.Extensions); string(kept) != want {
			t.Errorf("of %s %s is kept, want %s", given, kept, want)
		}
	}
}

func TestBodiesAreLookedAtBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	blanks := func(n int) string { return `{"query":"{ viewer { role } }"` + strings.Repeat(" ", n) + `}` }
	for body, says := range map[string]string{
		blanks(maxBlanks):                    "",
		blanks(maxBlanks + 1):                "more than 131072 blanks",
		` [{"query":"{ viewer { role } }"}]`: "batches are not supported",
		`{"query":"[{}]"}`:                   "",
		strings.Repeat("[", 1<<20):           "more than 32 deep",
	} {
		bad := checkBody([]byte(body))
		if said := bad != nil && strings.Contains(bad.err.Message, says); said != (says != "") {
			t.Errorf("%.40s of %d bytes: %v, want %q", body, len(body), bad, says)
		}
	}
}

// TestAbuseSlowSendersAreCut sends a part of a header, and of a body, and no more.
func TestAbuseSlowSendersAreCut(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	server := NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	}), log.New(io.Discard, "", 0))
	if server.ReadHeaderTimeout == 0 || server.ReadTimeout == 0 || server.IdleTimeout == 0 {
		t.Error("a client may take for ever")
	}
	server.ReadHeaderTimeout, server.ReadTimeout = server.ReadHeaderTimeout/100, server.ReadTimeout/300
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	for _, part := range []string{"POST / HTTP/1.1\r\nHost: x\r\nConte", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil { // until the server hangs up
			t.Errorf("the connection ended with %v", err)
		}
	}
	wait.Until(t, "the handler has given up", func() bool { return len(read) == 1 })
	if err := <-read; err == nil {
		t.Error("a body of 1,000 bytes was read of which one came")
	}
}
