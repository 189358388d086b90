package writethrough

import (
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

// Kind says how a contact update failed, in the words of ErrorCode in the
// GraphQL schema.
type Kind string

// The ways to fail.
const (
	// NotFound: no such patient in the cache.
	NotFound Kind = "PATIENT_NOT_FOUND"
	// KeyReused: the idempotency key came with other content before.
	KeyReused Kind = "IDEMPOTENCY_KEY_REUSED"
	// Conflict: somebody else changed the record.
	Conflict Kind = "UPDATE_CONFLICT"
	// Rejected: the FHIR server refused the values.
	Rejected Kind = "FHIR_REJECTED"
	// NotApplied: the FHIR server said yes but does not show the values.
	NotApplied Kind = "FHIR_NOT_APPLIED"
	// PatientGone: the patient is gone there, or the write created it anew.
	PatientGone Kind = "FHIR_PATIENT_GONE"
	// Unavailable: the FHIR server could not be reached or is failing.
	Unavailable Kind = "FHIR_UNAVAILABLE"
	// Timeout: no answer in time, and nothing was applied.
	Timeout Kind = "FHIR_TIMEOUT"
	// OutcomeUnknown: the write may have been applied.
	OutcomeUnknown Kind = "FHIR_OUTCOME_UNKNOWN"
	// AuthFailed: the FHIR server refused our credentials.
	AuthFailed Kind = "FHIR_AUTH_FAILED"
	// RateLimited: the FHIR server asks to slow down.
	RateLimited Kind = "FHIR_RATE_LIMITED"
)

// Error is how a contact update failed.
type Error struct {
	Kind        Kind
	OperationID string        // also where nothing was begun: then only the log knows it
	Reason      string        // the server's own reason, or the cause; free of patient values
	HTTPStatus  int           // of the FHIR server's answer; 0 when there was none
	Issues      []Issue       // what the server said
	SaidOK      bool          // OutcomeUnknown: the server said OK, and does not show the values yet
	Untouched   bool          // Rejected: the complaint is about an element that the caller did not change
	RetryAfter  time.Duration // when a retry makes sense; 0 when nobody knows
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

func isKind(e *Error, k Kind) bool { return e != nil && e.Kind == k }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
