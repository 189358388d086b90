package writethrough

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

// FHIR is what a write needs of the FHIR server. Errors are *fhir.Error.
type FHIR interface {
	// Read returns the Patient as it is now.
	Read(ctx context.Context, id string) (fhir.Resource, error)
	// Update replaces the Patient; ifMatch is an ETag or empty.
	Update(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error)
}

// Store is what a write needs of the cache.
type Store interface {
	Patient(ctx context.Context, id string, cols ...db.Column) (*db.Patient, error)
	ApplyFHIR(ctx context.Context, id string, st db.FHIRState, settles bool, at time.Time) (*db.Patient, error)
	SetContact(ctx context.Context, id string, e db.ContactEdit, expectedVersion int64, at time.Time) (*db.Patient, error)
	SetPending(ctx context.Context, id string, at time.Time) (*db.Patient, error)
}

// Config is what a Writer is made of.
type Config struct {
	FHIR    FHIR
	Store   Store
	Log     *slog.Logger
	Timeout time.Duration // bound of the whole FHIR conversation of one write
	Now     func() time.Time
	NewID   func() string // names an operation
}

// Writer writes contact changes through to FHIR. It is safe for concurrent
// use.
type Writer struct {
	Config
	locks locks
}

// New returns a Writer.
func New(c Config) *Writer { return &Writer{Config: c} }

// Change is one contact update that was authorised and validated.
type Change struct {
	PatientID       string
	Edit            fhir.ContactEdit
	ExpectedVersion int64 // Patient.version that the caller saw; 0 = any
}

// Applied is a contact update that took effect.
type Applied struct {
	OperationID string
	Patient     *db.Patient // SyncState Pending: FHIR has it, the cache could not be written
}

// UpdateContact makes one change: on the FHIR server first, in the cache what
// the server then shows. A patient without a FHIR id is changed in the cache
// alone. Failures that the caller should be told are *Error; any other error
// means that the cache could not be read, or written for a patient without
// FHIR id.
func (w *Writer) UpdateContact(ctx context.Context, c Change) (*Applied, error) {
	wait, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	release, err := w.locks.acquire(wait, c.PatientID)
	if err != nil {
		return nil, &Error{Kind: Unavailable, Reason: "an earlier write of this patient is still under way", Err: err}
	}
	defer release()
	row, err := w.Store.Patient(ctx, c.PatientID)
	if errors.Is(err, db.ErrNotFound) {
		return nil, &Error{Kind: NotFound, Reason: "no such patient"}
	}
	if err != nil {
		return nil, fmt.Errorf("read cached patient: %w", err)
	}
	if c.ExpectedVersion != 0 && c.ExpectedVersion != row.Version {
		return nil, conflict(row, c.Edit)
	}
	if row.FHIRID == "" {
		return w.updateLocal(ctx, row, c)
	}

	o := &operation{Writer: w, id: w.NewID(), row: row, change: c}
	applied, err := o.run(ctx)
	o.report(ctx, err)
	return applied, err
}

// updateLocal changes a patient that the FHIR server does not have.
func (w *Writer) updateLocal(ctx context.Context, row *db.Patient, c Change) (*Applied, error) {
	id := w.NewID()
	w.Log.WarnContext(ctx, "patient "+row.ID+" has no FHIR id: contact changed in the cache only", "operation", id)
	e := db.ContactEdit{
		SetPhone: c.Edit.SetPhone, Phone: c.Edit.Phone,
		SetEmail: c.Edit.SetEmail, Email: c.Edit.Email,
		SetAddress: c.Edit.SetAddress, Address: cacheAddress(c.Edit.Address),
	}
	if a := e.Address; a != nil && a.Text == "" && row.Address != nil && row.Address.Text != "" {
		a.Text = c.Edit.Address.Compose() // the text must agree with the parts, as on the FHIR server
	}
	updated, err := w.Store.SetContact(ctx, row.ID, e, c.ExpectedVersion, w.Now())
	if errors.Is(err, db.ErrVersionMismatch) {
		current, err := w.Store.Patient(ctx, row.ID)
		if err != nil {
			return nil, fmt.Errorf("read cached patient: %w", err)
		}
		return nil, conflict(current, c.Edit)
	}
	if err != nil {
		return nil, fmt.Errorf("change cached patient: %w", err)
	}
	return &Applied{OperationID: id, Patient: updated}, nil
}

func conflict(current *db.Patient, e fhir.ContactEdit) *Error {
	return &Error{
		Kind: Conflict, Reason: "the record was changed by somebody else",
		Current: current, Conflicting: differing(current, e),
	}
}
