package db

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// merged is a patient that was merged into another, as FHIR showed it so many hours
// after testTime; into "": not any more.
func merged(fhirID, number, into string, hours int) NewPatient {
	n := at(fhirID, number, hours)
	n.State.ReplacedBy, n.State.Inactive = into, into != ""
	return n
}

// survivor is a patient that others were merged into.
func survivor(fhirID, number string, hours int, replaces ...string) NewPatient {
	n := at(fhirID, number, hours)
	n.Replaces = replaces
	return n
}

// local lists what is recorded here alone, by number: "1 A/x/Kim" has blood type A, the
// allergy x and an emergency contact; what is not recorded is "-".
func local(t *testing.T, s *Store) string {
	t.Helper()
	page, err := s.Patients(context.Background(), PageRequest{First: 100, Order: OrderCreatedAsc, Filter: Filter{IncludeInactive: true}})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, node := range page.Patients {
		p, err := s.Patient(context.Background(), node.ID)
		if err != nil {
			t.Fatal(err)
		}
		values := []string{"-", "-", "-"}
		if p.BloodType != "" {
			values[0] = p.BloodType
		}
		if p.Allergies != nil {
			values[1] = strings.Join(p.Allergies, "+")
		}
		if p.EmergencyContact != nil {
			values[2] = p.EmergencyContact.Name
		}
		list = append(list, p.ID+" "+strings.Join(values, "/"))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// record records values here, written as local lists them.
func record(t *testing.T, s *Store, number, values string) {
	t.Helper()
	v := strings.Split(values, "/")
	e := ProfileEdit{SetBloodType: v[0] != "-", BloodType: v[0], SetAllergies: v[1] != "-", Allergies: []string{}, SetEmergencyContact: v[2] != "-", EmergencyContact: &EmergencyContact{Name: v[2]}}
	if v[1] != "" {
		e.Allergies = strings.Split(v[1], "+")
	}
	if _, err := s.SetProfile(number, e, 0, testTime); err != nil {
		t.Fatal(err)
	}
}

// logged makes the store log, and returns what it said since it was last asked:
// "moved 1 2 [bloodType]".
func logged(s *Store) func() string {
	var text bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&text, nil))
	return func() string {
		var list []string
		for line := range strings.Lines(text.String()) {
			word := "other"
			for _, w := range []string{" moved to ", " kept with ", " round and round"} {
				if strings.Contains(line, w) {
					word = strings.Fields(w)[0]
				}
			}
			for _, name := range []string{"patient=", "survivor=", "fields="} {
				if _, rest, found := strings.Cut(line, name); found {
					value, _, _ := strings.Cut(strings.Trim(rest, "\"\n"), "\"")
					if !strings.HasPrefix(value, "[") {
						value = strings.Fields(value)[0]
					}
					word += " " + value
				}
			}
			list = append(list, word)
		}
		text.Reset()
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
}

func emptied(t *testing.T, s *Store) {
	t.Helper()
	for _, table := range append(tablesOfPatients(t, s), "patients", "patient_sequences", "patient_merges") {
		if _, err := s.write.DB.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
}

// What is recorded here alone goes to the survivor, however the merge is told and in
// whatever order the records come, and what the survivor has stays as it is.
func TestLocalValuesFollowAMerge(t *testing.T) {
	t.Parallel()
	a, b, c := at("a", "1", 0), at("b", "2", 0), at("c", "3", 0)
	aInto, bInto := func(into string) NewPatient { return merged("a", "1", into, 1) }, func(into string) NewPatient { return merged("b", "2", into, 1) }
	linkedToA := a // who was here alone as at("", "1", 0)
	linkedToA.State.FamilyName = "Name "
	foreign := at("b", "x", 5)
	foreign.NumberSystem = "urn:o"
	cases := map[string]struct {
		before   []NewPatient      // are here
		recorded map[string]string // by number
		batches  [][]NewPatient
		want     string
		log      string
	}{
		"all of them": {[]NewPatient{a, b}, map[string]string{"1": "A/nuts+latex/Kim"}, [][]NewPatient{{aInto("b")}},
			"1 -/-/-, 2 A/nuts+latex/Kim", "moved 1 2 [emergencyContact allergies bloodType]"},
		"value by value": {[]NewPatient{a, b}, map[string]string{"1": "A/nuts/Kim", "2": "B/-/-"}, [][]NewPatient{{aInto("b")}},
			"1 A/-/-, 2 B/nuts/Kim", "kept 1 2 [bloodType], moved 1 2 [emergencyContact allergies]"},
		"none known is recorded": {[]NewPatient{a, b}, map[string]string{"1": "-/nuts/-", "2": "-//-"}, [][]NewPatient{{aInto("b")}},
			"1 -/nuts/-, 2 -//-", "kept 1 2 [allergies]"},
		"none known moves too": {[]NewPatient{a, b}, map[string]string{"1": "-//-"}, [][]NewPatient{{aInto("b")}}, "1 -/-/-, 2 -//-", "moved 1 2 [allergies]"},
		"the survivor comes later": {[]NewPatient{a}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b")}, {c}, {b}},
			"1 -/-/-, 2 A/-/-, 3 -/-/-", "moved 1 2 [bloodType]"},
		"with the survivor, which comes after it":  {[]NewPatient{a}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b"), b}}, "1 -/-/-, 2 A/-/-", "moved 1 2 [bloodType]"},
		"with the survivor, which comes before it": {[]NewPatient{a}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{b, aInto("b")}}, "1 -/-/-, 2 A/-/-", "moved 1 2 [bloodType]"},
		"told by the survivor alone": {[]NewPatient{a, b}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}},
			"1 -/-/-, 2 A/-/-", "moved 1 2 [bloodType]"},
		"told by a survivor that is new": {[]NewPatient{a}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "x", "a")}},
			"1 -/-/-, 2 A/-/-", "moved 1 2 [bloodType]"},
		"told by both, the survivor first": {[]NewPatient{a, b}, map[string]string{"1": "A/x/-", "2": "B/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}, {aInto("b")}, {survivor("b", "2", 2, "a")}, {merged("a", "1", "b", 2)}},
			"1 A/-/-, 2 B/x/-", "kept 1 2 [bloodType], moved 1 2 [allergies]"},
		"told by both, the merged first": {[]NewPatient{a, b}, map[string]string{"1": "A/x/-", "2": "B/-/-"}, [][]NewPatient{{aInto("b")}, {survivor("b", "2", 1, "a")}, {aInto("b"), survivor("b", "2", 1, "a")}},
			"1 A/-/-, 2 B/x/-", "kept 1 2 [bloodType], moved 1 2 [allergies]"},
		"a survivor of its own counts more than who claims it": {[]NewPatient{a, b, c}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("c"), survivor("b", "2", 1, "a")}},
			"1 -/-/-, 2 -/-/-, 3 A/-/-", "moved 1 3 [bloodType]"},
		"a chain, from its beginning": {[]NewPatient{a, b, c}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b")}, {bInto("c")}},
			"1 -/-/-, 2 -/-/-, 3 A/-/-", "moved 1 2 [bloodType], moved 2 3 [bloodType]"},
		"a chain, from its end": {[]NewPatient{a, b, c}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{bInto("c")}, {aInto("b")}},
			"1 -/-/-, 2 -/-/-, 3 A/-/-", "moved 1 3 [bloodType]"},
		"a chain whose end comes last": {[]NewPatient{a, b}, map[string]string{"1": "A/x/-", "2": "B/-/-"}, [][]NewPatient{{aInto("b"), bInto("c")}, {c}},
			"1 A/-/-, 2 -/-/-, 3 B/x/-", "kept 1 3 [bloodType], moved 1 3 [allergies], moved 2 3 [bloodType]"},
		"a chain by way of one who is not here": {[]NewPatient{a, c}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b")}, {survivor("c", "3", 1, "b")}},
			"1 -/-/-, 3 A/-/-", "moved 1 3 [bloodType]"},
		"what was kept once stays": {[]NewPatient{a, b, c}, map[string]string{"1": "A/-/-", "2": "B/-/-"}, [][]NewPatient{{aInto("b")}, {bInto("c")}, {at("c", "3", 2)}},
			"1 A/-/-, 2 -/-/-, 3 B/-/-", "kept 1 2 [bloodType], moved 2 3 [bloodType]"},
		"two into one": {[]NewPatient{a, b, c}, map[string]string{"1": "A/-/-", "2": "B/x/-"}, [][]NewPatient{{bInto("c"), aInto("c")}},
			"1 -/-/-, 2 B/-/-, 3 A/x/-", "kept 2 3 [bloodType], moved 1 3 [bloodType], moved 2 3 [allergies]"},
		"two who waited, once": {[]NewPatient{a, c}, map[string]string{"1": "A/-/-", "3": "B/-/-"}, [][]NewPatient{{aInto("b"), merged("c", "3", "b", 1)}, {b}, {at("b", "2", 2)}},
			"1 -/-/-, 2 A/-/-, 3 B/-/-", "kept 3 2 [bloodType], moved 1 2 [bloodType]"},
		"round and round": {[]NewPatient{a, b}, map[string]string{"1": "A/-/-", "2": "B/x/-"}, [][]NewPatient{{aInto("b"), bInto("a")}, {merged("a", "1", "b", 2)}, {merged("b", "2", "a", 2)}},
			"1 A/-/-, 2 B/x/-", "round 1, round 2"},
		"round and round, until one is undone": {[]NewPatient{a, b}, map[string]string{"1": "-/-/-", "2": "B/-/-"}, [][]NewPatient{{aInto("b"), bInto("a")}, {merged("a", "1", "", 2)}},
			"1 B/-/-, 2 -/-/-", "moved 2 1 [bloodType], round 1, round 2"},
		"to itself": {[]NewPatient{a}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("a")}, {survivor("a", "1", 2, "a")}}, "1 A/-/-", ""},
		"to nobody, and to another server": {[]NewPatient{a, b}, map[string]string{"1": "A/-/-", "2": "B/-/-"}, [][]NewPatient{{aInto("?"), bInto("https://other/Patient/a")}},
			"1 A/-/-, 2 B/-/-", ""},
		"undone": {[]NewPatient{a, b}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b")}, {merged("a", "1", "", 2)}, {at("b", "2", 2)}},
			"1 -/-/-, 2 A/-/-", "moved 1 2 [bloodType]"},
		"undone before the survivor came": {[]NewPatient{a}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b")}, {merged("a", "1", "", 2)}, {b}}, "1 A/-/-, 2 -/-/-", ""},
		"undone by the survivor before the merged came": {[]NewPatient{b}, nil, [][]NewPatient{{survivor("b", "2", 1, "a")}, {at("b", "2", 2)}, {a}, {at("a", "1", 3), at("b", "2", 3)}},
			"1 -/-/-, 2 -/-/-", ""},
		"undone by the survivor before the merged is linked": {[]NewPatient{at("", "1", 0), b}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}, {at("b", "2", 2)}, {linkedToA}},
			"1 A/-/-, 2 -/-/-", ""},
		"undone by the survivor, and merged again": {[]NewPatient{a, b}, map[string]string{"1": "A/-/-", "2": "B/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}, {at("b", "2", 2)}, {survivor("b", "2", 3, "a")}},
			"1 A/-/-, 2 B/-/-", "kept 1 2 [bloodType], kept 1 2 [bloodType]"},
		"an old file of the survivor has its number alone": {[]NewPatient{a, foreign}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}},
			"1 A/-/-, 2 -/-/-", ""},
		"into another one later": {[]NewPatient{a, b, c}, map[string]string{"1": "A/-/-", "2": "B/-/-"}, [][]NewPatient{{aInto("b")}, {merged("a", "1", "c", 2)}},
			"1 -/-/-, 2 B/-/-, 3 A/-/-", "kept 1 2 [bloodType], moved 1 3 [bloodType]"},
		"an old file says so": {[]NewPatient{merged("a", "1", "", 5), b}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{aInto("b")}}, "1 A/-/-, 2 -/-/-", ""},
		"an old file of the survivor says so": {[]NewPatient{a, at("b", "2", 5)}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}},
			"1 A/-/-, 2 -/-/-", ""},
		"a patient who was here alone": {[]NewPatient{at("", "1", 0), b}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{survivor("b", "2", 1, "a")}, {linkedToA}},
			"1 -/-/-, 2 A/-/-", "moved 1 2 [bloodType]"},
		"the number goes along": {[]NewPatient{a, b}, map[string]string{"1": "A/-/-"}, [][]NewPatient{{merged("a", "", "b", 1), at("b", "1", 1)}},
			"1 A/-/-, P -/-/-", "moved 1 2 [bloodType]"},
	}
	stores(t, func(t *testing.T, s *Store) {
		for name, c := range cases {
			emptied(t, s)
			said := logged(s)
			add(t, s, testTime, c.before...)
			for number, values := range c.recorded {
				record(t, s, number, values)
			}
			var log []string
			for _, batch := range c.batches {
				bring(t, s, batch...)
				if text := said(); text != "" {
					log = append(log, strings.Split(text, ", ")...)
				}
			}
			slices.Sort(log)
			if got := assignedNumbers.ReplaceAllString(local(t, s), "P"); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
			if got := strings.Join(log, ", "); got != c.log {
				t.Errorf("%s: the log says %q, want %q", name, got, c.log)
			}
		}
	})
}

// A link by URL is followed where it leads to our server, and no value is in the log.
func TestAMergeByURLIsFollowed(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		var log bytes.Buffer
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
		s.LocalID = func(reference string) string {
			id, _ := strings.CutPrefix(reference, "https://emr/Patient/")
			if strings.Contains(id, "/") {
				return ""
			}
			return id
		}
		add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
		record(t, s, "1", "A/secret/secret")
		bring(t, s, merged("a", "1", "https://emr/Patient/b", 1))
		if got := local(t, s); got != "1 -/-/-, 2 A/secret/secret" {
			t.Error(got)
		}
		if text := log.String(); strings.Contains(text, "secret") || !strings.Contains(text, "level=INFO") {
			t.Error(text)
		}
	})
}

// What moves is a new version of both rows, and of no other field.
func TestAMovedValueIsANewVersion(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
		record(t, s, "1", "A/-/-")
		before := map[string]*Patient{}
		for _, number := range []string{"1", "2"} {
			before[number], _ = s.Patient(t.Context(), number)
		}
		bring(t, s, merged("a", "1", "b", 1))
		for number, was := range before {
			is, err := s.Patient(t.Context(), number)
			if err != nil || is.Version <= was.Version {
				t.Errorf("%s is at version %d, was at %d (%v)", number, is.Version, was.Version, err)
			}
			if got := is.ChangedSince(was.Version, fieldNames[:]); !slices.Equal(got, []string{"bloodType"}) {
				t.Errorf("of %s changed %v", number, got)
			}
			if _, err := s.SetProfile(number, ProfileEdit{SetAllergies: true, Allergies: []string{}}, was.Version, testTime); err != nil {
				t.Errorf("another field of %s with the version from before: %v", number, err)
			}
			if _, err := s.SetProfile(number, ProfileEdit{SetBloodType: true, BloodType: "0"}, was.Version, testTime); err == nil {
				t.Errorf("the moved field of %s was written with the version from before", number)
			}
		}
	})
}

// An update that is open when values move, of the merged record or of the survivor,
// ends as it would, and loses none of them.
func TestValuesMoveUnderAnOpenUpdate(t *testing.T) {
	t.Parallel()
	for _, pending := range []string{"1", "2"} {
		stores(t, func(t *testing.T, s *Store) {
			add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
			record(t, s, "1", "A/-/-")
			begun, err := begin(s, "op", pending, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SendUpdate("op", "me", pending, `W/"1"`, "{}"); err != nil {
				t.Fatal(err)
			}
			bring(t, s, merged("a", "1", "b", 1), survivor("b", "2", 1, "a"))
			closed(t, s, Closing{ID: "op", PatientID: pending, Row: begun.Patient, State: UpdateApplied, Shown: &FHIRState{Phone: "5"}})
			if got := local(t, s); got != "1 -/-/-, 2 A/-/-" {
				t.Error(got)
			}
			if p, err := s.Patient(t.Context(), pending); err != nil || p.Phone != "5" || p.SyncState != Synced {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// Values that are recorded while a merge is settled end with the one or the other.
func TestNothingIsLostThatIsRecordedDuringAMerge(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const pairs = 8
		var batch []NewPatient
		for n := range pairs {
			add(t, s, testTime, at(fmt.Sprint("a", n), fmt.Sprint("A", n), 0), at(fmt.Sprint("b", n), fmt.Sprint("B", n), 0))
			record(t, s, fmt.Sprint("A", n), "-/nuts/-")
			batch = append(batch, merged(fmt.Sprint("a", n), fmt.Sprint("A", n), fmt.Sprint("b", n), 1))
		}
		var all sync.WaitGroup
		for n := range pairs {
			for _, number := range []string{fmt.Sprint("A", n), fmt.Sprint("B", n)} {
				all.Go(func() {
					if _, err := s.SetProfile(number, ProfileEdit{SetEmergencyContact: true, EmergencyContact: &EmergencyContact{Name: number}}, 0, testTime); err != nil {
						t.Error(err)
					}
				})
			}
		}
		for _, order := range [][]NewPatient{batch, reversed(batch)} { // of two imports that meet
			all.Go(func() {
				if _, err := s.ImportPatients(context.Background(), order, testTime.Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		bring(t, s, batch...)
		for n := range pairs {
			a, _ := s.Patient(t.Context(), fmt.Sprint("A", n))
			b, err := s.Patient(t.Context(), fmt.Sprint("B", n))
			// B's own value stands, or it was written over A's, which had moved before.
			if err != nil || b.EmergencyContact == nil || !slices.Equal(b.Allergies, []string{"nuts"}) || a.Allergies != nil ||
				a.EmergencyContact == nil && b.EmergencyContact.Name != fmt.Sprint("B", n) && b.EmergencyContact.Name != fmt.Sprint("A", n) {
				t.Errorf("%+v and %+v (%v)", a, b, err)
			}
		}
	})
}

func reversed(batch []NewPatient) []NewPatient {
	batch = slices.Clone(batch)
	slices.Reverse(batch)
	return batch
}

// Merges that a program from before had stored are settled with the next import, also
// of a file that it had imported.
func TestAMergeFromBeforeIsSettled(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := open(t)
			s := openStore(t, databaseURL)
			add(t, s, testTime, at("a", "1", 0), at("b", "2", 0), at("c", "3", 0))
			record(t, s, "1", "A/-/-")
			for _, text := range []string{"DELETE FROM patient_merges", "UPDATE patients SET replaced_by = 'b' WHERE id = '1'"} {
				if _, err := s.write.DB.Exec(text); err != nil {
					t.Fatal(err)
				}
			}
			bring(t, s, merged("a", "1", "b", 0))
			if got := local(t, s); got != "1 -/-/-, 2 A/-/-, 3 -/-/-" {
				t.Error(got)
			}
		})
	}
}

// The number of a merged record that the hospital gives to the survivor finds the
// survivor, be it its number now or one of several.
func TestTheNumberOfAMergedRecordGoesToTheSurvivor(t *testing.T) {
	t.Parallel()
	alias := func(hours int) NewPatient {
		n := at("b", "2", hours)
		n.Identifiers = []Identifier{{System: "urn:n", Value: "1", Alias: true}}
		return n
	}
	cases := map[string]struct {
		batches [][]NewPatient
		want    string // who is found by 1
	}{
		"as its number, in one batch":     {[][]NewPatient{{merged("a", "", "b", 1), at("b", "1", 1)}}, "b"},
		"as its number, before":           {[][]NewPatient{{at("b", "1", 1)}, {merged("a", "", "b", 1)}}, "b"},
		"as its number, both claim it":    {[][]NewPatient{{merged("a", "1", "b", 1), at("b", "1", 1)}}, "b"},
		"as one of several, taken away":   {[][]NewPatient{{merged("a", "9", "b", 1), alias(1)}}, "b"},
		"as one of several, survivor 1st": {[][]NewPatient{{alias(1)}, {merged("a", "9", "b", 1)}, {alias(2)}}, "b"},
		"as one of several, left there":   {[][]NewPatient{{merged("a", "1", "b", 1), alias(1)}}, "a"}, // whose replacedBy leads on
	}
	stores(t, func(t *testing.T, s *Store) {
		for name, c := range cases {
			emptied(t, s)
			add(t, s, testTime, at("a", "1", 0), at("b", "2", 0))
			record(t, s, "1", "A/-/-")
			for _, batch := range c.batches {
				bring(t, s, batch...)
			}
			if p, err := s.Patient(t.Context(), "1"); err != nil || p.FHIRID != c.want {
				t.Errorf("%s: 1 is %+v, want %s (%v)", name, p, c.want, err)
			}
			if p, err := s.Patient(t.Context(), "2"); name != "as its number, before" && err == nil && p.FHIRID != "b" {
				t.Errorf("%s: 2 is %s (%v)", name, p.FHIRID, err)
			}
			if got := local(t, s); strings.Count(got, "A/") != 1 {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}
