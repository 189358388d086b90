package proofs_test

import (
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// unpromised is what comes of a row of faultTable on OpenEMR where that is not what
// comes of it on a server with versions, whose If-Match and history it lacks: what a
// server without versions cannot promise. All other rows end as they do on HAPI.
var unpromised = map[string]fault{
	// Nothing would keep a PUT that was lost from landing after its repetition: it is
	// not sent again, and only the settle window ends it.
	"PUT lost once":  {want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	"PUT lost twice": {want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	"PUT, 502 once":  {want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},

	// Nothing tells that there is no new version: the read may lag behind.
	"PUT, 204 that names the old version, not saved": {want: unknown, ends: "REJECTED", cache: OldPhone, fhir: OldPhone},
	// Nothing tells that it is the server's form of our value until no other can come.
	"PUT, normalised, and the answer lost": {want: unknown, ends: "REJECTED", cache: "010-9876", fhir: "010-9876"},

	// What somebody else overwrote at once left no trace: the caller is told that it
	// was not saved, or, where something refused it all the same, that it was refused.
	"PUT, reset after, overwritten":          {want: unknown, ends: "REJECTED", cache: otherPhone, fhir: otherPhone},
	"PUT, 204, overwritten":                  {want: unknown, ends: "REJECTED", cache: otherPhone, fhir: otherPhone},
	"PUT, in a form of its own, overwritten": {want: unknown, ends: "REJECTED", writes: 1, cache: otherPhone, fhir: otherPhone},
	"PUT, 422 after, overwritten":            {want: rejected, cache: otherPhone, fhir: otherPhone},
	// A conflict is believed if the record has moved, so the change is made anew.
	"PUT, 409 once after, overwritten": {want: success, writes: 2, cache: NewPhone, fhir: NewPhone},

	// Without If-Match nobody is too quick: his column and ours are both kept.
	"somebody else is always quicker": {want: success, cache: NewPhone, fhir: NewPhone},
}

// openEMRFaults are what befalls an OpenEMR alone.
var openEMRFaults = []fault{
	{name: "its database is locked", clinic: func(k *fhirsim.Clinic) { k.SetDatabase(fhirsim.DatabaseLocked) }, want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "its database is down", clinic: func(k *fhirsim.Clinic) { k.SetDatabase(fhirsim.DatabaseDown) }, want: unavailable, cache: OldPhone, fhir: OldPhone},
	{name: "its database dies during the PUT", when: onPut, clinic: func(k *fhirsim.Clinic) { k.SetDatabase(fhirsim.DatabaseDies) }, want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "our user is logged out", clinic: func(k *fhirsim.Clinic) { k.SetLoggedOut(true) }, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "our user is logged out before the PUT", when: onPut, clinic: func(k *fhirsim.Clinic) { k.SetLoggedOut(true) }, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "our user has no rights", clinic: func(k *fhirsim.Clinic) { k.SetACL(false) }, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "our user loses his rights before the PUT", when: onPut, clinic: func(k *fhirsim.Clinic) { k.SetACL(false) }, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "our token may not write", clinic: func(k *fhirsim.Clinic) { k.SetScopes("user/Patient.read") }, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "its answer shows somebody else's email", when: stored, clinic: func(k *fhirsim.Clinic) { k.Set("a1", "email", "old@example.org") }, want: success, cache: NewPhone, fhir: NewPhone},
	{name: "its answer shows somebody else's phone", when: stored, clinic: func(k *fhirsim.Clinic) { k.Set("a1", "phone_cell", otherPhone) }, want: notSaved, writes: 1, cache: otherPhone, fhir: otherPhone},
	{name: "somebody else writes another field between our read and our PUT", when: onPut, clinic: func(k *fhirsim.Clinic) { k.Set("a1", "city", "Busan") }, want: success, cache: NewPhone, fhir: NewPhone},
	{name: "somebody else writes the same field between our read and our PUT", when: onPut, clinic: func(k *fhirsim.Clinic) { k.Set("a1", "phone_cell", otherPhone) }, want: success, cache: NewPhone, fhir: NewPhone},
}

// openEMRRows are the rows made by hand in front of OpenEMR: a short run has each of
// them at one version. OpenEMR knows of no record that was merged or is not active, and
// has no history.
func openEMRRows(t *testing.T) (rows []fault) {
	t.Helper()
	add := func(f fault) {
		for _, version := range openEMRs(len(rows)) {
			f := f // for each version its own
			f.name += ", OpenEMR " + version
			f.server = func() fhirsim.Habits { return fhirsim.OpenEMR(version) }
			rows = append(rows, f)
		}
	}
	known := map[string]bool{}
	for _, f := range faultTable {
		if f.server != nil || f.use != "" || f.thenHistory {
			continue
		}
		known[f.name] = true
		if end, found := unpromised[f.name]; found {
			f.want, f.ends, f.status, f.writes, f.cache, f.fhir = end.want, end.ends, end.status, end.writes, end.cache, end.fhir
		}
		add(f)
	}
	for _, f := range openEMRFaults {
		add(f)
	}
	for name := range unpromised {
		if !known[name] {
			t.Errorf("the table has no row %q", name)
		}
	}
	return rows
}

// befall has something happen inside an OpenEMR.
func (s *script) befall(when string) {
	if f := s.fault; f.clinic != nil && f.when == when && s.healed.Err() == nil {
		f.clinic(s.fhir.Clinic())
	}
}

// mend undoes what can befall an OpenEMR.
func mend(k *fhirsim.Clinic) {
	k.SetDatabase(fhirsim.DatabaseUp)
	k.SetLoggedOut(false)
	k.SetACL(true)
	k.SetScopes("user/Patient.read", "user/Patient.write")
}
