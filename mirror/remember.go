package mirror

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"patientgraph/fhir"
)

// said is what the log has said, so that it says it once.
type said struct {
	sync.Mutex
	unusable map[string]bool // patients that cannot be used, each with the time of its version
	locked   map[string]bool // FHIR ids of patients whose rows are locked
	refused  map[string]bool // numbers that patients cannot have
	way      fhir.Following  // how changes are found
	alone    bool            // that they cannot be asked for: sweeps alone show them
}

func newSaid() said {
	return said{unusable: map[string]bool{}, locked: map[string]bool{}, refused: map[string]bool{}}
}

// mostTold bounds what is remembered as told, of each kind.
const mostTold = 10_000

// isNews reports whether the log has not said that yet, and that it will now.
func (s *said) isNews(told map[string]bool, what string) bool {
	s.Lock()
	defer s.Unlock()
	known := told[what]
	if len(told) >= mostTold {
		clear(told)
	}
	told[what] = true
	return !known
}

// forgetLocked has the log say it again if the row is locked once more.
func (s *said) forgetLocked(fhirID string) {
	s.Lock()
	defer s.Unlock()
	delete(s.locked, fhirID)
}

// tell names a patient that cannot be taken, once for each of its versions.
func (m *Mirror) tell(c fhir.Change, err error) {
	if m.said.isNews(m.said.unusable, c.ID+c.At.String()) {
		m.Log.Error("patient not taken: the FHIR server shows it in a form that cannot be used; what the cache has of it is STALE", "fhirId", c.ID, "error", err)
	}
}

// tellRefused says once that a patient cannot have a number.
func (m *Mirror) tellRefused(number string, why error) {
	if m.said.isNews(m.said.refused, number) {
		m.Log.Warn("patient number refused, the rest of the record is taken", "patient", number, "error", why)
	}
}

// remembered are the FHIR ids of patients that have to be read by themselves, where no
// row can say so.
type remembered struct {
	sync.Mutex
	unusable map[string]bool      // they could not be used when they were shown last, and may have no row
	locked   map[string]time.Time // see progress.Locked
}

func newRemembered() remembered {
	return remembered{unusable: map[string]bool{}, locked: map[string]time.Time{}}
}

// with adds those that are remembered to other FHIR ids.
func (r *remembered) with(ids []string) []string {
	r.Lock()
	defer r.Unlock()
	for _, more := range []iter.Seq[string]{maps.Keys(r.unusable), maps.Keys(r.locked)} {
		for id := range more {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// note keeps in mind who of those that were shown could not be used: who is not in the
// cache cannot be noted there.
func (r *remembered) note(shown, unusable []string) {
	r.Lock()
	defer r.Unlock()
	for _, id := range shown {
		delete(r.unusable, id)
	}
	for _, id := range unusable {
		if len(r.unusable) < mostUnseen {
			r.unusable[id] = true
		}
	}
}

func (r *remembered) setLocked(locked map[string]time.Time) {
	r.Lock()
	defer r.Unlock()
	r.locked = map[string]time.Time{}
	maps.Copy(r.locked, locked)
}

func (r *remembered) allLocked() map[string]time.Time {
	r.Lock()
	defer r.Unlock()
	return maps.Clone(r.locked)
}

// addLocked notes whose rows are locked, since when, and returns how many are.
func (r *remembered) addLocked(fhirIDs []string, since time.Time) int {
	r.Lock()
	defer r.Unlock()
	for _, id := range fhirIDs {
		if r.locked[id].IsZero() {
			r.locked[id] = since
		}
	}
	return len(r.locked)
}

func (r *remembered) forgetLocked(fhirID string) {
	r.Lock()
	defer r.Unlock()
	delete(r.locked, fhirID)
}
