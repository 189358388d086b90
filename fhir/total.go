package fhir

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/url"
)

// tally notes how many the server says that there are, and who of them a page showed.
// Who is shown twice counts once: another may have been left out. A history's total is
// of versions.
func (w *walk) tally(p page, entries []entry) {
	if p.total > 0 && (w.Total == 0 || p.total < w.Total) {
		w.Total = p.total
	}
	if w.history {
		w.Shown += len(entries) + len(p.others)
		return
	}
	for i := range entries {
		w.countOne(&entries[i])
	}
	for _, hash := range p.others { // some servers count them
		w.countHash(hash)
	}
}

func (w *walk) countOne(e *entry) bool {
	if e.id == "" {
		return w.countHash(e.hash)
	}
	return w.countHash(maphash.String(w.seed, e.id))
}

// countHash reports whether it was not counted before.
func (w *walk) countHash(hash uint64) bool {
	if _, known := w.counted[hash]; known {
		return false
	}
	w.counted[hash] = struct{}{}
	w.Shown++
	return true
}

// missing is why pages that came to an end are no whole answer: they showed fewer than
// the server says that there are. nil: they are whole.
func (w *walk) missing(ctx context.Context) error {
	if w.Shown >= w.Total {
		return nil
	}
	missing := searchError(fmt.Errorf("the server counts %d and shows %d, and names no further page", w.Total, w.Shown))
	if w.history || w.recount {
		return missing
	}
	// A frozen result counts those who were deleted since it was made, and does not show
	// them: what counts is who is there now, and was neither shown nor came since.
	params := url.Values{"_summary": {"count"}}
	if w.Since != "" {
		params.Set("_lastUpdated", "ge"+w.Since)
	}
	now := w.read(ctx, w.c.typeURL(false, params))
	if now.err != nil || now.total == 0 {
		return missing
	}
	if now.total > w.Shown && !w.Began.IsZero() {
		since, err := w.c.changesBy(ctx, foundWay{method: byLastUpdated}, w.Began)
		if err != nil {
			return missing
		}
		since.recount = true
		since.run(ctx, func(l Listing, failure error) bool {
			for _, change := range l.Changes {
				if change.ID != "" && change.At.After(w.Began) { // it may show more than it was asked for
					w.countOne(&entry{id: change.ID})
				}
			}
			err = failure
			return true
		})
		if err != nil {
			return missing
		}
	}
	if now.total > w.Shown {
		return missing
	}
	return nil
}
