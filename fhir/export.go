package fhir

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/tidwall/gjson"
)

const (
	// How long is waited before the server is asked about an export again, whatever
	// it says; where it says nothing, from the first on twice as long each time.
	minExportWait  = time.Second
	maxExportWait  = 2 * time.Minute
	maxUntoldWait  = 30 * time.Second
	maxExportTries = 8  // in a row that failed, for the kick-off, the status and each file
	exportPatience = 12 // times the client's timeout: some servers make an export, or a file, while it is asked for
)

var (
	errNoManifest     = errors.New("it is no manifest of an export")
	errMoreManifests  = errors.New("it names further manifests, which were not asked for")
	errNoTime         = errors.New("it has no transactionTime")
	errManifestOutput = errors.New("it has a file without type or address")
)

// Export is a finished export of every Patient (HL7 FHIR Bulk Data Access 2.0.0). The
// server keeps its files until Close, or until they expire.
type Export struct {
	// TransactionTime is the time as of which the files show the patients: from it on,
	// changes are to be followed.
	TransactionTime time.Time
	// Failed is how many errors the server reports: what it could not export is in no
	// file, and is not gone. Issues are the first ones, warnings too, without what
	// they may say of a patient.
	Failed int
	Issues []Issue

	by                *exporter
	patients, deleted []exportFile
}

// exporter makes the requests of one export.
type exporter struct {
	*Client
	status *url.URL // where the export is asked about; nil: it was not begun
	inside string   // origin by which the server names itself there
}

// Export has the server export every Patient, and waits until it has. progress is told
// how far the server says it is. What fails for the moment (429, 503, the network) is
// asked again a few times, after as long as the server wants (Retry-After). With an
// error the export is cancelled there.
func (c *Client) Export(ctx context.Context, progress func(string)) (*Export, error) {
	other := *c
	// Files are longer than any answer. One connection is for them, one to cancel.
	other.transport = newTransport(c.base, 2, 1<<62, c.timeout, c.tls)
	x := &exporter{Client: &other}
	export, err := x.run(ctx, progress)
	if err != nil {
		x.close()
		return nil, err
	}
	return export, nil
}

func (x *exporter) run(ctx context.Context, progress func(string)) (*Export, error) {
	if err := x.kickOff(ctx, progress); err != nil {
		return nil, err
	}
	manifest, err := x.await(ctx, progress)
	if err != nil {
		return nil, err
	}
	return x.read(ctx, manifest)
}

// Close tells the server that its files are no longer needed. If that fails it keeps
// them until they expire.
func (e *Export) Close() { e.by.close() }

// close cancels the export, or has its files deleted.
func (x *exporter) close() {
	if x.status != nil {
		// Also where ctx has ended: nobody else cancels what the server still does.
		_ = x.exchange(context.Background(), request{op: OpExport, method: http.MethodDelete, url: x.status.String()})
	}
	x.transport.CloseIdleConnections()
}

// kickOff begins an export: of all patients, or where the server has no such operation
// of everything, of which only patients are asked for.
func (x *exporter) kickOff(ctx context.Context, progress func(string)) error {
	a, err := x.begin(ctx, "/Patient/$export", progress)
	if err == nil && a.lacksOperation() {
		a, err = x.begin(ctx, "/$export", progress)
		if err == nil && a.lacksOperation() {
			e := exportError(a.failure())
			e.Reason = firstError(e.Issues, fmt.Sprintf("status %d", a.status))
			e.Reason = "The FHIR server offers no bulk export ($export: " + e.Reason + "); run sync without --bulk"
			return e
		}
	}
	if err != nil {
		return err
	}
	if a.status != http.StatusAccepted || a.err != nil {
		e := exportError(a.failure())
		switch {
		case a.status == http.StatusOK:
			e = unusableExport(a.status, "The server answered at once, instead of making an export (status 200): run sync without --bulk", nil)
		case a.status != 0 && (e.Kind == AuthFailed || e.Kind == Forbidden):
			e.Reason += "; an export may need a right or scope of its own (system/Patient.read, on OpenEMR also system/Patient.$export): grant it, or run sync without --bulk"
		case a.status != 0:
			e.Reason = "The server did not begin an export: " + e.Reason
		}
		return e
	}
	at, err := url.Parse(a.url)
	if err != nil {
		return unusableExport(a.status, "The address of the export cannot be read", err)
	}
	location := a.header.Get("Content-Location")
	if location == "" {
		return unusableExport(a.status, "The server began an export and does not say where to ask about it (no Content-Location): run sync without --bulk", nil)
	}
	status, err := readAddress(at, location)
	if err != nil {
		return unusableExport(a.status, "The server began an export, and the address to ask about it is none (Content-Location)", err)
	}
	x.inside = status.Scheme + origin(status)
	if !x.below(status) {
		there := status.Scheme + "://" + printable(status.Host)
		if status = x.rewritten(status); status == nil {
			e := unusableExport(a.status, "The address of the export's status leads away from FHIR_BASE_URL, to "+there+
				"; with FHIR_REWRITE_LINKS=true the same is asked of FHIR_BASE_URL", nil)
			e.Cause = LeadsAway
			return e
		}
	}
	x.status = status
	return nil
}

func (x *exporter) begin(ctx context.Context, path string, progress func(string)) (answer, error) {
	var again waiting
	for {
		a := x.exchange(ctx, request{
			op: OpExport, method: http.MethodGet, url: x.base.String() + path + "?_type=Patient", timeout: exportPatience * x.timeout,
			header: http.Header{"Prefer": {"respond-async"}},
		})
		// What else fails may have begun an export, which nobody could end.
		if a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable || again.tries == maxExportTries-1 {
			return a, nil
		}
		again.tries++
		progress("the server takes no export now")
		if err := x.wait(ctx, &again, a); err != nil {
			return a, err
		}
	}
}

// lacksOperation reports whether the server does not know the operation that it was
// asked for, in one of the ways to say so.
func (a *answer) lacksOperation() bool {
	switch a.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return !a.deniesToken()
	}
	return false
}

// await asks about the export until it is finished, and returns its manifest.
func (x *exporter) await(ctx context.Context, progress func(string)) (gjson.Result, error) {
	var again waiting
	for {
		a := x.exchange(ctx, request{op: OpExport, method: http.MethodGet, url: x.status.String(), header: http.Header{"Accept": {"application/json"}}})
		switch {
		case a.status == http.StatusOK && a.err == nil:
			if err := a.failure(); err != nil {
				e := exportError(err)
				e.Reason = "The manifest of the export cannot be read: " + e.Reason
				return gjson.Result{}, e
			}
			return a.doc, nil
		case a.status == http.StatusAccepted && a.err == nil:
			again.tries = 0
			if text, ok := unquoted(a.header.Get("X-Progress")); ok {
				progress(text)
			}
		case !a.mayPass() || again.tries == maxExportTries-1 || ctx.Err() != nil:
			return gjson.Result{}, x.ended(a)
		default:
			again.tries++
		}
		if err := x.wait(ctx, &again, a); err != nil {
			return gjson.Result{}, err
		}
	}
}

// ended says how an export ended that has no manifest.
func (x *exporter) ended(a answer) *Error {
	e := exportError(a.failure())
	switch {
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		e.Reason = fmt.Sprintf("The server knows nothing of the export any more: it was cancelled there, or has expired (status %d); run sync --bulk again", a.status)
		x.status = nil // nothing is left to cancel
	case a.status >= 400 && e.Kind != AuthFailed && e.Kind != Forbidden:
		e.Reason = fmt.Sprintf("The export failed on the server (status %d): %s; run sync --bulk again, or sync without --bulk", a.status, e.Reason)
	default:
		e.Reason = "The export's status cannot be read: " + e.Reason
	}
	return e
}

// read takes in the manifest, and the errors of which it tells.
func (x *exporter) read(ctx context.Context, manifest gjson.Result) (*Export, error) {
	e := &Export{by: x}
	refuse := func(err error) (*Export, error) {
		return nil, unusableExport(http.StatusOK, "The manifest of the export cannot be used: "+err.Error(), err)
	}
	if !member(manifest, "output").IsArray() {
		return refuse(errNoManifest)
	}
	for _, link := range elements(member(manifest, "link")) {
		if str(link, "relation") == "next" {
			return refuse(errMoreManifests)
		}
	}
	var err error
	if e.TransactionTime, err = time.Parse(time.RFC3339, str(manifest, "transactionTime")); err != nil {
		return refuse(errNoTime)
	}
	withToken := member(manifest, "requiresAccessToken").Type != gjson.False // not said: with care
	var failed []exportFile
	for _, list := range []struct {
		name, kind string
		files      *[]exportFile
	}{{"output", "Patient", &e.patients}, {"deleted", "Bundle", &e.deleted}, {"error", "OperationOutcome", &failed}} {
		for _, entry := range elements(member(manifest, list.name)) {
			kind, address := str(entry, "type"), str(entry, "url")
			switch {
			case kind == "" && list.name != "output":
				// Some leave out what is always the same.
			case kind == "":
				return refuse(errManifestOutput)
			case kind != list.kind:
				continue
			}
			if address == "" {
				return refuse(errManifestOutput)
			}
			file, err := x.place(address, withToken)
			if err != nil {
				return nil, err
			}
			file.count = member(entry, "count").Int()
			*list.files = append(*list.files, file)
		}
	}
	return e, e.readFailures(ctx, failed)
}

// readFailures reads the files of errors.
func (e *Export) readFailures(ctx context.Context, files []exportFile) error {
	for doc, err := range e.by.objects(ctx, files) {
		var fault *Error
		if errors.As(err, &fault) && fault.Cause != BadEntry {
			return err
		}
		issues := outcomeIssues(doc)
		if str(doc, "resourceType") != "OperationOutcome" { // nor a line that cannot be read
			issues = []Issue{{Severity: "error", Code: "unknown", Message: "an entry that cannot be read"}}
		}
		for _, issue := range issues {
			if severityRank(issue.Severity) == 0 {
				e.Failed++
			}
			if len(e.Issues) < maxIssues {
				e.Issues = append(e.Issues, issue.unquoted())
			}
		}
	}
	return nil
}

// unquoted is what of an issue may be told though no record is at hand.
func (i Issue) unquoted() Issue {
	told := Issue{Severity: known(severities, i.Severity), Code: known(issueTypes, i.Code), Expression: []string{}}
	text, ok := unquoted(i.Message)
	if !ok {
		text = inWords(told.Code)
	}
	told.Message = text
	return told
}

// waiting counts the looks at what is not there yet.
type waiting struct {
	tries int
	next  time.Duration // where the server does not say how long
}

// wait lets pass as long as the server wants, within bounds.
func (x *exporter) wait(ctx context.Context, w *waiting, a answer) error {
	pause := retryAfter(a.header.Get("Retry-After"), a.now)
	if pause == 0 {
		w.next = min(max(2*w.next, minExportWait), maxUntoldWait)
		pause = w.next
	}
	if err := x.sleep(ctx, min(max(pause, minExportWait), maxExportWait)); err != nil {
		e := &Error{Kind: NotSent, Op: OpExport, NotAsked: true, Err: err}
		e.Reason, e.Timeout, _ = cause(err, false)
		return e
	}
	return nil
}

// mayPass reports whether to ask again may help: the network failed, or the server for
// the moment.
func (a *answer) mayPass() bool {
	switch {
	case a.tokenError != nil:
		return a.tokenError.Kind == Lost || a.tokenError.Kind == NotSent || a.tokenError.Kind == RateLimited
	case a.err != nil:
		return !a.notAsked
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	for _, issue := range readIssues(a.body) {
		if a.status >= 500 && issue.Code == "transient" { // so a server says that the export goes on
			return true
		}
	}
	return false
}

// exportError is what failure says of an answer that is none of those asked for.
func exportError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return unusableExport(0, "The server's answer is not understood", err)
	}
	return e
}

func unusableExport(status int, reason string, err error) *Error {
	return &Error{Kind: Unusable, Op: OpExport, Status: status, Reason: reason, Err: err}
}

// unquoted scrubs a text for which no record is at hand: it keeps words that are nobody's
// value, and no number or date. It is false where nothing is left.
func unquoted(text string) (string, bool) {
	secrets := SecretsOf()
	secrets.commonOnly = true
	text, _ = secrets.hide(text)
	text = withoutNumbers(text)
	return text, strings.ContainsFunc(text, unicode.IsLetter) || strings.ContainsFunc(text, unicode.IsDigit)
}

// manyDigits is a word that may be a number, a date or an id of somebody.
var manyDigits = regexp.MustCompile(`\S*\d\S*\d\S*\d\S*`)

func withoutNumbers(text string) string { return manyDigits.ReplaceAllString(text, hidden) }

// sleep waits for so long, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
