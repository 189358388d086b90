package mirror

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

const (
	batchSize = 500
	// maxLine bounds one patient; the largest sensible ones carry a photo.
	maxLine = 8 << 20
)

// fhirID is what FHIR allows as an id (R4 datatypes#id).
var fhirID = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)

// ImportOptions says how Import reads patients.
type ImportOptions struct {
	PatientIDSystem string // identifier.system of the hospital's patient number; "" = none
	Now             func() time.Time
	BadLine         func(line int, err error) // told each line that was not imported, from 1
}

// ImportResult counts the lines of an import.
type ImportResult struct {
	Inserted, Updated, Kept, Bad int
}

// Store is what an import needs of the cache.
type Store interface {
	ImportPatients(ctx context.Context, batch []db.NewPatient, at time.Time) ([]db.ImportOutcome, error)
}

// importer gathers patients into batches.
type importer struct {
	ImportOptions
	store  Store
	result ImportResult
	batch  []db.NewPatient
	lines  []int // where each of the batch stood
	bytes  int   // of the batch's lines, which its values keep in memory
}

// Import loads FHIR Patients, one JSON object a line: one with an id as
// synced under that id, one without as LOCAL_ONLY. A bad line is reported and
// the rest goes on; an error means that reading or the cache failed. A row
// that is newer than its line is kept (db.Store.ImportPatients).
func Import(ctx context.Context, r io.Reader, store Store, o ImportOptions) (ImportResult, error) {
	i := &importer{ImportOptions: o, store: store}
	reader := bufio.NewReaderSize(r, 64<<10)
	for line := 1; ; line++ {
		text, tooLong, err := readLine(reader)
		if err != nil && !errors.Is(err, io.EOF) {
			return i.result, fmt.Errorf("read line %d: %w", line, err)
		}
		switch text = bytes.TrimSpace(text); {
		case tooLong:
			i.bad(line, fmt.Errorf("longer than %d bytes", maxLine))
		case len(text) > 0:
			i.add(line, text)
		}
		if end := err != nil; end || len(i.batch) == batchSize || i.bytes > maxLine {
			if err := i.flush(ctx); err != nil {
				return i.result, err
			}
			if end {
				return i.result, nil
			}
		}
	}
}

// readLine reads up to a line break. Of a line over maxLine it keeps nothing.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

func (i *importer) add(line int, text []byte) {
	p, err := fhir.ParsePatient(text, i.Now())
	if err != nil {
		i.bad(line, err)
		return
	}
	if id := gjson.GetBytes(text, "id"); id.Exists() && (id.Type != gjson.String || !fhirID.MatchString(id.Str)) {
		i.bad(line, errors.New("its id is no FHIR id"))
		return
	}
	i.bytes += len(text)
	i.batch = append(i.batch, record.New(p, i.PatientIDSystem))
	i.lines = append(i.lines, line)
}

func (i *importer) bad(line int, err error) {
	i.result.Bad++
	i.BadLine(line, err)
}

func (i *importer) flush(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	outcomes, err := i.store.ImportPatients(ctx, i.batch, i.Now())
	if err != nil {
		return fmt.Errorf("store lines %d to %d: %w", i.lines[0], i.lines[len(i.lines)-1], err)
	}
	for k, o := range outcomes {
		switch {
		case o.Err != nil:
			i.bad(i.lines[k], o.Err)
		case o.Result == db.Inserted:
			i.result.Inserted++
		case o.Result == db.Updated:
			i.result.Updated++
		case o.Result == db.Kept:
			i.result.Kept++
		}
	}
	i.batch, i.lines, i.bytes = nil, i.lines[:0], 0
	return nil
}
