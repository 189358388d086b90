package resolvers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// Sizes of a page of patients.
const (
	DefaultPage = 20
	MaxPage     = 200
)

// What is longer is no name, phone or cursor, and costly to compare.
const (
	maxName   = 200
	maxPhone  = 100
	maxCursor = 4_000 // bytes
	maxID     = 256   // bytes: a patient number has at most 64 characters

	maxIdentifier = 256 // with its system
)

var (
	errBadCursor      = errors.New("after and before take cursors of a page with the same orderBy")
	errNoIdentifier   = errors.New("filter: fhirId and identifier need a value; system|value searches one system")
	errNothingVisible = errors.New("filter: a name or phone of blanks and invisible characters finds nothing")
)

var orders = map[graph.PatientOrder]db.Order{
	graph.PatientOrderNameAsc:       db.OrderNameAsc,
	graph.PatientOrderNameDesc:      db.OrderNameDesc,
	graph.PatientOrderBirthDateAsc:  db.OrderBirthDateAsc,
	graph.PatientOrderBirthDateDesc: db.OrderBirthDateDesc,
	graph.PatientOrderCreatedAsc:    db.OrderCreatedAsc,
	graph.PatientOrderCreatedDesc:   db.OrderCreatedDesc,
	graph.PatientOrderUpdatedAsc:    db.OrderUpdatedAsc,
	graph.PatientOrderUpdatedDesc:   db.OrderUpdatedDesc,
}

// pageRequest checks the arguments of patients; the error is for the caller.
func pageRequest(v auth.Viewer, f *graph.PatientFilter, order *graph.PatientOrder, first *int, after *string, last *int, before *string) (db.PageRequest, error) {
	r := db.PageRequest{Order: db.OrderCreatedDesc, After: value(after), Before: value(before)}
	if order != nil {
		r.Order = orders[*order]
	}
	switch {
	case first != nil && last != nil:
		return r, errors.New("give first or last, not both")
	case last != nil:
		r.Last = *last
	case first != nil:
		r.First = *first
	default:
		r.First = DefaultPage
	}
	if n := max(r.First, r.Last); n < 1 || n > MaxPage {
		return r, fmt.Errorf("first and last are from 1 to %d", MaxPage)
	}
	if len(r.After) > maxCursor || len(r.Before) > maxCursor {
		return r, errBadCursor // ours are shorter
	}
	if f != nil {
		var err error
		if r.Filter, err = filterOf(f); err != nil {
			return r, err
		}
		if r.Filter.ChangedAfter != nil {
			if order != nil {
				return r, errors.New("changedAfter lists in the order of change: leave out orderBy")
			}
			r.Order = db.OrderChangeAsc
		}
	}
	if r.CheckCursors() != nil { // also where the count alone is asked for
		return r, errBadCursor
	}
	return r, restrict(&r, v)
}

// filterOf says what is searched for; the error is for the caller.
func filterOf(f *graph.PatientFilter) (db.Filter, error) {
	filter := db.Filter{
		Name: visibleText(value(f.Name)), Phone: visiblePoint(value(f.Phone)), BirthDate: value((*string)(f.BirthDate)),
		FHIRID: visiblePoint(value(f.FhirID)), Identifier: visiblePoint(value(f.Identifier)),
	}
	if utf8.RuneCountInString(filter.FHIRID) > maxIdentifier || utf8.RuneCountInString(filter.Identifier) > maxIdentifier {
		return filter, fmt.Errorf("filter: fhirId and identifier have at most %d characters", maxIdentifier)
	}
	if filter.FHIRID == "" && f.FhirID != nil || strings.Trim(filter.Identifier, "| ") == "" && f.Identifier != nil {
		return filter, errNoIdentifier
	}
	if utf8.RuneCountInString(filter.Name) > maxName || utf8.RuneCountInString(filter.Phone) > maxPhone {
		return filter, fmt.Errorf("filter: a name has at most %d characters, a phone %d", maxName, maxPhone)
	}
	if filter.Name == "" && value(f.Name) != "" || filter.Phone == "" && value(f.Phone) != "" {
		return filter, errNothingVisible
	}
	if f.Gender != nil {
		filter.Gender = strings.ToLower(string(*f.Gender))
	}
	if f.SyncState != nil {
		filter.SyncState = db.SyncState(*f.SyncState)
	}
	if f.UpdatedSince != nil {
		filter.UpdatedSince = *f.UpdatedSince
	}
	if f.ChangedAfter != nil {
		above, err := changedAfter(*f.ChangedAfter)
		if err != nil {
			return filter, err
		}
		filter.ChangedAfter = &above
	}
	filter.IncludeInactive = f.IncludeInactive != nil && *f.IncludeInactive
	return filter, nil
}

// restrict narrows a request to what the viewer may see. A list ordered or
// filtered by what a viewer may not see would tell it all the same.
func restrict(r *db.PageRequest, v auth.Viewer) error {
	switch {
	case v.MayListAll():
	case len(v.PatientIDs) > 0 && v.MayList(v.PatientIDs[0]):
		r.Filter.IDs, r.Filter.FHIRIDs = v.PatientIDs, v.FHIRIDs
	default:
		r.Filter = db.Filter{None: true} // the time that another filter takes would tell how much it finds
		return nil
	}
	if v.SeesIdentifiers() {
		return nil
	}
	if r.Filter.Name != "" || r.Filter.Phone != "" || r.Filter.BirthDate != "" || r.Filter.FHIRID != "" || r.Filter.Identifier != "" {
		return errors.New("your role cannot filter by name, phone, birthDate, fhirId or identifier")
	}
	switch r.Order {
	case db.OrderNameAsc, db.OrderNameDesc, db.OrderBirthDateAsc, db.OrderBirthDateDesc:
		return errors.New("your role cannot order by name or birth date")
	}
	return nil
}

// connection loads one page and, where asked for, the count.
func (r *Resolver) connection(ctx context.Context, v auth.Viewer, request db.PageRequest) (*graph.PatientConnection, error) {
	c := &graph.PatientConnection{}
	var err error
	if above := request.Filter.ChangedAfter; above != nil {
		if err := r.pollable(ctx, *above); err != nil {
			return nil, err
		}
	}
	if selected(ctx, "nodes") || selected(ctx, "edges") || selected(ctx, "pageInfo") {
		if c, err = r.page(ctx, v, request); err != nil {
			return nil, err
		}
	}
	if selected(ctx, "totalCount") {
		if c.TotalCount, err = r.Store.CountPatients(ctx, request.Filter); err != nil {
			return nil, r.internal(ctx, err)
		}
	}
	return c, nil
}

// page loads the patients of one page.
func (r *Resolver) page(ctx context.Context, v auth.Viewer, request db.PageRequest) (*graph.PatientConnection, error) {
	request.Columns = selectedColumns(ctx, []string{"nodes"}, []string{"edges", "node"})
	if request.Filter.ChangedAfter == nil && slices.Contains(request.Columns, db.ColChangeSeq) {
		if _, err := r.numberChanges(ctx); err != nil { // once, not for each patient
			return nil, r.internal(ctx, err)
		}
	}
	page, err := r.Store.Patients(ctx, request)
	if err != nil {
		return nil, r.internal(ctx, err)
	}
	c := &graph.PatientConnection{PageInfo: pageInfo(page)}
	nodes, edges := selected(ctx, "nodes"), selected(ctx, "edges")
	for _, row := range page.Patients {
		p := r.toPatient(row, v)
		if nodes {
			c.Nodes = append(c.Nodes, p)
		}
		if edges {
			c.Edges = append(c.Edges, &graph.PatientEdge{Cursor: page.Order.Cursor(row), Node: p})
		}
	}
	for _, err := range page.Unreadable { // the others are shown
		graphql.AddError(ctx, r.internal(ctx, err))
	}
	return c, nil
}

func pageInfo(page *db.Page) *graph.PageInfo {
	return &graph.PageInfo{
		HasNextPage: page.HasNext, HasPreviousPage: page.HasPrevious,
		StartCursor: optional(&page.Start), EndCursor: optional(&page.End),
	}
}
