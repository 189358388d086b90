package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func listed(page *Page) []string {
	var list []string
	for _, p := range page.Patients {
		list = append(list, p.ID)
	}
	return list
}

// Lists and counts leave out who is inactive or was merged into another, whatever
// else they ask for; who died stays.
func TestListsLeaveOutWhoIsOutOfUse(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		state := func(change func(*FHIRState)) FHIRState {
			st := FHIRState{FamilyName: "Bakker", Phone: "030", Gender: "female", BirthDate: "1990-05-05", FHIRUpdatedAt: testTime}
			change(&st)
			return st
		}
		add(t, s, testTime,
			NewPatient{Number: "P-1", FHIRID: "a1", State: state(func(*FHIRState) {})},
			NewPatient{Number: "P-2", FHIRID: "a2", State: state(func(st *FHIRState) { st.ReplacedBy = "a1" })},
			NewPatient{Number: "P-3", FHIRID: "a3", State: state(func(st *FHIRState) { st.Inactive = true })},
			NewPatient{Number: "P-4", State: state(func(st *FHIRState) { st.Deceased = true })})
		numbered(t, s)
		for _, f := range []Filter{
			{}, {Name: "bakker"}, {Name: "b"}, {Phone: "030"}, {Gender: "female"}, {BirthDate: "1990"}, {UpdatedSince: testTime},
			{Name: "bak", Gender: "female", BirthDate: "1990-05"},
		} {
			for _, c := range []struct {
				include bool
				want    []string
			}{{false, []string{"P-1", "P-4"}}, {true, []string{"P-1", "P-2", "P-3", "P-4"}}} {
				f.IncludeInactive = c.include
				for order := range orderings {
					page, err := s.Patients(ctx, PageRequest{Filter: f, Order: order, First: 10})
					got := listed(page)
					slices.Sort(got)
					if err != nil || !slices.Equal(got, c.want) {
						t.Errorf("%+v by %s: %v, %v", f, order, got, err)
					}
				}
				if n, err := s.CountPatients(ctx, f); err != nil || n != len(c.want) {
					t.Errorf("%+v counts %d, %v", f, n, err)
				}
			}
		}
		// The own record too, as the filter says; and it is still there by itself.
		for id, want := range map[string]int{"P-1": 1, "P-3": 0} {
			if n, err := s.CountPatients(ctx, Filter{IDs: []string{id}}); err != nil || n != want {
				t.Errorf("%s: %d, %v", id, n, err)
			}
			if n, err := s.CountPatients(ctx, Filter{IDs: []string{id}, IncludeInactive: true}); err != nil || n != 1 {
				t.Errorf("%s: %d, %v", id, n, err)
			}
			if _, err := s.Patient(ctx, id); err != nil {
				t.Error(err)
			}
		}
		// It comes back, and goes, with what FHIR says.
		later := state(func(st *FHIRState) { st.FHIRUpdatedAt = testTime.Add(time.Hour) })
		if _, err := s.ImportPatients(ctx, []NewPatient{{FHIRID: "a3", State: later}}, testTime); err != nil {
			t.Fatal(err)
		}
		sent(t, s, "op-1", "P-1")
		st := state(func(st *FHIRState) { st.Inactive = true })
		closed(t, s, Closing{ID: "op-1", PatientID: "P-1", State: UpdateRejected, Shown: &st})
		page, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 10})
		if got := listed(page); err != nil || !slices.Equal(got, []string{"P-3", "P-4"}) {
			t.Errorf("afterwards %v, %v", got, err)
		}
	})
}

// Pages go on where they stopped, however many are passed by.
func TestPagesPassByWhoIsOutOfUse(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		var batch []NewPatient
		for n := range 30 {
			batch = append(batch, NewPatient{Number: fmt.Sprintf("P-%02d", n), State: FHIRState{FamilyName: "Kim", Inactive: n%10 != 0}})
		}
		add(t, s, testTime, batch...)
		for _, last := range []bool{false, true} {
			var got []string
			r := PageRequest{Order: OrderNameAsc, First: 1}
			if last {
				r.First, r.Last = 0, 1
			}
			for more := true; more; {
				page, err := s.Patients(ctx, r)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, listed(page)...)
				r.After, r.Before, more = page.End, "", page.HasNext
				if last {
					r.After, r.Before, more = "", page.Start, page.HasPrevious
				}
			}
			if last {
				slices.Reverse(got)
			}
			if !slices.Equal(got, []string{"P-00", "P-10", "P-20"}) {
				t.Errorf("last %v: %v", last, got)
			}
		}
	})
}

// An empty list of allergies is one that somebody recorded.
func TestNoneIsNotNothing(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", State: FHIRState{FamilyName: "Kim"}})
		want := func(what string, recorded bool) {
			t.Helper()
			p, err := s.Patient(context.Background(), "P-1")
			if err != nil || (p.Allergies != nil) != recorded || len(p.Allergies) != 0 {
				t.Errorf("%s: %#v, %v", what, p.Allergies, err)
			}
		}
		set := func(e ProfileEdit) {
			t.Helper()
			if _, err := s.SetProfile("P-1", e, 0, testTime); err != nil {
				t.Fatal(err)
			}
		}
		want("at first", false)
		set(ProfileEdit{SetBloodType: true, BloodType: "A+"})
		want("after another edit", false)
		set(ProfileEdit{SetAllergies: true, Allergies: []string{}})
		want("none known", true)
		set(ProfileEdit{SetEmergencyContact: true, EmergencyContact: &EmergencyContact{Name: "x"}})
		want("after another edit", true)
		set(ProfileEdit{SetAllergies: true})
		want("cleared", false)
	})
}

func TestWhomAPatientWasMergedInto(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2", State: FHIRState{ReplacedBy: "a1"}}, NewPatient{Number: "P-3"})
		for id, want := range map[string][2]string{"a1": {"P-1", ""}, "a2": {"P-2", "a1"}} {
			if number, into, err := s.MergedInto(context.Background(), id); err != nil || number != want[0] || into != want[1] {
				t.Errorf("%s: %s, %s, %v", id, number, into, err)
			}
		}
		for _, id := range []string{"", "P-1", "a\x003", "a'1"} {
			if _, _, err := s.MergedInto(context.Background(), id); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

// Rows of the program before keep all that they hold. What it did not know comes with
// the next look at the same version of the patient, once.
func TestRowsOfTheProgramBefore(t *testing.T) {
	t.Parallel()
	olderStores(t, 5, func(t *testing.T, s *Store) {
		ctx := context.Background()
		const columns = "id, fhir_id, family_name, given_name, full_name, name_key, birth_date, gender, phone, phone_key, email, address, " +
			"emergency_contact, allergies, blood_type, sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at"
		at := toMicros(testTime)
		for _, row := range [][]any{
			{"P-1", "a1", `["nuts"]`, "SYNCED"}, {"P-2", "a2", "", "PENDING"}, {"P-3", nil, "", "LOCAL_ONLY"},
		} {
			if _, err := s.write.DB.Exec("INSERT INTO patients ("+columns+`) VALUES ($1, $2, 'Kim', 'A', 'A Kim', 'kim', '1990', 'male', '010', '010', 'a@b', '{"city":"X"}',
				'{"name":"B"}', $3, 'A+', $4, $5, '7', $5, 3, $5, $5)`, append(row, at)...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		for id, allergies := range map[string][]string{"P-1": {"nuts"}, "P-2": nil, "P-3": nil} {
			p, err := s.Patient(ctx, id)
			if err != nil || p.Inactive || p.Deceased || p.ReplacedBy != "" || p.FHIRContact != nil || p.EmergencyContact.Name != "B" ||
				!slices.Equal(p.Allergies, allergies) || p.FamilyName != "Kim" || p.Phone != "010" || p.Address.City != "X" || p.BloodType != "A+" || p.Version != 3 {
				t.Errorf("%s: %+v, %v", id, p, err)
			}
		}
		if n, err := s.CountPatients(ctx, Filter{}); err != nil || n != 3 {
			t.Errorf("%d are listed, %v", n, err)
		}
		st := FHIRState{FamilyName: "Kim", Inactive: true, Deceased: true, ReplacedBy: "a3", FHIRContact: &EmergencyContact{Name: "C"}, FHIRUpdatedAt: testTime}
		older := st
		older.FHIRUpdatedAt = testTime.Add(-time.Minute)
		for step, c := range []struct {
			n      NewPatient
			result ImportResult
			why    KeptReason
		}{
			{NewPatient{FHIRID: "a1", State: older}, Kept, KeptNewer}, {NewPatient{FHIRID: "a1", State: st}, Updated, ""},
			{NewPatient{FHIRID: "a1", State: st}, Kept, KeptNewer}, {NewPatient{FHIRID: "a2", State: st}, Kept, KeptPending},
			{NewPatient{Number: "P-3", State: st}, Kept, KeptLocal},
		} {
			outcomes, err := s.ImportPatients(ctx, []NewPatient{c.n}, testTime)
			if err != nil || outcomes[0].Err != nil || outcomes[0].Result != c.result || outcomes[0].Why != c.why {
				t.Errorf("step %d: %+v, %v", step, outcomes, err)
			}
		}
		p, err := s.Patient(ctx, "P-1")
		if err != nil || !p.Inactive || !p.Deceased || p.ReplacedBy != "a3" || p.FHIRContact == nil || p.EmergencyContact.Name != "B" || len(p.Allergies) != 1 {
			t.Errorf("filled: %+v, %v", p, err)
		}
		// An edit of what FHIR does not have fills nothing.
		if _, err := s.SetProfile("P-2", ProfileEdit{SetBloodType: true}, 0, testTime); err != nil {
			t.Error(err)
		}
		if p, err := s.Patient(ctx, "P-2"); err != nil || p.filled != 0 {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// Of own records only those of the patients who are meant are listed and counted.
func TestWhoHasTheNumberByNow(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "S-A", FHIRID: "s1"}, NewPatient{Number: "S-B", FHIRID: "s2"})
		for _, c := range []struct{ fhirIDs, want []string }{
			{nil, []string{"S-A", "S-B"}}, {[]string{"s1"}, []string{"S-A"}}, {[]string{"s2", "s3"}, []string{"S-B"}}, {[]string{"s3"}, nil},
		} {
			f := Filter{IDs: []string{"S-A", "S-B"}, FHIRIDs: c.fhirIDs}
			page, err := s.Patients(context.Background(), PageRequest{Order: OrderNameAsc, First: 10, Filter: f})
			n, countErr := s.CountPatients(context.Background(), f)
			if err != nil || countErr != nil || !slices.Equal(listed(page), c.want) || n != len(c.want) {
				t.Errorf("%v: %v, %d, want %v (%v, %v)", c.fhirIDs, listed(page), n, c.want, err, countErr)
			}
		}
	})
}
