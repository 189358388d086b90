package writethrough

import (
	"context"
	"slices"
	"strings"
	"testing/synctest"

	"pgregory.net/rapid"

	"patientgraph/db"
	"patientgraph/fhir"
)

// check: everything that was told and is shown is true.
func (m *model) check(t *rapid.T) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != "" {
		t.Fatal(m.broken)
	}
	m.checkRow(t)
	for _, c := range m.calls {
		m.checkAnswer(t, c)
	}
	for _, op := range m.ops {
		m.checkJournal(t, op)
	}
}

var contactFields = []string{fhir.FieldPhone, fhir.FieldEmail, fhir.FieldAddress}

func same(a, b fhir.Contact) bool { return len(fhir.Differing(a, b, contactFields)) == 0 }

func rowContact(row *db.Patient) fhir.Contact {
	c := fhir.Contact{Phone: row.Phone, Email: row.Email}
	if a := row.Address; a != nil {
		c.Address = &fhir.Address{Text: a.Text, Lines: a.Lines, City: a.City, District: a.District, State: a.State, PostalCode: a.PostalCode, Country: a.Country}
	}
	return c
}

func rowUse(row *db.Patient) string {
	switch {
	case row.ReplacedBy != "":
		return "merged"
	case row.Inactive:
		return "inactive"
	}
	return ""
}

// shownBy reports whether the row has the version's contact; of an answer told again
// the rest is as it is now.
func (v *version) shownBy(row *db.Patient) bool {
	return !v.deleted && v.id == row.FHIRVersionID && same(v.contact, rowContact(row))
}

// shown finds the version that the row shows; without versions the newest that
// it can be.
func (m *model) shown(row *db.Patient) *version {
	for _, v := range slices.Backward(m.server.history) {
		if v.shownBy(row) && v.use == rowUse(row) {
			return v
		}
	}
	return nil
}

// checkRow: the cache shows what the server showed, never goes back, and says
// PENDING while a PUT may take effect.
func (m *model) checkRow(t *rapid.T) {
	row := m.row()
	m.seen[row.Version] = rowContact(row)
	v := m.shown(row)
	if v == nil {
		t.Fatalf("the cache shows what the server never did: %s", show(rowContact(row)))
	}
	if m.server.versions != "none" && v.index < m.cached {
		t.Fatalf("the cache went back from version %d to %d", m.cached, v.index)
	}
	m.cached = v.index
	m.checkMirror(t, row)
	for _, p := range m.server.late {
		if row.SyncState != db.Pending && m.server.mayLand(p) && !m.mistaken(p.op) {
			t.Fatalf("the patient says %s while a PUT of %s may still take effect", row.SyncState, p.op.id)
		}
	}
}

// What no server without versions can promise stands here: the checks leave it out
// through mistaken, leaves and blurred. Nor is it checked there that a PUT overwrites nothing
// that somebody else wrote after the read (land); to OpenEMR, whose PUT holds only what
// changes, that may happen in the fields asked for alone (landAtClinic).

// mistaken reports whether the update counts as applied because somebody else
// wrote the same, on a server without versions: it cannot be told from ours.
func (m *model) mistaken(op *opTruth) bool {
	s := m.server
	return s.versions == "none" && slices.ContainsFunc(s.history[op.since+1:], func(v *version) bool {
		wrote := len(fhir.Differing(v.contact, s.history[v.index-1].contact, op.change.Edit.Fields())) > 0
		return (v.put == nil || v.put.op != op) && wrote && m.shows(v, op.change.Edit, op.first)
	})
}

// leaves reports whether a version shows what a clearing was to leave in OpenEMR: if
// somebody else has just then written that to another column, the value to clear may
// still stand in its own, where the contact does not show it. Likewise a version that the
// update's own PUT has made shows it, though somebody has entered a phone of another use
// meanwhile, which comes first.
func (m *model) leaves(v *version, op *opTruth) bool {
	if m.server.emr != nil && op != nil && v.put != nil && v.put.op == op {
		return true
	}
	return m.server.emr != nil && op != nil && !v.deleted && slices.ContainsFunc(op.puts, func(p *put) bool {
		shown, wanted := v.contact, contactOf(p.body)
		if p.landed != nil && v.index > p.landed.index {
			for column, value := range p.landed.columns {
				switch {
				case v.columns[column] != value:
				case strings.HasPrefix(column, "phone_") && value == wanted.Phone:
					shown.Phone = value
				case strings.HasPrefix(column, "email") && value == wanted.Email:
					shown.Email = value
				}
			}
		}
		return len(fhir.Missing(shown, wanted, op.change.Edit.Fields(), "")) == 0
	})
}

// blurred reports whether nobody can find out that the update took effect:
// it was overwritten where no history tells of it.
func (m *model) blurred(op *opTruth) bool {
	return slices.ContainsFunc(op.puts, func(p *put) bool {
		if p.landed != nil && m.server.emr != nil {
			return slices.ContainsFunc(m.server.history[p.landed.index:], func(v *version) bool {
				return v.deleted || len(fhir.Differing(v.contact, p.landed.contact, op.change.Edit.Fields())) > 0
			})
		}
		return p.landed != nil && p.landed.index < m.server.current().index &&
			(m.server.versions == "none" || m.server.untold[p.ifMatch] || p.conflict && m.server.unread[p.ifMatch] || m.server.history[p.landed.index-1].deleted)
	})
}

func (m *model) deletedSince(index int) bool {
	return slices.ContainsFunc(m.server.history[index:], func(v *version) bool { return v.deleted })
}

// noEffect: what was told to have failed has not taken effect.
func (m *model) noEffect(t *rapid.T, op *opTruth, told any) {
	if op != nil && !m.blurred(op) && slices.ContainsFunc(op.puts, (*put).full) {
		t.Fatalf("%s took effect but is told as %v", op.id, told)
	}
}

func (m *model) find(id string) *opTruth {
	for _, op := range m.ops {
		if op.id == id {
			return op
		}
	}
	return nil
}

// checkAnswer: what the caller was told is true.
func (m *model) checkAnswer(t *rapid.T, c *call) {
	if c.panicked != nil {
		t.Fatalf("panic: %v", c.panicked)
	}
	if !c.ended || c.proven {
		return
	}
	if c.err != nil {
		m.noEffect(t, c.op, c.err)
		return
	}
	o := c.outcome
	if o.Code == Success {
		got := rowContact(o.Patient)
		if !slices.ContainsFunc(m.server.history[c.since:], func(v *version) bool {
			return (m.shows(v, c.change.Edit, m.firstRead(o.OperationID)) || m.leaves(v, m.find(o.OperationID))) && same(v.contact, got)
		}) {
			t.Fatalf("told as success, with %s, but the server never showed that", show(got))
		}
		asShown := slices.ContainsFunc(m.server.history[c.since:], func(v *version) bool {
			return m.shows(v, c.change.Edit, m.firstRead(o.OperationID)) && same(v.contact, got)
		})
		if told := o.Normalized; asShown && !slices.Equal(told, m.otherwise(got, c.change.Edit, told)) {
			t.Fatalf("%v are said to be kept in another form: %s of %+v", told, show(got), c.change.Edit)
		}
		c.proven = true
		return
	}
	if o.Code != KeyReused && (o.Patient == nil || !slices.ContainsFunc(m.server.history, func(v *version) bool { return v.shownBy(o.Patient) })) {
		t.Fatalf("told as %s, with a patient that the server never showed: %+v", o.Code, o.Patient)
	}
	switch o.Code {
	case Conflict, Rejected, NotSaved, Forbidden, Unavailable, Timeout, AuthFailed, RateLimited:
		m.noEffect(t, c.op, o.Code)
		m.noEffect(t, m.find(o.OperationID), o.Code)
	case PatientGone:
		if !m.deletedSince(c.since) {
			t.Fatalf("told as gone, but it never was")
		}
	case CannotApply:
		m.noEffect(t, c.op, o.Code)
		if !m.cannotStore(c.since, c.change.Edit) {
			t.Fatalf("told that the server cannot store %+v, but it can", c.change.Edit)
		}
	case PatientReplaced, PatientInactive:
		m.noEffect(t, c.op, o.Code)
		m.noEffect(t, m.find(o.OperationID), o.Code)
		m.outOfUse(t, c.since, o.Code)
	case OutcomeUnknown:
		if m.find(o.OperationID) == nil {
			t.Fatalf("an unknown outcome of the operation %q", o.OperationID)
		}
	default:
		t.Fatalf("told as %s", o.Code)
	}
	if o.Code == Conflict && o.Busy != (c.change.ExpectedVersion == 0 || len(o.Conflicting) == 0) {
		t.Fatalf("a conflict, busy %v, of %v, where the caller expected version %d", o.Busy, o.Conflicting, c.change.ExpectedVersion)
	}
	if op := m.find(o.OperationID); o.Code == OutcomeUnknown && !op.sent.IsZero() && o.Patient.SyncState != db.Pending {
		t.Fatalf("told as unknown, and the patient says %s", o.Patient.SyncState)
	}
}

// otherwise names the fields that are shown otherwise than they were asked for. Of an
// address, which is sent as one text or in parts, told is believed.
func (m *model) otherwise(shown fhir.Contact, e fhir.ContactEdit, told []string) (fields []string) {
	another := func(value, field string) bool { // a clearing shows the next one, in the form that it was left in or not
		return value == "" && m.server.emr != nil && !slices.Contains(told, field)
	}
	if e.SetPhone && shown.Phone != e.Phone && !another(e.Phone, fhir.FieldPhone) {
		fields = append(fields, fhir.FieldPhone)
	}
	if e.SetEmail && shown.Email != e.Email && !another(e.Email, fhir.FieldEmail) {
		fields = append(fields, fhir.FieldEmail)
	}
	if e.SetAddress && slices.Contains(told, fhir.FieldAddress) {
		fields = append(fields, fhir.FieldAddress)
	}
	return fields
}

// checkJournal: what contactUpdate says is true.
func (m *model) checkJournal(t *rapid.T, op *opTruth) {
	if op.end == nil {
		u, err := (&Writer{Config: Config{Store: m.store}}).ContactUpdate(context.Background(), op.id)
		if err != nil {
			t.Fatal(err)
		}
		if u.State.Open() {
			return
		}
		op.end = u
	}
	switch u := op.end; {
	case u.State == db.UpdateApplied:
		if !slices.ContainsFunc(m.server.history[op.since:], func(v *version) bool { return m.shows(v, op.change.Edit, op.first) || m.leaves(v, op) }) {
			t.Fatalf("%s ended as APPLIED but the server never showed it", op.id)
		}
	case u.Outcome.Code == PatientGone:
		if !m.deletedSince(op.since) {
			t.Fatalf("%s ended as gone, but the patient never was", op.id)
		}
	default:
		m.noEffect(t, op, u.State)
		m.outOfUse(t, op.since, u.Outcome.Code)
	}
}

// outOfUse: a record that is told as merged or inactive was so.
func (m *model) outOfUse(t *rapid.T, since int, code Code) {
	use := map[Code]string{PatientReplaced: "merged", PatientInactive: "inactive"}[code]
	if use != "" && !slices.ContainsFunc(m.server.history[since:], func(v *version) bool { return v.use == use }) {
		t.Fatalf("told as %s, but the record never was", code)
	}
}
