package graph

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Whoever asks every member of a union or an interface for everything needs no alias: what
// has one name has one type. In the way of code generators, which write such documents.
func TestEveryMemberIsSelectableWithTheOthers(t *testing.T) {
	t.Parallel()
	var everything func(typ *ast.Definition, depth int) string
	everything = func(typ *ast.Definition, depth int) string {
		if typ.IsLeafType() {
			return ""
		}
		var b strings.Builder
		b.WriteString("{ __typename ")
		for _, f := range typ.Fields {
			of := parsedSchema.Types[f.Type.Name()]
			if len(f.Arguments) > 0 || strings.HasPrefix(f.Name, "__") || depth == 0 && !of.IsLeafType() {
				continue
			}
			fmt.Fprintf(&b, "%s %s ", f.Name, everything(of, depth-1))
		}
		if typ.IsAbstractType() {
			for _, member := range parsedSchema.GetPossibleTypes(typ) {
				fmt.Fprintf(&b, "... on %s %s ", member.Name, everything(member, depth-1))
			}
		}
		return b.String() + "}"
	}
	roots := map[string]string{
		"UpdatePatientContactResult": `mutation { updatePatientContact(input: {patientId: "x"}) %s }`,
		"UpdatePatientProfileResult": `mutation { updatePatientProfile(input: {patientId: "x"}) %s }`,
		"UserError":                  `mutation { updatePatientContact(input: {patientId: "x"}) { ... on UserError %s } }`,
		"Node":                       `query { node(id: "x") %s }`,
	}
	for name, typ := range parsedSchema.Types {
		if !typ.IsAbstractType() {
			continue
		}
		root, known := roots[name]
		if !known {
			t.Errorf("no operation of this test asks for %s", name)
			continue
		}
		document := fmt.Sprintf(root, everything(typ, 4))
		if _, err := gqlparser.LoadQueryWithRules(parsedSchema, document, rules.NewDefaultRules()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
