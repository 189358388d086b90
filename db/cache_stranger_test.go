package db

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Another person under the same FHIR id has nothing of what was recorded here of the
// former one, whichever way the server shows it; it is in the journal, and the log says
// where. A name or a birth date that changes alone is a correction.
func TestAStrangerUnderTheSameFHIRIDInheritsNothing(t *testing.T) {
	t.Parallel()
	person := func(n int, family, given, born string) FHIRState {
		st := shownAs(n)
		st.FamilyName, st.GivenName, st.BirthDate = family, given, born
		return st
	}
	before := person(1, "O'Neil", "Zoë", "1950-01-02")
	people := map[string]struct {
		shown    FHIRState
		stranger bool
	}{
		"another person":                    {person(2, "Stranger", "Total", "2001-02-03"), true},
		"another person of the same family": {person(2, "O'Neil", "Bo", "1990"), true},
		"the same":                          {person(2, "O'Neil", "Zoë", "1950-01-02"), false},
		"another name":                      {person(2, "Stranger", "Total", "1950-01-02"), false},
		"another birth date":                {person(2, "O’NEIL", "zoe", "1951-01-02"), false},
		"no birth date":                     {person(2, "Stranger", "Total", ""), false},
		"no name":                           {person(2, "", "", "2001-02-03"), false},
	}
	ways := map[string]func(t *testing.T, s *Store, shown FHIRState){
		"a file": func(t *testing.T, s *Store, shown FHIRState) {
			bring(t, s, NewPatient{Number: "P-7", NumberSystem: "urn:n", FHIRID: "a1", State: shown})
		},
		"a list": func(t *testing.T, s *Store, shown FHIRState) {
			fills(t, s, asks(t, s, false), NewPatient{Number: "P-7", NumberSystem: "urn:n", FHIRID: "a1", State: shown})
		},
		"a read, of one who was gone": func(t *testing.T, s *Store, shown FHIRState) {
			fill := asks(t, s, true)
			fill.Gone = []string{"a1"}
			fills(t, s, fill)
			fills(t, s, asks(t, s, true), NewPatient{Number: "P-7", NumberSystem: "urn:n", FHIRID: "a1", State: shown})
		},
		"a contact update": func(t *testing.T, s *Store, shown FHIRState) {
			begun, err := begin(s, "op", "P-1", "")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SendUpdate("op", "me", "P-1", "", "{}"); err != nil {
				t.Fatal(err)
			}
			told := closed(t, s, usual("op", begun.Patient, shown))
			if is := byFHIRID(t, s, "a1"); told.BloodType != is.BloodType || (told.Allergies == nil) != (is.Allergies == nil) {
				t.Errorf("told %+v, the row is %+v", told, is)
			}
		},
	}
	contact := EmergencyContact{Name: "Lee", Phone: "010-9"}
	stores(t, func(t *testing.T, s *Store) {
		for way, shows := range ways {
			for who, c := range people {
				emptied(t, s)
				log := linking(s)
				add(t, s, testTime, NewPatient{Number: "P-1", NumberSystem: "urn:n", FHIRID: "a1", State: before})
				if _, err := s.SetProfile("P-1", ProfileEdit{SetEmergencyContact: true, EmergencyContact: &contact, SetAllergies: true, Allergies: []string{"latex"},
					SetBloodType: true, BloodType: "AB-"}, 0, testTime); err != nil {
					t.Fatal(err)
				}
				shows(t, s, c.shown)
				is := byFHIRID(t, s, "a1")
				if is.BirthDate != c.shown.BirthDate || is.Phone != c.shown.Phone {
					t.Errorf("%s, %s: the row is %+v", way, who, is)
				}
				u, err := s.ContactUpdate(t.Context(), "op-1")
				if !c.stranger {
					if !errors.Is(err, ErrNotFound) || log.Len() > 0 || is.BloodType != "AB-" || len(is.Allergies) != 1 || is.EmergencyContact == nil {
						t.Errorf("%s, %s: %+v, journal %+v (%v), log %s", way, who, is, u, err, log)
					}
					continue
				}
				if is.BloodType != "" || is.Allergies != nil || is.EmergencyContact != nil || len(is.ChangedSince(is.Version-1, []string{"bloodType"})) != 1 {
					t.Errorf("%s, %s: the row has %+v", way, who, is)
				}
				if err != nil || u.Kind != KindLinked || u.FHIRID != "a1" || u.PatientID != is.ID || u.Patient.Phone != before.Phone {
					t.Fatalf("%s, %s: the journal has %+v (%v)", way, who, u, err)
				}
				var kept string
				if err := s.write.DB.QueryRow("SELECT patient FROM contact_updates WHERE id = 'op-1'").Scan(&kept); err != nil {
					t.Fatal(err)
				}
				for _, part := range []string{`"FamilyName":"O'Neil"`, `"BirthDate":"1950-01-02"`, `"latex"`, `"AB-"`, `"name":"Lee"`, `"ID":"P-1"`} {
					if !strings.Contains(kept, strings.ReplaceAll(part, "'", `\u0027`)) && !strings.Contains(kept, part) {
						t.Errorf("%s, %s: the journal lacks %s: %s", way, who, part, kept)
					}
				}
				if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "patient=P-1 operation=op-1 fields=\"[emergencyContact allergies bloodType]\"") ||
					strings.Count(text, "\n") != 1 || strings.Contains(text, "latex") || strings.Contains(text, "AB-") || strings.Contains(text, "Lee") || strings.Contains(text, "Neil") {
					t.Errorf("%s, %s: the log says %s", way, who, text)
				}
				if p, err := s.CachedPatient(t.Context(), "P-1"); way != "a contact update" && !errors.Is(err, ErrNotFound) {
					t.Errorf("%s, %s: the number of the former one finds %+v (%v)", way, who, p, err)
				}
				// It happens once, and what is recorded of the new person stays.
				setBloodType(t, s, is.ID)
				c.shown.FHIRUpdatedAt = c.shown.FHIRUpdatedAt.Add(time.Minute)
				c.shown.Phone = "010-7777"
				bring(t, s, NewPatient{FHIRID: "a1", State: c.shown})
				if p := byFHIRID(t, s, "a1"); p.BloodType == "" || p.Phone != "010-7777" {
					t.Errorf("%s, %s: later the row has %+v", way, who, p)
				}
				if _, err := s.ContactUpdate(t.Context(), "op-2"); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s, %s: set aside twice (%v)", way, who, err)
				}
			}
		}
	})
}

// An end that comes too late writes nothing, of a stranger neither.
func TestAnEndThatComesTooLateSetsNothingAside(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		linking(s)
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: FHIRState{FamilyName: "Kim", BirthDate: "1950"}})
		setBloodType(t, s, "P-1")
		sent(t, s, "op", "P-1")
		c := Closing{ID: "op", Owner: "another", PatientID: "P-1", State: UpdateApplied, Shown: &FHIRState{FamilyName: "Lee", BirthDate: "1960"}, At: testTime}
		if _, err := s.CloseUpdate(c); !errors.Is(err, ErrLostLease) {
			t.Errorf("%v", err)
		}
		if u, err := s.ContactUpdate(t.Context(), "op-1"); !errors.Is(err, ErrNotFound) || row(t, s, "P-1").BloodType == "" {
			t.Errorf("the journal has %+v (%v), the row is %+v", u, err, row(t, s, "P-1"))
		}
	})
}
