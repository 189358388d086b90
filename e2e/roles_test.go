package e2e_test

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/graph"
)

const rolesFile = "testdata/roles.txt"

// caller is a column of the table: somebody who asks.
type caller struct {
	name   string
	claims Object // nil: no token
}

// callers has every role, then roles with tokens that allow less or name others.
func callers() []caller {
	mine := []string{ownNumber, ownMerged}
	list := []caller{{"none", nil}, {"unknown", Object{"role": "janitor", "patient_id": ownNumber}}}
	for _, role := range auth.Roles() {
		claims := Object{"role": role}
		if role == string(auth.RolePatient) {
			claims["patient_id"] = mine
		}
		list = append(list, caller{role, claims})
	}
	list = append(list,
		caller{"carer", Object{"role": "patient", "patient_id": append(mine, childNumber)}},
		caller{"admin:r", Object{"role": "admin", "scope": "user/Patient.r"}},
		caller{"admin:s", Object{"role": "admin", "scope": "user/Patient.s"}},
		caller{"admin:u", Object{"role": "admin", "scope": "user/Patient.u"}},
		caller{"admin:own.read", Object{"role": "admin", "patient_id": mine, "scope": "patient/Patient.read"}},
		caller{"patient:read", Object{"role": "patient", "patient_id": mine, "scope": "patient/Patient.read"}},
		caller{"patient:write", Object{"role": "patient", "patient_id": mine, "scope": "patient/Patient.write"}},
		caller{"analyst:own.rs", Object{"role": "analyst", "patient_id": mine, "scope": "patient/Patient.rs"}},
	)
	for _, c := range list {
		if c.claims != nil {
			c.claims["sub"] = c.name
		}
	}
	return list
}

// whose is the class of a record in the table: own or other. Staff has none of its own;
// for it the classes are those of the patient.
func (c caller) whose(number string) string {
	if number == ownNumber || number == ownMerged || number == childNumber && c.name == "carer" {
		return "own"
	}
	return "other"
}

// The cells of the table. Of several answers the greater text counts: what is shown once
// is shown.
const (
	never  = "-"     // no answer brings what the field belongs to
	empty  = "null"  // nothing, or what stands for it
	filled = "value" // what is there
)

// rolesTable says for each coordinate of the schema, caller and class of record what the
// answers had.
type rolesTable struct {
	t      *testing.T
	schema *ast.Schema
	cells  map[string]map[string]map[string]string // coordinate, caller, class
	// shown tells of each caller and record in which way a field of Patient came: two
	// ways would be a way around.
	shown map[[3]string]string
}

func (table *rolesTable) note(coordinate string, c caller, class, cell string) {
	of := table.cells[coordinate]
	if of == nil {
		of = map[string]map[string]string{}
		table.cells[coordinate] = of
	}
	if of[c.name] == nil {
		of[c.name] = map[string]string{}
	}
	of[c.name][class] = max(of[c.name][class], cell)
}

// walk notes what an answer holds of a type. class is whose record it is about.
func (table *rolesTable) walk(c caller, class, typename string, value any) {
	if list, isList := value.([]any); isList {
		for _, v := range list {
			table.walk(c, class, typename, v)
		}
		return
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return
	}
	if name, given := object["__typename"].(string); given {
		typename = name
	}
	number, _ := object["id"].(string)
	if typename == "Patient" {
		class = c.whose(number)
	}
	for _, field := range table.schema.Types[typename].Fields {
		value, asked := object[field.Name]
		if !asked {
			continue
		}
		coordinate, cell := typename+"."+field.Name, cellOf(typename, field.Name, value)
		table.note(coordinate, c, class, cell)
		if typename == "Patient" {
			key := [3]string{c.name, number, field.Name}
			if before := cmp.Or(table.shown[key], cell); before != cell {
				table.t.Errorf("%s of %s is shown to %s as %s and as %s", coordinate, number, c.name, before, cell)
			}
			table.shown[key] = cell
		}
		table.walk(c, class, field.Type.Name(), value)
	}
}

// cellOf reports whether a value is what is there, or what stands for nothing.
func cellOf(typename, field string, value any) string {
	switch {
	case value == nil, value == "UNKNOWN" && field == "gender",
		typename == "Patient" && (value == true && field == "active" || value == false && field == "deceased"):
		return empty
	}
	return filled
}

// selection asks for everything that a type has: a type within itself once.
func (table *rolesTable) selection(typename string, within ...string) string {
	definition := table.schema.Types[typename]
	var asked []string
	switch definition.Kind {
	case ast.Union, ast.Interface:
		for _, member := range table.schema.GetPossibleTypes(definition) {
			asked = append(asked, "... on "+member.Name+table.selection(member.Name, append(within, typename)...))
		}
	case ast.Object:
		for _, field := range definition.Fields {
			if name := field.Type.Name(); !slices.Contains(within, name) && name != typename && !strings.HasPrefix(field.Name, "__") {
				asked = append(asked, field.Name+table.selection(name, append(within, typename)...))
			}
		}
	default:
		return ""
	}
	return " { __typename " + strings.Join(asked, " ") + " }"
}

// ask runs a field of the root as a caller, notes what came, and returns it with the
// code of the error, if there was one.
func (table *rolesTable) ask(p *Product, c caller, class, root, field, arguments string) (value any, code string) {
	operation := table.schema.Types[root]
	answer := p.As(tokenOf(table.t, c)).Post(Body(table.t, strings.ToLower(root)+" { "+field+arguments+table.selection(operation.Fields.ForName(field).Type.Name())+" }", nil))
	switch code = answer.ErrorCode(); code {
	case "", "UNAUTHENTICATED", "BAD_USER_INPUT":
	default:
		table.t.Fatalf("%s asks for %s%s: %v", c.name, field, arguments, answer)
	}
	table.wantNoIdentifiers(c, answer.Object)
	value = answer.At("data", field)
	table.walk(c, class, operation.Fields.ForName(field).Type.Name(), value)
	return value, code
}

// wantNoIdentifiers fails if an answer to who sees no identifiers has one, be it encoded in
// a cursor or an error.
func (table *rolesTable) wantNoIdentifiers(c caller, answer Object) {
	if !slices.Contains([]string{"none", "unknown", "analyst", "analyst:own.rs", "admin:u", "patient:write"}, c.name) {
		return
	}
	text := readings(JSON(table.t, answer))
	for _, identifier := range []string{"okoro", "amara", "1990-05-17", "main st", "ngozi", "1111-2222", "ins-77"} {
		if strings.Contains(text, identifier) {
			table.t.Errorf("%s is told %s: %s", c.name, identifier, text)
		}
	}
}

func tokenOf(t *testing.T, c caller) string {
	t.Helper()
	if c.claims == nil {
		return ""
	}
	return TokenOf(t, c.claims)
}

// lines writes the table: a coordinate, then what each caller has of it, of an own record
// and of another where the two differ.
func (table *rolesTable) lines() string {
	var b strings.Builder
	for _, coordinate := range slices.Sorted(maps.Keys(table.cells)) {
		b.WriteString(coordinate)
		for _, c := range callers() {
			cells := table.cells[coordinate][c.name]
			cell, other := cmp.Or(cells["own"], cells[""], never), cmp.Or(cells["other"], cells[""], never)
			if other != cell {
				cell += "/" + other
			}
			b.WriteString(" " + c.name + "=" + cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// coordinates are what the table must have a line for.
func coordinates(schema *ast.Schema) (list []string) {
	for _, definition := range schema.Types {
		if definition.BuiltIn || strings.HasPrefix(definition.Name, "__") {
			continue
		}
		isRoot := slices.Contains([]*ast.Definition{schema.Query, schema.Mutation, schema.Subscription}, definition)
		for _, field := range definition.Fields {
			if strings.HasPrefix(field.Name, "__") || definition.Kind == ast.Interface {
				continue
			}
			list = append(list, definition.Name+"."+field.Name)
			for _, argument := range field.Arguments {
				list = append(list, definition.Name+"."+field.Name+"("+argument.Name+":)")
			}
			if !isRoot && len(field.Arguments) > 0 {
				list = append(list, definition.Name+"."+field.Name+": only fields of the root may have arguments here")
			}
		}
		if definition.Name == "PatientOrder" {
			for _, value := range definition.EnumValues {
				list = append(list, "PatientOrder."+value.Name)
			}
		}
	}
	return list
}

// TestWhoMayDoAndSeeWhat holds testdata/roles.txt: one line for each field, argument,
// member of an input and order, with what every caller has of it. What is new in the
// schema needs its sample in roles_samples_test.go and its line: go test ./e2e -run
// TestWhoMayDoAndSeeWhat -update. Read the difference.
func TestWhoMayDoAndSeeWhat(t *testing.T) {
	t.Parallel()
	schema := graph.NewExecutableSchema(graph.Config{}).Schema()
	table := &rolesTable{t: t, schema: schema, cells: map[string]map[string]map[string]string{}, shown: map[[3]string]string{}}
	w := startWard(t)
	for _, c := range callers() {
		table.listen(w, c)
	}
	for _, c := range callers() {
		table.readAll(w, c)
	}
	for _, c := range callers() { // what is written changes what is listed
		table.writeAll(w, c)
	}
	for _, c := range callers() {
		table.askAgain(w, c)
	}
	table.hear(w)

	for _, coordinate := range coordinates(schema) {
		if table.cells[coordinate] == nil {
			t.Errorf("%s: no answer has it; give it a sample or a case in roles_samples_test.go", coordinate)
		}
	}
	got := table.lines()
	if *updateMatrix {
		if err := os.WriteFile(rolesFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(rolesFile)
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Split(string(want), "\n")
	for line := range strings.Lines(got) {
		if line = strings.TrimSuffix(line, "\n"); !slices.Contains(before, line) {
			t.Errorf("not in %s: %s", rolesFile, line)
		}
	}
	if !t.Failed() && got != string(want) {
		t.Errorf("%s has lines of what is no more", rolesFile)
	}
}

// fieldsOfPatient lists, in alphabetical order, those of which the table has a cell.
func fieldsOfPatient(t *testing.T, cell string) []string {
	t.Helper()
	text, err := os.ReadFile(rolesFile)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for line := range strings.Lines(string(text)) {
		if field, of := strings.CutPrefix(line, "Patient."); of && strings.Contains(line, cell) {
			name, _, _ := strings.Cut(field, " ")
			fields = append(fields, name)
		}
	}
	if len(fields) == 0 {
		t.Fatalf("no field of Patient has%s", cell)
	}
	return fields
}

// TestTheSchemaSaysWhoGetsWhat: the description of Patient names what the role analyst,
// and who may only write, gets, as the table has it.
func TestTheSchemaSaysWhoGetsWhat(t *testing.T) {
	t.Parallel()
	description := strings.Join(strings.Fields(graph.NewExecutableSchema(graph.Config{}).Schema().Types["Patient"].Description), " ")
	for beginning, cell := range map[string]string{
		"Null for the role analyst: ": " analyst=" + empty,
		"It gets ":                    " analyst=" + filled,
		"Who may write the record but not read it gets ": " admin:u=" + filled,
	} {
		_, list, _ := strings.Cut(description, beginning)
		list, _, _ = strings.Cut(list, ".")
		said := strings.FieldsFunc(strings.Replace(list, " and ", ", ", 1), func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(said)
		if want := fieldsOfPatient(t, cell); !slices.Equal(said, want) {
			t.Errorf("%q says %v, the table %v", beginning, said, want)
		}
	}
}

// TestThePageKnowsWhatIsHidden: GraphiQL says of the fields that it lists, and of no others,
// that an analyst sees null there.
func TestThePageKnowsWhatIsHidden(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../web/graphiql/src/identifiers.ts")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(source), "const identifiers = [")
	list, _, _ = strings.Cut(list, "]")
	listed := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune("', \n", r) })
	slices.Sort(listed)
	if want := fieldsOfPatient(t, " analyst="+empty); !slices.Equal(listed, want) {
		t.Errorf("the page lists %v, the table %v", listed, want)
	}
}
