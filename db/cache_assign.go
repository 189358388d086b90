package db

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// assignedNumber is what a number looks like that was assigned here: P-<year>-<sequence>.
var assignedNumber = regexp.MustCompile(`^P-\d{4}-\d{6,}$`)

// The statements that assign numbers.
var (
	takeNumbers = prepared(`INSERT INTO patient_sequences (year, last) VALUES (?, ?)
		ON CONFLICT (year) DO UPDATE SET last = patient_sequences.last + excluded.last RETURNING last`)
	takenNumbers = prepared(`SELECT id FROM patients WHERE id = ANY(?)
		UNION SELECT value FROM patient_identifiers WHERE kind IN ('FORMER', 'ALIAS') AND value = ANY(?)`)
)

// assign takes as many numbers as are needed, passing over those that hospitals'
// own numbers, in the database or just coming, already use.
func (s *Store) assign(ctx context.Context, tx bun.Tx, at time.Time, need int, coming map[string]*Patient) ([]string, error) {
	year := at.UTC().Year()
	var numbers []string
	for len(numbers) < need {
		missing := need - len(numbers)
		var last int64
		if err := s.in(ctx, tx, takeNumbers).QueryRowContext(ctx, year, missing).Scan(&last); err != nil {
			return nil, err
		}
		candidates := make([]string, 0, missing)
		for n := last - int64(missing) + 1; n <= last; n++ {
			candidates = append(candidates, fmt.Sprintf("P-%d-%06d", year, n))
		}
		taken, err := s.ids(ctx, tx, takenNumbers, s.list(candidates), s.list(candidates))
		if err != nil {
			return nil, err
		}
		for _, id := range candidates {
			if coming[id] == nil && !slices.Contains(taken, id) {
				numbers = append(numbers, id)
			}
		}
	}
	return numbers, nil
}
