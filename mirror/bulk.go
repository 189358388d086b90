package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"patientgraph/fhir"
)

// bulkPage is how many patients of an export are stored together.
const bulkPage = 500

// Bulk is a FHIR server that is asked for all its patients by an export.
type Bulk struct {
	*fhir.Client
	Export *fhir.Export
}

// List shows first who the server says it has deleted (who came back is among the
// patients), then every patient. It cannot be resumed: no page names a next one.
func (b Bulk) List(ctx context.Context, _ string) iter.Seq2[fhir.Listing, error] {
	return func(yield func(fhir.Listing, error) bool) {
		page := fhir.Listing{ServerTime: b.Export.TransactionTime}
		for change, err := range b.changes(ctx) {
			if err != nil {
				yield(fhir.Listing{}, err)
				return
			}
			if page.Changes = append(page.Changes, change); len(page.Changes) == bulkPage {
				if !yield(page, nil) {
					return
				}
				page.Changes = nil
			}
		}
		if yield(page, nil) && b.Export.Failed > 0 {
			yield(fhir.Listing{}, fmt.Errorf("the FHIR server could not export everything: it reports %d errors", b.Export.Failed))
		}
	}
}

func (b Bulk) changes(ctx context.Context) iter.Seq2[fhir.Change, error] {
	return func(yield func(fhir.Change, error) bool) {
		for id, err := range b.Export.Deleted(ctx) {
			change := fhir.Change{ID: id, Deleted: true}
			if isBadEntry(err) {
				change, err = fhir.Change{Err: err}, nil
			}
			if !yield(change, err) {
				return
			}
		}
		for patient, err := range b.Export.Patients(ctx) {
			change := fhir.Change{ID: patient.ID, Patient: patient}
			if isBadEntry(err) {
				change, err = fhir.Change{Err: err}, nil
			}
			if !yield(change, err) {
				return
			}
		}
	}
}

// isBadEntry reports whether an error concerns one entry alone.
func isBadEntry(err error) bool {
	var fault *fhir.Error
	return errors.As(err, &fault) && fault.Cause == fhir.BadEntry
}
