package writethrough

import (
	"database/sql/driver"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"modernc.org/sqlite"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// The database's clock is the test's, so that in a bubble (testing/synctest)
// leases run out when the test says so.
func init() {
	sqlite.MustRegisterScalarFunction("unixepoch", 1, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		return float64(time.Now().UnixMicro()) / 1e6, nil
	})
}

// habits are what FHIR servers differ in.
type habits struct {
	versions  string // numbers, uuids, none (then If-Match means nothing)
	stale     int    // the status for a stale If-Match: 409, 412
	sameIsNew bool   // an identical PUT makes a new version
	deleted   int    // what a PUT to a deleted patient gives: 409, 404, or it lives again: 201, 200
	blind     bool   // there is no history
	busy      bool   // a stale If-Match is told in words that name no value
	forms     bool   // it keeps phones and emails in a form of its own
}

// version is one state of the patient.
type version struct {
	index    int
	id, etag string
	body     []byte
	contact  fhir.Contact
	use      string          // "": it may be changed; else why not
	columns  fhirsim.Columns // of OpenEMR
	deleted  bool
	put      *put // nil: another client's
}

// put is one PUT that left.
type put struct {
	op       *opTruth
	body     []byte   // the Patient as it is to be
	part     []byte   // what OpenEMR is sent of it
	read     *version // what it was made from, at OpenEMR
	ifMatch  string
	conflict bool         // it was answered so
	effect   string       // full; part, cut, ignored: the server stores something else
	since    time.Time    // when the journal said that it is about to leave
	late     bool         // it is still under way
	landed   *version     // what it made
	was      fhir.Contact // what was there before that
}

// server is the model of a FHIR server with one patient.
type server struct {
	habits
	emr     *openEMR // nil: it is not OpenEMR
	history []*version
	late    []*put          // under way
	untold  map[string]bool // what followed these versions the history did not tell
	unread  map[string]bool // or was refused
	log     func(string, ...any)
}

func (s *server) current() *version { return s.history[len(s.history)-1] }

// lastLive is the current version, or the one before the deletion.
func (s *server) lastLive() *version {
	for _, v := range slices.Backward(s.history) {
		if !v.deleted {
			return v
		}
	}
	panic("never lived")
}

// add makes a new version.
func (s *server) add(body []byte, by *put) *version {
	v := &version{index: len(s.history), put: by, deleted: body == nil}
	switch s.versions {
	case "numbers":
		v.id = fmt.Sprint(v.index + 1)
	case "uuids":
		v.id = fmt.Sprintf("%08x", uint32(v.index+1)*2654435761) // without order
	default:
		v.id = "1"
	}
	if s.versions != "none" {
		v.etag = `W/"` + v.id + `"`
	}
	if body != nil {
		v.body, _ = sjson.SetBytes(body, "meta.versionId", v.id)
		v.body, _ = sjson.SetBytes(v.body, "meta.lastUpdated", time.Now().UTC().Format(time.RFC3339))
		v.contact, v.use = contactOf(v.body), useOf(v.body)
	}
	s.history = append(s.history, v)
	s.log("  server: version %d is %s %s, deleted %v, by us %v", v.index, show(v.contact), v.use, v.deleted, by != nil)
	return v
}

func contactOf(body []byte) fhir.Contact {
	c, err := fhir.ContactOf(body, time.Now())
	if err != nil {
		panic(err)
	}
	return c
}

// useOf reads why a record is not to be changed.
func useOf(body []byte) string {
	switch {
	case gjson.GetBytes(body, "link").Exists():
		return "merged"
	case gjson.GetBytes(body, "active").Raw == "false":
		return "inactive"
	}
	return ""
}

func show(c fhir.Contact) string {
	a := "-"
	if c.Address != nil {
		a = fmt.Sprint(*c.Address)
	}
	return fmt.Sprintf("[%s %s %s]", c.Phone, c.Email, a)
}

func edited(body []byte, e fhir.ContactEdit) []byte {
	out, _, err := fhir.EditContact(body, e, time.Now(), "")
	if err != nil {
		panic(err)
	}
	return out
}

// shows reports whether the version holds what the edit asks for, in any form.
func (v *version) shows(e fhir.ContactEdit) bool {
	return !v.deleted && len(fhir.Missing(v.contact, contactOf(edited(v.body, e)), e.Fields(), "")) == 0
}

func withoutMeta(body []byte) string {
	out, _ := sjson.DeleteBytes(body, "meta")
	return string(out)
}

func failure(kind fhir.Kind, status int) *fhir.Error {
	return &fhir.Error{Kind: kind, Status: status, Reason: kind.String()}
}

// refusal tells why the server does not take a PUT; nil: it takes it.
func (s *server) refusal(p *put) *fhir.Error {
	stale := s.versions != "none" && p.ifMatch != s.lastLive().etag
	switch {
	case s.emr != nil && s.current().deleted:
		return failure(fhir.Gone, http.StatusBadRequest)
	case stale && s.busy:
		return failure(fhir.Busy, s.stale)
	case stale:
		return failure(fhir.Conflict, s.stale)
	case s.current().deleted && s.deleted == http.StatusNotFound:
		return failure(fhir.Gone, s.deleted)
	case s.current().deleted && s.deleted == http.StatusConflict:
		return failure(fhir.Conflict, s.deleted)
	}
	return nil
}

// take stores what the server makes of a PUT.
func (s *server) take(p *put) (v *version, created bool) {
	body, was, e := p.body, s.lastLive(), p.op.change.Edit
	switch p.effect {
	case "ignored":
		body = was.body
	case "part": // all but the first of the fields asked for
		back := fhir.ContactEdit{Phone: was.contact.Phone, Email: was.contact.Email, Address: was.contact.Address}
		back.SetPhone = e.SetPhone
		back.SetEmail = !e.SetPhone && e.SetEmail
		back.SetAddress = !e.SetPhone && !e.SetEmail
		body = edited(body, back)
	case "cut":
		c := contactOf(body)
		short := fhir.ContactEdit{SetPhone: e.SetPhone, Phone: cut(c.Phone), SetEmail: e.SetEmail, Email: cut(c.Email)}
		if e.SetAddress && c.Address != nil {
			short.SetAddress, short.Address = true, &fhir.Address{Text: cut(c.Address.Text + c.Address.City)}
		}
		body = edited(body, short)
	}
	if s.forms && p.effect != "ignored" {
		c := contactOf(body)
		body = edited(body, fhir.ContactEdit{
			SetPhone: e.SetPhone && c.Phone != "", Phone: strings.ReplaceAll(c.Phone, "-", ""), SetEmail: e.SetEmail && c.Email != "", Email: strings.ToLower(c.Email),
		})
	}
	p.was = was.contact
	if s.current().deleted {
		p.landed = s.add(body, p)
		return p.landed, s.deleted == http.StatusCreated
	}
	if !s.sameIsNew && withoutMeta(body) == withoutMeta(was.body) {
		return was, false
	}
	p.landed = s.add(body, p)
	return p.landed, false
}

func cut(s string) string { return s[:min(len(s), 3)] }

// full reports whether the PUT took effect as it was, and that can be seen: a server
// that keeps values in a form of its own may have made of them what was there before.
func (p *put) full() bool {
	fields := p.op.change.Edit.Fields()
	return p.landed != nil && len(fhir.Missing(p.landed.contact, contactOf(p.body), fields, "")) == 0 &&
		len(fhir.Differing(p.landed.contact, p.was, fields)) > 0
}

// mayLand reports whether a PUT that is under way may still take effect.
func (s *server) mayLand(p *put) bool {
	return p.late && time.Since(p.since) < modelWindow && s.refusal(p) == nil
}

// event is what others do to the patient.
type event struct {
	what  string // "", edit, note, delete, merge, deactivate, restore, set: a column of OpenEMR, land: a PUT that was under way arrives
	which int
	edit  fhir.ContactEdit

	column, value string
}

func (m *model) happens(e event) {
	s := m.server
	switch e.what {
	case "set":
		s.set(e.column, e.value)
	case "restore", "delete":
		if s.emr != nil {
			m.clinic(e.what)
			return
		}
	}
	switch e.what {
	case "edit":
		s.add(edited(s.lastLive().body, e.edit), nil)
	case "note":
		body, _ := sjson.SetBytes(s.lastLive().body, "extension.0.valueString", fmt.Sprint("note ", len(s.history)))
		s.add(body, nil)
	case "merge":
		body, _ := sjson.SetRawBytes(s.lastLive().body, "link", []byte(`[{"type":"replaced-by","other":{"reference":"Patient/p2"}}]`))
		s.add(body, nil)
	case "deactivate":
		body, _ := sjson.SetBytes(s.lastLive().body, "active", false)
		s.add(body, nil)
	case "restore":
		body, _ := sjson.DeleteBytes(s.lastLive().body, "link")
		body, _ = sjson.DeleteBytes(body, "active")
		s.add(body, nil)
	case "delete":
		if !s.current().deleted && s.versions != "none" && !m.deletedOnce {
			m.deletedOnce = true
			s.add(nil, nil)
		}
	case "land":
		if len(s.late) > 0 {
			i := e.which % len(s.late)
			p := s.late[i]
			s.late = slices.Delete(s.late, i, i+1)
			s.log("  server: a late PUT of %s arrives", p.op.id)
			if s.mayLand(p) {
				m.land(p)
			}
			p.late = false
		}
	}
}

// land has a PUT take effect and checks what must hold just then.
func (m *model) land(p *put) (*version, bool) {
	was := m.server.lastLive()
	m.mayTakeEffect(p, m.row().SyncState)
	if m.server.emr != nil {
		m.landAtClinic(p)
		return nil, false
	}
	if m.server.versions != "none" {
		if want := edited(was.body, p.op.change.Edit); withoutMeta(want) != withoutMeta(p.body) {
			m.wrong("the PUT changes what it was not asked to change:\n%s\n%s", want, p.body)
		}
		if seen, ok := m.seen[p.op.change.ExpectedVersion]; ok {
			if missing := fhir.Differing(seen, was.contact, p.op.change.Edit.Fields()); len(missing) > 0 {
				m.wrong("a PUT overwrites %v, which the caller with expectedVersion has not seen", missing)
			}
		}
	}
	return m.server.take(p)
}

// mayTakeEffect: a PUT takes effect while the cache says so, once, and before those of
// later updates.
func (m *model) mayTakeEffect(p *put, state db.SyncState) {
	if state != db.Pending && !m.mistaken(p.op) {
		m.wrong("a PUT of %s takes effect while the patient says %s", p.op.id, state)
	}
	for _, other := range p.op.puts {
		if other.full() && !m.blurred(p.op) {
			m.wrong("a PUT of %s takes effect for the second time", p.op.id)
		}
	}
	for _, later := range m.ops[slices.Index(m.ops, p.op)+1:] {
		if !m.mistaken(p.op) && slices.ContainsFunc(later.puts, func(other *put) bool { return other.landed != nil }) {
			m.wrong("a PUT of %s undoes what a later one, of %s, has made", p.op.id, later.id)
		}
	}
}
