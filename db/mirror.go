package db

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Mirror says how far the cache has followed the FHIR server.
type Mirror struct {
	LookedAt time.Time // when the last completed look at its changes began; zero: never
	Progress string    // JSON of whoever follows; "" = it was never followed
	Woken    int64     // raised by WakeMirror
	Led      bool      // a process follows now
}

// The statements of the mirror. The database's clock decides whose the lease is.
var (
	readMirror = preparedToRead(`SELECT looked_at, progress, woken, owner <> '' AND NOT ` + leaseOver + ` FROM mirror`)
	leadMirror = prepared(`UPDATE mirror SET owner = ?, lease_until = NOW() + ?
		WHERE owner = ? OR ? OR owner = '' OR ` + leaseOver)
	leaveMirror  = prepared(`UPDATE mirror SET owner = '', lease_until = 0 WHERE owner = ?`)
	saveMirror   = prepared(`UPDATE mirror SET looked_at = ?, progress = ? WHERE owner = ?`)
	leadsMirror  = prepared(`SELECT 1 FROM mirror WHERE owner = ?`)
	saveProgress = prepared(`UPDATE mirror SET progress = ? WHERE owner = ?`)
	wakeMirror   = prepared(`UPDATE mirror SET woken = woken + 1`)
)

// mirrorRow is what commits that concern the mirror are queued under: no patient.
const mirrorRow = "\x1fmirror"

// Mirror reads how far the cache has followed.
func (s *Store) Mirror(ctx context.Context) (Mirror, error) {
	var m Mirror
	err := s.in(ctx, bun.Tx{}, readMirror).QueryRowContext(ctx).Scan(micros{&m.LookedAt}, &m.Progress, &m.Woken, &m.Led)
	if err != nil {
		return Mirror{}, fmt.Errorf("read the mirror's state: %w", err)
	}
	return m, nil
}

// LeadMirror reports whether the owner follows the FHIR server from now on, or goes on
// to, for so long. One process at a time does. With take it is taken from whoever does.
func (s *Store) LeadMirror(owner string, lease time.Duration, take bool) (bool, error) {
	n, err := s.runOne(mirrorRow, leadMirror, owner, lease.Microseconds(), owner, take)
	if err != nil {
		return false, fmt.Errorf("lease the mirror: %w", redacted(err))
	}
	return n > 0, nil
}

// LeaveMirror lets others follow.
func (s *Store) LeaveMirror(owner string) error {
	if _, err := s.runOne(mirrorRow, leaveMirror, owner); err != nil {
		return fmt.Errorf("leave the mirror: %w", redacted(err))
	}
	return nil
}

// SaveMirror notes how far the owner came, and when its last completed look began.
// ErrLostLease: another process follows.
func (s *Store) SaveMirror(owner string, lookedAt time.Time, progress string) error {
	n, err := s.runOne(mirrorRow, saveMirror, toMicros(lookedAt), progress, owner)
	if err == nil && n == 0 {
		err = ErrLostLease
	}
	if err != nil {
		return fmt.Errorf("note how far the mirror came: %w", err)
	}
	return nil
}

// WakeMirror has whoever follows look at once, in whichever process.
func (s *Store) WakeMirror() error {
	if _, err := s.runOne(mirrorRow, wakeMirror); err != nil {
		return fmt.Errorf("wake the mirror: %w", redacted(err))
	}
	return nil
}
