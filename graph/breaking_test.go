package graph

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// breaks lists what of a schema clients of an older one miss: what findBreakingChanges of
// graphql-js finds (graphql-inspector calls the same breaking), and other defaults,
// specifications and kinds of operations.
type breaks struct {
	old, new *ast.Schema
	found    []string
}

func breakingChanges(old, new *ast.Schema) []string {
	b := &breaks{old: old, new: new}
	for name, was := range old.Types {
		if is := new.Types[name]; is == nil {
			b.add("type %s is gone", name)
		} else if is.Kind != was.Kind {
			b.add("%s is %s, and was %s", name, is.Kind, was.Kind)
		} else {
			b.definition(was, is)
		}
	}
	for name, was := range old.Directives {
		is := new.Directives[name]
		if is == nil {
			b.add("@%s is gone", name)
			continue
		}
		b.arguments("@"+name, was.Arguments, is.Arguments)
		for _, location := range was.Locations {
			if !slices.Contains(is.Locations, location) {
				b.add("@%s may not stand at %s any more", name, location)
			}
		}
		if was.IsRepeatable && !is.IsRepeatable {
			b.add("@%s may not be repeated any more", name)
		}
	}
	for operation, was := range map[string][2]*ast.Definition{
		"queries": {old.Query, new.Query}, "mutations": {old.Mutation, new.Mutation}, "subscriptions": {old.Subscription, new.Subscription},
	} {
		if was[0] != nil && (was[1] == nil || was[0].Name != was[1].Name) {
			b.add("%s begin no more at %s", operation, was[0].Name)
		}
	}
	slices.Sort(b.found)
	return b.found
}

func (b *breaks) add(format string, args ...any) {
	b.found = append(b.found, fmt.Sprintf(format, args...))
}

func (b *breaks) definition(was, is *ast.Definition) {
	if was.Directives.ForName("oneOf") == nil && is.Directives.ForName("oneOf") != nil {
		b.add("%s is @oneOf", was.Name)
	}
	if before, now := specifiedBy(was), specifiedBy(is); before != "" && before != now {
		b.add("%s is specified by %q, and was by %q", was.Name, now, before)
	}
	for _, member := range append(slices.Clone(was.Types), was.Interfaces...) {
		if !slices.Contains(is.Types, member) && !slices.Contains(is.Interfaces, member) {
			b.add("%s and %s have nothing to do with each other any more", was.Name, member)
		}
	}
	for _, value := range was.EnumValues {
		if is.EnumValues.ForName(value.Name) == nil {
			b.add("%s.%s is gone", was.Name, value.Name)
		}
	}
	for _, field := range was.Fields {
		name := was.Name + "." + field.Name
		now := is.Fields.ForName(field.Name)
		switch {
		case now == nil:
			b.add("%s is gone", name)
		case was.Kind == ast.InputObject && !accepts(now.Type, field.Type), was.Kind != ast.InputObject && !accepts(field.Type, now.Type):
			b.add("%s is %s, and was %s", name, now.Type, field.Type)
		case !sameValue(field.DefaultValue, now.DefaultValue): // of an input
			b.add("%s has another default", name)
		default:
			b.arguments(name, field.Arguments, now.Arguments)
		}
	}
	for _, field := range is.Fields {
		if was.Kind == ast.InputObject && was.Fields.ForName(field.Name) == nil && field.Type.NonNull && field.DefaultValue == nil {
			b.add("%s.%s is new, and must be given", was.Name, field.Name)
		}
	}
}

func (b *breaks) arguments(of string, was, is ast.ArgumentDefinitionList) {
	for _, argument := range was {
		now := is.ForName(argument.Name)
		switch {
		case now == nil:
			b.add("%s(%s) is gone", of, argument.Name)
		case !accepts(now.Type, argument.Type):
			b.add("%s(%s) is %s, and was %s", of, argument.Name, now.Type, argument.Type)
		case !sameValue(argument.DefaultValue, now.DefaultValue):
			b.add("%s(%s) has another default", of, argument.Name)
		}
	}
	for _, argument := range is {
		if was.ForName(argument.Name) == nil && argument.Type.NonNull && argument.DefaultValue == nil {
			b.add("%s(%s) is new, and must be given", of, argument.Name)
		}
	}
}

func specifiedBy(scalar *ast.Definition) string {
	if d := scalar.Directives.ForName("specifiedBy"); d != nil {
		return d.Arguments.ForName("url").Value.Raw
	}
	return ""
}

func sameValue(x, y *ast.Value) bool {
	return (x == nil) == (y == nil) && (x == nil || x.String() == y.String())
}

// accepts reports whether what may stand where given is may stand where wanted is.
func accepts(wanted, given *ast.Type) bool {
	switch {
	case wanted.NonNull && !given.NonNull, (wanted.Elem == nil) != (given.Elem == nil):
		return false
	case wanted.Elem != nil:
		return accepts(wanted.Elem, given.Elem)
	}
	return wanted.NamedType == given.NamedType
}

func parsed(t *testing.T, sdl string) *ast.Schema {
	t.Helper()
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: sdl})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// lastReleased is the schema in schemas/ of the highest version.
func lastReleased(t *testing.T) (version, sdl string) {
	t.Helper()
	files, err := filepath.Glob("../schemas/*.graphql")
	if err != nil || len(files) == 0 {
		t.Fatal("schemas/ holds no schema that was released", err)
	}
	parts := func(file string) (numbers []int) {
		for part := range strings.SplitSeq(strings.TrimSuffix(filepath.Base(file), ".graphql"), ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				t.Fatalf("%s is not named by a version such as 1.2.3", file)
			}
			numbers = append(numbers, n)
		}
		return numbers
	}
	last := slices.MaxFunc(files, func(x, y string) int { return slices.Compare(parts(x), parts(y)) })
	text, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(last), string(text)
}

// A client that was made from the last released schema must go on working; docs/CONTRIBUTING.md
// says what to do where it cannot.
func TestTheSchemaBreaksNoClientOfTheLastReleasedOne(t *testing.T) {
	t.Parallel()
	version, sdl := lastReleased(t)
	for _, change := range breakingChanges(parsed(t, sdl), parsed(t, SDL())) {
		t.Errorf("since %s: %s", version, change)
	}
}

func TestChangesThatBreakClientsAreFound(t *testing.T) {
	t.Parallel()
	const sdl = `
		type Query { a(x: Int, y: [Int!] = [1]): String!  b: [A!]  u: U  c(i: In): C }
		interface I { id: ID! }  type A implements I { id: ID! }  type B { id: ID }
		union U = A | B  enum C { RED GREEN }  input In { a: String  b: String! }  scalar S
		scalar T @specifiedBy(url: "https://a.example")  type M { m: Int }  schema { query: Query  mutation: M }
		directive @d(x: Int) repeatable on FIELD | FRAGMENT_SPREAD`
	for name, c := range map[string]struct{ old, new, want string }{
		"a type":                         {`scalar S`, ``, "type S is gone"},
		"its kind":                       {`enum C { RED GREEN }`, `scalar C`, "C is SCALAR, and was ENUM"},
		"a field":                        {`u: U`, ``, "Query.u is gone"},
		"a new field":                    {`type A implements I { id: ID! }`, `type A implements I { id: ID!  x: Int }  extend type Query { z: Int }`, ""},
		"a field that may be null":       {`): String!`, `): String`, "Query.a is String, and was String!"},
		"a field of another type":        {`b: [A!]`, `b: [B!]`, "Query.b is [B!], and was [A!]"},
		"an element may be null":         {`b: [A!]`, `b: [A]`, "Query.b is [A], and was [A!]"},
		"no list":                        {`b: [A!]`, `b: A`, "Query.b is A, and was [A!]"},
		"never null any more":            {`b: [A!]`, `b: [A!]!`, ""},
		"an argument":                    {`x: Int, y`, `y`, "Query.a(x) is gone"},
		"an argument that must be given": {`x: Int, y`, `x: Int!, y`, "Query.a(x) is Int!, and was Int"},
		"a new one that must be":         {`c(i: In)`, `c(i: In, j: Int!)`, "Query.c(j) is new, and must be given"},
		"a new one that may be":          {`c(i: In)`, `c(i: In, j: Int, k: Int! = 1)`, ""},
		"another default":                {`= [1]`, `= [2]`, "Query.a(y) has another default"},
		"a member of a union":            {`union U = A | B`, `union U = A`, "U and B have nothing to do with each other any more"},
		"a new member":                   {`union U = A | B`, `union U = A | B | Query`, ""},
		"an interface":                   {`type A implements I`, `type A`, "A and I have nothing to do with each other any more"},
		"a value of an enum":             {`RED GREEN`, `RED`, "C.GREEN is gone"},
		"a new value":                    {`RED GREEN`, `RED GREEN BLUE`, ""},
		"an input field":                 {`a: String  b`, `b`, "In.a is gone"},
		"one that must be given":         {`a: String  b`, `a: String!  b`, "In.a is String!, and was String"},
		"one that may be left out":       {`b: String!`, `b: String`, ""},
		"a new one that must":            {`b: String! }`, `b: String!  c: Int! }`, "In.c is new, and must be given"},
		"a new one with a default":       {`b: String! }`, `b: String!  c: Int! = 1 }`, ""},
		"one of them":                    {`input In`, `input In @oneOf`, "In is @oneOf"},
		"its default":                    {`a: String  b`, `a: String = "x"  b`, "In.a has another default"},
		"another specification":          {`a.example`, `b.example`, `T is specified by "https://b.example", and was by "https://a.example"`},
		"a kind of operation":            {`  mutation: M }`, `}`, "mutations begin no more at M"},
		"a directive":                    {`directive @d(x: Int) repeatable on FIELD | FRAGMENT_SPREAD`, ``, "@d is gone"},
		"its argument":                   {`@d(x: Int)`, `@d`, "@d(x) is gone"},
		"its place":                      {`FIELD | FRAGMENT_SPREAD`, `FIELD`, "@d may not stand at FRAGMENT_SPREAD any more"},
		"its repetition":                 {`repeatable`, ``, "@d may not be repeated any more"},
	} {
		changed := strings.Replace(sdl, c.old, c.new, 1)
		if changed == sdl {
			t.Fatalf("%s: nothing was changed", name)
		}
		if found := strings.Join(breakingChanges(parsed(t, sdl), parsed(t, changed)), "; "); found != c.want {
			t.Errorf("%s: found %q, want %q", name, found, c.want)
		}
	}
}
