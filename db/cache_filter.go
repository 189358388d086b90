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

// fewMatches is below how many matches are sorted for a page. More match so
// many that walking the order of the page soon finds enough.
const fewMatches = 2000

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
// then their own. What is listed is asked last: the others decide how the patients
// are found, and each index knows this one.
func (s *Store) where(ctx context.Context, f Filter) (conditions, error) {
	var c conditions
	for _, id := range f.IDs { // of the table: they come first
		c.args = append(c.args, clean(id))
	}
	switch keys := s.list(phoneSearch(f.Phone, f.PhoneRegion)); {
	case f.Phone == "":
	case len(f.IDs) == 0:
		c.add("id IN (SELECT patient_id FROM patient_phones WHERE phone_key = ANY(?))", keys)
	default: // it must not take longer for a number that many have
		c.add("EXISTS (SELECT 1 FROM patient_phones WHERE phone_key = ANY(?) AND patient_id = patients.id)", keys)
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
	if f.BirthDate != "" {
		// '-' sorts before '.': from 1949 up to, but not, 1949. are 1949 and 1949-….
		c.add("birth_date >= ? AND birth_date < ?", clean(f.BirthDate), clean(f.BirthDate)+".")
	}
	switch {
	case f.SyncState == Synced, f.SyncState == Stale:
		c.add("sync_state = 'SYNCED'")
		f.Freshness.where(&c, f.SyncState == Stale, s.list)
	case f.SyncState != "":
		c.add("sync_state = ?", clean(string(f.SyncState)))
	case f.Gender != "":
		c.add(anySyncState)
	}
	switch f.Gender {
	case "":
	case "unknown": // what FHIR does not define is shown as unknown
		c.add("gender NOT IN ('male', 'female', 'other')")
	default:
		c.add("gender = ?", clean(f.Gender))
	}
	if !f.UpdatedSince.IsZero() {
		c.add("updated_at >= ?", toMicros(f.UpdatedSince))
	}
	if c.nothing {
		return c, nil
	}
	err := s.whereName(ctx, &c, searchWords(f.Name), len(f.IDs) == 0)
	c.all = len(c.texts) == 0
	if f.ChangedAfter != nil { // the page walks along these alone
		c.add("change_seq > 0 AND change_seq > ?", *f.ChangedAfter)
	}
	if f.IncludeInactive {
		c.add("listed >= 0")
	} else {
		c.add("listed = 1")
	}
	return c, err
}

// maxGrams bounds how many grams of a search are looked up.
const maxGrams = 6

// whereName finds words that are each any part of a name, of any length and
// script. In a search among all patients the grams lead to the candidates where
// they are few. The search of own records must not take longer for a name that
// many have: it would tell that they do.
func (s *Store) whereName(ctx context.Context, c *conditions, words []string, amongAll bool) error {
	var grams []string
	for _, word := range words {
		c.add("strpos(search_key, ?) > 0", word)
		grams = append(grams, searchGrams(word)...)
	}
	if len(words) == 0 || !amongAll {
		return nil
	}
	grams = grams[:min(len(grams), maxGrams)]
	var rarest conditions
	fewest := fewMatches
	for _, g := range grams {
		var with conditions
		if longer(g, 2) {
			with.add("gram = ?", g)
		} else {
			with.add("gram >= ? AND gram < ?", g, g+"\U0010FFFF")
		}
		n, err := s.number(ctx, "SELECT count(*) FROM (SELECT 1 FROM patient_name_grams"+with.String()+" LIMIT ?) AS found",
			append(with.args, fewMatches)...)
		if err != nil {
			return fmt.Errorf("search names: %w", err)
		}
		if n < fewest {
			rarest, fewest = with, n
		}
		if fewest < fewMatches/10 {
			break
		}
	}
	c.nothing = fewest == 0
	c.many = len(c.texts) == 1 && len(grams) == 1 && fewest == fewMatches // the gram is all that is asked
	if fewest < fewMatches {
		c.add("id IN (SELECT patient_id FROM patient_name_grams"+rarest.String()+")", rarest.args...)
	}
	return nil
}

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
	c, err := s.where(ctx, f)
	if err != nil {
		return 0, fmt.Errorf("count patients: %w", err)
	}
	if c.nothing {
		return 0, nil
	}
	n, err := s.number(ctx, "SELECT count(*) FROM "+f.table()+c.String(), c.args...)
	if err != nil {
		return 0, fmt.Errorf("count patients: %w", err)
	}
	return n, nil
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
