package main

import (
	"fmt"
	"strings"
)

// goal is what a ratio shall be: at least the floor, at best the goal.
type goal struct {
	what, server, against string
	floor, goal           float64
}

const sqlite, postgreSQL = ", SQLite", ", PostgreSQL"

var goals = []goal{
	{onePatient, patientGraph + sqlite, handWritten + sqlite, 0.78, 0.95},
	{onePatient, patientGraph + postgreSQL, handWritten + postgreSQL, 0.78, 0.95},
	{onePage, patientGraph + sqlite, handWritten + sqlite, 0.50, 0.90},
	{onePage, patientGraph + postgreSQL, handWritten + postgreSQL, 0.50, 0.90},
	{onePatient, patientGraph + sqlite, helloWorld, 0.50, 0.60},
	{onePatient, patientGraph + postgreSQL, helloWorld, 0.50, 0.60},
	{onePage, patientGraph + sqlite, helloWorld, 0.10, 0.18},
	{onePage, patientGraph + postgreSQL, helloWorld, 0.10, 0.18},
	{onePatient, patientGraph + postgreSQL, postGraphile, 5, 8},
	{onePage, patientGraph + postgreSQL, postGraphile, 2.5, 4},
}

// table is what a run has shown, in Markdown.
func table(r *results) string {
	var b strings.Builder
	all, connections := r.connections()
	turns := len(r.of(cases[0], r.Turns[0].Server, connections))
	fmt.Fprintf(&b, "%d patients, %d connections, turns of %s: %d for each server, of which the median stands here. %s; %s; load of the machine before the run: %s.\n",
		r.Patients, connections, r.TurnTakes, turns, r.Began.Format("2006-01-02"), r.Machine, r.Load)
	for _, what := range cases {
		fmt.Fprintf(&b, "\n| %s | answers/s | p50, p95, p99 in ms | against hand-written | against hello-world | against PostGraphile | µs of a processor for each answer |\n|---|---|---|---|---|---|---|\n", what)
		for _, server := range r.servers() {
			_, database, _ := strings.Cut(server, ", ")
			turns := r.of(what, server, connections)
			fmt.Fprintf(&b, "| %s | %.0f | %.2f, %.2f, %.2f | %s | %s | %s | %s |\n", server,
				median(turns, func(t turn) float64 { return t.PerSecond }), median(turns, p50), median(turns, p95), median(turns, p99),
				r.against(what, server, handWritten+", "+database, connections), r.against(what, server, helloWorld, connections),
				r.against(what, server, postGraphile, connections), figure(median(turns, func(t turn) float64 { return t.ServerMicros }), "%.0f"))
		}
		loader := median(r.of(what, helloWorld, connections), func(t turn) float64 { return t.LoaderMicros })
		fmt.Fprintf(&b, "\nThe load generator itself took %s µs of a processor for each of hello-world's answers.\n", figure(loader, "%.1f"))
	}
	b.WriteString("\n| | measured | floor | goal | |\n|---|---|---|---|---|\n")
	for _, g := range goals {
		ratio := r.ratio(g.what, g.server, g.against, connections)
		says := "below the floor"
		switch {
		case ratio == 0:
			says = "not measured"
		case ratio >= g.goal:
			says = "goal met"
		case ratio >= g.floor:
			says = "floor met"
		}
		fmt.Fprintf(&b, "| %s: %s against %s | %s | %v | %v | %s |\n", g.what, g.server, g.against, figure(ratio, "%.3g"), g.floor, g.goal, says)
	}
	if len(all) > 1 {
		b.WriteString("\n" + r.latencies(all))
	}
	return b.String()
}

// against is a ratio as the table has it.
func (r *results) against(what, server, against string, connections int) string {
	if server == against {
		return ""
	}
	return figure(r.ratio(what, server, against, connections), "%.3g")
}

func figure(f float64, format string) string {
	if f == 0 {
		return "–"
	}
	return fmt.Sprintf(format, f)
}

// latencies are those of the picture.
func (r *results) latencies(all []int) string {
	var b strings.Builder
	b.WriteString("| p50, p95, p99 in ms, by the number of connections |")
	for _, n := range all {
		fmt.Fprintf(&b, " %d |", n)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, what := range cases {
		for _, server := range r.servers() {
			fmt.Fprintf(&b, "| %s: %s |", what, server)
			for _, n := range all {
				turns := r.of(what, server, n)
				fmt.Fprintf(&b, " %.2f, %.2f, %.2f |", median(turns, p50), median(turns, p95), median(turns, p99))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
