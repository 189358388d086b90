package resolvers

import (
	"context"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// Plan is how an operation is answered that asks for one patient by a variable and for
// nothing else, as most do: read off the document once, it saves gqlgen's steps each time.
// What such an operation answers stays the same to the byte, or is left to gqlgen: this is
// no second reader of GraphQL.
type Plan struct {
	variable  string // has the number
	before    string // the answer's JSON up to the patient
	columns   []db.Column
	selection graph.PatientSelection
}

// PlanOf returns the plan of an operation that gqlgen has accepted; nil: it is another one.
func PlanOf(o *graphql.OperationContext) *Plan {
	if o.Operation.Operation != ast.Query || len(o.Operation.SelectionSet) != 1 || len(o.Operation.VariableDefinitions) != 1 ||
		strings.Contains(o.RawQuery, "@") { // a directive: what is selected may depend on variables
		return nil
	}
	field, isField := o.Operation.SelectionSet[0].(*ast.Field)
	if !isField || field.Name != "patient" || field.Arguments[0].Value.Kind != ast.Variable {
		return nil
	}
	definition := o.Operation.VariableDefinitions[0]
	if definition.Type.String() != "ID!" || definition.DefaultValue != nil {
		return nil
	}
	selection, ok := graph.SelectionOfPatient(o, field.SelectionSet)
	if !ok {
		return nil
	}
	return &Plan{definition.Variable, `{"` + field.Alias + `":`, columnsUnder(o, field.SelectionSet, nil), selection}
}

// Number is which patient is asked for. ok is false where gqlgen has to read the variables,
// or to refuse them.
func (p *Plan) Number(variables map[string]any) (number string, ok bool) {
	number, ok = variables[p.variable].(string)
	return number, ok && len(variables) == 1
}

// Data returns the data of the answer. ok is false where gqlgen has to meet what was met
// here, to tell it.
func (p *Plan) Data(ctx context.Context, r *Resolver, v auth.Viewer, number string) (data []byte, ok bool) {
	shown, err := r.shownPatient(ctx, v, number, p.columns)
	if err != nil {
		return nil, false
	}
	data, ok = p.selection.AppendJSON(append(make([]byte, 0, roomForOne), p.before...), shown)
	return append(data, '}'), ok
}

// roomForOne is how many bytes the usual answer with one patient has at most.
const roomForOne = 512
