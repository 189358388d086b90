package writethrough

import (
	"context"
	"time"

	"patientgraph/db"
)

// Update is one contact update and how it ended.
type Update struct {
	OperationID string
	PatientID   string
	Actor       string
	State       db.UpdateState
	RequestedAt time.Time
	SettledAt   time.Time // zero while it is open
	Outcome     *Outcome  // nil while it is open
}

// ContactUpdate returns one update. db.ErrNotFound.
func (w *Writer) ContactUpdate(ctx context.Context, operationID string) (*Update, error) {
	line, err := w.Store.ContactUpdate(ctx, operationID)
	if err != nil {
		return nil, err
	}
	u := &Update{
		OperationID: line.ID, PatientID: line.PatientID, Actor: line.Actor, State: line.State,
		RequestedAt: line.RequestedAt, SettledAt: line.SettledAt,
	}
	if !line.State.Open() {
		if u.Outcome, err = outcomeOf(line); err == nil {
			u.Outcome, err = w.withPatient(ctx, line.PatientID, u.Outcome)
		}
		if err != nil {
			return nil, err
		}
	}
	return u, nil
}
