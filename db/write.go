package db

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// FHIRState is everything in a row that FHIR is the truth of.
type FHIRState struct {
	FamilyName string
	GivenName  string
	FullName   string
	BirthDate  string
	Gender     string
	Phone      string
	Email      string
	Address    *Address
	VersionID  string    // meta.versionId
	UpdatedAt  time.Time // meta.lastUpdated
}

func (st FHIRState) applyTo(p *Patient) {
	p.FamilyName, p.GivenName, p.FullName = st.FamilyName, st.GivenName, st.FullName
	p.BirthDate, p.Gender = st.BirthDate, st.Gender
	p.Phone, p.Email, p.Address = st.Phone, st.Email, st.Address
	p.FHIRVersionID, p.FHIRUpdatedAt = st.VersionID, st.UpdatedAt
}

// ContactEdit says which contact values to change; a set field that is empty
// is cleared.
type ContactEdit struct {
	SetPhone   bool
	Phone      string
	SetEmail   bool
	Email      string
	SetAddress bool
	Address    *Address
}

// ProfileEdit says which local-only values to change; a set field that is
// empty is cleared.
type ProfileEdit struct {
	SetEmergencyContact bool
	EmergencyContact    *EmergencyContact
	SetAllergies        bool
	Allergies           []string
	SetBloodType        bool
	BloodType           string
}

// ApplyFHIR stores what the FHIR server showed at a time: the row is SYNCED
// as of then, unless it is PENDING and what was shown does not settle that (a
// lost write may still land after a mere read). It returns the whole row.
// ErrNotFound.
func (s *Store) ApplyFHIR(ctx context.Context, id string, st FHIRState, settles bool, at time.Time) (*Patient, error) {
	return s.change(ctx, id, 0, at, func(p *Patient) error {
		st.applyTo(p)
		p.LastSyncedAt = at
		if settles || p.SyncState != Pending {
			p.SyncState = Synced
		}
		return nil
	})
}

// SetContact changes the contact of a patient without a FHIR id. An
// expectedVersion of 0 is any. ErrNotFound, ErrVersionMismatch, ErrHasFHIRID.
func (s *Store) SetContact(ctx context.Context, id string, e ContactEdit, expectedVersion int64, at time.Time) (*Patient, error) {
	return s.change(ctx, id, expectedVersion, at, func(p *Patient) error {
		if p.FHIRID != "" {
			return ErrHasFHIRID
		}
		if e.SetPhone {
			p.Phone = e.Phone
		}
		if e.SetEmail {
			p.Email = e.Email
		}
		if e.SetAddress {
			p.Address = e.Address
		}
		return nil
	})
}

// SetPending marks a row whose write to FHIR has an unknown outcome.
// ErrNotFound.
func (s *Store) SetPending(ctx context.Context, id string, at time.Time) (*Patient, error) {
	return s.change(ctx, id, 0, at, func(p *Patient) error {
		p.SyncState = Pending
		return nil
	})
}

// SetProfile changes local-only values. An expectedVersion of 0 is any.
// ErrNotFound, ErrVersionMismatch.
func (s *Store) SetProfile(ctx context.Context, id string, e ProfileEdit, expectedVersion int64, at time.Time) (*Patient, error) {
	return s.change(ctx, id, expectedVersion, at, func(p *Patient) error {
		if e.SetEmergencyContact {
			p.EmergencyContact = e.EmergencyContact
		}
		if e.SetAllergies {
			p.Allergies = e.Allergies
		}
		if e.SetBloodType {
			p.BloodType = e.BloodType
		}
		return nil
	})
}

// change edits one row in a transaction that nothing else can interleave.
func (s *Store) change(ctx context.Context, id string, expectedVersion int64, at time.Time, edit func(*Patient) error) (*Patient, error) {
	var changed *Patient
	err := s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		p, err := s.lockedRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if expectedVersion != 0 && expectedVersion != p.Version {
			return ErrVersionMismatch
		}
		if err := edit(p); err != nil {
			return err
		}
		changed = p
		return s.update(ctx, tx, p, at)
	})
	if err != nil {
		return nil, fmt.Errorf("change patient: %w", err)
	}
	return changed, nil
}

// lockedRow reads a whole row for a change: on SQLite the transaction is the
// only writer from its start.
func (s *Store) lockedRow(ctx context.Context, tx bun.Tx, id string) (*Patient, error) {
	q := tx.NewSelect().ColumnExpr(allColumns.names()).Table("patients").Where("id = ?", clean(id))
	if s.postgres {
		q = q.For("UPDATE")
	}
	found, err := scanAll(ctx, q, allColumns)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	return found[0], nil
}

// update writes a whole row as a new version, and its names into the index.
func (s *Store) update(ctx context.Context, tx bun.Tx, p *Patient, at time.Time) error {
	p.Version++
	p.UpdatedAt = fromMicros(toMicros(at))
	p.LastSyncedAt = fromMicros(toMicros(p.LastSyncedAt))
	before := p.nameKey
	p.nameKey = nameKey(p)
	if _, err := tx.NewUpdate().Model(toRow(p)).WherePK().Exec(ctx); err != nil {
		return err
	}
	if p.nameKey == before {
		return nil
	}
	if _, err := tx.NewDelete().Table("patient_name_grams").
		Where("patient_id = ? AND gram IN (?)", p.ID, bun.List(grams(before))).Exec(ctx); err != nil {
		return err
	}
	return insertGrams(ctx, tx, []*Patient{p})
}

func insertGrams(ctx context.Context, tx bun.Tx, patients []*Patient) error {
	var list []gram
	for _, p := range patients {
		for _, g := range grams(p.nameKey) {
			list = append(list, gram{Gram: g, PatientID: p.ID})
		}
	}
	// In the order of the index: neighbours share its pages.
	slices.SortFunc(list, func(a, b gram) int { return strings.Compare(a.Gram, b.Gram) })
	for part := range slices.Chunk(list, 2000) {
		if _, err := tx.NewInsert().Model(&part).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
