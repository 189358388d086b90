package fhir

import (
	"fmt"
	"strings"
	"time"
)

// Kind sorts what can go wrong in a conversation with a FHIR server by what
// it means for the write, not by HTTP status.
type Kind int

const (
	// Rejected: the server read the request and refused it for its content
	// (400, 422 and the like).
	Rejected Kind = iota + 1
	// Conflict: 409, 412 or 423 that names a value; a conflict only if the version
	// really moved (HAPI's repository validation answers 412 to a bad value).
	Conflict
	// Busy: 409, 412 or 423 that names no value, but a lock, a race, or nothing at
	// all; a conflict if the version moved, else the same may succeed in a moment.
	Busy
	// Gone: the patient does not exist there, or no longer (410, and a 404 that
	// a FHIR server and no proxy gave).
	Gone
	// NotSent: no byte of the request can have reached the server (dial, TLS,
	// DNS, a closed client): nothing was applied.
	NotSent
	// Lost: the request may have reached the server but no trustworthy answer
	// came (reset, timeout after sending, 5xx, 408, a transfer that broke off).
	// For a write the outcome is unknown; for a read it means unavailable.
	Lost
	// AuthFailed: the server refused our credentials (401, a 403 that says so of
	// them, or OpenEMR's 400 for a revoked session): nothing was applied.
	AuthFailed
	// Forbidden: any other 403. It may be about this patient or this request
	// alone, or meet all of ours.
	Forbidden
	// RateLimited: 429. Like Lost for a write, with a hint when to retry.
	RateLimited
	// Unusable: the server answered 2xx with something that is no Patient
	// JSON of that id (HTML, empty, oversized, two values, duplicate keys); or
	// with a redirect, an interim status (101), a status that HTTP does not know
	// (000) or a malformed header; or a read with a 404 that is no proof of
	// absence (wrong base URL). For a write the outcome is unknown until read
	// back.
	Unusable
	// CannotApply: this kind of server is known to be unable to store what was asked
	// for; nothing was sent.
	CannotApply
)

var kindNames = map[Kind]string{
	Rejected: "rejected", Conflict: "conflict", Busy: "busy", Gone: "gone", NotSent: "not sent",
	Lost: "lost", AuthFailed: "authentication failed", Forbidden: "forbidden", RateLimited: "rate limited", Unusable: "unusable answer", CannotApply: "cannot apply",
}

// String names the kind for logs and metrics.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Issue is one entry of an OperationOutcome, or what stands for one in the
// other forms that servers use. The JSON form is for storage; it is not FHIR's.
type Issue struct {
	Severity   string   `json:"severity"`   // fatal, error, warning, information
	Code       string   `json:"code"`       // IssueType code, e.g. "processing", "invalid"
	Message    string   `json:"message"`    // diagnostics or details.text, freed of patient values
	Expression []string `json:"expression"` // FHIRPath of the elements concerned, never nil
}

// The operations that Error.Op names.
const (
	OpRead         = "read patient"
	OpUpdate       = "update patient"
	OpDelete       = "delete patient"
	OpSearch       = "search patients"
	OpHistory      = "read history"
	OpExport       = "bulk export"
	OpCapabilities = "read capabilities"
	OpParse        = "parse patient"
	OpEdit         = "edit contact"
	OpSubscribe    = "register subscription"
)

// Error is the one error type of this package.
type Error struct {
	Kind       Kind
	Op         string        // one of the Op constants
	Status     int           // HTTP status, 0 when no answer came
	Cause      Cause         // what an operator can mend; 0: Reason alone says it
	Reason     string        // the server's own reason, or the cause in plain words ("Connection timeout"); freed of patient values
	Issues     []Issue       // what the server said, errors first
	RetryAfter time.Duration // from Retry-After; 0 when not given
	Timeout    bool          // the cause was a deadline
	NotAsked   bool          // NotSent because no request could be made: it says nothing of the server
	Err        error         // the underlying error, if any; for the log only
}

// Cause names what an operator can mend, by which a program chooses what to advise.
// Reason says the same in words.
type Cause int

// The causes.
const (
	UnknownAuthority   Cause = iota + 1 // of the server's certificate
	OtherName                           // in the server's certificate than the one that was asked
	Expired                             // the server's certificate
	NotYetValid                         // the server's certificate
	CertificateWanted                   // of us, and we have none
	CertificateRefused                  // ours
	NoCommonTLS                         // version or cipher
	HostNotFound
	ConnectionRefused
	LeadsAway      // the next link of a page, from the base URL
	TooLong        // an answer
	BadEntry       // one Patient of a page; the search goes on
	OtherServer    // than FHIR_SERVER says
	ListingExpired // a listing cannot be resumed, and must start over
	NotFollowable  // the server offers no way to find what changed
)

// Error says operation, kind, status and reason; never Err, whose text may
// hold addresses.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op + ": " + e.Kind.String())
	status := fmt.Sprintf(" (status %d)", e.Status)
	if e.Status != 0 && !strings.Contains(e.Reason, status) {
		b.WriteString(status)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	return b.String()
}

// Unwrap gives the underlying error, such as context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.Err }
