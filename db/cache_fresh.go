package db

import "time"

// Freshness says which rows that are SYNCED are stale: the FHIR server has not shown them
// since a time. All rows that are not unseen were shown with the last look at its changes.
type Freshness struct {
	StaleBefore time.Time // zero: no row is ever stale
	Looked      bool      // the changes were looked at since
	// Locked are FHIR ids of rows in which it could not be noted that they are unseen, since
	// when: another session holds them locked.
	Locked map[string]time.Time
}

// maxAhead is how far the clocks of replicas may differ: a time to come is of one that is
// wrong.
const maxAhead = time.Minute

// FreshnessAt says which rows are stale at a time, if the changes were last looked at then
// (zero: never).
func FreshnessAt(now time.Time, staleAfter time.Duration, lookedAt time.Time) Freshness {
	limit := now.Add(-staleAfter)
	return Freshness{StaleBefore: limit, Looked: !lookedAt.Before(limit) && lookedAt.Before(now.Add(maxAhead))}
}

// Stale reports whether a row is. It needs ColFHIRID, ColLastSyncedAt and ColUnseenSince.
func (f Freshness) Stale(p *Patient) bool {
	if !p.GoneAt.IsZero() {
		return true
	}
	shown, unseen := p.LastSyncedAt, p.UnseenSince
	if at, locked := f.Locked[p.FHIRID]; locked && (unseen.IsZero() || at.Before(unseen)) {
		unseen = at
	}
	if unseen.After(shown) {
		shown = unseen // until then it was as the FHIR server had it
	}
	return shown.Before(f.StaleBefore) && (!f.Looked || !unseen.IsZero())
}

// where asks for the rows that are stale, or for those that are not.
func (f Freshness) where(c *conditions, stale bool, list func([]string) any) {
	limit, not := toMicros(f.StaleBefore), "NOT "
	if stale {
		not = ""
	}
	if !f.Looked {
		c.add(not+"(unseen_since < ? AND last_synced_at < ?)", limit, limit)
		return
	}
	locked := f.lockedBefore()
	if len(locked) == 0 {
		c.add(not+"(unseen_since > 0 AND unseen_since < ? AND last_synced_at < ?)", limit, limit)
	} else {
		c.add(not+"((unseen_since > 0 AND unseen_since < ? OR COALESCE(fhir_id, '') = ANY(?)) AND last_synced_at < ?)", limit, list(locked), limit)
	}
}

// unseen selects all rows that may be stale since the changes were looked at.
func (f Freshness) unseen(list func([]string) any) (text string, args []any) {
	text, args = "SELECT id AS patient_id FROM patients WHERE unseen_since > 0 AND unseen_since < ?", []any{toMicros(f.StaleBefore)}
	if locked := f.lockedBefore(); len(locked) > 0 {
		text, args = text+" UNION ALL SELECT id FROM patients WHERE fhir_id = ANY(?)", append(args, list(locked))
	}
	return text, args
}

// lockedBefore lists whom the FHIR server showed otherwise before the limit, in rows that
// were locked.
func (f Freshness) lockedBefore() []string {
	var locked []string
	for id, at := range f.Locked {
		if at.Before(f.StaleBefore) {
			locked = append(locked, id)
		}
	}
	return locked
}
