package fhir

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

const (
	maxIssues = 50  // HAPI's full validation can give hundreds
	maxReason = 300 // runes
)

// internalError stands for texts that show the inside of the server.
const internalError = "The server reported an internal error"

// readIssues reads the reasons in the forms that servers use: OperationOutcome,
// OpenEMR's validationErrors, {error, message} and OAuth's {error,
// error_description, hint}. Errors come first; nil when the body has none of
// these forms.
func readIssues(body []byte) []Issue {
	if !gjson.ValidBytes(body) {
		return nil
	}
	doc := gjson.ParseBytes(body)
	var issues []Issue
	switch {
	case str(doc, "resourceType") == "OperationOutcome":
		issues = outcomeIssues(doc)
	case member(doc, "validationErrors").IsObject():
		issues = validationIssues(member(doc, "validationErrors"))
	default:
		if message := plainError(doc); message != "" {
			issues = []Issue{{Severity: "error", Code: "processing", Message: message, Expression: []string{}}}
		}
	}
	slices.SortStableFunc(issues, func(a, b Issue) int { return severityRank(a.Severity) - severityRank(b.Severity) })
	return issues[:min(len(issues), maxIssues)]
}

// severityRank is 0 for errors. Severity is a modifier (FHIR OperationOutcome):
// a warning is not an error. What has none counts as an error.
func severityRank(severity string) int {
	switch severity {
	case "warning":
		return 1
	case "information":
		return 2
	}
	return 0
}

// lineAndColumn matches HAPI's "Line[1] Col[80]" among the paths.
var lineAndColumn = regexp.MustCompile(`(?i)^\(?line\b`)

func outcomeIssues(doc gjson.Result) []Issue {
	var issues []Issue
	for _, entry := range elements(member(doc, "issue")) {
		details := member(entry, "details")
		issue := Issue{Severity: str(entry, "severity"), Code: str(entry, "code"), Message: str(entry, "diagnostics")}
		if issue.Message == "" {
			issue.Message = str(details, "text")
		}
		for _, coding := range elements(member(details, "coding")) {
			if issue.Message == "" {
				issue.Message = str(coding, "display")
			}
		}
		issue.Expression = strs(member(entry, "expression"))
		if len(issue.Expression) == 0 {
			issue.Expression = strs(member(entry, "location"))
		}
		issue.Expression = slices.DeleteFunc(issue.Expression, lineAndColumn.MatchString)
		if issue.Expression == nil {
			issue.Expression = []string{}
		}
		issues = append(issues, issue)
	}
	return issues
}

// validationIssues reads OpenEMR's {field: {rule: text}}; the field goes into
// Expression.
func validationIssues(fields gjson.Result) []Issue {
	var issues []Issue
	fields.ForEach(func(field, rules gjson.Result) bool {
		for _, text := range allStrings(rules, 0) {
			issues = append(issues, Issue{Severity: "error", Code: "invalid", Message: text, Expression: []string{field.Str}})
		}
		return true
	})
	return issues
}

func allStrings(v gjson.Result, depth int) []string {
	if v.Type == gjson.String {
		return []string{v.Str}
	}
	var list []string
	if v.Type == gjson.JSON && depth < 5 {
		v.ForEach(func(_, value gjson.Result) bool {
			list = append(list, allStrings(value, depth+1)...)
			return true
		})
	}
	return list
}

func plainError(doc gjson.Result) string {
	message := str(doc, "error_description")
	if message == "" {
		message = str(doc, "message")
	}
	if message == "" {
		message = str(doc, "error")
	}
	if hint := str(doc, "hint"); hint != "" {
		message += " (" + hint + ")"
	}
	return message
}

// Signs of a page or of SQL inside a text.
var (
	markup = regexp.MustCompile(`</?[A-Za-z!][^>]*>`)
	sql    = regexp.MustCompile(`(?is)\bSQLSTATE\b|\bsql statement\b|\binsert into \S|\bupdate \S+ set \b|\bdelete from \S|\bselect\b.+\bfrom\b.+\bwhere\b|\b(?-i:SELECT)\b.+\b(?-i:FROM)\b|\.sql\.`)
)

// tidy makes a server's text fit for a log line and a message: no markup, no
// SQL, no control characters, at most maxReason runes.
func tidy(text string) string {
	if markup.MatchString(text) || sql.MatchString(text) {
		return internalError
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason-1])
		if at := strings.LastIndexByte(text, ' '); at > len(text)/2 { // no half words: a value is found as a whole
			text = text[:at]
		}
		text += "…"
	}
	return text
}
