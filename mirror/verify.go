package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

// DifferenceKind says what a difference between a row and its patient means.
type DifferenceKind string

// The kinds. Of the first three the row says SYNCED, or is not there for readers.
const (
	Wrong   DifferenceKind = "wrong"   // the mirror has looked since the patient changed
	Gone    DifferenceKind = "gone"    // the server has no such patient any more, the mirror had the time to see it, and the row is there
	Back    DifferenceKind = "back"    // the server has the patient again, and the row is a tombstone
	Behind  DifferenceKind = "behind"  // the patient changed, or may have been deleted, after the mirror last looked
	Marked  DifferenceKind = "marked"  // the row says itself that it may be old: PENDING or STALE
	Unknown DifferenceKind = "unknown" // the row or the patient could not be read
)

// Kinds lists them in the order in which they are counted out.
var Kinds = []DifferenceKind{Wrong, Gone, Back, Behind, Marked, Unknown}

// Difference is a row that does not agree with its patient. It holds no value of either.
type Difference struct {
	Patient string         `json:"patient"` // its number
	Kind    DifferenceKind `json:"kind"`
	Fields  []string       `json:"fields,omitempty"` // that differ, as the API calls them
	Why     string         `json:"why,omitempty"`    // of unknown

	version int64 // of the row
	deleted bool  // the server has no such patient, whatever the kind
	fault   error // of unknown, where the FHIR server failed
}

// maxSkew is how far the server's clock may be from ours: a patient that changed so
// shortly before the mirror looked may have changed after it.
const maxSkew = time.Minute

// VerifiedStore is what a comparison needs of the cache. It is read only.
type VerifiedStore interface {
	FHIRIDs(ctx context.Context, after string, n int) ([]string, error)
	CachedPatient(ctx context.Context, fhirID string) (*db.CachedPatient, error)
	Differing(ctx context.Context, row *db.CachedPatient, n db.NewPatient) ([]string, error)
	Mirror(ctx context.Context) (db.Mirror, error)
}

// PatientReader reads a patient from the FHIR server.
type PatientReader interface {
	Read(ctx context.Context, fhirID string) (fhir.Resource, error)
}

// Verifier compares rows with the FHIR server. It writes nothing.
type Verifier struct {
	FHIR            PatientReader
	Store           VerifiedStore
	PatientIDSystem string        // as the rows were filled with
	StaleAfter      time.Duration // how old the mirror's last look may be before SYNCED becomes STALE
	NextLook        time.Duration // how long Verify waits for the mirror's next look
	Now             func() time.Time
}

// Compare looks whether a row shows what the FHIR server shows; nil: it does, or there is
// no such row any more. The patient may change between the two reads, so what differs is
// looked at twice. The error is one of the database.
func (v *Verifier) Compare(ctx context.Context, fhirID string) (*Difference, error) {
	return v.compare(ctx, fhirID, time.Time{})
}

// compare is Compare of a row that was found different at a time; zero: it was not.
func (v *Verifier) compare(ctx context.Context, fhirID string, found time.Time) (*Difference, error) {
	// The first time only tells whether anything differs. Its kind is thrown away, so no
	// mirror state is read for the many that agree.
	d, err := v.compareOnce(ctx, fhirID, db.Mirror{}, found)
	if d == nil || err != nil {
		return nil, err
	}
	m, err := v.Store.Mirror(ctx) // before the row is read: it has what was found then
	if err != nil {
		return nil, err
	}
	return v.compareOnce(ctx, fhirID, m, found)
}

func (v *Verifier) compareOnce(ctx context.Context, fhirID string, m db.Mirror, found time.Time) (*Difference, error) {
	row, err := v.Store.CachedPatient(ctx, fhirID)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return nil, nil
	case errors.Is(err, db.ErrUnreadable):
		return &Difference{Patient: row.ID, Kind: Unknown, Why: "the row cannot be read", version: row.Version}, nil
	case err != nil:
		return nil, err
	}
	if at, locked := stateOf(m).progress.Locked[fhirID]; locked && (row.UnseenSince.IsZero() || at.Before(row.UnseenSince)) {
		row.UnseenSince = at // which could not be noted in the row
	}
	d := &Difference{Patient: row.ID, version: row.Version}
	isTombstone := !row.GoneAt.IsZero()
	now, looked := v.Now(), m.LookedAt
	patient, err := v.read(ctx, fhirID, now)
	var fault *fhir.Error
	isGone := errors.As(err, &fault) && fault.Kind == fhir.Gone
	switch {
	case isGone && isTombstone:
		return nil, nil
	case isGone:
		d.Kind, d.deleted = Gone, true
		switch {
		case v.marked(row, looked, now):
			d.Kind = Marked
		case !row.UnseenSince.IsZero(), v.mayBeDeletedSince(seen(row, deletionsLookedAt(m)), found, now):
			d.Kind = Behind
		}
		return d, nil
	case err != nil:
		d.Kind, d.Why, d.fault = Unknown, "the patient cannot be read", err
		if fault != nil {
			d.Why = fault.Kind.String()
		}
		return d, nil
	case !isTombstone:
		if d.Fields, err = v.Store.Differing(ctx, row, record.New(patient, v.PatientIDSystem)); err != nil || d.Fields == nil {
			return nil, err
		}
	}
	switch {
	case !isTombstone && v.marked(row, looked, now): // of a tombstone nobody sees the state
		d.Kind = Marked
	case patient.LastUpdated.After(seen(row, looked).Add(-maxSkew)), !row.UnseenSince.IsZero(): // the mirror knows
		d.Kind = Behind
	case isTombstone:
		d.Kind = Back
	default:
		d.Kind = Wrong
	}
	return d, nil
}

func (v *Verifier) read(ctx context.Context, fhirID string, now time.Time) (fhir.Patient, error) {
	resource, err := v.FHIR.Read(ctx, fhirID)
	if err != nil {
		return fhir.Patient{}, err
	}
	return fhir.ParsePatient(resource.JSON, now)
}

// seen is when the row last was as the server showed the patient.
func seen(row *db.CachedPatient, looked time.Time) time.Time {
	if looked.After(row.LastSyncedAt) {
		return looked
	}
	return row.LastSyncedAt
}

// deletionsLookedAt is when the mirror last looked who was deleted: with the changes, or
// where they do not show it, by going through all patients.
func deletionsLookedAt(m db.Mirror) time.Time {
	if p := stateOf(m).progress; !p.Deletes {
		return p.SweptAt
	}
	return m.LookedAt
}

// mayBeDeletedSince reports whether a patient may have been deleted since the mirror looked:
// no server tells when that was, but only when he was found so. What it may overlook is
// bounded as for a change: by StaleAfter.
func (v *Verifier) mayBeDeletedSince(looked, found, now time.Time) bool {
	return now.Sub(looked) < v.StaleAfter && (found.IsZero() || !looked.After(found))
}

// marked reports whether readers are told that the row may be old.
func (v *Verifier) marked(row *db.CachedPatient, looked, now time.Time) bool {
	return row.SyncState != db.Synced || db.FreshnessAt(now, v.StaleAfter, looked).Stale(row.Patient)
}

// VerifyResult counts the rows that were compared.
type VerifyResult struct {
	Rows  int                    `json:"rows"` // with those that could not be compared
	Same  int                    `json:"same"`
	Kinds map[DifferenceKind]int `json:"kinds"`
}

// OK reports whether something was compared, unless there is nothing, and no row is wrong
// that does not say so.
func (r *VerifyResult) OK() bool {
	return r.Kinds[Wrong]+r.Kinds[Gone]+r.Kinds[Back] == 0 && (r.Rows == 0 || r.Kinds[Unknown] < r.Rows)
}

const (
	// verifiedAtOnce is how many patients are read at the same time.
	verifiedAtOnce = 4
	// maxFailedInARow is how many reads that fail, one after the other, show that the
	// server is away.
	maxFailedInARow = 20
	// maxAgain bounds the rows that are looked at again after the mirror.
	maxAgain = 1000
	// awaitPause is between the questions whether the mirror has looked.
	awaitPause = 250 * time.Millisecond
)

// Verify compares the rows with these FHIR ids. It tells each difference, and has every row
// counted, one at a time. What the mirror may be about to put right is
// looked at again after its next look. The error is one of the database, or why the FHIR
// server cannot be asked.
func (v *Verifier) Verify(ctx context.Context, fhirIDs iter.Seq2[string, error], tell func(Difference), counted func()) (VerifyResult, error) {
	r := &verifying{Verifier: v, tell: tell, counted: counted, result: VerifyResult{Kinds: map[DifferenceKind]int{}}}
	for _, kind := range Kinds {
		r.result.Kinds[kind] = 0
	}
	if err := r.all(ctx, fhirIDs); err != nil {
		return r.result, err
	}
	if len(r.again) > 0 {
		r.found = v.Now()
		if err := v.awaitLook(ctx, r.found); err != nil {
			return r.result, err
		}
	}
	return r.result, r.all(ctx, func(yield func(string, error) bool) {
		for _, id := range r.again {
			if !yield(id, nil) {
				return
			}
		}
	})
}

// verifying is a Verify on its way.
type verifying struct {
	*Verifier
	tell    func(Difference)
	counted func()

	mu     sync.Mutex
	result VerifyResult
	inARow int       // reads of patients that failed
	again  []string  // rows to look at after the mirror
	found  time.Time // when these were all found; zero: they are not looked at yet
}

func (r *verifying) all(ctx context.Context, fhirIDs iter.Seq2[string, error]) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(verifiedAtOnce)
	for id, err := range fhirIDs {
		if within.Err() != nil {
			break
		}
		group.Go(func() error {
			if err != nil {
				return err
			}
			d, err := r.compare(within, id, r.found)
			if within.Err() != nil { // what was not read then says nothing
				return within.Err()
			}
			if err != nil {
				return err
			}
			return r.count(id, d)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (r *verifying) count(id string, d *Difference) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case d == nil:
		r.result.Same++
		r.inARow = 0
	case r.NextLook > 0 && r.found.IsZero() && len(r.again) < maxAgain && (d.Kind == Wrong || d.Kind == Back || d.deleted && d.Kind != Marked):
		r.again = append(r.again, id)
		return nil
	default:
		r.result.Kinds[d.Kind]++
		r.tell(*d)
		if r.inARow++; d.fault == nil {
			r.inARow = 0
		}
		if r.inARow == maxFailedInARow {
			return fmt.Errorf("the FHIR server could not be asked %d times in a row: %w", r.inARow, d.fault)
		}
	}
	r.result.Rows++
	r.counted()
	return nil
}

// awaitLook waits until the mirror has looked after a time, if a process follows.
func (v *Verifier) awaitLook(ctx context.Context, began time.Time) error {
	bound, cancel := context.WithTimeout(ctx, v.NextLook)
	defer cancel()
	for {
		m, err := v.Store.Mirror(ctx)
		if err != nil || !m.Led || m.LookedAt.After(began) || v.Now().Sub(m.LookedAt) > v.StaleAfter {
			return err
		}
		select {
		case <-time.After(awaitPause):
		case <-bound.Done():
			return ctx.Err()
		}
	}
}

// idsAtOnce is how many FHIR ids are listed with one query.
const idsAtOnce = 2000

// All lists the FHIR ids of every row.
func (v *Verifier) All(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		after := ""
		for {
			ids, err := v.Store.FHIRIDs(ctx, after, idsAtOnce)
			if err != nil {
				yield("", err)
				return
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
			if len(ids) < idsAtOnce {
				return
			}
			after = ids[len(ids)-1]
		}
	}
}

// Sample lists the FHIR ids of n rows at random, each as likely as any other: it passes by
// all ids, and keeps n of them (algorithm R).
func (v *Verifier) Sample(ctx context.Context, n int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var sample []string
		passed := 0
		for id, err := range v.All(ctx) {
			if err != nil {
				yield("", err)
				return
			}
			passed++
			if len(sample) < n {
				sample = append(sample, id)
			} else if at := rand.IntN(passed); at < n {
				sample[at] = id
			}
		}
		for _, id := range sample {
			if !yield(id, nil) {
				return
			}
		}
	}
}
