package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// plan is what the load generator is told, as JSON.
type plan struct {
	question
	Address     string
	Headers     []string // lines of the header with their ends; each connection takes the next
	Values      []string // what is asked for, as JSON; each request takes one at random
	Connections int
	Warm, Turn  time.Duration
	Seed        uint64
}

// measured is what it tells.
type measured struct {
	All      int // with those of the warm-up
	Requests int // while it was measured
	P50      time.Duration
	P95      time.Duration
	P99      time.Duration
}

// load asks as a client does that keeps its connections: on each the next request
// follows the answer. The runner gives it one processor: its connections wait together.
func load(ctx context.Context, _ []string, in io.Reader, out io.Writer) error {
	var p plan
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return fmt.Errorf("load: read plan: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	askers := make([]*asker, p.Connections)
	for n := range askers {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Address)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		askers[n] = &asker{plan: &p, header: p.Headers[n%len(p.Headers)], conn: conn, random: rand.New(rand.NewPCG(p.Seed, uint64(n))), buffer: make([]byte, 64<<10)}
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, a := range askers {
		wg.Go(func() {
			if err := a.run(began.Add(p.Warm), began.Add(p.Warm+p.Turn)); err != nil {
				cancel(err) // the others end too
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	var m measured
	var took []time.Duration
	for _, a := range askers {
		m.All += a.all
		took = append(took, a.took...)
	}
	m.Requests = len(took)
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100] }
	m.P50, m.P95, m.P99 = at(50), at(95), at(99)
	return json.NewEncoder(out).Encode(m)
}

// asker is one connection.
type asker struct {
	*plan
	header  string
	conn    net.Conn
	random  *rand.Rand
	request []byte
	buffer  []byte
	all     int
	took    []time.Duration // of the answers that came between from and to; of the next one, if none did
}

// answerWithin is when a server that does not answer fails the run.
const answerWithin = time.Minute

func (a *asker) run(from, to time.Time) error {
	if err := a.conn.SetDeadline(to.Add(answerWithin)); err != nil {
		return err
	}
	for now := time.Now(); now.Before(to) || len(a.took) == 0; { // who waited longer than the turn counts too
		value := a.Values[a.random.IntN(len(a.Values))]
		a.write(value)
		asked := time.Now()
		if _, err := a.conn.Write(a.request); err != nil {
			return err
		}
		header, body, err := a.read()
		if err != nil {
			return err
		}
		now = time.Now()
		a.all++
		if !now.Before(from) && (now.Before(to) || len(a.took) == 0) {
			a.took = append(a.took, now.Sub(asked))
		}
		if !a.good(header, body, value) {
			return fmt.Errorf("%s%s%s: unexpected answer: %.200s %.300s", a.Before, value, a.After, header, body)
		}
	}
	return nil
}

// write makes the next request.
func (a *asker) write(value string) {
	b := append(a.request[:0], "POST "...)
	b = append(b, a.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, a.Address...)
	b = append(b, "\r\nContent-Type: application/json\r\n"...)
	b = append(b, a.header...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.Before)+len(value)+len(a.After)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, a.Before...)
	b = append(b, value...)
	a.request = append(b, a.After...)
}

// good reports whether an answer is the one to this value: 200, without errors.
func (a *asker) good(header, body []byte, value string) bool {
	return bytes.HasPrefix(header, []byte("HTTP/1.1 200 ")) && bytes.HasPrefix(body, []byte(a.Begins)) &&
		(!a.Echoes || bytes.Contains(body, []byte(value))) && !bytes.Contains(body, []byte(`"errors":`))
}

// read reads one answer.
func (a *asker) read() (header, body []byte, err error) {
	have, size := 0, unread // where the answer ends
	for size == unread || size == chunked || have < size {
		if have == len(a.buffer) {
			return nil, nil, fmt.Errorf("the answer is longer than %d bytes", len(a.buffer))
		}
		n, err := a.conn.Read(a.buffer[have:])
		if err != nil {
			return nil, nil, err
		}
		have += n
		if size == unread {
			end := bytes.Index(a.buffer[:have], []byte("\r\n\r\n"))
			if end < 0 {
				continue
			}
			header = a.buffer[:end]
			if size, err = answerEnd(header); err != nil {
				return nil, nil, err
			}
		}
		// JSON has no line ends within its texts: this is the last chunk.
		if size == chunked && bytes.HasSuffix(a.buffer[len(header)+4:have], []byte("\r\n0\r\n\r\n")) {
			body, err := unchunk(a.buffer[len(header)+4 : have])
			return header, body, err
		}
	}
	if have > size {
		return nil, nil, errors.New("more came than the answer")
	}
	return header, a.buffer[len(header)+4 : size], nil
}

// What an answer's end is while it is not known.
const (
	unread  = -1
	chunked = -2
)

// answerEnd is where the answer with this header ends, or chunked.
func answerEnd(header []byte) (int, error) {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			length, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
			return len(header) + 4 + int(length), err
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return chunked, nil
		}
	}
	return 0, fmt.Errorf("the answer does not say where it ends: %s", header)
}

// unchunk joins the chunks of a body, in its own place.
func unchunk(body []byte) ([]byte, error) {
	joined := body[:0]
	for {
		line, rest, _ := bytes.Cut(body, []byte("\r\n"))
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil || int(size)+2 > len(rest) {
			return nil, fmt.Errorf("bad chunk %.20q: %v", line, err)
		}
		if size == 0 {
			return joined, nil
		}
		joined = append(joined, rest[:size]...)
		body = rest[size+2:]
	}
}
