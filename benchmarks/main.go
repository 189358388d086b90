// Command benchmarks measures reads side by side: PatientGraph, a handler written by hand
// on the same rows, a handler that answers a constant, and PostGraphile. Each is a process
// of its own, and so is what asks them. They take turns, so that ratios hold on a machine
// that others use too. docs/performance.md has its last table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// programs are what the binary is besides the runner: it starts itself as the first four.
var programs = map[string]func(ctx context.Context, args []string, in io.Reader, out io.Writer) error{
	"hello":     serveHello,
	"byhand":    serveByHand,
	"load":      load,
	"subscribe": subscribe,
	"table":     ofFile(func(r *results, out io.Writer) error { return printTo(out, table(r)) }),
	"draw":      ofFile(func(r *results, out io.Writer) error { return printTo(out, picture(r)) }),
	"docs":      ofFile(func(r *results, _ io.Writer) error { return document("docs", r) }),
}

const usage = `go run ./benchmarks [flags]             measure, and print the table
go run ./benchmarks -rest [flags]       measure memory, the start, and what it costs to be watched
go run ./benchmarks table RESULTS.json  print the table of a run again
go run ./benchmarks draw RESULTS.json   print its picture, an SVG
go run ./benchmarks docs RESULTS.json   write both into ./docs

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := realMain(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func realMain(ctx context.Context, args []string, in io.Reader, out, log io.Writer) error {
	if len(args) > 0 && programs[args[0]] != nil {
		return programs[args[0]](ctx, args[1:], in, out)
	}
	o := options{log: log, sleepers: subscriptions}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, usage); flags.PrintDefaults() }
	flags.IntVar(&o.patients, "patients", 100_000, "how many patients there are")
	flags.IntVar(&o.turns, "turns", 3, "how many turns each server has; the medians are told")
	flags.DurationVar(&o.turn, "turn", 5*time.Second, "how long a turn is measured")
	flags.DurationVar(&o.warm, "warm", time.Second, "how long a turn goes on before that")
	flags.DurationVar(&o.settle, "settle", 8*time.Second, "how long each server is asked before the first turns of a case, for Node compiles what is asked often")
	connections := flags.String("connections", "64", "how many connections ask at once; several, for the picture: 1,8,64,512")
	flags.StringVar(&o.postgres, "postgres", os.Getenv("TEST_POSTGRES_URL"), "a PostgreSQL server that a database can be made on for the run; none: SQLite alone")
	flags.StringVar(&o.postgraphile, "postgraphile", "", "a directory outside of the repository that PostGraphile is installed into by npm; none: it is not measured")
	flags.StringVar(&o.binary, "binary", "", "the patientgraph to measure (default: built from this source)")
	flags.StringVar(&o.beside, "beside", "", "another patientgraph, measured in the same turns; the table calls it the other build")
	results := flags.String("out", "", "a file for all figures, as JSON")
	flags.StringVar(&o.kept, "databases", "", "with -rest: databases that hold the patients already, with commas between them (BenchmarkMillion in ./db fills one); none: they are made for the run")
	atRest := flags.Bool("rest", false, "measure memory, the start, and what log, metrics and rate limit cost, instead of reads")
	quick := flags.Bool("quick", false, "see in seconds that everything works: 1,000 patients, no PostGraphile; the figures mean nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		o.patients, o.turns, o.turn, o.warm, o.settle, o.postgraphile, o.sleepers = 1_000, 1, 100*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, "", 60
	}
	if flags.NArg() > 0 || o.patients < 2*pageSize || o.turns < 1 {
		return fmt.Errorf("no arguments are taken, at least %d patients and one turn; see -h", 2*pageSize)
	}
	for text := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-connections: %q is no number of connections", text)
		}
		o.connections = append(o.connections, n)
	}
	if *atRest {
		text, err := rest(ctx, o)
		if err != nil {
			return err
		}
		return printTo(out, text)
	}
	r, err := run(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprint(out, table(r))
	if *results != "" {
		return r.write(*results)
	}
	return nil
}

// ofFile is a program that does something with the results in a file.
func ofFile(do func(*results, io.Writer) error) func(context.Context, []string, io.Reader, io.Writer) error {
	return func(_ context.Context, args []string, _ io.Reader, out io.Writer) error {
		if len(args) != 1 {
			return errors.New("give one file of results, as -out writes it")
		}
		r, err := readResults(args[0])
		if err != nil {
			return err
		}
		return do(r, out)
	}
}

func printTo(out io.Writer, text string) error {
	_, err := io.WriteString(out, text)
	return err
}

// The part of performance.md that a run writes.
const begins, ends = "<!-- go run ./benchmarks writes from here -->\n", "<!-- to here -->\n"

// document puts the table and the picture of a run into the documentation.
func document(docs string, r *results) error {
	name := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return fmt.Errorf("%s: the comments that say where the table goes are missing", name)
	}
	if err := os.WriteFile(name, []byte(before+begins+table(r)+ends+after), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "images", "latency.svg"), []byte(picture(r)), 0o644)
}
