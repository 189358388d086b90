package db

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
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
var readsAll = regexp.MustCompile(`Seq Scan on patient|SCAN patient\w*($| USING (INTEGER )?PRIMARY| USING COVERING INDEX sqlite_auto)`)

// A list reads as many entries of an index as it says, whatever is asked for: neither the
// rows of all patients, nor are these sorted.
func TestThePlansOfLists(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		fillHospital(t, s, 5_000)
		asOfAMillion(t, s)
		columns := setOf(shownColumns)
		r := PageRequest{First: 20}
		for _, c := range millionFilters(5_000) {
			for _, l := range s.leads(c.filter) {
				text, args := s.selectEntries([]lead{l}, fewMatches)
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
				l := s.listing(c.filter, o)
				for i, lead := range l.leads {
					if _, entries, err := s.shortest(context.Background(), l.leads[i:i+1], fewMatches); err != nil || entries == fewMatches {
						continue // nobody follows it
					}
					by := l.by(s, lead, o)
					text, args := by.selectRows(r, o, columns, conditions{})
					if plan := planOf(t, s, text, args); readsAll.MatchString(plan) {
						t.Errorf("%s, %s: what %s leads to is read with\n%s", c.name, order, lead.from(s), plan)
					}
				}
				bounds, err := o.between(PageRequest{Order: order, After: o.cursorOf(order, &Patient{ID: "P-2025-000100", CreatedAt: testTime, UpdatedAt: testTime, ChangeSeq: 1})})
				if err != nil {
					t.Fatal(err)
				}
				for _, start := range []conditions{{}, bounds} {
					text, args := s.selectEnd(r, o, start, walks[0])
					if plan := planOf(t, s, text, args); !walksAlong(plan, o) {
						t.Errorf("%s, %s: the end of a walk is looked for with\n%s", c.name, order, plan)
					}
					if len(l.leads) > 0 && onPostgres(s) {
						continue // PostgreSQL reads by whichever index it finds best, up to that end
					}
					if text, args = l.selectRows(r, o, columns, start); !walksAlong(planOf(t, s, text, args), o) {
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
	case l.table == shownSince:
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

// One patient is read by a key, and what a list shows by it too.
func TestThePlanOfOnePatient(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		fillHospital(t, s, 5_000)
		asOfAMillion(t, s)
		if plan := planOf(t, s, fmt.Sprintf("SELECT %s FROM patients WHERE id = ?", allColumns.names(", ")), []any{"P-2025-000001"}); readsAll.MatchString(plan) {
			t.Error(plan)
		}
	})
}
