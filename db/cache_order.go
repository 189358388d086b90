package db

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

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

// cursor is a position: behind the patient with this key and id.
type cursor struct {
	Order Order  `json:"o"`
	Text  string `json:"t,omitempty"` // key of an order by text
	Time  int64  `json:"n,omitempty"` // key of an order by time or change
	ID    string `json:"i"`
}

// Cursor is that of a patient of a page in this order.
func (o Order) Cursor(p *Patient) string {
	c := cursor{Order: o, ID: p.ID}
	switch key := orderings[o].key(p).(type) {
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

// others is the filter without what is a part of the order.
func (o ordering) others(f Filter) Filter {
	switch o.column {
	case ColUpdatedAt:
		f.UpdatedSince = time.Time{}
	case ColBirthDate:
		f.BirthDate = ""
	}
	return f
}

// covers reports whether the index of the order has all that a filter asks.
func (o ordering) covers(f Filter) bool {
	f = o.others(f)
	if f.Phone+f.FHIRID+f.Identifier+string(f.SyncState) != "" || !f.UpdatedSince.IsZero() {
		return false
	}
	switch o.column {
	case colNameKey:
		return f.Gender+f.BirthDate == ""
	case ColChangeSeq:
		return f.Gender+f.BirthDate+f.Name == ""
	}
	return true
}

// part is what the filter asks of the order itself.
func (o ordering) part(f Filter) conditions {
	switch o.column {
	case ColUpdatedAt:
		return whereUpdated(f)
	case ColBirthDate:
		return whereBirthDate(f)
	case ColChangeSeq:
		c := of("change_seq > 0")
		c.join(whereChanged(f))
		return c
	}
	return conditions{}
}

// direction is in which the rows are read.
func (o ordering) direction(r PageRequest) string {
	if o.desc != (r.Last > 0) {
		return " DESC"
	}
	return " ASC"
}
