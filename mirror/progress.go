package mirror

import (
	"encoding/json"
	"time"
)

// progress is how far the FHIR server was followed, as it is stored. Times named
// "by the server" are its clock's.
type progress struct {
	Base           string    `json:"base"`               // the FHIR server
	From           time.Time `json:"from,omitzero"`      // by the server: changes since then were never looked at
	Imported       bool      `json:"imported,omitempty"` // From is the newest time of a cache that was filled from files
	System         string    `json:"system,omitempty"`   // of the patient numbers
	ServerAt       time.Time `json:"serverAt,omitzero"`  // by the server: when the last completed poll began
	PolledAt       time.Time `json:"polledAt,omitzero"`  // the same by our clock
	Newest         time.Time `json:"newest,omitzero"`    // by the server: the latest change that was shown
	NewestID       string    `json:"newestId,omitempty"` // whose it was
	NewestAt       time.Time `json:"newestAt,omitzero"`  // when it was shown first
	WideAt         time.Time `json:"wideAt,omitzero"`    // when the last wide poll began
	WideTo         time.Time `json:"wideTo,omitzero"`    // by the server: the latest change that had been shown then
	Deletes        bool      `json:"deletes,omitempty"`  // the changes show who was deleted
	Alone          bool      `json:"alone,omitempty"`    // no changes can be asked for: sweeps alone show them
	TooManyMissing bool      `json:"refused,omitempty"`  // so many patients are missing that a 404 makes nobody gone
	Sweep          *sweep    `json:"sweep,omitempty"`    // that is under way
	SweptAt        time.Time `json:"sweptAt,omitzero"`   // when the last one ended
	Filled         bool      `json:"filled,omitempty"`   // one came to its end

	// Locked are FHIR ids of patients whose rows could not be written, since when: they are
	// read again with each poll.
	Locked map[string]time.Time `json:"locked,omitempty"`
}

// sweep is one that goes through all patients of the server.
type sweep struct {
	Began time.Time `json:"began"`
	Next  string    `json:"next,omitempty"` // where it goes on
}

func (p *progress) encode() string {
	text, _ := json.Marshal(p) // times and strings always encode
	return string(text)
}

const (
	// overlap is looked at again each time: a change becomes visible a moment after the
	// time that it bears.
	overlap = 10 * time.Second
	// late is how much later than the time that it bears a change may become visible. What a
	// longer transaction changes is found by a sweep.
	late = 5 * time.Minute
)

// since returns from when changes are to be looked at. It goes by the time that the latest
// change bears, for the clock that dates the answers may be another; that change must then
// be shown again.
func (p *progress) since() time.Time {
	switch {
	case p.ServerAt.IsZero():
		return p.From
	case p.Newest.IsZero(): // that clock is all we know
		return p.ServerAt.Add(-late)
	case p.PolledAt.Sub(p.NewestAt) >= late: // nothing came late since; and the last that changed may have been many
		return p.latest()
	}
	return p.latest().Add(-overlap)
}

// sinceWide is where a wide poll begins: whatever bore an earlier time was visible when the
// last one began. Zero: nothing can have become visible since that the others do not see.
func (p *progress) sinceWide() time.Time {
	latest := p.latest()
	switch {
	case p.Newest.IsZero(), p.WideTo.Equal(latest) && p.WideAt.Sub(p.NewestAt) >= late:
		return time.Time{}
	case p.WideTo.IsZero(), p.WideTo.After(latest): // that clock was set back since
		return latest.Add(-2 * late)
	}
	return p.WideTo.Add(-late)
}

// latest is the time up to which the changes were shown.
func (p *progress) latest() time.Time {
	if !p.Newest.IsZero() && p.Newest.Before(p.ServerAt) {
		return p.Newest
	}
	return p.ServerAt
}

// isWideDue reports whether it is time for a wide poll. The first poll is one, and a server
// that cannot be asked for changes has none.
func (p *progress) isWideDue(now time.Time, staleAfter time.Duration) bool {
	return !p.ServerAt.IsZero() && !p.Alone && (now.Sub(p.WideAt) >= staleAfter || now.Before(p.WideAt))
}

// isWideLate reports whether wide polls have failed, or taken, so long that no poll says
// that the cache is as the server is.
func (p *progress) isWideLate(now time.Time, staleAfter time.Duration) bool {
	return !p.Alone && now.Sub(p.WideAt) > 2*staleAfter
}

// setBack returns from when the changes must be looked at because the server's clock was
// set back since the last poll, else zero: what has changed since bears earlier times than
// were asked for.
func (p *progress) setBack(serverAt, began time.Time) time.Time {
	if p.ServerAt.IsZero() || serverAt.IsZero() {
		return time.Time{}
	}
	passed := max(began.Sub(p.PolledAt), 0)
	if !serverAt.Before(p.ServerAt.Add(passed - overlap/2)) {
		return time.Time{}
	}
	return serverAt.Add(-passed - late)
}
