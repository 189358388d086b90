package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// maxPrepared bounds the statements kept; clients choose the columns.
const maxPrepared = 256

// Patient returns one row with the columns asked for and the keys; without
// columns, every column. ErrNotFound.
func (s *Store) Patient(ctx context.Context, id string, columns ...Column) (*Patient, error) {
	set := setOf(columns)
	p, err := s.patientRow(ctx, set, clean(id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read patient: %w", err)
	}
	return p, nil
}

// patientRow runs the hottest query, prepared once for each set of columns:
// bun would write the argument into the text and have it parsed every time.
func (s *Store) patientRow(ctx context.Context, set columnSet, id string) (*Patient, error) {
	s.mu.Lock()
	statement, full := s.byColumns[set], s.pooled || len(s.byColumns) >= maxPrepared
	s.mu.Unlock()
	if statement != nil {
		return set.scan(statement.QueryRowContext(ctx, id))
	}
	query := s.translate("SELECT " + set.names(", ") + " FROM patients WHERE id = ?")
	if full {
		return set.scan(s.read.DB.QueryRowContext(ctx, query, id))
	}
	statement, err := s.read.DB.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if first := s.byColumns[set]; first != nil { // somebody was quicker
		statement, first = first, statement
		defer first.Close()
	}
	s.byColumns[set] = statement
	s.mu.Unlock()
	return set.scan(statement.QueryRowContext(ctx, id))
}

// NumbersOfFHIR returns the numbers of the patients that have these FHIR ids, in no
// particular order; who is not in the cache is left out.
func (s *Store) NumbersOfFHIR(ctx context.Context, fhirIDs []string) ([]string, error) {
	if len(fhirIDs) == 0 {
		return nil, nil
	}
	args := make([]any, len(fhirIDs))
	for i, id := range fhirIDs {
		args[i] = clean(id)
	}
	rows, err := s.query(ctx, "SELECT id FROM patients WHERE fhir_id IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
	if err != nil {
		return nil, fmt.Errorf("read patient numbers: %w", err)
	}
	defer rows.Close()
	var numbers []string
	for rows.Next() {
		var number string
		if err := rows.Scan(&number); err != nil {
			return nil, fmt.Errorf("read patient numbers: %w", err)
		}
		numbers = append(numbers, number)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read patient numbers: %w", err)
	}
	return numbers, nil
}
