package writethrough

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

const (
	modelNumber = "P-2025-000001"
	modelID     = "p1"
	modelWindow = 20 * time.Second
	modelBody   = `{"resourceType":"Patient","id":"p1","meta":{},"extension":[{"url":"http://e/n","valueString":"note"},` +
		`{"url":"http://e/d","valueDecimal":1.50}],"name":[{"family":"Kim"}],"_birthDate":{"id":"b"},"telecom":[` +
		`{"system":"fax","value":"02-1"},{"system":"phone","value":"010-0","use":"mobile","rank":1},` +
		`{"system":"phone","value":"010-9","use":"old"}],"address":[{"use":"home","text":"Elm 1"}]}`
)

// callKey is where a context holds its call.
type callKey struct{}

// opTruth is one update of the journal and what really became of it.
type opTruth struct {
	id     string
	change Change
	since  int       // the server's version when it began
	first  *version  // what it read before its first PUT: what a clearing takes out
	sent   time.Time // when the journal last said that its PUT is about to leave
	puts   []*put
	end    *Update // what the journal says, once it is settled
}

// call is one request of a caller.
type call struct {
	p        *process
	change   Change
	since    int // the server's version when the same was first asked
	cancel   context.CancelFunc
	op       *opTruth // that it began, if any
	read     *version // what it last read
	first    *version // what it read before its first PUT
	sent     bool     // it has called Update
	running  bool
	ended    bool // the caller has an answer
	proven   bool // it is a success that the server has shown
	outcome  *Outcome
	err      error
	panicked any
}

// model holds what really happened, and checks what is told of it.
type model struct {
	mu          sync.Mutex
	log         func(string, ...any)
	store       *db.Store
	server      *server
	procs       []*process
	calls       []*call
	ops         []*opTruth
	seen        map[int64]fhir.Contact // what the cache showed at each version of the row
	cached      int                    // the server's version that the cache holds
	asked       []*asked               // by the mirror, and not stored yet
	looked      int                    // the server's version when the mirror's last completed look began
	ids         int
	ticked      time.Time
	deletedOnce bool
	broken      string
}

func newModel(log func(string, ...any), h habits) *model {
	s := &server{habits: h, untold: map[string]bool{}, unread: map[string]bool{}, log: log}
	s.add([]byte(modelBody), nil)
	return newModelOf(s)
}

// newModelOf has two processes and a cache that holds the patient as the server shows it.
func newModelOf(s *server) *model {
	m := &model{log: s.log, server: s, seen: map[int64]fhir.Contact{}, ticked: time.Now()}
	v := s.current()
	p, err := fhir.ParsePatient(v.body, time.Now())
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if m.store, err = db.Open(ctx, "sqlite::memory:"); err != nil {
		panic(err)
	}
	if err = m.store.Migrate(ctx); err != nil {
		panic(err)
	}
	batch := []db.NewPatient{{Number: modelNumber, FHIRID: gjson.GetBytes(v.body, "id").Str, State: record.State(p)}}
	if outcomes, err := m.store.ImportPatients(ctx, batch, time.Now()); err != nil || outcomes[0].Err != nil {
		panic(fmt.Sprint(err, outcomes))
	}
	m.start()
	m.start()
	return m
}

// start starts one more process.
func (m *model) start() *process {
	p := &process{m: m, name: fmt.Sprint("process ", len(m.procs)+1)}
	c := Config{
		FHIR: p, Store: p, Log: slog.New(slog.DiscardHandler), Timeout: 10 * time.Second, Keep: 24 * time.Hour, Now: time.Now,
		NewID: func() string {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ids++
			return fmt.Sprint("id-", m.ids)
		},
	}
	if m.server.emr != nil {
		m.server.emr.configure(&c, p)
	}
	p.w = New(c)
	m.procs = append(m.procs, p)
	return p
}

// close ends every goroutine.
func (m *model) close() {
	for _, p := range m.procs {
		m.locked(p.kill)
	}
	time.Sleep(time.Hour)
	if err := m.store.Close(); err != nil {
		panic(err)
	}
}

func (m *model) locked(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
}

func (m *model) wrong(format string, args ...any) {
	if m.broken == "" {
		m.broken = fmt.Sprintf(format, args...)
	}
}

func (m *model) row() *db.Patient {
	row, err := m.store.Patient(context.Background(), modelNumber)
	if err != nil {
		panic(err)
	}
	return row
}

// begun notes whose update it is.
func (m *model) begun(ctx context.Context, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := ctx.Value(callKey{}).(*call)
	c.op = &opTruth{id: id, change: c.change, since: m.server.current().index}
	m.ops = append(m.ops, c.op)
	m.log("  %s begins %s for %s", c.p.name, id, c.change.Actor)
}

// sent notes that the PUT of an update is about to leave.
func (m *model) sent(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range m.ops {
		if op.id == id {
			op.sent = time.Now()
		}
	}
}

// ask starts a call and waits until it ended or stands still.
func (m *model) ask(p *process, change Change) *call {
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{p: p, change: change, cancel: cancel, running: true}
	m.locked(func() { c.since = m.server.current().index })
	for _, earlier := range slices.Backward(m.calls) {
		if earlier.change.Actor == change.Actor {
			c.since = earlier.since
		}
	}
	m.calls = append(m.calls, c)
	m.log("%s: %s asks %+v expecting %d with key %q", p.name, change.Actor, change.Edit, change.ExpectedVersion, change.IdempotencyKey)
	go func() {
		defer cancel()
		o, err := (*Outcome)(nil), error(nil)
		ended := false
		defer func() {
			panicked := recover()
			if panicked != nil {
				m.log("%s", debug.Stack())
			}
			m.locked(func() { c.outcome, c.err, c.ended, c.panicked, c.running = o, err, ended, panicked, false })
		}()
		o, err = p.w.UpdateContact(context.WithValue(ctx, callKey{}, c), change)
		ended = true
	}()
	m.await(p)
	return c
}

// await lets time pass until no call of the process gets on any more.
func (m *model) await(p *process) {
	for synctest.Wait(); m.getsOn(p); synctest.Wait() {
		time.Sleep(100 * time.Millisecond)
		if time.Since(m.ticked) > 2*time.Second {
			m.tick()
		}
	}
}

func (m *model) getsOn(p *process) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !p.dead && !p.stalled && len(p.gates) == 0 &&
		slices.ContainsFunc(m.calls, func(c *call) bool { return c.p == p && c.running })
}

// tick does in every process what Run does every two seconds.
func (m *model) tick() {
	m.ticked = time.Now()
	for _, p := range m.procs {
		m.loop(p, &p.renewing, func() {
			p.w.renew()
			p.w.storeUnstored()
		})
		m.loop(p, &p.settling, func() { p.w.reconcilePatient(context.Background(), "") })
	}
	synctest.Wait()
}

// loop runs one round of a process's loop, unless the last is under way yet.
func (m *model) loop(p *process, busy *bool, round func()) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.dead || p.stalled || *busy {
		return
	}
	*busy = true
	go func() {
		defer m.locked(func() { *busy = false })
		round()
	}()
}

// pass lets time pass.
func (m *model) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); m.tick() {
		time.Sleep(2 * time.Second)
	}
}

// settle lets everything come to its end, and checks that all is well then.
func (m *model) settle(t *rapid.T) {
	for _, p := range m.procs {
		// A fault that was drawn before it stood still may make it wait once more.
		for waits := true; waits; {
			m.locked(func() {
				p.script = script{}
				if !p.dead {
					p.resume()
				}
			})
			m.await(p)
			synctest.Wait()
			m.locked(func() { waits = len(p.gates) > 0 })
		}
	}
	for len(m.server.late) > 0 {
		lands := rapid.Bool().Draw(t, "arrives")
		m.locked(func() {
			if m.server.late[0].late = lands; lands {
				m.happens(event{what: "land"})
			} else {
				m.server.late = m.server.late[1:]
			}
		})
	}
	last := m.start()
	for range 8 {
		time.Sleep(20 * time.Second)
		m.tick()
	}
	for _, op := range m.ops {
		op.end = nil
	}
	m.check(t)
	for _, op := range m.ops {
		if op.end == nil {
			t.Fatalf("%s is still open", op.id)
		}
		for _, p := range op.puts {
			if p.full() && m.cached < p.landed.index && !m.deletedSince(p.landed.index) && !m.mistaken(op) {
				t.Fatalf("%s made version %d, the cache holds %d", op.id, p.landed.index, m.cached)
			}
		}
	}
	if row := m.row(); row.SyncState != db.Synced {
		t.Fatalf("nothing is open, but the patient says %s", row.SyncState)
	}
	if m.server.current().deleted || m.server.current().use != "" || m.server.emr != nil {
		m.happens(event{what: "restore"})
	}
	m.lookAsMirror(m.askAsMirror("look"), m.server.current())
	m.check(t)
	if row := m.row(); !row.UnseenSince.IsZero() || m.looked != m.server.current().index {
		t.Fatalf("after a last look the row is unseen since %v", row.UnseenSince)
	}
	for i, e := range []fhir.ContactEdit{
		{SetPhone: true, Phone: "last"}, {SetEmail: true, Email: "last@example.org"},
		{SetAddress: true, Address: &fhir.Address{Lines: []string{"Last 1"}, City: "Ulm", State: "BW", PostalCode: "89073"}},
		{SetPhone: true}, {SetEmail: true}, {SetAddress: true},
	} {
		before := m.server.current()
		c := m.ask(last, Change{PatientID: modelNumber, Actor: "last", IdempotencyKey: fmt.Sprint("last ", i), Edit: e})
		m.check(t)
		switch {
		case c.ended && c.err == nil && c.outcome.Code == CannotApply: // check has asked whether that is so
		case c.ended && c.err == nil && c.outcome.Code == NotSaved && e.SetAddress && before.hidesSecondLine():
		case !c.ended || c.err != nil || c.outcome.Code != Success:
			t.Fatalf("a last write without faults: %+v, %v", c.outcome, c.err)
		}
		if row := m.row(); row.SyncState != db.Synced || m.shown(row) != m.server.current() {
			t.Fatalf("after a last write the cache is %s with %s", row.SyncState, show(rowContact(row)))
		}
	}
}
