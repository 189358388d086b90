package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

const (
	// batchSize is how many are stored together: their neighbours in the indexes share
	// pages, and the wait for the disk. So long do others wait for their turn on SQLite.
	batchSize = 5000
	// maxLine bounds one patient; the largest sensible ones carry a photo.
	maxLine = 8 << 20
	// maxAlike is how many bad lines of one kind, with no good one between them,
	// show that the file is not what it was taken for.
	maxAlike = 20
)

// Why a line or an entry is bad, beside what fhir.ParsePatient says.
var (
	errTooLong = fmt.Errorf("longer than %d bytes", maxLine)
	errNoID    = errors.New("its id is no FHIR id")
	errEmpty   = errors.New("the file is empty")
)

// ImportOptions says how Import reads patients.
type ImportOptions struct {
	PatientIDSystem string // identifier.system of the hospital's patient number; "" = none
	Now             func() time.Time
	// BadLine is told each line, or entry of a Bundle, that was not imported, from 1.
	BadLine func(file string, line int, err error)
}

// ImportResult counts the patients of an import.
type ImportResult struct {
	Inserted, Updated, Bad int
	Kept                   map[db.KeptReason]int
	Others                 int // entries of Bundles that are no patients
}

// add counts the patients of one more file.
func (r *ImportResult) add(more ImportResult) {
	r.Inserted += more.Inserted
	r.Updated += more.Updated
	r.Bad += more.Bad
	r.Others += more.Others
	for why, n := range more.Kept {
		r.keep(why, n)
	}
}

func (r *ImportResult) keep(why db.KeptReason, n int) {
	if r.Kept == nil {
		r.Kept = map[db.KeptReason]int{}
	}
	r.Kept[why] += n
}

// Store is what an import needs of the cache.
type Store interface {
	ImportPatients(ctx context.Context, batch []db.NewPatient, at time.Time) ([]db.ImportOutcome, error)
	SettleNumbers(ctx context.Context, system string, at time.Time) ([]db.RefusedNumber, error)
}

// Import loads FHIR Patients from one file or several: Read each, then Settle. Only
// after the last one is it known which numbers are free.
type Import struct {
	ImportOptions
	Result  ImportResult
	store   Store
	claimed int              // how many times a line told a number that another patient had
	claims  map[string]claim // the lines whose number another patient had, by FHIR id
}

// claim is where a patient was told that has not got its number.
type claim struct {
	order int
	file  string
	line  int
}

// NewImport begins an import into the cache.
func NewImport(store Store, o ImportOptions) *Import {
	return &Import{ImportOptions: o, store: store, claims: map[string]claim{}}
}

// importer gathers the patients of a file into batches.
type importer struct {
	*Import
	file    string
	source  *source
	result  ImportResult   // of the file
	looks   string         // what the file looks like
	good    bool           // it had a patient
	alike   map[string]int // bad lines since the last good one, by kind
	batch   batchOfLines
	storing chan stored // the batch that is being stored; nil: none is
}

// batchOfLines are patients, and where they stood.
type batchOfLines struct {
	patients []db.NewPatient
	lines    []int
	bytes    int // of the lines
}

// stored is what became of a batch.
type stored struct {
	batchOfLines
	outcomes []db.ImportOutcome
	err      error
}

// Read loads a file: one JSON object a line, or Bundles (collection,
// searchset), one a line or over many lines; also compressed by gzip. One with
// an id enters as synced under that id, one without as LOCAL_ONLY. What is bad
// is reported and the rest goes on. An error means that reading or the cache
// failed, or that the file is something else; the patients before that are in
// the cache. A row that is newer than its line is kept (db.Store.ImportPatients).
func (all *Import) Read(ctx context.Context, file string, r io.Reader) error {
	i := &importer{Import: all, file: file, alike: map[string]int{}}
	return i.end(ctx, i.read(ctx, r))
}

// end stores the last batch, also after an error.
func (i *importer) end(ctx context.Context, err error) error {
	failed := i.flush(ctx)
	if failed == nil {
		failed = i.await()
	}
	i.Result.add(i.result)
	return errors.Join(err, failed)
}

// Settle gives patients the numbers that others had when their lines came, and
// reports the lines whose numbers are refused.
func (all *Import) Settle(ctx context.Context) error {
	refused, err := all.store.SettleNumbers(ctx, all.PatientIDSystem, all.Now())
	if err != nil {
		return err
	}
	slices.SortFunc(refused, func(a, b db.RefusedNumber) int { return all.claims[a.FHIRID].order - all.claims[b.FHIRID].order })
	for _, r := range refused {
		if from, ours := all.claims[r.FHIRID]; ours {
			all.Result.Bad++
			all.BadLine(from.file, from.line, fmt.Errorf("patient number %s refused, the rest was taken: %w", r.Number, r.Why))
		}
	}
	return nil
}

// read imports a whole file, but for the last batch.
func (i *importer) read(ctx context.Context, r io.Reader) error {
	var err error
	if i.source, i.looks, err = open(r); err != nil {
		return err
	}
	for {
		first, err := i.source.blanks()
		switch {
		case errors.Is(err, io.EOF) && !i.good && i.result.Bad > 0:
			return fmt.Errorf("no patient was found; the file looks like %s", i.looks)
		case errors.Is(err, io.EOF) && !i.good && i.result.Others == 0 && i.looks == looksEmpty:
			return errEmpty
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = i.item(ctx, first)
		}
		var failure *readError
		if errors.As(err, &failure) {
			return fmt.Errorf("line %d cannot be read, those before it were imported: %w", i.source.line, err)
		}
		if err != nil {
			return err
		}
	}
}

// item reads a line, or a Bundle or another object over several lines. After
// one that breaks off, the next line that was not begun may be good.
func (i *importer) item(ctx context.Context, first byte) error {
	s, began := i.source, i.source.line
	kind, multiline := "", false
	if first == '{' {
		kind, multiline = s.ahead()
	}
	var text []byte
	var err error
	whole := true
	switch {
	case kind == "Bundle":
		err = i.bundle(ctx)
		if !isBroken(err) {
			return err
		}
	case multiline:
		text, whole, err = s.value(maxLine)
	default:
		text, whole, err = s.readLine(maxLine)
	}
	switch {
	case isBroken(err):
		if err := i.reject(s.line, 0, fmt.Errorf("what began in line %d breaks off: %w", began, err), err); err != nil || s.fresh {
			return err
		}
		_, _, err = s.readLine(0)
		return err
	case err != nil:
		return err
	case !whole:
		return i.reject(began, 0, errTooLong, errTooLong)
	default:
		return i.add(ctx, began, 0, text)
	}
}

// add takes a patient into the batch. It stood in a line, and there in an entry
// of a Bundle, or 0.
func (i *importer) add(ctx context.Context, line, entry int, text []byte) error {
	p, err := fhir.ParsePatient(text, i.Now())
	if err != nil {
		return i.reject(line, entry, err, err)
	}
	if id := gjson.GetBytes(text, "id"); id.Exists() && (id.Type != gjson.String || !fhir.IsID(id.Str)) {
		return i.reject(line, entry, errNoID, errNoID)
	}
	i.good = true
	clear(i.alike)
	b, n := &i.batch, record.New(p, i.PatientIDSystem)
	n.MakeKeys()
	b.patients, b.lines, b.bytes = append(b.patients, n), append(b.lines, line), b.bytes+len(text)
	if len(b.patients) == batchSize || b.bytes > maxLine {
		return i.flush(ctx)
	}
	return nil
}

// reject reports what could not be read, and ends the import of a file when it is the
// same again and again.
func (i *importer) reject(line, entry int, err, kind error) error {
	i.report(line, entry, err)
	i.alike[kind.Error()]++
	if n := i.alike[kind.Error()]; n >= maxAlike {
		return fmt.Errorf("stopped in line %d after %d bad ones of one kind (%v); the file looks like %s", line, n, kind, i.looks)
	}
	return nil
}

func (i *importer) report(line, entry int, err error) {
	i.result.Bad++
	if entry > 0 {
		err = fmt.Errorf("entry %d of the Bundle: %w", entry, err)
	}
	i.BadLine(i.file, line, err)
}

// flush begins to store the batch, once the one before is stored. Meanwhile the next one
// is read.
func (i *importer) flush(ctx context.Context) error {
	b, at := i.batch, i.Now()
	i.batch = batchOfLines{}
	if err := i.await(); err != nil || len(b.patients) == 0 {
		return err
	}
	storing := make(chan stored, 1)
	i.storing = storing
	go func() {
		outcomes, err := i.store.ImportPatients(ctx, b.patients, at)
		storing <- stored{b, outcomes, err}
	}()
	return nil
}

// await waits for the batch that is being stored, and counts what became of it.
func (i *importer) await() error {
	if i.storing == nil {
		return nil
	}
	b := <-i.storing
	i.storing = nil
	if b.err != nil {
		return fmt.Errorf("store lines %d to %d: %w", b.lines[0], b.lines[len(b.lines)-1], b.err)
	}
	for k, o := range b.outcomes {
		i.count(b.patients[k].FHIRID, b.lines[k], o)
	}
	return nil
}

// count counts what became of a line's patient.
func (i *importer) count(fhirID string, line int, o db.ImportOutcome) {
	if o.Claimed {
		i.claimed++
		i.claims[fhirID] = claim{i.claimed, i.file, line}
	} else if o.Result != db.Kept {
		delete(i.claims, fhirID)
	}
	if o.Refused != nil {
		i.report(line, 0, fmt.Errorf("patient number refused, the rest was taken: %w", o.Refused))
	}
	switch {
	case o.Err != nil:
		i.report(line, 0, o.Err)
	case o.Result == db.Inserted:
		i.result.Inserted++
	case o.Result == db.Updated:
		i.result.Updated++
	case o.Result == db.Kept:
		i.result.keep(o.Why, 1)
	}
}
