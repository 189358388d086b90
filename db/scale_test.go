package db

import (
	"context"
	"fmt"
	"testing"
	"time"

	"patientgraph/db/dbtest"
)

// fillPatients adds patients as an import does. Each last name is that of one
// in eight, everybody is SYNCED but one in a thousand.
func fillPatients(t testing.TB, s *Store, patients int) {
	t.Helper()
	families := []string{"김", "이", "박", "Chalmers", "Windsor", "Nguyen", "Öztürk", "de la Cruz"}
	for done := 0; done < patients; done += 500 {
		batch := make([]NewPatient, min(500, patients-done))
		for i := range batch {
			n := done + i
			p := NewPatient{FHIRID: fmt.Sprintf("f%d", n), State: fullState(), Identifiers: []Identifier{{System: "urn:mrn", Value: fmt.Sprint(n)}, {Value: "unknown"}}}
			if n%1000 == 0 {
				p.FHIRID = ""
			}
			p.State.FamilyName, p.State.GivenName = families[n%8], fmt.Sprintf("Donya%d", n*7919%patients)
			p.State.FullName = p.State.GivenName + " " + p.State.FamilyName
			p.State.Gender = []string{"male", "female", "male", "female", "female", "other", "", "male"}[n/3%8]
			p.State.BirthDate = fmt.Sprintf("%d-%02d-%02d", 1930+n%90, 1+n%12, 1+n%28)
			p.State.OtherNames, p.State.OtherPhones = nil, nil // as most have
			p.State.Phone = fmt.Sprintf("010-%04d-%04d", n/10000, n%10000)
			batch[i] = p
		}
		add(t, s, testTime.Add(time.Duration(done)*time.Second), batch...)
	}
	if onPostgres(s) {
		if _, err := s.write.DB.Exec("VACUUM ANALYZE"); err != nil { // as autovacuum does
			t.Fatal(err)
		}
	}
}

// scaleFilters are filters of each kind, and how many of 100,000 they match.
var scaleFilters = []struct {
	name   string
	filter Filter
}{
	{"all", Filter{}},
	{"gender", Filter{Gender: "female"}},
	{"gender unknown", Filter{Gender: "unknown"}},
	{"sync state", Filter{SyncState: Synced}},
	{"sync state, few", Filter{SyncState: LocalOnly}},
	{"sync state, none", Filter{SyncState: Pending}},
	{"gender and sync state, none", Filter{Gender: "male", SyncState: Pending}},
	{"birth year", Filter{BirthDate: "1990"}},
	{"updated since, all", Filter{UpdatedSince: testTime}},
	{"updated since, few", Filter{UpdatedSince: testTime.Add(99_000 * time.Second)}},
	{"name of one character", Filter{Name: "김"}},
	{"name of one letter", Filter{Name: "a"}},
	{"name of two letters", Filter{Name: "on"}},
	{"name of three letters", Filter{Name: "ony"}},
	{"name of many", Filter{Name: "windsor"}},
	{"name of few", Filter{Name: "donya77777"}},
	{"name of none", Filter{Name: "zzz"}},
	{"words of many", Filter{Name: "donya windsor"}},
	{"words of many, together of few", Filter{Name: "donya1 cruz 99"}},
	{"words of many, together of none", Filter{Name: "windsor chalmers"}},
	{"name and gender", Filter{Name: "a", Gender: "female"}},
	{"name, gender and sync state, none", Filter{Name: "a", Gender: "female", SyncState: Pending}},
	{"FHIR id", Filter{FHIRID: "f77"}},
	{"identifier", Filter{Identifier: "urn:mrn|77"}},
	{"identifier of many", Filter{Identifier: "unknown"}},
	{"identifier of none", Filter{Identifier: "urn:none|77"}},
	{"phone", Filter{Phone: "010-0001-0001"}},
	{"phone in its region", Filter{Phone: "+82 10 0001 0001", PhoneRegion: "KR"}},
	{"phone without digits", Filter{Phone: "call me"}},
	{"everything", Filter{Name: "a", Gender: "female", SyncState: Synced, BirthDate: "1990", UpdatedSince: testTime}},
}

// BenchmarkScale counts and lists among 100,000 patients.
func BenchmarkScale(b *testing.B) {
	patients := 100_000
	if testing.Short() { // to see that it runs
		patients = 10_000
	}
	for _, d := range []struct {
		name string
		open func(testing.TB) string
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}, {"pooler", dbtest.Pooler}} {
		b.Run(d.name, func(b *testing.B) {
			s := openStore(b, d.open(b))
			fillPatients(b, s, patients)
			for _, c := range scaleFilters {
				b.Run("count/"+c.name, func(b *testing.B) {
					for b.Loop() {
						if _, err := s.CountPatients(context.Background(), c.filter); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			for _, c := range scaleFilters {
				for _, o := range []Order{OrderNameAsc, OrderUpdatedDesc} {
					b.Run(fmt.Sprintf("page/%s/%s", c.name, o), func(b *testing.B) {
						for b.Loop() {
							if _, err := s.Patients(context.Background(), PageRequest{Filter: c.filter, Order: o, First: 1}); err != nil {
								b.Fatal(err)
							}
						}
					})
				}
			}
		})
	}
}

// BenchmarkRekey makes the keys of 100,000 rows anew, as after a migration.
func BenchmarkRekey(b *testing.B) {
	const rows = 100_000
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := openStore(b, open(b))
			fillPatients(b, s, rows)
			for _, text := range []string{"DELETE FROM patient_name_grams", "DELETE FROM patient_phones", "UPDATE patients SET search_key = NULL"} {
				if _, err := s.journal.DB.Exec(text); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for range b.N { // with -benchtime 1x
				if err := s.rekey(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
