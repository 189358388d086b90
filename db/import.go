package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// NewPatient is one patient to bring into the cache.
type NewPatient struct {
	HospitalID string // the hospital's patient number; "" = P-<year>-<sequence> is assigned
	FHIRID     string // "" = LOCAL_ONLY
	State      FHIRState
}

// ImportResult says what became of one patient.
type ImportResult int

// What an import does with a patient.
const (
	Inserted ImportResult = iota + 1
	Updated
	Kept // the row is at least as new, or has a write under way
)

// ImportOutcome is what became of one patient of a batch.
type ImportOutcome struct {
	ID     string
	Result ImportResult
	Err    error // this patient could not be taken; the others were
}

// The reasons why one patient of a batch is not taken.
var (
	errNumberTaken  = errors.New("its patient number belongs to another patient")
	errNumberMoved  = errors.New("the patient with its FHIR id has another patient number")
	errBadNumber    = errors.New("its patient number is longer than 64 characters or holds control characters")
	errBatchRepeats = errors.New("its patient number or FHIR id occurred just before")
)

// ImportPatients stores a batch in one transaction. A row that exists is
// updated only when the patient's State.UpdatedAt is later than what the row
// last saw of FHIR, and never while it is PENDING: an old file does not
// overwrite newer truth. A LOCAL_ONLY row becomes synced when a patient with
// its number comes with a FHIR id.
func (s *Store) ImportPatients(ctx context.Context, batch []NewPatient, at time.Time) ([]ImportOutcome, error) {
	outcomes := make([]ImportOutcome, len(batch))
	run := func(ctx context.Context, tx bun.Tx) error {
		clear(outcomes)
		i := &importing{store: s, tx: tx, at: at, batch: batch, outcomes: outcomes}
		if err := i.findExisting(ctx); err != nil {
			return err
		}
		if err := i.sort(ctx); err != nil {
			return err
		}
		return i.insert(ctx)
	}
	commit := func() error { return s.journal.RunInTx(ctx, nil, run) }
	if err := again(commit(), commit); err != nil {
		return nil, fmt.Errorf("import patients: %w", err)
	}
	return outcomes, nil
}

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
}

// findExisting reads the rows that the batch may concern.
func (i *importing) findExisting(ctx context.Context) error {
	ids, fhirIDs := []string{""}, []string{""} // never empty: IN () is no SQL
	for _, n := range i.batch {
		ids = append(ids, clean(n.HospitalID))
		fhirIDs = append(fhirIDs, clean(n.FHIRID))
	}
	q := i.tx.NewSelect().ColumnExpr(allColumns.names()).Table("patients").
		Where("id IN (?) OR fhir_id IN (?)", bun.List(ids), bun.List(fhirIDs))
	if i.store.postgres {
		q = q.Order("id").For("UPDATE") // in the order in which the journal locks them
	}
	rows, err := scanAll(ctx, q, allColumns)
	if err != nil {
		return err
	}
	i.byID, i.byFHIRID = map[string]*Patient{}, map[string]*Patient{}
	for _, p := range rows {
		i.byID[p.ID] = p
		if p.FHIRID != "" {
			i.byFHIRID[p.FHIRID] = p
		}
	}
	return nil
}

// sort decides for each patient and updates the rows that exist.
func (i *importing) sort(ctx context.Context) error {
	fresh := map[string]bool{} // numbers and FHIR ids of the new ones
	for k, n := range i.batch {
		row, err := i.match(n)
		switch {
		case err != nil:
			i.outcomes[k].Err = err
		case row == nil && n.HospitalID != "" && fresh["id "+n.HospitalID], n.FHIRID != "" && fresh["fhir "+n.FHIRID]:
			i.outcomes[k].Err = errBatchRepeats
		case row == nil:
			fresh["id "+n.HospitalID], fresh["fhir "+n.FHIRID] = true, true
			i.inserts = append(i.inserts, k)
		default:
			result, err := i.refresh(ctx, row, n)
			if err != nil {
				return err
			}
			i.outcomes[k] = ImportOutcome{ID: row.ID, Result: result}
		}
	}
	return nil
}

// match finds the row that a patient is, nil when there is none.
func (i *importing) match(n NewPatient) (*Patient, error) {
	if len([]rune(n.HospitalID)) > 64 || fold(n.HospitalID) == "" && n.HospitalID != "" || hasControl(n.HospitalID) {
		return nil, errBadNumber
	}
	byID, byFHIRID := i.byID[n.HospitalID], i.byFHIRID[n.FHIRID]
	switch {
	case byFHIRID != nil && n.HospitalID != "" && byFHIRID.ID != n.HospitalID:
		return nil, errNumberMoved
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
		nameKey(row) == nameKey(&Patient{FamilyName: st.FamilyName, GivenName: st.GivenName, FullName: st.FullName})
}

// refresh brings a row up to date if the patient is newer.
func (i *importing) refresh(ctx context.Context, row *Patient, n NewPatient) (ImportResult, error) {
	linked := row.FHIRID == "" && n.FHIRID != ""
	newer := n.FHIRID != "" && n.State.UpdatedAt.After(row.FHIRUpdatedAt)
	if row.SyncState == Pending || !linked && !newer {
		return Kept, nil
	}
	if linked {
		row.FHIRID = n.FHIRID
		i.byFHIRID[n.FHIRID] = row
	}
	n.State.applyTo(row)
	row.SyncState, row.LastSyncedAt = Synced, i.at
	return Updated, i.store.update(ctx, i.tx, row, i.at)
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
	rows := make([]*row, 0, len(i.inserts))
	for _, k := range i.inserts {
		n := i.batch[k]
		p := &Patient{ID: n.HospitalID, FHIRID: n.FHIRID, SyncState: LocalOnly, Version: 1, CreatedAt: i.at, UpdatedAt: i.at}
		if p.ID == "" {
			p.ID, numbers = numbers[0], numbers[1:]
		}
		if p.FHIRID != "" {
			p.SyncState, p.LastSyncedAt = Synced, i.at
		}
		n.State.applyTo(p)
		p.nameKey = nameKey(p)
		patients, rows = append(patients, p), append(rows, toRow(p))
		i.outcomes[k] = ImportOutcome{ID: p.ID, Result: Inserted}
	}
	if _, err := i.tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
		return err
	}
	return insertGrams(ctx, i.tx, patients)
}

// assign takes as many numbers as the new patients without one need, passing
// over those that hospitals' own numbers already use.
func (i *importing) assign(ctx context.Context) ([]string, error) {
	need, own := 0, map[string]bool{}
	for _, k := range i.inserts {
		if number := i.batch[k].HospitalID; number != "" {
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
		if err := i.tx.NewRaw(`INSERT INTO patient_sequences (year, last) VALUES (?, ?)
			ON CONFLICT (year) DO UPDATE SET last = patient_sequences.last + excluded.last RETURNING last`,
			year, missing).Scan(ctx, &last); err != nil {
			return nil, err
		}
		candidates := make([]string, 0, missing)
		for n := last - int64(missing) + 1; n <= last; n++ {
			candidates = append(candidates, fmt.Sprintf("P-%d-%06d", year, n))
		}
		var taken []string
		if err := i.tx.NewSelect().Column("id").Table("patients").Where("id IN (?)", bun.List(candidates)).Scan(ctx, &taken); err != nil {
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
