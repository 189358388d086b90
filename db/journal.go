package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// UpdateState is where a contact update stands.
type UpdateState string

// The states of a contact update: the first three are open.
const (
	UpdateAccepted   UpdateState = "ACCEPTED" // holds its patient; nothing has left
	UpdateSent       UpdateState = "SENT"     // holds its patient; its PUT may have left
	UpdateUnknown    UpdateState = "UNKNOWN"  // its PUT may still take effect; others may write
	UpdateApplied    UpdateState = "APPLIED"
	UpdateRejected   UpdateState = "REJECTED"
	UpdateConflict   UpdateState = "CONFLICT"
	UpdateNotApplied UpdateState = "NOT_APPLIED"
)

// Open tells whether the update is not settled.
func (st UpdateState) Open() bool {
	return st == UpdateAccepted || st == UpdateSent || st == UpdateUnknown
}

// ContactUpdate is one line of the journal. The JSON texts are the caller's own,
// who reads them by Decode; "" means none yet.
type ContactUpdate struct {
	ID             string // a UUID
	PatientID      string
	FHIRID         string // "" = changed in the cache alone
	State          UpdateState
	Actor          string   // who asked
	IdempotencyKey string   // unique for an actor; "" = none
	Digest         string   // of what was asked
	Asked          string   // JSON
	BaseETag       string   // what the last PUT named in If-Match
	Base           string   // JSON: the contact that it was based on
	Intended       string   // JSON: the contact in it
	Gone           bool     // the FHIR server said once that the patient is gone
	Answer         string   // JSON: what the caller was told
	Patient        *Patient // as the answer showed it: see shownFields; nil if it showed none, and where several lines are read
	RequestedAt    time.Time
	SettledAt      time.Time     // zero while open
	SentFor        time.Duration // since the last PUT was about to leave
	LeaseOver      bool          // whoever works on it may be dead
}

const updateColumns = `id, patient_id, fhir_id, state, actor, idempotency_key, digest, asked, base_etag, base, intended,
	gone, answer, patient, requested_at, settled_at, NOW() - sent_at, ` + leaseOver

// leaseOver holds where whoever works on an update may be dead. No lease is
// longer than ten minutes (see longestLease): one that is comes from a clock
// that has been set back since.
const leaseOver = "(lease_until < NOW() OR lease_until > NOW() + 600000000)"

// longestLease bounds what CloseUpdate takes as RetryIn.
const longestLease = 5 * time.Minute

// The statements of the journal. Each names the condition of the index that it
// is to use: SQLite infers none.
const (
	beginUpdate = `INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, asked, base_etag, base, intended, gone, answer, patient, requested_at, sent_at, settled_at)
		SELECT ?, id, fhir_id, 'ACCEPTED', ?, NOW() + ?, ?, ?, ?, ?, '', '', '', 0, '', '', NOW(), 0, 0
		FROM patients WHERE id = ? AND fhir_id IS NOT NULL AND NOT EXISTS ( -- what is being settled goes first
			SELECT 1 FROM contact_updates AS other WHERE other.patient_id = patients.id
			AND other.state IN ('SENT', 'UNKNOWN') AND other.owner <> '' AND NOT ` + leaseOver + `)
		ON CONFLICT DO NOTHING`
	addLocalUpdate = `INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, asked, base_etag, base, intended, gone, answer, patient, requested_at, sent_at, settled_at)
		VALUES (?, ?, '', 'APPLIED', '', 0, ?, ?, ?, ?, '', '', '', 0, ?, ?, NOW(), 0, NOW())
		ON CONFLICT DO NOTHING`
	sendUpdate = `UPDATE contact_updates SET state = 'SENT', base_etag = ?, base = ?, intended = ?, sent_at = NOW()
		WHERE id = ? AND owner = ? AND state IN ('ACCEPTED', 'SENT') AND lease_until > NOW()`
	// The mark is written even where it stands already: that locks the row.
	markPending = `UPDATE patients SET sync_state = 'PENDING' WHERE id = ?`
	// A new version: whoever writes the patient now began alone, and is not any more.
	markReopened = `UPDATE patients SET sync_state = 'PENDING', version = version + 1 WHERE id = ?`
	sendAndMark  = `WITH sent AS (` + sendUpdate + ` RETURNING patient_id)
		UPDATE patients SET sync_state = 'PENDING' WHERE id IN (SELECT patient_id FROM sent)` // PostgreSQL only
	closeUpdate = `UPDATE contact_updates SET state = ?, answer = ?, patient = ?, gone = ?, owner = '', settled_at = NOW(),
			idempotency_key = CASE WHEN ? THEN '' ELSE idempotency_key END
		WHERE id = ? AND owner = ? AND state IN ('ACCEPTED', 'SENT', 'UNKNOWN')`
	leaveUpdate = `UPDATE contact_updates SET state = 'UNKNOWN', answer = ?, gone = ?, owner = '', lease_until = NOW() + ?
		WHERE id = ? AND owner = ? AND state IN ('SENT', 'UNKNOWN')`
	fenceUpdates = `UPDATE contact_updates SET state = 'NOT_APPLIED', answer = ?, owner = '', settled_at = NOW(), idempotency_key = ''
		WHERE patient_id = ? AND state IN ('SENT', 'UNKNOWN') AND state = 'UNKNOWN' AND base_etag = ? AND id <> ?`
	otherUnsettled = `SELECT 1 FROM contact_updates WHERE patient_id = ? AND state IN ('SENT', 'UNKNOWN') AND id <> ? LIMIT 1`
	tellUpdate     = `UPDATE contact_updates SET patient = ? WHERE id = ?`
	setSyncState   = `UPDATE patients SET sync_state = ? WHERE id = ?`
	renewUpdate    = `UPDATE contact_updates SET lease_until = NOW() + ? WHERE id = ? AND owner = ? AND state IN ('ACCEPTED', 'SENT', 'UNKNOWN')`
	holdUpdate     = `UPDATE contact_updates SET state = 'SENT' WHERE id = ? AND owner = ? AND state IN ('SENT', 'UNKNOWN') AND NOT EXISTS (
		SELECT 1 FROM contact_updates AS other WHERE other.patient_id = contact_updates.patient_id
		AND other.state IN ('ACCEPTED', 'SENT') AND other.id <> contact_updates.id)`
	reopenUpdate = `UPDATE contact_updates SET state = 'UNKNOWN', settled_at = 0, lease_until = NOW()
		WHERE id = ? AND state = 'NOT_APPLIED'`
	claimUpdates = `UPDATE contact_updates SET owner = ?, lease_until = NOW() + ? WHERE id IN (
		SELECT id FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN') AND ` + leaseOver + `
		AND CAST(? AS TEXT) IN ('', patient_id)
		ORDER BY lease_until LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING ` + updateColumns
	unknownUpdates = `SELECT ` + updateColumns + ` FROM contact_updates WHERE patient_id = ? AND state IN ('SENT', 'UNKNOWN') AND state = 'UNKNOWN'`
	cleanUpdates   = `DELETE FROM contact_updates WHERE id IN (
		SELECT id FROM contact_updates WHERE settled_at > 0 AND settled_at < NOW() - ? ORDER BY settled_at LIMIT ?)`
	dropUpdate = `DELETE FROM contact_updates WHERE id = ? AND owner = ? AND state = 'ACCEPTED'`
	ownUpdate  = `SELECT 1 FROM contact_updates WHERE id = ? AND owner = ?`
)

var closeAndFollow = `WITH same AS (SELECT id FROM patients WHERE id = ? AND version = ? FOR UPDATE),
		closed AS (` + closeUpdate + ` AND EXISTS (SELECT 1 FROM same) RETURNING id)
		` + updatePatient + ` AND EXISTS (SELECT 1 FROM closed)` // PostgreSQL only

// Begun is what an accepted update starts from.
type Begun struct {
	Patient *Patient
	Unknown []ContactUpdate // earlier updates of the patient that are not settled
}

// BeginUpdate writes the update into the journal as ACCEPTED: until it is
// closed or the lease runs out, no other process may begin one for the
// patient. It needs ID, PatientID, Actor, IdempotencyKey, Digest and Asked.
// ErrNotFound, ErrNoFHIRID, ErrBusy.
func (s *Store) BeginUpdate(ctx context.Context, u ContactUpdate, owner string, lease time.Duration) (*Begun, error) {
	n, p, err := s.begin(u.PatientID, u.ID, owner, lease.Microseconds(), clean(u.Actor), clean(u.IdempotencyKey),
		u.Digest, clean(u.Asked), clean(u.PatientID))
	var begun *Begun
	if err == nil {
		// From here on nobody else writes the patient: what was read now stays so.
		begun, err = s.whatBegins(ctx, u, owner, p, n == 0)
	}
	if err != nil {
		if n > 0 { // nothing was sent; should this fail too, the lease runs out
			_, dropErr := s.one(u.PatientID, dropUpdate, u.ID, owner)
			err = errors.Join(err, dropErr)
		}
		return nil, fmt.Errorf("begin contact update: %w", err)
	}
	return begun, nil
}

// whatBegins tells what an update of this patient starts from. If it is
// refused, it says why; an update that is in the journal all the same is none:
// its commit looked failed and was not.
func (s *Store) whatBegins(ctx context.Context, u ContactUpdate, owner string, p *Patient, refused bool) (begun *Begun, err error) {
	if refused {
		if p.FHIRID == "" {
			return nil, ErrNoFHIRID
		}
		if own, err := s.exists(ctx, bun.Tx{}, ownUpdate, u.ID, owner); err != nil || !own {
			return nil, cmp.Or(err, ErrBusy)
		}
	}
	begun = &Begun{Patient: p}
	if p.SyncState == Pending {
		begun.Unknown, err = s.updates(ctx, bun.Tx{}, unknownUpdates, p.ID)
	}
	return begun, err
}

// SendUpdate notes that a PUT is about to leave, and on what it is based: the
// patient is PENDING from now on. ErrLostLease: it must not be sent.
func (s *Store) SendUpdate(id, owner, patientID, baseETag, base, intended string) error {
	args := []any{clean(baseETag), clean(base), clean(intended), id, owner}
	var err error
	if s.postgres {
		var n int64
		if n, err = s.one(patientID, sendAndMark, args...); err == nil && n == 0 {
			err = ErrLostLease
		}
	} else {
		err = s.changeAndMark(patientID, sendUpdate, markPending, args...)
	}
	if err != nil {
		return fmt.Errorf("send contact update: %w", err)
	}
	return nil
}

// HoldUpdate makes an update that is UNKNOWN hold its patient again, as SENT:
// nobody writes the patient while it is settled. ErrBusy: somebody does now.
func (s *Store) HoldUpdate(id, owner, patientID string) error {
	n, err := s.one(patientID, holdUpdate, id, owner)
	if err == nil && n == 0 {
		err = ErrBusy
	}
	if err != nil {
		return fmt.Errorf("hold contact update: %w", err)
	}
	return nil
}

// ReopenUpdate corrects an update that was settled as NOT_APPLIED too early:
// its PUT took effect after all. It is UNKNOWN again and its patient PENDING (a
// new version of the row), until the next look at the FHIR server.
// ErrLostLease: it is not NOT_APPLIED.
func (s *Store) ReopenUpdate(id, patientID string) error {
	if err := s.changeAndMark(patientID, reopenUpdate, markReopened, id); err != nil {
		return fmt.Errorf("reopen contact update: %w", err)
	}
	return nil
}

// changeAndMark changes one line of the journal, and marks its patient.
func (s *Store) changeAndMark(patientID, text, mark string, args ...any) error {
	return s.together(patientID, func(ctx context.Context, tx bun.Tx) error {
		n, err := s.exec(ctx, tx, text, args...)
		if err == nil && n == 0 {
			err = ErrLostLease
		}
		if err == nil {
			_, err = s.exec(ctx, tx, mark, patientID)
		}
		return err
	})
}

// Closing says how an update ends.
type Closing struct {
	ID, Owner, PatientID string
	Row                  *Patient    // as the update began with it, if no other of the patient was unsettled then: while it has this version, none is
	State                UpdateState // UpdateUnknown: it stays open, see RetryIn
	Answer               string      // JSON: what the caller is told
	Gone                 bool
	Shown                *FHIRState // what the FHIR server shows: the row follows; nil leaves the row
	Told                 *FHIRState // what the answer shows in place of Shown, if it is something older
	At                   time.Time  // when it was shown
	IfVersion            int64      // Shown was read when the row had this version: ErrVersionMismatch if it moved on; 0: SENT kept others from it
	RetryIn              time.Duration
	LandedETag           string // a PUT that named it took effect: no other that names it can
	FencedAnswer         string // JSON: the answer of those others
}

// CloseUpdate closes the update and brings the row up to date in one
// transaction, and returns the row as the answer shows it. The row is SYNCED
// if no other update of the patient is unsettled. ErrLostLease,
// ErrVersionMismatch.
func (s *Store) CloseUpdate(c Closing) (*Patient, error) {
	told, err := s.closeAtOnce(c)
	if err == nil && told == nil {
		err = s.together(c.PatientID, func(ctx context.Context, tx bun.Tx) (err error) {
			told, err = s.closeIn(ctx, tx, c)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("close contact update: %w", err)
	}
	return told, nil
}

// closeAtOnce closes the usual update on PostgreSQL in one round trip: nothing
// else of the patient is unsettled, the row is still the one that the update
// began with, and its names stay. nil: this is none, and nothing was written.
func (s *Store) closeAtOnce(c Closing) (told *Patient, err error) {
	if !s.postgres || c.Row == nil || c.Shown == nil || c.State.Open() {
		return nil, nil
	}
	p := *c.Row
	told, _ = s.after(&p, c, false)
	args := append([]any{c.PatientID, c.Row.Version}, closeArgs(c, told)...)
	args = append(args, newVersion(&p, c.At)...)
	if p.nameKey != c.Row.nameKey {
		return nil, nil
	}
	n, err := s.one(c.PatientID, closeAndFollow, args...)
	if err != nil || n == 0 {
		return nil, err
	}
	return told, nil
}

func (s *Store) closeIn(ctx context.Context, tx bun.Tx, c Closing) (*Patient, error) {
	p, err := s.lockedRow(ctx, tx, c.PatientID)
	if err != nil {
		return nil, err
	}
	if c.Shown != nil && c.IfVersion != 0 && p.Version != c.IfVersion {
		return nil, ErrVersionMismatch
	}
	others := false
	if c.Row == nil || c.Row.Version != p.Version {
		if others, err = s.exists(ctx, tx, otherUnsettled, c.PatientID, c.ID); err != nil {
			return nil, err
		}
	}
	told, before := s.after(p, c, others)
	if err := s.closeLine(ctx, tx, c, told); err != nil {
		return nil, err
	}
	if c.LandedETag != "" && others {
		fenced, err := s.exec(ctx, tx, fenceUpdates, clean(c.FencedAnswer), c.PatientID, clean(c.LandedETag), c.ID)
		if err != nil {
			return nil, err
		}
		if fenced > 0 {
			if others, err = s.exists(ctx, tx, otherUnsettled, c.PatientID, c.ID); err != nil {
				return nil, err
			}
			p.SyncState = stateWith(others || c.State.Open())
			if told.SyncState != p.SyncState { // a retry is told the same
				told.SyncState = p.SyncState
				if _, err := s.exec(ctx, tx, tellUpdate, shownJSON(told), c.ID); err != nil {
					return nil, err
				}
			}
		}
	}
	switch {
	case c.Shown != nil:
		return told, s.update(ctx, tx, p, c.At)
	case p.SyncState != before:
		_, err = s.exec(ctx, tx, setSyncState, string(p.SyncState), p.ID)
	}
	return told, err
}

// after brings the row to where it is after the closing; told is the row as
// the answer shows it.
func (s *Store) after(p *Patient, c Closing, others bool) (told *Patient, before SyncState) {
	before = p.SyncState
	if c.Shown != nil {
		p.FHIRState = *c.Shown
		p.LastSyncedAt = fromMicros(toMicros(c.At))
	}
	if p.FHIRID != "" {
		p.SyncState = stateWith(others || c.State.Open())
	}
	copied := *p
	if c.Shown != nil { // as update will write it
		copied.Version, copied.UpdatedAt = p.Version+1, p.LastSyncedAt
	}
	if c.Told != nil {
		copied.FHIRState = *c.Told
	}
	return &copied, before
}

func stateWith(unsettled bool) SyncState {
	if unsettled {
		return Pending
	}
	return Synced
}

func (s *Store) closeLine(ctx context.Context, tx bun.Tx, c Closing, told *Patient) error {
	var n int64
	var err error
	if c.State.Open() {
		n, err = s.exec(ctx, tx, leaveUpdate, clean(c.Answer), bit(c.Gone), min(c.RetryIn, longestLease).Microseconds(), c.ID, c.Owner)
	} else {
		n, err = s.exec(ctx, tx, closeUpdate, closeArgs(c, told)...)
	}
	if err == nil && n == 0 {
		return ErrLostLease
	}
	return err
}

func closeArgs(c Closing, told *Patient) []any {
	return []any{string(c.State), clean(c.Answer), shownJSON(told), bit(c.Gone), c.State == UpdateNotApplied, c.ID, c.Owner}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// exists runs one of the statements that ask whether there is a row.
func (s *Store) exists(ctx context.Context, tx bun.Tx, text string, args ...any) (bool, error) {
	var one int
	err := s.statement(ctx, tx, text).QueryRowContext(ctx, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
