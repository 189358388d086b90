package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"
)

// CachedPatient is a row of a patient that has a FHIR id, with what it is found by.
type CachedPatient struct {
	*Patient
	identifiers []identifierRow
}

var listFHIRIDs = preparedToRead(`SELECT fhir_id FROM patients WHERE fhir_id > ? ORDER BY fhir_id LIMIT ?`)

// FHIRIDs returns the first n FHIR ids after one, in their order.
func (s *Store) FHIRIDs(ctx context.Context, after string, n int) ([]string, error) {
	ids, err := s.ids(ctx, bun.Tx{}, listFHIRIDs, clean(after), n)
	if err != nil {
		return nil, fmt.Errorf("list FHIR ids: %w", err)
	}
	return ids, nil
}

// CountFHIRIDs returns how many patients have one.
func (s *Store) CountFHIRIDs(ctx context.Context) (int, error) {
	n, err := s.number(ctx, "SELECT count(fhir_id) FROM patients")
	if err != nil {
		return 0, fmt.Errorf("count FHIR ids: %w", err)
	}
	return n, nil
}

// CachedPatient returns the row of the patient with a FHIR id. With ErrUnreadable the
// rest of it is there. ErrNotFound.
func (s *Store) CachedPatient(ctx context.Context, fhirID string) (*CachedPatient, error) {
	row := s.queryRow(ctx, "SELECT "+allColumns.names(", ")+" FROM patients WHERE fhir_id = ?", clean(fhirID))
	p, err := allColumns.scan(row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, ErrNotFound
	case err != nil:
		return &CachedPatient{Patient: p}, fmt.Errorf("read patient: %w", err)
	}
	c := &CachedPatient{Patient: p}
	rows, err := s.query(ctx, "SELECT kind, value, system_key, value_key FROM patient_identifiers WHERE patient_id = ?", p.ID)
	if err != nil {
		return c, fmt.Errorf("read identifiers: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n identifierRow
		if err := rows.Scan(&n.kind, &n.value, &n.systemKey, &n.key); err != nil {
			return c, fmt.Errorf("read identifiers: %w", err)
		}
		c.identifiers = append(c.identifiers, n)
	}
	if err := rows.Err(); err != nil {
		return c, fmt.Errorf("read identifiers: %w", err)
	}
	return c, nil
}

// notShown are columns that say when and how a row was filled, not what it shows.
var notShown = []string{"filled", "fhir_version_id", "fhir_updated_at", "listed"}

// Differing names the fields in which a row differs from what an import of its patient
// would make of it now; nil: in none.
func (s *Store) Differing(ctx context.Context, c *CachedPatient, n NewPatient) ([]string, error) {
	imported := *c.Patient
	imported.show(n.State)
	imported.BirthDate, imported.Gender = atMost(imported.BirthDate, maxCode), atMost(imported.Gender, maxCode)
	var fields []string
	for _, column := range columns {
		if !slices.Contains(notShown, column.name) && column.value(c.Patient) != column.value(&imported) {
			fields = append(fields, fieldName(column.name))
		}
	}
	number, others, err := s.differingIdentifiers(ctx, c, n)
	if number {
		fields = append(fields, "id")
	}
	if others {
		fields = append(fields, "identifiers")
	}
	return fields, err
}

// fieldName is what the API calls a column.
func fieldName(column string) string {
	switch column {
	case "inactive":
		return "active"
	case "fhir_contact":
		return "emergencyContact"
	}
	words := strings.Split(column, "_")
	for n, word := range words[1:] {
		words[n+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// differingIdentifiers reports whether the row has another number than its patient, and
// does not claim it, and whether its other identifiers are not its patient's.
func (s *Store) differingIdentifiers(ctx context.Context, c *CachedPatient, n NewPatient) (number, others bool, err error) {
	if n.Number != "" && !isNumber(n.Number) { // as an import takes it
		n.Identifiers = append(slices.Clone(n.Identifiers), Identifier{System: n.NumberSystem, Value: n.Number})
		n.Number = ""
	}
	imported := map[identifierRow]bool{}
	for _, name := range withResource(c.identifiers, c.ID, n.Number != "" && n.Number != c.ID, n) {
		imported[name] = true
	}
	var missing []string // aliases: a number that somebody has is none
	for name := range imported {
		switch {
		case name.kind == kindNumber || name.kind == kindFormer || slices.Contains(c.identifiers, name):
		case name.kind == kindClaimed:
			number = true
		case name.kind == kindAlias:
			missing = append(missing, name.value)
		default:
			others = true
		}
	}
	for _, name := range c.identifiers {
		switch {
		case name.kind == kindNumber || name.kind == kindFormer || imported[name]:
		case name.kind == kindClaimed:
			number = true
		default:
			others = true
		}
	}
	if others || len(missing) == 0 {
		return number, others, nil
	}
	held, err := s.number(ctx, "SELECT count(*) FROM patients WHERE id = ANY(?)", s.list(missing))
	if err != nil {
		return number, others, fmt.Errorf("look up aliases: %w", err)
	}
	return number, held < len(missing), nil
}
