package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// linking gives the store operationIds to make, op-1 and so on, and returns its log.
func linking(s *Store) *bytes.Buffer {
	var log bytes.Buffer
	n := 0
	s.NewID = func() string { n++; return fmt.Sprint("op-", n) }
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	return &log
}

// A LOCAL_ONLY patient that is linked takes the FHIR server's contact. The values that
// gave way are in the journal, those alone, and the log says where.
func TestTheLocalContactOfALinkedPatientIsKept(t *testing.T) {
	t.Parallel()
	home := Address{Text: "1 Main St, Springfield", Lines: []string{"1 Main St"}, City: "Springfield"}
	cases := map[string]struct{ here, there, kept FHIRState }{
		"all differ": {FHIRState{Phone: "010-1", Email: "a@x", Address: &home}, FHIRState{Phone: "010-2", Email: "b@x", Address: &Address{City: "Bonn"}},
			FHIRState{Phone: "010-1", Email: "a@x", Address: &home}},
		"one differs":                 {FHIRState{Phone: "010-1", Email: "a@x"}, FHIRState{Phone: "010-1", Email: "b@x"}, FHIRState{Email: "a@x"}},
		"FHIR has none":               {FHIRState{Phone: "010-1", Email: "a@x", Address: &home}, FHIRState{}, FHIRState{Phone: "010-1", Email: "a@x", Address: &home}},
		"none is here":                {FHIRState{}, FHIRState{Phone: "010-1", Email: "a@x", Address: &home}, FHIRState{}},
		"the same":                    {FHIRState{Phone: "010-1", Email: "a@x", Address: &home}, FHIRState{Phone: "010-1", Email: "a@x", Address: &home}, FHIRState{}},
		"another form":                {FHIRState{Phone: "(010) 1111-2222", Email: " A@X.example"}, FHIRState{Phone: "010.1111 2222", Email: "a@x.EXAMPLE"}, FHIRState{}},
		"another form of the address": {FHIRState{Address: &Address{Lines: []string{"1 MAIN", "St"}}}, FHIRState{Address: &home}, FHIRState{}},
		"another house":               {FHIRState{Address: &Address{Lines: []string{"1-1 Main St"}}}, FHIRState{Address: &Address{Lines: []string{"11 Main St"}}}, FHIRState{Address: &Address{Lines: []string{"1-1 Main St"}}}},
		"an extension":                {FHIRState{Phone: "555-0101 x12"}, FHIRState{Phone: "555-010112"}, FHIRState{Phone: "555-0101 x12"}},
		"words for a phone":           {FHIRState{Phone: "ask the ward"}, FHIRState{Phone: "call home"}, FHIRState{Phone: "ask the ward"}},
		"a long end":                  {FHIRState{Email: strings.Repeat("a", 2000) + "1"}, FHIRState{Email: strings.Repeat("a", 2000) + "2"}, FHIRState{Email: strings.Repeat("a", 2000) + "1"}},
	}
	stores(t, func(t *testing.T, s *Store) {
		for name, c := range cases {
			emptied(t, s)
			log := linking(s)
			add(t, s, testTime, NewPatient{Number: "1", State: c.here})
			bring(t, s, NewPatient{Number: "1", FHIRID: "f", NumberSystem: "urn:n", State: c.there})
			p, err := s.Patient(t.Context(), "1")
			if err != nil || p.FHIRID != "f" || p.SyncState != Synced || p.Phone != c.there.Phone || p.Email != c.there.Email || !reflect.DeepEqual(p.Address, c.there.Address) {
				t.Fatalf("%s: the row is %+v (%v)", name, p, err)
			}
			u, err := s.ContactUpdate(t.Context(), "op-1")
			if reflect.DeepEqual(c.kept, FHIRState{}) {
				if !errors.Is(err, ErrNotFound) || log.Len() > 0 {
					t.Errorf("%s: the journal has %+v (%v), the log %s", name, u, err, log)
				}
				continue
			}
			if err != nil || u.Kind != KindLinked || u.State != UpdateApplied || u.PatientID != "1" || u.FHIRID != "f" || u.SettledAt.IsZero() {
				t.Fatalf("%s: the journal has %+v (%v)", name, u, err)
			}
			if u.Patient.Phone != c.kept.Phone || u.Patient.Email != c.kept.Email || !reflect.DeepEqual(u.Patient.Address, c.kept.Address) {
				t.Errorf("%s: the journal keeps %+v", name, u.Patient)
			}
			if _, text, _ := strings.Cut(log.String(), " level="); !strings.Contains(text, "patient=1 operation=op-1 fields=") || strings.Contains(text, "a@x") || strings.Contains(text, "010") || strings.Count(text, "\n") != 1 {
				t.Errorf("%s: the log says %s", name, text)
			}
			bring(t, s, NewPatient{Number: "1", FHIRID: "f", NumberSystem: "urn:n", State: FHIRState{Phone: "3"}}) // it is linked once
			if _, err := s.ContactUpdate(t.Context(), "op-2"); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: linked twice (%v)", name, err)
			}
		}
	})
}

// A LINKED line is no update: no import takes the patient for written, nobody waits for
// it, settles it or finds it by a key, and it stays where updates are deleted, also
// when the number moves.
func TestALinkedLineIsNoUpdate(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		linking(s)
		add(t, s, testTime, NewPatient{Number: "1", State: FHIRState{Phone: "1"}})
		if _, err := s.SetContact("1", ContactEdit{SetPhone: true, Phone: "2"}, 0, testTime, ContactUpdate{ID: "update", Actor: "a", Digest: "d"}); err != nil {
			t.Fatal(err)
		}
		bring(t, s, NewPatient{Number: "1", FHIRID: "f", NumberSystem: "urn:n", State: FHIRState{Phone: "3"}})
		if _, err := s.write.DB.Exec("UPDATE contact_updates SET settled_at = 1"); err != nil {
			t.Fatal(err)
		}
		if n, err := s.CleanUpdates(ctx, time.Hour); n != 1 || err != nil {
			t.Errorf("%d lines were deleted (%v)", n, err)
		}
		if outcomes, _ := bring(t, s, NewPatient{Number: "2", FHIRID: "f", NumberSystem: "urn:n", State: FHIRState{Phone: "4"}}); outcomes[0].Result != Updated {
			t.Errorf("the next import: %+v", outcomes[0])
		}
		if u, err := s.ContactUpdate(ctx, "op-1"); err != nil || u.PatientID != "2" || u.Patient.Phone != "2" {
			t.Errorf("the journal has %+v (%v)", u, err)
		}
		if open, err := s.StillOpen(ctx, []string{"op-1"}); len(open) > 0 || err != nil {
			t.Errorf("open: %v (%v)", open, err)
		}
		if claimed, err := s.ClaimUpdates("heir", "", time.Minute, 9); len(claimed) > 0 || err != nil {
			t.Errorf("claimed: %+v (%v)", claimed, err)
		}
		if u, err := s.ContactUpdateByKey(ctx, "", "", time.Hour); !errors.Is(err, ErrNotFound) {
			t.Errorf("by no key: %+v (%v)", u, err)
		}
		if _, err := begin(s, "op-1", "2", ""); err == nil {
			t.Error("another update has its id")
		}
		if begun, err := begin(s, "next", "2", ""); err != nil || len(begun.Unresolved) > 0 {
			t.Errorf("the next update begins with %+v (%v)", begun, err)
		}
		s.damage(t, "contact_updates", "patient", "op-1", "")
		if u, err := s.ContactUpdate(ctx, "op-1"); err != nil || u.Patient != nil {
			t.Errorf("cleared by hand: %+v (%v)", u, err)
		}
	})
}

// A stranger with the number is not linked, so nothing gives way.
func TestAStrangerTakesNoLocalContact(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		log := linking(s)
		add(t, s, testTime, NewPatient{Number: "1", State: FHIRState{BirthDate: "1950", Phone: "1"}})
		bring(t, s, NewPatient{Number: "1", FHIRID: "f", NumberSystem: "urn:n", State: FHIRState{BirthDate: "1951", Phone: "2"}})
		page, err := s.Patients(t.Context(), PageRequest{First: 9, Order: OrderCreatedAsc, Filter: Filter{SyncState: LocalOnly}})
		if err != nil || len(page.Patients) != 1 || page.Patients[0].Phone != "1" || log.Len() > 0 {
			t.Errorf("%+v (%v), %s", page, err, log)
		}
	})
}

// A local write that meets the linking is refused, or its value is in the journal.
func TestALocalWriteThatMeetsTheLinkingIsNotLost(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for n := range 10 {
			number := fmt.Sprint("N-", n)
			s.NewID = func() string { return "linked-" + number }
			add(t, s, testTime, NewPatient{Number: number, State: FHIRState{Phone: "before"}})
			var all sync.WaitGroup
			var written error
			all.Go(func() {
				_, written = s.SetContact(number, ContactEdit{SetPhone: true, Phone: "written"}, 0, testTime, ContactUpdate{ID: "op-" + number, Actor: "a", Digest: "d"})
			})
			all.Go(func() {
				_, err := s.ImportPatients(context.Background(), []NewPatient{{Number: number, FHIRID: "f-" + number, State: FHIRState{Phone: "fhir"}}}, testTime)
				if err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			kept := map[bool]string{true: "written", false: "before"}[written == nil]
			if written != nil && !errors.Is(written, ErrHasFHIRID) {
				t.Error(written)
			}
			if u, err := s.ContactUpdate(t.Context(), "linked-"+number); err != nil || u.Patient.Phone != kept {
				t.Errorf("the journal keeps %+v, want %s (%v)", u, kept, err)
			}
			if p, err := s.Patient(t.Context(), number); err != nil || p.Phone != "fhir" {
				t.Errorf("%+v (%v)", p, err)
			}
		}
	})
}
