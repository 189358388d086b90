package writethrough

import (
	"encoding/json"
	"errors"
	"time"

	"patientgraph/db"
)

// answer is an Error as the journal keeps it, so that a retry is told the
// same. Success needs none: the journal keeps the patient itself.
type answer struct {
	Kind        Kind          `json:"code"`
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
// would be told now if nobody was. db.ErrUnreadable.
func decodeAnswer(u *db.ContactUpdate) (*Applied, error) {
	if u.State == db.UpdateApplied {
		return &Applied{OperationID: u.ID, Patient: u.Patient}, nil
	}
	switch {
	case u.Answer == "" && u.State.Open():
		return nil, &Error{Kind: OutcomeUnknown, OperationID: u.ID, Reason: "the update is still under way"}
	case u.Answer == "": // somebody cleared the column by hand
		return nil, &Error{Kind: OutcomeUnknown, OperationID: u.ID, Reason: "the answer is no longer in the journal"}
	}
	var a answer
	if err := u.Decode("answer", u.Answer, &a); err != nil {
		return nil, err
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

// toldSoFar returns what the caller of an open update was told, or would be told
// now. db.ErrUnreadable.
func toldSoFar(u *db.ContactUpdate) (*Error, error) {
	_, err := decodeAnswer(u)
	var told *Error
	if errors.As(err, &told) {
		return told, nil
	}
	return nil, err
}
