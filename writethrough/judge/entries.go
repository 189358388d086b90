package judge

import (
	"slices"

	"patientgraph/fhir"
)

// entries says how the entries that a PUT writes are known again, whatever else is
// shown by then: by field and by use, how many hold the value once it has taken effect;
// of a clearing, that there is none of each use that loses one. A line of the journal
// from before has none of this.
type entries map[string]map[string]int

// entriesOf compares what the PUT is based on with what it makes.
func (p Put) entriesOf(base, body []byte) entries {
	found := entries{}
	for _, field := range p.Edit.Fields() {
		after, shown := fhir.Entries(body, field, p.At)
		switch {
		case p.clears(field):
			if gone := p.Edit.Clears; gone != nil && !fhir.SameValue(field, *gone, p.Base, p.Region) {
				continue // what it takes out is not what is shown
			}
			before, _ := fhir.Entries(base, field, p.At)
			if lost := thatLose(before, after); len(lost) > 0 {
				found[field] = lost
			}
		case shown >= 0:
			use := after[shown].Use
			found[field] = map[string]int{use: len(p.holding(after, field, use))}
		}
	}
	return found
}

func (p Put) clears(field string) bool {
	return slices.ContainsFunc(p.Edit.Clearings(), func(e fhir.ContactEdit) bool { return slices.Contains(e.Fields(), field) })
}

// thatLose returns the uses that lose an entry. Where one has others left, nobody can
// tell later which of them was there before.
func thatLose(before, after []fhir.Entry) map[string]int {
	had, has, uses := perUse(before), perUse(after), map[string]int{}
	for use, n := range had {
		if has[use] < n {
			uses[use] = 0
		}
	}
	return uses
}

func perUse(all []fhir.Entry) map[string]int {
	n := map[string]int{}
	for _, e := range all {
		n[e.Use]++
	}
	return n
}

// holding returns the entries of a use that hold the value of the PUT, in any form but
// the one that it replaces. A server may give an entry without use one of its own.
func (p Put) holding(all []fhir.Entry, field, use string) (found []fhir.Contact) {
	only := []string{field}
	changes := len(fhir.Differing(p.Base, p.Intended, only)) > 0
	for _, e := range all {
		if (use == "" || e.Use == use) && len(fhir.Missing(e.Contact.WithoutAdditions(p.Intended, p.Base), p.Intended, only, p.Region)) == 0 &&
			!(changes && len(fhir.Differing(e.Contact, p.Base, only)) == 0) {
			found = append(found, e.Contact)
		}
	}
	return found
}

// written returns what a field is by the entries that the PUT writes; false: they are
// not as it makes them.
func (p Put) written(body []byte, field string) (fhir.Contact, bool) {
	want := p.Entries[field]
	if len(want) == 0 {
		return fhir.Contact{}, false
	}
	all, _ := fhir.Entries(body, field, p.At)
	if !p.clears(field) {
		for use, n := range want {
			if found := p.holding(all, field, use); len(found) >= n {
				return found[0], true
			}
		}
		return fhir.Contact{}, false
	}
	have := perUse(all)
	for use, n := range want {
		if have[use] > n { // something else stands in its place
			return fhir.Contact{}, false
		}
	}
	return p.Intended, !slices.ContainsFunc(all, func(e fhir.Entry) bool { return fhir.SameValue(field, e.Contact, p.Base, p.Region) })
}
