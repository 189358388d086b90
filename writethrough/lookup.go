package writethrough

import (
	"context"
	"time"

	"patientgraph/db"
)

// Update is one contact update and how it ended.
type Update struct {
	OperationID string
	Kind        db.UpdateKind
	PatientID   string
	Actor       string
	State       db.UpdateState
	RequestedAt time.Time
	SettledAt   time.Time   // zero while it is open
	Outcome     *Outcome    // nil while it is open, and of db.KindLinked
	Local       *db.Patient // of db.KindLinked: it has the contact values that gave way
}

// ContactUpdate returns one update. db.ErrNotFound.
func (w *Writer) ContactUpdate(ctx context.Context, operationID string) (*Update, error) {
	line, err := w.Store.ContactUpdate(ctx, operationID)
	if err != nil {
		return nil, err
	}
	u := &Update{
		OperationID: line.ID, Kind: line.Kind, PatientID: line.PatientID, Actor: line.Actor, State: line.State,
		RequestedAt: line.RequestedAt, SettledAt: line.SettledAt,
	}
	if line.Kind == db.KindLinked {
		u.Local = line.Patient
		return u, nil
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
