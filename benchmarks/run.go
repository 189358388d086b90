package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// settleConnections ask before the first turns.
const settleConnections = 64

// options are what the flags say.
type options struct {
	patients, turns        int
	turn, warm, settle     time.Duration
	connections            []int
	postgres, postgraphile string
	binary, beside, kept   string
	sleepers               int
	log                    io.Writer
}

// run measures.
func run(ctx context.Context, o options) (_ *results, err error) {
	dir, err := os.MkdirTemp("", "benchmarks")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := newResults(o)
	databases, drop, err := o.prepare(ctx, dir)
	defer func() { err = errors.Join(err, drop()) }()
	if err != nil {
		return nil, err
	}
	servers, err := o.servers(ctx, databases)
	if err != nil {
		return nil, err
	}
	values := map[*server]map[string][]string{}
	expected := expectedRows(o.patients)
	for _, s := range servers {
		defer s.stop()
		o.say("starting %s, and checking its rows", s.name)
		if err := s.start(ctx); err != nil {
			return nil, err
		}
		if !s.rows {
			values[s] = map[string][]string{onePatient: {asJSON(expected[0].ID)}, onePage: {"null"}}
			continue
		}
		if values[s], err = s.check(ctx, expected); err != nil {
			return nil, err
		}
	}
	for _, what := range cases {
		settling := o
		settling.turn = o.settle
		for _, s := range servers {
			if _, err := settling.measure(ctx, s, what, values[s][what], settleConnections, o.turns); err != nil {
				return nil, err
			}
		}
		for _, connections := range o.connections {
			for n := range o.turns {
				for i := range servers {
					s := servers[(i+n)%len(servers)] // nobody is always the first
					t, err := o.measure(ctx, s, what, values[s][what], connections, n)
					if err != nil {
						return nil, err
					}
					o.say("%s, %d connections, turn %d: %s: %.0f/s", what, connections, n+1, s.name, t.PerSecond)
					r.Turns = append(r.Turns, *t)
				}
			}
		}
	}
	return r, nil
}

func (o options) say(format string, args ...any) {
	fmt.Fprintf(o.log, format+"\n", args...)
}

// prepare builds the program, unless one is named, and fills the databases. drop is called
// at the end, also after an error.
func (o *options) prepare(ctx context.Context, dir string) (all []*database, drop func() error, err error) {
	drop = func() (err error) {
		for _, d := range all {
			err = errors.Join(err, d.drop())
		}
		return err
	}
	if o.binary == "" {
		o.say("building patientgraph")
		if o.binary, err = build(ctx, dir); err != nil {
			return nil, drop, err
		}
	}
	if o.kept != "" {
		for address := range strings.SplitSeq(o.kept, ",") {
			all = append(all, keptDatabase(address))
		}
		return all, drop, nil
	}
	all, err = o.databases(ctx, dir)
	return all, drop, err
}

// databases returns also with an error those that must be dropped.
func (o options) databases(ctx context.Context, dir string) (all []*database, err error) {
	o.say("importing %d patients into SQLite", o.patients)
	d, err := newSQLite(ctx, dir, o.binary, o.patients)
	if err != nil {
		return nil, err
	}
	all = append(all, d)
	if o.postgres == "" {
		o.say("no -postgres, nor TEST_POSTGRES_URL: without PostgreSQL")
		return all, nil
	}
	o.say("importing %d patients into PostgreSQL", o.patients)
	if d, err = newPostgres(ctx, o.postgres, o.binary, o.patients); err != nil {
		return all, err
	}
	return append(all, d), nil
}

func (o options) servers(ctx context.Context, databases []*database) ([]*server, error) {
	hello, err := newHello()
	if err != nil {
		return nil, err
	}
	all := []*server{hello}
	for _, d := range databases {
		byHand, err := newByHand(d)
		if err != nil {
			return nil, err
		}
		product, err := newPatientGraph(patientGraph, o.binary, d)
		if err != nil {
			return nil, err
		}
		all = append(all, byHand, product)
		if o.beside != "" {
			beside, err := newPatientGraph(otherBuild, o.beside, d)
			if err != nil {
				return nil, err
			}
			all = append(all, beside)
		}
		if d.driver == "pgx" && o.postgraphile != "" {
			o.say("installing PostGraphile, if it is not yet")
			other, err := newPostGraphile(ctx, o.postgraphile, d)
			if err != nil {
				return nil, err
			}
			all = append(all, other)
		}
	}
	return all, nil
}

// measure has one turn.
func (o options) measure(ctx context.Context, s *server, what string, values []string, connections, n int) (*turn, error) {
	told, err := json.Marshal(plan{
		question: s.questions[what], Address: s.address, Headers: s.headers, Values: values,
		Connections: connections, Warm: o.warm, Turn: o.turn, Seed: uint64(n),
	})
	if err != nil {
		return nil, err
	}
	var said, failed bytes.Buffer
	loader := ourselves("load")
	loader.Env = append(os.Environ(), "GOMAXPROCS=1")
	loader.Stdin, loader.Stdout, loader.Stderr = bytes.NewReader(told), &said, &failed
	before := processorTime(s.command.Process.Pid)
	if err := loader.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = loader.Process.Kill() })
	defer stop()
	if err := loader.Wait(); err != nil {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("%s, %s: %w: %s", s.name, what, err, &failed))
	}
	used := processorTime(s.command.Process.Pid) - before
	var m measured
	if err := json.Unmarshal(said.Bytes(), &m); err != nil {
		return nil, err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(m.All) }
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &turn{
		Case: what, Server: s.name, Connections: connections, Turn: n,
		Requests: m.Requests, PerSecond: float64(m.Requests) / o.turn.Seconds(),
		P50: ms(m.P50), P95: ms(m.P95), P99: ms(m.P99),
		ServerMicros: each(used), LoaderMicros: each(loader.ProcessState.UserTime() + loader.ProcessState.SystemTime()),
	}, nil
}

// processorTime is what a process and its children have used; 0 where /proc is not.
func processorTime(pid int) (used time.Duration) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var user, system int64                                        // in hundredths of a second
	if _, fields, found := bytes.Cut(text, []byte(") ")); found { // what is before it may hold blanks
		var skip string
		_, _ = fmt.Sscan(string(fields), &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
	}
	used = time.Duration(user+system) * 10 * time.Millisecond
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list) // it may have ended
		for _, child := range bytes.Fields(children) {
			var pid int
			if _, err := fmt.Sscan(string(child), &pid); err == nil {
				used += processorTime(pid)
			}
		}
	}
	return used
}
