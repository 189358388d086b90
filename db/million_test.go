package db

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"patientgraph/db/dbtest"
)

// weighted picks a value as often as its weight says.
type weighted []struct {
	value  string
	weight int
}

func (w weighted) pick(r *rand.Rand) string {
	all := 0
	for _, v := range w {
		all += v.weight
	}
	n := r.IntN(all)
	for _, v := range w {
		if n -= v.weight; n < 0 {
			return v.value
		}
	}
	panic("unreachable")
}

// What a hospital's patients have, about as often as people in Korea do: four in five
// have a Korean name, and every second one a given name with 지 in it.
var (
	koreanFamilies = weighted{{"김", 215}, {"이", 147}, {"박", 84}, {"최", 47}, {"정", 43}, {"강", 23}, {"조", 21}, {"윤", 21}, {"장", 20}, {"임", 17}, {"한", 15},
		{"오", 15}, {"서", 15}, {"신", 15}, {"권", 14}, {"황", 14}, {"안", 14}, {"송", 14}, {"류", 13}, {"홍", 11}, {"남궁", 1}}
	koreanSyllables = []string{"민", "서", "현", "우", "준", "영", "수", "하", "은", "윤", "연", "진", "성", "아", "호", "경", "혜", "미", "선", "희", "철", "정", "태", "승", "유", "원", "나", "율", "건", "도"}
	latinFamilies   = weighted{{"Smith", 20}, {"Nguyen", 20}, {"Müller", 10}, {"García", 10}, {"Chalmers", 5}, {"Öztürk", 5}, {"de la Cruz", 5}, {"Tanaka", 5}, {"Windsor", 2}}
	latinGiven      = weighted{{"Maria", 30}, {"James", 20}, {"Anna", 20}, {"Linh", 10}, {"Jürgen", 5}, {"Ayşe", 5}, {"Begoña", 3}, {"Peter James", 2}}
	genders         = weighted{{"female", 5000}, {"male", 4950}, {"other", 30}}
)

// hospitalPatient is the n-th patient of a hospital; the same each time.
func hospitalPatient(n int) NewPatient {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	p := NewPatient{FHIRID: fmt.Sprintf("f%d", n), State: fullState(), Identifiers: []Identifier{{System: "urn:mrn", Value: fmt.Sprint(n)}}}
	st := &p.State
	if r.IntN(1000) == 0 {
		p.FHIRID = ""
	}
	if r.IntN(5) > 0 {
		st.FamilyName, st.GivenName = koreanFamilies.pick(r), "지"
		if r.IntN(8) < 3 {
			st.GivenName = koreanSyllables[r.IntN(len(koreanSyllables))]
		}
		st.GivenName += koreanSyllables[r.IntN(len(koreanSyllables))]
		st.FullName = st.FamilyName + st.GivenName
	} else {
		st.FamilyName, st.GivenName = latinFamilies.pick(r), latinGiven.pick(r)
		if r.IntN(2) == 0 {
			st.GivenName += " " + string(rune('A'+r.IntN(26))) + strconv.Itoa(r.IntN(1000)) // as rare names are
		}
		st.FullName = st.GivenName + " " + st.FamilyName
	}
	st.Gender = genders.pick(r)
	st.BirthDate = time.Date(1925, 1, 1+r.IntN(100*365), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	st.OtherNames, st.OtherPhones = nil, nil // as most have
	st.Phone = fmt.Sprintf("010-%04d-%04d", n/10000%10000, n%10000)
	st.Inactive = r.IntN(50) == 0
	st.FHIRUpdatedAt = testTime
	return p
}

// fillHospital adds patients as an import does, and then numbers them.
func fillHospital(t testing.TB, s *Store, patients int) {
	t.Helper()
	const together = 2000
	for done := 0; done < patients; done += together {
		batch := make([]NewPatient, 0, together)
		for n := done; n < min(done+together, patients); n++ {
			batch = append(batch, hospitalPatient(n))
		}
		add(t, s, testTime.Add(time.Duration(done)*time.Second), batch...)
	}
	numbered(t, s)
	if onPostgres(s) { // as autovacuum does
		if _, err := s.write.DB.Exec("VACUUM ANALYZE"); err != nil {
			t.Fatal(err)
		}
	}
}

// hospital opens a database with that many patients. One that is named is filled if it
// is empty, and kept.
func hospital(b *testing.B, databaseURL string, patients int) *Store {
	b.Helper()
	s := openStore(b, databaseURL)
	n, err := s.number(context.Background(), "SELECT count(*) FROM (SELECT 1 FROM patients LIMIT 1) AS found")
	if err != nil {
		b.Fatal(err)
	}
	if n == 0 {
		began := time.Now()
		fillHospital(b, s, patients)
		b.Logf("filled with %d patients in %s", patients, time.Since(began).Round(time.Second))
	}
	return s
}

// millionFilters are the filters of BenchmarkMillion.
func millionFilters(patients int) []struct {
	name   string
	filter Filter
} {
	now := testTime.Add(time.Duration(patients) * time.Second)
	after := int64(0)
	looked := Freshness{StaleBefore: testTime.Add(-time.Hour), Looked: true}
	return []struct {
		name   string
		filter Filter
	}{
		{"all", Filter{}},
		{"all, the inactive too", Filter{IncludeInactive: true}},
		{"gender of half", Filter{Gender: "female"}},
		{"gender of one in 300", Filter{Gender: "other"}},
		{"gender of nobody", Filter{Gender: "unknown"}},
		{"SYNCED", Filter{SyncState: Synced, Freshness: looked}},
		{"PENDING, none", Filter{SyncState: Pending, Freshness: looked}},
		{"STALE, none", Filter{SyncState: Stale, Freshness: looked}},
		{"STALE, none looked, none", Filter{SyncState: Stale, Freshness: Freshness{StaleBefore: testTime.Add(-time.Hour)}}},
		{"STALE, none looked, all", Filter{SyncState: Stale, Freshness: Freshness{StaleBefore: now.Add(time.Hour)}}},
		{"LOCAL_ONLY, one in 1,000", Filter{SyncState: LocalOnly, Freshness: looked}},
		{"birth year", Filter{BirthDate: "1990"}},
		{"birth month", Filter{BirthDate: "1990-05"}},
		{"birth date", Filter{BirthDate: "1990-05-05"}},
		{"updated since, nothing", Filter{UpdatedSince: now.Add(time.Hour)}},
		{"updated since, one in 100", Filter{UpdatedSince: testTime.Add(time.Duration(patients/100*99) * time.Second)}},
		{"updated since, half", Filter{UpdatedSince: testTime.Add(time.Duration(patients/2) * time.Second)}},
		{"changed after, all", Filter{ChangedAfter: &after}},
		{"syllable of half", Filter{Name: "지"}},
		{"common family name", Filter{Name: "김"}},
		{"family name of one in 50", Filter{Name: "강"}},
		{"rare family name", Filter{Name: "남궁"}},
		{"common given name", Filter{Name: "지민"}},
		{"common Latin family name", Filter{Name: "smith"}},
		{"common Latin given name", Filter{Name: "maria"}},
		{"whole name", Filter{Name: "김지민"}},
		{"two common words", Filter{Name: "maria nguyen"}},
		{"name of nobody", Filter{Name: "zzz"}},
		{"two common words of nobody", Filter{Name: "smith nguyen"}},
		{"phone", Filter{Phone: "010-0000-0777"}},
		{"phone of nobody", Filter{Phone: "010-9999-0777"}},
		{"identifier", Filter{Identifier: "urn:mrn|777"}},
		{"FHIR id", Filter{FHIRID: "f777"}},
		{"gender and birth year", Filter{Gender: "female", BirthDate: "1990"}},
		{"gender and name", Filter{Gender: "female", Name: "지민"}},
		{"gender and PENDING", Filter{Gender: "female", SyncState: Pending}},
		{"rare gender and birth year", Filter{Gender: "other", BirthDate: "1990"}},
		{"rare gender and name", Filter{Gender: "other", Name: "지"}},
		{"birth year and name", Filter{BirthDate: "1990", Name: "김"}},
		{"name, updated since, half", Filter{Name: "김", UpdatedSince: testTime.Add(time.Duration(patients/2) * time.Second)}},
		{"everything", Filter{Name: "지", Gender: "female", SyncState: Synced, Freshness: looked, BirthDate: "1990", UpdatedSince: testTime}},
	}
}

// shownColumns are what a list shows.
var shownColumns = []Column{ColFamilyName, ColGivenName, ColFullName, ColBirthDate, ColGender, ColPhone}

// BenchmarkMillion tells the p50 and p99 of each shape of a query, with -benchtime 1x.
// SCALE_PATIENTS is how many patients there are, SCALE_RUNS how often each shape is asked
// for (for two seconds at most), SCALE_DATABASE_URL a database that is kept.
func BenchmarkMillion(b *testing.B) {
	patients, runs := setting(b, "SCALE_PATIENTS", 2_000), setting(b, "SCALE_RUNS", 1) // to see that it runs
	if named := os.Getenv("SCALE_DATABASE_URL"); named != "" {
		benchmarkShapes(b, hospital(b, named, patients), patients, runs)
		return
	}
	for _, d := range []struct {
		name string
		open func(testing.TB) string
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		b.Run(d.name, func(b *testing.B) { benchmarkShapes(b, hospital(b, d.open(b), patients), patients, runs) })
	}
}

// setting is a number in the environment.
func setting(b *testing.B, name string, otherwise int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func benchmarkShapes(b *testing.B, s *Store, patients, runs int) {
	ctx := context.Background()
	quantiles := func(name string, what func() error) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for start := time.Now(); len(took) < runs && time.Since(start) < 2*time.Second; {
				began := time.Now()
				if err := what(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[(len(took)*99-1)/100].Microseconds())/1000, "p99-ms")
		})
	}
	deep, err := s.Patients(ctx, PageRequest{Order: OrderCreatedDesc, First: 1, Filter: Filter{FHIRID: fmt.Sprintf("f%d", patients/3)}})
	if err != nil || len(deep.Patients) != 1 {
		b.Fatal(deep, err)
	}
	n := 0
	quantiles("patient", func() error {
		n = (n + 7919) % patients
		_, err := s.Patient(ctx, fmt.Sprintf("P-2025-%06d", 1+n), shownColumns...)
		return err
	})
	whole, err := s.Patient(ctx, deep.Patients[0].ID)
	if err != nil {
		b.Fatal(err)
	}
	for _, o := range []Order{OrderCreatedDesc, OrderCreatedAsc, OrderUpdatedDesc, OrderUpdatedAsc, OrderNameAsc, OrderNameDesc, OrderBirthDateAsc, OrderBirthDateDesc} {
		after := o.Cursor(whole)
		quantiles("deep/"+string(o), func() error {
			_, err := s.Patients(ctx, PageRequest{Order: o, First: 20, After: after, Columns: shownColumns})
			return err
		})
	}
	for _, c := range millionFilters(patients) {
		orders := []Order{OrderCreatedDesc, OrderUpdatedDesc, OrderNameAsc, OrderNameDesc, OrderBirthDateAsc, OrderCreatedAsc}
		if c.filter.ChangedAfter != nil {
			orders = []Order{OrderChangeAsc}
		}
		for _, o := range orders {
			quantiles(fmt.Sprintf("page/%s/%s", c.name, o), func() error {
				_, err := s.Patients(ctx, PageRequest{Filter: c.filter, Order: o, First: 20, Columns: shownColumns})
				return err
			})
		}
	}
	for _, c := range millionFilters(patients) {
		quantiles("count/"+c.name, func() error {
			_, err := s.CountPatients(ctx, c.filter)
			return err
		})
	}
}
