package httpapi

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/internal/wait"
	"patientgraph/resolvers"
)

// TestAbuseLargeBodiesShareABound holds as many requests of 1 MiB as there is room for:
// one more is told to come back, a small one is answered.
func TestAbuseLargeBodiesShareABound(t *testing.T) {
	t.Parallel()
	begun, leave := make(chan bool), make(chan bool)
	metrics := prometheus.NewRegistry()
	handler := withLanguage(newBodyRoom(newFaults(metrics)).middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			begun <- true
			<-leave
		}
	})))
	send := func(size int64) *httptest.ResponseRecorder {
		answer, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/graphql", nil)
		r.ContentLength = size
		r.Header.Set("Accept-Language", "ko")
		handler.ServeHTTP(answer, r)
		return answer
	}
	ended := make(chan int)
	for n := range maxBodies / maxBody {
		go func() { ended <- send([]int64{maxBody, -1, 10 * maxBody}[n%3]).Code }()
		<-begun
	}
	refused := send(maxBody)
	if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") != "1" || !strings.Contains(refused.Body.String(), resolvers.CodeUnavailable) {
		t.Errorf("status %d, %v, %s", refused.Code, refused.Header(), refused.Body)
	}
	if !strings.Contains(refused.Body.String(), "큰 요청") || refused.Header().Get("Content-Language") != "ko" {
		t.Errorf("in Korean: %v, %s", refused.Header(), refused.Body)
	}
	if counted := gathered(metrics); !strings.Contains(counted, "patientgraph_unavailable_answers_total 1\n") {
		t.Errorf("the refusal is not counted: %s", counted)
	}
	if small := send(0); small.Code != http.StatusOK {
		t.Errorf("a small one: status %d", small.Code)
	}
	close(leave)
	for range maxBodies / maxBody {
		if code := <-ended; code != http.StatusOK {
			t.Errorf("status %d", code)
		}
	}
	go func() { <-begun }()
	if code := send(maxBody).Code; code != http.StatusOK {
		t.Errorf("afterwards: status %d", code)
	}
}

func TestBodiesAreLookedAtBeforeTheyAreDecoded(t *testing.T) {
	t.Parallel()
	blanks := func(n int) string { return `{"query":"{ viewer { role } }"` + strings.Repeat(" ", n) + `}` }
	query := func(n int) string {
		return `{"variables":{"a":1},"query":"` + strings.Repeat(`\u0020`, n) + `","operationName":"A"}`
	}
	for body, says := range map[string]string{
		blanks(maxBlanks):                    "",
		blanks(maxBlanks + 1):                "more than 131072 blanks",
		query(maxQuery):                      "",
		` [{"query":"{ viewer { role } }"}]`: "batches are not supported",
		`{"query":"[{}]"}`:                   "",
		strings.Repeat("[", 1<<20):           "more than 32 deep",
	} {
		looked, bad := checkBody([]byte(body))
		if said := bad != nil && strings.Contains(bad.err.Message, says); said != (says != "") {
			t.Errorf("%.40s of %d bytes: %v, want %q", body, len(body), bad, says)
		}
		if says == "" && string(looked) != body {
			t.Errorf("%.40s became %.40s", body, looked)
		}
	}
	looked, bad := checkBody([]byte(query(100_000)))
	var request graphql.RawParams
	if err := json.Unmarshal(looked, &request); bad != nil || err != nil || request.OperationName != "A" || request.Variables["a"] != 1.0 {
		t.Errorf("%v, %v: %.100s", bad, err, looked)
	}
	if n := len(request.Query); n != maxQuery+1 {
		t.Errorf("a document that is too long has %d bytes left", n)
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
