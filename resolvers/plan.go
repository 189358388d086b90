package resolvers

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// Plan is how an operation is answered that asks for one patient by a variable, or for one
// page of all patients, and for nothing else, as most do: read off the document once, it saves
// gqlgen's steps each time. What such an operation answers stays the same to the byte, or is
// left to gqlgen: this is no second reader of GraphQL.
type Plan struct {
	before    string              // the answer's JSON up to what is asked for
	variables map[string]variable // by name
	columns   []db.Column
	patient   graph.PatientSelection
	page      *pagePlan // nil: one patient is asked for
}

// variable is the argument that takes it: id, or one of pageArguments.
type variable struct {
	argument string
	required bool
}

type pagePlan struct {
	selection graph.PageSelection
	arguments pageArguments // those that are no variables
	most      int           // larger pages may cost more than an operation may
	room      atomic.Int64  // bytes that the last page had
}

// pageArguments are those of patients that a plan knows.
type pageArguments struct {
	order         *graph.PatientOrder
	first, last   *int
	after, before *string
}

// Asked is what the variables of a request ask for.
type Asked struct {
	number string
	page   pageArguments
}

// shortCursors is below how many bytes the cursors of a request cost nothing, with the other
// arguments of a page.
const shortCursors = 192

// PlanOf returns the plan of an operation that gqlgen has accepted; nil: it is another one.
func PlanOf(o *graphql.OperationContext) *Plan {
	if o.Operation.Operation != ast.Query || len(o.Operation.SelectionSet) != 1 ||
		strings.Contains(o.RawQuery, "@") { // a directive: what is selected may depend on variables
		return nil
	}
	field, isField := o.Operation.SelectionSet[0].(*ast.Field)
	if !isField {
		return nil
	}
	p := &Plan{before: `{"` + field.Alias + `":`, variables: map[string]variable{}}
	ok := false
	switch field.Name {
	case "patient":
		p.patient, ok = graph.SelectionOfPatient(o, field.SelectionSet)
		p.columns = columnsUnder(o, field.SelectionSet, nil)
	case "patients":
		p.page = &pagePlan{most: MaxPage}
		p.page.selection, ok = graph.SelectionOfPage(o, field.SelectionSet)
		p.columns = columnsUnder(o, field.SelectionSet, []string{"nodes"}, []string{"edges", "node"})
	}
	if !ok || !p.takes(o.Operation.VariableDefinitions, field.Arguments) {
		return nil
	}
	asked, ok := p.Asked(o.Variables)
	if !ok {
		return nil
	}
	if p.page != nil {
		p.page.most = asked.page.size()
	}
	return p
}

// variableTypes are those that an argument's variable may have, null or not.
var variableTypes = map[string]string{"id": "ID", "first": "Int", "last": "Int", "after": "String", "before": "String"}

// takes reads what the arguments are; false: gqlgen has to.
func (p *Plan) takes(definitions ast.VariableDefinitionList, arguments ast.ArgumentList) bool {
	for _, a := range arguments {
		switch definition := a.Value.VariableDefinition; {
		case a.Value.Kind == ast.Variable:
			name := a.Value.Raw
			if _, twice := p.variables[name]; twice || definition == nil || definition.DefaultValue != nil ||
				strings.TrimSuffix(definition.Type.String(), "!") != variableTypes[a.Name] {
				return false
			}
			p.variables[name] = variable{a.Name, definition.Type.NonNull}
		case p.page == nil:
			return false
		case a.Value.Kind == ast.EnumValue:
			order := graph.PatientOrder(a.Value.Raw)
			p.page.arguments.order = &order
		case a.Value.Kind == ast.IntValue:
			n, err := strconv.Atoi(a.Value.Raw)
			if err != nil {
				return false
			}
			p.page.arguments.number(a.Name, n)
		default: // a filter, or a cursor in the document
			return false
		}
	}
	return len(p.variables) == len(definitions)
}

func (a *pageArguments) number(argument string, n int) {
	if argument == "first" {
		a.first = &n
	} else {
		a.last = &n
	}
}

// size is how many patients the page has at most.
func (a *pageArguments) size() int {
	switch {
	case a.first != nil:
		return *a.first
	case a.last != nil:
		return *a.last
	}
	return DefaultPage
}

// LooksUpOnce reports whether nothing is read but one patient, once: see ownNumber.
func (p *Plan) LooksUpOnce(asked Asked) bool {
	return p.page == nil && visibleID(asked.number) == asked.number
}

// Asked is what a request asks for. ok is false where gqlgen has to read the variables, or to
// refuse them.
func (p *Plan) Asked(variables map[string]any) (asked Asked, ok bool) {
	if p.page != nil {
		asked.page = p.page.arguments
	}
	cursors := 0
	for name, takes := range p.variables {
		given := variables[name]
		if given == nil {
			if takes.required {
				return asked, false
			}
			continue
		}
		switch text, isText := given.(string); {
		case takes.argument == "first", takes.argument == "last":
			n, ok := numberOf(given)
			if !ok {
				return asked, false
			}
			asked.page.number(takes.argument, n)
		case !isText:
			return asked, false
		case takes.argument == "id":
			asked.number = text
		case takes.argument == "after":
			asked.page.after = &text
			cursors += len(text)
		default:
			asked.page.before = &text
			cursors += len(text)
		}
	}
	for name := range variables {
		if _, known := p.variables[name]; !known {
			return asked, false
		}
	}
	return asked, p.page == nil || cursors < shortCursors && asked.page.size() <= p.page.most
}

// numberOf reads a number as a request has it, or as gqlparser keeps it.
func numberOf(given any) (n int, ok bool) {
	switch number := given.(type) {
	case json.Number:
		n, err := strconv.Atoi(number.String())
		return n, err == nil
	case int64:
		return int(number), true
	}
	return 0, false
}

// Data returns the data of the answer; more is called as graph.Project calls it. ok is false
// where gqlgen has to meet what was met here, to tell it.
func (p *Plan) Data(ctx context.Context, r *Resolver, v auth.Viewer, asked Asked, more func(bytes int64) error) (data []byte, ok bool) {
	if p.page != nil {
		data, ok = p.pageData(ctx, r, v, asked.page, more)
		return append(data, '}'), ok
	}
	shown, err := r.shownPatient(ctx, v, asked.number, p.columns)
	if err != nil {
		return nil, false
	}
	data, ok = p.patient.AppendJSON(append(make([]byte, 0, roomForOne), p.before...), shown, more)
	return append(data, '}'), ok
}

// roomForOne is how many bytes the usual answer with one patient has at most.
const roomForOne = 512

// pageData writes each patient as its row is read: no page is held in memory beside its JSON.
func (p *Plan) pageData(ctx context.Context, r *Resolver, v auth.Viewer, a pageArguments, more func(bytes int64) error) (data []byte, ok bool) {
	request, err := pageRequest(v, nil, a.order, a.first, a.after, a.last, a.before)
	if err != nil {
		return nil, false
	}
	request.Columns = p.columns
	writer := p.page.selection.Writer(int(p.page.room.Load())+roomForOne, more)
	var shown graph.Patient
	cursor := ""
	page, err := r.Store.EachPatient(ctx, request, func(row *db.Patient) {
		r.show(&shown, row, v)
		if p.page.selection.Cursors {
			cursor = request.Order.Cursor(row)
		}
		writer.Add(&shown, cursor)
	})
	if err != nil || len(page.Unreadable) > 0 {
		return nil, false
	}
	data, ok = writer.AppendJSON([]byte(p.before), pageInfo(page))
	p.page.room.Store(int64(len(data)))
	return data, ok
}
