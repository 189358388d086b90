package writethrough

import (
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

// Kind says how a contact update failed; the names are those of ErrorCode in
// the GraphQL schema.
type Kind int

const (
	// NotFound: no such patient in the cache.
	NotFound Kind = iota + 1
	// Conflict: somebody else changed the record.
	Conflict
	// Rejected: the FHIR server refused the values.
	Rejected
	// NotApplied: the FHIR server said yes but does not show the values.
	NotApplied
	// PatientGone: the patient is gone there, or the write created it anew.
	PatientGone
	// Unavailable: the FHIR server could not be reached or is failing.
	Unavailable
	// Timeout: no answer in time, and nothing was applied.
	Timeout
	// OutcomeUnknown: the write may have been applied.
	OutcomeUnknown
	// AuthFailed: the FHIR server refused our credentials.
	AuthFailed
	// RateLimited: the FHIR server asks to slow down.
	RateLimited
)

// Error is how a contact update failed.
type Error struct {
	Kind        Kind
	OperationID string
	Reason      string        // the server's own reason, or the cause; free of patient values
	HTTPStatus  int           // of the FHIR server's answer; 0 when there was none
	Issues      []Issue       // what the server said
	RetryAfter  time.Duration // the server's own hint; 0 when it gave none
	Current     *db.Patient   // Conflict: the record as it is now
	Conflicting []string      // Conflict: the requested fields that hold another value now
	Err         error         // the cause, for the log
}

// Issue is an issue of the FHIR server with the input field it concerns.
type Issue struct {
	fhir.Issue
	Field []string // path in UpdatePatientContactInput; nil when it is none of its fields
}

func (e *Error) Error() string { return "update contact: " + e.Reason }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
