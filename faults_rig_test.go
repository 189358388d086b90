package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"patientgraph/fhir/fhirtest"
)

// rig is the product in front of toxiproxy, in front of a server that answers
// as a script says, in front of a FHIR server.
type rig struct {
	*system
	script *script
	proxy  *toxiproxy.Proxy
}

const rigTimeout = 3 * time.Second

func newRig(t *testing.T, f fault) *rig {
	t.Helper()
	habits := fhirtest.HAPI()
	if f.server != nil {
		habits = f.server()
	}
	server := fhirtest.New(fhirtest.Options{Habits: habits})
	if err := server.Put([]byte(testPatient("a1", number))); err != nil {
		t.Fatal(err)
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{fault: f, target: target}
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
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	stored, _, _ := server.Get("a1")
	if out, err := importInto(t, databaseURL, string(stored)); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	listen := proxy.Listen
	if f.before == "down" {
		proxy.Stop()
	}
	p := startWith(t, "http://"+listen+target.Path, databaseURL, "FHIR_TIMEOUT", rigTimeout.String())
	return &rig{system: &system{product: p, fhir: server}, script: s, proxy: proxy}
}

// heal ends the fault.
func (r *rig) heal() {
	r.script.healed.Store(true)
	r.fhir.ClearFaults()
	if r.script.fault.before == "down" {
		if err := r.proxy.Start(); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if r.script.fault.toxic+r.script.fault.before != "" {
		r.proxy.Toxics.ResetToxics(r.t.Context())
	}
}

// written counts the versions of the patient in which the phone became this.
func (r *rig) written(phone string) int {
	n, before := 0, false
	for _, version := range r.fhir.History("a1") {
		has := strings.Contains(string(version), phone)
		if has && !before {
			n++
		}
		before = has
	}
	return n
}

// script passes requests on and answers as the fault says.
type script struct {
	fault  fault
	target *url.URL
	poison func(toxic string)
	late   sync.WaitGroup
	seen   atomic.Int64
	once   sync.Once
	healed atomic.Bool
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // a PUT that was cut on the way
	}
	hit := r.Method == s.fault.on && !s.healed.Load() && strings.Contains(r.URL.Path, "/Patient/")
	if hit && s.fault.times > 0 && s.seen.Add(1) > int64(s.fault.times) {
		hit = false
	}
	if !hit {
		status, header, answer := pass(r, s.target, body)
		copyHeader(w, header)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		if r.Method == http.MethodPut && s.fault.toxic != "" && !s.healed.Load() {
			s.once.Do(func() { s.poison(s.fault.toxic) })
		}
		if r.Method == http.MethodGet && strings.HasPrefix(s.fault.before, "{") && !s.healed.Load() {
			s.once.Do(func() { s.poison(s.fault.before) }) // it meets what comes next
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer) // the toxic may be in the way
		return
	}
	var answer []byte
	if s.fault.apply {
		_, _, answer = pass(r, s.target, body)
	}
	s.reply(w, r, body, answer)
}

const patientOutcome = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"as the test wants it"}]}`

// reply answers a request that the fault befalls.
func (s *script) reply(w http.ResponseWriter, r *http.Request, body, answer []byte) {
	w.Header().Set("Content-Type", "application/fhir+json")
	send := func(status int, text string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client may have hung up
	}
	switch s.fault.reply {
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
	case "late":
		s.late.Go(func() {
			time.Sleep(rigTimeout * 5 / 4)
			pass(r, s.target, body)
		})
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "half":
		if answer == nil {
			answer = []byte(`{"resourceType":"Patient","id":"a1"}`)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		send(http.StatusOK, string(answer[:len(answer)/2]))
	case "html":
		w.Header().Set("Content-Type", "text/html")
		send(http.StatusOK, "<html>Welcome</html>")
	case "empty":
		send(http.StatusOK, "")
	case "two":
		send(http.StatusOK, string(answer)+string(answer))
	case "duplicate":
		send(http.StatusOK, `{"resourceType":"Patient","id":"a1","id":"a1"}`)
	case "stranger":
		send(http.StatusOK, `{"resourceType":"Patient","id":"b2"}`)
	case "outcome":
		send(http.StatusOK, patientOutcome)
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		send(http.StatusOK, "no gzip")
	case "huge":
		send(http.StatusOK, `{"resourceType":"Patient","id":"a1","text":"`+strings.Repeat("x", 10<<20)+`"}`)
	case "201":
		send(http.StatusCreated, string(answer))
	default:
		status, err := strconv.Atoi(s.fault.reply)
		if err != nil {
			panic(fmt.Sprintf("no reply %q", s.fault.reply))
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
