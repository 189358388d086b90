package writethrough_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/recordings"
	"patientgraph/internal/wait"
	"patientgraph/record"
	"patientgraph/writethrough"
)

// recorded is an answer that a real server gave. In what it shows, each phone is
// newPhone and the patient PATIENT: believed, it would be a Success.
type recorded struct {
	name   string
	status int
	header http.Header
	body   string
}

const newPhone = "413-555-7777"

// mangled is what became of a recorded answer on its way.
type mangled struct {
	name   string
	status int
	write  func(conn net.Conn, patient string)
}

// answer gives the bytes of an HTTP answer.
func (r recorded) answer(body, framing string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	_ = r.header.Write(&b)
	b.WriteString(framing + "\r\n\r\n" + body)
	return b.String()
}

// mangle is every way in which the answer may come otherwise than it was given.
func (r recorded) mangle() (all []mangled) {
	add := func(name string, bytes func(r recorded) string) {
		all = append(all, mangled{r.name + ", " + name, r.status, func(conn net.Conn, patient string) {
			own := r
			own.header, own.body = r.header.Clone(), strings.ReplaceAll(r.body, "PATIENT", patient)
			_, _ = io.WriteString(conn, bytes(own)) // the client may have hung up
		}})
	}
	length := func(body string) string { return fmt.Sprint("Content-Length: ", len(body)) }
	whole := func(r recorded) string { return r.answer(r.body, length(r.body)) }
	for n := 0; n < len(r.body); n += 1000 {
		add(fmt.Sprint("cut at ", n), func(r recorded) string { return r.answer(r.body[:n], length(r.body[:n])) })
		add(fmt.Sprint("broken off at ", n), func(r recorded) string { return r.answer(r.body[:n], length(r.body)) })
		add(fmt.Sprint("chunk broken off at ", n), func(r recorded) string {
			return r.answer(fmt.Sprintf("%x\r\n%s", len(r.body), r.body[:n]), "Transfer-Encoding: chunked")
		})
	}
	if r.body == "" {
		return all
	}
	add("without the last byte", func(r recorded) string { return r.answer(r.body[:len(r.body)-1], length(r.body[1:])) })
	add("without the last chunk", func(r recorded) string {
		return r.answer(fmt.Sprintf("%x\r\n%s\r\n", len(r.body), r.body), "Transfer-Encoding: chunked")
	})
	for _, media := range []string{"text/html", "application/xml", ""} {
		add("as "+media, func(r recorded) string {
			if r.header.Set("Content-Type", media); media == "" {
				r.header.Del("Content-Type")
			}
			return whole(r)
		})
	}
	add("twice", func(r recorded) string { return r.answer(r.body+r.body, length(r.body+r.body)) })
	add("twice, in lines", func(r recorded) string { return r.answer(r.body+"\n"+r.body, length(r.body+"\n"+r.body)) })
	add("behind a byte order mark", func(r recorded) string { r.body = "\ufeff" + r.body; return whole(r) })
	add("behind a warning of PHP", func(r recorded) string {
		r.body = "<br />\n<b>Warning</b>: Undefined variable in <b>x.php</b> on line <b>1</b><br />\n" + r.body
		return whole(r)
	})
	add("said to be gzip", func(r recorded) string { r.header.Set("Content-Encoding", "gzip"); return whole(r) })
	add("half of its gzip", func(r recorded) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(r.body))
		_ = z.Close()
		r.header.Set("Content-Encoding", "gzip")
		r.body = b.String()[:b.Len()/2]
		return whole(r)
	})
	if !strings.Contains(r.body, "PATIENT") {
		return all
	}
	all = append(all, mangled{r.name + ", of another patient", r.status, func(conn net.Conn, _ string) {
		other := r
		other.body = strings.ReplaceAll(r.body, "PATIENT", "95f0a7e2-bbbb-4b11-8c22-000000000031")
		_, _ = io.WriteString(conn, whole(other))
	}})
	return all
}

// flood is a page that does not end for a long while, as OpenEMR gives it when its
// database dies.
func flood(megabytes int) mangled {
	return mangled{fmt.Sprint(megabytes, " MB of HTML"), http.StatusOK, func(conn net.Conn, _ string) {
		line := strings.Repeat("SQL Statement failed on preparation: UPDATE patient_data<br>\n", 1<<14)
		_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n", megabytes<<20)
		for sent := 0; sent < megabytes<<20 && err == nil; sent += len(line) {
			_, err = io.WriteString(conn, line)
		}
	}}
}

// late is an answer that comes when nobody waits any more, wholly or in its second half.
func late(r recorded) []mangled {
	wait := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) } // until the client hangs up
	return []mangled{
		{r.name + ", late", r.status, func(conn net.Conn, _ string) { wait(conn) }},
		{r.name + ", the second half late", r.status, func(conn net.Conn, patient string) {
			body := strings.ReplaceAll(r.body, "PATIENT", patient)
			_, _ = io.WriteString(conn, r.answer(body[:len(body)/2], fmt.Sprint("Content-Length: ", len(body))))
			wait(conn)
		}},
	}
}

var (
	phones      = regexp.MustCompile(`\b(413-555-|555-907-)\d{4}\b`)
	recordingID = regexp.MustCompile(`a34bc1c3-c34d-4c63-8da1-5b986959da8a|a34bb9d5-039f-4a87-8a06-aa0c0ecd4eff|01332066-fca8-cce4-d9b7-75b7fd1e2004|<id>`)
)

func newRecorded(name string, status int, header http.Header, body string) recorded {
	for _, framing := range []string{"Content-Length", "Transfer-Encoding", "Connection", "Date"} {
		header.Del(framing)
	}
	body = recordingID.ReplaceAllString(phones.ReplaceAllString(body, newPhone), "PATIENT")
	return recorded{name, status, header, body}
}

// answersOf are the recorded ones of these servers, and those to OpenEMR's recorded PUTs
// of which one stands for many: the same but for the values.
func answersOf(t *testing.T, probes bool, servers ...string) (all []recorded) {
	t.Helper()
	for _, server := range servers {
		for _, r := range recordings.Of(t, server) {
			header, body := http.Header(r.Response.Headers).Clone(), r.Response.Body
			if strings.HasPrefix(server, "hapi") { // the version that our PUT makes
				for name := range header {
					header.Set(name, strings.ReplaceAll(header.Get(name), `W/"1"`, `W/"2"`))
				}
				body = strings.ReplaceAll(body, `"versionId":"1"`, `"versionId":"2"`)
			}
			all = append(all, newRecorded(r.Name, r.Response.Status, header, body))
		}
	}
	if !probes {
		return all
	}
	kinds := map[string]bool{}
	for _, version := range fhirsim.OpenEMRVersions {
		_, puts := recordings.PUTs(t, version)
		for _, p := range puts {
			kind := fmt.Sprint(p.Status, p.AnswerType, p.Answer[:min(len(p.Answer), 40)])
			if kinds[kind] {
				continue
			}
			kinds[kind] = true
			all = append(all, newRecorded(version[:5]+" "+p.Name, p.Status, http.Header{"Content-Type": {p.AnswerType}}, p.Answer))
		}
	}
	return all
}

// phase is which answer of a write is mangled.
type phase string

const (
	theRead     phase = "the read"
	thePUT      phase = "the PUT"
	theReadBack phase = "the read-back" // of a PUT whose answer was lost
)

// mangling is one case: a patient of its own, to whom it happens.
type mangling struct {
	mangled
	phase   phase
	applied bool // the PUT is carried out
	patient string
	timeout time.Duration

	mu   sync.Mutex // held while a PUT is counted and carried out
	puts int
}

func (m *mangling) String() string {
	return fmt.Sprint(m.name, ", to ", m.phase, ", carried out: ", m.applied)
}

// manglingFHIR stands before a FHIR server and mangles its answers.
type manglingFHIR struct {
	*fhirsim.Server
	cases sync.Map // by FHIR id
}

func (f *manglingFHIR) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/Patient/")
	id, _, _ := strings.Cut(rest, "/")
	found, is := f.cases.Load(id)
	if !is {
		f.Server.ServeHTTP(w, r)
		return
	}
	m := found.(*mangling)
	m.mu.Lock()
	now := theRead
	if r.Method == http.MethodPut {
		m.puts++
		now = thePUT
	} else if m.puts > 0 {
		now = theReadBack
	}
	if now == thePUT && m.applied {
		f.Server.ServeHTTP(httptest.NewRecorder(), r)
	}
	m.mu.Unlock()
	switch {
	case now == m.phase:
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		m.write(conn, m.patient)
		conn.Close()
	case now == thePUT:
		panic(http.ErrAbortHandler)
	default:
		f.Server.ServeHTTP(w, r)
	}
}

// What real servers answered, cut at every 1,000th byte, broken off there, as another
// kind of content, twice, behind a byte order mark, of another patient, late, or a page
// of 82 MB instead: as answer to the read, to the PUT or to the read-back, with the PUT
// carried out and not. The caller is told the truth, or that nobody knows; the cache
// holds nothing that the server does not; and what was unknown ends as it was.
func TestMangledAnswersAreNeverBelieved(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]struct {
		habits   fhirsim.Habits
		probes   bool
		recorded []string
		believed recorded
	}{
		"openemr": {habits: fhirsim.OpenEMR("8.0.0"), probes: true, recorded: []string{"openemr"}},
		"hapi":    {habits: fhirsim.HAPI(), recorded: []string{"hapi", "hapi-others"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers := answersOf(t, server.probes, server.recorded...)
			var cases []*mangling
			all := func(m mangled, timeout time.Duration) {
				for _, at := range []phase{theRead, thePUT, theReadBack} {
					for _, applied := range []bool{true, false} {
						if at != theRead || !applied { // it does not come to a PUT
							cases = append(cases, &mangling{mangled: m, phase: at, applied: applied, timeout: timeout})
						}
					}
				}
			}
			for _, r := range answers {
				for _, m := range r.mangle() {
					all(m, time.Minute)
				}
			}
			for _, m := range append(late(answers[0]), flood(70), flood(82)) {
				all(m, 400*time.Millisecond)
			}
			believed := believable(t, answers)
			cases = append(cases, believed)
			runManglings(t, name, server.habits, cases, believed)
		})
	}
}

// believable is the whole answer to a PUT that was carried out: that it is believed
// shows that the others are not for their mangling alone.
func believable(t *testing.T, answers []recorded) *mangling {
	t.Helper()
	for _, r := range answers {
		if r.status == http.StatusOK && strings.HasPrefix(r.name, "get") || strings.HasPrefix(r.name, "put-safe") {
			return &mangling{mangled: mangled{r.name, r.status, func(conn net.Conn, patient string) {
				body := strings.ReplaceAll(r.body, "PATIENT", patient)
				_, _ = io.WriteString(conn, r.answer(body, fmt.Sprint("Content-Length: ", len(body))))
			}}, phase: thePUT, applied: true, timeout: time.Minute}
		}
	}
	t.Fatal("no recording shows a patient")
	return nil
}

const oldPhone = "413-555-0001"

func runManglings(t *testing.T, profile string, habits fhirsim.Habits, cases []*mangling, believed *mangling) {
	server := &manglingFHIR{Server: fhirsim.New(fhirsim.Options{Habits: habits})}
	front := httptest.NewServer(server)
	t.Cleanup(front.Close)
	client, err := fhir.NewClient(fhir.Options{BaseURL: front.URL + "/fhir", Server: profile, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	store, err := db.Open(t.Context(), dbtest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []db.NewPatient
	for n, m := range cases {
		m.patient = fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n)
		if profile == "openemr" {
			server.Clinic().Put(m.patient, fhirsim.Columns{"fname": "Paul", "lname": "Moreau", "DOB": "1970-12-12", "sex": "Male", "phone_home": oldPhone})
		} else if err := server.Put([]byte(`{"resourceType":"Patient","id":"` + m.patient + `","telecom":[{"system":"phone","use":"home","value":"` + oldPhone + `"}],"gender":"male"}`)); err != nil {
			t.Fatal(err)
		}
		stored, _, _ := server.Get(m.patient)
		p, err := fhir.ParsePatient(stored, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, db.NewPatient{Number: patientID(n), FHIRID: m.patient, State: record.State(p)})
		server.cases.Store(m.patient, m)
	}
	if _, err := store.ImportPatients(t.Context(), rows, time.Now()); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, client: client, server: server.Server, store: store}
	shown := func(m *mangling) string {
		stored, _, _ := server.Get(m.patient)
		p, err := fhir.ParsePatient(stored, time.Now())
		if err != nil {
			t.Error(err)
		}
		return p.Contact.Phone
	}
	unknown := make([]string, len(cases)) // operations
	told := map[writethrough.Code]int{}
	var mu sync.Mutex
	var writes sync.WaitGroup
	places := make(chan struct{}, 64)
	for n, m := range cases {
		places <- struct{}{}
		writes.Go(func() {
			defer func() { <-places }()
			w := r.writer(false, client, store, func(c *writethrough.Config) { c.Timeout = m.timeout }) // its own circuit: others' silence is not its
			o, err := w.UpdateContact(t.Context(), writethrough.Change{PatientID: patientID(n), Edit: phone(newPhone)})
			if err != nil {
				t.Errorf("%s: %v", m, err)
				return
			}
			mu.Lock()
			told[o.Code]++
			if o.Code == writethrough.OutcomeUnknown {
				unknown[n] = o.OperationID
			}
			mu.Unlock()
			m.mu.Lock() // a PUT that the client has given up may still arrive
			truth, puts := shown(m), m.puts
			m.mu.Unlock()
			if want := map[bool]string{true: newPhone, false: oldPhone}[m.applied && puts > 0]; truth != want {
				t.Errorf("%s: the server has %s", m, truth)
			}
			row, err := store.Patient(t.Context(), patientID(n))
			if err != nil {
				t.Errorf("%s: %v", m, err)
				return
			}
			switch {
			case m == believed:
				if o.Code != writethrough.Success {
					t.Errorf("%s: the whole answer is not believed: %s, %s", m, o.Code, o.Reason)
				}
				return
			case o.Code == writethrough.Success && truth != newPhone:
				t.Errorf("%s: a false success", m)
			case o.Code != writethrough.Success && o.Code != writethrough.OutcomeUnknown && truth == newPhone:
				t.Errorf("%s: a false %s", m, o.Code)
			case o.Code == writethrough.PatientGone && m.status != http.StatusGone: // which says so by itself
				t.Errorf("%s: the patient is there", m)
			case m.phase == theRead && puts > 0:
				t.Errorf("%s: a PUT on the strength of it", m)
			case (row.SyncState == db.Pending) != (o.Code == writethrough.OutcomeUnknown):
				t.Errorf("%s: told %s, and the cache says %s", m, o.Code, row.SyncState)
			}
			if row.Phone != truth && row.SyncState == db.Synced || row.Phone != truth && row.Phone != oldPhone {
				t.Errorf("%s: the cache has %s (%s), the server %s", m, row.Phone, row.SyncState, truth)
			}
			if strings.Contains(o.Reason, newPhone) || strings.Contains(o.Reason, oldPhone) || strings.Contains(o.Reason, "Yundt") {
				t.Errorf("%s: the reason tells of the patient: %s", m, o.Reason)
			}
		})
	}
	writes.Wait()
	t.Logf("%d cases: %v", len(cases), told)

	server.cases.Clear()
	r.writer(true, client, store, func(c *writethrough.Config) { c.SettleWindow, c.Lease = 10*time.Second, 250*time.Millisecond })
	for n, id := range unknown {
		if id == "" {
			continue
		}
		want := map[bool][]db.UpdateState{true: {db.UpdateApplied}, false: {db.UpdateNotApplied, db.UpdateRejected}}[shown(cases[n]) == newPhone]
		var state db.UpdateState
		wait.Until(t, cases[n].String()+" is settled", func() bool {
			u, err := store.ContactUpdate(context.Background(), id)
			if err == nil {
				state = u.State
			}
			return err == nil && !state.Open()
		})
		if !slices.Contains(want, state) {
			t.Errorf("%s: ends as %s", cases[n], state)
		}
	}
}
