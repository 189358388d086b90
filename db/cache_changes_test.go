package db

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/db/dbtest"
)

// numbered numbers the changes and returns the last number.
func numbered(t testing.TB, s *Store) int64 {
	t.Helper()
	last, err := s.NumberChanges(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// row reads a whole row.
func row(t testing.TB, s *Store, id string) *Patient {
	t.Helper()
	p, err := s.Patient(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// poller follows the changes as a client does.
type poller struct {
	s     *Store
	above int64
	seen  map[string][]int64 // the numbers under which a row was seen
}

func newPoller(s *Store) *poller { return &poller{s: s, seen: map[string][]int64{}} }

// poll reads all pages of what changed since.
func (p *poller) poll() ([]string, error) {
	ctx := context.Background()
	if _, err := p.s.NumberChanges(ctx); err != nil {
		return nil, err
	}
	var found []string
	r := PageRequest{Filter: Filter{ChangedAfter: new(int64)}, Order: OrderChangeAsc, First: 200, Columns: []Column{ColChangeSeq}}
	*r.Filter.ChangedAfter = p.above
	for {
		page, err := p.s.Patients(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Patients {
			if row.ChangeSeq <= p.above {
				return nil, fmt.Errorf("%s has number %d, after %d", row.ID, row.ChangeSeq, p.above)
			}
			p.above = row.ChangeSeq
			p.seen[row.ID] = append(p.seen[row.ID], row.ChangeSeq)
			found = append(found, row.ID)
		}
		if r.After = page.End; !page.HasNext {
			return found, nil
		}
	}
}

func (p *poller) wants(t *testing.T, want ...string) {
	t.Helper()
	found, err := p.poll()
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("a poll finds %q (%v), want %q", found, err, want)
	}
}

// Of two transactions the one that began first is committed last.
func TestWhatIsCommittedLateIsNotMissed(t *testing.T) { onServers(t, whatIsCommittedLateIsNotMissed) }

func whatIsCommittedLateIsNotMissed(t *testing.T, open func(testing.TB) string) {
	s := openStore(t, open(t))
	for n := range 4 {
		add(t, s, testTime, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n)})
	}
	client := newPoller(s)
	client.wants(t, "P-0", "P-1", "P-2", "P-3")
	first, err := s.write.DB.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Rollback()
	for _, text := range []string{
		`UPDATE patients SET version = version + 1, updated_at = 1, change_seq = 0 WHERE id IN ('P-1', 'P-2')`,
		`INSERT INTO patients (id, family_name, given_name, full_name, birth_date, gender, phone, email, address, emergency_contact, allergies,
			blood_type, sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at, name_key, search_key, phone_keys)
			VALUES ('P-9', '', '', '', '', '', '', '', '', '', '', '', 'LOCAL_ONLY', 0, '', 0, 1, 1, 1, '', '', '')`,
	} {
		if _, err := first.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	setBloodType(t, s, "P-3") // the second one begins and is committed
	client.wants(t, "P-3")
	client.wants(t)
	setBloodType(t, s, "P-3")
	client.wants(t, "P-3")
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	client.wants(t, "P-1", "P-2", "P-9")
	client.wants(t)
	for id, times := range map[string]int{"P-0": 1, "P-1": 2, "P-2": 2, "P-3": 3, "P-9": 1} {
		if n := len(client.seen[id]); n != times {
			t.Errorf("%s was seen %d times, want %d", id, n, times)
		}
	}
}

func TestAPollDuringAnImportSeesEachRowOnce(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const patients, batch = 10_001, 500
		imported := make(chan error, 1)
		go func() {
			var failed error
			for done := 0; done < patients && failed == nil; done += batch {
				var some []NewPatient
				for n := done; n < min(done+batch, patients); n++ {
					some = append(some, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n)})
				}
				_, failed = s.ImportPatients(context.Background(), some, testTime)
			}
			imported <- failed
		}()
		client := newPoller(s)
		for running := true; running; {
			select {
			case err := <-imported:
				if err != nil {
					t.Fatal(err)
				}
				running = false // and once more
			default:
			}
			if _, err := client.poll(); err != nil {
				t.Fatal(err)
			}
		}
		if len(client.seen) != patients {
			t.Errorf("%d of %d rows were seen", len(client.seen), patients)
		}
		for id, numbers := range client.seen {
			if len(numbers) > 1 {
				t.Fatalf("%s was seen with the numbers %d, and changed once", id, numbers)
			}
		}
	})
}

// Writers, a fill, numberers and clients at the same time: each client sees the last state
// of every row, under numbers that only grow, and no two rows have one number.
func TestNobodyWhoFollowsMissesAChange(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := open(t)
			s, other := openStore(t, u), openStore(t, u) // two replicas
			const patients, writes, pages, page = 12, 25, 20, 10
			for n := range patients {
				add(t, s, testTime, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n)})
			}
			var writers, followers sync.WaitGroup
			writers.Go(func() {
				for from := range pages {
					var shown []NewPatient
					for n := patients + from*page; n < patients+(from+1)*page; n++ {
						shown = append(shown, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n)})
					}
					if _, err := other.FillPatients(context.Background(), shown, testTime, Fill{AskedAt: testTime}); err != nil {
						t.Error(err)
					}
				}
			})
			for w := range 4 {
				writers.Go(func() {
					replica := []*Store{s, other}[w%2]
					for k := range writes {
						if _, err := replica.SetProfile(fmt.Sprint("P-", (w*7+k)%patients), ProfileEdit{SetBloodType: true, BloodType: fmt.Sprint(w, k)}, 0, testTime); err != nil {
							t.Error(err)
						}
					}
				})
			}
			written := make(chan struct{})
			clients := []*poller{newPoller(s), newPoller(other), newPoller(s)}
			for _, client := range clients {
				followers.Go(func() {
					for last := false; !last; {
						select {
						case <-written:
							last = true
						default:
						}
						if _, err := client.poll(); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			writers.Wait()
			close(written)
			followers.Wait()
			numbers := map[int64]string{}
			for n := range patients + pages*page {
				p := row(t, s, fmt.Sprint("P-", n))
				if p.ChangeSeq == 0 || numbers[p.ChangeSeq] != "" {
					t.Errorf("%s has the number %d, and so has %q", p.ID, p.ChangeSeq, numbers[p.ChangeSeq])
				}
				numbers[p.ChangeSeq] = p.ID
				for k, client := range clients {
					if seen := client.seen[p.ID]; len(seen) == 0 || seen[len(seen)-1] != p.ChangeSeq {
						t.Errorf("client %d saw %s under %d, and it has %d", k, p.ID, seen, p.ChangeSeq)
					}
				}
			}
		})
	}
}

// A fill inserts its rows once.
func TestAFillNumbersWhatItInserts(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: FHIRState{FamilyName: "Kim", FHIRUpdatedAt: testTime}})
		mark := numbered(t, s)
		shown := []NewPatient{
			{Number: "P-1", FHIRID: "a1", State: FHIRState{FamilyName: "Lee", FHIRUpdatedAt: testTime.Add(time.Hour)}},
			{Number: "P-2", FHIRID: "a2"}, {Number: "P-3", FHIRID: "a3"},
		}
		if _, err := s.FillPatients(context.Background(), shown, testTime, Fill{Mark: mark, AskedAt: testTime}); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]int64{"P-1": 0, "P-2": mark + 1, "P-3": mark + 2} {
			if p := row(t, s, id); p.ChangeSeq != want {
				t.Errorf("%s has the number %d, want %d", id, p.ChangeSeq, want)
			}
		}
		if last := numbered(t, s); last != mark+3 || row(t, s, "P-1").ChangeSeq != last {
			t.Errorf("then the last number is %d, after %d", last, mark)
		}
	})
}

// Each way to write a row that gives it a new version takes its number away, and no
// other does.
func TestARowHasANumberUntilItChanges(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: FHIRState{FamilyName: "Kim", Phone: "1", FHIRUpdatedAt: testTime}}, NewPatient{Number: "P-2", FHIRID: "a2"},
			NewPatient{Number: "L-1"})
		var begun *Begun
		var told *Patient
		end := func(id string, row *Patient, shown FHIRState) (*Patient, error) {
			c := usual(id, row, shown)
			c.Owner = "me"
			return s.CloseUpdate(c)
		}
		for _, step := range []struct {
			name, id string
			changes  bool
			do       func() error
		}{
			{"begin", "P-1", false, func() (err error) { begun, err = begin(s, "op-1", "P-1", "k"); return err }},
			{"send", "P-1", false, func() error { return s.SendUpdate("op-1", "me", "P-1", `W/"1"`, "{}") }},
			{"close with another phone", "P-1", true, func() (err error) {
				told, err = end("op-1", begun.Patient, FHIRState{FamilyName: "Kim", Phone: "2", FHIRUpdatedAt: testTime.Add(time.Hour)})
				return err
			}},
			{"begin again", "P-1", false, func() (err error) { begun, err = begin(s, "op-2", "P-1", "k2"); return err }},
			{"close with another name", "P-1", true, func() (err error) {
				told, err = end("op-2", begun.Patient, FHIRState{FamilyName: "Lee", Phone: "2", FHIRUpdatedAt: testTime.Add(2 * time.Hour)})
				return err
			}},
			{"close without the patient", "P-1", false, func() error {
				if _, err := begin(s, "op-3", "P-1", "k3"); err != nil {
					return err
				}
				if err := s.SendUpdate("op-3", "me", "P-1", `W/"3"`, "{}"); err != nil {
					return err
				}
				_, err := s.CloseUpdate(Closing{ID: "op-3", Owner: "me", PatientID: "P-1", State: UpdateNotApplied, Answer: "{}"})
				return err
			}},
			{"reopen", "P-1", true, func() error { return s.ReopenUpdate("op-3", "P-1") }},
			{"profile", "P-2", true, func() (err error) {
				told, err = s.SetProfile("P-2", ProfileEdit{SetBloodType: true, BloodType: "A+"}, 0, testTime)
				return err
			}},
			{"contact of a local patient", "L-1", true, func() (err error) {
				told, err = s.SetContact("L-1", ContactEdit{SetPhone: true, Phone: "3"}, 0, testTime, ContactUpdate{ID: "op-4", Actor: "a", Digest: "d"})
				return err
			}},
			{"import of the same", "P-2", false, func() error {
				_, err := s.ImportPatients(ctx, []NewPatient{{Number: "P-2", FHIRID: "a2"}}, testTime)
				return err
			}},
			{"import", "P-2", true, func() error {
				_, err := s.ImportPatients(ctx, []NewPatient{{Number: "P-2", FHIRID: "a2", State: FHIRState{Phone: "4", FHIRUpdatedAt: testTime}}}, testTime)
				return err
			}},
			{"another number", "P-3", true, func() error {
				_, err := s.ImportPatients(ctx, []NewPatient{{Number: "P-3", NumberSystem: "urn:mrn", FHIRID: "a2", State: FHIRState{Phone: "4", FHIRUpdatedAt: testTime.Add(time.Hour)}}}, testTime)
				return err
			}},
		} {
			last, before := numbered(t, s), map[string]*Patient{}
			for _, id := range []string{"P-1", "P-2", "L-1"} {
				if p, err := s.Patient(ctx, id); err == nil {
					before[p.FHIRID] = p
				}
			}
			told = nil
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			p := row(t, s, step.id)
			was := before[p.FHIRID]
			if changed := p.Version != was.Version; changed != step.changes || p.ChangeSeq != 0 && changed || !changed && p.ChangeSeq != was.ChangeSeq {
				t.Errorf("%s: version %d and number %d, and before %d and %d", step.name, p.Version, p.ChangeSeq, was.Version, was.ChangeSeq)
			}
			if told != nil && (told.ChangeSeq != 0 || told.Version != p.Version) {
				t.Errorf("%s: told version %d with number %d", step.name, told.Version, told.ChangeSeq)
			}
			now := numbered(t, s)
			if again := row(t, s, step.id); step.changes && again.ChangeSeq <= last || !step.changes && (again.ChangeSeq != was.ChangeSeq || now != last) {
				t.Errorf("%s: then it has the number %d, of %d; before %d, of %d", step.name, again.ChangeSeq, now, was.ChangeSeq, last)
			}
		}
	})
}

// The counter is locked all the while: whoever waited would wait for ever.
func TestToNumberNothingWaitsForNobody(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := open(t)
			s := openStore(t, u)
			add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
			last := numbered(t, s)
			tx, err := dbtest.Open(t, u).Begin()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec("UPDATE change_counter SET last = last + 1"); err != nil {
				t.Fatal(err)
			}
			if again := numbered(t, s); again != last {
				t.Errorf("the last number is %d, and was %d", again, last)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Another replica numbers all the while, and many clients poll.
func TestManyWhoPollLeaveWritersTheirConnections(t *testing.T) {
	onServers(t, manyWhoPollLeaveWritersTheirConnections)
}

func manyWhoPollLeaveWritersTheirConnections(t *testing.T, open func(testing.TB) string) {
	u := open(t)
	s := openStore(t, u)
	add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2"})
	tx, err := dbtest.Open(t, u).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("SELECT last FROM change_counter FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var polling sync.WaitGroup
	for range 64 {
		polling.Go(func() { _, _ = s.NumberChanges(ctx) }) // ends with the test
	}
	waitsForLock(t, s)
	setBloodType(t, s, "P-2")
	if n := s.journal.DB.Stats().WaitCount; n > 0 {
		t.Errorf("somebody waited for a connection %d times", n)
	}
	cancel()
	polling.Wait()
}

// Rows of an older program are numbered in the order in which they changed.
func TestRowsOfAnOlderProgramAreNumbered(t *testing.T) {
	t.Parallel()
	olderStores(t, 11, func(t *testing.T, s *Store) {
		const rows = 1203
		for n := range rows {
			if _, err := s.write.DB.Exec(fmt.Sprintf(`INSERT INTO patients (id, family_name, given_name, full_name, birth_date, gender, phone, email, address, emergency_contact, allergies,
				blood_type, sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at, name_key, search_key, phone_keys)
				VALUES ('P-%04d', '', '', '', '', '', '', '', '', '', '', '', 'LOCAL_ONLY', 0, '', 0, 1, 1, %d, '', '', '')`, n, n*7919%400)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		all := map[string]*Patient{}
		for n := range rows {
			id := fmt.Sprintf("P-%04d", n)
			all[id] = row(t, s, id)
		}
		newPoller(s).wants(t, sorted(all, OrderUpdatedAsc)...)
	})
}

// What is made anew begins above the numbers of before: an old cursor finds everything.
func TestACacheMadeAnewGoesOnAboveTheOldNumbers(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var client *poller
			for round := range 2 {
				s := openStore(t, open(t))
				add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2"})
				if round == 0 {
					client = newPoller(s)
				}
				client.s = s
				client.wants(t, "P-1", "P-2")
			}
		})
	}
}

// However many rows PostgreSQL believes to be without a number, and however many
// there are, neither the question for them nor a poll reads the table.
func TestThePlansOfPolls(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		fillPatients(t, s, 1500) // and analysed: none has a number
		plan := func(text string, args ...any) string { return planOf(t, s, text, args) }
		for round := range 2 {
			if round == 1 {
				numbered(t, s)
			}
			if p := plan(nextToNumber.text); !strings.Contains(p, "patients_to_number") {
				t.Errorf("round %d: what is to be numbered is looked for with\n%s", round, p)
			}
		}
		last := numbered(t, s)
		if p := plan(changedRows.text, last-10, 500); !strings.Contains(p, "patients_by_change") {
			t.Errorf("changed rows are looked for with\n%s", p)
		}
		for _, above := range []int64{0, last - 10, last} {
			order := orderings[OrderChangeAsc]
			text, args := s.listingOf(Filter{ChangedAfter: &above}, order).selectRows(s, PageRequest{First: 20}, order, setOf([]Column{ColPhone}, keyOfPage), conditions{})
			if p := plan(text, args...); !strings.Contains(p, "patients_by_change") {
				t.Errorf("a poll after %d reads\n%s", above, p)
			}
		}
	})
}

// What is asked for beside changedAfter is fulfilled too, in the order of change.
func TestPollsWithOtherFilters(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		for n, st := range []FHIRState{{FamilyName: "Kim"}, {FamilyName: "Lee"}, {FamilyName: "Kim", Inactive: true}, {FamilyName: "Kim", Gender: "male"}} {
			add(t, s, testTime.Add(-time.Duration(n)*time.Hour), NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n), State: st})
			numbered(t, s)
		}
		first := row(t, s, "P-0").ChangeSeq
		for name, c := range map[string]struct {
			filter Filter
			above  int64
			want   []string
		}{
			"all":               {Filter{}, 0, []string{"P-0", "P-1", "P-3"}},
			"after the first":   {Filter{}, first, []string{"P-1", "P-3"}},
			"inactive ones too": {Filter{IncludeInactive: true}, first, []string{"P-1", "P-2", "P-3"}},
			"by name":           {Filter{Name: "kim"}, 0, []string{"P-0", "P-3"}},
			"own records":       {Filter{IDs: []string{"P-3", "P-1"}}, 0, []string{"P-1", "P-3"}},
			"of an own record":  {Filter{IDs: []string{"P-0"}}, first, nil},
			"nobody's":          {Filter{None: true}, 0, nil},
			"of the future":     {Filter{}, first + 1000, nil},
		} {
			c.filter.ChangedAfter = &c.above
			page, err := s.Patients(ctx, PageRequest{Filter: c.filter, Order: OrderChangeAsc, First: 10})
			if err != nil || !slices.Equal(listed(page), c.want) {
				t.Errorf("%s: %q, %v; want %q", name, listed(page), err, c.want)
			}
			if n, err := s.CountPatients(ctx, c.filter); err != nil || n != len(c.want) {
				t.Errorf("%s: %d are counted (%v), want %d", name, n, err, len(c.want))
			}
			if backward := walk(t, s, PageRequest{Filter: c.filter, Order: OrderChangeAsc}, 1, false, func() {}); !slices.Equal(backward, c.want) {
				t.Errorf("%s, from the end: %q, want %q", name, backward, c.want)
			}
		}
		seen := map[string]bool{}
		rows, err := s.ChangedRows(ctx, first, 2)
		for _, r := range rows {
			seen[r.ID+r.FHIRID] = r.Seq > first
		}
		if err != nil || !maps.Equal(seen, map[string]bool{"P-1a1": true, "P-2a2": true}) {
			t.Errorf("changed rows: %+v, %v", rows, err)
		}
	})
}
