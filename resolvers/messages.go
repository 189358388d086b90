package resolvers

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"patientgraph/graph"
)

// words is what callers read of an outcome, by its code: the message, or the
// detail where the FHIR server's own reason is the message.
var words = map[graph.ErrorCode]string{
	graph.ErrorCodePatientNotFound:     "there is no patient with this id",
	graph.ErrorCodeNotPermitted:        "you may not change this patient",
	graph.ErrorCodeUpdateConflict:      "the record was changed by somebody else; look at it and try again",
	graph.ErrorCodeFhirRejected:        "FHIR server rejected the update",
	graph.ErrorCodeFhirCannotApply:     "FHIR server cannot store the update; nothing was sent",
	graph.ErrorCodeFhirNotApplied:      "FHIR server did not save all of the update",
	graph.ErrorCodeFhirPatientGone:     "the patient is gone from the FHIR server",
	graph.ErrorCodeFhirPatientReplaced: "the record was merged into another; nothing was changed",
	graph.ErrorCodeFhirPatientInactive: "the record is not active; nothing was changed",
	graph.ErrorCodeFhirForbidden:       "FHIR server refuses this patient or this change",
}

// What callers read where the code alone does not say enough.
const (
	profileNotPermittedWords = "you may not change all of these fields of this patient; nothing was changed"
	untouchedWords           = "FHIR server rejected the update because of an element that this update does not change"
	unavailableWords         = "FHIR server communication failed"
)

// rules has what is said of a broken rule; {0} stands for its parameter.
var rules = map[string]string{
	"required":          "is required",
	"min":               "must have at least {0} characters",
	"max":               "must have at most {0} characters",
	"email":             "must have the form name@example.org",
	"line":              "must not be blank or hold control characters or what is no character (U+FFFD)",
	"text":              "must not be blank or hold control characters other than line breaks, or what is no character (U+FFFD)",
	"phone":             "must be a valid number",
	"oneof":             "must be one of: {0}",
	"reused":            "was used with other content before",
	"clear-unguarded":   "is cleared only with expectedVersion or idempotencyKey, so that the request sent twice clears once",
	"nothing_to_change": "there is nothing to change: give at least one field",
}

var (
	spoken        = []language.Tag{language.English, language.Korean} // the first is the default
	matcher       = language.NewMatcher(spoken)
	isIndex       = regexp.MustCompile(`^[0-9]+$`)
	basicLanguage = regexp.MustCompile(`[a-z]+`) // of a tag: what is before the first hyphen
	numerals      = regexp.MustCompile(`[0-9]+`)
)

// Say returns a text of this program in the language of the caller. What it does not
// know, as the FHIR server's own words, stays as it is.
func Say(ctx context.Context, text string) string {
	if languageOf(ctx) != language.Korean {
		return text
	}
	if said, known := korean[text]; known {
		return said
	}
	for _, begin := range begins {
		if rest, found := strings.CutPrefix(text, begin); found {
			return korean[begin] + Say(ctx, rest)
		}
	}
	said, known := korean[numerals.ReplaceAllString(text, "#")]
	if !known {
		return text
	}
	for _, n := range numerals.FindAllString(text, -1) {
		said = strings.Replace(said, "#", n, 1)
	}
	return said
}

// fault words one broken rule, without the field's name. Where a list is too long the
// unit is entries.
func fault(ctx context.Context, path []string, rule, param string) *graph.FieldError {
	text := rules[rule]
	if rule == "max" && slices.Contains([]string{"lines", "allergies"}, last(path)) {
		text = "must have at most {0} entries"
	}
	if rule == "min" && param == "1" {
		text = "must not be empty"
	}
	return &graph.FieldError{Field: path, Message: Say(ctx, strings.ReplaceAll(text, "{0}", param)), Rule: rule}
}

// fieldName is how the caller calls the field at a path; "" of the input as a whole.
func fieldName(ctx context.Context, path []string) string {
	name := last(slices.DeleteFunc(slices.Clone(path), isIndex.MatchString))
	if languageOf(ctx) == language.Korean {
		return cmp.Or(koreanFields[name], name)
	}
	return name
}

func last(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}

type languageKey struct{}

// WithAcceptLanguage keeps the language that messages to this caller use:
// the best of ko and en for the header, en when it says nothing.
func WithAcceptLanguage(ctx context.Context, header string) context.Context {
	_, i := language.MatchStrings(matcher, spelledOut(header))
	return context.WithValue(ctx, languageKey{}, spoken[i])
}

// spelledOut is an Accept-Language without what cannot be read in it, and with the spoken
// languages that it does not name in the place of "*" (RFC 9110 section 12.5.4): the
// library gives up at the first, and takes the second for a language of its own.
func spelledOut(header string) string {
	var elements, wanted []string
	named := map[string]bool{}
	for element := range strings.SplitSeq(header, ",") {
		if _, _, err := language.ParseAcceptLanguage(element); err == nil {
			elements = append(elements, element)
			named[basicLanguage.FindString(strings.ToLower(element))] = true
		}
	}
	for _, element := range elements {
		name, weight, _ := strings.Cut(element, ";")
		if strings.TrimSpace(name) != "*" {
			wanted = append(wanted, element)
			continue
		}
		for _, tag := range spoken {
			if !named[tag.String()] {
				wanted = append(wanted, tag.String()+";"+weight)
			}
		}
	}
	return strings.Join(wanted, ",")
}

// Language names the language in which this caller is told messages.
func Language(ctx context.Context) string { return languageOf(ctx).String() }

func languageOf(ctx context.Context) language.Tag {
	if tag, ok := ctx.Value(languageKey{}).(language.Tag); ok {
		return tag
	}
	return spoken[0]
}
