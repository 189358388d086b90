package fhirsim

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"patientgraph/internal/wait"
)

const changedX = `{"resourceType":"Patient","id":"x","telecom":[{"system":"phone","value":"010-9999-8888"}],"address":[{"city":"Busan"}]}`

// withFault starts a server with patient x and a fault on it.
func withFault(t *testing.T, f Fault) (*Server, string) {
	t.Helper()
	s, base := seeded(t, Options{})
	s.SetFault("x", f)
	return s, base + "/Patient/x"
}

func TestFaultsThatAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault       Fault
		status      int
		answer      []string // parts of the answer
		stored      []string // parts of what is stored then
		version     int
		contentType string
	}{
		"status":         {Fault{Status: 503, Body: "<html>", ContentType: "text/html", Header: http.Header{"Retry-After": {"7"}}}, 503, []string{"<html>"}, []string{"Seoul", "02-123-4567"}, 1, "text/html"},
		"status, empty":  {Fault{Status: 401}, 401, nil, []string{"Seoul"}, 1, ""},
		"lost answer":    {Fault{Apply: true, Status: 502}, 502, nil, []string{"Busan", "010-9999-8888"}, 2, ""},
		"ignored":        {Fault{Ignore: true}, 200, []string{"Seoul", `"versionId":"1"`}, []string{"Seoul", "02-123-4567"}, 1, contentType},
		"part dropped":   {Fault{Drop: []string{"address"}}, 200, []string{"Seoul", "010-9999-8888"}, []string{"Seoul", "010-9999-8888"}, 2, contentType},
		"store hook":     {Fault{Store: func(_, new []byte) []byte { return bytes.ReplaceAll(new, []byte("Busan"), []byte("BUSAN")) }}, 200, []string{"BUSAN"}, []string{"BUSAN"}, 2, contentType},
		"phone rejected": {Fault{RejectPhone: "No such number"}, 422, []string{"No such number", `"expression":["Patient.telecom[0].value"]`}, []string{"Seoul", "02-123-4567"}, 1, contentType},
		"other method":   {Fault{On: http.MethodGet, Status: 500}, 200, []string{"Busan"}, []string{"Busan"}, 2, contentType},
		"delay":          {Fault{Delay: time.Millisecond}, 200, []string{"Busan"}, []string{"Busan"}, 2, contentType},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := withFault(t, c.fault)
			r := do(t, http.MethodPut, url, changedX)
			wantEqual(t, "status", r.status, c.status)
			wantEqual(t, "Content-Type", r.header.Get("Content-Type"), c.contentType)
			wantContains(t, r.body, c.answer...)
			body, version := stored(t, s)
			wantContains(t, body, c.stored...)
			wantEqual(t, "version", version, c.version)
			wantEqual(t, "Retry-After", r.header.Get("Retry-After"), c.fault.Header.Get("Retry-After"))
			requests := s.Requests()
			wantEqual(t, "logged status", requests[len(requests)-1].Status, c.status)
		})
	}
}

func TestFaultsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   Fault
		cause   error
		version int
	}{
		"reset":           {Fault{Close: true}, syscall.ECONNRESET, 1},
		"reset, applied":  {Fault{Close: true, Apply: true}, syscall.ECONNRESET, 2},
		"truncated":       {Fault{Truncate: true}, io.ErrUnexpectedEOF, 2},
		"hang":            {Fault{Hang: true}, nil, 1},
		"hang, applied":   {Fault{Hang: true, Apply: true}, nil, 2},
		"delay too long":  {Fault{Delay: time.Hour}, nil, 1},
		"truncated error": {Fault{Truncate: true, Status: 500, Body: "some text"}, io.ErrUnexpectedEOF, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := withFault(t, c.fault)
			client := &http.Client{Timeout: patience}
			if c.cause == nil {
				client.Timeout = 100 * time.Millisecond
			}
			_, err := tryWith(client, http.MethodPut, url, changedX)
			var timeout interface{ Timeout() bool }
			switch {
			case c.cause != nil && !errors.Is(err, c.cause):
				t.Errorf("the client saw %v, want %v", err, c.cause)
			case c.cause == nil && (!errors.As(err, &timeout) || !timeout.Timeout()):
				t.Errorf("the client saw %v, want a timeout", err)
			}
			_, version := stored(t, s)
			wantEqual(t, "version", version, c.version)
		})
	}
}

func TestLateWriteLandsAfterTheClientLeft(t *testing.T) {
	t.Parallel()
	s, url := withFault(t, Fault{On: http.MethodPut, Delay: 300 * time.Millisecond, Late: true})
	if _, err := tryWith(&http.Client{Timeout: 50 * time.Millisecond}, http.MethodPut, url, changedX); err == nil {
		t.Fatal("the answer was not late")
	}
	_, version := stored(t, s)
	wantEqual(t, "version while the client leaves", version, 1)
	wait.Until(t, "the write lands", func() bool { _, version = stored(t, s); return version != 1 })
	wantEqual(t, "version", version, 2)
}

func TestStopEndsWhatHangs(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]Fault{"hang": {Hang: true}, "delay": {Delay: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(Options{})
			base, stop, err := s.Start()
			if err != nil {
				t.Fatal(err)
			}
			s.SetFault("", fault)
			failed := make(chan error, 1)
			go func() {
				_, err := try(http.MethodGet, base+"/Patient/x", "")
				failed <- err
			}()
			wait.Until(t, "the request arrives", func() bool { return len(s.Requests()) > 0 })
			wantEqual(t, "status while under way", s.Requests()[0].Status, 0)
			began := time.Now()
			stop()
			stop()
			if took := time.Since(began); took > patience/2 {
				t.Errorf("stop took %v", took)
			}
			if err := <-failed; err == nil {
				t.Error("the hanging request got an answer")
			}
			if _, err := try(http.MethodGet, base+"/Patient/x", ""); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("after stop: %v, want a refused connection", err)
			}
		})
	}
}

func TestWhichFault(t *testing.T) {
	t.Parallel()
	s, base := seeded(t, Options{})
	url := base + "/Patient/x"
	status := func(method, url string) int {
		return do(t, method, url, changedX).status
	}
	s.SetFault("", Fault{Status: 500})
	s.SetFault("", Fault{On: OnSearch, Status: 501, Times: 1})
	s.SetFault("", Fault{On: http.MethodGet, Status: 502})
	s.SetFault("x", Fault{Status: 503, Times: 2})
	s.SetFault("x", Fault{On: http.MethodPut, Status: 504, Times: 1})
	s.SetFault("y", Fault{Status: 599})
	wantEqual(t, "PUT", status(http.MethodPut, url), 504)
	wantEqual(t, "PUT again", status(http.MethodPut, url), 503)
	wantEqual(t, "GET", status(http.MethodGet, url), 503)
	wantEqual(t, "GET, used up", status(http.MethodGet, url), 502)
	wantEqual(t, "PUT, used up", status(http.MethodPut, url), 500)
	wantEqual(t, "search", status(http.MethodGet, base+"/Patient"), 501)
	wantEqual(t, "search, used up", status(http.MethodGet, base+"/Patient"), 200)
	wantEqual(t, "metadata", status(http.MethodGet, base+"/metadata"), 200)
	wantEqual(t, "DELETE", status(http.MethodDelete, base+"/Patient/z"), 200)
	s.SetFault("", Fault{Status: 418}) // takes the place of the first
	wantEqual(t, "PUT, replaced", status(http.MethodPut, url), 418)
	s.ClearFaults()
	wantEqual(t, "GET, cleared", status(http.MethodGet, url), 200)
}

func TestCompetingEditor(t *testing.T) {
	t.Parallel()
	s, url := withFault(t, Fault{Compete: true})
	for range 4 {
		read := do(t, http.MethodGet, url, "")
		wantEqual(t, "status of the GET", read.status, 200)
		body := strings.Replace(read.body, "Seoul", "Busan", 1)
		r := do(t, http.MethodPut, url, body, "If-Match", read.header.Get("ETag"))
		wantEqual(t, "status of the PUT", r.status, 409)
	}
	body, version := stored(t, s)
	wantEqual(t, "version", version, 1+4*2)
	wantContains(t, body, "Seoul", "02-123-4567", `"system":"fax"`)
	if strings.Count(body, "fax") != 1 {
		t.Errorf("the competitor left more than one fax entry: %s", body)
	}
	s.ClearFaults()
	wantEqual(t, "PUT alone", do(t, http.MethodPut, url, changedX, "If-Match", do(t, http.MethodGet, url, "").header.Get("ETag")).status, 200)
}

func TestRejectedPhone(t *testing.T) {
	t.Parallel()
	_, url := withFault(t, Fault{RejectPhone: "No"})
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"address alone":  {strings.Replace(patientX, "Seoul", "Busan", 1), 200},
		"phone left out": {`{"resourceType":"Patient","id":"x"}`, 422},
		"phone added":    {strings.Replace(patientX, `"telecom":[`, `"telecom":[{"system":"phone","value":"010-2222-3333"},`, 1), 422},
		"email added":    {strings.Replace(patientX, `4567"}`, `4567"},{"system":"email","value":"a@example.org"}`, 1), 200},
	} {
		wantEqual(t, name, do(t, http.MethodPut, url, c.body).status, c.status)
	}
}
