package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// asOfAMillion has PostgreSQL plan as if the table had 200 times as many rows. SQLite
// plans without regard to how many there are.
func asOfAMillion(t *testing.T, s *Store) {
	t.Helper()
	if !onPostgres(s) {
		return
	}
	for _, text := range []string{
		"ANALYZE",
		"UPDATE pg_class SET reltuples = reltuples * 200 WHERE relname LIKE 'patient%' AND reltuples > 0",
	} {
		if _, err := s.write.DB.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
}

// readsAll is a step of a plan that reads every row of a table of patients.
var readsAll = regexp.MustCompile(`(?m)Seq Scan on patient|SCAN patient\w*($| USING (INTEGER )?PRIMARY| USING COVERING INDEX sqlite_auto)`)

// A list reads as many entries of an index as it says, whatever is asked for: neither the
// rows of all patients, nor are these sorted.
func TestThePlansOfLists(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		fillHospital(t, s, 3_000)
		asOfAMillion(t, s)
		columns := setOf(shownColumns, keyOfPage)
		r := PageRequest{First: 20}
		for _, c := range millionFilters(3_000) {
			for _, l := range s.leads(c.filter) {
				text, args := s.selectEntries([]lead{l}, usualEffort.few)
				plan := planOf(t, s, text, args)
				if !leadsBy(l, plan, onPostgres(s)) {
					t.Errorf("%s: the entries of %s are counted with\n%s", c.name, l.from(s), plan)
				}
			}
			for order, o := range orderings {
				if (c.filter.ChangedAfter != nil) != (order == OrderChangeAsc) {
					continue
				}
				r.Filter, r.Order = c.filter, order
				l := s.listingOf(c.filter, o)
				for i, lead := range l.leads {
					_, entries, err := s.shortest(context.Background(), l.leads[i:i+1], usualEffort.few)
					if err != nil {
						t.Fatal(err)
					}
					if entries == usualEffort.few { // nobody follows it
						continue
					}
					by := l.by(s, lead, o)
					text, args := by.selectRows(s, r, o, columns, conditions{})
					if plan := planOf(t, s, text, args); readsAll.MatchString(plan) {
						t.Errorf("%s, %s: what %s leads to is read with\n%s", c.name, order, lead.from(s), plan)
					}
				}
				bounds, err := o.between(PageRequest{Order: order, After: order.Cursor(&Patient{ID: "P-2025-000100", CreatedAt: testTime, UpdatedAt: testTime, ChangeSeq: 1})})
				if err != nil {
					t.Fatal(err)
				}
				for _, start := range []conditions{{}, bounds} {
					text, args := s.selectEnd(r, o, start, usualEffort.walks[0])
					if plan := planOf(t, s, text, args); !walksAlong(plan, o) {
						t.Errorf("%s, %s: the end of a walk is looked for with\n%s", c.name, order, plan)
					}
					if len(l.leads) > 0 && onPostgres(s) {
						continue // PostgreSQL reads by whichever index it finds best, up to that end
					}
					names := columns.names(", ")
					if l.within {
						names = "id"
					}
					if text, args = l.selectOrdered(r, o, names, start); !walksAlong(planOf(t, s, text, args), o) {
						t.Errorf("%s, %s: a walk is\n%s", c.name, order, planOf(t, s, text, args))
					}
				}
			}
		}
	})
}

// walksAlong reports whether a plan reads the index of an order, and sorts nothing.
func walksAlong(plan string, o ordering) bool {
	return strings.Contains(plan, o.index) && !readsAll.MatchString(plan) && !strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") && !strings.Contains(plan, "Sort")
}

// leadsBy reports whether a plan looks entries up in the index of a lead.
func leadsBy(l lead, plan string, postgres bool) bool {
	index := l.index
	switch {
	case strings.Contains(l.table, "patient_identifiers"):
		index = "patient_identifiers_by_key"
	case strings.Contains(l.table, "unseen"):
		index = "patients_unseen"
	case strings.Contains(l.table, "last_synced_at"):
		index = "patients_by_shown"
	case l.table != "" && postgres:
		index = l.table + "_pkey"
	case l.table != "":
		index = "SEARCH " + l.table + " USING PRIMARY KEY"
	case index == "":
		index = map[bool]string{true: "patients_fhir_id_key", false: "sqlite_autoindex_patients_2"}[postgres]
	}
	return strings.Contains(plan, index) && !readsAll.MatchString(plan)
}

// However a page finds its rows, they are those that fulfil the filter, in its order, and as
// many as are counted.
func TestPagesHoldWhatIsCounted(t *testing.T) {
	t.Parallel()
	const patients = 300
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		fillHospital(t, s, patients)
		if _, err := s.write.DB.Exec("UPDATE patients SET unseen_since = 1 WHERE birth_date LIKE '%-01-%' AND sync_state = 'SYNCED'"); err != nil {
			t.Fatal(err)
		}
		filters := millionFilters(patients)
		for _, f := range []Filter{{Gender: "female", UpdatedSince: testTime.Add(time.Second)}, {SyncState: Stale}, {SyncState: Synced}, {Name: "1", UpdatedSince: testTime}} {
			f.Freshness = Freshness{StaleBefore: testTime.Add(patients / 2 * time.Second), Looked: f.SyncState == Stale}
			filters = append(filters, filters[0])
			filters[len(filters)-1].name, filters[len(filters)-1].filter = fmt.Sprintf("%+v", f), f
		}
		forward := false
		for _, e := range []effort{{few: 5, walks: []int{8, 40, 60}, gathered: 90}, {few: 5, walks: []int{8, 40}, gathered: 5}} {
			s.effort = e
			for _, c := range filters {
				where := s.where(c.filter)
				for order, o := range orderings {
					if order == OrderChangeAsc && c.filter.ChangedAfter == nil {
						continue
					}
					direction := map[bool]string{true: " DESC", false: ""}[o.desc]
					want := textsOf(t, s, "SELECT id FROM patients"+where.String()+" ORDER BY "+o.sorted+direction+", id"+direction, where.args...)
					if n, err := s.CountPatients(ctx, c.filter); err != nil || n != len(want) {
						t.Errorf("%s, %+v: %d are counted (%v), want %d", c.name, e, n, err, len(want))
					}
					forward = !forward // each way is another order from the other end
					if got := walk(t, s, PageRequest{Order: order, Filter: c.filter, Columns: []Column{ColGender}}, 70, forward, func() {}); !slices.Equal(got, want) {
						t.Errorf("%s, %s, forward %v, %+v: %d, want %d", c.name, order, forward, e, len(got), len(want))
					}
				}
			}
		}
	})
}

// A count reads what the shortest lead leads to, or else an index that has all that is asked:
// never the table, whose rows are several times as long.
func TestThePlansOfCounts(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const times = 200 // see asOfAMillion; pages are as many times more
		fillHospital(t, s, 3_000)
		asOfAMillion(t, s)
		s.effort.gathered = usualEffort.gathered / times
		covered := map[bool]string{true: "Index Only Scan", false: "COVERING INDEX"}[onPostgres(s)]
		for _, c := range millionFilters(3_000) {
			text, args, err := s.selectCount(context.Background(), c.filter)
			if err != nil {
				t.Fatal(err)
			}
			leads := s.leads(c.filter)
			best, entries, err := s.shortest(context.Background(), leads, s.effort.gathered)
			if err != nil {
				t.Fatal(err)
			}
			if entries == 0 {
				if text != "" {
					t.Errorf("%s: nobody is counted by %s", c.name, text)
				}
				continue
			}
			plan := planOf(t, s, text, args, fmt.Sprint("SET LOCAL seq_page_cost = ", times), fmt.Sprint("SET LOCAL random_page_cost = ", times*1.1))
			right := strings.Contains(plan, covered) && !readsAll.MatchString(plan)
			for _, l := range leads {
				right = right && strings.Contains(plan, l.index)
			}
			if entries < s.effort.gathered {
				right = leadsBy(*best, plan, onPostgres(s))
			}
			if !right {
				t.Errorf("%s is counted with\n%s", c.name, plan)
			}
		}
	})
}

// One patient is looked up by keys alone, also by a number that the record had before.
func TestThePlanOfOnePatient(t *testing.T) {
	t.Parallel()
	watched(t, func(t *testing.T, s *Store, w *watch) {
		fillHospital(t, s, 500)
		asOfAMillion(t, s)
		w.take()
		if _, err := s.Patient(context.Background(), "P-2025-000001"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Patient(context.Background(), "nobody's"); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		texts := w.take()
		if len(texts) < 2 {
			t.Fatalf("only %q were seen", texts)
		}
		for _, text := range texts {
			args := slices.Repeat([]any{"P-2025-000001"}, strings.Count(text, "?")+strings.Count(text, "$"))
			if strings.Contains(text, "ANY(") { // several together
				args = []any{[]string{"P-2025-000001", "P-2025-000002"}}
			}
			plan := planOf(t, s, text, args)
			if strings.Contains(plan, "SCAN ") || strings.Contains(plan, "Seq Scan") || strings.Count(plan, " Scan using ") != strings.Count(plan, "Index Cond") {
				t.Errorf("%s:\n%s", text, plan)
			}
		}
	})
}

// A contact write leaves the indexes alone of which it changes no column: on SQLite each
// costs as much as the row.
func TestTheIndexesThatAContactWriteChanges(t *testing.T) {
	t.Parallel()
	s := openStore(t, "sqlite::memory:")
	for st, want := range map[*statement]string{
		markPending: "patients patients_by_filters patients_by_shown",
		updateRest:  "patients patients_by_change patients_by_filters patients_by_shown patients_by_updated patients_to_number",
	} {
		rows, err := s.write.DB.Query("EXPLAIN "+s.translate(st.text), make([]any, strings.Count(st.text, "?"))...)
		if err != nil {
			t.Fatal(err)
		}
		var roots []string
		for rows.Next() {
			var opcode, root string
			var rest any
			if err := rows.Scan(&rest, &opcode, &rest, &root, &rest, &rest, &rest, &rest); err != nil {
				t.Fatal(err)
			}
			if opcode == "OpenWrite" {
				roots = append(roots, root)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		got := textsOf(t, s, "SELECT name FROM sqlite_schema WHERE name LIKE 'patients%' AND rootpage IN ("+strings.Join(roots, ", ")+") ORDER BY name")
		if strings.Join(got, " ") != want {
			t.Errorf("%s\nchanges %v, want %s", st.text, got, want)
		}
	}
}
