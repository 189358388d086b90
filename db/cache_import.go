package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/uptrace/bun"
)

// NewPatient is one patient to bring into the cache.
type NewPatient struct {
	Number string // the hospital's patient number; "" = P-<year>-<sequence> is assigned
	FHIRID string // "" = LOCAL_ONLY
	State  FHIRState
}

// ImportResult says what became of one patient.
type ImportResult int

// What an import does with a patient.
const (
	Inserted ImportResult = iota + 1
	Updated
	Kept // see KeptReason
)

// KeptReason says in words why a row was kept as it was.
type KeptReason string

// Why a row is kept.
const (
	KeptPending KeptReason = "a write of the patient is under way"
	KeptNewer   KeptReason = "the record here is as new or newer"
	KeptSame    KeptReason = "without a time, and nothing differs"
	KeptWritten KeptReason = "without a time, and the patient was written here lately"
	KeptLocal   KeptReason = "without a FHIR id, and the number is known"
)

// ImportOutcome is what became of one patient of a batch.
type ImportOutcome struct {
	ID     string
	Result ImportResult
	Why    KeptReason // of Kept
	Err    error      // this patient could not be taken; the others were
}

// The reasons why one patient of a batch is not taken.
var (
	errNumberTaken  = errors.New("its patient number belongs to another patient")
	errNumberMoved  = errors.New("the patient with its FHIR id has another patient number")
	errBadNumber    = errors.New("its patient number is longer than 64 characters or holds control characters")
	errBatchRepeats = errors.New("its patient number or FHIR id occurred just before")
)

// importTimeout bounds the transaction of a batch. It has up to 500 patients
// and takes a fraction of a second.
const importTimeout = 30 * time.Second

// ImportPatients stores a batch in one transaction. A row that exists is
// updated only when the patient's State.FHIRUpdatedAt is later than what the row
// last saw of FHIR, and never while it is PENDING: an old file does not
// overwrite newer truth. Of patients without that time the one imported last
// wins, unless the journal still knows a write of the patient. A LOCAL_ONLY row
// becomes synced when a patient with its number comes with a FHIR id.
func (s *Store) ImportPatients(ctx context.Context, batch []NewPatient, at time.Time) ([]ImportOutcome, error) {
	outcomes := make([]ImportOutcome, len(batch))
	run := func(ctx context.Context, tx bun.Tx) error {
		clear(outcomes)
		i := &importing{store: s, tx: tx, at: at, batch: batch, outcomes: outcomes}
		if err := i.findExisting(ctx); err != nil {
			return err
		}
		if err := i.findWritten(ctx); err != nil {
			return err
		}
		if err := i.sort(ctx); err != nil {
			return err
		}
		if err := i.insert(ctx); err != nil {
			return err
		}
		return s.file.check()
	}
	commit := func() error {
		ctx, cancel := context.WithTimeout(ctx, importTimeout)
		defer cancel()
		return s.inTx(ctx, nil, run)
	}
	if err := retryAlone(commit(), commit); err != nil {
		return nil, fmt.Errorf("import patients: %w", err)
	}
	return outcomes, nil
}

// The statements of an import.
var (
	takeNumbers = prepared(`INSERT INTO patient_sequences (year, last) VALUES (?, ?)
		ON CONFLICT (year) DO UPDATE SET last = patient_sequences.last + excluded.last RETURNING last`)
	takenNumbers    = prepared(`SELECT id FROM patients WHERE id = ANY(?)`)
	writtenPatients = prepared(`SELECT DISTINCT patient_id FROM contact_updates WHERE patient_id = ANY(?) AND settled_at > 0`)
)

// importing is one batch on its way.
type importing struct {
	store    *Store
	tx       bun.Tx
	at       time.Time
	batch    []NewPatient
	outcomes []ImportOutcome
	byID     map[string]*Patient
	byFHIRID map[string]*Patient
	inserts  []int // positions in batch of the new ones

	unreadable map[*Patient]error // of the rows: these are left as they are
	written    map[string]bool    // numbers of patients that come without a time and are in the journal
}

// findExisting reads the rows that the batch may concern.
func (i *importing) findExisting(ctx context.Context) error {
	var ids, fhirIDs []string
	for _, n := range i.batch {
		if n.Number != "" {
			ids = append(ids, clean(n.Number))
		}
		if n.FHIRID != "" {
			fhirIDs = append(fhirIDs, clean(n.FHIRID))
		}
	}
	rows, err := i.store.in(ctx, i.tx, existingPatients).QueryContext(ctx, i.store.list(ids), i.store.list(fhirIDs))
	if err != nil {
		return err
	}
	defer rows.Close()
	i.byID, i.byFHIRID, i.unreadable = map[string]*Patient{}, map[string]*Patient{}, map[*Patient]error{}
	for rows.Next() {
		p, err := allColumns.scan(rows)
		switch {
		case errors.Is(err, ErrUnreadable):
			i.unreadable[p] = err
		case err != nil:
			return err
		}
		i.byID[p.ID] = p
		if p.FHIRID != "" {
			i.byFHIRID[p.FHIRID] = p
		}
	}
	return rows.Err()
}

// findWritten reads which of the rows that come without a time were written here.
func (i *importing) findWritten(ctx context.Context) error {
	var known []string
	for _, n := range i.batch {
		if row := i.byFHIRID[n.FHIRID]; row != nil && n.State.FHIRUpdatedAt.IsZero() {
			known = append(known, row.ID)
		}
	}
	i.written = map[string]bool{}
	if len(known) == 0 {
		return nil
	}
	written, err := i.ids(ctx, writtenPatients, known)
	for _, id := range written {
		i.written[id] = true
	}
	return err
}

// sort decides for each patient and updates the rows that exist.
func (i *importing) sort(ctx context.Context) error {
	fresh := map[string]bool{} // numbers and FHIR ids of the new ones
	for k, n := range i.batch {
		row, err := i.match(n)
		switch {
		case err != nil:
			i.outcomes[k].Err = err
		case row == nil && n.Number != "" && fresh["id "+n.Number], n.FHIRID != "" && fresh["fhir "+n.FHIRID]:
			i.outcomes[k].Err = errBatchRepeats
		case row == nil:
			fresh["id "+n.Number], fresh["fhir "+n.FHIRID] = true, true
			i.inserts = append(i.inserts, k)
		default:
			i.outcomes[k] = ImportOutcome{ID: row.ID, Result: Kept, Why: i.keep(row, n)}
			if i.outcomes[k].Why == "" {
				i.outcomes[k].Result = Updated
				if err := i.refresh(ctx, row, n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// match finds the row that a patient is, nil when there is none.
func (i *importing) match(n NewPatient) (*Patient, error) {
	if clean(n.Number) != n.Number || len([]rune(n.Number)) > 64 || fold(n.Number) == "" && n.Number != "" || hasControl(n.Number) {
		return nil, errBadNumber
	}
	byID, byFHIRID := i.byID[n.Number], i.byFHIRID[n.FHIRID]
	switch {
	case byFHIRID != nil && n.Number != "" && byFHIRID.ID != n.Number:
		return nil, errNumberMoved
	case i.unreadable[cmp.Or(byFHIRID, byID)] != nil:
		return nil, i.unreadable[cmp.Or(byFHIRID, byID)]
	case byFHIRID != nil:
		return byFHIRID, nil
	case byID != nil && n.FHIRID != "" && (byID.FHIRID != "" || !samePerson(byID, n.State)):
		return nil, errNumberTaken
	default:
		return byID, nil
	}
}

// samePerson guards a LOCAL_ONLY row against a stranger with its number, which
// may be one that we assigned.
func samePerson(row *Patient, st FHIRState) bool {
	return row.BirthDate == st.BirthDate &&
		nameKey(&row.FHIRState) == nameKey(&st)
}

// keep says why a row stays as it is, "" if it does not.
func (i *importing) keep(row *Patient, n NewPatient) KeptReason {
	at := n.State.FHIRUpdatedAt
	switch {
	case row.SyncState == Pending:
		return KeptPending
	case n.FHIRID == "":
		return KeptLocal
	case row.FHIRID == "": // it becomes synced
		return ""
	case !at.IsZero() && !at.After(row.FHIRUpdatedAt):
		return KeptNewer
	case at.IsZero() && i.written[row.ID]:
		return KeptWritten
	case at.IsZero() && showsSame(row.FHIRState, n.State):
		return KeptSame
	default:
		return ""
	}
}

// showsSame compares all but when and in which version FHIR showed it.
func showsSame(a, b FHIRState) bool {
	b.FHIRVersionID, b.FHIRUpdatedAt = a.FHIRVersionID, a.FHIRUpdatedAt
	return reflect.DeepEqual(a, b)
}

// refresh brings a row up to date. A patient without a time leaves the one that
// is known: a file from before it stays the older one.
func (i *importing) refresh(ctx context.Context, row *Patient, n NewPatient) error {
	if n.State.FHIRUpdatedAt.IsZero() {
		n.State.FHIRUpdatedAt = row.FHIRUpdatedAt
	}
	row.FHIRID = n.FHIRID
	i.byFHIRID[n.FHIRID] = row
	row.FHIRState = n.State
	row.SyncState, row.LastSyncedAt = Synced, i.at
	return i.store.update(ctx, i.tx, row, i.at)
}

// insert adds the new ones.
func (i *importing) insert(ctx context.Context) error {
	if len(i.inserts) == 0 {
		return nil
	}
	numbers, err := i.assign(ctx)
	if err != nil {
		return err
	}
	patients := make([]*Patient, 0, len(i.inserts))
	values := make([]any, 0, len(i.inserts)*len(columns))
	for _, k := range i.inserts {
		n := i.batch[k]
		p := &Patient{ID: n.Number, FHIRID: n.FHIRID, FHIRState: n.State, SyncState: LocalOnly, Version: 1, CreatedAt: i.at, UpdatedAt: i.at}
		if p.ID == "" {
			p.ID, numbers = numbers[0], numbers[1:]
		}
		if p.FHIRID != "" {
			p.SyncState, p.LastSyncedAt = Synced, i.at
		}
		patients, values = append(patients, p), append(values, rowValues(p)...)
		i.outcomes[k] = ImportOutcome{ID: p.ID, Result: Inserted}
	}
	if err := i.store.insertRows(ctx, i.tx, insertPatients, len(columns), values); err != nil {
		return err
	}
	return i.store.insertGrams(ctx, i.tx, patients)
}

// assign takes as many numbers as the new patients without one need, passing
// over those that hospitals' own numbers already use.
func (i *importing) assign(ctx context.Context) ([]string, error) {
	need, own := 0, map[string]bool{}
	for _, k := range i.inserts {
		if number := i.batch[k].Number; number != "" {
			own[number] = true
		} else {
			need++
		}
	}
	year := i.at.UTC().Year()
	var numbers []string
	for len(numbers) < need {
		missing := need - len(numbers)
		var last int64
		if err := i.store.in(ctx, i.tx, takeNumbers).QueryRowContext(ctx, year, missing).Scan(&last); err != nil {
			return nil, err
		}
		candidates := make([]string, 0, missing)
		for n := last - int64(missing) + 1; n <= last; n++ {
			candidates = append(candidates, fmt.Sprintf("P-%d-%06d", year, n))
		}
		taken, err := i.ids(ctx, takenNumbers, candidates)
		if err != nil {
			return nil, err
		}
		for _, id := range taken {
			own[id] = true
		}
		for _, id := range candidates {
			if !own[id] {
				numbers = append(numbers, id)
			}
		}
	}
	return numbers, nil
}

// ids runs a statement that picks some of the numbers.
func (i *importing) ids(ctx context.Context, pick *statement, numbers []string) ([]string, error) {
	rows, err := i.store.in(ctx, i.tx, pick).QueryContext(ctx, i.store.list(numbers))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var picked []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		picked = append(picked, id)
	}
	return picked, rows.Err()
}
