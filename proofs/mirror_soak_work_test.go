package proofs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
)

const soakWriters = 20

// soakWork is what others do to the patients of the FHIR server, and what callers of the
// product do and are told.
type soakWork struct {
	t     *testing.T
	s     *soak
	name  string   // begins the numbers of this run
	ids   []string // FHIR ids: those that anything may happen to
	few   []string // of these, those that contact updates change
	moved []string // those that only exchange their numbers
	probe string   // the one whose lag is measured

	pause   sync.RWMutex // read-locked by each write
	values  atomic.Int64
	written atomic.Int64 // by others

	mu       sync.Mutex
	away     map[string]string    // deleted, or merged into whom
	deleted  map[string]time.Time // when last, by FHIR id; in the future: it is under way
	numbers  []string             // those of moved
	unmoved  map[int]bool         // of moved, whose number is still to be written
	done     map[string]int       // writes, by kind
	refused  map[string]int
	updates  []*soakUpdate
	lags     []time.Duration
	verifies int
	compared int
	marked   int
}

// soakUpdate is a contact update. Its phone is its own.
type soakUpdate struct {
	id, phone string
	input     Object
	answer    Object // nil: none came
}

func newSoakWork(t *testing.T, s *soak) *soakWork {
	t.Helper()
	w := &soakWork{
		t: t, s: s, name: fmt.Sprintf("P-soak%x", time.Now().UnixNano()&0xfffffff),
		away: map[string]string{}, deleted: map[string]time.Time{}, unmoved: map[int]bool{}, done: map[string]int{}, refused: map[string]int{},
	}
	n := length(60, 600)
	var creating sync.WaitGroup
	slots := make(chan struct{}, 8)
	for k := range n + length(6, 20) + 1 {
		id := fmt.Sprintf("%s-%04d", fhirOf(w.name), k)
		switch {
		case k < n:
			w.ids = append(w.ids, id)
		case k < n+length(6, 20):
			w.moved, w.numbers = append(w.moved, id), append(w.numbers, w.number(id))
		default:
			w.probe = id
		}
		slots <- struct{}{}
		creating.Go(func() {
			defer func() { <-slots }()
			if err := s.fhir.put(w.resource(id, w.number(id))); err != nil {
				t.Error(err)
			}
		})
	}
	creating.Wait()
	w.few = w.ids[:length(20, 100)]
	return w
}

func (w *soakWork) number(id string) string { return w.name + id[len(w.name):] }

func (w *soakWork) resource(id, number string) string {
	return strings.Replace(patientFor(w.s.fhir.habits(), id, number), OldPhone, w.phone(), 1)
}

// phone is one that nobody has had.
func (w *soakWork) phone() string {
	n := w.values.Add(1)
	return fmt.Sprintf("070-%04d-%04d", n/10000, n%10000)
}

var soakPhone = regexp.MustCompile(`[^0-9a-f]070-\d{4}-\d{4}[^0-9a-f-]`) // no part of an id

// work begins all that is done, until its end is called.
func (w *soakWork) work() (end func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	again := func(rest time.Duration, do func(*rand.Rand)) {
		random := rand.New(rand.NewPCG(rand.Uint64(), 1))
		wg.Go(func() {
			for ctx.Err() == nil {
				do(random)
				select {
				case <-time.After(rand.N(2 * rest)):
				case <-ctx.Done():
				}
			}
		})
	}
	rest := time.Duration(length(300, 2000)) * time.Millisecond
	for range soakWriters {
		again(rest, w.write)
	}
	for range 2 {
		again(rest, w.update)
	}
	again(rest, func(random *rand.Rand) { w.measure(ctx, random) })
	return func() { cancel(); wg.Wait() }
}

// write is one thing that others do.
func (w *soakWork) write(random *rand.Rand) {
	w.pause.RLock()
	defer w.pause.RUnlock()
	pick := func() string { return w.ids[random.IntN(len(w.ids))] }
	kind, id, dice := "edit", pick(), random.IntN(100)
	var err error
	switch back := w.takeBack(random); {
	case back != "":
		kind, err = "bring back", w.bringBack(back)
	case dice < 82:
		err = w.s.fhir.setPhone(id, w.phone(), random.IntN(2) == 0)
	case dice < 90:
		kind = "delete"
		done := w.noteAway(id, "")
		err = w.s.fhir.remove(id)
		done()
	case dice < 96:
		kind = "merge"
		target := pick()
		if target == id {
			return
		}
		done := w.noteAway(id, target)
		err = w.s.fhir.merge(id, target)
		done()
	default:
		kind, err = "exchange numbers", w.exchange(random)
	}
	w.count(kind, err)
}

func (w *soakWork) count(kind string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if kind == "edit" && errors.Is(err, errGone) {
			kind += " of one who is gone"
		}
		w.refused[kind]++
		return
	}
	w.done[kind]++
	w.written.Add(1)
}

// noteAway notes that a patient is being deleted or merged, until done is called.
func (w *soakWork) noteAway(id, target string) (done func()) {
	note := func(at time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.away[id], w.deleted[id] = target, at
	}
	note(time.Now().Add(time.Hour))
	return func() { note(time.Now()) }
}

// takeBack picks one of those that are away, if they are many: more than a tenth of all
// would look like another server.
func (w *soakWork) takeBack(random *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.away) < len(w.ids)/15 {
		return ""
	}
	return slices.Sorted(maps.Keys(w.away))[random.IntN(len(w.away))]
}

// bringBack undoes a deletion or a merge.
func (w *soakWork) bringBack(id string) error {
	w.mu.Lock()
	target := w.away[id]
	delete(w.away, id)
	w.mu.Unlock()
	err := w.s.fhir.put(w.resource(id, w.number(id)))
	if err == nil && target != "" { // it no longer says whom it has replaced
		if now, nowErr := w.s.fhir.now(target); nowErr == nil && now != nil {
			err = w.s.fhir.put(w.resource(target, w.number(target)))
		}
	}
	if err != nil { // it has to be done again
		w.mu.Lock()
		defer w.mu.Unlock()
		w.away[id] = target
	}
	return err
}

// exchange gives two patients each other's number, one after the other.
func (w *soakWork) exchange(random *rand.Rand) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, b := random.IntN(len(w.moved)), random.IntN(len(w.moved))
	w.numbers[a], w.numbers[b] = w.numbers[b], w.numbers[a]
	w.unmoved[a], w.unmoved[b] = true, true
	return w.move()
}

// move writes the numbers that are not yet written.
func (w *soakWork) move() error {
	for n := range w.unmoved {
		if err := w.s.fhir.put(w.resource(w.moved[n], w.numbers[n])); err != nil {
			return err
		}
		delete(w.unmoved, n)
	}
	return nil
}

func (w *soakWork) deletedAt(number string) (at time.Time, found bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, found = w.deleted[fhirOf(number)]
	return at, found
}

// untilWritten waits until others have written that often since.
func (w *soakWork) untilWritten(n int64) {
	w.t.Helper()
	since := w.written.Load()
	w.s.until("others have written", func() bool { return w.written.Load() >= since+n })
}

// update is one contact update by one of the replicas.
func (w *soakWork) update(random *rand.Rand) {
	w.pause.RLock()
	defer w.pause.RUnlock()
	u := &soakUpdate{id: w.few[random.IntN(len(w.few))], phone: w.phone()}
	u.input = Object{"patientId": w.number(u.id), "phone": u.phone, "idempotencyKey": u.phone}
	var refusal GraphQLError
	var err error
	if u.answer, err = w.s.any().TryUpdate(u.input); errors.As(err, &refusal) {
		w.t.Errorf("a contact update: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.updates = append(w.updates, u)
}

// measure notes how long it takes until an edit is in the cache.
func (w *soakWork) measure(ctx context.Context, random *rand.Rand) {
	phone := w.phone()
	w.pause.RLock()
	err := w.s.fhir.setPhone(w.probe, phone, true)
	w.pause.RUnlock()
	if err != nil {
		return
	}
	for edited := time.Now(); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if seen, err := w.s.any().Read(w.number(w.probe)); err == nil && seen.Phone == phone {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lags = append(w.lags, time.Since(edited))
			return
		}
	}
}

// check holds the cache against the FHIR server once more, as callers see it, and what
// they were told of their updates.
func (w *soakWork) check() {
	p := w.s.any()
	for _, id := range slices.Concat(w.ids, w.moved, []string{w.probe}) {
		now, err := w.s.fhir.now(id)
		if err != nil {
			w.t.Fatal(err)
		}
		patients := p.Query(`query($id: String!) { patients(filter: { fhirId: $id, includeInactive: true }) { nodes { phone syncState } } }`, Object{"id": id}).At("patients", "nodes").([]any)
		if now == nil {
			if len(patients) != 0 {
				w.t.Errorf("%s is gone, and shown", id)
			}
			continue
		}
		contact, err := contactIn(now)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(patients) != 1 {
			w.t.Errorf("%s is shown %d times", id, len(patients))
			continue
		}
		shown := Object(patients[0].(map[string]any))
		Want(w.t, shown, Object{"phone": contact.Phone})
		if state := shown["syncState"]; state != "SYNCED" && state != "STALE" { // it says STALE where a look takes long
			w.t.Errorf("%s says %v", id, state)
		}
	}
	outcomes := map[string]int{}
	for _, u := range w.updates {
		if u.answer == nil { // the process was killed: it is asked for again, and this time told
			u.answer = p.Update(u.input)
			outcomes["no answer, asked again"]++
		}
	}
	versions := map[string]string{}
	for _, u := range w.updates {
		id := w.writtenTo(u)
		if versions[id] == "" {
			var err error
			if versions[id], err = w.s.fhir.versions(id); err != nil {
				w.t.Fatal(err)
			}
		}
		outcomes[w.checkUpdate(p, u, versions[id])]++
	}
	w.t.Logf("contact updates: %v", outcomes)
	for _, log := range w.s.logs {
		if phone := soakPhone.FindString(log.String()); phone != "" {
			w.t.Errorf("the log holds the phone %s", phone)
		}
	}
}

// writtenTo is the FHIR id of whom an answer shows. The number of a patient who was merged
// into another, and then deleted, leads to that one.
func (w *soakWork) writtenTo(u *soakUpdate) (id string) {
	patient, _ := u.answer["patient"].(map[string]any)
	if number, _ := patient["id"].(string); number != "" {
		return fhirOf(number)
	}
	return u.id
}

// checkUpdate holds what was told against all versions of the patient that it was told of.
func (w *soakWork) checkUpdate(p *Process, u *soakUpdate, versions string) (outcome string) {
	had := strings.Contains(versions, u.phone)
	if id := w.writtenTo(u); id != u.id && !strings.Contains(versions, w.number(u.id)) {
		w.t.Errorf("an update of %s was made to %s, who never had its number", u.id, id)
	}
	outcome, _ = u.answer["__typename"].(string)
	if code, _ := u.answer["code"].(string); code != "" {
		outcome = code
	}
	told := had // nothing was told
	switch applied := u.answer["applied"]; {
	case outcome == "UpdatePatientContactSuccess":
		told = true
	case applied == "UNKNOWN":
		state, _ := p.Settled(u.answer["operationId"])["state"].(string)
		outcome += ", then " + state
		told = state == "APPLIED"
	case applied == "NO", outcome == "UPDATE_CONFLICT", outcome == "PATIENT_NOT_FOUND":
		told = false
	}
	// Without versions a write that was overwritten before it was seen left no trace.
	if told != had && (told || !w.s.fhir.habits().OpenEMR) {
		w.t.Errorf("an update of %s was told %s (%v), and that the server ever had it is %v", u.id, outcome, u.answer["operationId"], had)
	}
	return outcome
}

// log tells the figures.
func (w *soakWork) log() {
	slices.Sort(w.lags)
	at := func(share float64) time.Duration {
		if len(w.lags) == 0 {
			return 0
		}
		return w.lags[int(share*float64(len(w.lags)-1))].Round(10 * time.Millisecond)
	}
	w.t.Logf("%d writes by others: %v; refused: %v", w.written.Load(), w.done, w.refused)
	w.t.Logf("%d kills and restarts; %d comparisons of %d rows in all, %d of them said STALE or PENDING", len(w.s.kills), w.verifies, w.compared, w.marked)
	w.t.Logf("%d edits were in the cache after 50%% %v, 90%% %v, 99%% %v, at most %v", len(w.lags), at(0.5), at(0.9), at(0.99), at(1))
}
