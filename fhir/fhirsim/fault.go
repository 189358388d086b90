package fhirsim

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// OnSearch is the Fault.On of searches, their further pages and type history.
const OnSearch = "SEARCH"

// Fault is a way to fail. Delay comes first, then Hang, Close or Status (with
// Apply: after the request was carried out in full); the others change what
// is stored or how it is answered.
type Fault struct {
	On    string // "GET", "PUT", OnSearch, OnExport and its like; "": GET and PUT of a patient
	Times int    // how many requests it befalls; 0: all, until cleared
	After int    // how many requests it lets pass before

	Delay time.Duration // before anything is done; nothing is done if the client goes away meanwhile
	Late  bool          // with Delay: it is carried out though the client went away, as by a queue on the way

	Apply       bool        // carry the request out before Hang, Close or Status
	Hang        bool        // no answer until the client goes away
	Close       bool        // reset the connection without an answer
	Status      int         // answer this
	Body        string      // with Status
	ContentType string      // with Status
	Header      http.Header // with Status

	Truncate    bool                         // half of the real answer under its full Content-Length
	Ignore      bool                         // a PUT is answered 200 with the old resource: nothing saved
	Drop        []string                     // top-level elements of a PUT that keep their old value, with a 200
	Store       func(old, new []byte) []byte // decides what a PUT really stores; old is nil where it creates
	RejectPhone string                       // answer 422 with this reason to every PUT that changes a phone
	Compete     bool                         // somebody else edits the patient after each GET and before each PUT
	Overtaken   func()                       // OpenEMR: called when a PUT is stored and not yet read again for its answer
}

// faults holds what was set, in that order.
type faults struct {
	mu   sync.Mutex
	list []setFault
}

type setFault struct {
	id   string
	left int // requests to go; negative: no end
	Fault
}

// SetFault makes requests for a patient fail; id "" is every patient. It
// takes the place of an earlier fault with the same id and On. A fault of one
// patient goes before those of every patient, one for a method before one for
// both.
func (s *Server) SetFault(id string, f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = slices.DeleteFunc(s.faults.list, func(old setFault) bool { return old.id == id && old.On == f.On })
	left := f.Times
	if left == 0 {
		left = -1
	}
	s.faults.list = append(s.faults.list, setFault{id, left, f})
}

// ClearFaults ends all faults; requests that they already befell go on so.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

// take finds the fault of a request, if any, and counts it.
func (f *faults) take(c *call) *Fault {
	method := c.Method
	if c.ID == "" && method == http.MethodGet {
		method = OnSearch
	}
	if c.export != "" {
		method = c.export
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	best, rank := -1, 0
	for i, set := range f.list {
		r := 1
		switch {
		case set.id != "" && set.id != c.ID, c.Path == prefix+"/metadata", strings.HasPrefix(c.Path, prefix+"/Subscription"):
			continue
		case set.On == method:
			r++
		case set.On != "" || method != http.MethodGet && method != http.MethodPut:
			continue
		}
		if set.id != "" {
			r += 2
		}
		if r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil
	}
	if f.list[best].After > 0 {
		f.list[best].After--
		return nil
	}
	found := f.list[best].Fault
	if f.list[best].left--; f.list[best].left == 0 {
		f.list = slices.Delete(f.list, best, best+1)
	}
	return &found
}

// serve carries a request out, or fails as the fault says.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, c *call, run handler, f *Fault) {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		gone := r.Context().Done()
		if f.Late {
			gone = nil
		}
		select {
		case <-timer.C:
		case <-gone:
			panic(http.ErrAbortHandler)
		}
	}
	fails := f.Hang || f.Close || f.Status != 0
	var a answer
	if !fails || f.Apply {
		a = run(c, f)
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Close:
		reset(w)
		return
	case f.Status != 0:
		a = f.answer()
	}
	s.log.setStatus(c.Request, a.status)
	a.send(w, f.Truncate)
}

func (f *Fault) answer() answer {
	a := answer{status: f.Status, header: f.Header.Clone(), body: []byte(f.Body)}
	if a.header == nil {
		a.header = http.Header{}
	}
	if f.ContentType != "" {
		a.header.Set("Content-Type", f.ContentType)
	}
	return a
}

// reset closes the connection; the client sees a reset, or an end where the
// connection cannot be taken over (HTTP/2).
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close is merely an orderly one
	}
	_ = conn.Close() // it is given up anyway
}

// stored decides what a PUT leaves behind; old is nil for one that is created.
func (f *Fault) stored(old, body []byte) []byte {
	if len(f.Drop) > 0 {
		var kept []string
		gjson.ParseBytes(old).ForEach(func(key, value gjson.Result) bool {
			if slices.Contains(f.Drop, key.Str) {
				kept = append(kept, key.Raw, value.Raw)
			}
			return true
		})
		body = pick(body, func(key string) bool { return !slices.Contains(f.Drop, key) }, kept...)
	}
	if f.Store != nil {
		body = f.Store(slices.Clone(old), slices.Clone(body))
		if !json.Valid(body) {
			panic(fmt.Sprintf("fhirsim: Fault.Store returned no JSON: %.100s", body))
		}
	}
	return body
}

// phoneChange finds the first telecom entry whose phone differs; with one left
// out, that is the place where it was.
func phoneChange(old, body []byte) (index int, changed bool) {
	was, is := phones(old), phones(body)
	for i := range max(len(telecoms(old)), len(telecoms(body))) {
		if was[i] != is[i] {
			return i, true
		}
	}
	return 0, false
}

// compete is another editor: it changes the patient's fax number. The store's
// lock is held.
func (s *Server) compete(id string) {
	rec := s.store.records[id]
	if !rec.alive() {
		return
	}
	body := rec.current().body
	path, value := "telecom.-1", any(map[string]string{"system": "fax", "value": "02-000-0001", "use": "work"})
	for i, t := range telecoms(body) {
		if t.Get("system").Str == "fax" {
			path, value = "telecom."+strconv.Itoa(i)+".value", "02-000-0001"
			if t.Get("value").Str == value {
				value = "02-000-0002"
			}
		}
	}
	body, err := sjson.SetBytes(body, path, value)
	if err == nil {
		_, err = s.store.save(id, body)
	}
	if err != nil {
		panic(err) // what is stored is JSON
	}
}
