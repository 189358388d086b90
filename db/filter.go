package db

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// fewMatches is up to how many patients a name search reads by their ids.
// More match so many that walking the order of the page soon finds enough.
const fewMatches = 2000

// where adds the filter to a query.
func (s *Store) where(ctx context.Context, q *bun.SelectQuery, f Filter) (*bun.SelectQuery, error) {
	if f.None {
		q = q.Where("1 = 0")
	}
	if f.ID != "" {
		q = q.Where("id = ?", clean(f.ID))
	}
	if f.Phone != "" {
		if digits(f.Phone) == "" {
			q = q.Where("phone = ?", clean(f.Phone))
		} else {
			q = q.Where("phone_key = ?", digits(f.Phone))
		}
	}
	if f.BirthDate != "" {
		// '-' sorts before '.': from 1949 up to, but not, 1949. are 1949 and 1949-….
		q = q.Where("birth_date >= ? AND birth_date < ?", clean(f.BirthDate), clean(f.BirthDate)+".")
	}
	if f.Gender != "" {
		q = s.whereGender(q, f.Gender)
	}
	if f.SyncState != "" {
		q = q.Where("sync_state = ?", string(f.SyncState))
	}
	if !f.UpdatedSince.IsZero() {
		q = q.Where("updated_at >= ?", toMicros(f.UpdatedSince))
	}
	if name := fold(f.Name); name != "" {
		return s.whereName(ctx, q, name)
	}
	return q, nil
}

// whereGender finds what is shown as that gender: what FHIR does not define
// is shown as unknown.
func (s *Store) whereGender(q *bun.SelectQuery, gender string) *bun.SelectQuery {
	if gender == "unknown" {
		return q.Where("gender NOT IN ('male', 'female', 'other')")
	}
	return q.Where("gender = ?", gender)
}

// whereName finds any part of a name, of any length and script. The grams
// lead to the few candidates; where they are many, the name keys are compared
// while the order of the page is walked.
func (s *Store) whereName(ctx context.Context, q *bun.SelectQuery, name string) (*bun.SelectQuery, error) {
	position := "instr"
	if s.postgres {
		position = "strpos"
	}
	q = q.Where(position+"(name_key, ?) > 0", name)
	var best []string
	for i, g := range searchGrams(name) {
		ids, err := s.patientsWithGram(ctx, g)
		if err != nil {
			return nil, err
		}
		if i == 0 || len(ids) < len(best) {
			best = ids
		}
		if len(best) < fewMatches/10 {
			break
		}
	}
	switch {
	case len(best) == 0:
		return q.Where("1 = 0"), nil
	case len(best) < fewMatches:
		return q.Where("id IN (?)", bun.List(best)), nil
	default:
		return q, nil
	}
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

// patientsWithGram returns at most fewMatches ids.
func (s *Store) patientsWithGram(ctx context.Context, g string) ([]string, error) {
	q := s.read.NewSelect().Distinct().Column("patient_id").Table("patient_name_grams").Limit(fewMatches)
	if len([]rune(g)) < 3 {
		q = q.Where("gram >= ? AND gram < ?", g, g+"\U0010FFFF")
	} else {
		q = q.Where("gram = ?", g)
	}
	var ids []string
	if err := q.Scan(ctx, &ids); err != nil {
		return nil, fmt.Errorf("search names: %w", err)
	}
	return ids, nil
}
