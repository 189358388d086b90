package app

import "patientgraph/fhir"

// startExport has the FHIR server export all patients, waits until it has, and tells what
// it says of it.
func startExport(p *program, client *fhir.Client) (*fhir.Export, error) {
	export, err := client.Export(p.ctx, func(progress string) {
		p.log.Info("the FHIR server prepares the export", "progress", progress)
	})
	if err != nil {
		return nil, err
	}
	for _, issue := range export.Issues {
		p.log.Warn("the FHIR server says of its export", "severity", issue.Severity, "code", issue.Code, "says", issue.Message)
	}
	return export, nil
}
