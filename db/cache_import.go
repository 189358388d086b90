package db

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// NewPatient is one patient to bring into the cache.
type NewPatient struct {
	Number       string       // the hospital's patient number; "" = a row keeps its own, a new one is assigned P-<year>-<sequence>
	NumberSystem string       // identifier.system of the Number
	Identifiers  []Identifier // all others
	FHIRID       string       // "" = LOCAL_ONLY
	Replaces     []string     // who was merged into it, as FHIRState.ReplacedBy
	State        FHIRState

	keys *keys // see MakeKeys
}

// MakeKeys makes what the patient is searched by. ImportPatients does it where it was not
// done, but then others wait: it takes as long as to read the patient.
func (n *NewPatient) MakeKeys() {
	made := keysOf(&n.State)
	n.keys = &made
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
	KeptSame    KeptReason = "without a time, and nothing differs" // of a fill: nothing differs
	KeptWritten KeptReason = "without a time, and the patient was written here lately"
	KeptLocal   KeptReason = "without a FHIR id, and the number is known"
	KeptGone    KeptReason = "the FHIR server does not have the patient any more"
)

// ImportOutcome is what became of one patient of a batch.
type ImportOutcome struct {
	ID      string
	Result  ImportResult
	Why     KeptReason // of Kept
	Claimed bool       // another patient has its number: SettleNumbers tells how that ends
	Refused error      // its number can be none; the rest was taken
	Err     error      // this patient could not be taken; the others were
}

// importTimeout bounds the transaction of a batch, which takes a second or two.
const importTimeout = 30 * time.Second

// ImportPatients stores a batch in one transaction; a patient who occurs again in it
// counts as in another batch. A row that exists is updated only when the patient's
// State.FHIRUpdatedAt is later than what the row last saw of FHIR (or the same, where
// an older program filled the row), and never while it is PENDING: an old file does
// not overwrite newer truth. Of patients without that time the one imported last
// wins, unless the journal still knows a write of the patient. A LOCAL_ONLY row
// becomes synced when a patient with its number comes with a FHIR id, see
// cache_link.go. What is recorded here alone follows a merge, see cache_merge.go.
// Numbers move with their patients, see cache_numbers.go; who has claimed one that
// another patient has waits for SettleNumbers.
func (s *Store) ImportPatients(ctx context.Context, batch []NewPatient, at time.Time) ([]ImportOutcome, error) {
	began := time.Now()
	filled, err := s.importBatch(ctx, batch, at, nil)
	if err != nil {
		return nil, fmt.Errorf("import patients: %w", err)
	}
	s.letIn(time.Since(began))
	return filled.Outcomes, nil
}

// importBatch stores a batch; without fill it is of a file.
func (s *Store) importBatch(ctx context.Context, batch []NewPatient, at time.Time, fill *Fill) (Filled, error) {
	outcomes := make([]ImportOutcome, len(batch))
	var gone []string
	var events []event
	run := func(ctx context.Context, tx bun.Tx) error {
		clear(outcomes)
		events = nil
		for from, to := 0, 0; from < len(batch); from = to {
			to = from + distinctPatients(batch[from:])
			i := &importing{store: s, tx: tx, at: at, fill: fill, batch: slices.Clone(batch[from:to]), outcomes: outcomes[from:to],
				came: map[*Patient]int{}, taken: map[*Patient]int{}, numberOnly: map[*Patient]bool{}, cameAs: map[*Patient]string{}, strangers: map[*Patient]bool{}}
			for _, step := range []func(context.Context) error{i.findMerges, i.findExisting, i.findIdentifiers, i.findWritten, i.sort, i.insert, i.writeAllIdentifiers,
				i.yieldAliases, i.settleMerges, i.noteUnseen} {
				if err := step(ctx); err != nil {
					return err
				}
			}
			events = append(events, i.events...)
		}
		if fill != nil {
			var err error
			if gone, err = s.endFill(ctx, tx, at, fill); err != nil {
				return err
			}
		}
		return s.file.check()
	}
	commit := func() error {
		ctx, cancel := context.WithTimeout(ctx, importTimeout)
		defer cancel()
		return s.inTx(ctx, nil, run)
	}
	err := commit()
	if fill == nil || !isLocked(err) { // a fill does not wait for what somebody has locked
		err = retryAlone(err, commit)
	}
	if err != nil {
		return Filled{}, err
	}
	for _, e := range events {
		s.Log.Log(ctx, e.level, e.message, e.args...)
	}
	return Filled{Outcomes: outcomes, Gone: gone}, nil
}

// distinctPatients returns how many at the beginning have no FHIR id and no number in
// common.
func distinctPatients(batch []NewPatient) int {
	fhirIDs, numbers := map[string]bool{"": true}, map[string]bool{"": true}
	for k, n := range batch {
		if n.FHIRID != "" && fhirIDs[n.FHIRID] || n.Number != "" && numbers[n.Number] {
			return k
		}
		fhirIDs[n.FHIRID], numbers[n.Number] = true, true
	}
	return len(batch)
}

// writtenPatients: what a file without times shows may be from before these writes.
var writtenPatients = prepared(`SELECT DISTINCT patient_id FROM contact_updates WHERE patient_id = ANY(?) AND settled_at > 0 AND kind = 'UPDATE'`)

// importing is one batch on its way.
type importing struct {
	store    *Store
	tx       bun.Tx
	at       time.Time
	fill     *Fill // nil: the batch is of a file
	batch    []NewPatient
	outcomes []ImportOutcome
	byID     map[string]*Patient
	byFHIRID map[string]*Patient
	inserts  []*Patient // the new ones; those without a number are assigned one

	unreadable  map[*Patient]error           // of the rows: these are left as they are
	written     map[string]bool              // numbers of patients that come without a time and are in the journal
	open        map[string]bool              // numbers that were to move, but a write of the patient is under way
	aliases     map[string]bool              // of the numbers that patients without a FHIR id come with
	identifiers map[*Patient][]identifierRow // of the rows, as they stand in the database
	came        map[*Patient]int             // position in batch of the one that a row is
	taken       map[*Patient]int             // position in batch of the one that a row took
	numberOnly  map[*Patient]bool            // of that one the number alone was taken
	cameAs      map[*Patient]string          // the numbers that rows had before they moved
	strangers   map[*Patient]bool            // rows that are another person's by now
	moved       []string                     // numbers that became somebody's

	related       []string         // FHIR ids of the patients whom merges of the batch's concern
	merges        map[string]merge // by the FHIR id of the merged
	changedMerges map[string]bool
	events        []event
}

// findExisting reads the rows that the batch may concern.
func (i *importing) findExisting(ctx context.Context) error {
	var ids []string
	fhirIDs := i.related
	for _, n := range i.batch {
		if n.Number != "" {
			ids = append(ids, clean(n.Number))
		}
	}
	i.byID, i.byFHIRID, i.unreadable = map[string]*Patient{}, map[string]*Patient{}, map[*Patient]error{}
	return i.store.existing(ctx, i.tx, ids, fhirIDs, func(p *Patient, err error) {
		if err != nil {
			i.unreadable[p] = err
		}
		i.byID[p.ID] = p
		if p.FHIRID != "" {
			i.byFHIRID[p.FHIRID] = p
		}
	})
}

// existing reads and locks the rows that have one of the numbers or FHIR ids; with
// ErrUnreadable the rest of the patient is there.
func (s *Store) existing(ctx context.Context, tx bun.Tx, numbers, fhirIDs []string, each func(*Patient, error)) error {
	rows, err := s.in(ctx, tx, existingPatients).QueryContext(ctx, s.list(numbers), s.list(fhirIDs))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		p, err := allColumns.scan(rows)
		if err != nil && !errors.Is(err, ErrUnreadable) {
			return err
		}
		each(p, err)
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
	written, err := i.store.ids(ctx, i.tx, writtenPatients, i.store.list(known))
	for _, id := range written {
		i.written[id] = true
	}
	return err
}

// sort decides for each patient and updates the rows that exist.
func (i *importing) sort(ctx context.Context) error {
	for k := range i.batch {
		n, o := &i.batch[k], &i.outcomes[k]
		if !isNumber(n.Number) && n.Number != "" {
			if n.FHIRID == "" { // nothing else would tell it from others the next time
				o.Err = errBadNumber
				continue
			}
			o.Refused = errBadNumber
			n.Identifiers = append(slices.Clone(n.Identifiers), Identifier{System: n.NumberSystem, Value: n.Number})
			n.Number = ""
		}
		row, holder := i.match(*n), i.byID[n.Number]
		switch {
		case i.unreadable[row] != nil:
			o.Err = i.unreadable[row]
		case row == nil && n.FHIRID == "" && i.aliases[n.Number]:
			*o = ImportOutcome{Result: Kept, Why: KeptLocal}
		case row == nil:
			i.add(k, holder)
		default:
			if err := i.bring(ctx, k, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// match finds the row that a patient is, nil when there is none.
func (i *importing) match(n NewPatient) *Patient {
	byID, byFHIRID := i.byID[n.Number], i.byFHIRID[n.FHIRID]
	switch {
	case byFHIRID != nil:
		return byFHIRID
	case byID != nil && n.FHIRID != "" && (byID.FHIRID != "" || !samePerson(byID, n.State)):
		return nil
	default:
		return byID
	}
}

// add notes a new patient, without its number if that has a holder.
func (i *importing) add(k int, holder *Patient) {
	n := i.batch[k]
	p := &Patient{FHIRID: n.FHIRID, SyncState: LocalOnly, Version: 1, CreatedAt: i.at, UpdatedAt: i.at}
	p.show(n.State)
	if n.keys == nil {
		n.MakeKeys()
	}
	p.keys = *n.keys
	if p.FHIRID != "" {
		p.SyncState, p.LastSyncedAt = Synced, i.shownAt()
		i.byFHIRID[p.FHIRID] = p
	}
	if n.Number != "" && holder == nil {
		p.ID = n.Number
		i.byID[p.ID] = p
		i.moved = append(i.moved, p.ID)
	}
	i.taken[p] = k
	i.inserts = append(i.inserts, p)
	i.outcomes[k].Result, i.outcomes[k].Claimed = Inserted, holder != nil
}

// bring brings a row up to date, its number too, or keeps it.
func (i *importing) bring(ctx context.Context, k int, row *Patient) error {
	n, o := i.batch[k], &i.outcomes[k]
	i.came[row] = k
	o.Result, o.Why = Kept, i.keep(row, n)
	// A row that is kept may still have another number: PATIENT_ID_SYSTEM was set
	// since.
	current := o.Why == "" || o.Why == KeptSame || o.Why == KeptNewer && !n.State.FHIRUpdatedAt.Before(row.FHIRUpdatedAt)
	if !current && n.Number != "" && (o.Why == KeptNewer || o.Why == KeptWritten) && i.isForeign(row, n.NumberSystem) {
		current, i.numberOnly[row] = true, true
	}
	if o.Why == "" {
		o.Result = Updated
		if err := i.refresh(ctx, row, n); err != nil {
			return err
		}
	}
	if current {
		i.taken[row] = k
		switch holder := i.byID[n.Number]; {
		case n.Number == "" || holder == row:
		case holder != nil:
			o.Claimed = true
		default:
			if err := i.move(ctx, row, n.Number, o.Result != Updated); err != nil {
				return err
			}
			o.Result, o.Why = Updated, ""
		}
	}
	o.ID = row.ID
	return nil
}

// samePerson guards a LOCAL_ONLY row against a stranger with its number, which
// may be one that we assigned.
func samePerson(row *Patient, st FHIRState) bool {
	return row.BirthDate == st.BirthDate &&
		keysOf(&row.FHIRState).name == keysOf(&st).name
}

// keep says why a row stays as it is, "" if it does not.
func (i *importing) keep(row *Patient, n NewPatient) KeptReason {
	if i.fill != nil {
		return i.keepFilled(row, n)
	}
	at := n.State.FHIRUpdatedAt
	switch {
	case row.SyncState == Pending, i.open[row.ID]:
		return KeptPending
	case n.FHIRID == "":
		return KeptLocal
	case row.FHIRID == "": // it becomes synced
		return ""
	case !row.GoneAt.IsZero() && !at.After(row.GoneAt):
		return KeptGone
	case row.filled < shape && !at.IsZero() && at.Equal(row.FHIRUpdatedAt): // it lacks what this program shows
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
	if row.FHIRID == "" {
		if err := i.keepLocalContact(ctx, row, n); err != nil {
			return err
		}
	}
	i.strangers[row] = isStranger(row, n.State)
	events, err := i.store.keepAside(ctx, i.tx, takeAside(row, n.State))
	if err != nil {
		return err
	}
	i.events = append(i.events, events...)
	row.FHIRID = n.FHIRID
	i.byFHIRID[n.FHIRID] = row
	row.show(n.State)
	row.SyncState, row.LastSyncedAt = Synced, i.shownAt()
	return i.store.update(ctx, i.tx, row, i.at)
}

// shownAt is when the FHIR server showed the batch.
func (i *importing) shownAt() time.Time {
	if i.fill != nil {
		return i.fill.AskedAt
	}
	return i.at
}

// insert adds the new ones.
func (i *importing) insert(ctx context.Context) error {
	if len(i.inserts) == 0 {
		return nil
	}
	need := 0
	for _, p := range i.inserts {
		if p.ID == "" {
			need++
		}
	}
	numbers, err := i.store.assign(ctx, i.tx, i.at, need, i.byID)
	if err != nil {
		return err
	}
	values := make([]any, 0, len(i.inserts)*len(intoPatients.columns))
	seq, err := i.takeChanges(ctx)
	if err != nil {
		return err
	}
	for _, p := range i.inserts {
		if seq > 0 {
			p.ChangeSeq = seq
			seq++
		}
		if p.ID == "" {
			p.ID, numbers = numbers[0], numbers[1:]
		}
		p.keep()
		values = append(values, written.values(p)...)
		i.outcomes[i.taken[p]].ID = p.ID
	}
	if err := i.store.insert(ctx, i.tx, intoPatients, values); err != nil {
		return err
	}
	return i.store.insertKeys(ctx, i.tx, i.inserts)
}
