package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"
)

// NumbersOf returns the numbers of the records that these numbers and aliases name,
// each once, in the order of ids. What names no record stays as it is, and so does
// an alias that names two: it is nobody's.
func (s *Store) NumbersOf(ctx context.Context, ids []string) ([]string, error) {
	cleaned := cleanAll(ids)
	named, err := s.named(ctx, numbersByNumber, s.list(cleaned), s.list(cleaned))
	return distinct(cleaned, func(id string) string { return cmp.Or(named[id], id) }), err
}

// NumbersOfFHIR returns the numbers of the records that have these FHIR ids, each
// once, in the order of ids.
func (s *Store) NumbersOfFHIR(ctx context.Context, fhirIDs []string) ([]string, error) {
	cleaned := cleanAll(fhirIDs)
	named, err := s.named(ctx, numbersOfFHIR, s.list(cleaned))
	return distinct(cleaned, func(id string) string { return named[id] }), err
}

// distinct lists what the ids stand for, each once.
func distinct(ids []string, of func(id string) string) []string {
	var list []string
	for _, id := range ids {
		if name := of(id); name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func cleanAll(texts []string) []string {
	cleaned := make([]string, len(texts))
	for i, text := range texts {
		cleaned[i] = clean(text)
	}
	return cleaned
}

// named runs a statement that finds the number that each id names.
func (s *Store) named(ctx context.Context, st *statement, args ...any) (map[string]string, error) {
	rows, err := s.in(ctx, bun.Tx{}, st).QueryContext(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("look up patient numbers: %w", err)
	}
	defer rows.Close()
	named := map[string]string{}
	for rows.Next() {
		var id, number string
		if err := rows.Scan(&id, &number); err != nil {
			return nil, fmt.Errorf("look up patient numbers: %w", err)
		}
		if named[id] == "" || id == number { // what somebody has wins over an alias
			named[id] = number
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up patient numbers: %w", err)
	}
	return named, nil
}

// AliasesOf returns the aliases of these numbers, each with its number. Other
// records are not looked at, but for one that has an alias as its number: then it is
// none.
func (s *Store) AliasesOf(ctx context.Context, numbers []string) (map[string]string, error) {
	rows, err := s.in(ctx, bun.Tx{}, aliasesOf).QueryContext(ctx, s.list(cleanAll(numbers)))
	if err != nil {
		return nil, fmt.Errorf("look up aliases: %w", err)
	}
	defer rows.Close()
	aliases := map[string]string{}
	for rows.Next() {
		var alias, number string
		if err := rows.Scan(&alias, &number); err != nil {
			return nil, fmt.Errorf("look up aliases: %w", err)
		}
		aliases[alias] = number
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up aliases: %w", err)
	}
	return aliases, nil
}
