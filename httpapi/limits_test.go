package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/graph"
	"patientgraph/internal/cost"
	"patientgraph/internal/wait"
	"patientgraph/resolvers"
)

// numbered writes a text n times, each with its number in the place of %d.
func numbered(n int, text string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%d", fmt.Sprint(i)))
	}
	return b.String()
}

// everyMember selects every field of every member of a change's result.
const everyMember = `__typename
  ... on UpdatePatientContactSuccess { operationId normalized patient { ...P } }
  ... on UserError { message code retryable }
  ... on InvalidInput { fieldErrors { field message rule } }
  ... on UpdateConflict { operationId conflictingFields current { ...P } }
  ... on FhirRejected { operationId patient { ...P } detail httpStatus issues { severity code message expression field } }
  ... on FhirUnavailable { operationId patient { ...P } detail applied retryAfterSeconds }`

const patientFragment = ` fragment P on Patient { id familyName givenName fullName birthDate birthYear gender phone email
  address { text lines city district state postalCode country } emergencyContact { name relationship phone source }
  allergies bloodType active deceased replacedBy fhirId isSynced lastSyncedAt syncState version createdAt updatedAt }`

// countedLimits are documents with n of what a limit counts, which pass with the
// limit's own number and are refused with one more.
var countedLimits = []struct {
	name  string
	limit int
	query func(n int) (query string, variables map[string]any)
}{
	{"aliases", maxAliases, func(n int) (string, map[string]any) {
		return `{ viewer { ` + numbered(n, "a%d: role ") + `} }`, nil
	}},
	{"aliases", maxAliases, func(n int) (string, map[string]any) { // a fragment's count wherever it is spread
		return `{ a: viewer { ...F } b: viewer { ...F } viewer { ` + numbered(n-2-80, "a%d: role ") + `} } fragment F on Viewer { ` + numbered(40, "b%d: role ") + `}`, nil
	}},
	{"root fields", maxRootFields, func(n int) (string, map[string]any) { return `{ ` + numbered(n, "a%d: viewer { role } ") + `}`, nil }},
	{"root fields", maxRootFields, func(n int) (string, map[string]any) { return `{ ` + strings.Repeat("__typename ", n) + `}`, nil }},
	{"root fields", maxRootFields, func(n int) (string, map[string]any) {
		return `{ ...F ... on Query { ` + numbered(n-20, "a%d: viewer { role } ") + `} } fragment F on Query { ` + numbered(20, "b%d: viewer { role } ") + `}`, nil
	}},
	{"mutations", maxMutations, func(n int) (string, map[string]any) {
		return `mutation($i: UpdatePatientContactInput!) { ` + numbered(n, `m%d: updatePatientContact(input: $i) { `+everyMember+` } `) + `}` + patientFragment,
			map[string]any{"i": map[string]any{"patientId": "x", "phone": "1"}}
	}},
	{"mutations", maxMutations, func(n int) (string, map[string]any) {
		return `mutation { ...F } fragment F on Mutation { ` + numbered(n, `m%d: updatePatientProfile(input: {patientId: "x", bloodType: "A+"}) { __typename } `) + `}`, nil
	}},
	{"directives", maxDirectives, func(n int) (string, map[string]any) {
		return `query($b: Boolean!) { ` + strings.Repeat(`... @skip(if: $b) { __typename @include(if: $b) } `, n/4) +
			`viewer { ` + strings.Repeat(`role @include(if: $b) `, n-n/4*2) + `} }`, map[string]any{"b": true}
	}},
	{"directives in one place", maxDirectivesAtOnce, func(n int) (string, map[string]any) {
		return `{ __typename ` + numbered(n, "@d%d ") + `}`, nil
	}},
	{"directives in one place", maxDirectivesAtOnce, func(n int) (string, map[string]any) {
		return `query($b: Boolean ` + strings.Repeat("@d ", n) + `) { __typename }`, nil
	}},
	{"list", maxList, func(n int) (string, map[string]any) {
		return `mutation { updatePatientProfile(input: {patientId: "x", allergies: [` + strings.Repeat(`"" `, n) + `]}) { __typename } }`, nil
	}},
	{"list", maxList, func(n int) (string, map[string]any) {
		return `mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }`,
			map[string]any{"i": map[string]any{"patientId": "x", "address": map[string]any{"lines": make([]any, n)}}}
	}},
	{"list", maxList, func(n int) (string, map[string]any) {
		return `query($v: [ID] = [` + strings.Repeat("1 ", n) + `]) { viewer { role } }`, nil
	}},
	{"variables", maxVariables, func(n int) (string, map[string]any) {
		return `query(` + numbered(n, `$v%d: ID `) + `) { viewer { role } }`, nil
	}},
	{"operations", maxOperations, func(n int) (string, map[string]any) { return numbered(n, `query Q%d { viewer { role } } `), nil }},
	{"fields deep", maxDepth, func(n int) (string, map[string]any) {
		return strings.Repeat("{ a ", n) + strings.Repeat("}", n), nil
	}},
	{"fragments within each other", maxWithin, func(n int) (string, map[string]any) {
		return `{ ` + strings.Repeat("... { ", n) + `__typename ` + strings.Repeat("}", n) + ` }`, nil
	}},
	{"fields of one object", maxFields, func(n int) (string, map[string]any) { return `{ viewer { ` + numbered(n, "x%d ") + `} }`, nil }},
	{"characters", maxName, func(n int) (string, map[string]any) { return `{ ` + strings.Repeat("x", n) + ` }`, nil }},
	{"bytes", maxQuery, func(n int) (string, map[string]any) {
		return `{ viewer { role } }` + strings.Repeat(" ", n-len(`{ viewer { role } }`)), nil
	}},
	{"tokens", maxTokens, func(n int) (string, map[string]any) {
		return `{ ` + strings.Repeat("! ", n-2) + ` }`, nil
	}},
}

// refusal is what the limits say of a document, its cost among them if it is valid.
func refusal(t testing.TB, query string, variables map[string]any) error {
	t.Helper()
	if err := (documentLimits{graphql.NoCache[*ast.QueryDocument]{}}).MutateOperationParameters(t.Context(), &graphql.RawParams{Query: query, Variables: variables}); err != nil {
		return err
	}
	schema := graph.NewExecutableSchema(graph.Config{}).Schema()
	document, errs := gqlparser.LoadQueryWithRules(schema, query, nil)
	if errs != nil {
		return nil // refused by what comes after the limits
	}
	if err := newCostLimit(schema).MutateOperationContext(t.Context(), &graphql.OperationContext{Operation: document.Operations[0], Variables: variables}); err != nil {
		return err
	}
	return nil
}

func TestEachLimitAllowsItsNumberAndSaysIt(t *testing.T) {
	t.Parallel()
	for _, l := range countedLimits {
		query, variables := l.query(l.limit)
		if err := refusal(t, query, variables); err != nil {
			t.Errorf("%d %s: %v", l.limit, l.name, err)
		}
		query, variables = l.query(l.limit + 1)
		err, _ := refusal(t, query, variables).(*gqlerror.Error)
		if err == nil || err.Extensions["code"] != resolvers.CodeLimitExceeded || !strings.Contains(err.Message, fmt.Sprint(l.limit)) || !strings.Contains(err.Message, l.name) {
			t.Errorf("%d %s: %v", l.limit+1, l.name, err)
		}
	}
}

// A name in the answer is written once for each row: nobody needs 100 long ones on a page.
func TestALongNameInTheAnswerCostsMore(t *testing.T) {
	t.Parallel()
	page := func(letters int) string {
		return `{ patients(first: 200) { nodes { ` + numbered(80, strings.Repeat("x", letters-3)+"_%d: id ") + `} } }`
	}
	if err := refusal(t, page(nameLetters-1), nil); err != nil {
		t.Error(err)
	}
	if err := refusal(t, page(nameLetters+1), nil); err == nil || !strings.Contains(err.Error(), "the operation costs 34200") {
		t.Error(err)
	}
}

// TestAbuseQueriesThatWaitAreBounded has queries wait, as for a database that hangs:
// one more is told to come back, and there is room again when one has its answer.
func TestAbuseQueriesThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	d := &operationDeadline{mutation: time.Hour}
	ask := func(kind ast.Operation, viewer int) graphql.ResponseHandler {
		ctx := auth.WithViewer(t.Context(), auth.Viewer{Subject: strconv.Itoa(viewer)})
		ctx = graphql.WithOperationContext(ctx, &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: kind}})
		return d.InterceptOperation(ctx, func(context.Context) graphql.ResponseHandler { return graphql.OneShot(&graphql.Response{}) })
	}
	refusedTo := func(respond graphql.ResponseHandler, says string) {
		t.Helper()
		refused := respond(t.Context()).Errors
		if len(refused) != 1 || refused[0].Extensions["code"] != resolvers.CodeUnavailable || refused[0].Extensions["retryAfterSeconds"] != 1 || !strings.HasPrefix(refused[0].Message, says) {
			t.Errorf("one more is told %v", refused)
		}
	}
	waiting := make([]graphql.ResponseHandler, maxQueries)
	for n := range waiting {
		if n == maxQueriesOfViewer {
			refusedTo(ask(ast.Query, 0), "you have 500 queries")
		}
		waiting[n] = ask(ast.Query, n/maxQueriesOfViewer)
	}
	another := maxQueries / maxQueriesOfViewer
	refusedTo(ask(ast.Query, another), "2000 queries")
	for _, kind := range []ast.Operation{ast.Mutation, ast.Subscription} {
		if errs := ask(kind, another)(t.Context()).Errors; errs != nil {
			t.Errorf("a %s is told %v", kind, errs)
		}
	}
	waiting[0](t.Context())
	wait.Until(t, "there is room for one more", func() bool { return ask(ast.Query, 0)(t.Context()).Errors == nil })
	for _, respond := range waiting {
		respond(t.Context())
	}
	wait.Until(t, "all is free", func() bool { return d.queries.Load() == 0 })
}

// BenchmarkRefusals tells what it costs the server to refuse, in processor time and
// without a client.
func BenchmarkRefusals(b *testing.B) {
	handler := known(checkedRequest(newGraphQL(serverOf(Options{Resolver: &resolvers.Resolver{}, Introspection: true}))))
	bodies := map[string]string{
		"20000-aliases":         requestBody(`{ `+numbered(20_000, "a%d: __typename ")+`}`, nil),
		"a-cycle":               requestBody(`{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }`, nil),
		"blanks-of-1-MiB":       requestBody(`{ viewer { role } }`+strings.Repeat(" ", 1<<20-100), nil),
		"a-comment-of-1-MiB":    requestBody(`{ viewer { role } } #`+strings.Repeat("x", 1<<20-100), nil),
		"escaped-blanks":        `{"query":"{ viewer { role } }` + strings.Repeat(`\u0020`, 170_000) + `"}`,
		"blanks-outside":        `{"query":"{ nothing }"` + strings.Repeat(" ", 1<<20-100) + `}`,
		"deep-variables":        `{"query":"{ viewer { role } }","variables":{"a":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}}`,
		"wide-variables":        `{"query":"{ viewer { role } }","variables":{"a":[` + strings.Repeat("1,", 9_900) + `1]}}`,
		"unknown-input-members": requestBody(`{ patients(filter: {`+numbered(1_400, `a%d: 1 `)+`}) { totalCount } }`, nil),
		"one-field-4980-times":  requestBody(`{ viewer { `+strings.Repeat("role ", 4_970)+`} }`, nil),
		"240-counts":            requestBody(`{ `+numbered(240, `y%d: patients(filter: {birthDate: "1940"}) { totalCount } `)+`}`, nil),
		"directives":            requestBody(`{ viewer { role `+strings.Repeat("@skip(if: false) ", 700)+`} }`, nil),
		"a-megabyte-30-times":   requestBody(`query($v: ID!) { `+numbered(30, "p%d: patient(id: $v) { id } ")+`}`, map[string]any{"v": strings.Repeat("x", 1<<20-4_000)}),
		"a-megabyte-of-escapes": `{"query":"query($v: ID!) { ` + numbered(30, "p%d: patient(id: $v) { id } ") + `}","variables":{"v":"` + strings.Repeat(`\u0041`, 170_000) + `"}}`,
		"deep-megabyte":         `{"query":"query($v: ID!) { nothing }","variables":{"v":` + strings.Repeat(`[`, 30) + `"` + strings.Repeat("x", 1<<20-4_000) + `"` + strings.Repeat(`]`, 30) + `}}`,
		"many-texts":            `{"query":"query($v: ID!) { nothing }","variables":{"v":"x"` + numbered(9_900, `,"%d":"`+strings.Repeat("x", 85)+`\n"`) + `}}`,
		"doubling-fragments":    requestBody(`{ ...F0 } `+numbered(40, "fragment F%d on Query { ...F ...F } "), nil),
	}
	for _, l := range countedLimits {
		query, variables := l.query(l.limit + 1)
		bodies[strings.ReplaceAll(l.name, " ", "-")] = requestBody(query, variables)
	}
	for name, text := range bodies {
		b.Run(name, func(b *testing.B) {
			used := cost.Of(b, func() {
				for b.Loop() {
					request := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(text))
					request.Header.Set("Content-Type", "application/json")
					answer := httptest.NewRecorder()
					handler.ServeHTTP(answer, request)
					if !strings.Contains(answer.Body.String(), `"errors"`) {
						b.Fatalf("%.300s", answer.Body)
					}
				}
			})
			b.ReportMetric(float64(used.CPU.Microseconds())/float64(b.N)/1000, "cpu-ms/op")
			b.ReportMetric(float64(used.Bytes)/float64(b.N)/(1<<20), "MiB/op")
		})
	}
}

func requestBody(query string, variables map[string]any) string {
	text, _ := json.Marshal(map[string]any{"query": query, "variables": variables}) // always encodes
	return string(text)
}
