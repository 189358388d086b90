package db

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"
)

// Where the hospital merges two records of one patient, what is recorded here alone
// (allergies, blood type, emergency contact) goes to the survivor: at the end of the
// chain, value by value, unless the survivor has one. That happens once for a merge, as
// soon as both records are in the cache, in the transaction of the batch that brings the
// one or the other. Nothing moves back when a merge is undone.

// merge is a row of patient_merges.
type merge struct {
	survivor   string
	bySurvivor bool
	settled    int64
}

// What merge.settled says.
const (
	mergeWaits   = 0 // for one of the records
	mergeSettled = 1
	mergeRound   = 2 // round and round, which the log has said; it waits for one of them to change
)

var (
	// mergesOf locks the rows: two imports do not settle the same merge.
	mergesOf = prepared(`SELECT merged, survivor, by_survivor, settled FROM patient_merges
		WHERE merged = ANY(?) OR survivor = ANY(?) AND (settled <> ` + strconv.Itoa(mergeSettled) + ` OR by_survivor = 1) ORDER BY merged FOR UPDATE`)
	// yieldAliases: an alias of two records is nobody's, but of a merged one it is not
	// needed.
	yieldAliases = prepared(`DELETE FROM patient_identifiers WHERE kind IN ('FORMER', 'ALIAS') AND value = ANY(?)
		AND EXISTS (SELECT 1 FROM patients AS merged WHERE merged.id = patient_id AND merged.replaced_by <> '')
		AND EXISTS (SELECT 1 FROM patient_identifiers AS other JOIN patients AS holder ON holder.id = other.patient_id
			WHERE other.kind IN ('FORMER', 'ALIAS') AND other.value = patient_identifiers.value AND holder.replaced_by = '')`)
	deleteMerges = prepared(`DELETE FROM patient_merges WHERE merged = ANY(?)`)
)

var intoMerges = intoTable("patient_merges", "merged, survivor, by_survivor, settled")

// event is what the log says once the transaction is committed.
type event struct {
	level   slog.Level
	message string
	args    []any
}

// localIDOf returns the FHIR id that a link to another Patient names, "" where that is not
// on our server.
func (s *Store) localIDOf(reference string) string {
	switch {
	case s.LocalID != nil:
		return s.LocalID(reference)
	case strings.ContainsAny(reference, "/?"):
		return ""
	}
	return reference
}

// findMerges reads the merges that the batch may concern: those of its patients, of
// whom they were merged into and so on, and those into them that are not settled.
func (i *importing) findMerges(ctx context.Context) error {
	known := map[string]bool{"": true}
	var next []string
	reach := func(id string) {
		if !known[id] {
			known[id] = true
			next = append(next, id)
		}
	}
	for _, n := range i.batch {
		if n.FHIRID == "" {
			continue
		}
		reach(clean(n.FHIRID))
		reach(i.store.localIDOf(n.State.ReplacedBy))
		for _, reference := range n.Replaces {
			reach(i.store.localIDOf(reference))
		}
	}
	i.merges, i.changedMerges = map[string]merge{}, map[string]bool{}
	for len(next) > 0 {
		i.related = append(i.related, next...)
		found, err := i.store.mergesOf(ctx, i.tx, next)
		if err != nil {
			return err
		}
		next = nil
		for merged, m := range found {
			i.merges[merged] = m
			reach(m.survivor)
			if m.settled != mergeSettled {
				reach(merged)
			}
		}
	}
	return nil
}

func (s *Store) mergesOf(ctx context.Context, tx bun.Tx, fhirIDs []string) (map[string]merge, error) {
	rows, err := s.in(ctx, tx, mergesOf).QueryContext(ctx, s.list(fhirIDs), s.list(fhirIDs))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]merge{}
	for rows.Next() {
		var merged string
		var m merge
		if err := rows.Scan(&merged, &m.survivor, flag{&m.bySurvivor}, &m.settled); err != nil {
			return nil, err
		}
		found[merged] = m
	}
	return found, rows.Err()
}

// yieldAliases leaves the numbers of merged records to those who have them as well.
func (i *importing) yieldAliases(ctx context.Context) error {
	var aliases []string
	for row, k := range i.taken {
		for _, id := range i.batch[k].Identifiers {
			if id.Alias {
				aliases = append(aliases, id.Value)
			}
		}
		for _, name := range i.identifiers[row] {
			if name.kind == kindFormer {
				aliases = append(aliases, name.value)
			}
		}
		if former := i.cameAs[row]; former != "" {
			aliases = append(aliases, former)
		}
	}
	if len(aliases) == 0 {
		return nil
	}
	_, err := i.store.exec(ctx, i.tx, yieldAliases, i.store.list(cleanAll(aliases)))
	return err
}

// settleMerges writes down who was merged into whom, as the patients say by now, and
// moves what is recorded here alone.
func (i *importing) settleMerges(ctx context.Context) error {
	i.hearMerged()
	i.hearSurvivors()
	if err := i.moveLocalValues(ctx); err != nil || len(i.changedMerges) == 0 {
		return err
	}
	if _, err := i.store.exec(ctx, i.tx, deleteMerges, i.store.list(slices.Collect(maps.Keys(i.changedMerges)))); err != nil {
		return err
	}
	var values []any
	for _, merged := range slices.Sorted(maps.Keys(i.changedMerges)) {
		if m, is := i.merges[merged]; is {
			values = append(values, merged, m.survivor, int64(bit(m.bySurvivor)), m.settled)
		}
	}
	return i.store.insert(ctx, i.tx, intoMerges, values)
}

// setMerge notes who survives; a merge that is known stays settled.
func (i *importing) setMerge(merged, survivor string, bySurvivor bool) {
	was := i.merges[merged]
	is := merge{survivor, bySurvivor, mergeWaits}
	if was.survivor == survivor {
		is.settled = was.settled
	}
	if was != is {
		i.merges[merged], i.changedMerges[merged] = is, true
	}
}

func (i *importing) dropMerge(merged string) {
	delete(i.merges, merged)
	i.changedMerges[merged] = true
}

// hearMerged hears the records that were merged: each says itself into whom (link
// replaced-by).
func (i *importing) hearMerged() {
	for fhirID, row := range i.byFHIRID {
		m, known := i.merges[fhirID]
		survivor := i.store.localIDOf(row.ReplacedBy)
		switch {
		case survivor != "" && survivor != fhirID:
			i.setMerge(fhirID, survivor, false)
		case row.ReplacedBy == "" && known && !m.bySurvivor: // undone
			i.dropMerge(fhirID)
		}
	}
}

// hearSurvivors hears the records that others were merged into (link replaces). What a
// merged one says itself counts more, and of two survivors the first.
func (i *importing) hearSurvivors() {
	into := map[string][]string{}
	for merged, m := range i.merges {
		if m.bySurvivor {
			into[m.survivor] = append(into[m.survivor], merged)
		}
	}
	for k, n := range i.batch {
		row := i.byFHIRID[n.FHIRID]
		if taken, is := i.taken[row]; !is || taken != k || i.numberOnly[row] {
			continue // what an older version said
		}
		replaces := map[string]bool{}
		for _, reference := range n.Replaces {
			merged := i.store.localIDOf(reference)
			replaces[merged] = true
			if _, known := i.merges[merged]; !known && merged != "" && merged != n.FHIRID {
				i.setMerge(merged, n.FHIRID, true)
			}
		}
		for _, merged := range into[n.FHIRID] {
			if !replaces[merged] { // undone
				i.dropMerge(merged)
			}
		}
	}
}

// survivorOf follows the merges to the record that is left; round: they lead round and
// round.
func (i *importing) survivorOf(merged string) (fhirID string, steps int, round bool) {
	seen := map[string]bool{}
	for fhirID = merged; ; steps++ {
		m, is := i.merges[fhirID]
		if !is {
			return fhirID, steps, false
		}
		if seen[fhirID] {
			return "", steps, true
		}
		seen[fhirID] = true
		fhirID = m.survivor
	}
}

// moveLocalValues settles every merge whose records are both here. Of several records
// that were merged into one, the nearest goes first.
func (i *importing) moveLocalValues(ctx context.Context) error {
	type pair struct {
		merged, survivor *Patient
		steps            int
	}
	var pairs []pair
	for merged, m := range i.merges {
		row := i.byFHIRID[merged]
		if m.settled == mergeSettled || row == nil || i.unreadable[row] != nil {
			continue
		}
		end, steps, round := i.survivorOf(merged)
		survivor := i.byFHIRID[end]
		if !round && (survivor == nil || !survivor.GoneAt.IsZero() || i.unreadable[survivor] != nil) {
			continue // until it comes, or comes back
		}
		if round && m.settled == mergeRound {
			continue
		}
		i.changedMerges[merged] = true
		if round {
			m.settled = mergeRound
			i.merges[merged] = m
			i.note(slog.LevelWarn, "the merges of patient "+row.ID+" lead round and round, nothing moves: correct the links of the records on the FHIR server",
				"patient", row.ID)
			continue
		}
		m.settled = mergeSettled
		i.merges[merged] = m
		pairs = append(pairs, pair{row, survivor, steps})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.steps, b.steps), cmp.Compare(a.merged.ID, b.merged.ID))
	})
	changed := map[*Patient]bool{}
	for _, p := range pairs {
		moved, kept := moveLocal(p.merged, p.survivor)
		if len(moved) > 0 {
			changed[p.merged], changed[p.survivor] = true, true
			i.note(slog.LevelInfo, "local values of patient "+p.merged.ID+" moved to "+p.survivor.ID+", into whom it was merged",
				"patient", p.merged.ID, "survivor", p.survivor.ID, "fields", moved)
		}
		if len(kept) > 0 {
			i.note(slog.LevelWarn, "local values of patient "+p.merged.ID+" kept with the old record: "+p.survivor.ID+", into whom it was merged, has its own",
				"patient", p.merged.ID, "survivor", p.survivor.ID, "fields", kept)
		}
	}
	for row := range changed {
		if err := i.store.update(ctx, i.tx, row, i.at); err != nil {
			return err
		}
	}
	return nil
}

// moveLocal moves what is recorded here alone and what the survivor has not.
func moveLocal(from, to *Patient) (moved, kept []string) {
	move := func(field int, is, taken bool, do func()) {
		switch {
		case !is:
		case taken:
			kept = append(kept, fieldNames[field])
		default:
			do()
			moved = append(moved, fieldNames[field])
		}
	}
	move(emergencyContactField, from.EmergencyContact != nil, to.EmergencyContact != nil, func() {
		to.EmergencyContact, from.EmergencyContact = from.EmergencyContact, nil
	})
	move(allergiesField, from.Allergies != nil, to.Allergies != nil, func() { to.Allergies, from.Allergies = from.Allergies, nil })
	move(bloodTypeField, from.BloodType != "", to.BloodType != "", func() { to.BloodType, from.BloodType = from.BloodType, "" })
	return moved, kept
}

func (i *importing) note(level slog.Level, message string, args ...any) {
	i.events = append(i.events, event{level, message, args})
}
