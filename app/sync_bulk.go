package app

import (
	"context"
	"fmt"
	"time"

	"patientgraph/fhir"
	"patientgraph/mirror"
)

// syncBulk fills the cache by one export of all patients, and returns from when on the
// server's changes are to be followed.
func syncBulk(p *program, client *fhir.Client, imported *mirror.Import) (time.Time, error) {
	export, err := client.Export(p.ctx, func(progress string) {
		p.log.Info("the FHIR server prepares the export", "progress", progress)
	})
	if err != nil {
		return time.Time{}, err
	}
	defer export.Close()
	for _, issue := range export.Issues {
		p.log.Warn("the FHIR server says of its export", "severity", issue.Severity, "code", issue.Code, "says", issue.Message)
	}
	deleted := 0
	from, err := mirror.Bulk(p.ctx, export, imported, func(context.Context, string) error {
		deleted++
		return nil
	})
	if deleted > 0 {
		fmt.Fprintf(p.stdout, "the FHIR server has deleted %d patients\n", deleted)
	}
	return from, err
}
