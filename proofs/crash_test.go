package proofs_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// killSteps reads the steps that writethrough/steps.go names.
func killSteps(t *testing.T) (steps []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../writethrough/steps.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if name, found := n.(*ast.BasicLit); found {
			step, err := strconv.Unquote(name.Value)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		return true
	})
	if len(steps) == 0 {
		t.Fatal("writethrough/steps.go names no step")
	}
	return steps
}

// TestCrash kills the real binary at every step of the write protocol, under
// a random load and on a network that loses answers, and starts it again. In
// the end every patient equals the FHIR server, every answer was true, and no
// write happened twice.
func TestCrash(t *testing.T) {
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		simulated(t, databaseURL).killEverywhere(length(len(killSteps(t)), 500))
	})
}

// TestCrashOpenEMR is TestCrash in front of an OpenEMR, where no If-Match keeps a PUT
// of the process that died from landing after others.
func TestCrashOpenEMR(t *testing.T) {
	t.Parallel()
	for n, database := range []func(testing.TB) string{dbtest.SQLite, dbtest.Postgres} {
		for _, version := range openEMRs(3 * n) {
			t.Run(version+[]string{" on SQLite", " on PostgreSQL"}[n], func(t *testing.T) {
				t.Parallel()
				simulatedBy(t, fhirsim.OpenEMR(version), database(t)).killEverywhere(length(len(killSteps(t)), 150))
			})
		}
	}
}

// TestCrashHAPI is TestCrash in front of a real HAPI FHIR server, which
// another client writes to as well.
func TestCrashHAPI(t *testing.T) {
	hapi := HAPI(t)
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		c := newCrash(t, fhirsim.HAPI(), databaseURL, hapi.URL, hapiTruth{hapi}, timings{fhir: 1500 * time.Millisecond, lease: 600 * time.Millisecond, settle: 4 * time.Second})
		c.killEverywhere(length(3, 60))
	})
}

type timings struct{ fhir, lease, settle time.Duration }

// settings are those of the binary with the hook that kills it.
func (t timings) settings() []string {
	return []string{"FHIR_TIMEOUT=" + t.fhir.String(), "PATIENTGRAPH_LEASE=" + t.lease.String(), "PATIENTGRAPH_SETTLE=" + t.settle.String()}
}

// crash is one long life of a cache whose process keeps dying.
type crash struct {
	t           *testing.T
	binary      string
	databaseURL string
	habits      fhirsim.Habits
	timings     timings
	truth       truth
	network     *lossyNetwork
	patients    []string // their numbers; the FHIR id is fhirOf(number)
	lines       string   // the same, to import
	random      *rand.Rand
	*record
}

const crashPatients = 16

// simulated is a crash in front of a FHIR server of this process; without a URL
// nothing is imported yet.
func simulated(t *testing.T, databaseURL string) *crash {
	t.Helper()
	return simulatedBy(t, fhirsim.HAPI(), databaseURL)
}

func simulatedBy(t *testing.T, habits fhirsim.Habits, databaseURL string) *crash {
	t.Helper()
	server, base := StartFHIR(t, fhirsim.Options{Habits: habits})
	server.SetFault("", fhirsim.Fault{On: http.MethodPut, Store: lowerEmails})
	c := newCrash(t, habits, databaseURL, base, memoryTruth{server}, timings{fhir: 600 * time.Millisecond, lease: 400 * time.Millisecond, settle: 2 * time.Second})
	c.lowers = true
	return c
}

// lowerEmails keeps the addresses of the load in lower case.
func lowerEmails(_, body []byte) []byte {
	return bytes.ReplaceAll(body, []byte(`"value":"U`), []byte(`"value":"u`))
}

func newCrash(t *testing.T, habits fhirsim.Habits, databaseURL, base string, server truth, times timings) *crash {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if fixed := os.Getenv("CRASH_SEED"); fixed != "" {
		var err error
		if seed, err = strconv.ParseUint(fixed, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CRASH_SEED=%d", seed)
	c := &crash{
		t: t, binary: Binary(t, "crashtest"), databaseURL: databaseURL, habits: habits, timings: times, truth: server,
		random: rand.New(rand.NewPCG(seed, 1)), record: &record{values: map[string]*request{}},
	}
	run := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + strconv.FormatUint(seed%1e9, 36)
	for n := range crashPatients {
		c.patients = append(c.patients, fmt.Sprintf("P-%s-%03d", run, n))
		resource := patientFor(habits, fhirOf(c.patients[n]), c.patients[n])
		c.lines += resource + "\n"
		if err := server.put(resource); err != nil {
			t.Fatal(err)
		}
	}
	if databaseURL != "" {
		importFrom(t, habits, databaseURL, c.lines)
	}
	c.network = newLossyNetwork(t, base, seed, times)
	return c
}

func fhirOf(number string) string { return strings.ToLower(number) }

// killEverywhere starts, loads and kills the program that often, then lets it
// settle everything and checks what is left.
func (c *crash) killEverywhere(kills int) {
	steps, byStep := killSteps(c.t), map[string]int{}
	outside := 0
	for done := 0; done < kills; done++ {
		step := steps[c.random.IntN(len(steps))]
		if done < len(steps) {
			step = steps[done]
		}
		p := c.launch(fmt.Sprintf("%s:%d", step, 1+c.random.IntN(comesBy(step))))
		c.pendingWhereItDiffers(p)
		stopLoad := c.load(p)
		select {
		case <-p.Dead:
			byStep[step]++
		case <-time.After(3 * time.Second):
			outside++
			p.Kill()
		}
		stopLoad()
		if state := p.Command.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGKILL {
			c.t.Fatalf("the process ended by itself: %v\n%s", state, p.Log)
		}
	}
	for _, step := range slices.Sorted(maps.Keys(byStep)) {
		c.t.Logf("killed %4d times at %s", byStep[step], step)
	}
	c.t.Logf("killed %4d times from outside", outside)
	p := c.launch("")
	defer p.Kill()
	c.network.calm()
	c.settle(p)
	c.check(p)
}

// comesBy bounds how often a step is let pass.
func comesBy(step string) int {
	if strings.HasSuffix(step, "settled") {
		return 4
	}
	return 40
}

// launch starts the program; killAt is for its hook.
func (c *crash) launch(killAt string) *Process {
	return Launch(c.t, c.binary, c.network.url, c.databaseURL, append(c.timings.settings(), "PATIENTGRAPH_KILL_AT="+killAt, numbersOf(c.habits))...)
}

// pendingWhereItDiffers checks that right after a start a patient whose cached
// contact is not the FHIR server's says PENDING.
func (c *crash) pendingWhereItDiffers(p *Process) {
	for _, number := range c.patients {
		for try := 0; ; try++ {
			before, err := c.truth.current(fhirOf(number))
			if err != nil {
				c.t.Fatal(err)
			}
			cached, err := p.Read(number)
			if err != nil {
				return // killed already
			}
			after, err := c.truth.current(fhirOf(number))
			if err != nil {
				c.t.Fatal(err)
			}
			if cached.State == "PENDING" || cached.Contact == before || cached.Contact == after {
				break
			}
			if try == 3 { // it is no write that landed just now
				c.t.Errorf("after a restart %s says %s with %v; the FHIR server has %v", number, cached.State, cached.Contact, after)
				break
			}
		}
	}
}

// load sends writes and reads until its end is called or the process is dead.
func (c *crash) load(p *Process) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 8 {
		seed := c.random.Uint64()
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 2))
			for ctx.Err() == nil && p.Alive() {
				c.write(p, c.next(random, c.patients))
			}
		})
	}
	seed := c.random.Uint64()
	wg.Go(func() {
		random := rand.New(rand.NewPCG(seed, 3))
		for ctx.Err() == nil && p.Alive() {
			number := c.patients[random.IntN(len(c.patients))]
			if seen, err := p.Read(number); err == nil {
				c.sample(number, seen)
			}
			if random.IntN(20) == 0 {
				c.truth.compete(fhirOf(number), random.IntN(1000))
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// settle waits until no patient is PENDING and, where the test can see the journal,
// nothing in it is open.
func (c *crash) settle(p *Process) {
	open := func() (count int, err error) { return 0, nil }
	if c.databaseURL != "" {
		journal := dbtest.Open(c.t, c.databaseURL)
		open = func() (count int, err error) {
			err = journal.QueryRow("SELECT count(*) FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN')").Scan(&count)
			return count, err
		}
	}
	last := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%s; the log:\n%s", last, p.Log)
		}
	}()
	wait.Until(c.t, "nothing is PENDING, and no update open", func() bool {
		data, err := p.Call(`{ patients(filter: { syncState: PENDING }, first: 1) { totalCount } }`, nil)
		pending := data.At("patients", "totalCount")
		count, journalErr := open()
		last = fmt.Sprintf("%v patients are PENDING, %d updates open (%v, %v)", pending, count, err, journalErr)
		return err == nil && journalErr == nil && pending == float64(0) && count == 0
	})
}
