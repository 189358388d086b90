package proofs_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// rig is the product in front of toxiproxy, in front of a server that answers
// as a script says, in front of a FHIR server.
type rig struct {
	*System
	script *script
	proxy  *toxiproxy.Proxy
}

const rigTimeout = 3 * time.Second

func (f fault) habits() fhirsim.Habits {
	if f.server == nil {
		return fhirsim.HAPI()
	}
	return f.server()
}

func newRig(t *testing.T, f fault) *rig {
	t.Helper()
	habits := f.habits()
	server, base := StartFHIR(t, fhirsim.Options{Habits: habits}, patientFor(habits, "a1", Number))
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{fault: f, target: target, fhir: server}
	s.healed, s.heal = context.WithCancel(t.Context())
	scripted := httptest.NewServer(s)
	t.Cleanup(func() { s.late.Wait(); scripted.Close() })

	toxic := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(toxic, t.Name(), "127.0.0.1:0", scripted.Listener.Addr().String())
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	s.poison = func(toxic string) {
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Errorf("toxic: %v", err)
		}
	}
	databaseURL := dbtest.SQLite(t)
	stored, _, _ := server.Get("a1")
	importFrom(t, habits, databaseURL, string(stored))
	if f.use != "" {
		if err := server.Put([]byte(strings.Replace(string(stored), "{", "{"+f.use+",", 1))); err != nil {
			t.Fatal(err)
		}
	}
	listen := proxy.Listen
	if f.before == "down" {
		proxy.Stop()
	}
	p := StartWith(t, "http://"+listen+target.Path, databaseURL, "FHIR_TIMEOUT="+rigTimeout.String(), numbersOf(habits))
	return &rig{System: &System{Product: p, FHIR: server}, script: s, proxy: proxy}
}

// heal ends the fault.
func (r *rig) heal() {
	r.script.heal()
	r.FHIR.ClearFaults()
	if k := r.FHIR.Clinic(); k != nil {
		mend(k)
	}
	if r.script.fault.use != "" {
		if err := r.FHIR.Put([]byte(strings.Replace(r.Stored(), r.script.fault.use+",", "", 1))); err != nil {
			r.T.Fatal(err)
		}
	}
	if r.script.fault.before == "down" {
		if err := r.proxy.Start(); err != nil {
			r.T.Fatal(err)
		}
		return
	}
	if r.script.fault.toxic+r.script.fault.before != "" {
		r.proxy.Toxics.ResetToxics(r.T.Context())
	}
}

// written counts the versions of the patient in which the phone became this.
func (r *rig) written(phone string) int {
	n, before := 0, false
	for _, version := range r.FHIR.History("a1") {
		has := strings.Contains(string(version), phone)
		if has && !before {
			n++
		}
		before = has
	}
	return n
}

var operationInLog = regexp.MustCompile(`"operation":"([^"]+)"`)

// operation names the one update so far, as the log and the answer do.
func (r *rig) operation(answer Object) string {
	r.T.Helper()
	found := operationInLog.FindStringSubmatch(r.Log.String())
	if found == nil {
		r.T.Fatalf("the log does not name the operation of %v", answer)
	}
	Want(r.T, answer, Object{"operationId": found[1]})
	return found[1]
}

// repeated checks that a retry with the same idempotencyKey is told this, and
// that no PUT leaves for it.
func (r *rig) repeated(input, told Object) {
	r.T.Helper()
	before := r.script.puts.Load()
	answer := r.Update(input)
	if n := r.script.puts.Load() - before; n != 0 {
		r.T.Errorf("a retry sent %d PUTs", n)
	}
	for key, value := range told {
		if patient, ok := value.(map[string]any); ok {
			for field, value := range patient {
				Want(r.T, answer, Object{key + "." + field: value})
			}
			continue
		}
		Want(r.T, answer, Object{key: value})
	}
}

// keepsSecrets checks that no patient data is in the log.
func (r *rig) keepsSecrets() {
	r.T.Helper()
	log := r.Log.String()
	for _, secret := range []string{OldPhone, NewPhone, otherPhone, "@example.org", "길동", "1 Main St"} {
		if strings.Contains(log, secret) {
			r.T.Errorf("the log holds %s", secret)
		}
	}
}

// script passes requests on and answers as the fault says.
type script struct {
	fault  fault
	target *url.URL
	fhir   *fhirsim.Server
	poison func(toxic string)
	late   sync.WaitGroup
	once   sync.Once
	healed context.Context // ends when the fault does
	heal   func()

	puts       atomic.Int64 // how many came
	seen, then atomic.Int64 // how many requests could have been befallen, by the first fault and the one of the reads after it
}

// befalls gives the reply that takes the place of the FHIR server's, if any.
func (s *script) befalls(r *http.Request) (reply string, hit bool) {
	f, read := s.fault, r.Method == http.MethodGet
	switch {
	case s.healed.Err() != nil, !strings.Contains(r.URL.Path, "/Patient/") && !(f.everywhere && strings.HasSuffix(r.URL.Path, "/Patient")):
		return "", false
	case r.Method == f.on:
		return f.reply, f.times == 0 || s.seen.Add(1) <= int64(f.times)
	case read && f.then != "" && s.puts.Load() > 0 && (!f.thenHistory || strings.Contains(r.URL.Path, "/_history")):
		return f.then, f.thenTimes == 0 || s.then.Add(1) <= int64(f.thenTimes)
	}
	return "", false
}

// overwrite has somebody else write the patient.
func (s *script) overwrite(phone string) {
	time.Sleep(5 * time.Millisecond) // versions of the same instant have no order
	stored, _, _ := s.fhir.Get("a1")
	if err := s.fhir.Put([]byte(strings.NewReplacer(NewPhone, phone, ownPhone, phone).Replace(string(stored)))); err != nil {
		panic(err) // what is stored is a patient
	}
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // a PUT that was cut on the way
	}
	reply, hit := s.befalls(r)
	if r.Method == http.MethodPut {
		s.puts.Add(1)
		s.befall(onPut)
	}
	if !hit {
		status, header, answer := pass(r, s.target, body)
		copyHeader(w, header)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		if r.Method == http.MethodPut && s.fault.toxic != "" && s.healed.Err() == nil {
			s.once.Do(func() { s.poison(s.fault.toxic) })
		}
		// The read before the PUT; a start looks at the server too, but at no one patient.
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/Patient/") && strings.HasPrefix(s.fault.before, "{") && s.healed.Err() == nil {
			s.once.Do(func() { s.poison(s.fault.before) }) // it meets what comes next
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer) // the toxic may be in the way
		return
	}
	answer := body
	if r.Method == s.fault.on && s.fault.apply {
		_, _, answer = pass(r, s.target, body)
		if s.fault.rival != "" {
			s.overwrite(s.fault.rival)
		}
	}
	if reply == "echo" {
		answer = body
	}
	if r.Method == s.fault.on && s.fault.late {
		s.late.Go(func() {
			<-s.healed.Done()
			pass(r, s.target, body)
		})
	}
	s.reply(w, r, reply, answer)
}

const patientOutcome = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"as the test wants it"}]}`

// reply answers a request that the fault befalls; answer is what the FHIR
// server said or, if it was not asked, what was sent.
func (s *script) reply(w http.ResponseWriter, r *http.Request, reply string, answer []byte) {
	w.Header().Set("Content-Type", "application/fhir+json")
	send := func(status int, text string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client may have hung up
	}
	switch reply {
	case "reset":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	case "close":
		panic(http.ErrAbortHandler)
	case "hang":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "half":
		if len(answer) == 0 {
			answer = []byte(`{"resourceType":"Patient","id":"a1"}`)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		send(http.StatusOK, string(answer[:len(answer)/2]))
	case "html":
		w.Header().Set("Content-Type", "text/html")
		send(http.StatusOK, "<html>Welcome</html>")
	case "echo": // no ETag tells that there is a new version
		send(http.StatusOK, string(answer))
	case "409 lock", "412 lock", "409 later":
		if reply == "409 later" {
			w.Header().Set("Retry-After", "7")
		}
		status, _ := strconv.Atoi(reply[:3])
		send(status, strings.Replace(patientOutcome, "processing", "lock-error", 1))
	case "409 empty":
		send(http.StatusConflict, "")
	case "412 html":
		w.Header().Set("Content-Type", "text/html")
		send(http.StatusPreconditionFailed, "<html>Precondition Failed</html>")
	case "403 scope":
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="user/Patient.u"`)
		send(http.StatusForbidden, patientOutcome)
	case "204 old ETag":
		w.Header().Set("ETag", r.Header.Get("If-Match"))
		send(http.StatusNoContent, "")
	case "empty":
		send(http.StatusOK, "")
	case "two":
		send(http.StatusOK, string(answer)+string(answer))
	case "duplicate":
		send(http.StatusOK, `{"resourceType":"Patient","id":"a1","id":"a1"}`)
	case "stranger":
		send(http.StatusOK, `{"resourceType":"Patient","id":"b2"}`)
	case "outcome": // one that names no error
		send(http.StatusOK, strings.Replace(patientOutcome, "error", "information", 1))
	case "404": // of this patient
		send(http.StatusNotFound, strings.Replace(patientOutcome, "processing", "not-found", 1))
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		send(http.StatusOK, "no gzip")
	case "huge":
		send(http.StatusOK, `{"resourceType":"Patient","id":"a1","text":"`+strings.Repeat("x", 10<<20)+`"}`)
	case "201":
		send(http.StatusCreated, string(answer))
	case "201 empty":
		send(http.StatusCreated, "")
	case "201 html":
		w.Header().Set("Content-Type", "text/html")
		send(http.StatusCreated, "<html>Welcome</html>")
	default:
		status, err := strconv.Atoi(reply)
		if err != nil {
			panic(fmt.Sprintf("no reply %q", reply))
		}
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "7")
		}
		text := patientOutcome
		if status == http.StatusNoContent {
			text = ""
		}
		send(status, text)
	}
}
