package db

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// Filter says which patients; every part given must match.
type Filter struct {
	ID           string    // exactly this one: a patient's own record
	Name         string    // any part of a name
	Phone        string    // the whole number; its digits are compared
	BirthDate    string    // a date, or the year or month that contains it
	Gender       string    // FHIR code
	SyncState    SyncState // "" = any
	UpdatedSince time.Time // changed at or after
	None         bool      // matches nothing
}

// Order is an order of patients; ties are broken by id.
type Order string

// The orders.
const (
	OrderCreatedDesc   Order = "created-desc"
	OrderCreatedAsc    Order = "created-asc"
	OrderUpdatedDesc   Order = "updated-desc"
	OrderUpdatedAsc    Order = "updated-asc"
	OrderNameAsc       Order = "name-asc"
	OrderNameDesc      Order = "name-desc"
	OrderBirthDateAsc  Order = "birth-asc"
	OrderBirthDateDesc Order = "birth-desc"
)

// ordering is how an Order is run.
type ordering struct {
	column Column
	desc   bool
	key    func(*Patient) any // the value that a cursor holds
}

var orderings = map[Order]ordering{
	OrderCreatedDesc:   {ColCreatedAt, true, func(p *Patient) any { return toMicros(p.CreatedAt) }},
	OrderCreatedAsc:    {ColCreatedAt, false, func(p *Patient) any { return toMicros(p.CreatedAt) }},
	OrderUpdatedDesc:   {ColUpdatedAt, true, func(p *Patient) any { return toMicros(p.UpdatedAt) }},
	OrderUpdatedAsc:    {ColUpdatedAt, false, func(p *Patient) any { return toMicros(p.UpdatedAt) }},
	OrderNameAsc:       {colNameKey, false, func(p *Patient) any { return p.nameKey }},
	OrderNameDesc:      {colNameKey, true, func(p *Patient) any { return p.nameKey }},
	OrderBirthDateAsc:  {ColBirthDate, false, func(p *Patient) any { return p.BirthDate }},
	OrderBirthDateDesc: {ColBirthDate, true, func(p *Patient) any { return p.BirthDate }},
}

// PageRequest asks for one page.
type PageRequest struct {
	Filter  Filter
	Order   Order
	First   int    // how many from the start; or
	Last    int    // how many from the end
	After   string // cursors of a page in the same order
	Before  string
	Columns []Column // none = every column
}

// Page is one page, in order.
type Page struct {
	Patients    []*Patient
	Cursors     []string // one for each patient
	HasNext     bool
	HasPrevious bool
}

// cursor is a position: behind the patient with this key and id.
type cursor struct {
	Order Order  `json:"o"`
	Text  string `json:"t,omitempty"` // key of an order by text
	Time  int64  `json:"n,omitempty"` // key of an order by time
	ID    string `json:"i"`
}

func (o ordering) cursorOf(order Order, p *Patient) string {
	c := cursor{Order: order, ID: p.ID}
	switch key := o.key(p).(type) {
	case string:
		c.Text = key
	case int64:
		c.Time = key
	}
	text, _ := json.Marshal(c) // strings and numbers always encode
	return base64.RawURLEncoding.EncodeToString(text)
}

// parse returns the key and id that a cursor stands for.
func (o ordering) parse(order Order, text string) (key any, id string, err error) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, "", ErrBadCursor
	}
	var c cursor
	if err := json.Unmarshal(decoded, &c); err != nil || c.Order != order || c.ID == "" || clean(c.ID+c.Text) != c.ID+c.Text {
		return nil, "", ErrBadCursor
	}
	if o.column == ColCreatedAt || o.column == ColUpdatedAt {
		return c.Time, c.ID, nil
	}
	return c.Text, c.ID, nil
}

// Patients returns one page: keyset pagination, so that a page stays where it
// is when patients are added before it. ErrBadCursor.
func (s *Store) Patients(ctx context.Context, r PageRequest) (*Page, error) {
	o, known := orderings[r.Order]
	if !known || (r.First > 0) == (r.Last > 0) {
		return nil, fmt.Errorf("page of patients: order %q, first %d, last %d", r.Order, r.First, r.Last)
	}
	set := setOf(r.Columns) | 1<<o.column
	q := s.read.NewSelect().ColumnExpr(set.names()).Table("patients")
	q, err := s.where(ctx, q, r.Filter)
	if err != nil {
		return nil, err
	}
	for _, bound := range []struct {
		cursor string
		after  bool
	}{{r.After, true}, {r.Before, false}} {
		if bound.cursor == "" {
			continue
		}
		key, id, err := o.parse(r.Order, bound.cursor)
		if err != nil {
			return nil, err
		}
		comparison := "<"
		if bound.after != o.desc {
			comparison = ">"
		}
		q = q.Where("(?, id) "+comparison+" (?, ?)", bun.Ident(columnNames[o.column]), key, id)
	}
	backward := r.Last > 0
	direction := "ASC"
	if o.desc != backward {
		direction = "DESC"
	}
	size := max(r.First, r.Last)
	q = q.OrderExpr("? "+direction+", id "+direction, bun.Ident(columnNames[o.column])).Limit(int64(size) + 1)

	patients, err := scanAll(ctx, q, set)
	if err != nil {
		return nil, fmt.Errorf("page of patients: %w", err)
	}
	more := len(patients) > size
	if more {
		patients = patients[:size]
	}
	page := &Page{Patients: patients, HasNext: more, HasPrevious: r.After != ""}
	if backward {
		slices.Reverse(patients)
		page.HasNext, page.HasPrevious = r.Before != "", more
	}
	for _, p := range patients {
		page.Cursors = append(page.Cursors, o.cursorOf(r.Order, p))
	}
	return page, nil
}

func scanAll(ctx context.Context, q *bun.SelectQuery, set columnSet) ([]*Patient, error) {
	rows, err := q.Rows(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var patients []*Patient
	for rows.Next() {
		p, err := set.scan(rows)
		if err != nil {
			return nil, err
		}
		patients = append(patients, p)
	}
	return patients, rows.Err()
}

// CountPatients counts what matches.
func (s *Store) CountPatients(ctx context.Context, f Filter) (int, error) {
	q, err := s.where(ctx, s.read.NewSelect().ColumnExpr("count(*)").Table("patients"), f)
	if err != nil {
		return 0, err
	}
	var n int
	if err := q.Scan(ctx, &n); err != nil {
		return 0, fmt.Errorf("count patients: %w", err)
	}
	return n, nil
}
