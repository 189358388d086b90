package app

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"patientgraph/db"
	"patientgraph/mirror"
)

type importCommand struct {
	Files []string `arg:"" name:"file" help:"Files of FHIR Patients: one a line (NDJSON), or a Bundle; also gzip. - is standard input."`
}

// Run loads what it can of each file, reports what is bad, and fails if
// anything was.
func (i importCommand) Run(p *program) error {
	store, err := openStore(p.ctx, p.config)
	if err != nil {
		return err
	}
	defer store.Close()
	var total mirror.ImportResult
	var failures []error
	for _, file := range i.Files {
		result, err := importFile(p, store, file)
		total.Add(result)
		if err != nil {
			failures = append(failures, fmt.Errorf("import: %s: %w", file, err))
		}
		if p.ctx.Err() != nil {
			break
		}
	}
	printImport(p.stdout, total)
	if total.Bad > 0 {
		failures = append(failures, fmt.Errorf("import: %d lines were not imported, or not wholly; see the log above", total.Bad))
	}
	return errors.Join(failures...)
}

func importFile(p *program, store *db.Store, name string) (mirror.ImportResult, error) {
	var input io.Reader = os.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return mirror.ImportResult{}, err
		}
		defer file.Close()
		input = file
	}
	return mirror.Import(p.ctx, input, store, mirror.ImportOptions{
		PatientIDSystem: p.config.PatientIDSystem, Now: time.Now,
		BadLine: func(line int, err error) { p.log.Error("line not imported", "file", name, "line", line, "error", err) },
	})
}

// printImport counts what became of the patients, and why some were kept.
func printImport(out io.Writer, r mirror.ImportResult) {
	kept := 0
	for _, n := range r.Kept {
		kept += n
	}
	fmt.Fprintf(out, "%d new, %d updated, %d kept as they were, %d bad lines\n", r.Inserted, r.Updated, kept, r.Bad)
	for _, why := range slices.Sorted(maps.Keys(r.Kept)) {
		fmt.Fprintf(out, "kept %d: %s\n", r.Kept[why], why)
	}
	if r.Others > 0 {
		fmt.Fprintf(out, "passed over %d resources of Bundles that are no patients\n", r.Others)
	}
}
