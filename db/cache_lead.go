package db

import (
	"context"
	"fmt"
	"strings"
)

// lead is an index that leads to all patients who fulfil a part of a filter. It asks no
// more than what the index begins with, so that reading n of its entries costs as much
// as n entries, however many patients there are.
type lead struct {
	table string     // another table, with its patient_id; or
	index string     // an index of patients
	where conditions // the beginning of the index
	order string     // its order, so that PostgreSQL takes no other way to count the entries
}

// leads lists the indexes that lead to the patients of a filter.
func (s *Store) leads(f Filter) []lead {
	var leads []lead
	add := func(table, index string, where conditions, order string) {
		leads = append(leads, lead{table, index, where, order})
	}
	if f.FHIRID != "" {
		add("", "", of("fhir_id = ?", clean(f.FHIRID)), "") // there is one at most: no index needs a name
	}
	if f.Phone != "" {
		add("patient_phones", "", of("phone_key = ANY(?)", s.list(phoneSearch(f.Phone, f.PhoneRegion))), "")
	}
	if f.Identifier != "" {
		all, args := identified(f.Identifier)
		add("("+all+") AS identified", "", conditions{args: args}, "")
	}
	if f.BirthDate != "" {
		add("", "patients_by_birth_date", whereBirthDate(f), " ORDER BY birth_date")
	}
	if f.Gender == "unknown" {
		add("", "patients_of_unknown_gender", whereGender(f), " ORDER BY id")
	} else if f.Gender != "" || f.SyncState != "" && f.SyncState != Stale && f.SyncState != Synced {
		where := whereState(f)
		if f.SyncState == "" {
			where = of(anySyncState)
		}
		if f.Gender != "" {
			where.join(whereGender(f))
			where.join(whereBirthDate(f))
		}
		add("", "patients_by_filters", where, "")
	}
	switch limit := toMicros(f.Freshness.StaleBefore); {
	case f.SyncState == Stale && f.Freshness.Looked:
		table, args := f.Freshness.unseen(s.list)
		add("("+table+") AS unseen", "", conditions{args: args}, "")
	case f.SyncState == Stale:
		add("", "patients_by_shown", of("sync_state = 'SYNCED' AND last_synced_at < ?", limit), " ORDER BY last_synced_at")
	case f.SyncState == Synced && !f.Freshness.Looked:
		add(s.shownSince(), "", conditions{args: []any{limit, limit}}, "")
	}
	if !f.UpdatedSince.IsZero() {
		add("", "patients_by_updated", whereUpdated(f), " ORDER BY updated_at")
	}
	var grams []string
	for _, word := range searchWords(f.Name) {
		grams = append(grams, searchGrams(word)...)
	}
	for _, g := range grams[:min(len(grams), maxGrams)] {
		if longer(g, 2) {
			add("patient_name_grams", "", of("gram = ?", g), "")
		} else {
			add("patient_name_grams", "", of("gram >= ? AND gram < ?", g, g+"\U0010FFFF"), "")
		}
	}
	return leads
}

// shownSince selects all rows that are not stale while the changes were not looked at.
func (s *Store) shownSince() string {
	return "(SELECT id AS patient_id FROM " + s.along("patients", "patients_by_shown") + " WHERE sync_state = 'SYNCED' AND last_synced_at >= ?" +
		" UNION ALL SELECT id FROM patients WHERE unseen_since > 0 AND unseen_since >= ?) AS shown"
}

// maxGrams bounds how many grams of a search are looked up.
const maxGrams = 6

// searchGrams returns up to three grams, spread over the word, that a match
// must have: for a word of one or two characters the word itself, to which
// grams are compared by their beginning.
func searchGrams(word string) []string {
	runes := []rune(word)
	if len(runes) <= 3 {
		return []string{word}
	}
	last := len(runes) - 3
	return []string{string(runes[:3]), string(runes[last:]), string(runes[last/2 : last/2+3])}
}

// source is the table in which the entries of the lead are read.
func (l lead) source(s *Store) string {
	switch {
	case l.table != "":
		return l.table
	case l.index != "":
		return s.along("patients", l.index)
	}
	return "patients"
}

// from is where the entries of the lead are read.
func (l lead) from(s *Store) string { return l.source(s) + l.where.String() }

// follow returns the table and conditions of the patients to whom the lead leads and
// who fulfil the others.
func (l lead) follow(s *Store, where conditions) (table string, both conditions) {
	if l.table == "" {
		table, both = l.source(s), l.where
	} else {
		table, both = s.along("patients", primaryKey), of(s.among("SELECT patient_id FROM "+l.from(s)), l.where.args...)
	}
	both.join(where)
	return table, both
}

// primaryKey is the name that SQLite gives to the index of patients.id.
const primaryKey = "sqlite_autoindex_patients_1"

// shortest returns the lead with the fewest entries, and how many these are, at most so
// many. nil: there is no lead.
func (s *Store) shortest(ctx context.Context, leads []lead, atMost int) (best *lead, entries int, err error) {
	if len(leads) == 0 {
		return nil, atMost, nil
	}
	counts, targets := make([]int, len(leads)), make([]any, len(leads))
	for i := range leads {
		targets[i] = &counts[i]
	}
	text, args := s.selectEntries(leads, atMost)
	if err := s.queryRow(ctx, text, args...).Scan(targets...); err != nil {
		return nil, 0, fmt.Errorf("count what the indexes lead to: %w", err)
	}
	best, entries = &leads[0], counts[0]
	for i, n := range counts {
		if n < entries {
			best, entries = &leads[i], n
		}
	}
	return best, entries, nil
}

// selectEntries counts how many entries each lead has, at most so many.
func (s *Store) selectEntries(leads []lead, atMost int) (text string, args []any) {
	var texts []string
	for _, l := range leads {
		texts = append(texts, "(SELECT count(*) FROM (SELECT 1 FROM "+l.from(s)+l.order+" LIMIT ?) AS found)")
		args = append(append(args, l.where.args...), atMost)
	}
	return "SELECT " + strings.Join(texts, ", "), args
}
