package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

var (
	leaseFHIRToken = prepared(`INSERT INTO fhir_tokens (id, version, sealed, owner, lease_until) VALUES (?, 0, '', ?, NOW() + ?)
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
		WHERE fhir_tokens.lease_until < NOW()`)
	saveFHIRToken    = prepared(`UPDATE fhir_tokens SET version = version + 1, sealed = ?, owner = '', lease_until = 0 WHERE id = ? AND version = ?`)
	releaseFHIRToken = prepared(`UPDATE fhir_tokens SET owner = '', lease_until = 0 WHERE id = ? AND owner = ?`)
)

// LoadFHIRToken returns what was saved last under an id, and its version; nil and
// 0: nothing yet.
func (s *Store) LoadFHIRToken(ctx context.Context, id string) (sealed []byte, version int64, err error) {
	row := s.queryRow(ctx, "SELECT sealed, version FROM fhir_tokens WHERE id = ?", id)
	if err := row.Scan(&sealed, &version); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, fmt.Errorf("load FHIR token: %w", redacted(err))
	}
	return sealed, version, nil
}

// LeaseFHIRToken reports whether the owner may ask for the next tokens, for so
// long. By the database's clock one owner at a time may.
func (s *Store) LeaseFHIRToken(id, owner string, lease time.Duration) (bool, error) {
	n, err := s.runOne(id, leaseFHIRToken, id, owner, lease.Microseconds())
	if isLocked(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lease FHIR token: %w", redacted(err))
	}
	return n > 0, nil
}

// SaveFHIRToken keeps what follows a version and ends the lease, whoever has it:
// the tokens before are used up. It reports false if another version is there.
func (s *Store) SaveFHIRToken(id string, sealed []byte, version int64) (bool, error) {
	n, err := s.runOne(id, saveFHIRToken, sealed, id, version)
	if err != nil {
		return false, fmt.Errorf("save FHIR token: %w", redacted(err))
	}
	return n > 0, nil
}

// ReleaseFHIRToken ends the owner's lease.
func (s *Store) ReleaseFHIRToken(id, owner string) error {
	if _, err := s.runOne(id, releaseFHIRToken, id, owner); err != nil {
		return fmt.Errorf("release FHIR token: %w", redacted(err))
	}
	return nil
}
