package writethrough

import (
	"context"
	"time"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

// asked is a request of the mirror that is under way: a page of a list, a read of its own,
// or a look at the changes. What it shows is stored later.
type asked struct {
	kind string // list, single, look
	fill db.Fill
	at   int // the server's version when it was asked
}

// askAsMirror begins a request, as package mirror does: what was written here before is
// numbered first.
func (m *model) askAsMirror(kind string) *asked {
	mark, err := m.store.NumberChanges(context.Background())
	if err != nil {
		panic(err)
	}
	m.log("mirror: asks, %s", kind)
	return &asked{kind, db.Fill{Mark: mark, AskedAt: time.Now(), Single: kind == "single"}, m.server.current().index}
}

// storeAsMirror takes a version into the cache as the answer of a request.
func (m *model) storeAsMirror(a *asked, v *version) {
	m.log("mirror: stores version %d, asked for at version %d, %s", v.index, a.at, a.kind)
	var batch []db.NewPatient
	id := gjson.GetBytes(m.server.lastLive().body, "id").Str
	if v.deleted {
		a.fill.Gone = []string{id}
	} else {
		p, err := fhir.ParsePatient(v.body, time.Now())
		if err != nil {
			panic(err)
		}
		batch = []db.NewPatient{{FHIRID: id, State: record.State(p)}}
	}
	if filled, err := m.store.FillPatients(context.Background(), batch, time.Now(), a.fill); err != nil || len(filled.Outcomes) > 0 && filled.Outcomes[0].Err != nil {
		panic(err)
	}
}

// lookAsMirror ends a look: it shows what was changed since the last one, and rows that
// could not be brought up to date are read by themselves.
func (m *model) lookAsMirror(a *asked, shown *version) {
	if shown.index > m.looked {
		m.storeAsMirror(a, shown)
	}
	ids, err := m.store.Unseen(context.Background(), 1)
	if err != nil {
		panic(err)
	}
	if len(ids) > 0 {
		m.storeAsMirror(m.askAsMirror("single"), m.server.current())
	}
	m.looked = max(m.looked, a.at)
}

// mirrors is an action: the mirror asks, or one of its requests is answered and stored.
func (m *model) mirrors(t *rapid.T) {
	does := pick(t, "mirror", "list", "single", "look", "stores", "stores", "looks at once")
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case does == "looks at once":
		m.lookAsMirror(m.askAsMirror("look"), m.server.current())
	case does != "stores":
		m.asked = append(m.asked, m.askAsMirror(does))
	case len(m.asked) > 0:
		n := rapid.IntRange(0, len(m.asked)-1).Draw(t, "which")
		a := m.asked[n]
		m.asked = append(m.asked[:n:n], m.asked[n+1:]...)
		since := a.at // it was answered at any time since
		if a.kind == "list" && m.server.versions != "none" && rapid.IntRange(0, 2).Draw(t, "cached") == 2 {
			since = 0 // or before, and kept
		}
		v := m.server.history[rapid.IntRange(since, m.server.current().index).Draw(t, "shown")]
		if v.deleted && (a.kind == "list" || v.index < a.at) { // no list shows who is not there
			return
		}
		if a.kind == "look" {
			m.lookAsMirror(a, v)
			return
		}
		m.storeAsMirror(a, v)
	}
}

// checkMirror: what says SYNCED, where the mirror has looked since the last change there,
// is as the FHIR server is.
func (m *model) checkMirror(t *rapid.T, row *db.Patient) {
	now := m.server.current()
	if m.looked < now.index || row.SyncState != db.Synced || !row.UnseenSince.IsZero() {
		return
	}
	if gone := !row.GoneAt.IsZero(); gone != now.deleted {
		t.Fatalf("the mirror has looked, and the patient says %s: gone is %v there, %v here", row.SyncState, now.deleted, gone)
	}
	if !now.deleted && (!same(now.contact, rowContact(row)) || now.use != rowUse(row)) {
		t.Fatalf("the mirror has looked, and the patient says %s: %s there, %s here", row.SyncState, show(now.contact), show(rowContact(row)))
	}
}
