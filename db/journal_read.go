package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// ContactUpdate returns one line of the journal. ErrNotFound.
func (s *Store) ContactUpdate(ctx context.Context, id string) (*ContactUpdate, error) {
	return s.line(ctx, byID, clean(id))
}

// ContactUpdateByKey returns the line with an actor's idempotency key.
// ErrNotFound, also for one that was settled longer than ttl ago.
func (s *Store) ContactUpdateByKey(ctx context.Context, actor, key string, ttl time.Duration) (*ContactUpdate, error) {
	return s.line(ctx, byKey, clean(actor), clean(key), ttl.Microseconds())
}

// HoldingUpdate returns the line that is ACCEPTED or SENT and so holds the
// patient. ErrNotFound.
func (s *Store) HoldingUpdate(ctx context.Context, patientID string) (*ContactUpdate, error) {
	return s.line(ctx, openOf, clean(patientID))
}

func (s *Store) line(ctx context.Context, st *statement, args ...any) (*ContactUpdate, error) {
	u, err := s.lineWithPatient(ctx, st, args...)
	if errors.Is(err, errMoved) { // between the two readings: the next ones agree
		u, err = s.lineWithPatient(ctx, st, args...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read contact update: %w", err)
	}
	return u, nil
}

// errMoved: the number of the line's patient has become another patient's.
var errMoved = errors.New("the patient number has just moved")

func (s *Store) lineWithPatient(ctx context.Context, st *statement, args ...any) (*ContactUpdate, error) {
	u, shown, err := scanUpdate(s.in(ctx, bun.Tx{}, st).QueryRowContext(ctx, args...))
	if err != nil || shown == "" && (u.Kind == KindLinked || u.State != UpdateApplied && u.State != UpdateConflict) {
		return u, err
	}
	p, err := s.Patient(ctx, u.PatientID)
	switch {
	case err != nil:
		return nil, err
	case u.FHIRID != "" && p.FHIRID != u.FHIRID:
		return nil, errMoved
	case shown != "": // else somebody cleared the column by hand
		err = u.asShown(p, shown)
	}
	u.Patient = p
	return u, err
}

// updates runs one of the statements that return updateColumns.
func (s *Store) updates(ctx context.Context, tx bun.Tx, st *statement, args ...any) ([]ContactUpdate, error) {
	rows, err := s.in(ctx, tx, st).QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []ContactUpdate
	for rows.Next() {
		u, _, err := scanUpdate(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, *u)
	}
	return found, rows.Err()
}

// scanUpdate reads updateColumns. shown is the JSON of the shownFields, "" if
// the answer showed no patient.
func scanUpdate(row interface{ Scan(...any) error }) (u *ContactUpdate, shown string, err error) {
	u = &ContactUpdate{}
	var gone, sentFor int64
	err = row.Scan(&u.ID, (*string)(&u.Kind), &u.PatientID, &u.FHIRID, (*string)(&u.State), &u.Actor, &u.IdempotencyKey, &u.Digest,
		&u.IfMatch, &u.Put, &u.Heard, &gone, &u.Answer, &shown,
		micros{&u.RequestedAt}, micros{&u.SettledAt}, &sentFor, &u.LeaseOver)
	u.Gone, u.SentFor = gone != 0, time.Duration(sentFor)*time.Microsecond
	return u, shown, err
}

// shownFields are what the journal keeps of a patient that an answer showed: what
// the update can have changed. The rest of the record is not kept once more with
// each update, for a patient may hold tens of kilobytes. Lines of older
// programs hold it all the same, under these names.
type shownFields struct {
	Version       int64     `json:"version"`
	SyncState     SyncState `json:"syncState"`
	LastSyncedAt  time.Time `json:"lastSyncedAt"`
	UpdatedAt     time.Time `json:"updatedAt"`
	FHIRVersionID string    `json:"fhirVersionID"`
	FHIRUpdatedAt time.Time `json:"fhirUpdatedAt"`
	Phone         string    `json:"phone"`
	Email         string    `json:"email"`
	Address       *Address  `json:"address"`
}

func shownJSON(p *Patient) string {
	return clean(toJSON(shownFields{
		p.Version, p.SyncState, p.LastSyncedAt, p.UpdatedAt, p.FHIRVersionID, p.FHIRUpdatedAt, p.Phone, p.Email, p.Address,
	}))
}

// asShown puts into the patient what an answer showed; what the update was not
// about is as it is now.
func (u *ContactUpdate) asShown(p *Patient, shown string) error {
	var was shownFields
	if err := u.Decode("patient", shown, &was); err != nil {
		return err
	}
	if p.Version != was.Version {
		p.ChangeSeq = 0 // it is that of another version
	}
	p.Version, p.SyncState, p.LastSyncedAt, p.UpdatedAt = was.Version, was.SyncState, was.LastSyncedAt, was.UpdatedAt
	p.FHIRVersionID, p.FHIRUpdatedAt = was.FHIRVersionID, was.FHIRUpdatedAt
	p.Phone, p.Email, p.Address = was.Phone, was.Email, was.Address
	return nil
}

// Decode reads the JSON text of one of the line's columns. ErrUnreadable, also
// for "".
func (u *ContactUpdate) Decode(column, text string, into any) error {
	if readable(text, into) {
		return nil
	}
	return fmt.Errorf("%w (patient %s, operation %s, column contact_updates.%s): docs/operations.md says how to mend it",
		ErrUnreadable, u.PatientID, u.ID, column)
}

// RenewUpdates extends the leases of an owner's updates.
func (s *Store) RenewUpdates(owner string, ids []string, lease time.Duration) error {
	err := s.transact("", func(ctx context.Context, tx bun.Tx) error {
		for _, id := range ids {
			if _, err := s.exec(ctx, tx, renewUpdate, lease.Microseconds(), id, owner); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	return nil
}

// ClaimUpdates takes over at most limit updates whose lease ran out, of one
// patient or, with "", of any. Two owners never claim the same one.
func (s *Store) ClaimUpdates(owner, patientID string, lease time.Duration, limit int) ([]ContactUpdate, error) {
	var claimed []ContactUpdate
	err := s.transact("", func(ctx context.Context, tx bun.Tx) (err error) {
		claimed, err = s.updates(ctx, tx, claimUpdates, owner, lease.Microseconds(), clean(patientID), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim contact updates: %w", err)
	}
	return claimed, nil
}

// CleanUpdates deletes updates that were settled longer than keep ago, a few
// at a time so that writes are not held up. It returns how many.
func (s *Store) CleanUpdates(ctx context.Context, keep time.Duration) (deleted int, err error) {
	const atOnce = 500
	for n := int64(atOnce); n == atOnce && ctx.Err() == nil; {
		err := s.transact("", func(ctx context.Context, tx bun.Tx) (err error) {
			n, err = s.exec(ctx, tx, cleanUpdates, keep.Microseconds(), atOnce)
			return err
		})
		if err != nil {
			return deleted, fmt.Errorf("clean the journal: %w", err)
		}
		deleted += int(n)
	}
	return deleted, nil
}
