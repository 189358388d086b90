package resolvers

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// ownNumber returns the viewer's own number of which id is an alias, else id as it
// is; may tells what the viewer wants to do with the record. Whether an id names a
// record of somebody else is not looked at: even the time that it takes would tell.
func (r *Resolver) ownNumber(ctx context.Context, v auth.Viewer, id string, may func(number string) bool) (string, error) {
	id, err := r.visibleNumber(ctx, id, may)
	if err != nil || may(id) {
		return id, err
	}
	own := slices.DeleteFunc(slices.Clone(v.PatientIDs), func(number string) bool { return !may(number) })
	if len(own) == 0 {
		return id, nil
	}
	aliases, err := r.Store.AliasesOf(ctx, own)
	return cmp.Or(aliases[id], id), err
}

// visiblePatient returns the patient that an id names, nil if there is none that the
// viewer may see.
func (r *Resolver) visiblePatient(ctx context.Context, v auth.Viewer, id string, columns []db.Column) (*db.Patient, error) {
	if len(id) > maxID {
		return nil, nil
	}
	id, err := r.ownNumber(ctx, v, id, v.MayRead)
	if err != nil || !v.MayRead(id) {
		return nil, err
	}
	row, err := r.Store.Patient(ctx, id, columns...)
	if errors.Is(err, db.ErrNotFound) || err == nil && (!v.Names(row.FHIRID) || !row.GoneAt.IsZero()) {
		return nil, nil
	}
	return row, err
}

// shownPatient is visiblePatient as it is shown to the viewer.
func (r *Resolver) shownPatient(ctx context.Context, v auth.Viewer, id string, columns []db.Column) (*graph.Patient, error) {
	row, err := r.visiblePatient(ctx, v, id, columns)
	if row == nil || err != nil {
		return nil, err
	}
	return r.toPatient(row, v), nil
}

// visibleNumber returns an id without the blanks and the invisible characters that
// pasting put around it, unless a record has it with them.
func (r *Resolver) visibleNumber(ctx context.Context, id string, may func(number string) bool) (string, error) {
	visible := visibleID(id)
	if visible == "" || visible == id || len(id) > maxID || !may(id) {
		return cmp.Or(visible, id), nil
	}
	_, err := r.Store.Patient(ctx, id, db.ColID)
	if errors.Is(err, db.ErrNotFound) {
		return visible, nil
	}
	return id, err
}

// nobody is a FHIR id that no patient has.
const nobody = " "

// recordOf returns the number and the FHIR id of the record that an id names for a
// viewer who may write it; where there is none, the id as it is.
func (r *Resolver) recordOf(ctx context.Context, v auth.Viewer, id string) (number, fhirID string, err error) {
	if len(id) > maxID {
		return id, "", nil
	}
	row, err := r.Store.Patient(ctx, id, db.ColID)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return id, "", nil
	case err != nil:
		return id, "", err
	case !v.Names(row.FHIRID): // the number moved a moment ago
		return id, nobody, nil
	}
	return row.ID, row.FHIRID, nil
}
