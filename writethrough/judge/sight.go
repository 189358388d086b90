package judge

import (
	"bytes"
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
	Missing  []string      // the edited fields that lack their value, where Fate was judged
	Now      *fhir.Patient // what is there; nil unless Seen
	Followed *fhir.Patient // the version that followed the one that the PUT named; nil unless Told
}

// Replaces reports whether a resource is of the version that the PUT named; false
// on a server without versions.
func (p Put) Replaces(r fhir.Resource) bool {
	return p.IfMatch != "" && (r.ETag == p.IfMatch || fhir.IsVersion(r.JSON, p.IfMatch))
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
	if !s.Versions && base != nil {
		s.Moved = !bytes.Equal(now.JSON, base)
	}
	err := s.judge(p, now, past, at)
	if err != nil {
		return Sight{Read: Unread, History: Silent}, err
	}
	return s, nil
}

func (s *Sight) judge(p Put, now fhir.Resource, past Past, at time.Time) error {
	patient, err := fhir.ParsePatient(now.JSON, at)
	if err != nil {
		return err
	}
	if s.Missing, err = p.Missing(now.JSON); err != nil {
		return err
	}
	s.Now = &patient
	moved := s.Versions && s.Moved
	// Values that were there before say nothing until the version has moved.
	there := len(s.Missing) == 0 && (moved || p.tells())
	if past.History == Told {
		return s.judgeNext(p, past.Next, there, at)
	}
	switch {
	case past.Deleted && there:
		s.Fate = Recreated
	case there:
		s.Fate = Landed
	case len(s.Missing) == 0:
		s.Fate = Alike
	default:
		s.Fate, err = p.otherFate(now.JSON, s.Missing)
	}
	return err
}

// judgeNext judges by the version that directly followed the one that the PUT
// named: it is the PUT's, or the PUT can never land.
func (s *Sight) judgeNext(p Put, next fhir.Resource, there bool, at time.Time) error {
	then, err := fhir.ParsePatient(next.JSON, at)
	if err != nil {
		return err
	}
	missing, err := p.Missing(next.JSON)
	if err != nil {
		return err
	}
	s.Followed = &then
	switch {
	case there:
		s.Fate = Landed
	case len(missing) == 0:
		s.Fate = Overwritten
	default:
		s.Missing = missing
		s.Fate, err = p.otherFate(next.JSON, missing)
	}
	return err
}

// SeeOwn judges by the version that the PUT made.
func (p Put) SeeOwn(shown fhir.Resource, at time.Time) (Sight, error) {
	patient, err := fhir.ParsePatient(shown.JSON, at)
	if err != nil {
		return Sight{Read: Unread, History: Silent}, err
	}
	missing, err := p.Missing(shown.JSON)
	s := Sight{Read: Seen, Fate: Landed, Versions: p.IfMatch != "", Moved: true, History: Silent, Missing: missing, Now: &patient}
	if err == nil && len(missing) > 0 {
		s.Fate, err = p.otherFate(shown.JSON, missing)
	}
	return s, err
}

// otherFate says what a body shows that lacks some of the values: what was there
// before; or perhaps what the server made of them (cut, normalised, a part of
// them), and then they must not be written again.
func (p Put) otherFate(body []byte, missing []string) (Fate, error) {
	have, err := fhir.ContactOf(body, p.At)
	changed := p.Changed()
	switch {
	case err != nil:
		return NotSeen, err
	case len(fhir.Missing(have, p.Base, changed)) == 0:
		return Absent, nil
	case len(missing) < len(changed):
		return Partly, nil
	}
	return Altered, nil
}
