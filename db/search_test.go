package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Who may see nothing learns nothing, not even from how long it takes.
func TestNothingCostsNothing(t *testing.T) {
	t.Parallel()
	watched(t, func(t *testing.T, s *Store, w *watch) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", State: FHIRState{FamilyName: "Kim"}})
		w.take()
		for _, f := range []Filter{{None: true}, {None: true, Name: "Kim", Gender: "male"}, {Name: strings.Repeat("k", maxFold+1)}} {
			page, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 1, Filter: f})
			if err != nil || len(page.Patients) != 0 || page.HasNext {
				t.Errorf("%+v, %v", page, err)
			}
			if n, err := s.CountPatients(ctx, f); err != nil || n != 0 {
				t.Errorf("%d, %v", n, err)
			}
		}
		if texts := w.take(); len(texts) != 0 {
			t.Errorf("the database was asked: %q", texts)
		}
		if _, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 1, After: "x", Filter: Filter{None: true}}); !errors.Is(err, ErrBadCursor) {
			t.Errorf("a bad cursor: %v", err)
		}
	})
}

// A patient's search of the own record does the same work whether many have the
// name or nobody has.
func TestTheOwnRecordTellsNothingOfOthers(t *testing.T) {
	t.Parallel()
	watched(t, func(t *testing.T, s *Store, w *watch) {
		ctx := context.Background()
		fillPatients(t, s, 1000)
		asked := func(name, identifier string) []string {
			w.take()
			f := Filter{IDs: []string{"P-2025-000001", "P-2025-000002"}, Name: name, Phone: name, Identifier: identifier, Gender: "male", BirthDate: "1930"}
			if _, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 20, Filter: f}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.CountPatients(ctx, f); err != nil {
				t.Fatal(err)
			}
			return w.take()
		}
		common := asked("windsor", "unknown")
		if rare := asked("zzz", "zzz"); !slices.Equal(common, rare) || len(common) != 2 {
			t.Errorf("a name that many have:\n%q\nthat nobody has:\n%q", common, rare)
		}
		for _, text := range common {
			if strings.Contains(text, "grams") || strings.Contains(text, "SELECT patient_id FROM patient_phones") {
				t.Errorf("it looks at the names or phones of all: %s", text)
			}
		}
		f := Filter{IDs: []string{"P-2025-000001", "P-2025-000002"}, Identifier: "unknown|unknown"}
		where := s.where(f)
		for step := range strings.Lines(planOf(t, s, "SELECT id FROM "+f.table()+where.String(), where.args)) {
			if readsIdentifiers.MatchString(step) && !strings.Contains(step, "patient_identifiers_by_patient") {
				t.Errorf("it looks at the identifiers of others: %s", step)
			}
		}
	})
}

var readsIdentifiers = regexp.MustCompile(`(?i)(search|scan) .*patient_identifiers`)

// Nor does the plan depend on them: whatever is searched for, own records are found
// by the primary key, and no index leads to the records of others.
func TestOwnRecordsAreFoundByTheirKeyAlone(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		fillPatients(t, s, 1500)
		if _, err := s.write.DB.Exec("ANALYZE"); err != nil {
			t.Fatal(err)
		}
		byKey := "SEARCH patients USING INDEX sqlite_autoindex_patients_1 (id=?)"
		if onPostgres(s) {
			byKey = "patients_pkey"
		}
		byKeyAlone := func(plan string) bool {
			return strings.Count(plan, byKey) == 1 && !strings.Contains(plan, "patients_by_") && !strings.Contains(plan, "Seq Scan on patients") && !strings.Contains(plan, "grams")
		}
		for _, owned := range []int{1, 2, 100} {
			var own []string
			for n := range owned {
				own = append(own, fmt.Sprintf("P-2025-%06d", n))
			}
			for _, c := range scaleFilters {
				c.filter.IDs = own
				counted, args, err := s.selectCount(context.Background(), c.filter)
				if err != nil {
					t.Fatal(err)
				}
				if plan := planOf(t, s, counted, args); !byKeyAlone(plan) {
					t.Errorf("%s of %d is counted with\n%s", c.name, owned, plan)
				}
				for _, order := range orderings {
					l := s.listingOf(c.filter, order)
					if len(l.leads) != 0 {
						t.Fatalf("%s of %d: %+v lead to others", c.name, owned, l.leads)
					}
					text, args := l.selectRows(s, PageRequest{First: 20}, order, setOf([]Column{ColEmail}, keyOfPage), conditions{})
					plan := planOf(t, s, text, args)
					if !byKeyAlone(plan) {
						t.Errorf("%s of %d:\n%s", c.name, owned, plan)
					}
				}
			}
		}
	})
}

// planOf returns the lines of a statement's plan; on PostgreSQL, with settings.
func planOf(t *testing.T, s *Store, text string, args []any, settings ...string) string {
	t.Helper()
	tx, err := s.read.DB.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	explain := "EXPLAIN QUERY PLAN "
	if onPostgres(s) {
		explain = "EXPLAIN "
		for _, setting := range settings {
			if _, err := tx.Exec(setting); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows, err := tx.Query(s.translate(explain+text), s.once(args)...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		line := make([]any, len(columns))
		for i := range line {
			line[i] = new(any)
		}
		if err := rows.Scan(line...); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&plan, *line[len(line)-1].(*any)) // SQLite has numbers before it
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// U+FDFA becomes 18 characters: however long a name is, its beginning alone is
// folded.
func TestOnlyTheBeginningOfANameIsFolded(t *testing.T) {
	long := strings.Repeat("\uFDFA", 1<<20/3)
	allocated := func(what func()) float64 {
		r := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				what()
			}
		})
		return float64(r.AllocedBytesPerOp())
	}
	usual := allocated(func() { keysOf(&FHIRState{FamilyName: strings.Repeat("\uFDFA", maxFold)}) })
	for name, what := range map[string]func(){
		"fold": func() { fold(long) }, "keys": func() { keysOf(&FHIRState{FamilyName: long}) },
	} {
		if bytes := allocated(what); bytes > 4*usual {
			t.Errorf("%s: %.0f bytes, %.0f for a long name", name, bytes, usual)
		}
	}
	if key := keysOf(&FHIRState{FamilyName: strings.Repeat("가", 5*maxKey)}).name; !strings.HasPrefix(key, strings.Repeat("가", maxSortKey)+separator) {
		t.Errorf("of a long name remains %q", key)
	}
}

// Lists and counts leave connections for the reads of single patients, and who
// waits for a place waits no longer than the request lives.
func TestListsLeaveRoomForPatients(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1"})
		if most := s.read.DB.Stats().MaxOpenConnections; most > 1 && s.searches.size > most/2 {
			t.Errorf("%d of %d connections may list", s.searches.size, most)
		}
		for range s.searches.size {
			if err := s.searches.take(context.Background(), "somebody"); err != nil {
				t.Fatal(err)
			}
		}
		ended, end := context.WithCancel(context.Background())
		end()
		if _, err := s.Patients(ended, PageRequest{Order: OrderNameAsc, First: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("a list: %v", err)
		}
		each := func(*Patient) { t.Error("a patient of a list is read") }
		if _, err := s.EachPatient(ended, PageRequest{Order: OrderNameAsc, First: 1}, each); !errors.Is(err, errSearches) {
			t.Errorf("each of a list: %v", err)
		}
		if _, err := s.CountPatients(ended, Filter{}); !errors.Is(err, context.Canceled) {
			t.Errorf("a count: %v", err)
		}
		if _, err := s.Patient(context.Background(), "P-1"); err != nil {
			t.Errorf("a patient: %v", err)
		}
		for range s.searches.size {
			s.searches.giveBack()
		}
		if _, err := s.CountPatients(context.Background(), Filter{}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if n := s.searches.inUse(); n != 0 {
			t.Errorf("%d places were not given back", n)
		}
	})
}

// A page is the same whether its matches are few, and sorted, or many, and met
// on a walk.
func TestFewAndManyMatchesAreTheSame(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, open(t))
			fillPatients(t, s, 3000)
			numbered(t, s)
			for o := range orderings {
				var all []string // by a walk: every patient has an a
				for _, f := range []Filter{{Name: "a"}, {Gender: "other"}} {
					n, err := s.CountPatients(context.Background(), f)
					if err != nil {
						t.Fatal(err)
					}
					got := walk(t, s, PageRequest{Order: o, Filter: f, Columns: []Column{ColGender}}, 199, true, func() {})
					if back := walk(t, s, PageRequest{Order: o, Filter: f, Columns: []Column{ColGender}}, 199, false, func() {}); !slices.Equal(got, back) {
						t.Errorf("%s: forward and back differ", o)
					}
					if len(got) != n || f.Name != "" && n < usualEffort.few || f.Gender != "" && n >= usualEffort.few {
						t.Fatalf("%+v: %d of %d", f, len(got), n)
					}
					if f.Name != "" {
						all = got
						continue
					}
					if of := slices.DeleteFunc(all, func(id string) bool { return !slices.Contains(got, id) }); !slices.Equal(of, got) {
						t.Errorf("%s: few matches are in another order than many", o)
					}
				}
			}
		})
	}
}
