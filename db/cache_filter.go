package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Filter says which patients; every part given must match.
type Filter struct {
	IDs          []string  // among these: the records that a viewer may see
	Name         string    // words in any order, each any part of a name
	Phone        string    // a whole number; its digits are compared
	PhoneRegion  string    // where Phone is dialled; "" = not known
	FHIRIDs      []string  // of IDs, who must have one of these; none = whoever has the numbers
	FHIRID       string    // exactly this one
	Identifier   string    // any identifier, see whereIdentifier
	BirthDate    string    // a date, or the year or month that contains it
	Gender       string    // FHIR code
	SyncState    SyncState // "" = any
	Freshness    Freshness // which rows are Stale and not Synced
	UpdatedSince time.Time // changed at or after
	ChangedAfter *int64    // their ChangeSeq is greater; nil = any, and none

	ofAnyAge bool // the SYNCED are those that are STALE too

	IncludeInactive bool // also those that are inactive, or were merged into another

	None bool // matches nothing, and the database is not asked: the time that it takes would tell what it holds
}

// nothing reports whether nothing can match, so that the database need not be
// asked: of a name only the first maxFold characters are compared, and no name in
// the cache has so many. Of punctuation alone nothing is compared.
func (f Filter) nothing() bool {
	return f.None || longer(f.Name, maxFold) || f.Name != "" && fold(f.Name) == "" ||
		f.Phone != "" && len(phoneSearch(f.Phone, f.PhoneRegion)) == 0
}

// anySyncState is true of every row. The index patients_by_filters begins with
// the state: only a statement that names the states can use what follows there.
var anySyncState = "sync_state IN ('" + strings.Join(syncStates, "', '") + "')"

// table is what is searched. Records that a viewer may see are read first, by the
// primary key, and everything else is asked of them alone: with an index on what
// is searched for, the time would tell how many others have it.
func (f Filter) table() string {
	if len(f.IDs) == 0 {
		return "patients"
	}
	return "(WITH own AS MATERIALIZED (SELECT * FROM patients WHERE id IN (?" + strings.Repeat(", ?", len(f.IDs)-1) +
		")) SELECT * FROM own) AS patients"
}

// where returns the conditions of a filter; the arguments are those of table and
// then their own. What is listed is asked last: each index knows this one.
func (s *Store) where(f Filter) conditions {
	var c conditions
	for _, id := range f.IDs { // of the table: they come first
		c.args = append(c.args, clean(id))
	}
	if f.Phone != "" {
		c.add("EXISTS (SELECT 1 FROM patient_phones WHERE phone_key = ANY(?) AND patient_id = patients.id)", s.list(phoneSearch(f.Phone, f.PhoneRegion)))
	}
	if len(f.FHIRIDs) > 0 {
		c.add("fhir_id = ANY(?)", s.list(cleanAll(f.FHIRIDs)))
	}
	if f.FHIRID != "" {
		c.add("fhir_id = ?", clean(f.FHIRID))
	}
	if f.Identifier != "" {
		whereIdentifier(&c, f.Identifier, f.IDs)
	}
	c.join(whereBirthDate(f))
	c.join(whereState(f))
	if (f.SyncState == Synced || f.SyncState == Stale) && !f.ofAnyAge {
		f.Freshness.where(&c, f.SyncState == Stale, s.list)
	}
	c.join(whereGender(f))
	c.join(whereUpdated(f))
	for _, word := range searchWords(f.Name) {
		c.add("strpos(search_key, ?) > 0", word)
	}
	c.all = len(c.texts) == 0
	c.join(whereChanged(f))
	if f.IncludeInactive {
		c.add("listed >= 0")
	} else {
		c.add("listed = 1")
	}
	return c
}

func whereBirthDate(f Filter) conditions {
	if f.BirthDate == "" {
		return conditions{}
	}
	// '-' sorts before '.': from 1949 up to, but not, 1949. are 1949 and 1949-….
	return of("birth_date >= ? AND birth_date < ?", clean(f.BirthDate), clean(f.BirthDate)+".")
}

func whereState(f Filter) conditions {
	switch {
	case f.SyncState == Synced, f.SyncState == Stale:
		return of("sync_state = 'SYNCED'")
	case f.SyncState != "":
		return of("sync_state = ?", clean(string(f.SyncState)))
	}
	return conditions{}
}

func whereGender(f Filter) conditions {
	switch f.Gender {
	case "":
		return conditions{}
	case "unknown": // what FHIR does not define is shown as unknown; patients_of_unknown_gender has the same words
		return of("gender NOT IN ('male', 'female', 'other')")
	}
	return of("gender = ?", clean(f.Gender))
}

func whereUpdated(f Filter) conditions {
	if f.UpdatedSince.IsZero() {
		return conditions{}
	}
	return of("updated_at >= ?", toMicros(f.UpdatedSince))
}

func whereChanged(f Filter) conditions {
	if f.ChangedAfter == nil {
		return conditions{}
	}
	return of("change_seq > 0 AND change_seq > ?", *f.ChangedAfter)
}

// CountPatients counts what matches.
func (s *Store) CountPatients(ctx context.Context, f Filter) (int, error) {
	if f.nothing() {
		return 0, nil
	}
	done, err := s.search(ctx)
	if err != nil {
		return 0, fmt.Errorf("count patients: %w", err)
	}
	defer done()
	text, args, err := s.selectCount(ctx, f)
	if err != nil || text == "" {
		return 0, err
	}
	n, err := s.number(ctx, text, args...)
	if err != nil {
		return 0, fmt.Errorf("count patients: %w", err)
	}
	return n, nil
}

// selectCount counts what the shortest lead leads to, or else reads the index of the
// filters. Where few are stale, or few are not, those are counted and taken from all that
// are SYNCED. "": nothing matches.
func (s *Store) selectCount(ctx context.Context, f Filter) (text string, args []any, err error) {
	table, where := f.table(), s.where(f)
	if where.nothing {
		return "", nil, nil
	}
	count := func() (string, []any, error) {
		return "SELECT count(*) FROM " + table + where.String(), where.args, nil
	}
	if len(f.IDs) > 0 || where.all {
		return count()
	}
	best, entries, err := s.shortest(ctx, s.leads(f), s.effort.gathered)
	switch {
	case err != nil || entries == 0:
		return "", nil, err
	case entries < s.effort.gathered:
		table, where = best.follow(s, where)
		return count()
	}
	if others := map[SyncState]SyncState{Synced: Stale, Stale: Synced}[f.SyncState]; others != "" {
		rest := f
		rest.SyncState, f.ofAnyAge = others, true
		best, entries, err := s.shortest(ctx, s.leads(rest), s.effort.gathered)
		switch {
		case err != nil:
			return "", nil, err
		case entries == s.effort.gathered:
			return count()
		}
		all := s.where(f)
		table, where := best.follow(s, s.where(rest))
		return "SELECT (SELECT count(*) FROM " + s.along("patients", "patients_by_filters") + all.String() + ") - (SELECT count(*) FROM " + table + where.String() + ")",
			append(all.args, where.args...), nil
	}
	if f.Gender != "" && f.SyncState == "" {
		where.add(anySyncState)
	}
	return count()
}

// search waits for one of the places that lists and counts have: the other
// connections are for the reads of single patients. done gives it back.
func (s *Store) search(ctx context.Context) (done func(), err error) {
	if err := s.searches.take(ctx, s.Caller(ctx)); err != nil {
		return nil, errors.Join(errSearches, err)
	}
	return s.searches.giveBack, nil
}

var errSearches = errors.New("too many lists and counts are under way")
