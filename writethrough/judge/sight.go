package judge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"patientgraph/fhir"
)

// Sight is what was seen of a PUT afterwards.
type Sight struct {
	Read     Read
	Fate     Fate
	Versions bool // as in Case
	Moved    bool // as in Case
	History  History
	Missing  []string // the edited fields that lack their value, where Fate was judged

	Normalized []string      // the edited fields that hold it in another form than the one that was sent, likewise
	Now        *fhir.Patient // what is there; nil unless Seen
	Followed   *fhir.Patient // the version that followed the one that the PUT named; nil unless Told
}

// Replaces reports whether a resource is of the version that the PUT named; false
// on a server without versions. Header and body may disagree: it is the ETag that
// If-Match is compared with.
func (p Put) Replaces(r fhir.Resource) bool {
	switch {
	case p.IfMatch == "":
		return false
	case r.ETag == "":
		return fhir.IsVersion(r.JSON, p.IfMatch)
	}
	return fhir.IsSameVersion(r.ETag, p.IfMatch)
}

// IsNew reports whether what was shown is another version than the PUT named, by its
// ETag and its body alike: an echo of what was sent names the one of before.
func (p Put) IsNew(r fhir.Resource) bool {
	return r.ETag != "" && !p.Replaces(r) && !(p.IfMatch != "" && fhir.IsVersion(r.JSON, p.IfMatch))
}

// AsksHistory reports whether the version that followed would tell more than
// what is there now.
func (p Put) AsksHistory(now fhir.Resource) bool { return p.IfMatch != "" && !p.Replaces(now) }

// Past is what the history says of a PUT: how it could tell, and the version
// that followed if it did. Deleted: a deletion followed.
type Past struct {
	History History
	Next    fhir.Resource
	Deleted bool
}

// See judges by what is there now, and by the history where it tells. base is
// what the PUT was based on, nil if that is not known any more; at is now. An
// error means that the FHIR server sent what cannot be read.
func (p Put) See(now fhir.Resource, base []byte, past Past, at time.Time) (Sight, error) {
	s := Sight{Read: Seen, Versions: p.IfMatch != "", Moved: p.AsksHistory(now), History: past.History}
	if base != nil && !s.Moved && !bytes.Equal(now.JSON, base) && (!s.Versions || !sameRecord(now.JSON, base)) {
		s.Versions, s.Moved = false, true // a version that stays while the record changes is none (OpenEMR)
	}
	err := s.judge(p, now, past, at)
	if err != nil {
		return Sight{Read: Unread, History: Silent}, err
	}
	return s, nil
}

// sameRecord reports whether two bodies hold the same, however it is written down, but
// for meta, which is the server's own.
func sameRecord(a, b []byte) bool {
	var x, y map[string]any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	delete(x, "meta")
	delete(y, "meta")
	return reflect.DeepEqual(x, y)
}

func (s *Sight) judge(p Put, now fhir.Resource, past Past, at time.Time) error {
	patient, have, err := fhir.ParsePatientAsOf(now.JSON, at, p.At)
	if err != nil {
		return err
	}
	shown := p.shows(now.JSON, have)
	s.Now, s.Missing, s.Normalized = &patient, shown.missing, shown.normalized
	switch {
	case past.Deleted && len(shown.missing) == 0:
		s.Fate = Recreated
	case past.History == Told:
		return s.judgeNext(p, past.Next, shown.fate, at)
	default:
		s.Fate = shown.fate
	}
	return nil
}

// judgeNext judges by the version that directly followed the one that the PUT
// named: it is the PUT's, or the PUT can never land. now is what is there now.
func (s *Sight) judgeNext(p Put, next fhir.Resource, now Fate, at time.Time) error {
	then, have, err := fhir.ParsePatientAsOf(next.JSON, at, p.At)
	if err != nil {
		return err
	}
	shown := p.shows(next.JSON, have)
	s.Followed = &then
	switch {
	case now == Landed:
		s.Fate = Landed
	case shown.fate == Landed:
		s.Fate, s.Normalized = Overwritten, shown.normalized
	case now == Alike:
		s.Fate = Alike
	case shown.fate == Alike: // whosever it was, the values are not there any more
		s.Fate = Absent
	default:
		s.Missing, s.Fate = shown.missing, shown.fate
	}
	return nil
}

// SeeOwn judges by the version that the PUT made.
func (p Put) SeeOwn(shown fhir.Resource, at time.Time) (Sight, error) {
	patient, have, err := fhir.ParsePatientAsOf(shown.JSON, at, p.At)
	if err != nil {
		return Sight{Read: Unread, History: Silent}, err
	}
	s := Sight{Read: Seen, Fate: Landed, Versions: p.IfMatch != "", Moved: true, History: Silent, Now: &patient}
	own := p.shows(shown.JSON, have)
	if s.Missing, s.Normalized = own.missing, own.normalized; len(own.missing) > 0 {
		s.Fate = own.fate
	}
	return s, nil
}

// body is what a body shows of a PUT.
type body struct {
	fate       Fate
	missing    []string // the edited fields that it does not hold, in any form
	normalized []string // those whose form is not the one that was sent
}

// shows says what a body shows, whose contact is have as of At: the values; what was
// there before; or perhaps what the server made of the values (cut, a part of them), and
// then they must not be written again.
func (p Put) shows(of []byte, have fhir.Contact) body {
	have = p.contact(of, have)
	missing, before := p.missing(have), p.asBefore(have)
	fate := Altered
	switch changed := fhir.Differing(have, p.Base, p.changed()); {
	case len(missing) == 0 && before:
		fate = Alike
	case len(missing) == 0:
		fate = Landed
	case len(changed) == 0:
		fate = Absent
	case slices.ContainsFunc(changed, func(field string) bool { return !slices.Contains(missing, field) }):
		fate = Partly
	}
	return body{fate, missing, fhir.Differing(have, p.Intended, p.Edit.Fields())}
}
