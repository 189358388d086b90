package fhir

import (
	"context"
	"errors"
)

// comparison is what one version of a patient is to another.
type comparison int

const (
	unclear comparison = iota
	older
	newer
	equal
)

// compare says what a is to b. Version ids count only as numbers; of HAPI's deletions
// they are all that there is.
func (a *entry) compare(b *entry) comparison {
	byNumber, byTime := unclear, unclear
	if numberPattern.MatchString(a.version) && numberPattern.MatchString(b.version) && a.version != b.version {
		byNumber = older
		if above(a.version, b.version) {
			byNumber = newer
		}
	}
	if !a.at.IsZero() && !b.at.IsZero() && !a.at.Equal(b.at) {
		byTime = older
		if a.at.After(b.at) {
			byTime = newer
		}
	}
	switch {
	case byNumber == unclear && byTime == unclear:
		if a.deleted == b.deleted && a.version == b.version && a.hash == b.hash {
			return equal
		}
		return unclear
	case byNumber == unclear:
		return byTime
	case byTime == unclear || byTime == byNumber:
		return byNumber
	}
	return unclear
}

// newest keeps the newest version of each patient that a page shows, and none that an
// earlier page showed a newer one of. Where that cannot be told the patient is read.
func (w *walk) newest(ctx context.Context, entries []entry) ([]entry, error) {
	var kept []entry
	at := map[string]int{} // in kept
	for _, e := range entries {
		if e.id == "" {
			kept = append(kept, e)
			continue
		}
		if w.blind && !w.versions[e.id].final {
			var err error
			if e, err = w.readDirectly(ctx, e); err != nil {
				return kept, err
			}
		}
		i, here := at[e.id]
		var before *entry
		if here {
			before = &kept[i]
		} else if seen, ok := w.versions[e.id]; ok {
			before = &seen
		}
		if before == nil {
			at[e.id] = len(kept)
			kept = append(kept, e)
			continue
		}
		if before.final {
			continue
		}
		is := e.compare(before)
		switch {
		case is == older, is == equal:
			continue
		case is == unclear:
			var err error
			if e, err = w.readDirectly(ctx, e); err != nil {
				return kept, err
			}
		}
		if here {
			kept[i] = e
		} else {
			at[e.id] = len(kept)
			kept = append(kept, e)
		}
	}
	if w.history {
		for _, e := range kept {
			if e.id != "" {
				w.versions[e.id] = entry{id: e.id, version: e.version, at: e.at, deleted: e.deleted, final: e.final, hash: e.hash}
			}
		}
	}
	return kept, nil
}

// readDirectly asks for the patient itself; what it shows is the newest. One who cannot
// be read is told, and the rest goes on, unless the server answers nobody.
func (w *walk) readDirectly(ctx context.Context, e entry) (entry, error) {
	r, err := w.c.Read(ctx, e.id)
	is := entry{id: e.id, at: e.at, final: true}
	var failure *Error
	switch {
	case err == nil:
		is.patient = Resource{ID: r.ID, JSON: r.JSON, Profile: r.Profile}
		is.at = lastUpdated(r.JSON)
	case errors.As(err, &failure) && failure.Kind == Gone:
		is.deleted = true
	case ctx.Err() != nil, !errors.As(err, &failure), failure.Kind == NotSent, failure.Kind == AuthFailed, failure.Kind == RateLimited:
		return is, err
	default:
		if failure.Status == 0 {
			if w.unanswered++; w.unanswered >= maxUnanswered {
				return is, err
			}
		}
		is.err = badEntry(err)
	}
	return is, nil
}
