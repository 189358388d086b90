package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// damaged texts are no JSON of ours, each in another way.
var damaged = []string{`{"text":`, strings.Repeat("[", 1<<20), `{"text":"secret"}}`, `"secret"`, `[1,2,{"a":12345}]`, strings.Repeat("[],", 200_000)}

func (s *Store) damage(t *testing.T, table, column, id, text string) {
	t.Helper()
	if _, err := s.write.DB.Exec(s.translate("UPDATE "+table+" SET "+column+" = ? WHERE id = ?"), text, id); err != nil {
		t.Fatal(err)
	}
}

// A row that cannot be read harms nobody else, and loses nothing.
func TestAnUnreadableRow(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		for n := range 8 {
			add(t, s, testTime, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n), State: fullState()})
		}
		for k, text := range damaged {
			column := []string{"address", "emergency_contact", "allergies", "fhir_contact"}[k%4]
			s.damage(t, "patients", column, "P-3", text)
			says := column + "): correct the value of the column, or set it to ''" // columns damaged before stand in front of it
			if _, err := s.Patient(ctx, "P-3"); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "P-3") || k < 4 && !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") || len(err.Error()) > 400 {
				t.Errorf("read %.40q: %v", text, err)
			}
			if p, err := s.Patient(ctx, "P-3", ColPhone); err != nil || p.Phone == "" {
				t.Errorf("another column: %+v, %v", p, err)
			}
			page, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 9})
			if err != nil || len(page.Patients) != 7 || len(page.Unreadable) != 1 || !errors.Is(page.Unreadable[0], ErrUnreadable) {
				t.Errorf("a page: %+v, %v", page, err)
			}
			batch := []NewPatient{}
			for n := range 8 {
				st := fullState()
				st.FHIRUpdatedAt, st.Phone = testTime.Add(time.Duration(k+1)*time.Hour), fmt.Sprint(k)
				batch = append(batch, NewPatient{FHIRID: fmt.Sprint("a", n), State: st})
			}
			outcomes, err := s.ImportPatients(ctx, batch, testTime)
			if err != nil {
				t.Fatal(err)
			}
			for n, o := range outcomes {
				if (n == 3) != errors.Is(o.Err, ErrUnreadable) || n != 3 && o.Result != Updated {
					t.Errorf("import of P-%d: %+v", n, o)
				}
			}
		}
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() { // they go together
				_, err := begin(s, fmt.Sprint("op-", n), fmt.Sprint("P-", n), "")
				if (n == 3) != errors.Is(err, ErrUnreadable) || n != 3 && err != nil {
					t.Errorf("begin of P-%d: %v", n, err)
				}
			})
		}
		wg.Wait()
		if _, err := s.ContactUpdate(ctx, "op-3"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the one that could not begin is in the journal: %v", err)
		}
	})
}

// A page of one row that cannot be shown is no end: the next follows it.
func TestPagesPassByAnUnreadableRow(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for n := range 4 {
			add(t, s, testTime, NewPatient{Number: fmt.Sprint("P-", n), State: fullState()})
		}
		s.damage(t, "patients", "address", "P-1", "{")
		r, seen := PageRequest{Order: OrderCreatedAsc, First: 1}, []string{}
		for range 9 {
			page := bothPages(t, s, r)
			seen = append(seen, ids(page)...)
			if !page.HasNext {
				break
			}
			r.After = page.End
		}
		if strings.Join(seen, " ") != "P-0 P-2 P-3" {
			t.Errorf("seen: %v", seen)
		}
	})
}

// A line of the journal that cannot be read harms nobody else.
func TestAnUnreadableLine(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		for n := range 3 {
			id := fmt.Sprint("P-", n)
			add(t, s, testTime, NewPatient{Number: id, FHIRID: fmt.Sprint("a", n)})
			sent(t, s, "op-"+id, id)
			closed(t, s, Closing{ID: "op-" + id, PatientID: id, State: UpdateNotApplied})
			if err := s.ReopenUpdate("op-"+id, id); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Millisecond) // a lease is over in the next millisecond of SQLite's clock
		for _, text := range damaged {
			for _, column := range []string{"patient", "answer", "put"} {
				s.damage(t, "contact_updates", column, "op-P-1", text)
			}
			if _, err := s.ContactUpdate(ctx, "op-P-1"); !errors.Is(err, ErrUnreadable) || strings.Contains(err.Error(), "secret") || len(err.Error()) > 400 {
				t.Errorf("the line: %v", err)
			}
			claimed, err := s.ClaimUpdates("other", "", -time.Second, 9)
			if err != nil || len(claimed) != 3 {
				t.Errorf("%d claimed, %v", len(claimed), err)
			}
			for _, u := range claimed {
				if u.ID != "op-P-1" {
					continue
				}
				for column, text := range map[string]string{"answer": u.Answer, "put": u.Put} {
					var read map[string]any
					err, says := u.Decode(column, text, &read), "(patient P-1, operation op-P-1, column contact_updates."+column+")"
					if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
						t.Errorf("%s %.40q: %v", column, text, err)
					}
				}
			}
		}
	})
}

// An operator may clear what of an answer cannot be read: the patient is shown
// as it is now.
func TestALineWithoutItsPatient(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for n, state := range []UpdateState{UpdateApplied, UpdateConflict} {
			id := fmt.Sprint("P-", n)
			add(t, s, testTime, NewPatient{Number: id, FHIRID: fmt.Sprint("a", n), State: fullState()})
			sent(t, s, "op-"+id, id)
			row := closed(t, s, Closing{ID: "op-" + id, PatientID: id, State: state, Shown: &FHIRState{Phone: "2"}})
			s.damage(t, "contact_updates", "patient", "op-"+id, "")
			if u, err := s.ContactUpdate(context.Background(), "op-"+id); err != nil || u.Patient == nil || !sameRow(u.Patient, row) {
				t.Errorf("%s: %+v, %v", state, u, err)
			}
		}
	})
}

// The journal keeps of the patient what the update was about, not the record.
func TestTheJournalKeepsNoRecords(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()}, NewPatient{Number: "P-2", State: fullState()})
		allergies := make([]string, 100)
		for n := range allergies {
			allergies[n] = strings.Repeat("😀", 200)
		}
		for _, id := range []string{"P-1", "P-2"} {
			if _, err := s.SetProfile(id, ProfileEdit{SetAllergies: true, Allergies: allergies}, 0, testTime); err != nil {
				t.Fatal(err)
			}
		}
		begun, err := begin(s, "op-1", "P-1", "key")
		if err != nil {
			t.Fatal(err)
		}
		st := fullState()
		st.Phone = "2"
		told := closed(t, s, usual("op-1", begun.Patient, st))
		local, err := s.SetContact("P-2", ContactEdit{SetPhone: true, Phone: "2"}, 0, testTime, ContactUpdate{ID: "op-2", Actor: "a", IdempotencyKey: "key2"})
		if err != nil {
			t.Fatal(err)
		}
		for id, told := range map[string]*Patient{"op-1": told, "op-2": local} {
			u, err := s.ContactUpdate(ctx, id)
			if err != nil || !sameRow(u.Patient, told) {
				t.Errorf("%s: %+v, %v", id, u, err)
			}
			n, err := s.number(ctx, "SELECT length(put) + length(answer) + length(patient) FROM contact_updates WHERE id = ?", id)
			t.Logf("%s: %d characters", id, n)
			if err != nil || n > 1000 {
				t.Errorf("%s takes %d characters, %v", id, n, err)
			}
		}
		// Of what changes since, the answer is about nothing.
		if _, err := s.SetProfile("P-1", ProfileEdit{SetAllergies: true, SetBloodType: true, BloodType: "A"}, 0, testTime); err != nil {
			t.Fatal(err)
		}
		u, err := s.ContactUpdateByKey(ctx, "a", "key", time.Hour)
		if err != nil || u.Patient.Version != told.Version || u.Patient.Phone != "2" || u.Patient.SyncState != told.SyncState || u.Patient.BloodType != "A" {
			t.Errorf("told again: %+v, %v", u, err)
		}
	})
}

// A line of a program that kept the whole row is read as before.
func TestALineOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()})
		sent(t, s, "op-1", "P-1")
		row := closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateApplied, Shown: &FHIRState{Phone: "2", FHIRVersionID: "7"}})
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		s.damage(t, "contact_updates", "patient", "op-1", string(text))
		if u, err := s.ContactUpdate(context.Background(), "op-1"); err != nil || !sameRow(u.Patient, row) {
			t.Errorf("%+v, %v", u, err)
		}
	})
}
