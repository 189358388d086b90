package main

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

// What a request may cost, in about microseconds of one core, and what its parts
// do (BenchmarkCostliestRequests): a field costs one. A page of 200 patients with
// every field costs about 8,000.
const (
	maxCost      = 20_000
	lookUpCost   = 50    // one row of the database
	pageCost     = 200   // a page beside its patients
	patientCost  = 10    // a patient of a page beside its fields
	filterCost   = 2_000 // a page of few or many among all
	nameCost     = 2_000 // to search by name, besides
	countCost    = 6_000 // totalCount walks an index
	mutationCost = 2_000 // so that a request has ten at most
	inputCost    = 1     // of so many bytes of arguments: they are checked, folded, copied
	inputBytes   = 256
)

// longLists are the lists of results, with the elements that they may have.
var longLists = map[string]int{"InvalidInput.fieldErrors": 100, "FhirRejected.issues": 50, "FhirIssue.expression": 10, "Patient.allergies": 5}

// costLimit refuses an operation that costs more than maxCost. gqlgen's own
// ComplexityLimit (0.17.98) cannot tell a page's patients from its totalCount,
// and counts introspection as nothing.
type costLimit struct {
	schema *ast.Schema
	lists  map[string]int // elements of the lists of introspection, on average
}

func newCostLimit(schema *ast.Schema) costLimit {
	types, fields := len(schema.Types), 0
	elements := map[string]int{}
	for _, t := range schema.Types {
		fields += len(t.Fields)
		if t.Kind == ast.InputObject {
			elements["__Type.inputFields"] += len(t.Fields)
		} else {
			elements["__Type.fields"] += len(t.Fields)
		}
		elements["__Type.enumValues"] += len(t.EnumValues)
		elements["__Type.interfaces"] += len(t.Interfaces)
		elements["__Type.possibleTypes"] += len(t.Types)
		for _, f := range t.Fields {
			elements["__Field.args"] += len(f.Arguments)
		}
	}
	lists := map[string]int{"__Schema.types": types, "__Schema.directives": len(schema.Directives), "__Directive.args": 1}
	for list, n := range elements {
		owners := types
		if list == "__Field.args" {
			owners = fields
		}
		lists[list] = (n + owners - 1) / owners
	}
	return costLimit{schema, lists}
}

func (costLimit) ExtensionName() string                   { return "CostLimit" }
func (costLimit) Validate(graphql.ExecutableSchema) error { return nil }

func (c costLimit) MutateOperationContext(_ context.Context, o *graphql.OperationContext) *gqlerror.Error {
	walk := costWalk{c, o.Variables, map[string]int{}}
	for name, value := range o.Variables {
		walk.sizes[name] = textSize(value)
	}
	if cost := walk.set(o.Operation.SelectionSet, 0); cost > maxCost {
		return limitExceeded("the operation costs %d, and %d is the limit: ask for fewer patients, counts, mutations or fields at once", cost, maxCost)
	}
	return nil
}

// costWalk goes through one operation, which documentLimits has bounded.
type costWalk struct {
	costLimit
	variables map[string]any
	sizes     map[string]int // bytes of text in each variable
}

// set is the cost of a selection set. rows is the size of the page that it
// belongs to, if it is of a connection.
func (c costWalk) set(selections ast.SelectionSet, rows int) int {
	cost := 0
	for _, selection := range selections {
		switch selected := selection.(type) {
		case *ast.Field:
			cost += c.field(selected, rows)
		case *ast.InlineFragment:
			cost += 1 + c.set(selected.SelectionSet, rows)
		case *ast.FragmentSpread:
			cost += 1 + c.set(selected.Definition.SelectionSet, rows)
		}
		cost = min(cost, 1<<30) // far above the limit, and far from an overflow
	}
	return cost
}

func (c costWalk) field(f *ast.Field, rows int) int {
	input := 0
	for _, argument := range f.Arguments {
		input += c.inputSize(argument.Value)
	}
	return c.work(f, rows) + inputCost*input/inputBytes
}

func (c costWalk) work(f *ast.Field, rows int) int {
	name := f.ObjectDefinition.Name + "." + f.Name
	switch {
	case name == "Query.patients":
		rows, search := c.page(f)
		return pageCost + search + c.set(f.SelectionSet, rows)
	case name == "PatientConnection.nodes", name == "PatientConnection.edges":
		return rows * (patientCost + c.set(f.SelectionSet, 0))
	case name == "PatientConnection.totalCount":
		return countCost
	case f.ObjectDefinition == c.schema.Mutation:
		return mutationCost + c.set(f.SelectionSet, 0)
	case f.ObjectDefinition == c.schema.Query, f.ObjectDefinition == c.schema.Subscription:
		return lookUpCost + c.set(f.SelectionSet, 0)
	case c.lists[name] > 0:
		return 1 + c.lists[name]*c.set(f.SelectionSet, 0)
	case longLists[name] > 0:
		return longLists[name] * (1 + c.set(f.SelectionSet, 0))
	default:
		return 1 + c.set(f.SelectionSet, 0)
	}
}

// page returns how many rows a page asks for, and what its search costs. A size
// out of bounds, or that is none, is refused by the resolver.
func (c costWalk) page(f *ast.Field) (rows, search int) {
	rows = resolvers.DefaultPage
	for _, name := range []string{"first", "last"} {
		if size := c.argument(f, name); size != nil {
			n, err := graphql.UnmarshalInt(size)
			if err != nil || n < 1 || n > resolvers.MaxPage {
				n = resolvers.MaxPage
			}
			rows = n
		}
	}
	if filter, ok := c.argument(f, "filter").(map[string]any); ok && len(filter) > 0 {
		search = filterCost
		if filter["name"] != nil {
			search += nameCost
		}
	}
	return rows, search
}

// inputSize is how many bytes of text an argument holds.
func (c costWalk) inputSize(value *ast.Value) int {
	if value.Kind == ast.Variable {
		return c.sizes[value.Raw]
	}
	size := len(value.Raw)
	for _, child := range value.Children {
		size += c.inputSize(child.Value)
	}
	return size
}

func textSize(value any) (size int) {
	switch v := value.(type) {
	case string:
		return len(v)
	case []any:
		for _, element := range v {
			size += textSize(element)
		}
	case map[string]any:
		for _, member := range v {
			size += textSize(member)
		}
	}
	return size
}

// argument is an argument's value, nil if it has none. Field.ArgumentMap would
// panic where a literal is no value.
func (c costWalk) argument(f *ast.Field, name string) any {
	given := f.Arguments.ForName(name)
	if given == nil {
		return nil
	}
	value, err := given.Value.Value(c.variables)
	if err != nil {
		return nil
	}
	return value
}
