package judge

import (
	"time"

	"patientgraph/fhir"
)

// Put is a PUT as it was sent. The journal keeps it as JSON, but for IfMatch,
// which is a column of its own. Of the contacts it holds only the fields that
// the edit sets: nothing else is ever compared.
type Put struct {
	IfMatch  string           `json:"-"` // the version that it replaces; "" on a server without versions
	Edit     fhir.ContactEdit `json:"edit"`
	Base     fhir.Contact     `json:"base"`     // what it was based on
	Intended fhir.Contact     `json:"intended"` // what it holds
	Entries  int              `json:"entries"`  // how many entries of the edited fields it holds, see fhir.Entries
	Before   int              `json:"before"`   // how many of them there were before it
	At       time.Time        `json:"at"`       // when it was made: which entries are current is judged as then
}

// NewPut describes the PUT that makes body of base by the edit.
func NewPut(base fhir.Resource, was fhir.Contact, body []byte, edit fhir.ContactEdit, at time.Time) (Put, error) {
	intended, err := fhir.ContactOf(body, at)
	return Put{
		IfMatch: base.ETag, Edit: edit, Base: only(was, edit), Intended: only(intended, edit),
		Entries: fhir.Entries(body, edit.Fields()), Before: fhir.Entries(base.JSON, edit.Fields()), At: at,
	}, err
}

// only returns of a contact what the edit is about.
func only(c fhir.Contact, e fhir.ContactEdit) fhir.Contact {
	if !e.SetPhone {
		c.Phone = ""
	}
	if !e.SetEmail {
		c.Email = ""
	}
	if !e.SetAddress {
		c.Address = nil
	}
	return c
}

// Changed names the fields that the PUT was to change.
func (p Put) Changed() []string { return fhir.Missing(p.Base, p.Intended, p.Edit.Fields()) }

// tells reports whether a body that holds the values shows thereby that the PUT
// took effect: they were not there before it. One of two equal phones that is
// removed shows by the number of entries.
func (p Put) tells() bool { return len(p.Changed()) > 0 || p.Entries != p.Before }

// Missing names the edited fields that a body does not hold.
func (p Put) Missing(body []byte) ([]string, error) {
	have, err := fhir.ContactOf(body, p.At)
	if err != nil {
		return nil, err
	}
	missing := fhir.Missing(have, p.Intended, p.Edit.Fields())
	if len(missing) > 0 || len(p.Changed()) > 0 {
		return missing, nil
	}
	// The contact was to look as before (a phone removed that stands there
	// twice): then only the number of entries tells.
	if fhir.Entries(body, p.Edit.Fields()) != p.Entries {
		return p.Edit.Fields(), nil
	}
	return nil, nil
}
