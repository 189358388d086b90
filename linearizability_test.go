package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"patientgraph/fhir/fhirtest"
)

// register is what one patient's phone is to clients: a write that was
// answered with Success took effect between its call and its answer, and a
// read that says SYNCED shows the last write.
var register = porcupine.Model{
	Init: func() any { return "010-1111-2222" },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(access); in.write {
			return true, in.value
		}
		return output.(string) == state.(string), state
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		if in := input.(access); in.write {
			return "write " + in.value
		}
		return "read " + output.(string)
	},
}

type access struct {
	write bool
	value string
}

// TestLinearizable lets 16 writers and 16 readers loose on two processes that
// share a PostgreSQL database, in front of a FHIR server behind a network that
// loses answers; at full length one of the processes is killed again and
// again. Each patient's history must be that of a register.
func TestLinearizable(t *testing.T) {
	length := 6 * time.Second
	if *full {
		length = 2 * time.Minute
	}
	l := newLinear(t)
	began := time.Now()
	over := func() bool { return time.Since(began) > length }
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			for k := 0; !over(); k++ {
				l.write(rand.IntN(len(l.patients)), fmt.Sprintf("010-%04d-%05d", n, k))
			}
		})
		wg.Go(func() {
			for !over() {
				l.read(rand.IntN(len(l.patients)))
			}
		})
	}
	for *full && !over() {
		time.Sleep(10 * time.Second)
		l.replace(1)
	}
	wg.Wait()
	l.network.calm()
	l.check()
}

// linear is two processes on one database, and what clients saw of them.
type linear struct {
	t        *testing.T
	patients []string
	network  *lossyNetwork
	start    func() *process
	epoch    time.Time

	mu        sync.Mutex
	processes [2]*process
	history   [][]porcupine.Operation // of each patient
	unknown   []unknownWrite
	pending   [][]string // values that were read as PENDING
}

// unknownWrite is one whose outcome its answer did not tell.
type unknownWrite struct {
	patient     int
	operation   porcupine.Operation
	operationID any // nil: no answer came
}

func newLinear(t *testing.T) *linear {
	databaseURL, binary := emptyPostgres(t), crashBinary(t)
	server := fhirtest.New(fhirtest.Options{})
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	times := timings{fhir: time.Second, lease: time.Second, settle: 3 * time.Second}
	l := &linear{t: t, epoch: time.Now(), network: newLossyNetwork(t, base, rand.Uint64(), times)}
	lines := ""
	for n := range 6 {
		number := fmt.Sprintf("P-%d", n)
		l.patients = append(l.patients, number)
		if err := server.Put([]byte(testPatient(fhirOf(number), number))); err != nil {
			t.Fatal(err)
		}
		lines += testPatient(fhirOf(number), number) + "\n"
	}
	l.history, l.pending = make([][]porcupine.Operation, len(l.patients)), make([][]string, len(l.patients))
	if out, err := importInto(t, databaseURL, lines); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	l.start = func() *process {
		return launch(t, binary, "FHIR_BASE_URL="+l.network.url, "DATABASE_URL="+databaseURL, "FHIR_TIMEOUT="+times.fhir.String(),
			"PATIENTGRAPH_LEASE="+times.lease.String(), "PATIENTGRAPH_SETTLE="+times.settle.String())
	}
	l.processes = [2]*process{l.start(), l.start()}
	return l
}

// replace kills a process and starts another in its place.
func (l *linear) replace(n int) {
	l.any(n).kill()
	fresh := l.start()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.processes[n] = fresh
}

func (l *linear) any(n int) *process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.processes[n]
}

func (l *linear) now() int64 { return int64(time.Since(l.epoch)) }

func (l *linear) write(patient int, value string) {
	o := porcupine.Operation{Input: access{write: true, value: value}, Call: l.now()}
	data, err := l.any(rand.IntN(2)).call(contactMutation, object{"input": object{"patientId": l.patients[patient], "phone": value}})
	o.Return = l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.unknown = append(l.unknown, unknownWrite{patient, o, nil})
	case data.at("updatePatientContact", "__typename") == "UpdatePatientContactSuccess":
		l.history[patient] = append(l.history[patient], o)
	case data.at("updatePatientContact", "applied") == "UNKNOWN":
		l.unknown = append(l.unknown, unknownWrite{patient, o, data.at("updatePatientContact", "pending")})
	}
	if err != nil {
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *linear) read(patient int) {
	o := porcupine.Operation{Input: access{}, Call: l.now()}
	found, err := l.any(rand.IntN(2)).read(l.patients[patient])
	o.Return, o.Output = l.now(), found.phone
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
	case found.state == "SYNCED":
		l.history[patient] = append(l.history[patient], o)
	default: // a write is under way: the last value, or an older one
		l.pending[patient] = append(l.pending[patient], found.phone)
	}
	time.Sleep(2 * time.Millisecond)
}

// check adds the writes that took effect unseen, and asks Porcupine.
func (l *linear) check() {
	settled := map[string]int{}
	for _, u := range l.unknown {
		state := "NO ANSWER"
		if u.operationID != nil {
			state, _ = l.wait(u.operationID)["state"].(string)
		}
		settled[state]++
		if state == "APPLIED" || state == "NO ANSWER" {
			u.operation.Return = math.MaxInt64 // at any time since, or never
			l.history[u.patient] = append(l.history[u.patient], u.operation)
		}
	}
	for n, history := range l.history {
		for k := range history {
			history[k].ClientId = k // nobody has two at a time
		}
		result, info := porcupine.CheckOperationsVerbose(register, history, 2*time.Minute)
		l.t.Logf("%s: %d operations, %d PENDING reads: %s", l.patients[n], len(history), len(l.pending[n]), result)
		if result != porcupine.Ok {
			picture := filepath.Join(l.t.ArtifactDir(), l.patients[n]+".html")
			l.t.Errorf("%s is no register (%s); see %s (%v)", l.patients[n], result, picture, porcupine.VisualizePath(register, info, picture))
		}
		written := map[string]bool{register.Init().(string): true}
		for _, o := range history {
			written[o.Input.(access).value] = true
		}
		for _, value := range l.pending[n] {
			if !written[value] {
				l.t.Errorf("%s showed %s, which nobody wrote", l.patients[n], value)
			}
		}
	}
	l.t.Logf("writes without a clear answer: %v", settled)
}

// wait returns an update once it is settled.
func (l *linear) wait(operationID any) object {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		data, err := l.any(0).call(updateQuery, object{"id": operationID})
		if err == nil && data.at("contactUpdate", "state") != "PENDING" {
			return data["contactUpdate"].(map[string]any)
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("not settled: %v, %v", data, err)
		}
	}
}
