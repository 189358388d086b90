package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What is measured beside reads.
const (
	subscriptions = 2000
	socketsOfOne  = 50 // as many as a viewer may have
)

// ofRest is what a database has shown.
type ofRest struct {
	database            string
	starts              []float64 // ms until the first answer
	idle, paging, slept float64   // MiB resident: at rest, at most while pages are asked for, more with subscriptions
	watched, unwatched  []float64 // µs of a processor for each answer, in turns
}

// rest measures the memory, the start, and what telemetry and the rate limit cost.
func rest(ctx context.Context, o options) (_ string, err error) {
	dir, err := os.MkdirTemp("", "benchmarks")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	databases, drop, err := o.prepare(ctx, dir)
	defer func() { err = errors.Join(err, drop()) }()
	if err != nil {
		return "", err
	}
	var all []ofRest
	for _, d := range databases {
		m := ofRest{database: d.name}
		for _, measure := range []func(context.Context, options, *database, string, *ofRest) error{starts, memory, sleepers, watching} {
			if err := measure(ctx, o, d, dir, &m); err != nil {
				return "", fmt.Errorf("%s: %w", d.name, err)
			}
		}
		all = append(all, m)
	}
	return restTable(newResults(o), o, all), nil
}

// starts starts the program again and again.
func starts(ctx context.Context, o options, d *database, _ string, m *ofRest) error {
	for range 3 * o.turns {
		s, err := newPatientGraph(patientGraph, o.binary, d)
		if err != nil {
			return err
		}
		began := time.Now()
		err = s.start(ctx)
		m.starts = append(m.starts, float64(time.Since(began).Microseconds())/1000)
		s.stop()
		if err != nil {
			return err
		}
	}
	o.say("%s: ms until the first answer: %.0f", d.name, m.starts)
	return nil
}

// memory looks at a program that was just started, and then is asked for pages.
func memory(ctx context.Context, o options, d *database, _ string, m *ofRest) error {
	return serving(ctx, o, d, func(s *server) (err error) {
		time.Sleep(o.settle)
		if m.idle, err = s.resident("VmRSS"); err != nil {
			return err
		}
		values, err := s.somePages(ctx)
		if err != nil {
			return err
		}
		if _, err := o.measure(ctx, s, onePage, values, settleConnections, 0); err != nil {
			return err
		}
		m.paging, err = s.resident("VmHWM")
		o.say("%s: %.1f MiB at rest, at most %.1f while pages are asked for", d.name, m.idle, m.paging)
		return err
	})
}

// sleepers opens subscriptions that hear of nothing, each on a WebSocket of its own.
func sleepers(ctx context.Context, o options, d *database, _ string, m *ofRest) error {
	return serving(ctx, o, d, func(s *server) error {
		// What the database keeps of what was read once is not of the subscriptions.
		if _, err := o.measure(ctx, s, onePatient, somePatients(o.patients), settleConnections, 0); err != nil {
			return err
		}
		time.Sleep(o.settle)
		before, err := s.resident("VmRSS")
		if err != nil {
			return err
		}
		headers, err := headersOf((o.sleepers + socketsOfOne - 1) / socketsOfOne)
		if err != nil {
			return err
		}
		told, err := json.Marshal(plan{Address: s.address, Headers: headers, Values: somePatients(o.patients), Connections: o.sleepers})
		if err != nil {
			return err
		}
		client := ourselves("subscribe")
		var said bytes.Buffer
		client.Stderr = &said
		in, err := client.StdinPipe()
		if err != nil {
			return err
		}
		if err := client.Start(); err != nil {
			return err
		}
		defer func() {
			_ = in.Close() // it leaves
			_ = client.Wait()
		}()
		if _, err := in.Write(told); err != nil {
			return err
		}
		for open := 0.0; open < float64(o.sleepers); {
			if open, err = s.scrape(ctx, `patientgraph_subscriptions{transport="websocket"}`); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%.0f subscriptions are open: %w %s", open, ctx.Err(), &said)
			case <-time.After(100 * time.Millisecond):
			}
		}
		time.Sleep(o.settle)
		after, err := s.resident("VmRSS")
		m.slept = after - before
		o.say("%s: %.1f MiB more with %d subscriptions", d.name, m.slept, o.sleepers)
		return err
	})
}

// watching compares a program that is watched and bounds its callers with one that is not.
func watching(ctx context.Context, o options, d *database, dir string, m *ofRest) error {
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer file.Close()
	watched, err := newPatientGraph(patientGraph, o.binary, d, "LOG_LEVEL=info", "RATE_LIMIT=1000000")
	if err != nil {
		return err
	}
	watched.command.Stderr = file
	unwatched, err := newPatientGraph(patientGraph, o.binary, d, "LOG_LEVEL=error")
	if err != nil {
		return err
	}
	sides := []struct {
		*server
		micros *[]float64
	}{{watched, &m.watched}, {unwatched, &m.unwatched}}
	for _, s := range sides {
		defer s.stop()
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	scraping, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for range time.Tick(time.Second) {
			if _, err := watched.scrape(scraping, ""); err != nil {
				return
			}
		}
	}()
	for n := range 3 * o.turns {
		for i := range sides {
			s := sides[(i+n)%len(sides)]
			t, err := o.measure(ctx, s.server, onePatient, somePatients(o.patients), settleConnections, n)
			if err != nil {
				return err
			}
			*s.micros = append(*s.micros, t.ServerMicros)
		}
	}
	o.say("%s: µs for each answer: watched %.1f, not %.1f", d.name, m.watched, m.unwatched)
	return nil
}

// serving runs something beside a PatientGraph of its own.
func serving(ctx context.Context, o options, d *database, do func(*server) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	s, err := newPatientGraph(patientGraph, o.binary, d)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	return do(s)
}

// somePatients are numbers that every database of so many patients has.
func somePatients(patients int) (values []string) {
	for n := 1; n <= patients; n += max(1, patients/10_000) {
		values = append(values, asJSON(fmt.Sprintf("P-2025-%06d", n)))
	}
	return values
}

// somePages is how the first pages are asked for; every second time the very first.
func (s *server) somePages(ctx context.Context) (values []string, err error) {
	after := "null"
	for range 100 {
		a, err := s.ask(ctx, onePage, after)
		if err != nil {
			return nil, err
		}
		values = append(values, "null", after)
		if !a.Data.Patients.PageInfo.HasNextPage {
			break
		}
		after = asJSON(a.Data.Patients.PageInfo.EndCursor)
	}
	return values, nil
}

// resident is a figure of the server's memory, in MiB.
func (s *server) resident(figure string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), figure+":")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, err := strconv.ParseFloat(kilobytes, 64)
	return n / 1024, err
}

// scrape reads /metrics, and returns one of the figures, if it is named.
func (s *server) scrape(ctx context.Context, figure string) (n float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), figure+" "); found && figure != "" {
			n, err = strconv.ParseFloat(value, 64)
		}
	}
	return n, errors.Join(err, lines.Err())
}

// restTable is what was measured, in Markdown.
func restTable(r *results, o options, all []ofRest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d patients. %s; %s; load of the machine before the run: %s.\n\n", o.patients, r.Began.Format("2006-01-02"), r.Machine, r.Load)
	row := func(what, goal string, cell func(ofRest) string) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, m := range all {
			fmt.Fprintf(&b, " %s |", cell(m))
		}
		fmt.Fprintf(&b, " %s |\n", goal)
	}
	row("", "goal", func(m ofRest) string { return m.database })
	row("---", "---", func(ofRest) string { return "---" })
	row("start until the first answer: median, longest", "300 ms", func(m ofRest) string {
		median := middle(m.starts) // it sorts them
		return fmt.Sprintf("%.0f, %.0f ms", median, m.starts[len(m.starts)-1])
	})
	row("resident at rest", "30 MiB", func(m ofRest) string { return fmt.Sprintf("%.1f MiB", m.idle) })
	row(fmt.Sprintf("at most, while %d connections ask for pages of 50", settleConnections), "80 MiB", func(m ofRest) string { return fmt.Sprintf("%.1f MiB", m.paging) })
	row(fmt.Sprintf("more with %d idle subscriptions", o.sleepers), "60 MiB", func(m ofRest) string { return fmt.Sprintf("%.1f MiB", m.slept) })
	row("processor time of one patient, watched and bounded against neither", "1.05", func(m ofRest) string {
		ratios := make([]float64, len(m.watched))
		for n := range ratios {
			ratios[n] = m.watched[n] / m.unwatched[n]
		}
		return fmt.Sprintf("%.2f (%.1f, %.1f µs)", middle(ratios), middle(m.watched), middle(m.unwatched))
	})
	return b.String()
}
