package writethrough

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"pgregory.net/rapid"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// openEMR is fhirsim's OpenEMR as the server of the model, asked through fhir.Client
// over a real connection: what is sent, how an answer is sorted and what is judged are
// the product's own. Its history is the model's, a version for each one of the clinic.
type openEMR struct {
	*fhirsim.Server
	*line
	version string
	slip    slip
	now     time.Time // the bubble's, at the last request: the server runs outside it
}

// line is the way to the OpenEMR of the check that runs. What uses a connection runs
// outside the bubble, whose time stands still meanwhile: nothing in it can tell that a
// connection waits.
type line struct {
	client  *fhir.Client
	profile fhir.Chosen
	whole   fhir.Chosen // how a server that replaces the record is written to
	current atomic.Pointer[fhirsim.Server]
	do      chan func()
	done    chan struct{}
}

const clinicID = "97f4d1a0-6ab1-4b1e-9d2c-0f4b6f1c2e55"

// newLine is closed with the test.
func newLine(t *testing.T) *line {
	l := &line{do: make(chan func()), done: make(chan struct{})}
	l.current.Store(fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR("8.0.0")}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.current.Load().ServeHTTP(w, r) }))
	server.Config.SetKeepAlivesEnabled(false) // what a fault leaves of a connection is no matter of chance
	t.Cleanup(server.Close)
	ask := func(kind string) (*fhir.Client, fhir.Chosen) {
		client, err := fhir.NewClient(fhir.Options{BaseURL: server.URL + "/fhir", Server: kind, MaxBody: 256 << 10, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		profile, err := client.Profile(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return client, profile
	}
	l.client, l.profile = ask("openemr")
	_, l.whole = ask("r4")
	go func() {
		for do := range l.do {
			do()
			l.done <- struct{}{}
		}
	}()
	t.Cleanup(func() { close(l.do) })
	return l
}

// outside runs do outside the bubble. It must not touch what belongs to that: its
// channels, its timers, the database.
func (l *line) outside(do func()) {
	l.do <- do
	<-l.done
}

// newClinic draws an OpenEMR with one patient. It is called in the bubble.
func (l *line) newClinic(t *rapid.T, version string, slip slip) *server {
	e := &openEMR{line: l, version: version, slip: slip, now: time.Now()}
	e.Server = fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR(version), Now: func() time.Time { return e.now }})
	c := fhirsim.Columns{"lname": "Kim", "fname": "Min", "sex": "Female", "DOB": "1990-01-01", "language": "English", "ss": "1"}
	for _, column := range clinicColumns {
		if _, given := c[column.name]; !given && rapid.Bool().Draw(t, "has "+column.name) {
			c[column.name] = column.values[0]
		}
	}
	if rapid.Bool().Draw(t, "imported") {
		c["date"] = "" // its address seems to begin a year before each read
	}
	e.Clinic().Put(clinicID, c)
	l.current.Store(e.Server)
	s := &server{habits: habits{versions: "none", blind: true}, emr: e, untold: map[string]bool{}, unread: map[string]bool{}, log: t.Logf}
	s.note(nil)
	return s
}

// clinicColumns are what a clinic changes on its screens, and to what.
var clinicColumns = []struct {
	name   string
	values []string
}{
	{"phone_cell", []string{"010-0", "0100", "010-1", ""}}, {"phone_home", []string{"02-1", "010-0", "010-1", ""}}, {"phone_biz", []string{"02-2", "010-1", ""}},
	{"email", []string{"a@example.org", "b@example.org", "bad", ""}}, {"email_direct", []string{"d@example.org", "b@example.org", ""}},
	{"street", []string{"Elm 1", "Oak 2", ""}}, {"city", []string{"Ulm", "Bonn", ""}}, {"state", []string{"BW", ""}}, {"postal_code", []string{"89073", ""}},
	{"county", []string{"", "Kreis"}}, {"country_code", []string{"", "DE"}}, {"street_line_2", []string{"", "Apt 4"}},
	{"sex", []string{"Female", "Male", "female", "UNK", ""}}, {"DOB", []string{"1990-01-01", "1990-02-02", ""}}, {"fname", []string{"Min", "Suk"}},
}

// The columns that a contact edit is about.
var (
	phoneColumns   = []string{"phone_cell", "phone_home", "phone_biz"}
	emailColumns   = []string{"email", "email_direct"}
	addressColumns = []string{"street", "city", "state", "postal_code"}
)

func drawClinicEvent(t *rapid.T, label string, also ...string) event {
	e := event{what: pick(t, label, append(also, "", "", "", "", "", "", "set", "set", "set", "delete", "restore", "restore")...)}
	switch e.what {
	case "set":
		// Contact and identity are changed more often than the rest.
		column := clinicColumns[pick(t, "column", 0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12, 12, 13, 14)]
		e.column, e.value = column.name, rapid.SampledFrom(column.values).Draw(t, "to")
	case "land":
		e.which = rapid.IntRange(0, 2).Draw(t, "which")
	}
	return e
}

func (m *model) drawClinicEdit(t *rapid.T) (e fhir.ContactEdit) {
	n := len(m.server.history)
	for _, f := range pick(t, "fields", "p", "p", "e", "a", "pe", "pea") {
		switch f {
		case 'p':
			e.SetPhone, e.Phone = true, pick(t, "phone", "010-0", "0100", "010-1", "01-01", "전화", strings.Repeat("1", 255), strings.Repeat("2", 256), fmt.Sprint("uniq-", n), "")
		case 'e':
			e.SetEmail, e.Email = true, pick(t, "email", "a@example.org", "A@example.org", "b@example.org", "bad", fmt.Sprintf("uniq-%d@example.org", n), "")
		case 'a':
			e.SetAddress, e.Address = true, pick(t, "address",
				&fhir.Address{Lines: []string{"Elm 1"}, City: "Ulm", State: "BW", PostalCode: "89073"}, &fhir.Address{Lines: []string{"ELM, 1"}, City: "Ulm"},
				&fhir.Address{Lines: []string{fmt.Sprint("Oak ", n)}, City: "Bonn", PostalCode: "53111"}, &fhir.Address{City: "Ulm"},
				&fhir.Address{Lines: []string{"Oak 2", "Apt 4"}, City: "Ulm"}, &fhir.Address{Lines: []string{"Oak 2"}, City: "Ulm", Country: "DE"},
				&fhir.Address{Lines: []string{"Oak 2"}, City: "Ulm", District: "Kreis"}, &fhir.Address{Text: "Elm 1"}, nil)
		}
	}
	return e
}

// The answers that a request to OpenEMR may meet, and what else stands between.
var (
	clinicDown   = []string{"database down", "logged out", "no scope", "no rights"}
	clinicReads  = append([]string{"", "", "", "", "", "", "lost", "502", "503", "not sent", "429", "page", "two values", "broken off", "hang"}, clinicDown...)
	clinicPuts   = append([]string{"", "", "", "lost", "lost", "502", "503", "hang", "page", "two values", "broken off", "500", "not sent", "400", "422", "429", "busy", "412", "silent", "database locked", "database dies"}, clinicDown...)
	clinicUnsure = []string{"lost", "502", "503", "hang", "page", "two values", "500"} // the PUT may be under way yet
)

func (m *model) drawClinicScript(t *rapid.T) script {
	s := script{
		reads:  m.drawClinicFaults(t, "reads", 4, clinicReads...),
		puts:   m.drawClinicFaults(t, "puts", 3, clinicPuts...),
		stores: m.drawFaults(t, "stores", 5, "", "", "", "", "", "fails", "fails after"),
		stays:  rapid.IntRange(0, 9).Draw(t, "stays") == 9,
		others: pick(t, "others", "", "", "no rights", "lost", "database down"),
	}
	return s
}

func (m *model) drawClinicFaults(t *rapid.T, label string, most int, answers ...string) []fault {
	faults := m.drawFaults(t, label, most, answers...)
	for i := range faults {
		if label != "puts" {
			continue
		}
		f := &faults[i]
		f.effect = pick(t, "effect", "full", "full", "full", "full", "none", "part", "cut")
		f.late = rapid.Bool().Draw(t, "late") && slices.Contains(clinicUnsure, f.answer)
		f.between = drawClinicEvent(t, "between")
	}
	return faults
}

// set changes a column as a screen of the clinic does.
func (s *server) set(column, value string) {
	if s.emr.Clinic().Set(clinicID, column, value) { // not of a patient that was deleted
		s.note(nil)
	}
}

// note takes what the clinic holds into the history.
func (s *server) note(by *put) *version {
	v := &version{index: len(s.history), id: "1", put: by}
	body, _, alive := s.emr.Get(clinicID)
	if v.deleted = !alive; alive {
		v.body, _ = sjson.DeleteBytes(body, "address.0.period") // no content: it moves by itself
		v.contact = contactOf(v.body)
		v.columns, _ = s.emr.Clinic().Row(clinicID)
	}
	s.history = append(s.history, v)
	s.log("  clinic: version %d is %s, sex %q, born %q, deleted %v, by us %v", v.index, show(v.contact), v.columns["sex"], v.columns["DOB"], v.deleted, by != nil)
	return v
}

// clinic deletes the patient, or makes it one again that can be changed.
func (m *model) clinic(what string) {
	s, e := m.server, m.server.emr
	if what == "delete" {
		if !s.current().deleted && !m.deletedOnce {
			m.deletedOnce = true
			e.Delete(clinicID)
			s.note(nil)
		}
		return
	}
	c := maps.Clone(s.lastLive().columns)
	c["sex"], c["DOB"] = "Female", "1990-01-01"
	e.Clinic().Put(clinicID, c)
	s.note(nil)
}

// befall makes the next request meet what was drawn, until heal. carriedOut: it is not
// kept from being carried out.
func (e *openEMR) befall(on, answer string, carriedOut bool, f fhirsim.Fault) {
	e.now = time.Now()
	f.On, f.Times, f.Apply = on, 1, carriedOut
	k := e.Clinic()
	fail := func(status int, contentType, body string) {
		f.Status, f.ContentType, f.Body = status, contentType, body
	}
	const jsonType, htmlType = "application/json", "text/html; charset=utf-8"
	switch answer {
	case "lost", "hang":
		f.Close = true
	case "502":
		fail(http.StatusBadGateway, htmlType, "<html>Bad Gateway</html>")
	case "503":
		fail(http.StatusServiceUnavailable, htmlType, "<html>Service Unavailable</html>")
		f.Header = http.Header{"Retry-After": {"5"}}
	case "429":
		fail(http.StatusTooManyRequests, jsonType, `{"error":"Too many requests"}`)
	case "page":
		fail(http.StatusOK, htmlType, "<h2><font color='red'>Query Error</font></h2>")
	case "two values":
		body, _, _ := e.Get(clinicID)
		fail(http.StatusOK, jsonType, string(body)+"{}")
	case "500":
		fail(http.StatusInternalServerError, jsonType, strings.Repeat(`{"error":"An error occurred","message":"MySQL server has gone away","code":2006}`, 2))
	case "400":
		fail(http.StatusBadRequest, jsonType, `{"validationErrors":{"phone_cell":{"x":"refused"}}}`)
	case "422":
		fail(http.StatusUnprocessableEntity, jsonType, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"refused"}]}`)
	case "412":
		fail(http.StatusPreconditionFailed, jsonType, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"refused"}]}`)
	case "busy":
		fail(http.StatusConflict, htmlType, "")
	case "silent":
		fail(http.StatusOK, htmlType, "")
	case "broken off":
		f.Truncate, f.Ignore = true, f.Ignore || !carriedOut
	case "":
		f.Ignore = f.Ignore || !carriedOut
	case "database down":
		k.SetDatabase(fhirsim.DatabaseDown)
	case "database locked":
		k.SetDatabase(fhirsim.DatabaseLocked)
	case "database dies":
		k.SetDatabase(fhirsim.DatabaseDies)
	case "logged out":
		k.SetLoggedOut(true)
	case "no scope":
		k.SetScopes("user/Practitioner.read")
	case "no rights":
		k.SetACL(false)
	default:
		panic("no answer " + answer)
	}
	e.SetFault(clinicID, f)
	if on == fhirsim.OnSearch {
		e.SetFault("", f)
	}
}

func (e *openEMR) heal() {
	k := e.Clinic()
	k.SetDatabase(fhirsim.DatabaseUp)
	k.SetLoggedOut(false)
	k.SetScopes("user/Patient.read", "user/Patient.write")
	k.SetACL(true)
	e.ClearFaults()
}

// talk has one conversation, which may meet a fault.
func talk[T any](e *openEMR, do func(context.Context) (T, error)) (v T, failed *fhir.Error) {
	e.outside(func() {
		var err error
		if v, err = do(context.Background()); err != nil && !errors.As(err, &failed) {
			panic(err)
		}
	})
	e.heal()
	return v, failed
}

// clinicProcess is a process whose FHIR server is OpenEMR.
type clinicProcess struct {
	*process
	*openEMR
}

// configure has a process ask OpenEMR.
func (e *openEMR) configure(c *Config, p *process) {
	c.FHIR = clinicProcess{p, e}
	if e.slip == skipsTheWindow {
		c.SettleWindow = time.Millisecond
	}
}

func (p clinicProcess) Profile(ctx context.Context) (fhir.Chosen, error) {
	return p.client.Profile(ctx)
}

func (p clinicProcess) Read(ctx context.Context, id string) (fhir.Resource, error) {
	f := p.next(&p.script.reads)
	return exchange(p.process, ctx, f, fhir.NotSent, func() (fhir.Resource, *fhir.Error) {
		if f.answer == "not sent" {
			return fhir.Resource{}, spoiled(f.answer)
		}
		p.befall(http.MethodGet, f.answer, false, fhirsim.Fault{})
		r, failed := talk(p.openEMR, func(ctx context.Context) (fhir.Resource, error) { return p.client.Read(ctx, id) })
		if failed != nil {
			return r, failed
		}
		v := *p.m.server.current()
		if v.deleted || !same(v.contact, contactOf(r.JSON)) || r.ETag != "" {
			p.m.wrong("a read shows what the clinic does not hold: %s", r.JSON)
		}
		v.body = r.JSON
		p.m.hasRead(ctx, &v)
		if p.slip == echoesTheRead {
			r.Profile = p.whole.Profile
		}
		return r, nil
	})
}

func (p clinicProcess) ReadsOthers(ctx context.Context) (bool, error) {
	return exchange(p.process, ctx, fault{}, fhir.NotSent, func() (bool, *fhir.Error) {
		p.befall(fhirsim.OnSearch, p.script.others, false, fhirsim.Fault{})
		return talk(p.openEMR, p.client.ReadsOthers)
	})
}

func (p clinicProcess) After(context.Context, string, string) (fhir.Resource, error) {
	p.m.locked(func() { p.m.wrong("the history of a server without versions is asked") })
	return fhir.Resource{}, failure(fhir.Unusable, http.StatusNotFound)
}

func (p clinicProcess) Update(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
	f := p.next(&p.script.puts)
	c := ctx.Value(callKey{}).(*call)
	return exchange(p.process, ctx, f, fhir.NotSent, func() (fhir.Update, *fhir.Error) {
		m := p.m
		m.log("  %s sends %s of %s: %s %s late %v, between %s %s=%q", p.name, body, c.op.id, f.answer, f.effect, f.late, f.between.what, f.between.column, f.between.value)
		c.sent = true
		if ifMatch != "" {
			m.wrong("If-Match %s to a server without versions", ifMatch)
		}
		if seen, ok := m.seen[c.change.ExpectedVersion]; ok {
			if missing := fhir.Differing(seen, c.read.contact, c.change.Edit.Fields()); len(missing) > 0 {
				m.wrong("a PUT overwrites %v, which the caller with expectedVersion has not seen", missing)
			}
		}
		if f.answer == "not sent" {
			return fhir.Update{}, spoiled(f.answer)
		}
		edit := c.change.Edit
		edit.Clears = &c.first.contact
		meant, err := p.profile.Edit(c.read.body, edit, time.Now(), "")
		if err != nil {
			m.wrong("a PUT leaves though the record cannot be stored: %v", err)
			return fhir.Update{}, spoiled("not sent")
		}
		sent := &put{op: c.op, body: meant.Record, part: p.slip.spoil(body), read: c.read, effect: f.effect, since: c.op.sent}
		c.op.puts = append(c.op.puts, sent)
		if f.late {
			sent.late = true
			m.server.late = append(m.server.late, sent)
			p.befall(http.MethodPut, f.answer, false, fhirsim.Fault{})
		} else {
			state := m.row().SyncState
			p.befall(http.MethodPut, f.answer, f.effect != "none", fhirsim.Fault{Store: sent.stored, Overtaken: func() {
				m.noteLanding(sent, state)
				m.happens(f.between)
			}})
		}
		answer, failed := talk(p.openEMR, func(ctx context.Context) (fhir.Update, error) { return p.client.Update(ctx, id, sent.part, ifMatch) })
		if p.slip == believesEvery200 && (failed == nil || failed.Status == http.StatusOK) {
			return fhir.Update{Resource: fhir.Resource{ID: clinicID, JSON: meant.Record}, Status: http.StatusOK}, nil
		}
		return answer, failed
	})
}

// stored is what the clinic makes of a PUT.
func (p *put) stored(_, body []byte) []byte {
	switch p.effect {
	case "part":
		for _, first := range []string{"telecom.0", "address.0.line"} {
			if gjson.GetBytes(body, first).Exists() {
				body, _ = sjson.DeleteBytes(body, first)
				break
			}
		}
	case "cut":
		for _, value := range []string{"telecom.0.value", "telecom.1.value", "address.0.line.0", "address.0.city"} {
			if old := gjson.GetBytes(body, value).Str; old != "" {
				body, _ = sjson.SetBytes(body, value, string([]rune(old)[:min(len([]rune(old)), 3)]))
			}
		}
	}
	return body
}

// landAtClinic has a PUT arrive that was under way.
func (m *model) landAtClinic(p *put) {
	e := m.server.emr
	state := m.row().SyncState
	e.befall(http.MethodPut, "", true, fhirsim.Fault{Store: p.stored, Overtaken: func() { m.noteLanding(p, state) }})
	r := httptest.NewRequest(http.MethodPut, "/fhir/Patient/"+clinicID, bytes.NewReader(p.part))
	e.ServeHTTP(httptest.NewRecorder(), r)
	e.heal()
}

// noteLanding notes that a PUT has taken effect, if it has, and checks that it may, and
// that no column changes but those that were asked for. state: what the cache says.
func (m *model) noteLanding(p *put, state db.SyncState) {
	s := m.server
	if len(s.emr.History(clinicID)) == len(s.history) {
		return // nothing was saved
	}
	was := s.lastLive()
	m.mayTakeEffect(p, state)
	is := s.note(p)
	p.was, p.landed = was.contact, is
	for column := range columnsOfEither(was, is) {
		before, after := was.columns[column], is.columns[column]
		switch {
		case before == after, column == "date", column == "last_updated", p.mayChange(column):
		case column == "sex" || column == "DOB": // they go with every PUT: what another wrote there after the read is lost
			read := p.read.columns[column]
			if after != read && !(s.emr.version >= "8" && strings.EqualFold(after, read)) {
				m.wrong("the PUT makes %s %q, where %q was read", column, after, read)
			}
		default:
			m.wrong("the PUT of %+v changes the column %s from %q to %q", p.op.change.Edit, column, before, after)
		}
	}
}

func columnsOfEither(a, b *version) map[string]string {
	all := maps.Clone(a.columns)
	maps.Copy(all, b.columns)
	return all
}

// mayChange reports whether a column is one that an edit is about, in a record that was
// read as it was: the one that is shown as the phone or the email, an empty one where
// none is, all that hold the value to clear, and the address.
func (p *put) mayChange(column string) bool {
	e, read := p.op.change.Edit, p.read
	point := func(field, value, shown, first string, columns []string) bool {
		held := read.columns[column]
		if value == "" { // what is cleared is what was first there
			return slices.Contains(columns, column) && held != "" &&
				fhir.SameValue(field, fhir.Contact{Phone: held, Email: held}, fhir.Contact{Phone: first, Email: first}, "")
		}
		return slices.Contains(columns, column) && held == shown
	}
	return e.SetPhone && point(fhir.FieldPhone, e.Phone, read.contact.Phone, p.op.first.contact.Phone, phoneColumns) ||
		e.SetEmail && point(fhir.FieldEmail, e.Email, read.contact.Email, p.op.first.contact.Email, emailColumns) ||
		e.SetAddress && slices.Contains(addressColumns, column)
}

// shows reports whether a version holds what an edit asks for, in any form. first is
// what was read before its first PUT.
func (m *model) shows(v *version, e fhir.ContactEdit, first *version) bool {
	if m.server.emr == nil {
		return v.shows(e)
	}
	// cleared: what was shown at first is in no column any more.
	cleared := func(shown func(*version) string, columns []string) bool {
		return shown(v) == "" || first != nil && shown(first) != "" &&
			!slices.ContainsFunc(columns, func(column string) bool { return v.columns[column] == shown(first) })
	}
	have := v.contact
	want := fhir.Contact{Phone: e.Phone, Email: e.Email, Address: e.Address}
	if e.Phone == "" && cleared(func(v *version) string { return v.contact.Phone }, phoneColumns) {
		want.Phone = have.Phone
	}
	if e.Email == "" && cleared(func(v *version) string { return v.contact.Email }, emailColumns) {
		want.Email = have.Email
	}
	if want.Address != nil && have.Address != nil { // what OpenEMR does not write stays as it is
		a := *e.Address
		a.District, a.Country = cmp.Or(a.District, have.Address.District), cmp.Or(a.Country, have.Address.Country)
		want.Address = &a
	}
	return !v.deleted && len(fhir.Missing(have, want, e.Fields(), "")) == 0
}

// hidesSecondLine reports whether the clinic holds a second line of the address and no
// first one: it is shown as the first, and stays where another is written.
func (v *version) hidesSecondLine() bool {
	return v.columns["street"] == "" && v.columns["street_line_2"] != ""
}

// firstRead is what an update read before its first PUT, if it is known.
func (m *model) firstRead(id string) *version {
	if op := m.find(id); op != nil {
		return op.first
	}
	return nil
}

// cannotStore reports whether OpenEMR, as it was since then, may be unable to store what
// an edit asks for.
func (m *model) cannotStore(since int, e fhir.ContactEdit) bool {
	if m.server.emr == nil {
		return false
	}
	if len(e.Phone) > 255 {
		return true
	}
	if a := e.Address; a != nil && (a.Text != "" || len(a.Lines) > 1 || a.District != "" || a.Country != "") {
		return true
	}
	return slices.ContainsFunc(m.server.history[since:], func(v *version) bool {
		sex := strings.ToLower(v.columns["sex"])
		return v.deleted || sex != "male" && sex != "female" || v.columns["DOB"] == "" ||
			e.SetAddress && v.columns["county"]+v.columns["country_code"]+v.columns["street_line_2"] != ""
	})
}

// slip is what a bad profile, or a bad writer, would do.
type slip string

const (
	noSlip           slip = ""
	believesEvery200 slip = "believes every 200"
	skipsTheWindow   slip = "skips the settle window"
	echoesTheRead    slip = "sends the whole record as it was read"
	writesGender     slip = "writes the gender as FHIR has it"
)

// spoil is what is sent in place of a body.
func (s slip) spoil(body []byte) []byte {
	if s == writesGender {
		body = bytes.Replace(body, []byte(`"Female"`), []byte(`"female"`), 1)
	}
	return body
}

// checkClinic tries the promises on an OpenEMR once.
func (l *line) checkClinic(t *testing.T, rt *rapid.T, slip slip) {
	version := rapid.SampledFrom(fhirsim.OpenEMRVersions).Draw(rt, "OpenEMR")
	inBubble(t, func() {
		m := newModelOf(l.newClinic(rt, version, slip))
		defer m.close()
		rt.Repeat(m.actions())
		m.settle(rt)
	})
}

// The promises hold on every version of OpenEMR too, as far as a server without versions
// lets them: see model_checks_test.go.
func TestModelOpenEMR(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		// TestModel takes most of the time of a plain run.
		t.Cleanup(func() { _ = checks.Value.Set(checks.DefValue) })
		if err := checks.Value.Set("10"); err != nil {
			t.Fatal(err)
		}
	}
	l := newLine(t)
	rapid.Check(t, func(rt *rapid.T) { l.checkClinic(t, rt, noSlip) })
}

// The checks see what a bad profile does.
func TestModelOpenEMRSeesSlips(t *testing.T) {
	l := newLine(t)
	for _, slip := range []slip{believesEvery200, skipsTheWindow, echoesTheRead, writesGender} {
		t.Run(string(slip), func(t *testing.T) {
			seen := rapid.Custom(func(rt *rapid.T) (seen string) {
				defer func() {
					if failed := recover(); failed != nil {
						if fmt.Sprintf("%T", failed) == "rapid.invalidData" {
							panic(failed)
						}
						seen = fmt.Sprint(failed)
					}
				}()
				l.checkClinic(t, rt, slip)
				return ""
			})
			for seed := range 300 {
				if saw := seen.Example(seed); saw != "" {
					t.Logf("seen with seed %d: %s", seed, saw)
					return
				}
			}
			t.Error("nothing is seen in 300 checks")
		})
	}
}
