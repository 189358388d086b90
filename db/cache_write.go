package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

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

// fields names those that the edit sets.
func (e ContactEdit) fields() []string {
	var fields []string
	if e.SetPhone {
		fields = append(fields, fieldNames[phoneField])
	}
	if e.SetEmail {
		fields = append(fields, fieldNames[emailField])
	}
	if e.SetAddress {
		fields = append(fields, fieldNames[addressField])
	}
	return fields
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
	FHIRID              string // of the patient who is meant; "" = whoever has the number
}

// Fields names those that the edit sets.
func (e ProfileEdit) Fields() []string {
	var fields []string
	if e.SetEmergencyContact {
		fields = append(fields, fieldNames[emergencyContactField])
	}
	if e.SetAllergies {
		fields = append(fields, fieldNames[allergiesField])
	}
	if e.SetBloodType {
		fields = append(fields, fieldNames[bloodTypeField])
	}
	return fields
}

// SetContact changes the contact of a patient without a FHIR id and notes that
// in the journal, as the line says (ID, Actor, IdempotencyKey, Digest). An
// expectedVersion of 0 is any. ErrNotFound, ErrVersionMismatch: a field that the
// edit sets has changed since. ErrHasFHIRID, ErrBusy: the idempotency key is in use.
func (s *Store) SetContact(id string, e ContactEdit, expectedVersion int64, at time.Time, line ContactUpdate) (*Patient, error) {
	return s.change(id, e.fields(), expectedVersion, at, func(ctx context.Context, tx bun.Tx, p *Patient) error {
		if p.FHIRID != "" {
			return ErrHasFHIRID
		}
		if e.SetPhone {
			p.Phone = clean(e.Phone)
		}
		if e.SetEmail {
			p.Email = clean(e.Email)
		}
		if e.SetAddress {
			p.Address = e.Address
		}
		told := *p
		told.Version, told.UpdatedAt = p.Version+1, fromMicros(toMicros(at)) // as update will write it
		n, err := s.exec(ctx, tx, addLocalUpdate, line.ID, p.ID, clean(line.Actor), clean(line.IdempotencyKey), line.Digest, shownJSON(&told))
		if err == nil && n == 0 {
			return ErrBusy
		}
		return err
	})
}

// SetProfile changes local-only values. An expectedVersion of 0 is any. ErrNotFound:
// also where the number has become another patient's than the one that is meant, or the
// FHIR server does not have the patient any more.
// ErrVersionMismatch: a field that the edit sets has changed since. ErrUnsure; after any
// other error nothing was changed.
func (s *Store) SetProfile(id string, e ProfileEdit, expectedVersion int64, at time.Time) (*Patient, error) {
	return s.change(id, e.Fields(), expectedVersion, at, func(_ context.Context, _ bun.Tx, p *Patient) error {
		if e.FHIRID != "" && e.FHIRID != p.FHIRID || !p.GoneAt.IsZero() {
			return ErrNotFound
		}
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

// change edits these fields of one row in a transaction that nothing else can
// interleave.
func (s *Store) change(id string, fields []string, expectedVersion int64, at time.Time, edit func(context.Context, bun.Tx, *Patient) error) (*Patient, error) {
	var changed *Patient
	err := s.transact(id, func(ctx context.Context, tx bun.Tx) error {
		p, err := s.lockedRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if changed != nil && p.Version == changed.Version && p.UpdatedAt.Equal(changed.UpdatedAt) {
			return nil // this runs again: the commit looked failed and was not
		}
		if expectedVersion != 0 && len(p.ChangedSince(expectedVersion, fields)) > 0 {
			return ErrVersionMismatch
		}
		if err := edit(ctx, tx, p); err != nil {
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
// only writer from its start. ErrNotFound.
func (s *Store) lockedRow(ctx context.Context, tx bun.Tx, id string) (*Patient, error) {
	p, err := allColumns.scan(s.in(ctx, tx, lockPatient).QueryRowContext(ctx, clean(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	return p, err
}

// newVersion makes p the row's next version.
func (p *Patient) newVersion(at time.Time) {
	p.Version++
	p.ChangeSeq = 0 // NumberChanges gives it its number
	p.UpdatedAt = fromMicros(toMicros(at))
	p.LastSyncedAt = fromMicros(toMicros(p.LastSyncedAt))
	p.keys = keysOf(&p.FHIRState)
	p.keep()
}

// update writes a row as a new version, and what changed of its names and phones into
// their indexes.
func (s *Store) update(ctx context.Context, tx bun.Tx, p *Patient, at time.Time) error {
	before, kept := p.keys, p.kept
	p.newVersion(at)
	st, set := updatePatient, written
	if p.kept == kept {
		st, set = updateRest, written&^seldom
	}
	if _, err := s.exec(ctx, tx, st, set.values(p)...); err != nil {
		return err
	}
	if p.keys.search != before.search {
		was, is := grams(before.search), grams(p.keys.search)
		if _, err := s.exec(ctx, tx, deleteGrams, p.ID, s.list(without(was, is))); err != nil {
			return err
		}
		if err := s.insertSorted(ctx, tx, intoGrams, pairs(without(is, was), p.ID)); err != nil {
			return err
		}
	}
	if p.keys.phones == before.phones {
		return nil
	}
	was, is := before.phoneList(), p.keys.phoneList()
	gone, added := without(was, is), without(is, was)
	if len(gone) == 1 && len(added) == 1 { // mostly one number takes the place of another
		if n, err := s.exec(ctx, tx, movePhone, added[0], p.ID, gone[0]); err != nil || n == 1 {
			return err
		}
	}
	if _, err := s.exec(ctx, tx, deletePhones, p.ID, s.list(gone)); err != nil {
		return err
	}
	return s.insertSorted(ctx, tx, intoPhones, pairs(added, p.ID))
}

var (
	deleteGrams  = prepared(`DELETE FROM patient_name_grams WHERE patient_id = ? AND gram = ANY(?)`)
	deletePhones = prepared(`DELETE FROM patient_phones WHERE patient_id = ? AND phone_key = ANY(?)`)
	movePhone    = prepared(`UPDATE patient_phones SET phone_key = ? WHERE patient_id = ? AND phone_key = ?`)
)

var (
	intoGrams  = intoTable("patient_name_grams", "gram, patient_id")
	intoPhones = intoTable("patient_phones", "phone_key, patient_id")
)

// insertKeys writes the names and phones of new patients into their indexes.
func (s *Store) insertKeys(ctx context.Context, tx bun.Tx, patients []*Patient) error {
	var names, phones [][2]string
	for _, p := range patients {
		names = append(names, pairs(grams(p.keys.search), p.ID)...)
		phones = append(phones, pairs(p.keys.phoneList(), p.ID)...)
	}
	if err := s.insertSorted(ctx, tx, intoGrams, names); err != nil {
		return err
	}
	return s.insertSorted(ctx, tx, intoPhones, phones)
}

// deleteKeys takes a patient out of the indexes of names and phones.
func (s *Store) deleteKeys(ctx context.Context, tx bun.Tx, p *Patient) error {
	if _, err := s.exec(ctx, tx, deleteGrams, p.ID, s.list(grams(p.keys.search))); err != nil {
		return err
	}
	_, err := s.exec(ctx, tx, deletePhones, p.ID, s.list(p.keys.phoneList()))
	return err
}

// insertSorted writes in the order of the index: neighbours share its pages.
func (s *Store) insertSorted(ctx context.Context, tx bun.Tx, into *intoRows, rows [][2]string) error {
	slices.SortFunc(rows, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	args := make([]any, 0, 2*len(rows))
	for _, row := range rows {
		args = append(args, row[0], row[1])
	}
	return s.insert(ctx, tx, into, args)
}

// pairs puts a patient's id to each key.
func pairs(keys []string, patientID string) [][2]string {
	rows := make([][2]string, 0, len(keys))
	for _, key := range keys {
		rows = append(rows, [2]string{key, patientID})
	}
	return rows
}

// without returns the keys that are not among the others.
func without(keys, others []string) []string {
	known := map[string]bool{}
	for _, key := range others {
		known[key] = true
	}
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return known[key] })
}
