package judge

import (
	"time"

	"patientgraph/fhir"
)

// Put is the change that a PUT is to make, however much of the record it sends. The
// journal keeps it as JSON, but for IfMatch, which is a column of its own. Of the
// contacts it holds only the fields that the edit sets: nothing else is ever compared.
type Put struct {
	IfMatch  string           `json:"-"` // the version that it replaces; "" on a server without versions
	Edit     fhir.ContactEdit `json:"edit"`
	Base     fhir.Contact     `json:"base"`              // what it was based on
	Intended fhir.Contact     `json:"intended"`          // what the record is to hold
	Entries  entries          `json:"written,omitempty"` // on a server without versions; schema 5 had another "entries"
	At       time.Time        `json:"at"`                // when it was made: which entries are current is judged as then
	Region   string           `json:"-"`                 // from where phone numbers are dialled, see fhir.SameValue; not kept, for it is a setting
}

// NewPut describes the PUT that makes record of base by the edit.
func NewPut(base fhir.Resource, was fhir.Contact, record []byte, edit fhir.ContactEdit, at time.Time, region string) (Put, error) {
	intended, err := fhir.ContactOf(record, at)
	p := Put{
		IfMatch: base.ETag, Edit: edit, Base: only(was, edit), Intended: only(intended, edit),
		At: at, Region: region,
	}
	if err == nil && base.ETag == "" {
		p.Entries = p.entriesOf(base.JSON, record)
	}
	return p, err
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

// changed names the fields that the PUT was to change, be it to another form of the
// same value.
func (p Put) changed() []string { return fhir.Differing(p.Base, p.Intended, p.Edit.Fields()) }

// asBefore reports whether a body shows in all edited fields what was there before the
// PUT. Where that is a form of what was asked, nobody can tell by it whether the PUT
// took effect: the server may have brought the values back into its own form.
func (p Put) asBefore(have fhir.Contact) bool {
	return len(fhir.Differing(have, p.Base, p.Edit.Fields())) == 0
}

// contact returns what a body shows of the PUT; have is its contact as of At. A field
// that shows another value, but whose entry is as the PUT makes it, counts as that:
// without If-Match nothing keeps others from adding an entry that comes first.
func (p Put) contact(body []byte, have fhir.Contact) fhir.Contact {
	for _, field := range p.missing(have) {
		switch is, ok := p.written(body, field); {
		case !ok:
		case field == fhir.FieldPhone:
			have.Phone = is.Phone
		case field == fhir.FieldEmail:
			have.Email = is.Email
		case field == fhir.FieldAddress:
			have.Address = is.Address
		}
	}
	return have
}

// Missing names the edited fields that a body does not hold, in any form.
func (p Put) Missing(body []byte) ([]string, error) {
	have, err := fhir.ContactOf(body, p.At)
	if err != nil {
		return nil, err
	}
	return p.missing(p.contact(body, have)), nil
}

func (p Put) missing(have fhir.Contact) []string {
	return fhir.Missing(have.WithoutAdditions(p.Intended, p.Base), p.Intended, p.Edit.Fields(), p.Region)
}
