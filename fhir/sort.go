package fhir

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// failure sorts an answer: nil when it is good (its parsed body is then in
// doc), else what it means for the caller. It is sorted once, however many ask.
func (a *answer) failure() error {
	if !a.sorted {
		a.sorted, a.sortedAs = true, a.sort()
	}
	return a.sortedAs
}

// sort is the one place where it is decided what an answer means.
func (a *answer) sort() error {
	e := &Error{Op: a.op, Status: a.status, Err: a.err, NotAsked: a.notAsked}
	var malformed textproto.ProtocolError // as for a control character in an ETag
	switch {
	case a.tokenError != nil:
		failed := *a.tokenError
		failed.Op = a.op
		return &failed
	case errors.Is(a.err, errStatus):
		e.Kind, e.Reason = Unusable, "The server answered with a status that HTTP does not know"
	case a.status == 0 && !a.sent:
		e.Kind = NotSent
		e.Reason, e.Timeout, e.Cause = cause(a.err, a.tlsFailure)
	case a.status == 0 && errors.As(a.err, &malformed):
		e.Kind, e.Reason = Unusable, "The server answered with a malformed header"
	case a.status == 0, a.err != nil && a.status < 300:
		e.Kind = Lost
		e.Reason, e.Timeout, e.Cause = cause(a.err, a.tlsFailure)
	case a.status < 300:
		return a.checkBody(e)
	default:
		a.sortRefusal(e)
	}
	return e
}

// silent reports whether it is an OK that shows no resource, in a form that FHIR
// allows (http#return): no body, or an OperationOutcome without an error. Any other
// body is no answer of a FHIR server.
func (a *answer) silent() bool {
	switch {
	case a.err != nil, a.unread != "":
		return false
	case a.status == http.StatusNoContent:
		return true
	case a.status != http.StatusOK && a.status != http.StatusCreated:
		return false
	case len(bytes.TrimSpace(a.body)) == 0:
		return true
	}
	outcome, found := a.outcome()
	return found && !hasError(outcome)
}

// outcome is the OperationOutcome that the body is, if it is one.
func (a *answer) outcome() (outcome gjson.Result, found bool) {
	doc, err := parseObject(a.body)
	return doc, err == nil && str(doc, "resourceType") == "OperationOutcome"
}

// checkBody accepts 200 (for what is written also 201) with one JSON object of the
// wanted kind and id.
func (a *answer) checkBody(e *Error) error {
	e.Kind = Unusable
	if a.status != http.StatusOK && (a.status != http.StatusCreated || a.op != OpUpdate && a.op != OpSubscribe) {
		e.Reason = fmt.Sprintf("The server answered with status %d", a.status)
		return e
	}
	if e.Reason = a.unreadable(); e.Reason != "" {
		if a.tooLong {
			e.Cause = TooLong
		}
		return e
	}
	err := a.parse()
	if err == nil {
		return nil
	}
	e.Reason, e.Err = "The answer is unusable: "+err.Error(), err
	if outcome, found := a.outcome(); found && a.op == OpUpdate && hasError(outcome) {
		e.Kind = Rejected // whatever the status says
	}
	if issues := a.issues(); len(issues) > 0 && !a.mayQuote() {
		e.Issues = issues
		e.Reason = firstError(issues, e.Reason)
	}
	return e
}

// mayQuote reports whether an answer may quote a patient: it says why one could
// not be read, and no record is at hand to find the values by. So its words are
// not repeated, unless they say that the patient is gone. A 401 is about
// ourselves.
func (a *answer) mayQuote() bool {
	return (a.op == OpRead || a.op == OpHistory) && a.status != http.StatusUnauthorized
}

func (a *answer) parse() error {
	parse := parseObject
	if a.op == OpSearch || a.op == OpHistory && a.id == "" {
		parse = parseBundle
	}
	doc, err := parse(a.body)
	if err != nil {
		return err
	}
	if !a.saysJSON() {
		return errContentType
	}
	if a.want == "Patient" {
		err = checkPatient(doc, a.id)
	} else if a.want != "" && str(doc, "resourceType") != a.want {
		err = errWrongType
	}
	a.doc = doc
	if err == nil && a.op == OpRead {
		_, err = a.etag()
	}
	return err
}

// unreadable says why a body cannot be read at all; "" when it may be JSON.
func (a *answer) unreadable() string {
	switch body := strings.TrimSpace(string(a.body[:min(len(a.body), 512)])); {
	case a.unread != "":
		return fmt.Sprintf("The server answered with %s (status %d)", a.unread, a.status)
	case body == "":
		return fmt.Sprintf("The server answered with an empty body (status %d)", a.status)
	case a.isXML():
		return fmt.Sprintf("The server answered in XML (status %d)", a.status)
	case strings.HasPrefix(body, "<"), strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html"):
		return fmt.Sprintf("The server answered with an HTML page (status %d)", a.status)
	}
	return ""
}

// isXML reports whether the body is XML, which is not understood, and no page.
func (a *answer) isXML() bool {
	body := strings.ToLower(strings.TrimSpace(string(a.body[:min(len(a.body), 512)])))
	if !strings.HasPrefix(body, "<") || strings.Contains(body, "<html") || strings.Contains(body, "<!doctype html") {
		return false
	}
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return strings.HasPrefix(body, "<?xml") || strings.Contains(body, `"http://hl7.org/fhir"`) ||
		strings.HasSuffix(media, "xml") && !strings.Contains(media, "html")
}

// sortRefusal sorts every status from 300 on.
func (a *answer) sortRefusal(e *Error) {
	e.Issues = a.issues()
	e.Kind = a.refusalKind()
	if a.mayQuote() && e.Kind != Gone {
		e.Issues = nil
	}
	e.RetryAfter = retryAfter(a.header.Get("Retry-After"), a.now)
	fallback := a.unreadable()
	if fallback == "" {
		fallback = fmt.Sprintf("The server answered with status %d", a.status)
	}
	switch {
	case a.status < 400:
		fallback = fmt.Sprintf("The server answered with a redirect, which is not followed (status %d)", a.status)
	case a.status == http.StatusNotFound && e.Kind != Gone:
		// The server's own words ("Route not found") would not help anybody.
		e.Issues = nil
		fallback = "The server does not know this address; the FHIR base URL may be wrong (status 404)"
	}
	e.Reason = firstError(e.Issues, fallback)
}

func (a *answer) refusalKind() Kind {
	switch s := a.status; {
	case s < 400:
		return Unusable
	case s == http.StatusUnauthorized, s == http.StatusForbidden && a.blamesToken():
		return AuthFailed
	case s == http.StatusForbidden:
		return Forbidden
	case s == http.StatusConflict, s == http.StatusPreconditionFailed, s == http.StatusLocked:
		if a.isBusy() {
			return Busy
		}
		return Conflict
	case s == http.StatusTooManyRequests:
		return RateLimited
	case s == http.StatusRequestTimeout, s >= 500:
		return Lost
	case s == http.StatusNotFound && a.isMissing():
		return Gone
	case s == http.StatusNotFound && a.op != OpUpdate:
		return Unusable
	case s == http.StatusGone && a.isDeleted():
		return Gone
	case s == http.StatusBadRequest:
		return a.sortBadRequest()
	}
	return Rejected
}

// isWholeJSON reports whether the answer came to its end and says that it is JSON. Of
// any other the body proves nothing.
func (a *answer) isWholeJSON() bool { return a.err == nil && a.saysJSON() }

func (a *answer) saysJSON() bool {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && (media == "application/fhir+json" || media == "application/json")
}

// isMissing reports whether it is a 404 that speaks of the patient: OpenEMR's [], or an
// OperationOutcome that says what is missing, and means no more than one resource. A
// missing route or tenant, a proxy's page or an unknown resource type (a wrong base URL
// on HAPI) is no proof that the patient is gone.
func (a *answer) isMissing() bool {
	if a.id == "" || !a.isWholeJSON() {
		return false
	}
	if strings.TrimSpace(string(a.body)) == "[]" {
		return true
	}
	outcome, found := a.outcome()
	if !found {
		return false
	}
	said, id := false, regexp.MustCompile(`\b`+regexp.QuoteMeta(a.id)+`\b`)
	for _, issue := range outcomeIssues(outcome) { // as the server wrote them
		words := id.ReplaceAllString(issue.Message, "")
		if issue.Code == "not-supported" || issue.Code == "security" || ofTheServer.MatchString(words) {
			return false
		}
		said = said || issue.Code == "not-found" || issue.Code == "deleted" || saysMissing.MatchString(words)
	}
	return said
}

// How servers say that they have no such resource (HAPI: "is not known"), and what is
// said of more than one.
var (
	saysMissing = regexp.MustCompile(`(?i)\bnot (?:be )?(?:known|found|exist)|\bno such\b|\bunknown\b|\bdeleted\b|\bno longer\b`)
	ofTheServer = regexp.MustCompile(`(?i)\b(?:routes?|tenants?|endpoints?|partitions?|paths?|urls?|resource types?|service)\b`)
)

// isDeleted reports whether it is a 410 that can be the FHIR server's own: without a
// body, or an OperationOutcome.
func (a *answer) isDeleted() bool {
	if a.id == "" || a.err != nil || a.unread != "" {
		return false
	}
	_, found := a.outcome()
	return found && a.saysJSON() || len(bytes.TrimSpace(a.body)) == 0
}

// sortBadRequest knows the 400s of OpenEMR that are no rejection of a value.
func (a *answer) sortBadRequest() Kind {
	if !gjson.ValidBytes(a.body) {
		return Rejected
	}
	doc := gjson.ParseBytes(a.body)
	invalid := member(doc, "validationErrors")
	switch {
	case strings.Contains(str(doc, "message"), "Refresh Token revoked or logged out"):
		return AuthFailed
	case !a.isWholeJSON():
	case a.isNamed(member(invalid, "uuid")),
		a.op == OpRead && member(invalid, "_id").Exists(): // an id that is no UUID
		return Gone
	}
	return Rejected
}

// isNamed reports whether what OpenEMR says of a UUID is about the patient: "<id>":
// "UUID <id> does not exist", or "…": " value <id>".
func (a *answer) isNamed(complaints gjson.Result) (named bool) {
	complaints.ForEach(func(key, text gjson.Result) bool {
		named = a.id != "" && (strings.EqualFold(key.Str, a.id) || strings.HasSuffix(strings.ToLower(text.Str), " "+strings.ToLower(a.id)))
		return !named
	})
	return named
}

// tokenFault finds in WWW-Authenticate that the token is at fault (RFC 6750 section 3.1).
var tokenFault = regexp.MustCompile(`(?i)\berror\s*=\s*"?(?:insufficient_scope|invalid_token)\b`)

func (a *answer) blamesToken() bool {
	return slices.ContainsFunc(a.header.Values("WWW-Authenticate"), tokenFault.MatchString)
}

// What FHIR (value set issue-type) has below transient, and conflict: not the value
// is at fault, but the moment.
var passingIssues = []string{
	"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled", "conflict",
}

// lockTexts are how servers tell of a race or a lock, be it under a type that names a
// value: some have but one type (HAPI: processing). A unique index is none, nor is a
// value that is quoted.
var lockTexts = regexp.MustCompile(`(?i)version constraint failure|client-assigned ID constraint failure|not the current version` +
	`|could not serialize|serialization failure|\b(?:optimistic|pessimistic|exclusive|record|row|table|edit|write) lock` +
	`|(?:^|[^"'\w])(?:(?:un)?locked|deadlock(?:ed)?)(?:[^"'\w]|$)|\block(?:ing)? (?:wait )?(?:time(?:d )?-?out|conflict|failure|failed|held|exists|not available|unavailable)` +
	`|(?:obtain|acquire|get|hold|held|release|place)(?:s|ed|ing)? (?:a |an |the |its )?lock` +
	`|concurrent(?:ly)? (?:update|modif|edit|change)|(?:updat|modifi|edit|chang)(?:ed|ing) concurrently` +
	`|\b(?:updated|modified|changed|edited|opened|held|in use) by (?:another|a different|some other) (?:user|session|client|process|transaction|thread|request)\b`)

// isBusy reports whether a 409, 412 or 423 names no value: no error at all (an empty
// body, a page of what stands between, XML, JSON of no known form), or only such as tell of the
// moment. What names a value is a refusal, whatever else is said.
func (a *answer) isBusy() bool {
	for _, issue := range readIssues(a.body) {
		passes := slices.Contains(passingIssues, issue.Code) || issue.Code == "" && issue.Message == "" || lockTexts.MatchString(issue.Message)
		if severityRank(issue.Severity) == 0 && !passes {
			return false
		}
	}
	return true
}

// issues reads the server's reasons, freed of what was sent.
func (a *answer) issues() []Issue {
	issues := readIssues(a.body)
	if len(issues) == 0 {
		return nil
	}
	secrets := SecretsOf()
	if a.op == OpUpdate {
		secrets = SecretsOf(a.request.body)
	}
	secrets.addCredentials(a.ownSecrets...)
	secrets.add(a.id, whole)
	// Only of an update the patient is at hand. A Subscription holds none, and its words
	// are what may be wrong.
	secrets.commonOnly = a.op != OpUpdate && a.op != OpSubscribe
	for i := range issues {
		issues[i] = secrets.Scrub(issues[i])
		if a.op == OpExport {
			issues[i].Message = withoutNumbers(issues[i].Message)
		}
	}
	return issues
}

// firstError is the message of the first issue that is an error.
func firstError(issues []Issue, fallback string) string {
	for _, issue := range issues {
		if severityRank(issue.Severity) == 0 && issue.Message != "" {
			return issue.Message
		}
	}
	return fallback
}

// retryAfter reads seconds or an HTTP date (RFC 9110 section 10.2.3); 0 for
// anything else, and for a time gone by.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		// A day is longer than anybody will wait.
		return time.Duration(min(max(seconds, 0), 86400)) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return min(max(t.Sub(now), 0), 24*time.Hour)
	}
	return 0
}

func (a *answer) resource() Resource {
	etag, _ := a.etag() // that a read has one was checked
	return Resource{ID: str(a.doc, "id"), ETag: etag, JSON: a.body}
}
