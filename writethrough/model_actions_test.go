package writethrough

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"patientgraph/fhir"
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

func (m *model) drawEdit(t *rapid.T) (e fhir.ContactEdit) {
	if m.server.emr != nil {
		return m.drawClinicEdit(t)
	}
	fields := pick(t, "fields", "p", "e", "a", "pe", "pea")
	value := func(label string, from ...string) string {
		return pick(t, label, append(from, fmt.Sprint("uniq-", len(m.server.history)), "")...)
	}
	for _, f := range fields {
		switch f {
		case 'p':
			e.SetPhone, e.Phone = true, value("phone", "010-0", "0100", "010-1", "01-01")
		case 'e':
			e.SetEmail, e.Email = true, value("email", "a@example.org", "A@example.org", "b@example.org")
		case 'a':
			e.SetAddress, e.Address = true, pick(t, "address", &fhir.Address{Text: "Elm 1"}, &fhir.Address{Text: "ELM, 1"}, &fhir.Address{Text: "Oak 2"},
				&fhir.Address{Lines: []string{"Oak 2"}, City: "Ulm"}, nil)
		}
	}
	return e
}

func (m *model) drawEvent(t *rapid.T, label string) event {
	if m.server.emr != nil {
		return drawClinicEvent(t, label, "land", "land")
	}
	e := event{what: pick(t, label, "", "", "", "", "", "", "land", "land", "edit", "edit", "note", "delete", "merge", "deactivate", "restore")}
	if e.what == "edit" {
		e.edit = m.drawEdit(t)
	}
	if e.what == "land" {
		e.which = rapid.IntRange(0, 2).Draw(t, "which")
	}
	return e
}

var halts = []string{"delay before", "delay after", "crash before", "crash after", "stall before", "stall after", "slow after", "hang up after"}

// mayBeUnderWay are the answers that leave open whether the PUT still arrives;
// those of saysOK say that the server is done.
var (
	mayBeUnderWay = []string{"lost", "502", "503", "hang", "unusable"}
	saysOK        = []string{"", "echo", "silent", "silent, no ETag"}
)

// drawFaults draws what happens to the next calls of one kind.
func (m *model) drawFaults(t *rapid.T, label string, most int, answers ...string) (faults []fault) {
	for range rapid.IntRange(0, most).Draw(t, label) {
		f := fault{answer: pick(t, "answer", answers...)}
		if rapid.IntRange(0, 7).Draw(t, "halts") == 7 {
			f.halt = pick(t, "halt", halts...)
			f.delay = pick(t, "delay", 3*time.Second, 6*time.Second, 12*time.Second)
		}
		if label != "stores" {
			f.before, f.after = m.drawEvent(t, "before"), m.drawEvent(t, "after")
		}
		if label == "puts" {
			f.effect = pick(t, "effect", "full", "full", "full", "none", "none", "part", "cut", "ignored")
			f.late = rapid.Bool().Draw(t, "late") && slices.Contains(mayBeUnderWay, f.answer)
			switch {
			case f.effect == "none" && slices.Contains(saysOK, f.answer):
				f.effect = "ignored"
			case f.answer == "echo":
				f.effect = "ignored"
			case f.answer == "401": // from then on nothing is taken: reads say so too
				f.effect = "none"
			}
		}
		faults = append(faults, f)
	}
	return faults
}

func (m *model) scripts() *rapid.Generator[script] {
	return rapid.Custom(m.drawScript)
}

// prepare draws what happens to the process next.
func (m *model) prepare(t *rapid.T, p *process) {
	s := m.scripts().Draw(t, "script")
	m.locked(func() { p.script = s })
}

func (m *model) drawScript(t *rapid.T) script {
	if m.server.emr != nil {
		return m.drawClinicScript(t)
	}
	s := script{
		reads: m.drawFaults(t, "reads", 4, "", "", "", "", "lost", "502", "503", "not sent", "401", "403", "429", "unusable", "hang"),
		puts: m.drawFaults(t, "puts", 3, "", "", "lost", "lost", "502", "503", "hang", "unusable", "unusable", "not sent",
			"401", "403", "412", "busy", "422", "429", "echo", "silent", "silent, no ETag"),
		afters: m.drawFaults(t, "afters", 2, "", "unusable", "lost", "401"),
		stores: m.drawFaults(t, "stores", 5, "", "", "", "", "", "fails", "fails after"),
		stays:  rapid.IntRange(0, 9).Draw(t, "stays") == 9,
		others: pick(t, "others", "", "", "403", "lost"),
	}
	if slices.ContainsFunc(s.reads, func(f fault) bool { return f.answer == "403" }) {
		for i := range s.puts { // who refuses both did not carry it out
			if s.puts[i].answer == "403" {
				s.puts[i].effect = "none"
			}
		}
	}
	return s
}

// process draws one that is neither dead nor standing still.
func (m *model) drawProcess(t *rapid.T) *process {
	alive := slices.DeleteFunc(slices.Clone(m.procs), func(p *process) bool { return p.dead || p.stalled })
	if len(alive) == 0 {
		return m.start()
	}
	return rapid.SampledFrom(alive).Draw(t, "process")
}

// write: a caller asks, or asks again.
func (m *model) write(t *rapid.T) {
	p := m.drawProcess(t)
	again := slices.DeleteFunc(slices.Clone(m.calls), func(c *call) bool { return c.change.IdempotencyKey == "" })
	change := Change{PatientID: modelNumber, Actor: fmt.Sprint("caller ", len(m.calls))}
	if len(again) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 3 {
		change = again[rapid.IntRange(0, len(again)-1).Draw(t, "which")].change
	} else {
		change.Edit = m.drawEdit(t)
		if rapid.Bool().Draw(t, "keyed") {
			change.IdempotencyKey = "key"
		}
		if rapid.IntRange(0, 2).Draw(t, "expects") == 2 {
			change.ExpectedVersion = rapid.SampledFrom(slices.Sorted(maps.Keys(m.seen))).Draw(t, "expected")
		}
	}
	m.prepare(t, p)
	m.ask(p, change)
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":       m.check,
		"write":  m.write,
		"write ": m.write,
		"mirror": m.mirrors,
		"others": func(t *rapid.T) {
			e := m.drawEvent(t, "what")
			m.mu.Lock()
			defer m.mu.Unlock()
			m.log("others: %s", e.what)
			m.happens(e)
		},
		"time passes": func(t *rapid.T) {
			m.prepare(t, m.drawProcess(t))
			d := pick(t, "time", 2*time.Second, 6*time.Second, 12*time.Second, 20*time.Second, 30*time.Second)
			m.log("%v pass", d)
			m.pass(d)
		},
		"crash": func(t *rapid.T) {
			p := m.drawProcess(t)
			m.log("%s is killed", p.name)
			m.locked(p.kill)
			m.start()
		},
		"resume": func(t *rapid.T) {
			for _, p := range m.procs {
				if !p.dead && len(p.gates) > 0 {
					m.log("%s goes on", p.name)
					m.locked(p.resume)
					m.await(p)
					return
				}
			}
		},
	}
}

// inBubble runs do where time passes as it pleases, and lets its panics out.
func inBubble(t *testing.T, do func()) {
	var failed any
	synctest.Test(t, func(*testing.T) {
		defer func() { failed = recover() }()
		do()
	})
	// rapid tells a failure from a run without enough draws by where they panic.
	if fmt.Sprintf("%T", failed) == "rapid.invalidData" {
		panic(failed)
	}
	if failed != nil {
		panic(failed)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := habits{
			versions: pick(rt, "versions", "numbers", "uuids", "none"), stale: pick(rt, "stale", http.StatusConflict, http.StatusPreconditionFailed),
			sameIsNew: rapid.Bool().Draw(rt, "same is new"), blind: rapid.IntRange(0, 3).Draw(rt, "blind") == 3,
			busy: rapid.Bool().Draw(rt, "busy"), forms: rapid.Bool().Draw(rt, "forms"),
			deleted: pick(rt, "deleted", http.StatusConflict, http.StatusNotFound, http.StatusOK, http.StatusCreated),
		}
		inBubble(t, func() {
			m := newModel(rt.Logf, h)
			defer m.close()
			rt.Repeat(m.actions())
			m.settle(rt)
		})
	})
}
