package writethrough

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"patientgraph/db"
)

// answer is an Error as the journal keeps it, so that a retry is told the
// same. Success needs none: the journal keeps the patient itself.
type answer struct {
	Kind        Kind          `json:"kind"`
	Reason      string        `json:"reason"`
	HTTPStatus  int           `json:"httpStatus,omitempty"`
	Issues      []Issue       `json:"issues,omitempty"`
	SaidOK      bool          `json:"saidOK,omitempty"`
	Untouched   bool          `json:"untouched,omitempty"`
	RetryAfter  time.Duration `json:"retryAfterNanoseconds,omitempty"`
	Conflicting []string      `json:"conflicting,omitempty"`
}

func encodeAnswer(e *Error) string {
	if e == nil {
		return ""
	}
	text, _ := json.Marshal(answer{ // plain strings and numbers always encode
		Kind: e.Kind, Reason: e.Reason, HTTPStatus: e.HTTPStatus, Issues: e.Issues,
		SaidOK: e.SaidOK, Untouched: e.Untouched, RetryAfter: e.RetryAfter, Conflicting: e.Conflicting,
	})
	return string(text)
}

// decodeAnswer returns what the caller of a line of the journal was told, or
// would be told now if nobody was.
func decodeAnswer(u *db.ContactUpdate) (*Applied, error) {
	if u.State == db.UpdateApplied {
		return &Applied{OperationID: u.ID, Patient: u.Patient}, nil
	}
	if u.Answer == "" { // still under way
		return nil, &Error{Kind: OutcomeUnknown, OperationID: u.ID, Reason: "the update is still under way"}
	}
	var a answer
	if err := json.Unmarshal([]byte(u.Answer), &a); err != nil {
		return nil, fmt.Errorf("read the journal's answer of %s: %w", u.ID, err)
	}
	e := &Error{
		Kind: a.Kind, OperationID: u.ID, Reason: a.Reason, HTTPStatus: a.HTTPStatus, Issues: a.Issues,
		SaidOK: a.SaidOK, Untouched: a.Untouched, RetryAfter: a.RetryAfter, Conflicting: a.Conflicting,
	}
	if e.Kind == Conflict {
		e.Current = u.Patient
	}
	return nil, e
}

// toldSoFar returns what the caller of an open update was told, if anything.
func toldSoFar(u db.ContactUpdate) *Error {
	_, err := decodeAnswer(&u)
	e := &Error{}
	errors.As(err, &e)
	return e
}
