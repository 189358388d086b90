package proofs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// lossyNetwork stands between the program and a FHIR server, and now and then
// loses what passes.
type lossyNetwork struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	late   int // PUTs that are still to arrive
	random *rand.Rand
	quiet  bool
}

func newLossyNetwork(t *testing.T, base string, seed uint64, times timings) *lossyNetwork {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	n := &lossyNetwork{t: t, random: rand.New(rand.NewPCG(seed, 4))}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		n.serve(w, r, target, body, times)
	}))
	t.Cleanup(func() { n.calm(); server.Close() })
	n.url = server.URL + target.Path
	return n
}

// calm ends the losses.
func (n *lossyNetwork) calm() {
	n.mu.Lock()
	n.quiet = true
	n.mu.Unlock()
	wait.Until(n.t, "no PUT is still to arrive", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.late == 0
	})
}

// later passes a request on when nobody waits for the answer any more.
func (n *lossyNetwork) later(r *http.Request, target *url.URL, body []byte, after time.Duration) {
	n.count(1)
	go func() {
		defer n.count(-1)
		defer func() { _ = recover() }() // it is lost after all
		time.Sleep(after)
		pass(r, target, body)
	}()
}

func (n *lossyNetwork) count(by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late += by
}

func (n *lossyNetwork) dice(sides int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.quiet {
		return sides - 1
	}
	return n.random.IntN(sides)
}

// serve passes a request on, or not, and its answer back, or not.
func (n *lossyNetwork) serve(w http.ResponseWriter, r *http.Request, target *url.URL, body []byte, times timings) {
	sides := 60 // of reads few are lost
	if r.Method == http.MethodPut {
		sides = 24
	}
	switch n.dice(sides) {
	case 0: // the request is lost
		panic(http.ErrAbortHandler)
	case 1: // the answer is lost
		pass(r, target, body)
		panic(http.ErrAbortHandler)
	case 2:
		pass(r, target, body)
		http.Error(w, "<html>Bad Gateway</html>", http.StatusBadGateway)
	case 3:
		http.Error(w, "busy", http.StatusServiceUnavailable)
	case 4:
		if r.Method != http.MethodPut {
			panic(http.ErrAbortHandler)
		}
		n.later(r, target, body, times.fhir*5/4)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case 5: // half of the answer
		status, header, answer := pass(r, target, body)
		copyHeader(w, header)
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		w.WriteHeader(status)
		_, _ = w.Write(answer[:len(answer)/2])
	case 6:
		pass(r, target, body)
		w.WriteHeader(http.StatusOK) // and not a word
	case 7, 8, 9: // refused, by whatever stands between; or carried out all the same
		if r.Method == http.MethodPut {
			if n.dice(2) == 0 {
				pass(r, target, body)
			}
			status := []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity, http.StatusForbidden}[n.dice(4)]
			text := "no" // names no value: a 409 or 412 is busy then
			if n.dice(2) == 0 {
				text = patientOutcome
			}
			http.Error(w, text, status)
			return
		}
		fallthrough
	default:
		status, header, answer := pass(r, target, body)
		copyHeader(w, header)
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}
}

func copyHeader(w http.ResponseWriter, from http.Header) {
	for _, name := range []string{"Content-Type", "ETag", "Location", "Last-Modified"} {
		if value := from.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
}

// pass sends a request on, whatever became of who sent it.
func pass(r *http.Request, target *url.URL, body []byte) (int, http.Header, []byte) {
	to := *r.URL
	to.Scheme, to.Host = target.Scheme, target.Host
	request, err := http.NewRequest(r.Method, to.String(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for _, name := range []string{"Content-Type", "Accept", "If-Match", "Prefer", "Cache-Control"} {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return response.StatusCode, response.Header, answer
}

// truth is what a FHIR server really holds, seen around the program.
type truth interface {
	put(resource string) error
	// history lists the contacts of a patient's versions, the oldest first.
	history(id string) ([]Contact, error)
	current(id string) (Contact, error)
	// compete changes something else of the patient, as another client.
	compete(id string, n int)
}

func contactIn(resource []byte) (Contact, error) {
	c, err := fhir.ContactOf(resource, time.Now())
	return Contact{Phone: c.Phone, Email: c.Email}, err
}

// memoryTruth is a FHIR server in this process.
type memoryTruth struct{ server *fhirsim.Server }

func (m memoryTruth) put(resource string) error { return m.server.Put([]byte(resource)) }

func (m memoryTruth) history(id string) ([]Contact, error) {
	var list []Contact
	for _, resource := range m.server.History(id) {
		c, err := contactIn(resource)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func (m memoryTruth) current(id string) (Contact, error) {
	resource, _, _ := m.server.Get(id)
	return contactIn(resource)
}

func (m memoryTruth) compete(id string, n int) {
	m.server.SetFault(id, fhirsim.Fault{On: http.MethodPut, Store: lowerEmails, Compete: true, Times: 1 + n%2})
}

// hapiTruth is a real HAPI FHIR server.
type hapiTruth struct{ *HAPIServer }

// history reads version by version: HAPI's _history is cached for a minute.
func (h hapiTruth) history(id string) ([]Contact, error) {
	now, err := h.Get(id)
	if err != nil {
		return nil, err
	}
	var p struct{ Meta struct{ VersionID string } }
	if err := json.Unmarshal(now, &p); err != nil {
		return nil, err
	}
	var last int
	if _, err := fmt.Sscan(p.Meta.VersionID, &last); err != nil {
		return nil, err
	}
	var list []Contact
	for n := 1; n <= last; n++ {
		resource, err := h.Get(fmt.Sprintf("%s/_history/%d", id, n))
		if err != nil {
			return nil, err
		}
		c, err := contactIn(resource)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func (h hapiTruth) put(resource string) error { return h.Put(resource) }

func (h hapiTruth) current(id string) (Contact, error) {
	resource, err := h.Get(id)
	if err != nil {
		return Contact{}, err
	}
	return contactIn(resource)
}

func (h hapiTruth) compete(id string, n int) {
	if resource, err := h.Get(id); err == nil {
		var p struct{ Meta struct{ VersionID string } }
		if json.Unmarshal(resource, &p) == nil {
			fax := strings.Replace(string(resource), `"02-111-`, fmt.Sprintf(`"%03d02-111-`, n), 1)
			_, _, _ = h.Do(http.MethodPut, id, fax, `W/"`+p.Meta.VersionID+`"`) // losing the race is fine
		}
	}
}
