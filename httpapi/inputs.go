package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/graph"
	"patientgraph/resolvers"
)

// inputTypes refuses a request with an argument that is not of its type, before anything
// is carried out (GraphQL section 3.5, 6.1.2). gqlparser (2.5.64) takes a JSON number for
// a String, any for an ID and a value of an enum in the wrong case, and looks at no custom
// scalar; gqlgen would make a text of the number, or find out when a mutation has begun.
type inputTypes struct {
	schema *ast.Schema
}

func (inputTypes) ExtensionName() string                   { return "InputTypes" }
func (inputTypes) Validate(graphql.ExecutableSchema) error { return nil }

func (t inputTypes) MutateOperationContext(_ context.Context, o *graphql.OperationContext) *gqlerror.Error {
	return t.set(o.Operation.SelectionSet, o.Variables)
}

// set and what it calls give an error the path from where they are: most requests are
// right, and need none.
func (t inputTypes) set(selections ast.SelectionSet, variables map[string]any) *gqlerror.Error {
	for _, selection := range selections {
		var err *gqlerror.Error
		switch selected := selection.(type) {
		case *ast.Field:
			err = t.field(selected, variables)
		case *ast.InlineFragment:
			err = t.set(selected.SelectionSet, variables)
		case *ast.FragmentSpread:
			err = t.set(selected.Definition.SelectionSet, variables)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t inputTypes) field(f *ast.Field, variables map[string]any) *gqlerror.Error {
	for _, argument := range f.Arguments {
		value, err := argument.Value.Value(variables)
		if err != nil {
			value = nil // a number that validation has refused
		}
		if err := t.check(f.Definition.Arguments.ForName(argument.Name).Type, value); err != nil {
			if argument.Position != nil {
				err.Locations = []gqlerror.Location{{Line: argument.Position.Line, Column: argument.Position.Column}}
			}
			return under(ast.PathName(f.Alias), under(ast.PathName(argument.Name), err))
		}
	}
	return under(ast.PathName(f.Alias), t.set(f.SelectionSet, variables))
}

// under puts an element before the path of an error; nil: there is none.
func under[E ast.PathName | ast.PathIndex](element E, err *gqlerror.Error) *gqlerror.Error {
	if err != nil {
		err.Path = slices.Insert(err.Path, 0, ast.PathElement(element))
	}
	return err
}

// check looks at a value, whose null and whose shape validation has looked at.
func (t inputTypes) check(of *ast.Type, value any) *gqlerror.Error {
	if value == nil {
		return nil
	}
	if of.Elem != nil {
		list := reflect.ValueOf(value)
		if list.Kind() != reflect.Slice { // one value stands for a list of it
			return t.check(of.Elem, value)
		}
		for i := range list.Len() {
			if err := t.check(of.Elem, list.Index(i).Interface()); err != nil {
				return under(ast.PathIndex(i), err)
			}
		}
		return nil
	}
	definition := t.schema.Types[of.NamedType]
	if members, ok := value.(map[string]any); ok && definition.Kind == ast.InputObject {
		for _, field := range definition.Fields {
			if err := t.check(field.Type, members[field.Name]); err != nil {
				return under(ast.PathName(field.Name), err)
			}
		}
		return nil
	}
	err := checkValue(definition, value)
	if err == nil {
		return nil
	}
	refusal := &gqlerror.Error{Message: err.Error()}
	if definition.BuiltIn || definition.Kind == ast.Enum {
		errcode.Set(refusal, errcode.ValidationFailed)
	} else {
		refusal.Extensions = map[string]any{"code": resolvers.CodeBadUserInput}
	}
	return refusal
}

var (
	errNoString  = errors.New("a String is a text in quotes")
	errNoID      = errors.New("an ID is a text in quotes or a whole number")
	errNoInt     = errors.New("an Int is a whole number from -2147483648 to 2147483647")
	errNoBoolean = errors.New("a Boolean is true or false")
	errNoEnum    = errors.New("this is none of the values that may stand here; upper and lower case differ")
)

// What gqlparser says of a variable: with another number than the one that was sent, and
// the kinds of Go, where a number is a string.
var (
	cannotUse = regexp.MustCompile(`^cannot use .* as (String|ID|Int|Boolean)$`)
	noObject  = regexp.MustCompile(`^must be a (\w+), not a [a-z0-9]+$`)
	builtIn   = map[string]error{"String": errNoString, "ID": errNoID, "Int": errNoInt, "Boolean": errNoBoolean}
)

// reworded says what is wrong where the libraries do not; gqlgen's words name an operation
// without a name.
func reworded(e *gqlerror.Error) {
	switch kind := cannotUse.FindStringSubmatch(e.Message); {
	case kind != nil:
		e.Message = builtIn[kind[1]].Error()
	case e.Message == "enums must be ints or strings":
		e.Message = errNoEnum.Error()
	case e.Message == "operation  not found":
		e.Message = "the document has several operations: name the one to carry out as operationName"
	case e.Message == "must be defined", e.Message == "cannot be null":
		e.Message = needsValue + variableAt(e.Path)
	default:
		e.Message = noObject.ReplaceAllString(e.Message, "must be a $1, which is an object")
	}
}

const needsValue = "the request needs a value here, which is not null: "

// variableAt names what stands at a path into the variables: $input.patientId.
func variableAt(path ast.Path) string {
	return strings.Replace(path.String(), "variable.", "$", 1)
}

// checkValue looks at one scalar or value of an enum.
func checkValue(of *ast.Definition, value any) error {
	text, isText := value.(string)
	switch {
	case of.Kind == ast.Enum && (!isText || of.EnumValues.ForName(text) == nil):
		return errNoEnum
	case of.Name == "String" && !isText:
		return errNoString
	case of.Name == "ID" && !isText && !isWhole(value, math.MinInt64, math.MaxInt64):
		return errNoID
	case of.Name == "Int" && !isWhole(value, math.MinInt32, math.MaxInt32):
		return errNoInt
	case of.Name == "DateTime":
		_, err := graph.UnmarshalDateTime(value)
		return err
	case of.Name == "PartialDate":
		return new(graph.PartialDate).UnmarshalGQL(value)
	}
	return nil
}

func isWhole(value any, least, most int64) bool {
	var n int64
	switch v := value.(type) {
	case json.Number:
		var err error
		if n, err = strconv.ParseInt(v.String(), 10, 64); err != nil {
			return false
		}
	case int64:
		n = v
	case float64: // of a WebSocket's message
		n = int64(v)
		if float64(n) != v {
			return false
		}
	default:
		return false
	}
	return least <= n && n <= most
}

var _ graphql.OperationContextMutator = inputTypes{}
