package writethrough

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/writethrough/judge"
)

// Code says how a contact update ended: Success, or a word of ErrorCode in the
// GraphQL schema.
type Code string

// The codes.
const (
	Success Code = "SUCCESS"
	// NotFound: no such patient in the cache.
	NotFound Code = "PATIENT_NOT_FOUND"
	// KeyReused: the idempotency key came with other content before.
	KeyReused Code = "IDEMPOTENCY_KEY_REUSED"
	// Conflict: somebody else changed the record.
	Conflict Code = "UPDATE_CONFLICT"
	// Rejected: the FHIR server refused the values.
	Rejected Code = "FHIR_REJECTED"
	// CannotApply: the FHIR server is known to be unable to store the values; nothing was sent.
	CannotApply Code = "FHIR_CANNOT_APPLY"
	// NotSaved: the FHIR server said yes but does not show the values.
	NotSaved Code = "FHIR_NOT_APPLIED"
	// PatientGone: the patient is gone there, or the write created it anew.
	PatientGone Code = "FHIR_PATIENT_GONE"
	// PatientReplaced: the record was merged into another; nothing took effect.
	PatientReplaced Code = "FHIR_PATIENT_REPLACED"
	// PatientInactive: the record is not in use; nothing took effect.
	PatientInactive Code = "FHIR_PATIENT_INACTIVE"
	// Forbidden: the FHIR server refuses this patient or this change to us, and
	// shows us others.
	Forbidden Code = "FHIR_FORBIDDEN"
	// Unavailable: the FHIR server could not be reached, is busy or failing.
	Unavailable Code = "FHIR_UNAVAILABLE"
	// Timeout: no answer in time, and nothing was applied.
	Timeout Code = "FHIR_TIMEOUT"
	// OutcomeUnknown: the write may have been applied.
	OutcomeUnknown Code = "FHIR_OUTCOME_UNKNOWN"
	// AuthFailed: the FHIR server refused our credentials.
	AuthFailed Code = "FHIR_AUTH_FAILED"
	// RateLimited: the FHIR server asks to slow down.
	RateLimited Code = "FHIR_RATE_LIMITED"
)

// Outcome is what the caller of a contact update is told. The journal keeps it,
// so that a retry is told the same.
type Outcome struct {
	OperationID string        `json:"-"` // also where nothing was begun: then only the log knows it
	Code        Code          `json:"code"`
	Reason      string        `json:"reason"`                          // the FHIR server's own, or the cause; free of patient values
	HTTPStatus  int           `json:"httpStatus,omitempty"`            // of the FHIR server's answer; 0 when there was none
	Issues      []Issue       `json:"issues,omitempty"`                // what the server said
	Untouched   bool          `json:"untouched,omitempty"`             // Rejected: the complaint is about an element that the caller did not change
	RetryAfter  time.Duration `json:"retryAfterNanoseconds,omitempty"` // when a retry makes sense; 0 when nobody knows
	Conflicting []string      `json:"conflicting,omitempty"`           // Conflict: the requested fields that changed since the version that the caller named, or since the update began
	Busy        bool          `json:"busy,omitempty"`                  // Conflict: not with the version that the caller named, if any: the same request may succeed later
	Normalized  []string      `json:"normalized,omitempty"`            // Success: the requested fields that the server keeps in another form
	// Patient is the record as the caller is shown it: of Success with the values, else
	// as it is now. Its SyncState is Pending where the cache could not be written yet.
	// nil of NotFound and KeyReused alone. What of it must be remembered stands in the
	// journal by itself.
	Patient *db.Patient `json:"-"`

	known *db.Patient // Patient, if the cache cannot be read any more
	cause error       // for the log
}

// Issue is an issue of the FHIR server with the input field it concerns.
type Issue struct {
	fhir.Issue
	Field []string `json:"field,omitempty"` // path in UpdatePatientContactInput; nil when it is none of its fields
}

// encode returns the outcome as the journal keeps it. A plain success needs no text:
// the journal keeps the patient.
func (o *Outcome) encode() string {
	if o.Code == Success && len(o.Normalized) == 0 {
		return ""
	}
	text, _ := json.Marshal(o) // plain strings and numbers always encode
	return string(text)
}

// outcomeOf returns what the caller of a line of the journal was told, or would
// be told now if nobody was. db.ErrUnreadable.
func outcomeOf(u *db.ContactUpdate) (*Outcome, error) {
	o := &Outcome{Code: OutcomeUnknown}
	switch {
	case u.Answer == "" && u.State == db.UpdateApplied:
	case u.Answer == "" && u.State.Open():
		o.Reason = "the update is still under way"
	case u.Answer == "": // somebody cleared the column by hand
		o.Reason = "the answer is no longer in the journal"
	default:
		if err := u.Decode("answer", u.Answer, o); err != nil {
			return nil, err
		}
	}
	if u.State == db.UpdateApplied {
		o.Code = Success
	}
	o.OperationID, o.known = u.ID, u.Patient
	if o.Code == Success || o.Code == Conflict {
		o.Patient = u.Patient
	}
	return o, nil
}

// outcomeFor is what a ruling means for the caller. f: how the PUT failed, or the read
// that says that the patient is gone; nil: the server said OK, with status.
func outcomeFor(r judge.Ruling, h judge.Heard, s judge.Sight, f *fhir.Error, status int) *Outcome {
	switch r.Why {
	case judge.WhyApplied:
		return &Outcome{Code: Success, Normalized: s.Normalized}
	case judge.WhyNotSaved, judge.WhyIgnored:
		return notSaved(s.Missing)
	case judge.WhyGone:
		return patientGone(f)
	case judge.WhyDeleted:
		o := &Outcome{Code: PatientGone, Reason: "the patient was deleted on the FHIR server"}
		if h == judge.Created {
			o.HTTPStatus = http.StatusCreated
		}
		return o
	case judge.WhyDenied, judge.WhyNotSent, judge.WhyBusy:
		return unavailable(f)
	case judge.WhyNeverTookEffect:
		return neverTookEffect()
	}
	if f == nil {
		f = &fhir.Error{Kind: fhir.Unusable, Status: status, Reason: "The FHIR server said OK but does not show the requested values yet"}
	}
	return notKnown(f)
}

// reports say how each ending is logged: the one line per update that operators
// look for. The metric's label is the code itself.
var reports = map[Code]struct {
	level   slog.Level
	event   string
	because string // what comes before the reason; "": the reason is not logged
}{
	Success:         {slog.LevelInfo, "FHIR update success", ""},
	Conflict:        {slog.LevelWarn, "FHIR update conflict", ""},
	Rejected:        {slog.LevelWarn, "FHIR validation failed", ": "},
	CannotApply:     {slog.LevelWarn, "FHIR validation failed", ": "},
	NotSaved:        {slog.LevelWarn, "FHIR validation failed", ": "},
	PatientGone:     {slog.LevelWarn, "FHIR validation failed", ": "},
	PatientReplaced: {slog.LevelWarn, "FHIR validation failed", ": "},
	PatientInactive: {slog.LevelWarn, "FHIR validation failed", ": "},
	Unavailable:     {slog.LevelError, "FHIR server error", ": "},
	Timeout:         {slog.LevelError, "FHIR server error", ": "},
	OutcomeUnknown:  {slog.LevelError, "FHIR server error", ": "},
	RateLimited:     {slog.LevelError, "FHIR server error", ": "},
	AuthFailed:      {slog.LevelError, "FHIR server error", ": our credentials were refused, check FHIR_AUTH and its settings: "},
	Forbidden:       {slog.LevelWarn, "FHIR server refuses access, check what we may write if it meets others too", ": "},
}

func (w *Writer) report(ctx context.Context, patientID, operationID string, o *Outcome, err error, took time.Duration) {
	fields := []any{"patient", patientID, "operation", operationID, "outcome", codeOf(o, err), "ms", float64(took.Microseconds()) / 1000}
	if err != nil {
		w.Log.ErrorContext(ctx, "contact update failed for patient "+patientID+": "+err.Error(), fields...)
		return
	}
	r := reports[o.Code]
	line := r.event + " for patient " + patientID
	if r.because != "" {
		line += r.because + o.Reason
	}
	w.Log.Log(ctx, r.level, line, fields...)
}

// notSaved says field by field what the server did not save.
func notSaved(missing []string) *Outcome {
	o := &Outcome{Code: NotSaved, Reason: "the FHIR server does not show the requested values"}
	for _, field := range missing {
		o.Issues = append(o.Issues, Issue{
			Issue: fhir.Issue{
				Severity: "error", Code: "not-applied", Expression: []string{},
				Message: "the requested " + field + " was not saved",
			},
			Field: []string{field},
		})
	}
	return o
}

// cannotApply says what of a change the FHIR server cannot store in a record.
func cannotApply(f *fhir.Error, record []byte, at time.Time) *Outcome {
	return &Outcome{Code: CannotApply, Reason: f.Reason, Issues: issues(f, record, at)}
}

func notKnown(f *fhir.Error) *Outcome {
	return &Outcome{Code: OutcomeUnknown, Reason: f.Reason, HTTPStatus: f.Status, RetryAfter: f.RetryAfter, cause: f}
}

// unavailable is told where nothing took effect.
func unavailable(f *fhir.Error) *Outcome {
	o := &Outcome{Code: Unavailable, Reason: f.Reason, HTTPStatus: f.Status, RetryAfter: f.RetryAfter, cause: f}
	switch {
	case f.Kind == fhir.AuthFailed, f.Kind == fhir.Forbidden: // told so where it meets all patients
		o.Code = AuthFailed
	case f.Kind == fhir.RateLimited:
		o.Code = RateLimited
	case f.Timeout:
		o.Code = Timeout
	}
	return o
}

func patientGone(f *fhir.Error) *Outcome {
	return &Outcome{
		Code: PatientGone, Reason: "the FHIR server no longer has this patient", HTTPStatus: f.Status, Issues: issues(f, nil, time.Time{}), cause: f,
	}
}

// outOfUse is told of a record that nobody is to change any more; nil: one may.
func outOfUse(st db.FHIRState) *Outcome {
	switch {
	case st.ReplacedBy != "":
		return &Outcome{Code: PatientReplaced, Reason: "this record was merged into another"}
	case st.Inactive:
		return &Outcome{Code: PatientInactive, Reason: "this record is not active"}
	}
	return nil
}

func noSuchPatient() *Outcome { return &Outcome{Code: NotFound, Reason: "no such patient"} }

func neverTookEffect() *Outcome {
	return &Outcome{Code: Unavailable, Reason: "the write never took effect"}
}

// fencedAnswer is told of an update that another one keeps from taking effect.
var fencedAnswer = neverTookEffect().encode()

// issues names the input fields that the issues concern; intended is the record that
// the PUT was to make, made at that time.
func issues(f *fhir.Error, intended []byte, at time.Time) []Issue {
	all := make([]Issue, 0, len(f.Issues))
	fields := fhir.InputFields(intended, f.Issues, at)
	for i, issue := range f.Issues {
		all = append(all, Issue{Issue: issue, Field: fields[i]})
	}
	return all
}

func isGone(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && f.Kind == fhir.Gone
}
