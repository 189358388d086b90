package db

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// wantChanged fails unless these fields changed since the row of P-1 had a version.
func wantChanged(t *testing.T, s *Store, since int64, want ...string) {
	t.Helper()
	p, err := s.Patient(context.Background(), "P-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.ChangedSince(since, fieldNames[:]); !slices.Equal(got, want) {
		t.Errorf("of version %d since %d: %q, want %q", p.Version, since, got, want)
	}
}

// Whoever writes a row moves the versions of the fields that get another value, and
// of no other.
func TestEachFieldHasItsVersion(t *testing.T) {
	t.Parallel()
	state := func(change func(*FHIRState)) *FHIRState {
		st := fullState()
		st.FHIRUpdatedAt = testTime.Add(time.Hour)
		address := *st.Address
		st.Address = &address
		change(&st)
		return &st
	}
	closes := func(change func(*FHIRState), atOnce bool) func(*Store) error {
		return func(s *Store) error {
			begun, err := begin(s, "op", "P-1", "")
			if err != nil {
				return err
			}
			if err := s.SendUpdate("op", "me", "P-1", "", "{}"); err != nil {
				return err
			}
			c := Closing{ID: "op", Owner: "me", PatientID: "P-1", State: UpdateApplied, Shown: state(change), At: testTime}
			if atOnce {
				c.Row = begun.Patient
			}
			_, err = s.CloseUpdate(c)
			return err
		}
	}
	imports := func(change func(*FHIRState)) func(*Store) error {
		return func(s *Store) error {
			done, err := s.ImportPatients(context.Background(), []NewPatient{{Number: "P-1", FHIRID: "a1", State: *state(change)}}, testTime)
			if err == nil && done[0].Result != Updated {
				err = fmt.Errorf("%+v", done)
			}
			return err
		}
	}
	sets := func(e ProfileEdit) func(*Store) error {
		return func(s *Store) error { _, err := s.SetProfile("P-1", e, 0, testTime); return err }
	}
	nothing, name := func(*FHIRState) {}, func(st *FHIRState) { st.FamilyName = "김" }
	for what, c := range map[string]struct {
		write func(*Store) error
		want  []string
	}{
		"a profile":                         {sets(ProfileEdit{SetBloodType: true, BloodType: "A+", SetAllergies: true, Allergies: []string{"땅콩"}}), []string{"allergies", "bloodType"}},
		"an emergency contact":              {sets(ProfileEdit{SetEmergencyContact: true, EmergencyContact: &EmergencyContact{Name: "N"}}), []string{"emergencyContact"}},
		"an import of another name":         {imports(name), nil},
		"an import of another email":        {imports(func(st *FHIRState) { st.Email = "new@example.org" }), []string{"email"}},
		"an import of another house number": {imports(func(st *FHIRState) { st.Address.Lines = []string{"2 Main St", "2층"} }), []string{"address"}},
		"an update of the phone":            {closes(func(st *FHIRState) { st.Phone = "2" }, false), []string{"phone"}},
		"the same at once":                  {closes(func(st *FHIRState) { st.Phone = "2" }, true), []string{"phone"}},
		"an update to what is there":        {closes(nothing, true), nil},
		"an update that clears all":         {closes(func(st *FHIRState) { st.Phone, st.Email, st.Address = "", "", nil }, true), []string{"phone", "email", "address"}},
		"an update, and another name":       {closes(func(st *FHIRState) { st.Email = ""; name(st) }, true), []string{"email"}},
		"an import without an address":      {imports(func(st *FHIRState) { st.Address = nil }), []string{"address"}},
		"a reopened update": {func(s *Store) error {
			if err := s.insertLine("op", "P-1", "NOT_APPLIED", 0); err != nil {
				return err
			}
			return s.ReopenUpdate("op", "P-1")
		}, nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			stores(t, func(t *testing.T, s *Store) {
				add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()})
				if err := c.write(s); err != nil {
					t.Fatal(err)
				}
				wantChanged(t, s, 1, c.want...)
				wantChanged(t, s, 2)
			})
		})
	}
}

func TestALocalContactHasItsVersions(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", State: fullState()})
		for n, c := range []struct {
			edit ContactEdit
			want []string
		}{
			{ContactEdit{SetEmail: true, Email: "new@example.org"}, []string{"email"}},
			{ContactEdit{SetPhone: true, Phone: fullState().Phone}, []string{"email"}},
			{ContactEdit{SetAddress: true}, []string{"email", "address"}},
		} {
			if _, err := s.SetContact("P-1", c.edit, 1, testTime, ContactUpdate{ID: fmt.Sprint(n)}); err != nil {
				t.Fatal(err)
			}
			wantChanged(t, s, 1, c.want...)
		}
		wantChanged(t, s, 3, "address")
	})
}

// What was overwritten already was no version of the row: nobody may go on from it.
func TestWhatTheRowNeverShowedHasNoVersion(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: FHIRState{Phone: "1"}})
		sent(t, s, "op", "P-1")
		told := closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateApplied, Shown: &FHIRState{Phone: "1"}, ShownInstead: &FHIRState{Phone: "2"}})
		if told.Phone != "2" || told.Version != 0 {
			t.Errorf("told %+v", told)
		}
		wantChanged(t, s, told.Version, fieldNames[:]...)
		wantChanged(t, s, 1)
	})
}

// A version that the row never had says nothing of what its reader saw.
func TestAVersionThatNeverWas(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1"})
		wantChanged(t, s, 1)
		for _, version := range []int64{-1, 0, 2, 1 << 60} {
			wantChanged(t, s, version, fieldNames[:]...)
		}
	})
}

// The rows of a database from before: who has read the last version may go on, who
// has read an earlier one hears of a conflict. The same holds for what a replica of
// the program before writes while this one runs.
func TestFieldVersionsOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	olderStores(t, 5, func(t *testing.T, s *Store) {
		ctx := context.Background()
		exec := func(text string) {
			t.Helper()
			if _, err := s.write.DB.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		exec(`INSERT INTO patients (id, fhir_id, family_name, given_name, full_name, name_key, birth_date, gender, phone, phone_key, email,
				address, emergency_contact, allergies, blood_type, sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at)
			VALUES ('P-1', 'a1', 'Kim', '', '', '', '', '', '010', '010', 'a@example.org', '', '', '', 'A+', 'SYNCED', 1, '1', 1, 7, 1, 1)`)
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		all := fieldNames[:]
		wantChanged(t, s, 7)
		wantChanged(t, s, 6, all...)
		setBloodType(t, s, "P-1") // version 8
		wantChanged(t, s, 7, "bloodType")
		wantChanged(t, s, 6, all...)

		exec(`UPDATE patients SET phone = '011', version = version + 1`)
		wantChanged(t, s, 9)
		wantChanged(t, s, 8, all...)
		if _, err := s.SetProfile("P-1", ProfileEdit{SetAllergies: true, Allergies: []string{"땅콩"}}, 9, testTime); err != nil {
			t.Fatal(err)
		}
		wantChanged(t, s, 9, "allergies")
		wantChanged(t, s, 8, all...)
	})
}
