package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patientgraph/fhir"
)

// Bulk takes the patients of an export into an import; Settle is the caller's. gone is
// told who the server says it has deleted, before the patients: who came back is among
// them. It returns the time from which on changes of the server are to be followed, or an
// error where the cache may not hold all that the server had then; what could be taken is
// in the cache, and to import it again does no harm.
func Bulk(ctx context.Context, export *fhir.Export, into *Import, gone func(ctx context.Context, id string) error) (time.Time, error) {
	var failures []error
	for id, err := range export.Deleted(ctx) {
		var fault *fhir.Error
		switch {
		case errors.As(err, &fault) && fault.Cause == fhir.BadEntry:
			failures = append(failures, err)
			continue
		case err == nil:
			err = gone(ctx, id)
		}
		if err != nil {
			return time.Time{}, err
		}
	}
	if err := into.Patients(ctx, export.Patients(ctx)); err != nil {
		return time.Time{}, err
	}
	if export.Failed > 0 {
		failures = append(failures, fmt.Errorf("the FHIR server could not export everything: it reports %d errors", export.Failed))
	}
	return export.TransactionTime, errors.Join(failures...)
}
