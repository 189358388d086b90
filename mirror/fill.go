package mirror

import (
	"context"
	"errors"
	"slices"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

// batch is what one request has shown, on its way to the cache.
type batch struct {
	m        *Mirror
	fill     db.Fill
	patients []db.NewPatient
	ids      []string  // of those that were shown, be they usable or not
	newest   time.Time // the latest time that one of them bears
	newestID string
	unread   []string // of those that could not be read by themselves, or not be believed yet
	unusable int      // of those that were shown, also without an id
	claimed  bool
	result   Result
}

// newBatch begins a batch, before its request is made: rows that are written from here on know
// better than the answer.
func (m *Mirror) newBatch(ctx context.Context) (*batch, error) {
	mark, err := m.Cache.NumberChanges(ctx)
	if err != nil {
		return nil, err
	}
	now := m.Now()
	return &batch{m: m, fill: db.Fill{Owner: m.owner, Mark: mark, AskedAt: now, Believe: now.Add(-m.StaleAfter)}}, nil
}

// add sorts what was shown.
func (b *batch) add(changes []fhir.Change) {
	for _, c := range changes {
		if c.ID != "" {
			b.ids = append(b.ids, c.ID)
		}
		if c.At.After(b.newest) && c.ID != "" && !c.Deleted && c.Err == nil {
			b.newest, b.newestID = c.At, c.ID
		}
		if c.Deleted {
			b.fill.Deleted = append(b.fill.Deleted, db.Deletion{FHIRID: c.ID, At: c.At})
			continue
		}
		err := c.Err
		if err == nil {
			var p fhir.Patient
			if p, err = fhir.ParsePatient(c.Patient.JSON, b.m.Now()); err == nil {
				n := record.New(p, b.m.PatientIDSystem)
				n.FHIRID = c.ID
				b.patients = append(b.patients, n)
				continue
			}
		}
		b.unusable++
		if c.ID != "" {
			b.fill.Unusable = append(b.fill.Unusable, c.ID)
		}
		b.m.tell(c, err)
	}
}

// store puts the batch into the cache, together with the progress if there is some.
func (b *batch) store(ctx context.Context, progress string) error {
	b.m.remembered.note(b.ids, b.fill.Unusable)
	b.fill.Progress = progress
	if progress == "" && len(b.patients)+len(b.fill.Gone)+len(b.fill.Deleted)+len(b.fill.Unusable) == 0 {
		b.count(db.Filled{})
		return nil
	}
	filled, err := b.m.Cache.FillPatients(ctx, b.patients, b.m.Now(), b.fill)
	if err != nil {
		return err
	}
	b.count(filled)
	return b.noteLocked(filled.Locked)
}

// errLocked fails a poll or a sweep: readers must be told of each locked row that it is STALE,
// though nothing can be written in the row, and so many cannot be kept in mind.
var errLocked = errors.New("too many patients' rows are locked by other sessions of the database (pg_locks names them)")

// noteLocked keeps in mind whose rows could not be written, until a read of their own could.
func (b *batch) noteLocked(fhirIDs []string) error {
	for _, id := range fhirIDs {
		if b.m.said.isNews(b.m.said.locked, id) {
			b.m.Log.Warn("patient not taken: its row is locked by another session of the database; it is tried again with each poll, and STALE if that takes longer than STALE_AFTER", "fhirId", id)
		}
	}
	if b.fill.Single {
		for _, id := range slices.Concat(b.ids, b.fill.Gone) {
			if !slices.Contains(fhirIDs, id) {
				b.m.remembered.forgetLocked(id)
				b.m.said.forgetLocked(id)
			}
		}
	}
	if b.m.remembered.addLocked(fhirIDs, b.fill.AskedAt) > mostUnseen {
		return errLocked
	}
	return nil
}

// count adds up what became of the patients.
func (b *batch) count(filled db.Filled) {
	for k, o := range filled.Outcomes {
		b.claimed = b.claimed || o.Claimed
		if o.Refused != nil {
			b.m.tellRefused(o.ID, o.Refused)
		}
		switch {
		case o.Err != nil:
			b.result.Bad++
			b.m.Log.Error("patient not taken", "fhirId", b.patients[k].FHIRID, "error", o.Err)
		case o.Result == db.Inserted:
			b.result.Inserted++
		case o.Result == db.Updated:
			b.result.Updated++
		case o.Why == db.KeptSame:
			b.result.Same++
		case o.Why == db.KeptLocked:
			b.result.Bad++
		default:
			b.result.Again++
			if b.fill.Single && o.Why == db.KeptDoubtful { // asking again at once would show the same
				b.unread = append(b.unread, b.patients[k].FHIRID)
			}
		}
	}
	b.result.Bad += b.unusable
	b.result.Gone += len(filled.Gone)
	for _, number := range filled.Gone {
		b.m.Log.Info("the FHIR server does not have the patient any more", "patient", number)
	}
	b.m.metrics.count(b.result)
}

// Result counts what became of patients that the FHIR server has shown.
type Result struct {
	Inserted, Updated, Same, Gone int
	Again                         int // rows that are to be read by themselves
	Bad                           int // not taken, or not wholly; the log names them
}

func (r *Result) add(more Result) {
	r.Inserted += more.Inserted
	r.Updated += more.Updated
	r.Same += more.Same
	r.Gone += more.Gone
	r.Again += more.Again
	r.Bad += more.Bad
}

// Read is how many patients were shown.
func (r Result) Read() int { return r.Inserted + r.Updated + r.Same + r.Again + r.Bad }
