package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"patientgraph/auth"
)

// The abuse suite: what a hostile caller, FHIR server or neighbour tried, one
// test each, in the files abuse_*_test.go. Costs are compared with a normal
// request of the same run.

// cost is what was spent while something ran, by the whole process: tests that
// measure it are not parallel.
type cost struct {
	cpu   time.Duration
	bytes uint64
}

func spent(t testing.TB, run func()) cost {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := cpuTime(t)
	run()
	used := cpuTime(t) - began
	runtime.ReadMemStats(&after)
	return cost{used, after.TotalAlloc - before.TotalAlloc}
}

// liveHeap is what stays after a collection.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// requestBody makes a request of a document.
func requestBody(t testing.TB, query string) string {
	t.Helper()
	body, err := json.Marshal(object{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// send sends a request body and returns status, size and code of the answer.
func (p *product) send(bearer, body string) (status, size int, code string) {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodPost, p.url+"/graphql", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	answer := object{}
	if err := json.Unmarshal(text, &answer); err != nil {
		p.t.Fatalf("status %d with a body that is no JSON object: %.200s", response.StatusCode, text)
	}
	return response.StatusCode, len(text), errorCode(answer)
}

// repeated writes a text n times, with the number of each in the place of %d.
func repeated(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if strings.Contains(format, "%d") {
			fmt.Fprintf(&b, strings.ReplaceAll(format, "%d", "%[1]d"), i)
		} else {
			b.WriteString(format)
		}
	}
	return b.String()
}

// doubling is n fragments of which each spreads the next one twice.
func doubling(n int) string {
	return `{ patient(id: "x") { ...F0 } } ` + repeated(n, `fragment F%d on Patient { ...N%d ...N%d } `) + fmt.Sprintf(`fragment F%d on Patient { id }`, n)
}

var abusiveDocuments = map[string]struct{ query, code string }{
	"one field again and again":      {`{ patient(id: "x") { ` + strings.Repeat("id ", 9_900/5) + `} }`, "LIMIT_EXCEEDED"},
	"as often as tokens allow":       {`{ patient(id: "x") { ` + strings.Repeat("id ", 4_980) + `} }`, "LIMIT_EXCEEDED"},
	"one field in fragments":         {`{ patient(id: "x") { ` + repeated(400, "...F%d ") + `} } ` + repeated(400, "fragment F%d on Patient { id } "), "LIMIT_EXCEEDED"},
	"many counts":                    {`{ ` + repeated(240, `y%d: patients(filter: {birthDate: "19%d"}) { totalCount } `) + `}`, "LIMIT_EXCEEDED"},
	"many look-ups":                  {`{ ` + repeated(500, `p%d: patient(id: "x") { id } `) + `}`, "LIMIT_EXCEEDED"},
	"many pages":                     {`{ ` + repeated(60, `p%d: patients(first: 200) { nodes { id } } `) + `}`, "LIMIT_EXCEEDED"},
	"many mutations":                 {`mutation { ` + repeated(11, `m%d: updatePatientProfile(input: {patientId: "x", bloodType: "A+"}) { __typename } `) + `}`, "LIMIT_EXCEEDED"},
	"a cycle":                        {`{ patient(id: "x") { ...A } } fragment A on Patient { ...B } fragment B on Patient { ...A }`, "GRAPHQL_VALIDATION_FAILED"},
	"deep fields":                    {`{ patient(id: "x") ` + strings.Repeat("{ a ", 30) + strings.Repeat("}", 30) + `}`, "LIMIT_EXCEEDED"},
	"deep fragments":                 {`{ patient(id: "x") { ...F0 } } ` + repeated(25, `fragment F%d on Patient { a { ...N%d } } `) + `fragment F25 on Patient { id }`, "LIMIT_EXCEEDED"},
	"deep brackets":                  {strings.Repeat("{a", 2_400), "LIMIT_EXCEEDED"},
	"deep lists":                     {`{ patients(filter: {name: ` + strings.Repeat("[", 2_000) + `]}) { totalCount } }`, "LIMIT_EXCEEDED"},
	"a long name":                    {`{ patient(id: "x") { ` + strings.Repeat("x", 60_000) + ` } }`, "LIMIT_EXCEEDED"},
	"many unknown fields":            {`{ patient(id: "x") { ` + repeated(2_900, "x%d ") + `} }`, "GRAPHQL_VALIDATION_FAILED"},
	"many directives":                {`{ patient(id: "x") { id ` + strings.Repeat("@skip(if: false) ", 700) + `} }`, "GRAPHQL_VALIDATION_FAILED"},
	"many unknown directives":        {`{ patient(id: "x") { id ` + repeated(1_400, "@d%d ") + `} }`, "GRAPHQL_VALIDATION_FAILED"},
	"many operations":                {repeated(300, `query Q%d { patient(id: "x") { id } } `), "LIMIT_EXCEEDED"},
	"many variables":                 {`query(` + repeated(600, `$v%d: ID `) + `) { patient(id: "x") { id } }`, "LIMIT_EXCEEDED"},
	"many arguments":                 {`{ patient(` + repeated(1_400, `a%d: 1 `) + `) { id } }`, "GRAPHQL_VALIDATION_FAILED"},
	"one argument again and again":   {`{ patient(` + strings.Repeat(`id: 1 `, 1_400) + `) { id } }`, "GRAPHQL_VALIDATION_FAILED"},
	"many input fields":              {`{ patients(filter: {` + repeated(1_400, `a%d: 1 `) + `}) { totalCount } }`, "GRAPHQL_VALIDATION_FAILED"},
	"a comment":                      {`{ viewer { role } } #` + strings.Repeat("x", 1<<20-100), "LIMIT_EXCEEDED"},
	"a megabyte of blanks":           {`{ viewer { role } }` + strings.Repeat(" ", 1<<20-100), "LIMIT_EXCEEDED"},
	"many comments":                  {`{ viewer { role } }` + strings.Repeat("#\n", 30_000), "LIMIT_EXCEEDED"},
	"a block string of line breaks":  {`{ patient(id: """` + strings.Repeat("\n", 60_000) + `""") { id } }`, ""},
	"fields and fragments with them": {`{ patient(id: "x") { ` + repeated(140, "id ...F%d ") + `} } ` + repeated(140, "fragment F%d on Patient { id phone } "), "LIMIT_EXCEEDED"},
	"wide introspection":             {`{ __schema { types { ` + repeated(200, `a%d: fields { name type { name kind ofType { name kind } } } `) + `} } }`, "LIMIT_EXCEEDED"},
	"deep introspection":             {`{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }`, "GRAPHQL_VALIDATION_FAILED"},
	"interfaces of possible types":   {`{ __schema { types { possibleTypes { interfaces { possibleTypes { name } } } } } }`, "GRAPHQL_VALIDATION_FAILED"},
}

// TestDocumentsThatMultiply sends documents whose effort grows faster than they
// do. Each is refused, or answered, for little more than a normal request.
func TestDocumentsThatMultiply(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "INTROSPECTION", "true", "LOG_LEVEL", "info")
	admin := token(t, auth.RoleAdmin, "")
	normal := cost{}
	for range 5 { // the first ones pay for connections and statements
		normal = spent(t, func() { s.patient(number) })
	}
	t.Logf("a normal request: %v, %d bytes", normal.cpu, normal.bytes)
	for _, n := range []int{20, 40, 200} {
		query := doubling(n)
		for i := range n {
			query = strings.ReplaceAll(query, fmt.Sprintf("...N%d ", i), fmt.Sprintf("...F%d ", i+1))
		}
		abusiveDocuments[fmt.Sprintf("%d fragments that double", n)] = struct{ query, code string }{query, "LIMIT_EXCEEDED"}
	}
	for name, d := range abusiveDocuments {
		for i := range 30 {
			d.query = strings.ReplaceAll(d.query, fmt.Sprintf("...N%d ", i), fmt.Sprintf("...F%d ", i+1))
		}
		body := requestBody(t, d.query)
		var code string
		var size int
		c := spent(t, func() { _, size, code = s.send(admin, body) })
		t.Logf("%-32s %8d bytes in, %8d out: %10v, %9d bytes allocated, %s", name, len(body), size, c.cpu, c.bytes, code)
		if code != d.code {
			t.Errorf("%s: code %q, want %q", name, code, d.code)
		}
	}
}
