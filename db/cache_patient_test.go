package db

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"patientgraph/db/dbtest"
)

func fullState() FHIRState {
	return FHIRState{
		FamilyName: "홍", GivenName: "길동", FullName: "홍길동", BirthDate: "1990-05", Gender: "male",
		Phone: "010-1111-2222", Email: "hong@example.org",
		Address:     &Address{Text: "서울 😀", Lines: []string{"1 Main St", "2층"}, City: "서울", District: "중구", State: "S", PostalCode: "04524", Country: "KR"},
		FHIRContact: &EmergencyContact{Name: "이모", Relationship: "aunt", Phone: "02-1"},
		OtherNames:  []Name{{Family: "Hong", Given: "Gildong", Text: "Hong Gildong"}, {Family: "김"}},
		OtherPhones: []string{"+82 2-555-0100", "ask the ward"}, FHIRVersionID: "1", FHIRUpdatedAt: testTime,
	}
}

// TestEveryColumnComesBack also finds the field of FHIRState that has no column.
func TestEveryColumnComesBack(t *testing.T) {
	t.Parallel()
	st := fullState()
	fields := reflect.ValueOf(&st).Elem()
	for n := range fields.NumField() {
		switch name := fields.Type().Field(n).Name; {
		case !fields.Field(n).IsZero():
		case fields.Field(n).Kind() == reflect.String:
			fields.Field(n).SetString("a " + name)
		case fields.Field(n).Kind() == reflect.Bool:
			fields.Field(n).SetBool(true)
		default:
			t.Fatalf("fullState has no %s", name)
		}
	}
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: st})
		if _, err := s.SetProfile("P-1", ProfileEdit{
			SetEmergencyContact: true, EmergencyContact: &EmergencyContact{Name: "어머니", Phone: "010"},
			SetAllergies: true, Allergies: []string{"땅콩", "Penicillin"}, SetBloodType: true, BloodType: "AB-",
		}, 1, testTime.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Patient(ctx, "P-1")
		if err != nil {
			t.Fatal(err)
		}
		got.keys, got.filled, got.stored, got.kept = keys{}, 0, [changeable]string{}, seldomValues{}
		want := &Patient{
			ID: "P-1", FHIRID: "a1", FHIRState: st,
			EmergencyContact: &EmergencyContact{Name: "어머니", Phone: "010"}, Allergies: []string{"땅콩", "Penicillin"}, BloodType: "AB-",
			SyncState: Synced, LastSyncedAt: testTime, Version: 2, CreatedAt: testTime, UpdatedAt: testTime.Add(time.Hour),
			versions: [changeable]int64{1, 1, 1, 2, 2, 2}, versionsAsOf: 2,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if _, err := s.Patient(ctx, "P-2"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown patient: %v", err)
		}
	})
}

func TestOnlyTheColumnsAskedForAreRead(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()})
		for c := range ColUpdatedAt + 1 {
			if keyColumns&(1<<c) != 0 {
				continue
			}
			p, err := s.Patient(ctx, "P-1", c)
			if err != nil {
				t.Fatal(err)
			}
			page, err := s.Patients(ctx, PageRequest{Order: OrderCreatedDesc, First: 1, Columns: []Column{c}})
			if err != nil {
				t.Fatal(err)
			}
			for how, p := range map[string]*Patient{"alone": p, "in a page": page.Patients[0]} {
				if how == "alone" && p.FHIRID != "a1" || p.ID != "P-1" {
					t.Errorf("%s: the keys are missing: %+v", how, p)
				}
				if how == "in a page" && p.FHIRID != "" || c != ColSyncState && p.SyncState != "" || c != ColVersion && p.Version != 0 {
					t.Errorf("%s: more was read than was asked for: %+v", how, p)
				}
				if c != ColPhone && p.Phone != "" || c == ColPhone && p.Phone == "" {
					t.Errorf("%s, column %s: phone is %q", how, columns[c].name, p.Phone)
				}
				if c != ColAddress && p.Address != nil || c == ColAddress && p.Address == nil {
					t.Errorf("%s, column %s: address is %v", how, columns[c].name, p.Address)
				}
			}
		}
		if names := setOf([]Column{ColPhone}, keyColumns).names(", "); names != "id, fhir_id, phone, gone_at" {
			t.Errorf("selected: %s", names)
		}
	})
}

func TestManyColumnSetsDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	s := openStore(t, "sqlite::memory:")
	add(t, s, testTime, NewPatient{Number: "P-1"})
	for n := range 2 * maxKept {
		var columns []Column
		for c := range Column(10) {
			if n&(1<<c) != 0 {
				columns = append(columns, ColFamilyName+c)
			}
		}
		columns = append(columns, ColVersion)
		if _, err := s.Patient(context.Background(), "P-1", columns...); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Patients(context.Background(), PageRequest{Order: OrderCreatedDesc, First: 1, Columns: columns}); err != nil {
			t.Fatal(err)
		}
	}
	if patients, pages := s.keptReads.Len(), s.keptPages.Len(); patients != maxKept || pages != maxKept {
		t.Errorf("%d statements of patients and %d of pages are kept", patients, pages)
	}
	first, next := setOf([]Column{ColVersion}, keyColumns), setOf([]Column{ColFamilyName + 8, ColVersion}, keyColumns)
	if s.keptReads.Contains(first) || !s.keptReads.Contains(next) {
		t.Error("the one that came when all places were taken did not get that of the oldest")
	}
}

func TestSetContactIsForPatientsWithoutFHIRID(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()}, NewPatient{Number: "P-2", State: fullState()})
		edit := ContactEdit{SetPhone: true, Phone: "1\x002", SetAddress: true}
		if _, err := s.SetContact("P-1", edit, 0, testTime, ContactUpdate{ID: "1"}); !errors.Is(err, ErrHasFHIRID) {
			t.Errorf("with a FHIR id: %v", err)
		}
		if _, err := s.SetContact("P-2", edit, 7, testTime, ContactUpdate{ID: "2"}); !errors.Is(err, ErrVersionMismatch) {
			t.Errorf("at another version: %v", err)
		}
		if _, err := s.SetContact("P-2", edit, 1, testTime, ContactUpdate{ID: "3", Actor: "me", IdempotencyKey: "k"}); err != nil {
			t.Fatal(err)
		}
		p, err := s.Patient(ctx, "P-2")
		if err != nil || p.Phone != "1\uFFFD2" || p.Address != nil || p.Email != "hong@example.org" || p.SyncState != LocalOnly || p.Version != 2 {
			t.Errorf("%+v, %v", p, err)
		}
		u, err := s.ContactUpdateByKey(ctx, "me", "k", time.Hour)
		if err != nil || u.State != UpdateApplied || !sameRow(u.Patient, p) {
			t.Errorf("the journal has %+v, %v", u, err)
		}
		if _, err := s.SetContact("P-2", edit, 0, testTime, ContactUpdate{ID: "4", Actor: "me", IdempotencyKey: "k"}); !errors.Is(err, ErrBusy) {
			t.Errorf("the same key again: %v", err)
		}
		if again, err := s.Patient(ctx, "P-2"); err != nil || again.Version != 2 {
			t.Errorf("the same key wrote again: %+v, %v", again, err)
		}
	})
}

func TestConcurrentChangesAllCount(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1"})
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				for range 5 {
					if _, err := s.SetProfile("P-1", ProfileEdit{SetBloodType: true, BloodType: fmt.Sprint(n)}, 0, testTime); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if p, err := s.Patient(ctx, "P-1"); err != nil || p.Version != 41 {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

func TestImportRules(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		at := func(minutes int, phone string) FHIRState {
			return FHIRState{Phone: phone, FHIRUpdatedAt: testTime.Add(time.Duration(minutes) * time.Minute)}
		}
		add(t, s, testTime,
			NewPatient{Number: "P-1", FHIRID: "a1", State: at(10, "old")},
			NewPatient{Number: "P-2", State: at(0, "local")},
			NewPatient{Number: "P-4", State: FHIRState{FamilyName: "One", GivenName: strings.Repeat("가", 4000), Phone: strings.Repeat("1234567890", 800)}},
			NewPatient{Number: "P-3", FHIRID: "a3", State: at(10, "pending")},
			NewPatient{Number: "P-2025-000001", FHIRID: "a4", State: at(10, "x")})
		sent(t, s, "op-1", "P-3")
		for _, c := range []struct {
			name   string
			n      NewPatient
			result ImportResult
			err    error
		}{
			{"older", NewPatient{Number: "P-1", FHIRID: "a1", State: at(5, "new")}, Kept, nil},
			{"same age", NewPatient{FHIRID: "a1", State: at(10, "new")}, Kept, nil},
			{"newer, found by FHIR id", NewPatient{FHIRID: "a1", State: at(20, "new")}, Updated, nil},
			{"pending", NewPatient{FHIRID: "a3", State: at(20, "new")}, Kept, nil},
			{"local again", NewPatient{Number: "P-2", State: at(20, "new")}, Kept, nil},
			{"local becomes synced", NewPatient{Number: "P-2", FHIRID: "a2", State: at(20, "new")}, Updated, nil},
			{"number taken", NewPatient{Number: "P-1", FHIRID: "a9", State: at(30, "other")}, Inserted, nil},
			{"number of a stranger without FHIR id", NewPatient{Number: "P-4", FHIRID: "a8", State: FHIRState{FamilyName: "Two"}}, Inserted, nil},
			{"number with a line break", NewPatient{Number: "P\n9"}, 0, errBadNumber},
			{"number too long", NewPatient{Number: strings.Repeat("9", 65)}, 0, errBadNumber},
			{"number assigned, one is in use", NewPatient{FHIRID: "a5", State: at(0, "y")}, Inserted, nil},
		} {
			outcomes, err := s.ImportPatients(ctx, []NewPatient{c.n}, testTime)
			if err != nil || outcomes[0].Result != c.result || !errors.Is(outcomes[0].Err, c.err) {
				t.Errorf("%s: %+v, %v", c.name, outcomes, err)
			}
		}
		for id, phone := range map[string]string{"P-1": "new", "P-2": "new", "P-3": "pending", "P-2025-000001": "x", "P-2025-000002": "other", "P-2025-000004": "y"} {
			if p, err := s.Patient(ctx, id); err != nil || p.Phone != phone {
				t.Errorf("%s has %+v, %v, want phone %s", id, p, err, phone)
			}
		}
		outcomes, err := s.ImportPatients(ctx, []NewPatient{{FHIRID: "b"}, {FHIRID: "b"}, {Number: "H"}, {Number: "H"}}, testTime)
		if err != nil || outcomes[1].ID != outcomes[0].ID || outcomes[3].ID != "H" || outcomes[1].Result != Kept || outcomes[3].Result != Kept || outcomes[0].Err != nil || outcomes[2].Err != nil {
			t.Errorf("twice in a batch: %+v, %v", outcomes, err)
		}
	})
}

func TestNumbersAreGivenOutOnce(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		seen := map[string]bool{}
		for range 4 {
			wg.Go(func() {
				for range 5 {
					outcomes, err := s.ImportPatients(context.Background(), make([]NewPatient, 7), testTime)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, o := range outcomes {
						if seen[o.ID] || !strings.HasPrefix(o.ID, "P-2025-") {
							t.Errorf("number %s", o.ID)
						}
						seen[o.ID] = true
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != 140 {
			t.Errorf("%d numbers", len(seen))
		}
	})
}

// Of patients without a time the one imported last wins, but never over a write.
func TestImportWithoutTimes(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		undated := func(fhirID, phone string) NewPatient {
			return NewPatient{FHIRID: fhirID, State: FHIRState{Phone: phone, Address: &Address{City: "Seoul"}, FHIRVersionID: phone}}
		}
		dated := func(fhirID, phone string, minutes int) NewPatient {
			n := undated(fhirID, phone)
			n.State.FHIRUpdatedAt = testTime.Add(time.Duration(minutes) * time.Minute)
			return n
		}
		written := undated("a2", "written")
		written.Number = "P-2"
		local := undated("", "local")
		local.Number = "P-3"
		add(t, s, testTime, undated("a1", "1"), written, local)
		sent(t, s, "op-1", "P-2")
		closed(t, s, Closing{ID: "op-1", PatientID: "P-2", State: UpdateApplied, Shown: &FHIRState{Phone: "3"}})
		local.State.Phone = "local 2"
		for k, c := range []struct {
			n      NewPatient
			result ImportResult
			why    KeptReason
		}{
			{undated("a1", "2"), Updated, ""},
			{undated("a1", "2"), Kept, KeptSame},
			{undated("a1", "1"), Updated, ""},
			{dated("a1", "3", 10), Updated, ""},
			{undated("a1", "4"), Updated, ""},
			{dated("a1", "5", 9), Kept, KeptNewer}, // older than the one of ten minutes
			{dated("a1", "6", 11), Updated, ""},
			{undated("a2", "2"), Kept, KeptWritten},
			{dated("a2", "2", 10), Updated, ""},
			{local, Kept, KeptLocal},
		} {
			outcomes, err := s.ImportPatients(ctx, []NewPatient{c.n}, testTime)
			if err != nil || outcomes[0].Err != nil || outcomes[0].Result != c.result || outcomes[0].Why != c.why {
				t.Errorf("step %d: %+v, %v", k, outcomes, err)
			}
		}
	})
}

// A state that the table admits and syncStates lacks would be in no count by
// gender.
func TestSyncStatesAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		definition := "SELECT sql FROM sqlite_schema WHERE name = 'patients'"
		if onPostgres(s) {
			definition = "SELECT string_agg(pg_get_constraintdef(oid), ' ') FROM pg_constraint WHERE conrelid = 'patients'::regclass AND contype = 'c'"
		}
		var text string
		if err := s.read.DB.QueryRow(definition).Scan(&text); err != nil {
			t.Fatal(err)
		}
		admitted := map[string]bool{}
		for _, state := range regexp.MustCompile(`'[A-Z_]+'`).FindAllString(text, -1) {
			admitted[strings.Trim(state, "'")] = true
		}
		listed := map[string]bool{}
		for _, state := range syncStates {
			listed[state] = true
		}
		if len(listed) == 0 || !maps.Equal(admitted, listed) {
			t.Errorf("the table admits %v, syncStates lists %v", admitted, listed)
		}
	})
}

// What seldom changes is written where it does, once or twice in a transaction.
func TestWhatSeldomChangesIsWritten(t *testing.T) {
	t.Parallel()
	if columns, values := bits.OnesCount64(uint64(seldom)), reflect.TypeFor[seldomValues]().NumField(); columns != values {
		t.Errorf("seldom has %d columns, seldomValues %d", columns, values)
	}
	changes := map[string]func(*Patient){
		"name":       func(p *Patient) { p.FamilyName, p.FullName = "Nakamura", "Nakamura" },
		"other name": func(p *Patient) { p.OtherNames = []Name{{Family: "Suzuki"}} },
		"birth date": func(p *Patient) { p.BirthDate = "2001" },
		"gender":     func(p *Patient) { p.Gender = "other" },
		"inactive":   func(p *Patient) { p.Inactive = true },
		"replaced":   func(p *Patient) { p.ReplacedBy = "b" },
		"gone":       func(p *Patient) { p.GoneAt = testTime },
		"FHIR id":    func(p *Patient) { p.FHIRID = "a2" },
		"created":    func(p *Patient) { p.CreatedAt = testTime.Add(time.Hour) },
		"phone":      func(p *Patient) { p.Phone = "030" },
	}
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		for name, change := range changes {
			add(t, s, testTime, NewPatient{Number: name, FHIRID: name, State: fullState()})
			for _, back := range []bool{true, false} {
				var want *Patient
				err := s.transact(name, func(ctx context.Context, tx bun.Tx) (err error) {
					if want, err = s.lockedRow(ctx, tx, name); err != nil {
						return err
					}
					was := *want
					change(want)
					if err := s.update(ctx, tx, want, testTime); err != nil || !back {
						return err
					}
					want.FHIRState, want.GoneAt, want.FHIRID, want.CreatedAt = was.FHIRState, was.GoneAt, was.FHIRID, was.CreatedAt
					return s.update(ctx, tx, want, testTime)
				})
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Patient(ctx, name)
				if err != nil || !sameRow(got, want) || got.keys != want.keys {
					t.Errorf("%s, back %v: stored %+v, want %+v (%v)", name, back, got, want, err)
				}
				listed := textsOf(t, s, "SELECT CAST(listed AS TEXT) FROM patients WHERE id = ?", name)
				if !slices.Equal(listed, []string{fmt.Sprint(want.listed())}) {
					t.Errorf("%s, back %v: listed is %v, want %d", name, back, listed, want.listed())
				}
			}
		}
	})
}

// TestPatientWaitsNoLongerThanItsCaller holds every connection, as statements do while a disk
// stands still, and has as many callers wait for them whose time does not end.
func TestPatientWaitsNoLongerThanItsCaller(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.SQLite(t))
	var patient sync.WaitGroup
	defer patient.Wait()
	connections := s.read.Stats().MaxOpenConnections
	for range connections {
		held, err := s.read.DB.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
	}
	before := s.read.Stats().WaitCount
	for range connections {
		patient.Go(func() { _, _ = s.Patient(context.Background(), "P-1") })
	}
	for s.read.Stats().WaitCount == before { // one asks by himself, the others go together
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := s.Patient(ctx, "P-1")
		answered <- err
	}()
	select {
	case err := <-answered:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it still waits")
	}
}
