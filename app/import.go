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
	store, err := openStore(p.ctx, p.config, p.log)
	if err != nil {
		return err
	}
	defer store.Close()
	imported := newImport(p, store, func(file string, line int, err error) {
		p.log.Error("line not imported", "file", file, "line", line, "error", err)
	})
	var failures []error
	for _, file := range i.Files {
		if err := readFile(p, imported, file); err != nil {
			failures = append(failures, fmt.Errorf("import: %s: %w", file, err))
		}
		if p.ctx.Err() != nil {
			break
		}
	}
	return endImport(p, "import", "lines", imported, failures)
}

func newImport(p *program, store *db.Store, bad func(file string, line int, err error)) *mirror.Import {
	return mirror.NewImport(store, mirror.ImportOptions{PatientIDSystem: p.config.PatientIDSystem, Now: time.Now, BadLine: bad})
}

// endImport settles the numbers and says what became of the patients, in the command's
// own word for what it counts.
func endImport(p *program, command, units string, imported *mirror.Import, failures []error) error {
	if p.ctx.Err() == nil { // else the next import settles them
		if err := imported.Settle(p.ctx); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", command, err))
		}
	}
	printImport(p.stdout, units, imported.Result)
	if bad := imported.Result.Bad; bad > 0 {
		failures = append(failures, fmt.Errorf("%s: %d %s were not taken, or not wholly; see the log above", command, bad, units))
	}
	return errors.Join(failures...)
}

func readFile(p *program, imported *mirror.Import, name string) error {
	var input io.Reader = os.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		input = file
	}
	return imported.Read(p.ctx, name, input)
}

// printImport counts what became of the patients, and why some were kept.
func printImport(out io.Writer, units string, r mirror.ImportResult) {
	kept := 0
	for _, n := range r.Kept {
		kept += n
	}
	fmt.Fprintf(out, "%d new, %d updated, %d kept as they were, %d bad %s\n", r.Inserted, r.Updated, kept, r.Bad, units)
	for _, why := range slices.Sorted(maps.Keys(r.Kept)) {
		fmt.Fprintf(out, "kept %d: %s\n", r.Kept[why], why)
	}
	if r.Others > 0 {
		fmt.Fprintf(out, "passed over %d resources of Bundles that are no patients\n", r.Others)
	}
}
