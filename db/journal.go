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

// UpdateState is where a contact update stands. Its line in the journal changes
// in these ways and in no other (TestTransitions). Its owner alone sends, holds,
// closes and renews it.
//
//	from            to           by                      when
//	no line         ACCEPTED     BeginUpdate             nobody else holds the patient or settles an update of it
//	no line         APPLIED      SetContact              the patient has no FHIR id
//	no line         APPLIED      ImportPatients          the patient is linked and FHIR has another contact, or FHIR shows another person: kind LINKED, which is never deleted
//	ACCEPTED        deleted      BeginUpdate             it cannot go on: the patient could not be read
//	ACCEPTED, SENT  SENT         SendUpdate              a PUT is about to leave, and the lease runs
//	SENT, UNKNOWN   UNKNOWN      CloseUpdate             what became of the PUT is not known yet
//	UNKNOWN         SENT         HoldUpdate              it is to be settled, and nobody else holds the patient
//	open            settled      CloseUpdate             what became of it is known
//	UNKNOWN         NOT_APPLIED  CloseUpdate of another  a PUT that named the same version took effect: a fence
//	NOT_APPLIED     UNKNOWN      ReopenUpdate            the PUT took effect after all
//	open            the same     RenewUpdates            its owner goes on
//	open            the same     ClaimUpdates            the lease is over: it has a new owner
//	settled         deleted      CleanUpdates            it was settled long ago
type UpdateState string

// The states of a contact update: the first three are open, the others settled.
const (
	UpdateAccepted   UpdateState = "ACCEPTED" // holds its patient; nothing has left
	UpdateSent       UpdateState = "SENT"     // holds its patient; its PUT may have left
	UpdateUnknown    UpdateState = "UNKNOWN"  // its PUT may still take effect; others may write
	UpdateApplied    UpdateState = "APPLIED"
	UpdateRejected   UpdateState = "REJECTED"
	UpdateConflict   UpdateState = "CONFLICT"
	UpdateNotApplied UpdateState = "NOT_APPLIED"
)

// Open reports whether the update is not settled.
func (st UpdateState) Open() bool {
	return st == UpdateAccepted || st == UpdateSent || st == UpdateUnknown
}

// UpdateKind says what a line of the journal is.
type UpdateKind string

// The kinds of lines.
const (
	KindUpdate UpdateKind = "UPDATE"
	// KindLinked: a LOCAL_ONLY patient was found on the FHIR server, and Patient has the contact
	// values that gave way; or another person was shown under its FHIR id, see takeAside.
	KindLinked UpdateKind = "LINKED"
)

// ContactUpdate is one line of the journal. The JSON texts are the caller's own,
// who reads them by Decode; "" means none yet.
type ContactUpdate struct {
	ID             string // a UUID
	Kind           UpdateKind
	PatientID      string
	FHIRID         string // "" = changed in the cache alone
	State          UpdateState
	Actor          string   // who asked
	IdempotencyKey string   // unique for an actor; "" = none
	Digest         string   // of what was asked
	IfMatch        string   // what the last PUT named
	Put            string   // JSON: the last PUT as it was sent
	Heard          string   // how the FHIR server answered it; "" while nobody wrote that down
	Gone           bool     // the FHIR server said once that the patient is gone
	Answer         string   // JSON: what the caller was told
	Patient        *Patient // as the answer showed it: see shownFields; nil if it showed none, and where several lines are read
	RequestedAt    time.Time
	SettledAt      time.Time     // zero while open
	SentFor        time.Duration // since the last PUT was about to leave
	LeaseOver      bool          // whoever works on it may be dead
}

// longestLease bounds what CloseUpdate takes as RetryIn.
const longestLease = 5 * time.Minute

// Begun is what an accepted update starts from.
type Begun struct {
	Patient    *Patient
	Unresolved []ContactUpdate // earlier updates of the patient that are not settled
}

// BeginUpdate writes the update into the journal as ACCEPTED: until it is
// closed or the lease runs out, no other process may begin one for the
// patient. It needs ID, PatientID, Actor, IdempotencyKey and Digest; with a FHIRID
// it is for that patient alone.
// ErrNotFound, ErrNoFHIRID, ErrBusy.
func (s *Store) BeginUpdate(ctx context.Context, u ContactUpdate, owner string, lease time.Duration) (*Begun, error) {
	n, p, err := s.begin(u.PatientID, u.ID, owner, lease.Microseconds(), clean(u.Actor), clean(u.IdempotencyKey),
		u.Digest, clean(u.PatientID))
	var begun *Begun
	if err == nil {
		// From here on nobody else writes the patient: what was read now stays so.
		begun, err = s.whatBegins(ctx, u, owner, p, n == 0)
	}
	if err != nil {
		if n > 0 { // nothing was sent; should this fail too, the lease runs out
			_, dropErr := s.runOne(u.PatientID, dropUpdate, u.ID, owner)
			err = errors.Join(err, dropErr)
		}
		return nil, fmt.Errorf("begin contact update: %w", err)
	}
	return begun, nil
}

// whatBegins returns what an update of this patient starts from. If it is
// refused, it says why; an update that is in the journal all the same is none:
// its commit looked failed and was not.
func (s *Store) whatBegins(ctx context.Context, u ContactUpdate, owner string, p *Patient, refused bool) (begun *Begun, err error) {
	if u.FHIRID != "" && p.FHIRID != u.FHIRID { // the number is another patient's by now
		return nil, ErrNotFound
	}
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
		begun.Unresolved, err = s.updates(ctx, bun.Tx{}, unknownUpdates, p.ID)
	}
	return begun, err
}

// SendUpdate notes that a PUT (JSON) is about to leave: the patient is PENDING
// from now on. ErrLostLease: it must not be sent.
func (s *Store) SendUpdate(id, owner, patientID, ifMatch, put string) error {
	if err := s.send(patientID, clean(ifMatch), clean(put), id, owner); err != nil {
		return fmt.Errorf("send contact update: %w", err)
	}
	return nil
}

// HoldUpdate makes an update that is UNKNOWN hold its patient again, as SENT:
// nobody writes the patient while it is settled. ErrBusy: somebody does now.
func (s *Store) HoldUpdate(id, owner, patientID string) error {
	n, err := s.runOne(patientID, holdUpdate, id, owner)
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
	if err := s.changeAndMark(patientID, reopenUpdate, markReopened, id, id); err != nil {
		return fmt.Errorf("reopen contact update: %w", err)
	}
	return nil
}

// changeAndMark changes one line of the journal, and marks its patient, whom the
// statement mark finds by marked.
func (s *Store) changeAndMark(patientID string, change, mark *statement, marked string, args ...any) error {
	return s.transact(patientID, func(ctx context.Context, tx bun.Tx) error {
		n, err := s.exec(ctx, tx, change, args...)
		if err == nil && n == 0 {
			err = ErrLostLease
		}
		if err == nil {
			_, err = s.exec(ctx, tx, mark, marked)
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
	Heard                string      // UpdateUnknown: how the FHIR server answered the PUT
	Gone                 bool
	Shown                *FHIRState // what the FHIR server shows: the row follows; nil leaves the row
	ShownInstead         *FHIRState // what the answer shows in place of Shown, if it is something older
	At                   time.Time  // when it was shown
	IfVersion            int64      // Shown was read when the row had this version: ErrVersionMismatch if it moved on; 0: SENT kept others from it
	IfFHIRVersion        string     // likewise: a fill that finds nothing else in a newer one makes no new version of the row
	RetryIn              time.Duration
	TryAgain             bool   // the idempotency key is not remembered, as that of NOT_APPLIED never is
	LandedETag           string // a PUT that named it took effect: no other that names it can
	FencedAnswer         string // JSON: the answer of those others
}

// CloseUpdate closes the update and brings the row up to date in one
// transaction, and returns the row as the answer shows it. The row is SYNCED
// if no other update of the patient is unsettled. ErrLostLease,
// ErrVersionMismatch.
func (s *Store) CloseUpdate(c Closing) (*Patient, error) {
	var events []event
	told, err := s.closeAtOnce(c)
	if told != nil {
		s.hint()
	}
	if err == nil && told == nil {
		err = s.transact(c.PatientID, func(ctx context.Context, tx bun.Tx) (err error) {
			told, events, err = s.closeIn(ctx, tx, c)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("close contact update: %w", err)
	}
	for _, e := range events {
		s.Log.Log(context.Background(), e.level, e.message, e.args...)
	}
	return told, nil
}

func (s *Store) closeIn(ctx context.Context, tx bun.Tx, c Closing) (told *Patient, events []event, err error) {
	p, err := s.rowToClose(ctx, tx, c)
	if errors.Is(err, ErrNotFound) { // the number has moved: then nothing of the patient was open
		return nil, nil, ErrLostLease
	}
	if err != nil {
		return nil, nil, err
	}
	if c.Shown != nil && c.IfVersion != 0 && (p.Version != c.IfVersion || p.FHIRVersionID != c.IfFHIRVersion) {
		return nil, nil, ErrVersionMismatch
	}
	others := false
	if c.Row == nil || c.Row.Version != p.Version {
		if others, err = s.exists(ctx, tx, otherUnsettled, c.PatientID, c.ID); err != nil {
			return nil, nil, err
		}
	}
	var aside aside
	if c.Shown != nil {
		aside = takeAside(p, *c.Shown)
	}
	told, before := after(p, c, others)
	if err := s.closeLine(ctx, tx, c, told); err != nil {
		return nil, nil, err
	}
	if events, err = s.keepAside(ctx, tx, aside); err != nil {
		return nil, nil, err
	}
	if c.LandedETag != "" && others {
		fenced, err := s.exec(ctx, tx, fenceUpdates, clean(c.FencedAnswer), c.PatientID, clean(c.LandedETag), c.ID)
		if err != nil {
			return nil, nil, err
		}
		if fenced > 0 {
			if others, err = s.exists(ctx, tx, otherUnsettled, c.PatientID, c.ID); err != nil {
				return nil, nil, err
			}
			p.SyncState = stateWith(others || c.State.Open())
			if told.SyncState != p.SyncState { // a retry is told the same
				told.SyncState = p.SyncState
				if _, err := s.exec(ctx, tx, tellUpdate, shownJSON(told), c.ID); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	if c.Gone && c.State == UpdateRejected && c.Shown == nil && p.GoneAt.IsZero() {
		return told, nil, s.entomb(ctx, tx, p, c.At)
	}
	switch {
	case c.Shown != nil:
		return told, events, s.update(ctx, tx, p, c.At)
	case p.SyncState != before:
		_, err = s.exec(ctx, tx, setSyncState, string(p.SyncState), p.ID)
	}
	return told, nil, err
}

// rowToClose locks the row and returns it. Where it is to follow the FHIR server and has
// the versions that the update began with, it is not read again: what else changes without
// a new version the closing writes anew, but for unseen_since, which it leaves alone.
func (s *Store) rowToClose(ctx context.Context, tx bun.Tx, c Closing) (*Patient, error) {
	if c.Row != nil && c.Shown != nil {
		same, err := s.exists(ctx, tx, lockVersion, clean(c.PatientID), c.Row.Version, c.Row.FHIRVersionID)
		if err != nil {
			return nil, err
		}
		if same {
			row := *c.Row
			return &row, nil
		}
	}
	return s.lockedRow(ctx, tx, c.PatientID)
}

// after brings the row to where it is after the closing; told is the row as
// the answer shows it.
func after(p *Patient, c Closing, others bool) (told *Patient, before SyncState) {
	before = p.SyncState
	if c.Shown != nil {
		p.show(*c.Shown)
		p.LastSyncedAt = fromMicros(toMicros(c.At))
	}
	if p.FHIRID != "" {
		p.SyncState = stateWith(others || c.State.Open())
	}
	copied := *p
	if c.Shown != nil { // as update will write it
		copied.Version, copied.UpdatedAt, copied.ChangeSeq = p.Version+1, p.LastSyncedAt, 0
	}
	if c.ShownInstead != nil { // the row never has these values: nobody may go on from them
		copied.FHIRState, copied.Version = *c.ShownInstead, 0
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
		n, err = s.exec(ctx, tx, leaveUpdate, clean(c.Answer), c.Heard, bit(c.Gone), min(c.RetryIn, longestLease).Microseconds(), c.ID, c.Owner)
	} else {
		n, err = s.exec(ctx, tx, closeUpdate, closeArgs(c, told)...)
	}
	if err == nil && n == 0 {
		return ErrLostLease
	}
	return err
}

func closeArgs(c Closing, told *Patient) []any {
	return []any{string(c.State), clean(c.Answer), shownJSON(told), bit(c.Gone), c.TryAgain || c.State == UpdateNotApplied, c.ID, c.Owner}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// exists runs one of the statements that ask whether there is a row.
func (s *Store) exists(ctx context.Context, tx bun.Tx, st *statement, args ...any) (bool, error) {
	var one int
	err := s.in(ctx, tx, st).QueryRowContext(ctx, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
