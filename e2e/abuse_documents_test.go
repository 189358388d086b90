package e2e_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/internal/cost"
)

// graphiQLIntrospection is what GraphiQL and code generators ask a server first.
const graphiQLIntrospection = `query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name }
  types { ...FullType } directives { name description locations args { ...InputValue } } } }
fragment FullType on __Type { kind name description specifiedByURL
  fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
  inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }`

// TestAbuseDocumentsThatMultiply sends documents whose effort grows faster than
// they do. Each is refused, or answered, for little more than a normal request,
// and within 20 MiB.
func TestAbuseDocumentsThatMultiply(t *testing.T) {
	s := StartSystem(t, dbtest.SQLite(t), "INTROSPECTION=true", "LOG_LEVEL=info")
	patient := func(fields string) string { return `{ patient(id: "x") { ` + fields + ` } } ` }
	const limit, invalid = "LIMIT_EXCEEDED", "GRAPHQL_VALIDATION_FAILED"
	normal := cost.Cost{}
	for range 20 { // the first ones pay for connections and statements
		if c := cost.Of(t, func() { s.Patient(Number) }); normal.CPU == 0 || c.CPU < normal.CPU {
			normal = c
		}
	}
	t.Logf("a normal request: %v, %d bytes", normal.CPU, normal.Bytes)
	for name, d := range map[string]struct{ query, code string }{
		"20 fragments that double":        {patient("...F0") + chain(20, "...F%d ...F%d"), limit},
		"40 fragments that double":        {patient("...F0") + chain(40, "...F%d ...F%d"), limit},
		"200 fragments that double":       {patient("...F0") + chain(200, "...F%d ...F%d"), limit},
		"fragments that nobody spreads":   {`{ viewer { role } } ` + chain(40, "...F%d ...F%d"), limit},
		"deep fragments":                  {patient("...F0") + chain(25, "a { ...F%d }"), limit},
		"one field again and again":       {patient(strings.Repeat("id ", 2_000)), limit},
		"more fields than one object has": {patient(repeated(2_900, "x%d ")), limit},
		"spreads of unknown fragments":    {patient(repeated(2_480, "...a%d ")), invalid},
		"fragments side by side":          {patient(repeated(440, "...F%d ")) + repeated(440, "fragment F%d on Patient { f%d: id } "), limit},
		"inline fragments within":         {`{ patient(id: "x") ` + strings.Repeat("{ ... ", 40) + "{ id }" + strings.Repeat("}", 41), limit},
		"fragments within":                {patient("...F0") + chain(15, "...F%d"), limit},
		"results with lists":              {`mutation { updatePatientProfile(input: {patientId: "x", allergies: [` + strings.Repeat(`"" `, 100) + `]}) { ... on InvalidInput { ` + repeated(90, "a%d: fieldErrors { field message rule } ") + `} } }`, limit},
		"pages with filters":              {`{ ` + repeated(45, `p%d: patients(first: 1, filter: {updatedSince: "2000-01-01T00:00:00Z", syncState: SYNCED}) { nodes { id } } `) + `}`, limit},
		"as often as tokens allow":        {patient(strings.Repeat("id ", 4_980)), limit},
		"one field in fragments":          {patient(repeated(400, "...F%d ")) + repeated(400, "fragment F%d on Patient { id } "), limit},
		"fields and fragments with them":  {patient(repeated(140, "id ...F%d ")) + repeated(140, "fragment F%d on Patient { id phone } "), limit},
		"many counts":                     {`{ ` + repeated(240, `y%d: patients(filter: {birthDate: "1940"}) { totalCount } `) + `}`, limit},
		"counts beside each other":        {`{ ` + repeated(45, `y%d: patients(filter: {birthDate: "1940"}) { totalCount } `) + `}`, limit},
		"20,000 aliases":                  {patient(repeated(20_000, "a%d: id ")), limit},
		"many look-ups":                   {`{ ` + repeated(450, `p%d: patient(id: "x") { id } `) + `}`, limit},
		"many pages":                      {`{ ` + repeated(45, `p%d: patients(first: 200) { nodes { id } } `) + `}`, limit},
		"many mutations":                  {`mutation { ` + repeated(11, `m%d: updatePatientProfile(input: {patientId: "x", bloodType: "A+"}) { __typename } `) + `}`, limit},
		"a cycle":                         {patient("...A") + `fragment A on Patient { ...B } fragment B on Patient { ...A }`, invalid},
		"deep fields":                     {`{ patient(id: "x") ` + strings.Repeat("{ a ", 30) + strings.Repeat("}", 30) + `}`, limit},
		"deep brackets":                   {strings.Repeat("{a", 2_400), limit},
		"deep lists":                      {`{ patients(filter: {name: ` + strings.Repeat("[", 2_000) + `]}) { totalCount } }`, limit},
		"a long name":                     {patient(strings.Repeat("x", 60_000)), limit},
		"many unknown fields":             {patient(repeated(490, "x%d ")), invalid},
		"many directives":                 {patient("id " + strings.Repeat("@skip(if: false) ", 700)), limit},
		"many unknown directives":         {patient("id " + repeated(1_400, "@d%d ")), limit},
		"many operations":                 {repeated(300, `query Q%d { viewer { role } } `), limit},
		"many variables":                  {`query(` + repeated(600, `$v%d: ID `) + `) { viewer { role } }`, limit},
		"many values of a default":        {`query($v: [ID] = [` + strings.Repeat("1 ", 3_500) + `]) { viewer { role } }`, limit},
		"many arguments":                  {`{ patient(` + repeated(1_400, `a%d: 1 `) + `) { id } }`, invalid},
		"one argument again and again":    {`{ patient(` + strings.Repeat(`id: 1 `, 1_400) + `) { id } }`, invalid},
		"many input fields":               {`{ patients(filter: {` + repeated(1_400, `a%d: 1 `) + `}) { totalCount } }`, invalid},
		"a comment":                       {`{ viewer { role } } #` + strings.Repeat("x", 1<<20-100), limit},
		"a megabyte of blanks":            {`{ viewer { role } }` + strings.Repeat(" ", 1<<20-100), limit},
		"many comments":                   {`{ viewer { role } }` + strings.Repeat("#\n", 30_000), limit},
		"a block string of line breaks":   {`{ patient(id: """` + strings.Repeat("\n", 60_000) + `""") { id } }`, ""},
		"wide introspection":              {`{ __schema { types { ` + repeated(90, `a%d: fields { name type { name kind ofType { name kind } } } `) + `} } }`, limit},
		"deep introspection":              {`{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }`, limit},
		"introspection of one type":       {`{ ` + repeated(1, `x%d: __type(name: "UserError") { possibleTypes { fields { type { ofType { enumValues { ...F } } } } } } `) + `} fragment F on __EnumValue { ` + repeated(90, "a%d: description ") + `}`, limit},
		"what GraphiQL asks for":          {graphiQLIntrospection, ""},
		"interfaces of possible types":    {`{ __schema { types { possibleTypes { interfaces { possibleTypes { name } } } } } }`, limit},
	} {
		body := Body(t, d.query, nil)
		var answer Answer
		c := cost.Of(t, func() { answer = s.Post(body) })
		code, size := answer.ErrorCode(), answer.Size
		t.Logf("%-32s %8d bytes in, %8d out: %10v, %9d bytes allocated, %s", name, len(body), size, c.CPU, c.Bytes, code)
		if code != d.code {
			t.Errorf("%s: code %q, want %q", name, code, d.code)
		}
		if size > 64<<10 && d.query != graphiQLIntrospection {
			t.Errorf("%s: an answer of %d bytes", name, size)
		}
		// What these tried took thousands of times as much.
		if c.CPU > 300*normal.CPU || c.Bytes > maxAllocated {
			t.Errorf("%s took %v and %d bytes, a normal request %v and %d", name, c.CPU, c.Bytes, normal.CPU, normal.Bytes)
		}
	}
}
