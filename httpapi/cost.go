package httpapi

import (
	"context"
	"encoding/json"
	"strings"

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
	updateCost   = 600   // one line of the journal, with the patient's row
	pageCost     = 200   // a page beside its patients
	patientCost  = 10    // a patient of a page beside its fields
	filterCost   = 9_000 // a page of few among all may walk an index
	countCost    = 6_000 // totalCount walks an index
	mutationCost = 200   // beside the answer: what it costs is time, and maxMutations bounds it
	inputBytes   = 256   // of arguments cost one: they are checked, folded, copied
	nameLetters  = 32    // of a field's name in the answer cost one more; no name of the schema has as many
)

// longLists are the lists of results, with the elements that they may have.
var longLists = map[string]int{"InvalidInput.fieldErrors": 100, "FhirRejected.issues": 50, "FhirIssue.expression": 10, "Patient.allergies": 5}

// costLimit refuses an operation that costs more than maxCost. gqlgen's own
// ComplexityLimit (0.17.98) cannot tell a page's patients from its totalCount,
// and counts introspection as nothing.
type costLimit struct {
	schema *ast.Schema
	// Elements of the lists of introspection: on average, and at most.
	average, longest map[string]int
}

func newCostLimit(schema *ast.Schema) costLimit {
	types, fields := len(schema.Types), 0
	elements, longest := map[string]int{}, map[string]int{}
	add := func(list string, n int) {
		elements[list] += n
		longest[list] = max(longest[list], n, 1)
	}
	for _, t := range schema.Types {
		fields += len(t.Fields)
		if t.Kind == ast.InputObject {
			add("__Type.inputFields", len(t.Fields))
		} else {
			add("__Type.fields", len(t.Fields))
		}
		add("__Type.enumValues", len(t.EnumValues))
		add("__Type.interfaces", len(t.Interfaces))
		add("__Type.possibleTypes", len(schema.PossibleTypes[t.Name]))
		for _, f := range t.Fields {
			add("__Field.args", len(f.Arguments))
		}
	}
	average := map[string]int{"__Schema.types": types, "__Schema.directives": len(schema.Directives), "__Directive.args": 1}
	for list, n := range elements {
		owners := types
		if list == "__Field.args" {
			owners = fields
		}
		average[list] = (n + owners - 1) / owners
	}
	return costLimit{schema, average, longest}
}

func (costLimit) ExtensionName() string                   { return "CostLimit" }
func (costLimit) Validate(graphql.ExecutableSchema) error { return nil }

func (c costLimit) MutateOperationContext(_ context.Context, o *graphql.OperationContext) *gqlerror.Error {
	walk := costWalk{costLimit: c, variables: o.Variables, sizes: map[string]int{}}
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
	chosen    bool           // within introspection: the caller chose the type, so no average holds
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
	return c.work(f, rows) + input/inputBytes + len(f.Alias)/nameLetters
}

func (c costWalk) work(f *ast.Field, rows int) int {
	name := f.ObjectDefinition.Name + "." + f.Name
	switch {
	case name == "Query.patients":
		cost := pageCost + c.set(f.SelectionSet, c.page(f))
		if c.filtered(f) && hasPatients(f.SelectionSet) {
			cost += filterCost
		}
		return cost
	case name == "Query.contactUpdate", name == "Query.node":
		return updateCost + c.set(f.SelectionSet, 0)
	case name == "PatientConnection.nodes", name == "PatientConnection.edges":
		return rows * (patientCost + c.set(f.SelectionSet, 0))
	case name == "PatientConnection.totalCount":
		return countCost
	case f.ObjectDefinition == c.schema.Mutation:
		return mutationCost + c.set(f.SelectionSet, 0)
	case name == "Query.__schema":
		return 1 + c.set(f.SelectionSet, 0)
	case name == "Query.__type", strings.HasPrefix(name, "__Schema.") && c.average[name] == 0:
		c.chosen = true
		return 1 + c.set(f.SelectionSet, 0)
	case f.ObjectDefinition == c.schema.Query, f.ObjectDefinition == c.schema.Subscription:
		return lookUpCost + c.set(f.SelectionSet, 0)
	case c.average[name] > 0:
		return 1 + c.elements(name)*c.within(name).set(f.SelectionSet, 0)
	case longLists[name] > 0:
		return longLists[name] * (1 + c.set(f.SelectionSet, 0))
	default:
		return 1 + c.set(f.SelectionSet, 0)
	}
}

// elements is how many elements a list of introspection has.
func (c costWalk) elements(list string) int {
	if c.chosen && c.longest[list] > 0 && list != "__Field.args" {
		return c.longest[list]
	}
	return c.average[list]
}

// within is the walk below such a list: only the first one below all types has
// the average of all.
func (c costWalk) within(list string) costWalk {
	c.chosen = c.chosen || strings.HasPrefix(list, "__Type.")
	return c
}

// page returns how many rows' worth a page asks for. A size out of bounds, or
// that is none, is refused by the resolver.
func (c costWalk) page(f *ast.Field) (rows int) {
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
	return rows
}

// filtered reports whether a page is one of few among all.
func (c costWalk) filtered(f *ast.Field) bool {
	filter, _ := c.argument(f, "filter").(map[string]any)
	return len(filter) > 0
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

// hasPatients reports whether more than a count is asked for.
func hasPatients(selections ast.SelectionSet) bool {
	for _, selection := range selections {
		switch selected := selection.(type) {
		case *ast.Field:
			if selected.Name == "nodes" || selected.Name == "edges" || selected.Name == "pageInfo" {
				return true
			}
		case *ast.InlineFragment:
			if hasPatients(selected.SelectionSet) {
				return true
			}
		case *ast.FragmentSpread:
			if hasPatients(selected.Definition.SelectionSet) {
				return true
			}
		}
	}
	return false
}

func textSize(value any) (size int) {
	switch v := value.(type) {
	case string:
		return len(v)
	case json.Number: // also where a text is wanted
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
