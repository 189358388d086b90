package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

const (
	rulesFile = "../deploy/prometheus/patientgraph.rules.yml"
	boardFile = "../deploy/grafana/patientgraph.json"
)

// exported is what /metrics shows.
type exported struct {
	text   string
	series map[string][]string // by name: the labels of each
}

var seriesLine = regexp.MustCompile(`(?m)^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)

func scrape(p *Product) exported {
	p.T.Helper()
	status, text := p.Get("/metrics")
	if status != http.StatusOK {
		p.T.Fatalf("/metrics answered %d", status)
	}
	e := exported{text, map[string][]string{}}
	for _, m := range seriesLine.FindAllStringSubmatch(text, -1) {
		e.series[m[1]] = append(e.series[m[1]], m[2])
	}
	return e
}

// has reports whether a series of this name has this label with a value that matches.
func (e exported) has(name, label, pattern string) bool {
	labelled := regexp.MustCompile(`(?:^|,)` + label + `="` + pattern + `"(?:,|$)`)
	return slices.ContainsFunc(e.series[name], labelled.MatchString)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expressions are the queries of the board.
func expressions(t *testing.T) string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, boardFile)), &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			all = append(all, target.Expr)
		}
	}
	if len(all) < 20 {
		t.Fatalf("the board has %d queries", len(all))
	}
	return strings.Join(all, "\n")
}

var (
	comment      = regexp.MustCompile(`(?m)^\s*#.*$`)
	metric       = regexp.MustCompile(`\b(?:patientgraph|process)_[a-z0-9_]+`)
	recordedRule = regexp.MustCompile(`\bpatientgraph:[a-z0-9_:]+`)
	selector     = regexp.MustCompile(`\b(patientgraph_[a-z0-9_]+)\{([^}]*)\}`)
	matcher      = regexp.MustCompile(`([a-z]+)(!?=~?|!~)"([^"]*)"`)
)

func TestTheBoardAndTheRulesAskForWhatIsExported(t *testing.T) {
	t.Parallel()
	e := scrape(StartSystem(t, dbtest.SQLite(t)).Product)
	rules := comment.ReplaceAllString(read(t, rulesFile), "")
	texts := map[string]string{rulesFile: rules, boardFile: expressions(t)}
	for file, text := range texts {
		for _, name := range metric.FindAllString(text, -1) {
			if e.series[name] == nil && !e.isAbsent(name) {
				t.Errorf("%s asks for %s, which is not exported", file, name)
			}
		}
		for _, name := range recordedRule.FindAllString(text, -1) {
			if !strings.Contains(rules, "record: "+name+"\n") {
				t.Errorf("%s asks for %s, which is not recorded", file, name)
			}
		}
		for _, s := range selector.FindAllStringSubmatch(text, -1) {
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if m[1] == "job" || m[1] == "instance" || e.isAbsent(s[1]) { // Prometheus's own
					continue
				}
				for pattern := range strings.SplitSeq(m[3], "|") {
					if !e.has(s[1], m[1], pattern) {
						t.Errorf("%s asks for %s with %s %s, which is not exported", file, s[1], m[1], pattern)
					}
				}
			}
		}
	}
}

// isAbsent reports whether a metric belongs to a part that this program does not run.
func (e exported) isAbsent(name string) bool {
	for _, part := range []string{"patientgraph_mirror_", "patientgraph_verify_"} {
		if strings.HasPrefix(name, part) {
			return !strings.Contains(e.text, "\n"+part)
		}
	}
	return false
}

func TestTheMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	e, docs := scrape(StartSystem(t, dbtest.SQLite(t)).Product), read(t, "../docs/operations.md")
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (patientgraph_\S+)`).FindAllStringSubmatch(e.text, -1) {
		if !strings.Contains(docs, "`"+m[1]) {
			t.Errorf("docs/operations.md does not mention %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`alert: (\S+)`).FindAllStringSubmatch(read(t, rulesFile), -1) {
		if !strings.Contains(docs, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not mention %s", m[1])
		}
	}
}

func TestSeriesOfTheFHIRServerAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	before := scrape(s.Product)
	for _, series := range []string{
		`patientgraph_fhir_request_seconds_count{interaction="update",outcome="ok"} 0`,
		`patientgraph_fhir_request_seconds_count{interaction="token",outcome="authentication failed"} 0`,
		`patientgraph_fhir_request_seconds_count{interaction="history",outcome="lost"} 0`,
		`patientgraph_internal_errors_total 0`, `patientgraph_fhir_down 0`,
	} {
		if !strings.Contains(before.text, "\n"+series+"\n") {
			t.Errorf("at the start there is no %s", series)
		}
	}
	s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Times: 1, Status: http.StatusUnprocessableEntity})
	Want(t, s.Update(Object{"patientId": Number, "phone": "02-1234-5678"}), Object{"__typename": "FhirRejected"})
	Want(t, s.Update(Object{"patientId": Number, "phone": "010-9876-5432"}), Object{"__typename": "UpdatePatientContactSuccess"})
	after := scrape(s.Product)
	for _, series := range []string{
		`patientgraph_fhir_request_seconds_count{interaction="update",outcome="ok"} 1`,
		`patientgraph_fhir_request_seconds_count{interaction="update",outcome="rejected"} 1`,
		`patientgraph_contact_updates_total{outcome="FHIR_REJECTED"} 1`, `patientgraph_contact_updates_total{outcome="SUCCESS"} 1`,
		`patientgraph_cache_updates_total{result="stored"} 2`,
	} {
		if !strings.Contains(after.text, "\n"+series+"\n") {
			t.Errorf("after two writes there is no %s", series)
		}
	}
	// Nothing may grow with what callers send: each label has words of ours.
	for name, all := range after.series {
		if strings.HasPrefix(name, "patientgraph_") && len(all) > len(before.series[name]) {
			t.Errorf("%s has grown from %d to %d series", name, len(before.series[name]), len(all))
		}
	}
}
