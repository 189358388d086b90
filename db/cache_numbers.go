package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	claimedNumbers = prepared(`SELECT patient_id, value FROM patient_identifiers WHERE kind = 'CLAIMED'`)
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

// SettleNumbers gives patients the numbers that they have claimed in imports and
// that are free by now, or become free with them, and returns the claims that are
// left: two patients have the number, or an update is open. A later import may
// settle those.
func (s *Store) SettleNumbers(ctx context.Context, at time.Time) ([]RefusedNumber, error) {
	for {
		var moved int
		var left []RefusedNumber
		commit := func() error {
			ctx, cancel := context.WithTimeout(ctx, importTimeout)
			defer cancel()
			return s.inTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
				moved, left, err = s.settleSome(ctx, tx, at)
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
func (s *Store) settleSome(ctx context.Context, tx bun.Tx, at time.Time) (moved int, left []RefusedNumber, err error) {
	c := &claims{store: s, tx: tx, at: at}
	if err := c.find(ctx); err != nil || len(c.claimers) == 0 {
		return 0, nil, err
	}
	c.judge()
	rows := c.inOrder()
	if len(rows) > 0 {
		return len(rows), nil, c.move(ctx, rows)
	}
	for _, row := range c.claimers {
		if holder := c.byID[c.claimed[row]]; holder != nil && dead(row) > dead(holder) {
			continue // it gave the number up, or would
		}
		left = append(left, RefusedNumber{row.FHIRID, c.claimed[row], c.why[row]})
	}
	return 0, left, nil
}

// claims are the numbers that patients should have and others have.
type claims struct {
	store       *Store
	tx          bun.Tx
	at          time.Time
	byID        map[string]*Patient
	identifiers map[*Patient][]identifierRow
	claimers    []*Patient          // in the order of their numbers
	claimed     map[*Patient]string // by each of them
	why         map[*Patient]error  // why one cannot have it
	systems     map[*Patient]string // under which each of them claims it: its system_key
	gaveUp      map[*Patient]bool   // this one does not claim its number, or does not live: who claims it gets it
	goes        map[*Patient]bool   // the number of this one moves, if another needs it
	target      map[*Patient]string // to this one; "" = an assigned one
}

// find reads the claims, and locks who claims and who has what is claimed.
func (c *claims) find(ctx context.Context) error {
	rows, err := c.store.in(ctx, c.tx, claimedNumbers).QueryContext(ctx)
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
	found, err := c.store.in(ctx, c.tx, existingPatients).QueryContext(ctx, c.store.list(numbers), c.store.list(nil))
	if err != nil {
		return err
	}
	defer found.Close()
	c.byID, c.identifiers = map[string]*Patient{}, map[*Patient][]identifierRow{}
	c.claimed, c.target, c.why = map[*Patient]string{}, map[*Patient]string{}, map[*Patient]error{}
	c.systems, c.gaveUp, c.goes = map[*Patient]string{}, map[*Patient]bool{}, map[*Patient]bool{}
	for found.Next() {
		row, err := allColumns.scan(found)
		if err != nil && !errors.Is(err, ErrUnreadable) {
			return err
		}
		if open[row.ID] || row.SyncState == Pending {
			err = errors.New(string(KeptPending))
		}
		c.byID[row.ID], c.identifiers[row], c.why[row] = row, identifiers[row.ID], err
		for _, name := range identifiers[row.ID] {
			if name.kind == kindClaimed {
				c.claimers = append(c.claimers, row)
				c.claimed[row], c.target[row], c.systems[row] = name.value, name.value, name.systemKey
				c.goes[row] = err == nil
			}
		}
	}
	slices.SortStableFunc(c.claimers, func(a, b *Patient) int { return cmp.Compare(dead(a), dead(b)) })
	return found.Err()
}

// dead is 1 for a record that nobody should write any more, and 0 for others.
func dead(p *Patient) int {
	if p.Inactive || p.ReplacedBy != "" {
		return 1
	}
	return 0
}

// givesUp reports whether the number of a holder is for this claimer.
func (c *claims) givesUp(holder, claimer *Patient) bool {
	key := numberKey(c.identifiers[holder])
	return key != c.systems[claimer] && key != notKnown || dead(holder) > dead(claimer)
}

// judge finds out which numbers move: a number that stays cannot become another's,
// and of two that claim one the first gets it.
func (c *claims) judge() {
	first := map[string]*Patient{}
	for _, row := range c.claimers {
		if number := c.claimed[row]; c.goes[row] && first[number] == nil {
			first[number] = row
		}
	}
	for number, row := range first {
		if holder := c.byID[number]; holder != nil && c.why[holder] == nil && c.givesUp(holder, row) {
			c.gaveUp[holder], c.goes[holder] = true, true
		}
	}
	for _, row := range c.claimers {
		holder := c.byID[c.claimed[row]]
		if !c.goes[row] || first[c.claimed[row]] == row && (holder == nil || c.goes[holder]) {
			continue
		}
		// It stays, and so does whoever claims its number, and so on.
		why := ErrNumberTaken
		if holder != nil && c.claimed[holder] != "" && c.why[holder] != nil {
			why = c.why[holder]
		}
		for row != nil && c.target[row] != "" && c.goes[row] {
			c.why[row], c.target[row], c.goes[row] = why, "", c.gaveUp[row]
			if !c.goes[row] {
				row = first[row.ID]
			}
		}
	}
}

// maxMoves is about how many numbers move in one transaction.
const maxMoves = 500

// inOrder returns rows whose numbers move, so that each number is free or of a row
// before, or the rows exchange their numbers in a ring.
func (c *claims) inOrder() []*Patient {
	var order []*Patient
	placed := map[*Patient]bool{}
	for _, row := range c.claimers {
		var path []*Patient
		if c.target[row] == "" { // it goes only where another needs its number
			continue
		}
		for row != nil && c.goes[row] && !placed[row] {
			placed[row] = true
			path = append(path, row)
			row = c.byID[c.target[row]]
		}
		ring := len(path) > 0 && row == path[0]
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

// move gives the rows their numbers.
func (c *claims) move(ctx context.Context, rows []*Patient) error {
	need := 0
	for _, row := range rows {
		if c.target[row] == "" {
			need++
		}
	}
	assigned, err := c.store.assign(ctx, c.tx, c.at, need, c.byID)
	if err != nil {
		return err
	}
	numbers, after := make([]string, len(rows)), map[*Patient][]identifierRow{}
	for n, row := range rows {
		if numbers[n] = c.target[row]; numbers[n] == "" {
			numbers[n], assigned = assigned[0], assigned[1:]
		}
		after[row] = renumbered(c.identifiers[row], row.ID, numbers[n])
	}
	if err := c.store.moveNumbers(ctx, c.tx, rows, numbers); err != nil {
		return err
	}
	for _, row := range rows {
		if err := c.store.update(ctx, c.tx, row, c.at); err != nil {
			return err
		}
	}
	return c.store.writeIdentifiers(ctx, c.tx, c.identifiers, after, numbers)
}
