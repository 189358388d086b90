// Command apidoc writes docs/api.md from schema.graphqls: a section for each type, in the
// schema's order.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

func main() {
	if err := write("schema.graphqls", "docs/api.md"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(from, to string) error {
	sdl, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	schema, err := parser.ParseSchema(&ast.Source{Name: from, Input: string(sdl)})
	if err != nil {
		return err
	}
	return os.WriteFile(to, []byte(page(schema)), 0o644)
}

// kinds are the words for people.
var kinds = map[ast.DefinitionKind]string{
	ast.Scalar: "Scalar", ast.Object: "Type", ast.Interface: "Interface", ast.Union: "Union", ast.Enum: "Enum", ast.InputObject: "Input",
}

var operations = []string{"Query", "Mutation", "Subscription"}

type document struct {
	strings.Builder
	schema *ast.SchemaDocument
}

// page is the whole text: what can be asked, changed and listened to, then the types.
func page(schema *ast.SchemaDocument) string {
	d := &document{schema: schema}
	d.line("# API")
	d.line("Generated from [schema.graphqls](../schema.graphqls) by `go generate`: change that. How to ask: [clients.md](clients.md); what each error means: [errors.md](errors.md).\n")
	for _, name := range operations {
		var fields []string
		for _, f := range schema.Definitions.ForName(name).Fields {
			fields = append(fields, "["+f.Name+"](#"+strings.ToLower(name+f.Name)+")")
		}
		d.line("- %s: %s", link(name), strings.Join(fields, ", "))
	}
	for _, kind := range []ast.DefinitionKind{ast.Union, ast.Object, ast.Interface, ast.InputObject, ast.Enum, ast.Scalar} {
		var names []string
		for _, t := range schema.Definitions {
			if t.Kind == kind && !slices.Contains(operations, t.Name) {
				names = append(names, t.Name)
			}
		}
		d.line("- %ss: %s", kinds[kind], links(names))
	}
	for _, name := range operations {
		d.operation(schema.Definitions.ForName(name))
	}
	for _, t := range schema.Definitions {
		if !slices.Contains(operations, t.Name) {
			d.definition(t)
		}
	}
	return d.String()
}

// operation has a section for each field, for these have arguments. It is headed by both
// names: Query.patient and Patient would have one anchor.
func (d *document) operation(t *ast.Definition) {
	d.line("\n## %s\n%s", t.Name, words(t.Description))
	for _, f := range t.Fields {
		d.line("\n### %s.%s\n%s. %s", t.Name, f.Name, typeLink(f.Type), told(f.Description, f.Directives))
		if len(f.Arguments) > 0 {
			d.line("\n| argument | type | |\n|---|---|---|")
		}
		for _, a := range f.Arguments {
			d.row(a.Name, a.Type, a.DefaultValue, a.Description, a.Directives)
		}
	}
}

func (d *document) definition(t *ast.Definition) {
	d.line("\n## %s\n%s. %s", t.Name, kinds[t.Kind], told(t.Description, t.Directives))
	if related := d.related(t); related != "" {
		d.line("\n%s", related)
	}
	switch {
	case len(t.EnumValues) > 0:
		d.line("\n| value | |\n|---|---|")
		for _, v := range t.EnumValues {
			d.line("| `%s` | %s |", v.Name, cell(told(v.Description, v.Directives)))
		}
	case len(t.Fields) > 0:
		d.line("\n| field | type | |\n|---|---|---|")
		for _, f := range t.Fields {
			d.row(f.Name, f.Type, f.DefaultValue, f.Description, f.Directives)
		}
	}
}

// related names the interfaces and unions of a type, and the members of one.
func (d *document) related(t *ast.Definition) string {
	var unions, implementers []string
	for _, other := range d.schema.Definitions {
		if slices.Contains(other.Types, t.Name) {
			unions = append(unions, other.Name)
		}
		if slices.Contains(other.Interfaces, t.Name) {
			implementers = append(implementers, other.Name)
		}
	}
	var said []string
	for _, r := range []struct {
		word  string
		names []string
	}{{"One of", t.Types}, {"Implemented by", implementers}, {"Implements", t.Interfaces}, {"Member of", unions}} {
		if len(r.names) > 0 {
			said = append(said, r.word+" "+links(r.names)+".")
		}
	}
	return strings.Join(said, " ")
}

func (d *document) row(name string, t *ast.Type, byDefault *ast.Value, description string, directives ast.DirectiveList) {
	if byDefault != nil {
		description = strings.TrimSpace(description) + " Default: `" + byDefault.String() + "`."
	}
	d.line("| `%s` | %s | %s |", name, typeLink(t), cell(told(description, directives)))
}

func (d *document) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// told is a description with what directives add to it.
func told(description string, directives ast.DirectiveList) string {
	said := words(description)
	if directive := directives.ForName("deprecated"); directive != nil {
		reason := "No longer supported" // the specification's default
		if given := directive.Arguments.ForName("reason"); given != nil {
			reason = given.Value.Raw
		}
		said = "**Deprecated:** " + reason + ". " + said
	}
	if directive := directives.ForName("specifiedBy"); directive != nil {
		said += " [Specification](" + directive.Arguments.ForName("url").Value.Raw + ")."
	}
	return said
}

// words is a description as one line of Markdown.
func words(description string) string {
	line := strings.Join(strings.Fields(description), " ")
	return strings.NewReplacer("<", `\<`, "_", `\_`, "[", `\[`, "]", `\]`).Replace(line)
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func link(name string) string { return "[" + name + "](#" + strings.ToLower(name) + ")" }

func links(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, link(name))
	}
	return strings.Join(all, ", ")
}

// typeLink is a type whose name leads to its section, if it has one.
func typeLink(t *ast.Type) string {
	text := t.String()
	if slices.Contains([]string{"ID", "Int", "Float", "String", "Boolean"}, t.Name()) {
		return "`" + text + "`"
	}
	begin, end, _ := strings.Cut(text, t.Name())
	return strings.ReplaceAll(begin, "[", `\[`) + link(t.Name()) + strings.ReplaceAll(end, "]", `\]`)
}
