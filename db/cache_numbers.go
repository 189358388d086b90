package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// A number moves with its patient, who is known by the FHIR id, and stays behind as
// an alias. A number that another patient has is claimed until it is free: in a
// chain or a ring of patients all numbers move at once, see SettleNumbers. A patient
// whose update is open keeps its number until a later import: whoever works on the
// update knows the patient by it.

// ErrNumberTaken: two patients have the same number on the FHIR server.
var ErrNumberTaken = errors.New("the number belongs to another patient")

// The statements that move a number. Where several numbers are exchanged, each
// goes aside first.
var (
	moveNumber = []*statement{
		prepared(`UPDATE patients SET id = ? WHERE id = ?`),
		prepared(`UPDATE contact_updates SET patient_id = ? WHERE patient_id = ? AND settled_at > 0`), // none is open
		prepared(`UPDATE patient_identifiers SET patient_id = ? WHERE patient_id = ?`),
	}
	// lockNumbers lets no update begin from here on (beginUpdate).
	lockNumbers = prepared(`SELECT id FROM patients WHERE id = ANY(?) ORDER BY id FOR UPDATE`)
	openUpdates = prepared(`SELECT patient_id FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT') AND patient_id = ANY(?)
		UNION SELECT patient_id FROM contact_updates WHERE state IN ('SENT', 'UNKNOWN') AND patient_id = ANY(?)`)
	// claimedNumbers: what is claimed under another system, which was PATIENT_ID_SYSTEM
	// once, is no number now.
	claimedNumbers = prepared(`SELECT patient_id, value FROM patient_identifiers WHERE kind = 'CLAIMED' AND system_key = ?`)
	// unclaimNumber: whoever claims the number of a patient that is gone gets it.
	unclaimNumber = prepared(`UPDATE patient_identifiers SET system_key = '` + notClaimed + `' || system_key
		WHERE patient_id = ? AND kind = 'NUMBER' AND system_key <> '' AND system_key NOT LIKE '` + notClaimed + `%'`)
)

// unmovable returns which of the numbers cannot move, for an update of the patient
// is open. The others stay movable until the transaction ends.
func (s *Store) unmovable(ctx context.Context, tx bun.Tx, numbers []string) (map[string]bool, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	if _, err := s.ids(ctx, tx, lockNumbers, s.list(numbers)); err != nil {
		return nil, err
	}
	open, err := s.ids(ctx, tx, openUpdates, s.list(numbers), s.list(numbers))
	unmovable := map[string]bool{}
	for _, number := range open {
		unmovable[number] = true
	}
	return unmovable, err
}

// move gives a row a number that nobody has.
func (i *importing) move(ctx context.Context, row *Patient, number string, newVersion bool) error {
	if i.cameAs[row] == "" {
		i.cameAs[row] = row.ID
	}
	delete(i.byID, row.ID)
	if err := i.store.moveNumbers(ctx, i.tx, []*Patient{row}, []string{number}); err != nil {
		return err
	}
	i.byID[number] = row
	i.moved = append(i.moved, number)
	if !newVersion {
		return nil
	}
	return i.store.update(ctx, i.tx, row, i.at)
}

// moveNumbers gives rows these numbers, which no other rows have.
func (s *Store) moveNumbers(ctx context.Context, tx bun.Tx, rows []*Patient, numbers []string) error {
	from := make([]string, len(rows))
	for n, row := range rows {
		if err := s.deleteKeys(ctx, tx, row); err != nil {
			return err
		}
		from[n] = row.ID
		if len(rows) > 1 {
			from[n] = "\x1f" + row.FHIRID // no number holds control characters
			if err := s.rename(ctx, tx, from[n], row.ID); err != nil {
				return err
			}
		}
	}
	for n, row := range rows {
		if err := s.rename(ctx, tx, numbers[n], from[n]); err != nil {
			return err
		}
		row.ID = numbers[n]
	}
	return s.insertKeys(ctx, tx, rows)
}

func (s *Store) rename(ctx context.Context, tx bun.Tx, to, from string) error {
	for _, st := range moveNumber {
		if _, err := s.exec(ctx, tx, st, to, from); err != nil {
			return err
		}
	}
	return nil
}

// RefusedNumber is a number that a patient should have and does not.
type RefusedNumber struct {
	FHIRID string
	Number string
	Why    error
}

// SettleNumbers gives patients the numbers of this system that they have claimed in
// imports and that are free by now, or become free with them, and returns the claims
// that are left: two patients have the number, or an update is open. A later import
// may settle those.
func (s *Store) SettleNumbers(ctx context.Context, system string, at time.Time) ([]RefusedNumber, error) {
	for {
		var moved int
		var left []RefusedNumber
		commit := func() error {
			ctx, cancel := context.WithTimeout(ctx, importTimeout)
			defer cancel()
			return s.inTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
				moved, left, err = s.settleSome(ctx, tx, identifierKey(system), at)
				return errors.Join(err, s.file.check())
			})
		}
		if err := retryAlone(commit(), commit); err != nil {
			return nil, fmt.Errorf("settle patient numbers: %w", err)
		}
		if moved == 0 {
			return left, nil
		}
	}
}

// settleSome moves some of the numbers that can move, and returns how many.
func (s *Store) settleSome(ctx context.Context, tx bun.Tx, system string, at time.Time) (moved int, left []RefusedNumber, err error) {
	c := &claims{store: s, tx: tx, at: at, system: system, holders: map[string]*holder{}}
	if err := c.find(ctx); err != nil || len(c.claimers) == 0 {
		return 0, nil, err
	}
	c.judge()
	if moving := c.inOrder(); len(moving) > 0 {
		return len(moving), nil, c.move(ctx, moving)
	}
	for _, h := range c.claimers {
		if other := c.holders[h.claimed]; other != nil && dead(h) > dead(other) {
			continue // it gave the number up, or would
		}
		left = append(left, RefusedNumber{h.FHIRID, h.claimed, h.why})
	}
	return 0, left, nil
}

// claims are the numbers that patients should have and others have.
type claims struct {
	store    *Store
	tx       bun.Tx
	at       time.Time
	system   string             // its key
	holders  map[string]*holder // by their numbers: who claims one, and who has what is claimed
	claimers []*holder          // in the order of their numbers, the dead ones last
}

// holder is a row with its number.
type holder struct {
	*Patient
	identifiers []identifierRow
	claimed     string // the number that it should have; "" = its own
	target      string // where its number goes; "" = to an assigned one
	goes        bool   // its number moves, if another needs it
	gaveUp      bool   // it does not claim its number, or does not live: who claims it gets it
	why         error  // why it cannot have what it claims
}

// find reads the claims, and locks who claims and who has what is claimed.
func (c *claims) find(ctx context.Context) error {
	rows, err := c.store.in(ctx, c.tx, claimedNumbers).QueryContext(ctx, c.system)
	if err != nil {
		return err
	}
	defer rows.Close()
	var numbers []string
	for rows.Next() {
		var number, claimed string
		if err := rows.Scan(&number, &claimed); err != nil {
			return err
		}
		numbers = append(numbers, number, claimed)
	}
	if err := rows.Err(); err != nil || len(numbers) == 0 {
		return err
	}
	open, err := c.store.unmovable(ctx, c.tx, numbers)
	if err != nil {
		return err
	}
	// From here on they stay, so what was read before the lock is read again.
	identifiers, err := c.store.identifiersOf(ctx, c.tx, numbers)
	if err != nil {
		return err
	}
	err = c.store.existing(ctx, c.tx, numbers, nil, func(row *Patient, err error) {
		if open[row.ID] || row.SyncState == Pending {
			err = errors.New(string(KeptPending))
		}
		h := &holder{Patient: row, identifiers: identifiers[row.ID], why: err}
		c.holders[row.ID] = h
		for _, name := range h.identifiers {
			if name.kind == kindClaimed && name.systemKey == c.system {
				h.claimed, h.target, h.goes = name.value, name.value, err == nil
				c.claimers = append(c.claimers, h)
			}
		}
	})
	slices.SortStableFunc(c.claimers, func(a, b *holder) int { return cmp.Compare(dead(a), dead(b)) })
	return err
}

// dead is 1 for a record that nobody should write any more, and 0 for others.
func dead(h *holder) int {
	if h.listed() < 1 {
		return 1
	}
	return 0
}

// givesUp reports whether the number of a holder is for this claimer.
func (c *claims) givesUp(h, claimer *holder) bool {
	key := numberKey(h.identifiers)
	return key != c.system && key != notKnown || dead(h) > dead(claimer)
}

// judge finds out which numbers move: a number that stays cannot become another's,
// and of two that claim one the first gets it.
func (c *claims) judge() {
	first := map[string]*holder{}
	for _, h := range c.claimers {
		if h.goes && first[h.claimed] == nil {
			first[h.claimed] = h
		}
	}
	for number, claimer := range first {
		if h := c.holders[number]; h != nil && h.why == nil && c.givesUp(h, claimer) {
			h.gaveUp, h.goes = true, true
		}
	}
	for _, h := range c.claimers {
		other := c.holders[h.claimed]
		if !h.goes || first[h.claimed] == h && (other == nil || other.goes) {
			continue
		}
		// It stays, and so does whoever claims its number, and so on.
		why := ErrNumberTaken
		if other != nil && other.claimed != "" && other.why != nil {
			why = other.why
		}
		for stays := h; stays != nil && stays.target != "" && stays.goes; {
			stays.why, stays.target, stays.goes = why, "", stays.gaveUp
			if !stays.goes {
				stays = first[stays.ID]
			}
		}
	}
}

// maxMoves is about how many numbers move in one transaction.
const maxMoves = 500

// inOrder returns rows whose numbers move, so that each number is free or of a row
// before, or the rows exchange their numbers in a ring.
func (c *claims) inOrder() []*holder {
	var order []*holder
	placed := map[*holder]bool{}
	for _, h := range c.claimers {
		var path []*holder
		if h.target == "" { // it goes only where another needs its number
			continue
		}
		for h != nil && h.goes && !placed[h] {
			placed[h] = true
			path = append(path, h)
			h = c.holders[h.target]
		}
		ring := len(path) > 0 && h == path[0]
		slices.Reverse(path)
		if room := maxMoves - len(order); !ring && len(path) > room {
			path = path[:room]
		}
		if order = append(order, path...); len(order) >= maxMoves {
			break
		}
	}
	return order
}

// move gives them their numbers.
func (c *claims) move(ctx context.Context, moving []*holder) error {
	need, targets := 0, map[string]*Patient{}
	for _, h := range moving {
		if targets[h.target] = h.Patient; h.target == "" {
			need++
		}
	}
	assigned, err := c.store.assign(ctx, c.tx, c.at, need, targets)
	if err != nil {
		return err
	}
	rows, numbers := make([]*Patient, len(moving)), make([]string, len(moving))
	before, after := map[*Patient][]identifierRow{}, map[*Patient][]identifierRow{}
	for n, h := range moving {
		if numbers[n] = h.target; numbers[n] == "" {
			numbers[n], assigned = assigned[0], assigned[1:]
		}
		rows[n], before[h.Patient] = h.Patient, h.identifiers
		after[h.Patient] = renumbered(h.identifiers, h.ID, numbers[n])
	}
	if err := c.store.moveNumbers(ctx, c.tx, rows, numbers); err != nil {
		return err
	}
	for _, row := range rows {
		if err := c.store.update(ctx, c.tx, row, c.at); err != nil {
			return err
		}
	}
	return c.store.writeIdentifiers(ctx, c.tx, before, after, numbers)
}

// isForeign reports whether no resource of the patient was taken under this system: there
// is no number of it that an old file could bring back.
func (i *importing) isForeign(row *Patient, system string) bool {
	key := strings.TrimPrefix(numberKey(i.identifiers[row]), notClaimed)
	return key != notKnown && key != identifierKey(system)
}
