package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// at is a patient with a number, as FHIR showed it so many hours after testTime.
func at(fhirID, number string, hours int) NewPatient {
	return NewPatient{FHIRID: fhirID, Number: number, NumberSystem: "urn:n", State: FHIRState{FamilyName: "Name " + fhirID, FHIRUpdatedAt: testTime.Add(time.Duration(hours) * time.Hour)}}
}

func bring(t *testing.T, s *Store, batch ...NewPatient) ([]ImportOutcome, []RefusedNumber) {
	t.Helper()
	outcomes, err := s.ImportPatients(context.Background(), batch, testTime)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := s.SettleNumbers(context.Background(), "urn:n", testTime)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes, refused
}

// numbers lists who has which number, "1=a 2=b", and fails where something is left
// behind under another number.
func numbers(t *testing.T, s *Store) string {
	t.Helper()
	rows, err := s.query(context.Background(), "SELECT id, coalesce(fhir_id, '') FROM patients ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var number, fhirID string
		if err := rows.Scan(&number, &fhirID); err != nil {
			t.Fatal(err)
		}
		list = append(list, number+"="+fhirID)
	}
	for _, table := range tablesOfPatients(t, s) {
		orphans, err := s.number(context.Background(), "SELECT count(*) FROM "+table+" WHERE patient_id NOT IN (SELECT id FROM patients)")
		if err != nil || orphans > 0 {
			t.Errorf("%d rows of %s belong to no patient (%v)", orphans, table, err)
		}
	}
	return strings.Join(list, " ")
}

// tablesOfPatients are the tables that name a patient by its number.
func tablesOfPatients(t *testing.T, s *Store) []string {
	t.Helper()
	query := "SELECT m.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c ON c.name = 'patient_id' WHERE m.type = 'table'"
	if onPostgres(s) {
		query = "SELECT table_name FROM information_schema.columns WHERE column_name = 'patient_id' AND table_schema = 'public'"
	}
	return textsOf(t, s, query)
}

// textsOf are the rows of a SELECT of one column.
func textsOf(t *testing.T, s *Store, query string, args ...any) (texts []string) {
	t.Helper()
	rows, err := s.query(context.Background(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return texts
}

// A table of a later version that names patients must move with them: moveNumbers.
func TestEveryTableOfPatientsIsKnown(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		tables := tablesOfPatients(t, s)
		slices.Sort(tables)
		if want := []string{"contact_updates", "patient_identifiers", "patient_name_grams", "patient_phones"}; !slices.Equal(tables, want) {
			t.Errorf("tables with a patient_id are %v; moveNumbers moves %v", tables, want)
		}
	})
}

var assignedNumbers = regexp.MustCompile(`P-2025-\d+`)

func TestChainsAndRingsOfNumbers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ wishes, want, refused string }{
		"two":                         {"a=2 b=1", "1=b 2=a 3=c 4=d", ""},
		"a ring":                      {"a=2 b=3 c=4 d=1", "1=d 2=a 3=b 4=c", ""},
		"a ring the other way":        {"d=1 c=4 b=3 a=2", "1=d 2=a 3=b 4=c", ""},
		"two rings":                   {"a=2 b=1 c=4 d=3", "1=b 2=a 3=d 4=c", ""},
		"a chain":                     {"a=2 b=3 c=4 d=5", "2=a 3=b 4=c 5=d", ""},
		"a chain from its end":        {"d=5 c=4 b=3 a=2", "2=a 3=b 4=c 5=d", ""},
		"a chain to one who stays":    {"a=2 b=3 c=4", "2=a 3=b 4=d P=c", "c"}, // nobody but b claims c's number
		"two want what becomes free":  {"a=5 b=1 c=1", "1=b 3=c 4=d 5=a", "c"},
		"a ring and one more":         {"a=2 b=1 c=2", "1=b 2=a 3=c 4=d", "c"},
		"two want a free one":         {"a=9 b=9", "2=b 3=c 4=d 9=a", "b"},
		"one twice, the last counts":  {"a=5 a=6", "2=b 3=c 4=d 6=a", ""},
		"there and back":              {"a=5 a=1", "1=a 2=b 3=c 4=d", ""},
		"a new one takes a freed one": {"a=5 e=1", "1=e 2=b 3=c 4=d 5=a", ""},
		"a new one too early":         {"e=1 a=5", "1=e 2=b 3=c 4=d 5=a", ""},
		"a new one into a ring":       {"a=2 b=1 e=1", "1=b 2=a 3=c 4=d P=e", "e"},
	}
	stores(t, func(t *testing.T, s *Store) {
		for name, c := range cases {
			for _, split := range []bool{false, true} { // each line its own import
				for _, table := range append(tablesOfPatients(t, s), "patients", "patient_sequences") {
					if _, err := s.write.DB.Exec("DELETE FROM " + table); err != nil {
						t.Fatal(err)
					}
				}
				add(t, s, testTime, at("a", "1", 0), at("b", "2", 0), at("c", "3", 0), at("d", "4", 0))
				var batch []NewPatient
				for i, wish := range strings.Fields(c.wishes) {
					fhirID, number, _ := strings.Cut(wish, "=")
					batch = append(batch, at(fhirID, number, i+1))
				}
				var left []RefusedNumber
				if split {
					for _, n := range batch {
						_, left = bring(t, s, n)
					}
				} else {
					_, left = bring(t, s, batch...)
				}
				if got := assignedNumbers.ReplaceAllString(numbers(t, s), "P"); got != c.want {
					t.Errorf("%s, split %v: %s, want %s", name, split, got, c.want)
				}
				var refused []string
				for _, r := range left {
					refused = append(refused, r.FHIRID)
					if !errors.Is(r.Why, ErrNumberTaken) {
						t.Errorf("%s, %s: %v", name, r.FHIRID, r.Why)
					}
				}
				slices.Sort(refused)
				if got := strings.Join(refused, " "); got != c.refused {
					t.Errorf("%s, split %v: refused %q, want %q", name, split, got, c.refused)
				}
			}
		}
	})
}

// A number that its patient has given up on the FHIR server is for whoever claims
// it, whatever the patient claims itself.
func TestANumberThatWasGivenUp(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, at("a", "1", 0), at("b", "2", 0), at("c", "3", 0))
		former := func(n NewPatient, number string) NewPatient {
			n.Identifiers = []Identifier{{Value: number, Alias: true}}
			return n
		}
		bring(t, s, former(at("a", "", 1), "1"), former(at("b", "3", 1), "2"))
		if got := numbers(t, s); got != "1=a 2=b 3=c" {
			t.Errorf("nobody else claims them: %s", got)
		}
		_, left := bring(t, s, at("d", "1", 1), at("e", "2", 1))
		if got := numbers(t, s); got != "1=d 2=e 3=c P-2025-000003=a P-2025-000004=b" || len(left) != 1 || left[0].FHIRID != "b" {
			t.Errorf("%s, refused %v", got, left)
		}
		if _, left = bring(t, s, at("c", "9", 1)); numbers(t, s) != "1=d 2=e 3=b 9=c P-2025-000003=a" || len(left) > 0 {
			t.Errorf("%s, refused %v", numbers(t, s), left)
		}
	})
}

// A long chain whose end stays costs what a long chain costs.
func TestALongChainOfNumbers(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const n = 1000
		number := func(i int) string { return fmt.Sprintf("N%05d", i) }
		for _, shift := range []int{0, 1} {
			for from := 0; from < n; from += 500 {
				var batch []NewPatient
				for i := from; i < from+500; i++ {
					batch = append(batch, at(number(i), number(i+shift), shift))
				}
				if _, err := s.ImportPatients(context.Background(), append(batch, at("end", number(n), 0)), testTime); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, left := bring(t, s); len(left) != 1 {
			t.Fatalf("%d are refused, want the last one, whose number another has", len(left))
		}
		if _, left := bring(t, s, at("end", "free", 1)); len(left) > 0 {
			t.Errorf("%d are refused", len(left))
		}
		found, err := s.NumbersOfFHIR(context.Background(), []string{number(0), number(n - 1), "end"})
		if err != nil || !slices.Equal(found, []string{number(1), number(n), "free"}) {
			t.Errorf("%v, %v", found, err)
		}
	})
}

// The number of a patient whose update is open stays until the update has ended.
func TestAnOpenUpdateKeepsItsNumber(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
		if _, err := begin(s, "op", "1", ""); err != nil {
			t.Fatal(err)
		}
		outcomes, _ := bring(t, s, at("a", "3", 1))
		if outcomes[0].Why != KeptPending || numbers(t, s) != "1=a 2=b" {
			t.Errorf("ACCEPTED: %+v, %s", outcomes, numbers(t, s))
		}
		// Claimed already, and then begun.
		bring(t, s, at("b", "1", 1))
		if err := s.SendUpdate("op", "me", "1", "", "{}"); err != nil {
			t.Fatal(err)
		}
		if outcomes, _ = bring(t, s, at("a", "2", 1)); outcomes[0].Why != KeptPending || numbers(t, s) != "1=a 2=b" {
			t.Errorf("SENT: %+v, %s", outcomes, numbers(t, s))
		}
		closed(t, s, Closing{ID: "op", PatientID: "1", State: UpdateApplied, Shown: &FHIRState{Phone: "9"}})
		if outcomes, left := bring(t, s, at("a", "2", 1)); len(left) > 0 || numbers(t, s) != "1=b 2=a" {
			t.Errorf("settled: %+v, %v, %s", outcomes, left, numbers(t, s))
		}
		u, err := s.ContactUpdate(context.Background(), "op")
		if err != nil || u.PatientID != "2" || u.Patient == nil || u.Patient.ID != "2" || u.Patient.Phone != "9" {
			t.Errorf("the update is told as %+v (%v)", u, err)
		}
		// Reopened by who knew the patient by its old number.
		closedAs(t, s, "op", UpdateNotApplied)
		if err := s.ReopenUpdate("op", "1"); err != nil {
			t.Fatal(err)
		}
		for number, state := range map[string]SyncState{"1": Synced, "2": Pending} {
			if p, err := s.Patient(context.Background(), number); err != nil || p.SyncState != state {
				t.Errorf("%s is %+v (%v), want %s", number, p, err, state)
			}
		}
	})
}

// closedAs sets the state of a settled update.
func closedAs(t *testing.T, s *Store, id string, state UpdateState) {
	t.Helper()
	if _, err := s.write.DB.Exec(s.translate("UPDATE contact_updates SET state = ? WHERE id = ?"), string(state), id); err != nil {
		t.Fatal(err)
	}
}

// An end that is written again, after its first answer was lost and the number moved
// on, changes nobody's record.
func TestCloseAgainAfterTheNumberMoved(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
		sent(t, s, "op", "1")
		c := Closing{ID: "op", PatientID: "1", State: UpdateApplied, Shown: &FHIRState{Phone: "9"}}
		row := closed(t, s, c)
		for _, next := range [][]NewPatient{{at("a", "3", 1)}, {at("b", "1", 1)}} {
			bring(t, s, next...)
			c.Owner, c.Row = "me", row
			if _, err := s.CloseUpdate(c); !errors.Is(err, ErrLostLease) {
				t.Errorf("close again: %v", err)
			}
		}
		if p, err := s.Patient(context.Background(), "1"); err != nil || p.FHIRID != "b" || p.Phone != "" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// An update that was meant for one patient is not begun for whoever has the number
// by then.
func TestAnUpdateIsForThePatientItWasMeantFor(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
		bring(t, s, at("a", "2", 1), at("b", "1", 1))
		_, err := s.BeginUpdate(context.Background(), ContactUpdate{ID: "op", PatientID: "1", FHIRID: "a", Actor: "a", Digest: "d"}, "me", time.Minute)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("begun: %v", err)
		}
		if _, err := begin(s, "op-2", "1", ""); err != nil {
			t.Errorf("the refused one holds the patient: %v", err)
		}
	})
}

// Numbers go round while updates begin and end: each line of the journal stays with
// its patient, none is lost, and none is open in the end.
func TestNumbersMoveUnderWrites(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		const n, each = 12, 25
		var batch []NewPatient
		for i := range n {
			batch = append(batch, at(fmt.Sprint("f", i), fmt.Sprint("N", i), 0))
		}
		add(t, s, testTime, batch...)
		done := make(chan struct{})
		var writers, importer sync.WaitGroup
		importer.Go(func() {
			for round := 1; ; round++ {
				select {
				case <-done:
					return
				default:
				}
				var batch []NewPatient
				for i := range n {
					batch = append(batch, at(fmt.Sprint("f", i), fmt.Sprint("N", (i+round)%n), round))
				}
				if _, err := s.ImportPatients(ctx, batch, testTime); err != nil {
					t.Error(err)
				}
				if _, err := s.SettleNumbers(ctx, "urn:n", testTime); err != nil {
					t.Error(err)
				}
			}
		})
		var ended [n]int
		for i := range n {
			writers.Go(func() {
				fhirID := fmt.Sprint("f", i)
				for k := 0; k < each; {
					found, err := s.NumbersOfFHIR(ctx, []string{fhirID})
					if err != nil || len(found) != 1 {
						t.Errorf("%s has the numbers %v (%v)", fhirID, found, err)
						return
					}
					id := fmt.Sprint("op-", i, "-", k)
					begun, err := s.BeginUpdate(ctx, ContactUpdate{ID: id, PatientID: found[0], FHIRID: fhirID, Actor: "a", Digest: "d"}, "me", time.Minute)
					if errors.Is(err, ErrNotFound) || errors.Is(err, ErrBusy) { // it moved in between
						continue
					}
					if err != nil || begun.Patient.FHIRID != fhirID {
						t.Errorf("begin: %+v, %v", begun, err)
						return
					}
					if err := s.SendUpdate(id, "me", found[0], "", "{}"); err != nil {
						t.Error(err)
						return
					}
					_, err = s.CloseUpdate(Closing{ID: id, Owner: "me", PatientID: found[0], Row: begun.Patient, State: UpdateApplied,
						Shown: &FHIRState{FamilyName: "Name " + fhirID, Phone: id, FHIRUpdatedAt: begun.Patient.FHIRUpdatedAt}, At: testTime})
					if err != nil {
						t.Error(err)
						return
					}
					k++
					ended[i]++
				}
			})
		}
		writers.Wait()
		close(done)
		importer.Wait()
		numbers(t, s)
		for i := range n {
			for k := range each {
				u, err := s.ContactUpdate(ctx, fmt.Sprint("op-", i, "-", k))
				if err != nil || u.State != UpdateApplied || u.Patient.FHIRID != fmt.Sprint("f", i) || u.Patient.Phone != u.ID {
					t.Fatalf("op-%d-%d of %d is %+v (%v)", i, k, ended[i], u, err)
				}
			}
			if c, err := s.CountPatients(ctx, Filter{Name: fmt.Sprint("Name f", i), Phone: fmt.Sprint("op-", i, "-", each-1)}); err != nil || c > 1 {
				t.Errorf("%d rows are found by the name of f%d (%v)", c, i, err)
			}
		}
	})
}

// What a number is looked up by: the number itself first, then aliases, and none that
// two records claim. Everything in one answer, however much is asked.
func TestNumbersOf(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		alias := func(fhirID, number string, aliases ...string) NewPatient {
			n := at(fhirID, number, 1)
			for _, a := range aliases {
				n.Identifiers = append(n.Identifiers, Identifier{Value: a, Alias: true})
			}
			return n
		}
		add(t, s, testTime, alias("a", "1", "x", "y"), alias("b", "2", "x", "1", "z"), NewPatient{Number: "L"})
		many := make([]string, 1000)
		for i := range many {
			many[i] = fmt.Sprint("none ", i)
		}
		huge := strings.Repeat("x", 1<<20)
		for _, c := range []struct{ ids, want []string }{
			{nil, nil}, {[]string{""}, nil}, {[]string{"1", "2"}, []string{"1", "2"}}, {[]string{"z", "2", "y", "nobody"}, []string{"2", "1", "nobody"}},
			{[]string{"x"}, []string{"x"}}, {[]string{"L", "\x00", "\xff", huge}, []string{"L", "\uFFFD", huge}}, {append(many, "y"), append(many, "1")},
			{[]string{"X", "Y", " y"}, []string{"X", "Y", " y"}},
		} {
			if got, err := s.NumbersOf(ctx, c.ids); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%.60q: %q, %v, want %q", c.ids, got, err, c.want)
			}
		}
		if got, err := s.NumbersOfFHIR(ctx, append(many, "b", "A", "a", "b")); err != nil || !slices.Equal(got, []string{"2", "1"}) {
			t.Errorf("by FHIR id: %q, %v", got, err)
		}
		if got, err := s.NumbersOfFHIR(ctx, []string{""}); err != nil || got != nil {
			t.Errorf("by no FHIR id: %q, %v", got, err)
		}
		for id, want := range map[string]string{"1": "1", "y": "1", "z": "2", "x": "", "": "", "\x00": ""} {
			p, err := s.Patient(ctx, id)
			if want == "" && !errors.Is(err, ErrNotFound) || want != "" && (err != nil || p.ID != want) {
				t.Errorf("%q is %+v, %v", id, p, err)
			}
		}
		aliases, err := s.AliasesOf(ctx, []string{"2", "1"})
		if want := map[string]string{"y": "1", "z": "2"}; err != nil || fmt.Sprint(aliases) != fmt.Sprint(want) {
			t.Errorf("aliases %v, %v", aliases, err)
		}
		if aliases, err = s.AliasesOf(ctx, []string{"2"}); err != nil || fmt.Sprint(aliases) != fmt.Sprint(map[string]string{"x": "2", "z": "2"}) {
			t.Errorf("aliases %v, %v", aliases, err)
		}
	})
}

// A patient without a FHIR id whose number is an alias by now is known.
func TestALocalLineOfAnAlias(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "1", State: FHIRState{FamilyName: "Name a"}})
		bring(t, s, at("a", "1", 1))
		bring(t, s, at("a", "2", 2))
		if outcomes, _ := bring(t, s, NewPatient{Number: "1", State: FHIRState{FamilyName: "Name a"}}); outcomes[0].Why != KeptLocal || numbers(t, s) != "2=a" {
			t.Errorf("%+v, %s", outcomes, numbers(t, s))
		}
	})
}

// The rows of a former version are found by their numbers, and renumbered.
func TestNumbersOfAFormerVersion(t *testing.T) {
	t.Parallel()
	olderStores(t, 5, func(t *testing.T, s *Store) {
		ctx := context.Background()
		_, err := s.write.DB.Exec(`INSERT INTO patients (id, fhir_id, family_name, given_name, full_name, name_key, birth_date, gender, phone, phone_key, email,
			address, emergency_contact, allergies, blood_type, sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at)
			VALUES ('P-2025-000001', 'a', '', '', '', '', '', '', '', '', '', '', '', '["latex"]', '', 'SYNCED', 0, '', $1, 7, 0, 0)`, toMicros(testTime))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		if n, err := s.CountPatients(ctx, Filter{Identifier: "p-2025-000001"}); err != nil || n != 1 {
			t.Errorf("%d are found by the number (%v)", n, err)
		}
		bring(t, s, at("a", "70-1", 0)) // of the same time
		p, err := s.Patient(ctx, "P-2025-000001")
		if err != nil || p.ID != "70-1" || len(p.Allergies) != 1 || p.Version != 8 {
			t.Errorf("%+v, %v", p, err)
		}
	})
}
