package proofs_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"

	"github.com/anishathalye/porcupine"
	"github.com/tidwall/sjson"

	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
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
// again. Each patient's history must be that of a register; what says PENDING
// may be old, but not older than what anybody was shown before; and what was
// told of each write must be what the FHIR server's history shows.
//
// Without versions the same holds while nobody else writes: the settle window keeps a
// lost PUT from landing after the next one, at the price that the patient waits for it.
func TestLinearizable(t *testing.T) {
	onHAPI(t, func(t *testing.T, databaseURL string, habits fhirsim.Habits) { linearizable(t, databaseURL, habits) })
	for _, version := range openEMRs(3) {
		t.Run("OpenEMR "+version, func(t *testing.T) {
			t.Parallel()
			linearizable(t, dbtest.Postgres(t), fhirsim.OpenEMR(version))
		})
	}
}

// TestLinearizableWhileFollowing is the same with a product that follows the FHIR server,
// where others change another element of the same patients all the time: the mirror takes
// new versions beside the writers. What they change may be seen late, so the register is
// the phone, which we alone write: the cache may be behind the EMR, never behind our own
// writes, nor behind what anybody was shown before.
func TestLinearizableWhileFollowing(t *testing.T) {
	onHAPI(t, func(t *testing.T, databaseURL string, habits fhirsim.Habits) {
		linearizable(t, databaseURL, habits, "SYNC_INTERVAL=100ms")
	})
}

func linearizable(t *testing.T, databaseURL string, habits fhirsim.Habits, settings ...string) {
	length := 6 * time.Second
	if *full {
		length = 2 * time.Minute
	}
	l := newLinear(t, databaseURL, habits, settings...)
	began := time.Now()
	over := func() bool { return time.Since(began) > length }
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			for k := 0; !over(); k++ {
				l.write(rand.IntN(len(l.fhir.patients)), fmt.Sprintf("010-%04d-%05d", n, k))
			}
		})
		wg.Go(func() {
			for !over() {
				l.read(rand.IntN(len(l.fhir.patients)))
			}
		})
	}
	if l.follows {
		wg.Go(func() {
			for k := 0; !over(); k++ {
				l.outside(rand.IntN(len(l.fhir.patients)), fmt.Sprint("Min-", k))
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
	t       *testing.T
	fhir    *watchedFHIR
	network *lossyNetwork
	follows bool // the product follows the FHIR server, where others write too
	start   func() *Process
	epoch   time.Time

	mu        sync.Mutex
	processes [2]*Process
	history   [][]porcupine.Operation // of each patient
	unknown   []unknownWrite
	shown     [][]shownPhone    // of each patient
	pending   int               // how many of them said PENDING
	told      map[string]string // by phone: what its writer was told
}

// shownPhone is a phone that somebody was shown as the cache's.
type shownPhone struct {
	phone            string
	called, returned int64
}

// unknownWrite is one whose outcome its answer did not tell.
type unknownWrite struct {
	patient     int
	operation   porcupine.Operation
	operationID any // nil: no answer came
}

func newLinear(t *testing.T, databaseURL string, habits fhirsim.Habits, settings ...string) *linear {
	binary, patients := Binary(t, "crashtest"), 6
	times := timings{fhir: time.Second, lease: time.Second, settle: 3 * time.Second}
	if habits.OpenEMR {
		patients = 24 // many of them wait
	}
	f := watchFHIR(t, habits, patients)
	l := &linear{
		t: t, follows: len(settings) > 0, epoch: time.Now(), fhir: f, network: newLossyNetwork(t, f.url, rand.Uint64(), times), told: map[string]string{},
		history: make([][]porcupine.Operation, len(f.patients)), shown: make([][]shownPhone, len(f.patients)),
	}
	importFrom(t, habits, databaseURL, f.lines())
	l.start = func() *Process {
		return Launch(t, binary, l.network.url, databaseURL, append(append(times.settings(), numbersOf(habits)), settings...)...)
	}
	l.processes = [2]*Process{l.start(), l.start()}
	return l
}

// replace kills a process and starts another in its place.
func (l *linear) replace(n int) {
	l.any(n).Kill()
	fresh := l.start()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.processes[n] = fresh
}

func (l *linear) any(n int) *Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.processes[n]
}

func (l *linear) now() int64 { return int64(time.Since(l.epoch)) }

func (l *linear) write(patient int, value string) {
	o := porcupine.Operation{Input: access{write: true, value: value}, Call: l.now()}
	answer, err := l.any(rand.IntN(2)).TryUpdate(Object{"patientId": l.fhir.patients[patient], "phone": value})
	o.Return = l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.unknown = append(l.unknown, unknownWrite{patient, o, nil})
		time.Sleep(20 * time.Millisecond)
	case answer["__typename"] == "UpdatePatientContactSuccess":
		l.told[value] = "Success"
		l.history[patient] = append(l.history[patient], o)
		if answer.At("patient", "syncState") == "SYNCED" {
			l.shown[patient] = append(l.shown[patient], shownPhone{value, o.Call, o.Return})
		}
	case answer["applied"] == "UNKNOWN":
		l.unknown = append(l.unknown, unknownWrite{patient, o, answer["operationId"]})
	default:
		l.told[value] = "no Success"
	}
}

// outside is somebody at the FHIR server who changes the patient's name, and undoes nothing
// that was changed meanwhile.
func (l *linear) outside(patient int, name string) {
	at := l.fhir.url + "/Patient/" + fhirOf(l.fhir.patients[patient])
	stored, version, _ := l.fhir.Get(fhirOf(l.fhir.patients[patient]))
	body, err := sjson.SetBytes(stored, "name.0.given.0", name)
	if err != nil {
		l.t.Error(err)
		return
	}
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodPut, at, bytes.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return
	}
	request.Header.Set("Content-Type", "application/fhir+json")
	request.Header.Set("If-Match", fmt.Sprintf(`W/"%d"`, version))
	if answer, err := http.DefaultClient.Do(request); err == nil {
		_ = answer.Body.Close()
	}
	time.Sleep(20 * time.Millisecond)
}

func (l *linear) read(patient int) {
	o := porcupine.Operation{Input: access{}, Call: l.now()}
	found, err := l.any(rand.IntN(2)).Read(l.fhir.patients[patient])
	o.Return, o.Output = l.now(), found.Phone
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.shown[patient] = append(l.shown[patient], shownPhone{found.Phone, o.Call, o.Return})
		if found.State == "SYNCED" {
			l.history[patient] = append(l.history[patient], o)
		} else { // a write is under way: it may be effective already
			l.pending++
		}
	}
	time.Sleep(2 * time.Millisecond)
}

// check adds the writes that took effect unseen, and asks Porcupine.
func (l *linear) check() {
	settled, operations := map[string]int{}, 0
	phones := make([][]string, len(l.fhir.patients)) // that the FHIR server had
	for n := range phones {
		phones[n] = l.phones(n)
	}
	for _, u := range l.unknown {
		state := "NO ANSWER"
		if u.operationID != nil {
			state, _ = l.any(0).Settled(u.operationID)["state"].(string)
		}
		settled[state]++
		phone := u.operation.Input.(access).value
		l.told[phone] = state
		if slices.Contains(phones[u.patient], phone) {
			u.operation.Return = math.MaxInt64 // at any time since
			l.history[u.patient] = append(l.history[u.patient], u.operation)
		}
	}
	for n, history := range l.history {
		operations += len(history)
		for k := range history {
			history[k].ClientId = k // nobody has two at a time
		}
		result, info := porcupine.CheckOperationsVerbose(register, history, 2*time.Minute)
		if result != porcupine.Ok {
			picture := filepath.Join(l.t.ArtifactDir(), l.fhir.patients[n]+".html")
			l.t.Errorf("%s is no register (%s); see %s (%v)", l.fhir.patients[n], result, picture, porcupine.VisualizePath(register, info, picture))
		}
		l.checkTold(n, phones[n])
		for _, complaint := range backwards(phones[n], l.shown[n]) {
			l.t.Errorf("%s: %s", l.fhir.patients[n], complaint)
		}
	}
	l.t.Logf("%d Successes and SYNCED reads, %d PENDING reads; writes without a clear answer: %v", operations, l.pending, settled)
	const enough = 100 // on a busy machine; where a write is lost, the patient waits
	if operations < enough || l.pending == 0 || len(settled) == 0 {
		l.t.Error("too little happened to prove anything")
	}
}

// phones returns those that the FHIR server had, the oldest first.
func (l *linear) phones(patient int) []string {
	var phones []string
	for _, c := range l.fhir.history(patient) {
		if l.follows && len(phones) > 0 && phones[len(phones)-1] == c.Phone {
			continue // somebody else changed something else
		}
		if slices.Contains(phones, c.Phone) {
			l.t.Errorf("%s was written twice", c.Phone)
		}
		phones = append(phones, c.Phone)
	}
	return phones
}

// checkTold holds what was told of the writes of a patient against the FHIR
// server.
func (l *linear) checkTold(patient int, phones []string) {
	for _, phone := range phones {
		if told := l.told[phone]; told != "" && told != "Success" && told != "APPLIED" && told != "NO ANSWER" {
			l.t.Errorf("%s was told %s and is in the history", phone, told)
		}
	}
	for _, o := range l.history[patient] {
		phone := o.Input.(access).value
		if told := l.told[phone]; (told == "Success" || told == "APPLIED") && !slices.Contains(phones, phone) {
			l.t.Errorf("%s was told %s and is not in the history", phone, told)
		}
	}
	number := l.fhir.patients[patient]
	wait.Until(l.t, number+" is settled", func() bool {
		now, err := l.any(0).Read(number)
		return err == nil && now.State == "SYNCED"
	})
	l.any(0).WantRead(number, phones[len(phones)-1], "SYNCED")
}

// backwards finds what the FHIR server never had, and what is older than what
// was shown before it was asked for.
func backwards(history []string, shown []shownPhone) (complaints []string) {
	version := map[string]int{}
	for n, phone := range history {
		version[phone] = n
	}
	byReturn := slices.SortedFunc(slices.Values(shown), func(a, b shownPhone) int { return cmp.Compare(a.returned, b.returned) })
	newest, next := "", 0
	for _, s := range slices.SortedFunc(slices.Values(shown), func(a, b shownPhone) int { return cmp.Compare(a.called, b.called) }) {
		for ; byReturn[next].returned < s.called; next++ {
			if newest == "" || version[byReturn[next].phone] > version[newest] {
				newest = byReturn[next].phone
			}
		}
		if n, found := version[s.phone]; !found {
			complaints = append(complaints, s.phone+" was shown, which the FHIR server never had")
		} else if newest != "" && n < version[newest] {
			complaints = append(complaints, s.phone+" was shown after "+newest+", which is newer")
		}
	}
	return complaints
}

// TestLinearizableCanFail shows that the checks of TestLinearizable find a
// stale read.
func TestLinearizableCanFail(t *testing.T) {
	t.Parallel()
	const first, second = "010-1111-2222", "010-2222-2222"
	read := func(phone string, at int64) shownPhone { return shownPhone{phone, at, at + 1} }
	for name, c := range map[string]struct {
		answered  int64 // the write of the second phone, called at 10
		reads     []shownPhone
		linear    bool
		backwards int
	}{
		"in order":                 {20, []shownPhone{read(first, 5), read(first, 12), read(second, 14), read(second, 30)}, true, 0},
		"stale after Success":      {20, []shownPhone{read(first, 30)}, false, 1},
		"old after new":            {20, []shownPhone{read(second, 12), read(first, 14)}, false, 1},
		"lost, and effective late": {math.MaxInt64, []shownPhone{read(first, 30), read(second, 40)}, true, 0},
		"lost, old after new":      {math.MaxInt64, []shownPhone{read(second, 30), read(first, 40)}, false, 1},
		"never there":              {20, []shownPhone{read("010-3333-3333", 30)}, false, 1},
	} {
		history := []porcupine.Operation{{Input: access{true, second}, Call: 10, Return: c.answered}}
		for _, r := range c.reads {
			history = append(history, porcupine.Operation{Input: access{}, Output: r.phone, Call: r.called, Return: r.returned})
		}
		if linear := porcupine.CheckOperations(register, history); linear != c.linear {
			t.Errorf("%s: linearizable is %v", name, linear)
		}
		shown := append([]shownPhone{{second, 10, c.answered}}, c.reads...)
		if found := backwards([]string{first, second}, shown); len(found) != c.backwards {
			t.Errorf("%s: found %v", name, found)
		}
	}
}
