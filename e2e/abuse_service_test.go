package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// TestAbuseHeadersOfEveryAnswer wants no answer with patient data kept or guessed at.
func TestAbuseHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	admin := Token(t, auth.RoleAdmin, "")
	for name, c := range map[string]struct{ method, path, bearer, accept, body string }{
		"data":       {http.MethodPost, "/graphql", admin, "", `{"query":"{ viewer { role } }"}`},
		"errors":     {http.MethodPost, "/graphql", admin, "", `{"query":"{ x }"}`},
		"no request": {http.MethodPost, "/graphql", admin, "", `x`},
		"no token":   {http.MethodPost, "/graphql", "", "", `{}`},
		"events":     {http.MethodPost, "/graphql", admin, "text/event-stream", `{"query":"{ viewer { role } }"}`},
		"by GET":     {http.MethodGet, "/graphql?query=%7Bviewer%7Brole%7D%7D", admin, "", ``},
		"readyz":     {http.MethodGet, "/readyz", "", "", ``},
		"metrics":    {http.MethodGet, "/metrics", "", "", ``},
		"not found":  {http.MethodGet, "/nowhere", "", "", ``},
	} {
		response, err := http.DefaultClient.Do(s.As(c.bearer).Request(c.method, c.path, c.body, "Accept", c.accept))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if h := response.Header; h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// TestAbuseReadyzAsksLittle asks 600 times at once while the FHIR server does not
// answer /metadata: one question leaves, and a write is made meanwhile.
func TestAbuseReadyzAsksLittle(t *testing.T) {
	t.Parallel()
	server, _ := StartFHIR(t, fhirsim.Options{})
	var asked atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/metadata") {
			asked.Add(1)
			<-r.Context().Done()
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	databaseURL := dbtest.SQLite(t)
	stored, _, _ := server.Get("a1")
	MustImport(t, databaseURL, string(stored))
	p := StartWith(t, front.URL+"/fhir", databaseURL, "FHIR_TIMEOUT=30s", "FHIR_SERVER=hapi") // else a start asks too
	ended := make(chan string)
	for range 600 {
		go func() {
			_, body := p.Get("/readyz?verbose")
			ended <- strings.TrimSpace(body)
		}()
	}
	wait.Until(t, "the FHIR server is asked", func() bool { return asked.Load() > 0 })
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
	for range 600 {
		if body := <-ended; body != `{"database":"ok","fhir":"unavailable"}` {
			t.Errorf("%s", body)
		}
	}
	if n := asked.Load(); n > 2 { // those that come after ten seconds ask again
		t.Errorf("the FHIR server was asked %d times", n)
	}
}

// TestAbusePatientsChangeTheirRecordAtABoundedRate grows the journal as fast as a
// patient can, until that is refused.
func TestAbusePatientsChangeTheirRecordAtABoundedRate(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	own := Token(t, auth.RolePatient, Number)
	refused := false
	for i := 0; i < 3_000 && !refused; i++ { // it takes 61 unless each takes a second
		body := Body(t, fmt.Sprintf(`mutation { updatePatientContact(input: {patientId: %q, phone: "010-1111-%04d"}) { __typename } }`, Number, i), nil)
		answer := s.As(own).Post(body)
		if answer.ErrorCode() == "LIMIT_EXCEEDED" {
			refused = true
			if seconds, _ := Object(answer.At("errors").([]any)[0].(map[string]any)).At("extensions", "retryAfterSeconds").(float64); seconds < 1 {
				t.Fatalf("no hint when to try again: %v", answer)
			}
		}
	}
	if !refused {
		t.Error("no change was refused")
	}
	Want(t, s.Update(Object{"patientId": Number, "phone": "010-2345-6789"}), Object{"__typename": "UpdatePatientContactSuccess"})
}

// TestAbuseAWebSocketIsCountedForWhoItActsAs: its header has one token, and
// connection_init another.
func TestAbuseAWebSocketIsCountedForWhoItActsAs(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "RATE_LIMIT=1")
	nurse, doctor := TokenOf(t, Object{"sub": "nurse", "role": "nurse"}), TokenOf(t, Object{"sub": "doctor", "role": "doctor"})
	socket, _, err := s.Dial("graphql-transport-ws", "Authorization", "Bearer "+nurse)
	if err != nil {
		t.Fatal(err)
	}
	socket.Send(Object{"type": "connection_init", "payload": Object{"Authorization": "Bearer " + doctor}})
	Want(t, socket.Next(), Object{"type": "connection_ack"})
	refused := false
	for i := 0; i < 3_000 && !refused; i++ {
		socket.Subscribe(fmt.Sprint(i), `{ viewer { role } }`, nil)
		message := socket.Next()
		if refused = message["type"] == "error"; !refused {
			Want(t, message, Object{"payload.data.viewer.role": "doctor"})
			socket.Next() // complete
		}
	}
	answer := s.As(doctor).Post(Body(t, `{ viewer { role } }`, nil))
	if !refused || answer.Status != http.StatusTooManyRequests {
		t.Errorf("refused over the WebSocket: %v; then by HTTP: %d", refused, answer.Status)
	}
	Want(t, s.As(nurse).Query(`{ viewer { role } }`, nil), Object{"viewer.role": "nurse"})
}

// TestAbuseACallerAsksTooOften asks until that is refused; another caller is not.
func TestAbuseACallerAsksTooOften(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "RATE_LIMIT=1")
	flood := s.As(TokenOf(t, Object{"sub": "flood", "role": "nurse"}))
	var answer Answer
	for i := 0; i < 3_000 && answer.ErrorCode() == ""; i++ { // it takes six unless each takes a second
		answer = flood.Post(Body(t, `{ viewer { role } }`, nil))
	}
	if answer.Status != http.StatusTooManyRequests || answer.ErrorCode() != "LIMIT_EXCEEDED" || !strings.Contains(JSON(t, answer.Object), `"retryAfterSeconds":1`) {
		t.Errorf("status %d, %v", answer.Status, answer.Object)
	}
	other := s.As(TokenOf(t, Object{"sub": "another", "role": "nurse"}))
	Want(t, other.Query(`{ viewer { role } }`, nil), Object{"viewer.role": "nurse"})
}
