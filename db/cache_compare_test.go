package db

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// differing compares the row of a FHIR id with a patient.
func differing(t *testing.T, s *Store, n NewPatient) []string {
	t.Helper()
	row, err := s.CachedPatient(context.Background(), n.FHIRID)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := s.Differing(context.Background(), row, n)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// Whatever of a FHIRState changes is named, a new field too.
func TestEachFieldThatDiffersIsNamed(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		n := NewPatient{Number: "P-1", FHIRID: "a1", State: fullState()}
		add(t, s, testTime, n)
		if fields := differing(t, s, n); fields != nil {
			t.Errorf("the same patient differs in %v", fields)
		}
		type value = reflect.Value
		for name, change := range map[string]func(value){
			"string": func(v value) { v.SetString(v.String() + "x") },
			"bool":   func(v value) { v.SetBool(!v.Bool()) },
			"other":  func(v value) { v.SetZero() },
		} {
			fields := reflect.TypeFor[FHIRState]()
			for k := range fields.NumField() {
				if f := fields.Field(k); f.Type.Kind().String() != name && (name != "other" || f.Type.Kind() == reflect.String || f.Type.Kind() == reflect.Bool) ||
					f.Name == "FHIRVersionID" || f.Name == "FHIRUpdatedAt" {
					continue
				}
				changed := n
				change(reflect.ValueOf(&changed.State).Elem().Field(k))
				if named := differing(t, s, changed); len(named) != 1 {
					t.Errorf("%s changed, and %v is named", fields.Field(k).Name, named)
				}
			}
		}
		changed := n
		changed.State.FHIRVersionID, changed.State.FHIRUpdatedAt = "9", testTime.Add(time.Hour)
		changed.State.Inactive, changed.State.FHIRContact, changed.State.OtherNames, changed.State.Address = true, nil, nil, &Address{City: "부산"}
		if named := differing(t, s, changed); !slices.Equal(named, []string{"address", "active", "emergencyContact", "otherNames"}) {
			t.Errorf("named %v", named)
		}
	})
}

// What the database cannot keep as it came is no difference.
func TestWhatIsStoredOtherwiseIsTheSame(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		n := NewPatient{Number: "P-1", FHIRID: "a1", State: FHIRState{
			FamilyName: "K\x00im", Gender: "a gender of an unusual length, which no code has in this world or the next",
			OtherPhones: []string{"1\x00"}, Address: &Address{Lines: []string{}},
		}}
		add(t, s, testTime, n)
		if fields := differing(t, s, n); fields != nil {
			t.Errorf("it differs in %v", fields)
		}
	})
}

func TestIdentifiersThatDifferAreNamed(t *testing.T) {
	t.Parallel()
	const system = "urn:mrn"
	stores(t, func(t *testing.T, s *Store) {
		kim := NewPatient{Number: "P-1", NumberSystem: system, FHIRID: "kim", Identifiers: []Identifier{
			{System: system, Value: "OLD-1", Alias: true}, {System: system, Value: "P-2", Alias: true}, {System: "urn:ssn", Value: "77"}}}
		lee := NewPatient{Number: "P-2", NumberSystem: system, FHIRID: "lee"}
		twin := NewPatient{Number: "P-2", NumberSystem: system, FHIRID: "twin"} // claims what Lee has
		odd := NewPatient{Number: "\x01", NumberSystem: system, FHIRID: "odd"}  // is refused
		none := NewPatient{NumberSystem: system, FHIRID: "none"}                // is assigned one
		for _, n := range []NewPatient{kim, lee, twin, odd, none} {
			add(t, s, testTime, n)
		}
		for _, n := range []NewPatient{kim, lee, twin, odd, none} {
			if fields := differing(t, s, n); fields != nil {
				t.Errorf("%s differs in %v", n.FHIRID, fields)
			}
		}
		number, fewer, more, alias := kim, kim, kim, kim
		number.Number, number.Identifiers = "P-9", append(slices.Clone(kim.Identifiers), Identifier{System: system, Value: "P-1", Alias: true})
		fewer.Identifiers = kim.Identifiers[:2]
		more.Identifiers = append(slices.Clone(kim.Identifiers), Identifier{System: "urn:ssn", Value: "78"})
		alias.Identifiers = append(slices.Clone(kim.Identifiers), Identifier{System: system, Value: "OLD-2", Alias: true})
		unclaimed := twin
		unclaimed.Number = "P-3"
		for name, c := range map[string]struct {
			n    NewPatient
			want []string
		}{
			"another number": {number, []string{"id"}}, "one less": {fewer, []string{"identifiers"}}, "one more": {more, []string{"identifiers"}},
			"another alias": {alias, []string{"identifiers"}}, "claims another": {unclaimed, []string{"id"}},
		} {
			if fields := differing(t, s, c.n); !slices.Equal(fields, c.want) {
				t.Errorf("%s: %v, want %v", name, fields, c.want)
			}
		}
	})
}

func TestFHIRIDsAreListedInPages(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		var want, got []string
		for n := range 25 {
			id := fmt.Sprintf("%02d", n)
			want = append(want, id)
			add(t, s, testTime, NewPatient{FHIRID: id}, NewPatient{Number: "L-" + id})
		}
		for after := ""; ; after = got[len(got)-1] {
			ids, err := s.FHIRIDs(ctx, after, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(ids) == 0 {
				break
			}
			got = append(got, ids...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %v", got)
		}
		if n, err := s.CountFHIRIDs(ctx); n != 25 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := s.CachedPatient(ctx, "x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown one: %v", err)
		}
		if _, err := s.write.DB.Exec("UPDATE patients SET address = '{' WHERE fhir_id = '03'"); err != nil {
			t.Fatal(err)
		}
		if row, err := s.CachedPatient(ctx, "03"); !errors.Is(err, ErrUnreadable) || row.FHIRID != "03" {
			t.Errorf("an unreadable one: %v", err)
		}
	})
}
