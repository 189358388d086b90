package writethrough

import (
	"context"
	"errors"
	"fmt"

	"patientgraph/db"
	"patientgraph/record"
)

// updateLocal changes a patient that the FHIR server does not have.
func (w *Writer) updateLocal(ctx context.Context, c Change, line db.ContactUpdate) (*Outcome, error) {
	row, err := w.Store.Patient(ctx, c.PatientID)
	if err != nil {
		return nil, fmt.Errorf("read cached patient: %w", err)
	}
	if o := outOfUse(row.FHIRState); o != nil {
		o.Patient = row
		return o, nil
	}
	e := record.Edit(c.Edit)
	if a := e.Address; a != nil && a.Text == "" && row.Address != nil && row.Address.Text != "" {
		a.Text = c.Edit.Address.Compose() // the text must agree with the parts, as on the FHIR server
	}
	updated, err := w.Store.SetContact(row.ID, e, c.ExpectedVersion, w.Now(), line)
	switch {
	case errors.Is(err, db.ErrHasFHIRID):
		return nil, errAgain // an import gave it one just now
	case errors.Is(err, db.ErrVersionMismatch):
		current, err := w.Store.Patient(ctx, row.ID)
		if err != nil {
			return nil, fmt.Errorf("read cached patient: %w", err)
		}
		return conflict(c, current, current.ChangedSince(c.ExpectedVersion, c.Edit.Fields())), nil
	case err != nil:
		if updated, err = w.savedAllTheSame(ctx, line.ID, err); err != nil {
			return nil, err
		}
	}
	w.Log.WarnContext(ctx, "patient "+row.ID+" has no FHIR id: contact changed in the cache only", "patient", row.ID, "operation", line.ID, "outcome", Success)
	return &Outcome{Code: Success, OperationID: line.ID, Patient: updated}, nil
}

// ErrUnsure: the database failed, and whether it made the change is not known.
var ErrUnsure = errors.New("it is not known whether the change was made")

// savedAllTheSame looks for a change whose commit failed: its answer alone may
// have been lost.
func (w *Writer) savedAllTheSame(ctx context.Context, id string, cause error) (*db.Patient, error) {
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	line, err := w.Store.ContactUpdate(ctx, id)
	switch {
	case err == nil:
		return line.Patient, nil
	case errors.Is(err, db.ErrNotFound) && !errors.Is(cause, context.DeadlineExceeded): // else it may be on its way yet
		return nil, cause
	}
	return nil, errors.Join(ErrUnsure, cause)
}
