package httpapi

import (
	"cmp"
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patientgraph/internal/sources"
)

// limitRows are how the row of docs/security.md begins that has the limit.
var limitRows = map[string]string{
	"httpapi.maxBody": "body", "httpapi.maxJSONDepth": "depth of its JSON", "httpapi.maxJSONValues": "brackets and commas",
	"httpapi.maxBlanks": "blanks", "httpapi.maxList": "values of one list", "httpapi.maxQuery": "document", "httpapi.maxTokens": "tokens",
	"httpapi.maxName": "a name in it", "httpapi.maxNested": "brackets within", "httpapi.maxParts": "fields, fragments",
	"httpapi.maxRootFields": "root fields", "httpapi.maxMutations": "mutations", "httpapi.maxAliases": "aliases",
	"httpapi.maxDirectives": "directives", "httpapi.maxDirectivesAtOnce": "directives", "httpapi.maxDepth": "depth in fields",
	"httpapi.maxWithin": "fragments within", "httpapi.maxFields": "fields of one object", "httpapi.maxOperations": "operations",
	"httpapi.maxVariables": "variables", "httpapi.maxPairs": "comparisons", "httpapi.maxCost": "cost", "httpapi.lookUpCost": "cost",
	"httpapi.updateCost": "cost", "httpapi.pageCost": "cost", "httpapi.patientCost": "cost", "httpapi.filterCost": "cost",
	"httpapi.countCost": "cost", "httpapi.mutationCost": "cost", "httpapi.inputBytes": "cost", "httpapi.nameLetters": "cost",
	"httpapi.maxAnswer":   "one answer",
	"httpapi.largeAnswer": "all answers over", "httpapi.maxLarge": "all answers over", "httpapi.maxQueries": "queries under way", "httpapi.maxQueriesOfViewer": "queries under way",
	"httpapi.largeBody": "what has come of all bodies", "httpapi.maxBodies": "what has come of all bodies", "httpapi.queryTimeout": "time of a query",
	"httpapi.maxErrors": "errors of one answer", "httpapi.maxSockets": "WebSockets", "httpapi.maxAtOnce": "operations under way", "httpapi.maxOfViewer": "operations under way",
	"httpapi.largeMessage": "what has come of all bodies",
	"httpapi.maxInit":      "a message", "httpapi.maxReceived": "a message", "httpapi.maxIntrospected": "lists of introspection",
	"httpapi.maxOperationID": "the id of an operation", "httpapi.maxAccept": "`Accept`",
	"httpapi.maxAcceptLanguage": "`Accept`", "httpapi.sendTimeout": "time to receive",
	"resolvers.maxName": "name that is searched", "resolvers.maxPhone": "name that is searched", "resolvers.maxID": "name that is searched",
	"resolvers.maxIdentifier": "name that is searched", "resolvers.maxCursor": "name that is searched", "resolvers.MaxPage": "patients of one page",
	"resolvers.maxSubscriptions": "subscriptions", "resolvers.changesAtOnce": "changes of the own record",
	"resolvers.changesEvery": "changes of the own record", "writethrough.maxWrites": "contact updates",
	"writethrough.maxWritesOfPatient": "contact updates", "auth.maxToken": "token |", "auth.maxPatients": "patients that a token names",
}

// noLimits bound no request: what is kept, fetched or repeated.
var noLimits = []string{
	"httpapi.maxCachedQuery", "httpapi.maxCachedQueries", "httpapi.maxSeenDocuments", "httpapi.maxToldDocuments", "httpapi.maxMessage",
	"resolvers.maxMerges", "auth.maxCached", "auth.maxActor", "auth.maxJWKS", "auth.maxJWKSDepth", "auth.maxJWKSValues", "auth.maxTried", "auth.maxPassedOver",
}

// TestEveryLimitIsDocumented: the table of docs/security.md has each constant that bounds
// what one request or caller may do, with its value.
func TestEveryLimitIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| limit | value | the caller sees |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	found := map[string]bool{}
	for _, pattern := range []string{"*.go", "../resolvers/*.go", "../writethrough/locks.go", "../auth/*.go"} {
		for name, value := range constants(t, pattern) {
			begins, listed := limitRows[name]
			found[name] = true
			row := slices.IndexFunc(rows, func(row string) bool { return listed && strings.HasPrefix(row, "| "+begins) })
			says := regexp.MustCompile(`(^|[^\d,])` + regexp.QuoteMeta(value) + `($|[^\d,]|,\D)`)
			switch bounds := strings.HasPrefix(strings.ToLower(name[strings.Index(name, ".")+1:]), "max"); {
			case !listed && bounds && !slices.Contains(noLimits, name):
				t.Errorf("%s is in no row of docs/security.md, nor is it known to bound no request", name)
			case listed && row < 0:
				t.Errorf("docs/security.md has no row that begins with %q", begins)
			case listed && !says.MatchString(rows[row]):
				t.Errorf("%s is %s; docs/security.md says %s", name, value, rows[row])
			}
		}
	}
	for name := range limitRows {
		if !found[name] {
			t.Errorf("no constant is called %s", name)
		}
	}
}

// constants are the numbers that the files name, as the documentation writes them.
func constants(t *testing.T, pattern string) map[string]string {
	t.Helper()
	named := map[string]string{}
	for file, source := range sources.Of(t, pattern) {
		folder := strings.TrimPrefix(filepath.Dir(file), "../")
		if folder == "." {
			folder = "httpapi"
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:const |\t)(\w+) += (.+?)(?: +//.*)?$`).FindAllStringSubmatch(source, -1) {
			if value := written(m[2]); value != "" {
				named[folder+"."+m[1]] = value
			}
		}
	}
	return named
}

// written is 10 s, 64 KiB or 5,000; "" of what is no number.
func written(source string) string {
	number, seconds := strings.CutSuffix(source, "time.Second")
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, cmp.Or(strings.TrimSuffix(number, " * "), "1"))
	if err != nil || v.Value == nil || v.Value.Kind() != constant.Int {
		return ""
	}
	n, _ := constant.Int64Val(v.Value)
	switch {
	case seconds:
		return fmt.Sprint(n, " s")
	case strings.Contains(number, "<< 20"):
		return fmt.Sprint(n>>20, " MiB")
	case strings.Contains(number, "<< 10"):
		return fmt.Sprint(n>>10, " KiB")
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprint(n)
}
