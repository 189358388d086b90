package fhir

import (
	"regexp"

	"github.com/tidwall/gjson"
)

// What is read of a server's reasons at most.
const (
	maxIssues      = 50  // HAPI's full validation can give hundreds
	maxExpressions = 10  // of one issue
	maxExpression  = 200 // bytes
	maxReason      = 300 // runes of a message as it is passed on
)

// internalError stands for texts that show the inside of the server.
const internalError = "The server reported an internal error"

// readIssues reads the reasons in the forms that servers use: OperationOutcome,
// OpenEMR's validationErrors, {error, message} and OAuth's {error,
// error_description, hint}. Errors come first; nil when the body has none of
// these forms. The issues are not scrubbed yet.
func readIssues(body []byte) []Issue {
	if !gjson.ValidBytes(body) {
		return nil
	}
	doc := gjson.ParseBytes(body)
	switch {
	case str(doc, "resourceType") == "OperationOutcome":
		return outcomeIssues(doc)
	case member(doc, "validationErrors").IsObject():
		return validationIssues(member(doc, "validationErrors"))
	}
	if message := plainError(doc); message != "" {
		return []Issue{{Severity: "error", Code: "processing", Message: message, Expression: []string{}}}
	}
	return nil
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

// outcomeIssues reads the first issues of each rank, as many as are passed on.
func outcomeIssues(doc gjson.Result) []Issue {
	var ranks [3][]Issue
	entries := member(doc, "issue")
	if !entries.IsArray() {
		return nil
	}
	entries.ForEach(func(_, entry gjson.Result) bool {
		severity := str(entry, "severity")
		if rank := severityRank(severity); len(ranks[rank]) < maxIssues {
			ranks[rank] = append(ranks[rank], outcomeIssue(entry, severity))
		}
		return len(ranks[0]) < maxIssues
	})
	all := append(append(ranks[0], ranks[1]...), ranks[2]...)
	return all[:min(len(all), maxIssues)]
}

func outcomeIssue(entry gjson.Result, severity string) Issue {
	details := member(entry, "details")
	issue := Issue{Severity: severity, Code: str(entry, "code"), Message: str(entry, "diagnostics")}
	if issue.Message == "" {
		issue.Message = str(details, "text")
	}
	if codings := member(details, "coding"); issue.Message == "" && codings.IsArray() {
		codings.ForEach(func(_, coding gjson.Result) bool {
			issue.Message = str(coding, "display")
			return issue.Message == ""
		})
	}
	issue.Expression = expressions(member(entry, "expression"))
	if len(issue.Expression) == 0 {
		issue.Expression = expressions(member(entry, "location"))
	}
	return issue
}

// lineAndColumn matches HAPI's "Line[1] Col[80]" among the paths.
var lineAndColumn = regexp.MustCompile(`(?i)^\(?line\b`)

// expressions reads the first paths of a list, never nil. One that is too long
// to be a path is not passed on.
func expressions(v gjson.Result) []string {
	list := []string{}
	if !v.IsArray() {
		return list
	}
	v.ForEach(func(_, e gjson.Result) bool {
		switch path := e.Str; {
		case e.Type != gjson.String:
		case len(path) > maxExpression:
			list = append(list, hidden)
		case !lineAndColumn.MatchString(path):
			list = append(list, path)
		}
		return len(list) < maxExpressions
	})
	return list
}

// validationIssues reads OpenEMR's {field: {rule: text}}; the field goes into
// Expression.
func validationIssues(fields gjson.Result) []Issue {
	var issues []Issue
	fields.ForEach(func(field, rules gjson.Result) bool {
		expression := field.Str
		if len(expression) > maxExpression {
			expression = hidden
		}
		var texts []string
		someStrings(rules, 0, maxIssues-len(issues), &texts)
		for _, text := range texts {
			issues = append(issues, Issue{Severity: "error", Code: "invalid", Message: text, Expression: []string{expression}})
		}
		return len(issues) < maxIssues
	})
	return issues
}

// someStrings lists the first strings anywhere in v.
func someStrings(v gjson.Result, depth, limit int, list *[]string) {
	switch {
	case v.Type == gjson.String && len(*list) < limit:
		*list = append(*list, v.Str)
	case v.Type == gjson.JSON && depth < 5:
		v.ForEach(func(_, value gjson.Result) bool {
			someStrings(value, depth+1, limit, list)
			return len(*list) < limit
		})
	}
}

func plainError(doc gjson.Result) string {
	message := str(doc, "error_description")
	if message == "" {
		message = str(doc, "message")
	}
	if message == "" {
		message = str(doc, "error")
	}
	if hint := str(doc, "hint"); hint != "" && len(message)+len(hint) < maxText {
		message += " (" + hint + ")"
	}
	return message
}
