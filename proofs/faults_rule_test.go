package proofs_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// replies are the answers to a PUT that rows are generated for.
var replies = []struct {
	reply string
	hears string // what the caller hears if the PUT was not carried out and the patient can be read
	kind  bool   // it stands for those up to the next such one
}{
	{"422", rejected, true},
	{"400", rejected, false},
	{"412", rejected, true}, // the version has not moved, so it was no conflict
	{"409", rejected, false},
	{"409 lock", unavailable, true}, // it names no value: busy
	{"412 lock", unavailable, false},
	{"409 empty", unavailable, false},
	{"412 html", unavailable, false},
	{"401", authFailed, true},
	{"403 scope", authFailed, false},
	{"403", forbidden, true},
	{"404", gone, true},
	{"410", gone, false},
	{"429", rateLimited, true},
	{"502", unknown, true},
	{"408", unknown, false},
	{"500", unknown, false},
	{"503", unknown, false},
	{"504", unknown, false},
	{"reset", unknown, true},
	{"half", unknown, false},
	{"hang", unknown, false},
	{"html", unknown, true}, // whoever says that is no FHIR server
	{"202", unknown, false},
	{"204", saidOK, true}, // the server says that it is done; that its reads show nothing may be a lag
	{"empty", saidOK, false},
	{"outcome", saidOK, false},
	{"echo", saidOK, true},  // a Patient with the values, but not as a new version
	{"201 empty", "", true}, // nobody says so of a PUT that was not carried out
	{"201 html", "", false},
	{"201", "", false},
}

// generated makes the rows of replies: was the PUT carried out, and can the
// patient be read afterwards? HAPI gets all of them; other servers, and reads
// that fail at first, those that stand for their kind; in a short run each at one
// version of OpenEMR. What was made by hand is left out.
func generated(t *testing.T, rows []fault) []fault {
	t.Helper()
	byHand := map[string]fault{}
	for _, f := range rows {
		byHand[f.conditions()] = f
	}
	var list []fault
	add := func(f fault, hears string) {
		f.expect(hears)
		known, found := byHand[f.conditions()]
		if !found {
			list = append(list, f)
		} else if known.want != f.want || known.ends != f.ends || known.cache != f.cache || known.fhir != f.fhir {
			t.Errorf("%q is not what the rule says: %s %s", known.name, f.want, f.ends)
		}
	}
	servers := map[string]func() fhirsim.Habits{"": nil, ", UUID versions": fhirsim.Medplum, ", no versions": fhirsim.PlainR4}
	for _, version := range fhirsim.OpenEMRVersions {
		servers[", OpenEMR "+version] = func() fhirsim.Habits { return fhirsim.OpenEMR(version) }
	}
	for suffix, server := range servers {
		for n, r := range replies {
			if !r.kind && server != nil {
				continue
			}
			if server != nil && server().OpenEMR && !slices.Contains(openEMRs(n), server().Software) {
				continue
			}
			readable := fault{server: server, on: onPut, reply: r.reply}
			unreadable := readable
			unreadable.then = "reset"
			for name, f := range map[string]fault{r.reply: readable, r.reply + ", reads reset": unreadable} {
				f.name = "PUT carried out, " + name + suffix
				f.apply = true
				add(f, r.hears)
				f.name = "PUT not carried out, " + name + suffix
				f.apply = false
				if r.hears != "" {
					add(f, r.hears)
				}
			}
			if r.kind && server == nil { // net/http repeats a read once, we twice
				unreadable.name = "PUT carried out, " + r.reply + ", reads reset twice"
				unreadable.apply, unreadable.thenTimes = true, 2
				add(unreadable, r.hears)
			}
		}
	}
	return list
}

// expect is the rule: what the server shows counts, whatever its status says.
func (f *fault) expect(hears string) {
	f.cache, f.fhir = OldPhone, OldPhone
	if f.apply {
		f.cache, f.fhir = NewPhone, NewPhone
	}
	unreadable := f.then != "" && f.thenTimes == 0
	switch {
	case strings.HasPrefix(f.reply, "201"): // the patient had been deleted: that is certain at once
		f.want = gone
		if unreadable && f.reply != "201" { // but not what it looks like now; 201 alone shows that
			f.ends = "REJECTED"
		}
	case f.apply && unreadable:
		f.want, f.ends = unknown, applied
	case f.apply:
		f.want = success
	case hears == saidOK && !(f.reply == "echo" && f.habits().OpenEMR): // what OpenEMR is sent has no id, and is no Patient
		f.want, f.ends = unknown, "REJECTED"
	case unreadable, hears == unknown, hears == saidOK:
		f.want, f.ends = unknown, never
	default:
		f.want = hears
	}
	if f.want == rejected || f.want == gone || f.want == forbidden {
		f.status, _ = strconv.Atoi(f.reply[:3]) // such a reply begins with its status
	}
}

// conditions is what befalls the conversation, without what must come of it.
func (f fault) conditions() string {
	return fmt.Sprint(f.habits().Name, f.use, f.on, f.times, f.apply, f.late, f.reply, f.rival, f.toxic, f.before, f.lie, f.then, f.thenTimes, f.thenHistory, f.everywhere)
}
