package main

import (
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// TestPage: what the schema does not have now is told too, when it has it.
func TestPage(t *testing.T) {
	t.Parallel()
	schema, err := parser.ParseSchema(&ast.Source{Input: `
		type Query { "All." things(first: Int = 20, "How many." count: Int @deprecated(reason: "Use first")): [Thing!]! }
		"a | b <c>" type Thing { "Once." old: String @deprecated }
		type Mutation { none: Thing }
		type Subscription { none: Thing }`})
	if err != nil {
		t.Fatal(err)
	}
	text := page(schema)
	for _, part := range []string{
		"- [Query](#query): [things](#querythings)\n",
		"### Query.things\n\\[[Thing](#thing)!\\]!. All.\n",
		"| `first` | `Int` | Default: `20`. |",
		"| `count` | `Int` | **Deprecated:** Use first. How many. |",
		"## Thing\nType. a | b \\<c>\n",
		"| `old` | `String` | **Deprecated:** No longer supported. Once. |",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
}
