package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/uptrace/bun"
)

// Fill says how a batch of patients was read from the FHIR server.
type Fill struct {
	Owner    string    // who follows the server (LeadMirror): ErrLostLease if it does not any more; "" = whoever
	Mark     int64     // what NumberChanges said before they were asked for
	AskedAt  time.Time // when they were asked for
	Single   bool      // each by a read of its own: it shows what the server has, and a list may not
	Believe  time.Time // a read of its own that shows an older version than the row is taken if the row is unseen since then; zero: never
	Gone     []string  // FHIR ids of patients that the server does not have: each was asked for by itself
	Deleted  []Deletion
	Unusable []string // FHIR ids of patients that it shows in a form that cannot be taken
	Progress string   // JSON that is kept together with them; "" = as it is
}

// Deletion is what a list or a history says of a patient. It may be from before the
// patient came back.
type Deletion struct {
	FHIRID string
	At     time.Time // zero: not told
}

// Filled is what became of a fill.
type Filled struct {
	Outcomes []ImportOutcome // one for each of the batch
	Gone     []string        // the numbers of patients that are gone since
	Locked   []string        // FHIR ids of patients of whom nothing was stored: see KeptLocked
}

// Why a row is kept as it was although the FHIR server shows something else: it has to
// be read again. See KeptPending too.
const (
	KeptMoved    KeptReason = "the record here has changed since it was asked for"
	KeptDoubtful KeptReason = "the record here is as new or newer; the patient is to be read by itself"
	KeptLocked   KeptReason = "its row is locked by another session of the database"
)

// again reports whether the patient has to be read again.
func (why KeptReason) again() bool {
	return why == KeptPending || why == KeptMoved || why == KeptDoubtful
}

// FillPatients stores what the FHIR server shows now, in one transaction. A row that was
// written since the patients were asked for, or whose update is open, is left as it is: it
// knows better, or will. So is one that looks newer than what a list shows, for lists come
// out of caches, or than what a read shows, for that may be answered by a copy that lags
// (but see Fill.Believe). These rows are noted as unseen until a read of their own that was
// asked for since has taken or confirmed them. Of a row that another session holds locked
// nothing can be noted: it is named, and all others are stored. ErrLostLease.
func (s *Store) FillPatients(ctx context.Context, batch []NewPatient, now time.Time, f Fill) (Filled, error) {
	filled, err := s.importBatch(ctx, batch, now, &f)
	if isLocked(err) {
		filled, err = s.fillOneByOne(ctx, batch, now, f)
	}
	if err != nil {
		return Filled{}, fmt.Errorf("store what the FHIR server shows: %w", err)
	}
	return filled, nil
}

// mostLocked bounds how many locked rows are passed by: where there are more, such as the
// whole table, the fill fails.
const mostLocked = 20

// fillOneByOne stores each patient of a batch in a transaction of its own, and leaves out
// whose row, or a row that goes with it, stays locked.
func (s *Store) fillOneByOne(ctx context.Context, batch []NewPatient, now time.Time, f Fill) (Filled, error) {
	own := f // what each of them has of the fill
	own.Gone, own.Deleted, own.Unusable, own.Progress = nil, nil, nil, ""
	type part struct {
		fhirID string
		batch  []NewPatient
		fill   Fill
	}
	var parts []part
	for _, n := range batch {
		parts = append(parts, part{n.FHIRID, []NewPatient{n}, own})
	}
	for _, id := range f.Gone {
		fill := own
		fill.Gone = []string{id}
		parts = append(parts, part{id, nil, fill})
	}
	for _, d := range f.Deleted {
		fill := own
		fill.Deleted = []Deletion{d}
		parts = append(parts, part{d.FHIRID, nil, fill})
	}
	for _, id := range f.Unusable {
		fill := own
		fill.Unusable = []string{id}
		parts = append(parts, part{id, nil, fill})
	}
	own.Progress = f.Progress // of all of them
	parts = append(parts, part{"", nil, own})
	var all Filled
	for _, p := range parts {
		filled, err := s.importBatch(ctx, p.batch, now, &p.fill)
		if isLocked(err) && p.fhirID != "" && len(all.Locked) < mostLocked {
			all.Locked = append(all.Locked, p.fhirID)
			filled, err = Filled{Outcomes: slices.Repeat([]ImportOutcome{{Result: Kept, Why: KeptLocked}}, len(p.batch))}, nil
		}
		if err != nil {
			return Filled{}, err
		}
		all.Outcomes, all.Gone = append(all.Outcomes, filled.Outcomes...), append(all.Gone, filled.Gone...)
	}
	return all, nil
}

var (
	// markUnseen and clearUnseen make no new version: the column is of no record, and a
	// statement that writes a whole row leaves it alone.
	markUnseen = prepared(`UPDATE patients SET unseen_since = ? WHERE id = ANY(?) AND (unseen_since = 0 OR unseen_since <= last_synced_at)`) // else it would never be old, nor believed
	markFHIR   = prepared(`UPDATE patients SET unseen_since = ? WHERE fhir_id = ANY(?) AND unseen_since = 0`)
	// markImported: what a file brings is looked up where the server is followed.
	markImported = prepared(`UPDATE patients SET unseen_since = ? WHERE id = ANY(?) AND fhir_id IS NOT NULL AND EXISTS (SELECT 1 FROM mirror WHERE looked_at > 0)`)
	seen         = prepared(`UPDATE patients SET unseen_since = 0 WHERE id = ANY(?) AND unseen_since > 0`)
	// sameAgain: a version that shows the same is no new one of the row.
	sameAgain   = prepared(`UPDATE patients SET fhir_version_id = ?, fhir_updated_at = ?, last_synced_at = ? WHERE id = ?`)
	unseenFHIR  = preparedToRead(`SELECT fhir_id FROM patients WHERE unseen_since > 0 AND sync_state <> 'PENDING' ORDER BY unseen_since, id LIMIT ?`)
	knownOfFHIR = preparedToRead(`SELECT fhir_id FROM patients WHERE fhir_id > ? AND gone_at = 0 AND created_at < ? ORDER BY fhir_id LIMIT ?`)
	newestFHIR  = preparedToRead(`SELECT fhir_updated_at, fhir_id FROM patients WHERE fhir_id IS NOT NULL AND gone_at = 0 AND fhir_updated_at > 0
		ORDER BY fhir_updated_at DESC LIMIT 1`)
)

// Unseen returns the FHIR ids of patients that are to be read again, the longest waiting
// first.
func (s *Store) Unseen(ctx context.Context, limit int) ([]string, error) {
	ids, err := s.ids(ctx, bun.Tx{}, unseenFHIR, limit)
	if err != nil {
		return nil, fmt.Errorf("list patients to read again: %w", err)
	}
	return ids, nil
}

// KnownOfFHIR returns FHIR ids of the cache, those after one in their order, of rows that
// were there at a time and are not gone.
func (s *Store) KnownOfFHIR(ctx context.Context, after string, before time.Time, limit int) ([]string, error) {
	ids, err := s.ids(ctx, bun.Tx{}, knownOfFHIR, clean(after), toMicros(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list FHIR ids: %w", err)
	}
	return ids, nil
}

// NewestFHIR is the latest lastUpdated that a row was filled from, and whose it is; zero:
// none.
func (s *Store) NewestFHIR(ctx context.Context) (at time.Time, fhirID string, err error) {
	err = s.in(ctx, bun.Tx{}, newestFHIR).QueryRowContext(ctx).Scan(micros{&at}, &fhirID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, "", fmt.Errorf("find the newest patient: %w", err)
	}
	return at, fhirID, nil
}

// keepFilled says why a row stays as it is, "" if it takes what is shown. The first line
// that applies counts:
//
//	the row, or what is shown of it       by a list      by a read of its own
//	an update is open (PENDING)           KeptPending    KeptPending
//	LOCAL_ONLY                            taken          taken
//	written since it was asked for        KeptMoved      KeptMoved
//	an older version, by number and time  KeptDoubtful   KeptDoubtful, until it is believed
//	a tombstone                           KeptDoubtful   taken
//	an older number or time alone         KeptDoubtful   KeptSame, or taken if something differs
//	the same time, something differs      KeptDoubtful   taken
//	nothing differs                       KeptSame       KeptSame
//	nothing, an older program filled it   taken          taken
//	newer                                 taken          taken
func (i *importing) keepFilled(row *Patient, n NewPatient) KeptReason {
	switch {
	case row.SyncState == Pending, i.open[row.ID]: // whoever settles the update reads the patient
		return KeptPending
	case row.FHIRID == "": // it becomes synced, and what was written here since is kept in the journal
		return ""
	case i.fill.isOvertaken(row): // the answer may be from before that
		return KeptMoved
	case i.fill.Single:
		return i.fill.keepRead(row, n.State)
	}
	return keepListed(row, n.State)
}

// keepRead is keepFilled for a read of its own: it shows what the server has.
func (f *Fill) keepRead(row *Patient, shown FHIRState) KeptReason {
	switch {
	case isOlder(shown, row.FHIRState) && !f.believes(row): // a copy that lags may have answered
		return KeptDoubtful
	case row.showsAll(shown):
		return KeptSame
	}
	return ""
}

// keepListed is keepFilled for a list, which may come out of a cache.
func keepListed(row *Patient, shown FHIRState) KeptReason {
	switch shownAs := shown.FHIRUpdatedAt; {
	case !row.GoneAt.IsZero(): // the list may be from before the deletion
		return KeptDoubtful
	case shownAs.Before(row.FHIRUpdatedAt), hasLowerNumber(shown, row.FHIRState): // a clock that was set back dates newer ones earlier
		return KeptDoubtful
	case row.showsAll(shown):
		return KeptSame
	case shownAs.After(row.FHIRUpdatedAt), row.filled < shape: // an older program filled it
		return ""
	}
	return KeptDoubtful // nothing says which of the two is newer
}

// showsAll reports whether a row shows all that the server does, of a patient that it has.
func (p *Patient) showsAll(shown FHIRState) bool {
	return p.GoneAt.IsZero() && p.filled == shape && showsSame(p.FHIRState, shown)
}

// isOlder reports whether the one version is older than the other by its number and by its
// time. A server that was restored from a backup shows such ones, too.
func isOlder(a, b FHIRState) bool {
	return hasLowerNumber(a, b) && !a.FHIRUpdatedAt.IsZero() && a.FHIRUpdatedAt.Before(b.FHIRUpdatedAt)
}

func hasLowerNumber(a, b FHIRState) bool {
	x, err := strconv.ParseUint(a.FHIRVersionID, 10, 64)
	y, err2 := strconv.ParseUint(b.FHIRVersionID, 10, 64)
	return err == nil && err2 == nil && x < y
}

// believes reports whether the server has shown something else than the row for so long
// that it is right.
func (f *Fill) believes(row *Patient) bool {
	return !row.UnseenSince.IsZero() && !row.UnseenSince.After(f.Believe)
}

// isAgain reports whether a version that shows the same is another one than the row's,
// and no older one, out of a list or from a read that was asked for before the row was
// confirmed last: with that the row would look older than it is.
func (i *importing) isAgain(row *Patient, shown FHIRState) bool {
	if i.fill.Single && i.fill.AskedAt.After(row.LastSyncedAt) {
		return row.FHIRVersionID != shown.FHIRVersionID || !row.FHIRUpdatedAt.Equal(shown.FHIRUpdatedAt)
	}
	return shown.FHIRUpdatedAt.After(row.FHIRUpdatedAt)
}

// endsUnseen reports whether the fill ends what makes the row unseen: what a list shows may
// be older than that, and so may a read that was asked for before.
func (f *Fill) endsUnseen(row *Patient) bool {
	return f.Single && !row.UnseenSince.IsZero() && !row.UnseenSince.After(f.AskedAt)
}

// isOvertaken reports whether a row was written since the batch was asked for.
func (f *Fill) isOvertaken(row *Patient) bool {
	return row.ChangeSeq == 0 || row.ChangeSeq > f.Mark
}

// noteUnseen notes which rows are to be read again, and which are not any more; all that a
// file brought where the FHIR server is followed, for it may know better by now.
func (i *importing) noteUnseen(ctx context.Context) error {
	if i.fill == nil {
		var written []string
		for _, o := range i.outcomes {
			if o.Result == Inserted || o.Result == Updated {
				written = append(written, o.ID)
			}
		}
		_, err := i.store.exec(ctx, i.tx, markImported, toMicros(i.at), i.store.list(written))
		return err
	}
	var unseen, done []string
	for row, k := range i.came {
		switch n, o := i.batch[k], i.outcomes[k]; {
		case o.Why.again():
			unseen = append(unseen, row.ID)
			continue
		case o.Why == KeptSame && i.isAgain(row, n.State):
			if _, err := i.store.exec(ctx, i.tx, sameAgain, clean(n.State.FHIRVersionID), toMicros(n.State.FHIRUpdatedAt), toMicros(i.fill.AskedAt), row.ID); err != nil {
				return err
			}
		}
		if i.fill.endsUnseen(row) {
			done = append(done, row.ID)
		}
	}
	if _, err := i.store.exec(ctx, i.tx, markUnseen, toMicros(i.at), i.store.list(unseen)); err != nil {
		return err
	}
	_, err := i.store.exec(ctx, i.tx, seen, i.store.list(done))
	return err
}

// endFill entombs who is gone, and keeps the progress.
func (s *Store) endFill(ctx context.Context, tx bun.Tx, now time.Time, f *Fill) (gone []string, err error) {
	if len(f.Gone)+len(f.Deleted) > 0 {
		if gone, err = s.entombAll(ctx, tx, now, f); err != nil {
			return nil, err
		}
	}
	if len(f.Unusable) > 0 {
		if _, err := s.exec(ctx, tx, markFHIR, toMicros(now), s.list(cleanAll(f.Unusable))); err != nil {
			return nil, err
		}
	}
	if f.Owner == "" {
		return gone, nil
	}
	leads := false
	if f.Progress == "" {
		leads, err = s.exists(ctx, tx, leadsMirror, f.Owner)
	} else {
		var n int64
		n, err = s.exec(ctx, tx, saveProgress, f.Progress, f.Owner)
		leads = n > 0
	}
	if err == nil && !leads {
		err = ErrLostLease
	}
	return gone, err
}

// entombAll notes who is gone, but for rows that were written since, whose update is open,
// or that are from after the deletion, as far as is known.
func (s *Store) entombAll(ctx context.Context, tx bun.Tx, now time.Time, f *Fill) (gone []string, err error) {
	var rows []*Patient
	fhirIDs, deletedAt := slices.Clone(f.Gone), map[string]time.Time{}
	for _, d := range f.Deleted {
		fhirIDs = append(fhirIDs, d.FHIRID)
		deletedAt[d.FHIRID] = d.At
	}
	err = s.existing(ctx, tx, nil, cleanAll(fhirIDs), func(p *Patient, err error) {
		if err == nil { // what cannot be read stays as it is
			rows = append(rows, p)
		}
	})
	if err != nil {
		return nil, err
	}
	var unseen, done []string
	for _, row := range rows {
		deleted, told := deletedAt[row.FHIRID]
		doubtful := told && !deleted.After(row.FHIRUpdatedAt) || !f.AskedAt.After(row.LastSyncedAt) // it was there since
		if row.GoneAt.IsZero() && (row.SyncState == Pending || f.isOvertaken(row) || doubtful) {
			unseen = append(unseen, row.ID)
			continue
		}
		if f.endsUnseen(row) {
			done = append(done, row.ID)
		}
		if !row.GoneAt.IsZero() {
			continue
		}
		gone = append(gone, row.ID)
		if err := s.entomb(ctx, tx, row, now); err != nil {
			return nil, err
		}
	}
	if _, err := s.exec(ctx, tx, markUnseen, toMicros(now), s.list(unseen)); err != nil {
		return nil, err
	}
	_, err = s.exec(ctx, tx, seen, s.list(done))
	return gone, err
}

// entomb notes that the FHIR server does not have the patient any more. The row stays,
// with what is known here alone; its number is for who claims it.
func (s *Store) entomb(ctx context.Context, tx bun.Tx, p *Patient, now time.Time) error {
	if _, err := s.exec(ctx, tx, unclaimNumber, p.ID); err != nil {
		return err
	}
	p.GoneAt = fromMicros(toMicros(now))
	return s.update(ctx, tx, p, now)
}
