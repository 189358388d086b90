package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are all figures of a run.
type results struct {
	Began     time.Time
	Machine   string
	Load      string // of the machine before the run, a mean of one minute
	Patients  int
	TurnTakes time.Duration
	Turns     []turn
}

// turn is what one server did in one turn.
type turn struct {
	Case, Server               string
	Connections, Turn          int
	Requests                   int
	PerSecond                  float64
	P50, P95, P99              float64 // ms
	ServerMicros, LoaderMicros float64 // of a processor, for each request; without the database server's
}

func newResults(o options) *results {
	r := &results{Began: time.Now().UTC().Truncate(time.Second), Machine: fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()), Patients: o.patients, TurnTakes: o.turn}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, found := strings.Cut(string(info), "model name\t: "); found {
			model, _, _ := strings.Cut(rest, "\n")
			r.Machine = model + ", " + r.Machine
		}
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load, _, _ = strings.Cut(string(load), " ")
	}
	return r
}

func (r *results) write(file string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func readResults(file string) (*results, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(r.Turns) == 0 {
		return nil, fmt.Errorf("%s: no turns", file)
	}
	return &r, nil
}

// connections are the numbers of connections, in order; tabled is the one of the table.
func (r *results) connections() (all []int, tabled int) {
	for _, t := range r.Turns {
		all = append(all, t.Connections)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if slices.Contains(all, 64) {
		return all, 64
	}
	return all, all[len(all)-1]
}

// servers are their names, in the order of the first turn.
func (r *results) servers() (names []string) {
	for _, t := range r.Turns {
		if !slices.Contains(names, t.Server) {
			names = append(names, t.Server)
		}
	}
	return names
}

// of returns the turns of a server, in order.
func (r *results) of(what, server string, connections int) (turns []turn) {
	for _, t := range r.Turns {
		if t.Case == what && t.Server == server && t.Connections == connections {
			turns = append(turns, t)
		}
	}
	return turns
}

// ratio is how many times as many answers a server gives as another one: the median of
// the turns, each against the other's turn beside it. 0: one of them was not measured.
func (r *results) ratio(what, server, against string, connections int) float64 {
	ours, theirs := r.of(what, server, connections), r.of(what, against, connections)
	if len(ours) == 0 || len(ours) != len(theirs) {
		return 0
	}
	ratios := make([]float64, len(ours))
	for n := range ours {
		ratios[n] = ours[n].PerSecond / theirs[n].PerSecond
	}
	return middle(ratios)
}

// median is the median of one figure of some turns.
func median(turns []turn, figure func(turn) float64) float64 {
	figures := make([]float64, len(turns))
	for n, t := range turns {
		figures[n] = figure(t)
	}
	return middle(figures)
}

func middle(figures []float64) float64 {
	slices.Sort(figures)
	n := len(figures)
	if n == 0 {
		return 0
	}
	return (figures[(n-1)/2] + figures[n/2]) / 2
}

func p50(t turn) float64 { return t.P50 }
func p95(t turn) float64 { return t.P95 }
func p99(t turn) float64 { return t.P99 }
