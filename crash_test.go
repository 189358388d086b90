package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"patientgraph/fhir/fhirtest"
)

// killSteps are the steps of writethrough/steps.go.
var killSteps = []string{
	"before-accepted", "after-accepted", "before-sent", "after-sent", "put-left", "answer-came",
	"before-commit", "after-commit", "before-settled", "after-settled",
}

// TestCrash kills the real binary at every step of the write protocol, under
// a random load and on a network that loses answers, and starts it again. In
// the end every patient equals the FHIR server, every answer was true, and no
// write happened twice.
func TestCrash(t *testing.T) {
	kills := 10
	if *full {
		kills = 500
	}
	binary := crashBinary(t)
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		server := fhirtest.New(fhirtest.Options{})
		base, stop, err := server.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		c := newCrash(t, binary, databaseURL, base, memoryTruth{server}, timings{fhir: 600 * time.Millisecond, lease: 400 * time.Millisecond, settle: 2 * time.Second})
		c.killEverywhere(kills)
	})
}

// TestCrashHAPI is TestCrash in front of a real HAPI FHIR server, which
// another client writes to as well.
func TestCrashHAPI(t *testing.T) {
	kills := 3
	if *full {
		kills = 60
	}
	hapi := hapiTruth{base: hapiURL(t)}
	binary := crashBinary(t)
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		c := newCrash(t, binary, databaseURL, hapi.base, hapi, timings{fhir: 1500 * time.Millisecond, lease: 600 * time.Millisecond, settle: 4 * time.Second})
		c.killEverywhere(kills)
	})
}

type timings struct{ fhir, lease, settle time.Duration }

// crash is one long life of a cache whose process keeps dying.
type crash struct {
	t           *testing.T
	binary      string
	databaseURL string
	timings     timings
	truth       truth
	network     *lossyNetwork
	patients    []string // their numbers; the FHIR id is fhirOf(number)
	lines       string   // the same, to import
	random      *rand.Rand
	*record
}

const crashPatients = 16

func newCrash(t *testing.T, binary, databaseURL, base string, server truth, times timings) *crash {
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
		t: t, binary: binary, databaseURL: databaseURL, timings: times, truth: server,
		random: rand.New(rand.NewPCG(seed, 1)), record: &record{values: map[string]*request{}},
	}
	run := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + strconv.FormatUint(seed%1e9, 36)
	var lines strings.Builder
	for n := range crashPatients {
		number := fmt.Sprintf("P-%s-%03d", run, n)
		c.patients = append(c.patients, number)
		if err := server.put(testPatient(fhirOf(number), number)); err != nil {
			t.Fatal(err)
		}
		lines.WriteString(testPatient(fhirOf(number), number) + "\n")
	}
	c.lines = lines.String()
	if databaseURL != "" {
		if out, err := importInto(t, databaseURL, c.lines); err != nil {
			t.Fatalf("import: %v\n%s", err, out)
		}
	}
	c.network = newLossyNetwork(t, base, seed, times)
	return c
}

func fhirOf(number string) string { return strings.ToLower(number) }

// killEverywhere starts, loads and kills the program that often, then lets it
// settle everything and checks what is left.
func (c *crash) killEverywhere(kills int) {
	byStep := map[string]int{}
	outside := 0
	for done := 0; done < kills; done++ {
		step := killSteps[c.random.IntN(len(killSteps))]
		if done < len(killSteps) {
			step = killSteps[done]
		}
		p := c.launch(fmt.Sprintf("%s:%d", step, 1+c.random.IntN(comesBy(step))))
		c.pendingWhereItDiffers(p)
		stopLoad := c.load(p)
		select {
		case <-p.dead:
			byStep[step]++
		case <-time.After(3 * time.Second):
			outside++
			p.kill()
		}
		stopLoad()
		if state := p.command.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGKILL {
			c.t.Fatalf("the process ended by itself: %v\n%s", state, p.log)
		}
	}
	for _, step := range slices.Sorted(maps.Keys(byStep)) {
		c.t.Logf("killed %4d times at %s", byStep[step], step)
	}
	c.t.Logf("killed %4d times from outside", outside)
	p := c.launch("")
	defer p.kill()
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
func (c *crash) launch(killAt string) *process {
	return launch(c.t, c.binary, "FHIR_BASE_URL="+c.network.url, "DATABASE_URL="+c.databaseURL,
		"FHIR_TIMEOUT="+c.timings.fhir.String(), "PATIENTGRAPH_KILL_AT="+killAt,
		"PATIENTGRAPH_LEASE="+c.timings.lease.String(), "PATIENTGRAPH_SETTLE="+c.timings.settle.String())
}

// pendingWhereItDiffers checks that right after a start a patient whose cached
// contact is not the FHIR server's says PENDING.
func (c *crash) pendingWhereItDiffers(p *process) {
	for _, number := range c.patients {
		for try := 0; ; try++ {
			before, err := c.truth.current(fhirOf(number))
			if err != nil {
				c.t.Fatal(err)
			}
			cached, err := p.read(number)
			if err != nil {
				return // killed already
			}
			after, err := c.truth.current(fhirOf(number))
			if err != nil {
				c.t.Fatal(err)
			}
			if cached.state == "PENDING" || cached.contact == before || cached.contact == after {
				break
			}
			if try == 3 { // it is no write that landed just now
				c.t.Errorf("after a restart %s says %s with %v; the FHIR server has %v", number, cached.state, cached.contact, after)
				break
			}
		}
	}
}

// load sends writes and reads until its end is called or the process is dead.
func (c *crash) load(p *process) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 8 {
		seed := c.random.Uint64()
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 2))
			for ctx.Err() == nil && p.alive() {
				c.write(p, c.next(random, c.patients))
			}
		})
	}
	seed := c.random.Uint64()
	wg.Go(func() {
		random := rand.New(rand.NewPCG(seed, 3))
		for ctx.Err() == nil && p.alive() {
			number := c.patients[random.IntN(len(c.patients))]
			if seen, err := p.read(number); err == nil {
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

// settle waits until no patient is PENDING and nothing in the journal is open.
func (c *crash) settle(p *process) {
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		data, err := p.call(`{ patients(filter: { syncState: PENDING }, first: 1) { totalCount } }`, nil)
		pending := data.at("patients", "totalCount")
		open, journalErr := c.open()
		if err == nil && journalErr == nil && pending == float64(0) && open == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%v patients are PENDING, %d updates open (%v, %v); the log:\n%s", pending, open, err, journalErr, p.log)
		}
	}
}

// open counts the journal's open updates, where the test can see the database.
func (c *crash) open() (count int, err error) {
	driver, source := "pgx", c.databaseURL
	if path, found := strings.CutPrefix(c.databaseURL, "sqlite:"); found {
		driver, source = "sqlite", path
	}
	if source == "" {
		return 0, nil
	}
	journal, err := sql.Open(driver, source)
	if err != nil {
		return 0, err
	}
	defer journal.Close()
	err = journal.QueryRow("SELECT count(*) FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN')").Scan(&count)
	return count, err
}
