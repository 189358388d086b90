package graph

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// Project writes what the field under way selects of a *Patient or a *PatientConnection, as
// the generated code writes it, without that code's steps for each field of each patient:
// on a page these cost more than the database. ok is false for any other value, and where
// something is selected that has a resolver: then the generated code is to write it.
// TestProjectionWritesWhatTheGeneratedCodeWrites holds the two together.
//
// more is called when much was written since its last call, and in the end, with how many
// bytes that was; an error ends the projection and is returned.
func Project(ctx context.Context, value any, more func(bytes int64) error) (json []byte, ok bool, err error) {
	w := projection{more: more}
	switch v := value.(type) {
	case *Patient:
		if v == nil {
			return nil, false, nil
		}
		if selections := w.selected(ctx, "Patient"); !w.foreign {
			w.patient(selections, v)
		}
	case *PatientConnection:
		if v == nil {
			return nil, false, nil
		}
		if selections := w.selected(ctx, "PatientConnection"); !w.foreign {
			w.connection(selections, v)
		}
	default:
		return nil, false, nil
	}
	w.tell()
	return w.json, !w.foreign && w.err == nil, w.err
}

// PatientSelection is what a document selects of a patient, read off once for many answers.
type PatientSelection struct{ of []selection }

// SelectionOfPatient reads it off a selection set without directives. ok is false where
// Project would leave it to the generated code.
func SelectionOfPatient(operation *graphql.OperationContext, set ast.SelectionSet) (s PatientSelection, ok bool) {
	var w projection
	s.of = w.collect(operation, set, "Patient")
	return s, !w.foreign
}

// AppendJSON appends what Project writes of a patient, or null. more and ok are as Project
// has them.
func (s PatientSelection) AppendJSON(json []byte, p *Patient, more func(bytes int64) error) (_ []byte, ok bool) {
	w := projection{json: json, told: len(json), more: more}
	if p == nil {
		w.null()
	} else {
		w.patient(s.of, p)
	}
	w.tell()
	return w.json, !w.foreign && w.err == nil
}

// PageSelection is what a document selects of a PatientConnection, but for totalCount.
type PageSelection struct {
	of      []selection
	lists   int  // how many fields are nodes or edges
	Cursors bool // those of the edges are among it
}

// SelectionOfPage is SelectionOfPatient of a page.
func SelectionOfPage(operation *graphql.OperationContext, set ast.SelectionSet) (s PageSelection, ok bool) {
	var w projection
	s.of = w.collect(operation, set, "PatientConnection")
	for _, f := range s.of {
		w.foreign = w.foreign || f.name == "totalCount"
		if isList(f) {
			s.lists++
		}
		s.Cursors = s.Cursors || slices.ContainsFunc(f.of, func(f selection) bool { return f.name == "cursor" })
	}
	return s, !w.foreign
}

// PageWriter writes what Project writes of a page whose patients come one after the other.
type PageWriter struct {
	of    []selection
	lists []projection // what was written of each field
	more  func(bytes int64) error
}

// isList reports whether a field of a PatientConnection is nodes or edges.
func isList(f selection) bool { return f.name == "nodes" || f.name == "edges" }

// mostRoom bounds what is taken before anything is written: nobody counts it.
const mostRoom = 16 << 10

// Writer begins. more is as Project has it; room is how many bytes the usual page has.
func (s PageSelection) Writer(room int, more func(bytes int64) error) *PageWriter {
	w := &PageWriter{s.of, make([]projection, len(s.of)), more}
	for i, f := range s.of {
		if w.lists[i].more = more; isList(f) {
			w.lists[i].json = make([]byte, 0, min(room, mostRoom)/s.lists)
		}
	}
	return w
}

// Add writes the next patient; the cursor is of its edge.
func (w *PageWriter) Add(p *Patient, cursor string) {
	for i, f := range w.of {
		switch list := &w.lists[i]; f.name {
		case "nodes":
			if list.next(len(list.json) == 0) {
				list.patient(f.of, p)
			}
		case "edges":
			if list.next(len(list.json) == 0) {
				list.edge(f.of, &PatientEdge{Cursor: cursor, Node: p})
			}
		}
	}
}

// AppendJSON appends the page. ok is as Project has it.
func (w *PageWriter) AppendJSON(json []byte, info *PageInfo) (_ []byte, ok bool) {
	written := roomOfElement // beside the lists
	for _, list := range w.lists {
		written += len(list.json)
	}
	json = slices.Grow(json, written)
	whole := projection{json: json, told: len(json), more: w.more}
	lists := w.lists
	whole.object(w.of, func(f selection) {
		list := lists[0]
		lists = lists[1:]
		switch f.name {
		case "__typename":
			whole.plain("PatientConnection")
		case "pageInfo":
			whole.pageInfo(f.of, info)
		default:
			whole.foreign, whole.err = list.foreign, list.err
			whole.told += list.told
			whole.json = append(append(append(whole.json, '['), list.json...), ']')
		}
	})
	whole.tell()
	return whole.json, !whole.foreign && whole.err == nil
}

const (
	// manyBytes are told while there is more to write: as from where on an answer counts
	// as large.
	manyBytes = 64 << 10
	// roomOfElement is free before an element is written: else the memory doubles.
	roomOfElement = 512
)

// projection is JSON that is being written.
type projection struct {
	json    []byte
	told    int // bytes of it
	more    func(bytes int64) error
	foreign bool // something is selected that is not written here
	err     error
}

// selection is a field that is selected of an object. It is kept longer than the document,
// which takes more memory.
type selection struct {
	name, alias string
	of          []selection // of its value, where that is an object
}

// resolved are the fields of these types that have a resolver.
var resolved = map[string]bool{"Patient.replacedBy": true, "Patient.changeCursor": true}

// implementors are the types whose objects are written here, with their interfaces.
var implementors = map[string][]string{
	"Patient": patientImplementors, "PatientConnection": patientConnectionImplementors, "PatientEdge": patientEdgeImplementors,
	"PageInfo": pageInfoImplementors, "Address": addressImplementors, "EmergencyContact": emergencyContactImplementors,
}

// selected returns what is selected of the field under way, whose value is of a type.
func (w *projection) selected(ctx context.Context, of string) []selection {
	return w.collect(graphql.GetOperationContext(ctx), graphql.GetFieldContext(ctx).Field.Selections, of)
}

func (w *projection) collect(operation *graphql.OperationContext, set ast.SelectionSet, of string) []selection {
	satisfied, known := implementors[of]
	if !known {
		w.foreign = true
		return nil
	}
	fields := graphql.CollectFields(operation, set, satisfied)
	selections := make([]selection, len(fields))
	for i, f := range fields {
		if w.foreign = w.foreign || len(f.Deferrables) > 0 || resolved[of+"."+f.Name]; w.foreign {
			return nil
		}
		selections[i] = selection{name: f.Name, alias: f.Alias}
		if len(f.Selections) > 0 {
			selections[i].of = w.collect(operation, f.Selections, f.Definition.Type.Name())
		}
	}
	return selections
}

func (w *projection) connection(selections []selection, c *PatientConnection) {
	w.object(selections, func(f selection) {
		switch f.name {
		case "__typename":
			w.plain("PatientConnection")
		case "edges":
			w.list(len(c.Edges), func(i int) { w.edge(f.of, c.Edges[i]) })
		case "nodes":
			w.list(len(c.Nodes), func(i int) { w.patient(f.of, c.Nodes[i]) })
		case "pageInfo":
			w.pageInfo(f.of, c.PageInfo)
		case "totalCount":
			w.number(c.TotalCount)
		default:
			w.foreign = true
		}
	})
}

func (w *projection) edge(selections []selection, e *PatientEdge) {
	w.object(selections, func(f selection) {
		switch f.name {
		case "__typename":
			w.plain("PatientEdge")
		case "cursor":
			w.text(e.Cursor)
		case "node":
			w.patient(f.of, e.Node)
		default:
			w.foreign = true
		}
	})
}

func (w *projection) pageInfo(selections []selection, p *PageInfo) {
	w.object(selections, func(f selection) {
		switch f.name {
		case "__typename":
			w.plain("PageInfo")
		case "hasNextPage":
			w.flag(p.HasNextPage)
		case "hasPreviousPage":
			w.flag(p.HasPreviousPage)
		case "startCursor":
			w.optional(p.StartCursor)
		case "endCursor":
			w.optional(p.EndCursor)
		default:
			w.foreign = true
		}
	})
}

func (w *projection) patient(selections []selection, p *Patient) {
	w.object(selections, func(f selection) {
		switch f.name {
		case "__typename":
			w.plain("Patient")
		case "id":
			w.text(p.ID)
		case "familyName":
			w.optional(p.FamilyName)
		case "givenName":
			w.optional(p.GivenName)
		case "fullName":
			w.optional(p.FullName)
		case "birthDate":
			w.date(p.BirthDate)
		case "birthYear":
			w.optionalNumber(p.BirthYear)
		case "gender":
			w.plain(string(p.Gender))
		case "phone":
			w.optional(p.Phone)
		case "email":
			w.optional(p.Email)
		case "address":
			w.address(f.of, p.Address)
		case "emergencyContact":
			w.emergencyContact(f.of, p.EmergencyContact)
		case "allergies":
			w.texts(p.Allergies)
		case "bloodType":
			w.optional(p.BloodType)
		case "active":
			w.flag(p.Active)
		case "deceased":
			w.flag(p.Deceased)
		case "fhirId":
			w.optional(p.FhirID)
		case "isSynced":
			w.flag(p.IsSynced)
		case "lastSyncedAt":
			w.instant(p.LastSyncedAt)
		case "syncState":
			w.plain(string(p.SyncState))
		case "version":
			w.text(p.Version)
		case "createdAt":
			w.instant(&p.CreatedAt)
		case "updatedAt":
			w.instant(&p.UpdatedAt)
		default:
			w.foreign = true
		}
	})
}

func (w *projection) address(selections []selection, a *Address) {
	if a == nil {
		w.null()
		return
	}
	w.object(selections, func(f selection) {
		switch f.name {
		case "__typename":
			w.plain("Address")
		case "text":
			w.optional(a.Text)
		case "lines":
			w.list(len(a.Lines), func(i int) { w.text(a.Lines[i]) })
		case "city":
			w.optional(a.City)
		case "district":
			w.optional(a.District)
		case "state":
			w.optional(a.State)
		case "postalCode":
			w.optional(a.PostalCode)
		case "country":
			w.optional(a.Country)
		default:
			w.foreign = true
		}
	})
}

func (w *projection) emergencyContact(selections []selection, c *EmergencyContact) {
	if c == nil {
		w.null()
		return
	}
	w.object(selections, func(f selection) {
		switch f.name {
		case "__typename":
			w.plain("EmergencyContact")
		case "name":
			w.text(c.Name)
		case "relationship":
			w.optional(c.Relationship)
		case "phone":
			w.optional(c.Phone)
		case "source":
			w.plain(string(c.Source))
		default:
			w.foreign = true
		}
	})
}

// tell tells how many bytes came since.
func (w *projection) tell() {
	if w.err == nil && !w.foreign {
		w.err = w.more(int64(len(w.json) - w.told))
		w.told = len(w.json)
	}
}

func (w *projection) object(selections []selection, value func(selection)) {
	w.json = append(w.json, '{')
	for i, f := range selections {
		if i > 0 {
			w.json = append(w.json, ',')
		}
		w.plain(f.alias)
		w.json = append(w.json, ':')
		value(f)
		if w.ended() {
			return
		}
	}
	w.json = append(w.json, '}')
}

// ended tells what came, where it is much, and reports whether nothing more is to be written.
func (w *projection) ended() bool {
	if len(w.json)-w.told > manyBytes {
		w.tell()
	}
	return w.foreign || w.err != nil
}

func (w *projection) list(n int, element func(i int)) {
	w.json = append(w.json, '[')
	for i := range n {
		if !w.next(i == 0) {
			return
		}
		element(i)
	}
	w.json = append(w.json, ']')
}

// next begins an element of a list, unless nothing more is to be written.
func (w *projection) next(first bool) bool {
	if w.ended() {
		return false
	}
	if free := cap(w.json) - len(w.json); free < roomOfElement { // append alone grows by a quarter
		w.json = slices.Grow(w.json, max(roomOfElement, len(w.json)))
	}
	if !first {
		w.json = append(w.json, ',')
	}
	return true
}

// plain writes a name of GraphQL: nothing in it is to be escaped.
func (w *projection) plain(name string) {
	w.json = append(append(append(w.json, '"'), name...), '"')
}

func (w *projection) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			graphql.MarshalString(s).MarshalGQL(w)
			return
		}
	}
	w.plain(s)
}

func (w *projection) optional(s *string) {
	if s == nil {
		w.null()
		return
	}
	w.text(*s)
}

// texts writes a list that is null where it is nil.
func (w *projection) texts(list []string) {
	if list == nil {
		w.null()
		return
	}
	w.list(len(list), func(i int) { w.text(list[i]) })
}

func (w *projection) date(d *PartialDate) {
	if d == nil {
		w.null()
		return
	}
	d.MarshalGQL(w)
}

func (w *projection) instant(t *time.Time) {
	if t == nil {
		w.null()
		return
	}
	w.json = append(t.UTC().AppendFormat(append(w.json, '"'), dateTimeForm), '"')
}

func (w *projection) number(n int) { w.json = strconv.AppendInt(w.json, int64(n), 10) }

func (w *projection) optionalNumber(n *int) {
	if n == nil {
		w.null()
		return
	}
	w.number(*n)
}

func (w *projection) flag(set bool) { w.json = strconv.AppendBool(w.json, set) }

func (w *projection) null() { w.json = append(w.json, "null"...) }

// Write implements io.Writer, for what others marshal.
func (w *projection) Write(p []byte) (int, error) {
	w.json = append(w.json, p...)
	return len(p), nil
}

// WriteString implements io.StringWriter, which saves a copy.
func (w *projection) WriteString(s string) (int, error) {
	w.json = append(w.json, s...)
	return len(s), nil
}
