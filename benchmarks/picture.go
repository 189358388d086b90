package main

import (
	"fmt"
	"math"
	"strings"
)

// A picture has a panel for each case and percentile, a line for each server.
const (
	panelWide, panelHigh = 250, 190
	marginLeft           = 72
	marginTop            = 78
	gapWide, gapHigh     = 76, 62
)

// styles are the lines: what is the same program has the same colour, PostgreSQL dashes.
// The colours can be read on white and on black.
func style(server string) (colour, dashes string) {
	name, database, _ := strings.Cut(server, ", ")
	if database == "PostgreSQL" {
		dashes = "6 3"
	}
	return map[string]string{patientGraph: "#d6336c", otherBuild: "#9c6ade", handWritten: "#1c8adb", helloWorld: "#868e96", postGraphile: "#d9730d"}[name], dashes
}

// picture is how p50, p95 and p99 grow with the connections, as an SVG. Both axes are
// logarithmic: what is twice as slow is everywhere as much higher.
func picture(r *results) string {
	var b strings.Builder
	percentiles := []struct {
		name string
		of   func(turn) float64
	}{{"p50", p50}, {"p95", p95}, {"p99", p99}}
	wide := marginLeft + len(percentiles)*(panelWide+gapWide)
	high := marginTop + len(cases)*(panelHigh+gapHigh)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="Latency by the number of connections; the same figures stand in a table beside the picture">
<style>
.page{fill:#fff} text{font:12px system-ui,sans-serif;fill:#1f2328} .grid{stroke:#8886;stroke-width:1} .line{fill:none;stroke-width:2}
@media(prefers-color-scheme:dark){.page{fill:#0d1117} text{fill:#e6edf3}}
</style>
<rect class="page" width="%[1]d" height="%[2]d"/>
<text x="%[3]d" y="18" font-weight="bold">Latency in milliseconds (up) by the number of connections (to the right), both logarithmic</text>
`, wide, high, marginLeft)
	for n, server := range r.servers() {
		colour, dashes := style(server)
		x, y := marginLeft+n%4*225, 38+n/4*18
		fmt.Fprintf(&b, `<line class="line" x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-dasharray="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, y-4, x+26, y-4, colour, dashes, x+32, y, server)
	}
	for row, what := range cases {
		low, top := r.span(what)
		for column, p := range percentiles {
			fmt.Fprintf(&b, `<g transform="translate(%d %d)"><text y="-6" font-weight="bold">%s, %s</text>`+"\n",
				marginLeft+column*(panelWide+gapWide), marginTop+20+row*(panelHigh+gapHigh), what, p.name)
			r.panel(&b, what, p.of, low, top)
			b.WriteString("</g>\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// span is between which powers of ten the latencies of a case are; of what was not
// measured, 0.1 and 1 ms.
func (r *results) span(what string) (low, top float64) {
	fast, slow := 1.0, 0.1
	for _, t := range r.Turns {
		if t.Case == what {
			fast, slow = min(fast, t.P50), max(slow, t.P99)
		}
	}
	low, top = math.Floor(math.Log10(max(fast, 0.001))), math.Ceil(math.Log10(slow))
	return low, max(top, low+1)
}

func (r *results) panel(b *strings.Builder, what string, of func(turn) float64, low, top float64) {
	all, _ := r.connections()
	x := func(n int) float64 {
		if len(all) == 1 {
			return panelWide / 2
		}
		return panelWide * math.Log(float64(n)/float64(all[0])) / math.Log(float64(all[len(all)-1])/float64(all[0]))
	}
	y := func(ms float64) float64 {
		return panelHigh * (top - math.Log10(max(ms, 0.001))) / (top - low)
	}
	for power := low; power <= top; power++ {
		at := y(math.Pow(10, power))
		fmt.Fprintf(b, `<line class="grid" x1="0" y1="%.1f" x2="%d" y2="%.1f"/><text x="-6" y="%.1f" text-anchor="end">%g ms</text>`+"\n", at, panelWide, at, at+4, math.Pow(10, power))
	}
	for _, n := range all {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="0" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(n), x(n), panelHigh, x(n), panelHigh+16, n)
	}
	for _, server := range r.servers() {
		var points []string
		for _, n := range all {
			if turns := r.of(what, server, n); len(turns) > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(n), y(median(turns, of))))
			}
		}
		colour, dashes := style(server)
		fmt.Fprintf(b, `<polyline class="line" points="%s" stroke="%s" stroke-dasharray="%s"/>`+"\n", strings.Join(points, " "), colour, dashes)
		for _, point := range points {
			px, py, _ := strings.Cut(point, ",")
			fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", px, py, colour)
		}
	}
}
