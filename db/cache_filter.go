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
	ID           string    // exactly this one: a patient's own record
	Name         string    // any part of a name
	Phone        string    // the whole number; its digits are compared
	FHIRID       string    // exactly this one
	Identifier   string    // any identifier, see whereIdentifier
	BirthDate    string    // a date, or the year or month that contains it
	Gender       string    // FHIR code
	SyncState    SyncState // "" = any
	UpdatedSince time.Time // changed at or after
	None         bool      // matches nothing, and the database is not asked: the time that it takes would tell what it holds
}

// nothing reports whether nothing can match, so that the database need not be
// asked: of a name only the first maxFold characters are compared, and no name in
// the cache has so many.
func (f Filter) nothing() bool { return f.None || longer(f.Name, maxFold) }

// anySyncState is true of every row. The index patients_by_filters begins with
// the state: only a statement that names the states can use what follows there.
var anySyncState = "sync_state IN ('" + strings.Join(syncStates, "', '") + "')"

// fewMatches is below how many matches are sorted for a page. More match so
// many that walking the order of the page soon finds enough.
const fewMatches = 2000

// where returns the conditions of a filter.
func (s *Store) where(ctx context.Context, f Filter) (conditions, error) {
	var c conditions
	if f.ID != "" {
		c.add("id = ?", clean(f.ID))
	}
	switch key := digits(f.Phone); {
	case f.Phone == "":
	case key != "":
		c.add("phone_key = ?", key)
	default: // in the words of the index patients_by_words
		c.add("phone_key = '' AND phone <> '' AND phone = ?", clean(f.Phone))
	}
	if f.FHIRID != "" {
		c.add("fhir_id = ?", clean(f.FHIRID))
	}
	if f.Identifier != "" {
		whereIdentifier(&c, f.Identifier, f.ID)
	}
	if f.BirthDate != "" {
		// '-' sorts before '.': from 1949 up to, but not, 1949. are 1949 and 1949-….
		c.add("birth_date >= ? AND birth_date < ?", clean(f.BirthDate), clean(f.BirthDate)+".")
	}
	switch {
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
	return c, s.whereName(ctx, &c, fold(f.Name), f.ID == "")
}

// whereName finds any part of a name, of any length and script. In a search
// among all patients the grams lead to the candidates where they are few. The
// search of one record must not take longer for a name that many have: it would
// tell that they do.
func (s *Store) whereName(ctx context.Context, c *conditions, name string, amongAll bool) error {
	if name == "" {
		return nil
	}
	c.add("strpos(name_key, ?) > 0", name)
	if !amongAll {
		return nil
	}
	var rarest conditions
	fewest := fewMatches
	grams := searchGrams(name)
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

// searchGrams returns up to three grams, spread over the name, that a match
// must have: for a name of one or two characters the name itself, to which
// grams are compared by their beginning.
func searchGrams(name string) []string {
	runes := []rune(name)
	if len(runes) <= 3 {
		return []string{name}
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
	n, err := s.number(ctx, "SELECT count(*) FROM patients"+c.String(), c.args...)
	if err != nil {
		return 0, fmt.Errorf("count patients: %w", err)
	}
	return n, nil
}

// search waits for one of the places that lists and counts have: the other
// connections are for the reads of single patients. done gives it back.
func (s *Store) search(ctx context.Context) (done func(), err error) {
	select {
	case s.searches <- struct{}{}:
		return func() { <-s.searches }, nil
	case <-ctx.Done():
		return nil, errors.Join(errSearches, ctx.Err())
	}
}

var errSearches = errors.New("too many lists and counts are under way")
