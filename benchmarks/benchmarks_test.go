package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the runner start this binary as its other programs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && programs[os.Args[1]] != nil {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestQuick runs everything but PostGraphile: each server answers with the same rows, and
// the table and the picture are made of what was measured.
func TestQuick(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.json")
	var out, log strings.Builder
	if err := realMain(t.Context(), []string{"-quick", "-connections", "1,8", "-postgres", os.Getenv("TEST_POSTGRES_URL"), "-out", file}, nil, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	r, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{helloWorld, handWritten + sqlite, patientGraph + sqlite}
	if os.Getenv("TEST_POSTGRES_URL") != "" {
		want = append(want, handWritten+postgreSQL, patientGraph+postgreSQL)
	}
	if got := r.servers(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("measured were %v, want %v", got, want)
	}
	if len(r.Turns) != len(want)*len(cases)*2 {
		t.Errorf("%d turns", len(r.Turns))
	}
	for _, turn := range r.Turns {
		if turn.Requests == 0 || turn.PerSecond == 0 || turn.P50 > turn.P95 || turn.P95 > turn.P99 {
			t.Errorf("a turn without figures: %+v", turn)
		}
	}
	for _, server := range want {
		if !strings.Contains(out.String(), "| "+server+" |") || !strings.Contains(picture(r), ">"+server+"</text>") {
			t.Errorf("%s is not shown:\n%s", server, &out)
		}
	}
	if err := xml.Unmarshal([]byte(picture(r)), new(struct{})); err != nil {
		t.Errorf("the picture: %v", err)
	}
	if os.Getenv("TEST_POSTGRES_URL") == "" {
		t.Skip("TEST_POSTGRES_URL is not set: PostgreSQL was not measured")
	}
}

// TestQuickAtRest measures each figure of -rest.
func TestQuickAtRest(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	var out, log strings.Builder
	if err := realMain(t.Context(), []string{"-rest", "-quick", "-postgres", os.Getenv("TEST_POSTGRES_URL")}, nil, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	for _, what := range []string{"start until", "resident at rest", "at most", "more with 60 ", "processor time"} {
		if !strings.Contains(out.String(), "\n| "+what) {
			t.Errorf("the table lacks %q", what)
		}
	}
	if strings.Contains(out.String(), "at rest | 0.0") {
		t.Errorf("no memory was measured:\n%s", &out)
	}
}

// TestTheLoadGeneratorFailsOnWrongAnswers: what is not the answer is not counted.
func TestTheLoadGeneratorFailsOnWrongAnswers(t *testing.T) {
	t.Parallel()
	const good = `{"data":{"patient":{"id":"P-1"}}}`
	for name, c := range map[string]struct {
		status int
		body   string
		fails  bool
	}{
		"good":                {200, good, false},
		"in chunks":           {0, good, false},
		"another status":      {500, good, true},
		"another patient":     {200, `{"data":{"patient":{"id":"P-2"}}}`, true},
		"nobody":              {200, `{"data":{"patient":null}}`, true},
		"errors":              {200, `{"data":{"patient":{"id":"P-1"}},"errors":[{}]}`, true},
		"errors in chunks":    {0, `{"data":{"patient":{"id":"P-1"}},"errors":[{}]}`, true},
		"longer than allowed": {200, good + strings.Repeat(" ", 70<<10), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked, _ := io.ReadAll(r.Body); string(asked) != `{"id":"P-1"}` {
					t.Errorf("asked was %s", asked)
				}
				if c.status > 0 {
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
					return
				}
				for _, part := range []string{c.body[:30], c.body[30:]} {
					_, _ = io.WriteString(w, part)
					w.(http.Flusher).Flush()
				}
			}))
			defer server.Close()
			told, err := json.Marshal(plan{
				question: question{"/", `{"id":`, `}`, patientBegins, true}, Address: server.Listener.Addr().String(),
				Headers: []string{""}, Values: []string{`"P-1"`}, Connections: 2, Turn: 20 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := load(t.Context(), nil, strings.NewReader(string(told)), &out); (err != nil) != c.fails {
				t.Errorf("%s: %v", &out, err)
			}
		})
	}
}

// TestAServerWithOtherRowsIsRefused: figures of servers that answer something else are
// not compared.
func TestAServerWithOtherRowsIsRefused(t *testing.T) {
	t.Parallel()
	const patients = 2 * pageSize
	expected := expectedRows(patients)
	for name, spoil := range map[string]func([]patient) []patient{
		"none":         func(rows []patient) []patient { return rows },
		"one less":     func(rows []patient) []patient { return rows[1:] },
		"another one":  func(rows []patient) []patient { rows[70].Email = nil; rows[70].Phone = nil; return rows },
		"other order":  func(rows []patient) []patient { rows[3], rows[4] = rows[4], rows[3]; return rows },
		"empty is not": func(rows []patient) []patient { rows[9].Email = new(string); return rows },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := spoil(expectedRows(patients))
			served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var asked struct {
					ID    string
					After *string
				}
				_ = json.NewDecoder(r.Body).Decode(&asked)
				var a answer
				if r.URL.Path == "/patients" {
					from := 0
					if asked.After != nil {
						from = pageSize
					}
					end := "50"
					a.Data.Patients = &page{Nodes: rows[from:min(from+pageSize, len(rows))]}
					a.Data.Patients.PageInfo.HasNextPage, a.Data.Patients.PageInfo.EndCursor = from == 0, &end
				}
				for _, p := range expected {
					if p.ID == asked.ID {
						a.Data.Patient = &p
					}
				}
				reply(w, a)
			}))
			defer served.Close()
			s := &server{name: name, questions: ofByHand, headers: []string{""}, address: served.Listener.Addr().String()}
			values, err := s.check(t.Context(), expected)
			if (err == nil) != (name == "none") {
				t.Errorf("%v", err)
			}
			if err == nil && (len(values[onePatient]) != patients || fmt.Sprint(values[onePage]) != `[null "50"]`) {
				t.Errorf("asked for would be %d patients, and the pages %s", len(values[onePatient]), values[onePage])
			}
		})
	}
}

// TestRatiosAreOfTurnsSideBySide: a machine that is slower in one turn changes no ratio,
// nor does what disturbs one of the servers in one turn.
func TestRatiosAreOfTurnsSideBySide(t *testing.T) {
	t.Parallel()
	r := &results{Patients: 1, TurnTakes: time.Second}
	for server, speeds := range map[string][]float64{
		helloWorld: {800, 80, 800}, handWritten + sqlite: {400, 40, 400}, patientGraph + sqlite: {200, 20, 2},
	} {
		for n, speed := range speeds {
			r.Turns = append(r.Turns, turn{Case: onePatient, Server: server, Connections: 64, Turn: n, PerSecond: speed})
		}
	}
	if ratio := r.ratio(onePatient, patientGraph+sqlite, handWritten+sqlite, 64); ratio != 0.5 {
		t.Errorf("the ratio is %v", ratio)
	}
	if ratio := r.ratio(onePatient, patientGraph+sqlite, postGraphile, 64); ratio != 0 {
		t.Errorf("against what was not measured it is %v", ratio)
	}
	text := table(r)
	for _, line := range []string{
		"| one patient: PatientGraph, SQLite against hand-written, SQLite | 0.5 | 0.78 | 0.95 | below the floor |",
		"| one patient: PatientGraph, SQLite against hello-world | 0.25 | 0.5 | 0.6 | below the floor |",
		"| one patient: PatientGraph, PostgreSQL against PostGraphile | – | 5 | 8 | not measured |",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the table lacks %q:\n%s", line, text)
		}
	}
}

// TestTheDocumentationTakesATable: only what stands between the comments is replaced.
func TestTheDocumentationTakesATable(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	text, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(docs, "images"), 0o755), os.WriteFile(filepath.Join(docs, "performance.md"), text, 0o644)); err != nil {
		t.Fatal(err)
	}
	r := &results{Turns: []turn{{Case: onePatient, Server: helloWorld, Connections: 1}}}
	if err := document(docs, r); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), begins)
	_, after, _ := strings.Cut(string(text), ends)
	if string(got) != before+begins+table(r)+ends+after {
		t.Errorf("performance.md is now:\n%s", got)
	}
}

// TestAServerThatEndsIsNoticed: its command is told, to see why.
func TestAServerThatEndsIsNoticed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	go func() {
		for {
			conn, err := taken.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	s := &server{name: helloWorld, questions: ofHello, headers: []string{""}, address: taken.Addr().String(), command: ourselves("hello", taken.Addr().String()), ended: make(chan struct{})}
	if err := s.start(t.Context()); err == nil || !strings.Contains(err.Error(), "hello "+taken.Addr().String()) {
		t.Errorf("%v", err)
	}
}
