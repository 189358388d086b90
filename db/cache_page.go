package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

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

// CheckCursors looks at the cursors of a request. ErrBadCursor.
func (r PageRequest) CheckCursors() error {
	_, err := orderings[r.Order].between(r)
	return err
}

// Patients returns one page: keyset pagination, so that a page stays where it
// is when patients are added before it. ErrBadCursor.
func (s *Store) Patients(ctx context.Context, r PageRequest) (*Page, error) {
	o, bounds, err := r.check()
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

// EachPatient is Patients for who needs a patient no longer than until each returns: where the
// rows are read in the order of the page, the next one takes its place. The Page has none.
func (s *Store) EachPatient(ctx context.Context, r PageRequest, each func(*Patient)) (*Page, error) {
	o, bounds, err := r.check()
	if err != nil {
		return nil, err
	}
	l := s.listingOf(r.Filter, o)
	if r.Last > 0 || len(l.leads) > 0 || l.where.nothing || r.Filter.nothing() {
		page, err := s.Patients(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Patients {
			each(p)
		}
		page.Patients = nil
		return page, nil
	}
	done, err := s.search(ctx)
	if err != nil {
		return nil, fmt.Errorf("page of patients: %w", err)
	}
	defer done()
	page := &Page{HasPrevious: r.After != "", Order: r.Order}
	read := 0
	var last *Patient // the place of all; it keeps the last one when all are read
	err = s.eachOfPage(ctx, r, o, l, bounds, func(p *Patient, unreadable error) {
		if read++; read > r.First {
			page.HasNext = true
			return
		}
		if last = p; read == 1 {
			page.Start = page.Order.Cursor(p)
		}
		if read == r.First { // one more may take its place
			page.End = page.Order.Cursor(p)
		}
		if unreadable != nil {
			page.Unreadable = append(page.Unreadable, unreadable)
			return
		}
		each(p)
	})
	if err != nil {
		return nil, fmt.Errorf("page of patients: %w", err)
	}
	if 0 < read && read < r.First {
		page.End = page.Order.Cursor(last)
	}
	return page, nil
}

// check returns how the page is ordered, and between what it lies. ErrBadCursor.
func (r PageRequest) check() (ordering, conditions, error) {
	o, known := orderings[r.Order]
	if !known || (r.First > 0) == (r.Last > 0) {
		return o, conditions{}, fmt.Errorf("page of patients: order %q, first %d, last %d", r.Order, r.First, r.Last)
	}
	bounds, err := o.between(r)
	return o, bounds, err
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
	l := s.listingOf(r.Filter, o)
	if l.where.nothing {
		return nil, nil
	}
	if len(l.leads) == 0 {
		return s.rows(ctx, r, o, l, bounds)
	}
	best, entries, err := s.shortest(ctx, l.leads, s.effort.few)
	if err != nil || entries == 0 {
		return nil, err
	}
	if entries < s.effort.few {
		return s.rows(ctx, r, o, l.by(s, *best, o), bounds)
	}
	steps := s.effort.walks
	if !o.covers(r.Filter) {
		steps = steps[:len(steps)-1]
	}
	for _, n := range steps {
		end, err := s.walkEnd(ctx, r, o, bounds, n)
		if err != nil {
			return nil, err
		}
		upTo := bounds
		upTo.join(end)
		found, err := s.rows(ctx, r, o, l, upTo)
		if err != nil || len(end.texts) == 0 || len(found) > max(r.First, r.Last) {
			return found, err
		}
	}
	if best, entries, err = s.shortest(ctx, l.leads, s.effort.gathered); err != nil {
		return nil, err
	}
	if entries < s.effort.gathered {
		l = l.by(s, *best, o)
	}
	return s.rows(ctx, r, o, l, bounds)
}

// effort is how a page finds its rows. What few fulfil is found by the index that leads to
// them, and sorted. What many do is met soon on a walk along the order of the page, unless
// they all stand at its other end, or each part is of many and all together of few: so the
// walks end after so many entries, and what the best index leads to is sorted after all.
type effort struct {
	few      int   // sorted at once, where there are fewer
	walks    []int // the last one only if the index of the order has all that is asked, see covers
	gathered int   // sorted after the walks, where there are fewer
}

var usualEffort = effort{few: 1_000, walks: []int{250, 4_000, 16_000}, gathered: 50_000}

// listing is where the rows of a page are looked for, and what they are sorted by.
type listing struct {
	table string
	where conditions
	key   string
	leads []lead // none: the table is read as it is

	within bool // the index has all that is asked: PostgreSQL reads of the table who was found alone
}

// listingOf is that of a walk along the order, with what could lead elsewhere.
func (s *Store) listingOf(f Filter, o ordering) listing {
	l := listing{table: f.table(), where: s.where(f), key: columns[o.column].name}
	if o.column == ColChangeSeq { // as its index has it
		l.where.add("change_seq > 0")
	}
	if len(f.IDs) > 0 || l.where.nothing {
		return l
	}
	if rest := s.where(o.others(f)); !l.where.all && !rest.all {
		l.leads, l.within = s.leads(f), o.covers(f)
	}
	if !l.where.all {
		l.table = s.along(l.table, o.index)
	}
	return l
}

// by follows a lead instead.
func (l listing) by(s *Store, best lead, o ordering) listing {
	table, where := best.follow(s, l.where)
	return listing{table: table, where: where, key: o.sorted}
}

// walkEnd asks that rows are among the next n of the order. No conditions: there are fewer.
func (s *Store) walkEnd(ctx context.Context, r PageRequest, o ordering, bounds conditions, n int) (conditions, error) {
	var key any
	var id string
	text, args := s.selectEnd(r, o, bounds, n)
	err := s.queryRow(ctx, text, args...).Scan(&key, &id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return conditions{}, nil
	case err != nil:
		return conditions{}, fmt.Errorf("look where a walk ends: %w", err)
	}
	comparison := " <= "
	if o.direction(r) == " DESC" {
		comparison = " >= "
	}
	return of("("+columns[o.column].name+", id)"+comparison+"(?, ?)", key, id), nil
}

func (s *Store) selectEnd(r PageRequest, o ordering, bounds conditions, n int) (text string, args []any) {
	where, name, direction := o.part(r.Filter), columns[o.column].name, o.direction(r)
	where.join(bounds)
	return "SELECT " + name + ", id FROM " + s.along("patients", o.index) + where.String() +
		" ORDER BY " + name + direction + ", id" + direction + " LIMIT 1 OFFSET ?", append(where.args, n)
}

// rows reads the rows of a page from where the listing says.
func (s *Store) rows(ctx context.Context, r PageRequest, o ordering, l listing, bounds conditions) ([]pageRow, error) {
	found := make([]pageRow, 0, max(r.First, r.Last)+1)
	err := s.eachOfPage(ctx, r, o, l, bounds, func(p *Patient, unreadable error) {
		own := *p
		found = append(found, pageRow{&own, unreadable})
	})
	return found, err
}

// eachOfPage calls each with the rows of a page, and one more to see whether there are. The next
// one takes the place of a patient.
func (s *Store) eachOfPage(ctx context.Context, r PageRequest, o ordering, l listing, bounds conditions, each func(p *Patient, unreadable error)) error {
	set := setOf(r.Columns, keyOfPage) | 1<<o.column
	text, args := l.selectRows(s, r, o, set, bounds)
	scanner := set.scanner()
	read := func(row resultRow) error {
		p, err := scanner.scan(row)
		if err != nil && !errors.Is(err, ErrUnreadable) {
			return err
		}
		each(p, err)
		return nil
	}
	if l.where.all && len(r.Filter.IDs) == 0 { // most clients ask for no other
		return s.each(ctx, s.keptPages, text, func() string { return text }, args, read)
	}
	rows, err := s.query(ctx, text, args...)
	return eachRow(rows, err, read)
}

func (l listing) selectRows(s *Store, r PageRequest, o ordering, set columnSet, bounds conditions) (text string, args []any) {
	if !l.within {
		return l.selectOrdered(r, o, set.names(", "), bounds)
	}
	text, args = l.selectOrdered(r, o, "id", bounds)
	name, direction := columns[o.column].name, o.direction(r)
	return "SELECT " + set.names(", ") + " FROM " + s.along("patients", primaryKey) + " WHERE " + s.among(text) + " ORDER BY " + name + direction + ", id" + direction, args
}

// selectOrdered has the number of rows in its text: of one that comes as an argument
// PostgreSQL expects a tenth of the table, and plans the statement anew each time.
func (l listing) selectOrdered(r PageRequest, o ordering, names string, bounds conditions) (text string, args []any) {
	where, direction := l.where, o.direction(r)
	where.join(bounds)
	return "SELECT " + names + " FROM " + l.table + where.String() +
		" ORDER BY " + l.key + direction + ", id" + direction + " LIMIT " + strconv.Itoa(max(r.First, r.Last)+1), where.args
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
		page.Start, page.End = page.Order.Cursor(rows[0].patient), page.Order.Cursor(rows[len(rows)-1].patient)
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
