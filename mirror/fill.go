package mirror

import (
	"context"
	"errors"
	"iter"
	"maps"
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
	bad      int
	claimed  bool
	result   Result
}

// ask begins a batch, before its request is made: rows that are written from here on know
// better than the answer.
func (m *Mirror) ask(ctx context.Context) (*batch, error) {
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
		b.bad++
		if c.ID != "" {
			b.fill.Unusable = append(b.fill.Unusable, c.ID)
		}
		b.m.tell(c, err)
	}
}

// mostTold bounds what is remembered as told, of each kind.
const mostTold = 10_000

// isNews reports whether the log has not said that yet, and that it will now.
func (m *Mirror) isNews(told map[string]bool, what string) bool {
	m.saying.Lock()
	defer m.saying.Unlock()
	known := told[what]
	if len(told) >= mostTold {
		clear(told)
	}
	told[what] = true
	return !known
}

// tell names a patient that cannot be taken, once for each of its versions.
func (m *Mirror) tell(c fhir.Change, err error) {
	if m.isNews(m.told, c.ID+c.At.String()) {
		m.Log.Error("patient not taken: the FHIR server shows it in a form that cannot be used; what the cache has of it is STALE", "fhirId", c.ID, "error", err)
	}
}

// tellRefused says once that a patient cannot have a number.
func (m *Mirror) tellRefused(number string, why error) {
	if m.isNews(m.refusals, number) {
		m.Log.Warn("patient number refused, the rest of the record is taken", "patient", number, "error", why)
	}
}

// withUnusable adds to FHIR ids those of patients that could not be used when they were
// shown last, or whose rows could not be written.
func (m *Mirror) withUnusable(ids []string) []string {
	m.saying.Lock()
	defer m.saying.Unlock()
	for _, more := range []iter.Seq[string]{maps.Keys(m.unusable), maps.Keys(m.locked)} {
		for id := range more {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// note keeps in mind who of a batch could not be used: who is not in the cache cannot be
// noted there.
func (b *batch) note() {
	b.m.saying.Lock()
	defer b.m.saying.Unlock()
	for _, id := range b.ids {
		delete(b.m.unusable, id)
	}
	for _, id := range b.fill.Unusable {
		if len(b.m.unusable) < mostUnseen {
			b.m.unusable[id] = true
		}
	}
}

// store puts the batch into the cache, together with the progress if there is some.
func (b *batch) store(ctx context.Context, progress string) error {
	b.note()
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

// errLocked: they would all have to be told apart from those that are SYNCED.
var errLocked = errors.New("too many patients' rows are locked by other sessions of the database (pg_locks names them)")

// noteLocked keeps in mind whose rows could not be written, until a read of their own could.
func (b *batch) noteLocked(fhirIDs []string) error {
	for _, id := range fhirIDs {
		if b.m.isNews(b.m.told, "locked "+id) {
			b.m.Log.Warn("patient not taken: its row is locked by another session of the database; it is tried again with each look, and STALE if that takes longer than STALE_AFTER", "fhirId", id)
		}
	}
	b.m.saying.Lock()
	defer b.m.saying.Unlock()
	if b.fill.Single {
		for _, id := range slices.Concat(b.ids, b.fill.Gone) {
			if !slices.Contains(fhirIDs, id) {
				delete(b.m.locked, id)
				delete(b.m.told, "locked "+id)
			}
		}
	}
	for _, id := range fhirIDs {
		if b.m.locked[id].IsZero() {
			b.m.locked[id] = b.fill.AskedAt
		}
	}
	if len(b.m.locked) > mostUnseen {
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
	b.result.Bad += b.bad
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
