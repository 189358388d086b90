package db

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patientgraph/jsonlimit"
)

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
	OrderChangeAsc     Order = "change-asc" // of the rows that have a ChangeSeq
)

// ordering is how an Order is run.
type ordering struct {
	column Column
	desc   bool
	index  string             // the index that lists the patients in this order
	sorted string             // the column, written so that no index is used for the order: the few matches are found first, then sorted
	key    func(*Patient) any // the value that a cursor holds
}

var orderings = map[Order]ordering{
	OrderCreatedDesc:   {ColCreatedAt, true, "patients_by_created", "created_at + 0", createdKey},
	OrderCreatedAsc:    {ColCreatedAt, false, "patients_by_created", "created_at + 0", createdKey},
	OrderUpdatedDesc:   {ColUpdatedAt, true, "patients_by_updated", "updated_at + 0", updatedKey},
	OrderUpdatedAsc:    {ColUpdatedAt, false, "patients_by_updated", "updated_at + 0", updatedKey},
	OrderNameAsc:       {colNameKey, false, "patients_by_name", "name_key || ''", nameOf},
	OrderNameDesc:      {colNameKey, true, "patients_by_name", "name_key || ''", nameOf},
	OrderBirthDateAsc:  {ColBirthDate, false, "patients_by_birth_date", "birth_date || ''", birthDateKey},
	OrderBirthDateDesc: {ColBirthDate, true, "patients_by_birth_date", "birth_date || ''", birthDateKey},
	OrderChangeAsc:     {ColChangeSeq, false, "patients_by_change", "change_seq + 0", changeKey},
}

func createdKey(p *Patient) any   { return toMicros(p.CreatedAt) }
func updatedKey(p *Patient) any   { return toMicros(p.UpdatedAt) }
func nameOf(p *Patient) any       { return p.keys.name }
func birthDateKey(p *Patient) any { return p.BirthDate }
func changeKey(p *Patient) any    { return p.ChangeSeq }

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
	Unreadable  []error // one for each row that cannot be shown
	Start, End  string  // cursors of the first and the last row, shown or not; "" = there is none
	HasNext     bool
	HasPrevious bool
	Order       Order
}

// Cursor is that of a patient of the page.
func (p *Page) Cursor(patient *Patient) string {
	return orderings[p.Order].cursorOf(p.Order, patient)
}

// cursor is a position: behind the patient with this key and id.
type cursor struct {
	Order Order  `json:"o"`
	Text  string `json:"t,omitempty"` // key of an order by text
	Time  int64  `json:"n,omitempty"` // key of an order by time or change
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
	if err != nil || strings.ContainsAny(text, "\r\n") || jsonlimit.Check(decoded, 1, 8) != nil { // base64 leaves line ends out
		return nil, "", ErrBadCursor
	}
	var c cursor
	if err := json.Unmarshal(decoded, &c); err != nil || c.Order != order || c.ID == "" || clean(c.ID+c.Text) != c.ID+c.Text {
		return nil, "", ErrBadCursor
	}
	if o.column == ColCreatedAt || o.column == ColUpdatedAt || o.column == ColChangeSeq {
		return c.Time, c.ID, nil
	}
	return c.Text, c.ID, nil
}

// CheckCursors looks at the cursors of a request. ErrBadCursor.
func (r PageRequest) CheckCursors() error {
	_, err := orderings[r.Order].between(r)
	return err
}

// between returns the conditions that the request's cursors are. ErrBadCursor.
func (o ordering) between(r PageRequest) (conditions, error) {
	var c conditions
	for _, bound := range []struct {
		cursor string
		after  bool
	}{{r.After, true}, {r.Before, false}} {
		if bound.cursor == "" {
			continue
		}
		key, id, err := o.parse(r.Order, bound.cursor)
		if err != nil {
			return c, err
		}
		comparison := " < "
		if bound.after != o.desc {
			comparison = " > "
		}
		c.add("("+columns[o.column].name+", id)"+comparison+"(?, ?)", key, id)
	}
	return c, nil
}

// Patients returns one page: keyset pagination, so that a page stays where it
// is when patients are added before it. ErrBadCursor.
func (s *Store) Patients(ctx context.Context, r PageRequest) (*Page, error) {
	o, known := orderings[r.Order]
	if !known || (r.First > 0) == (r.Last > 0) {
		return nil, fmt.Errorf("page of patients: order %q, first %d, last %d", r.Order, r.First, r.Last)
	}
	bounds, err := o.between(r)
	if err != nil {
		return nil, err
	}
	if r.Filter.nothing() {
		return r.page(nil), nil
	}
	rows, err := s.pageRows(ctx, r, o, bounds)
	if err != nil {
		return nil, fmt.Errorf("page of patients: %w", err)
	}
	return r.page(rows), nil
}

// pageRow is a row that was read, or could not be (ErrUnreadable).
type pageRow struct {
	patient *Patient
	err     error
}

// pageRows reads the rows of a page, and one more to see whether there are.
func (s *Store) pageRows(ctx context.Context, r PageRequest, o ordering, bounds conditions) ([]pageRow, error) {
	done, err := s.search(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	table, where, key, err := s.from(ctx, r.Filter, o)
	if err != nil || where.nothing {
		return nil, err
	}
	where.texts, where.args = append(where.texts, bounds.texts...), append(where.args, bounds.args...)
	direction := " ASC"
	if o.desc != (r.Last > 0) {
		direction = " DESC"
	}
	set := setOf(r.Columns) | 1<<o.column
	rows, err := s.query(ctx, "SELECT "+set.names(", ")+" FROM "+table+where.String()+
		" ORDER BY "+key+direction+", id"+direction+" LIMIT ?", append(where.args, max(r.First, r.Last)+1)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []pageRow
	for rows.Next() {
		p, err := set.scan(rows)
		if err != nil && !errors.Is(err, ErrUnreadable) {
			return nil, err
		}
		found = append(found, pageRow{p, err})
	}
	return found, rows.Err()
}

// from says where the rows of a page are looked for, and what they are sorted
// by. Few matches are found first and then sorted, for the walk along the order
// would pass by all others; many are met soon on that walk.
func (s *Store) from(ctx context.Context, f Filter, o ordering) (table string, where conditions, key string, err error) {
	table, key = f.table(), columns[o.column].name
	where, err = s.where(ctx, f)
	if o.column == ColChangeSeq { // as its index has it
		where.add("change_seq > 0")
	}
	if err != nil || len(f.IDs) > 0 || where.all || where.nothing {
		return table, where, key, err
	}
	n := fewMatches
	if !where.many {
		n, err = s.number(ctx, "SELECT count(*) FROM (SELECT 1 FROM patients"+where.String()+" LIMIT ?) AS found", append(where.args, fewMatches)...)
		if err != nil {
			return table, where, key, err
		}
	}
	if n < fewMatches {
		few := conditions{args: where.args, nothing: n == 0}
		few.add("id IN (SELECT id FROM patients" + where.String() + ")")
		return table, few, o.sorted, nil
	}
	return s.along(table, o.index), where, key, nil
}

// page makes a page of the rows that were read for it.
func (r PageRequest) page(rows []pageRow) *Page {
	size, backward := max(r.First, r.Last), r.Last > 0
	more := len(rows) > size
	rows = rows[:min(size, len(rows))]
	page := &Page{HasNext: more, HasPrevious: r.After != "", Order: r.Order}
	if backward {
		slices.Reverse(rows)
		page.HasNext, page.HasPrevious = r.Before != "", more
	}
	if len(rows) > 0 {
		page.Start, page.End = page.Cursor(rows[0].patient), page.Cursor(rows[len(rows)-1].patient)
	}
	for _, row := range rows {
		if row.err != nil {
			page.Unreadable = append(page.Unreadable, row.err)
			continue
		}
		page.Patients = append(page.Patients, row.patient)
	}
	return page
}
