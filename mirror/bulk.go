package mirror

import (
	"context"
	"errors"
	"fmt"

	"patientgraph/fhir"
)

// togetherExported patients of an export are stored together.
const togetherExported = 500

// fromExport takes the patients of an export. What is in it may be old by now, so a row
// that looks newer is read by itself, and so is each patient who is not in it or is told
// to be deleted. From an export that is not whole nothing follows of who is missing, nor
// are the changes before it forgotten.
func (m *Mirror) fromExport(ctx context.Context, export *fhir.Export, each func(Result)) (result Result, err error) {
	began, met := m.Now(), newIDs()
	b, err := m.ask(ctx)
	if err != nil {
		return result, err
	}
	claimed := false
	flush := func() error {
		if err := b.store(ctx, ""); err != nil {
			return err
		}
		claimed = claimed || b.claimed
		result.add(b.result)
		each(b.result)
		var err error
		b, err = m.ask(ctx)
		return err
	}
	for patient, err := range export.Patients(ctx) {
		var fault *fhir.Error
		if err != nil && (!errors.As(err, &fault) || fault.Cause != fhir.BadEntry) {
			return result, errors.Join(err, flush())
		}
		b.add([]fhir.Change{{ID: patient.ID, Patient: patient, Err: err}})
		met.add(patient.ID)
		if len(b.patients) == togetherExported {
			if err := flush(); err != nil {
				return result, err
			}
		}
	}
	if err := flush(); err != nil {
		return result, err
	}
	if err := m.settle(ctx, claimed); err != nil {
		return result, err
	}
	if export.Failed > 0 {
		return result, fmt.Errorf("the FHIR server could not export everything: it reports %d errors", export.Failed)
	}
	gone, err := m.missing(ctx, met, began, func(int, int) bool { return false })
	if result.add(gone); err != nil {
		return result, err
	}
	if err := m.deleted(ctx, export, &result); err != nil {
		return result, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = progress{Base: m.Base, From: export.TransactionTime.Add(-wide), Filled: true, SweptAt: began}
	return result, m.save(m.LookedAt())
}

// deleted reads those whom the export tells to be deleted: some may have come back since.
func (m *Mirror) deleted(ctx context.Context, export *fhir.Export, result *Result) error {
	var ids []string
	read := func() error {
		b, err := m.readTogether(ctx, ids)
		if err == nil {
			ids = nil
			result.add(b.result)
		}
		return err
	}
	for id, err := range export.Deleted(ctx) {
		var fault *fhir.Error
		switch {
		case errors.As(err, &fault) && fault.Cause == fhir.BadEntry:
			result.Bad++
			m.Log.Error("an entry of the export's deletions cannot be read", "error", err)
			continue
		case err != nil:
			return err
		}
		if ids = append(ids, id); len(ids) == togetherMissing {
			if err := read(); err != nil {
				return err
			}
		}
	}
	return read()
}
