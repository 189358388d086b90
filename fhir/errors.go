package fhir

import (
	"time"
)

// Kind sorts what can go wrong in a conversation with a FHIR server by what
// it means for the write, not by HTTP status.
type Kind int

const (
	// Rejected: the server read the request and refused it for its content
	// (400, 422 and the like).
	Rejected Kind = iota + 1
	// Conflict: 409 or 412; a conflict only if the version really moved
	// (HAPI's repository validation answers 412 to a bad value).
	Conflict
	// Gone: the patient does not exist there, or no longer (404, 410).
	Gone
	// NotSent: no byte of the request can have reached the server (dial, TLS,
	// DNS, a closed client): nothing was applied.
	NotSent
	// Lost: the request may have reached the server but no trustworthy answer
	// came (reset, timeout after sending, 5xx, 408, truncated or oversized
	// body). For a write the outcome is unknown.
	Lost
	// AuthFailed: the server refused our credentials (401, 403, or OpenEMR's
	// 400 for a revoked session): nothing was applied.
	AuthFailed
	// RateLimited: 429. Like Lost for a write, with a hint when to retry.
	RateLimited
	// Unusable: the server answered 2xx with something that is no Patient
	// JSON of that id (HTML, empty, truncated, two values, duplicate keys).
	// For a write the outcome is unknown until read back.
	Unusable
)

// Issue is one entry of an OperationOutcome, or what stands for one in the
// other forms that servers use.
type Issue struct {
	Severity   string   // fatal, error, warning, information
	Code       string   // IssueType code, e.g. "processing", "invalid"
	Message    string   // diagnostics or details.text, freed of patient values
	Expression []string // FHIRPath of the elements concerned, never nil
}

// Error is the one error type of this package.
type Error struct {
	Kind       Kind
	Op         string        // "read patient", "update patient", "search patients", "read capabilities"
	Status     int           // HTTP status, 0 when no answer came
	Reason     string        // the server's own reason, or the cause in plain words ("Connection timeout"); freed of patient values
	Issues     []Issue       // what the server said, errors first
	RetryAfter time.Duration // from Retry-After; 0 when not given
	Timeout    bool          // the cause was a deadline
	Err        error         // the underlying error, if any; for the log only
}
