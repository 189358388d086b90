package judge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"patientgraph/fhir"
)

// truth is what really became of a PUT on a server that keeps If-Match, or has no
// versions, and shows what it has.
type truth struct {
	put       Put
	body      []byte // of the PUT
	versions  []fhir.Resource
	landed    bool
	made      fhir.Contact
	unseen    bool // what it made shows what was there before, for the server keeps values in its own form
	versioned bool
}

// pick returns one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func randomPatient(r *rand.Rand) []byte {
	var telecom []string
	for range r.IntN(4) {
		system, value := "phone", pick(r, "1-1", "11", "2")
		if pick(r, true, false, false) {
			system, value = "email", pick(r, "X", "x", "2")
		}
		telecom = append(telecom, fmt.Sprintf(`{"system":%q,"value":%q,"use":%q}`, system, value, pick(r, "mobile", "home", "old")))
	}
	address := pick(r, "", `{"use":"home","text":"A"}`, `{"use":"home","text":"B"}`, `{"use":"home","text":"a."}`, `{"use":"home","text":"A"},{"use":"home","text":"A"}`)
	return fmt.Appendf(nil, `{"resourceType":"Patient","id":"p","telecom":[%s],"address":[%s],"gender":%q}`,
		strings.Join(telecom, ","), address, pick(r, "male", "female"))
}

func randomEdit(r *rand.Rand) fhir.ContactEdit {
	edit := fhir.ContactEdit{SetPhone: pick(r, true, false), SetEmail: pick(r, true, false, false), SetAddress: pick(r, true, false, false)}
	if edit.SetPhone {
		edit.Phone = pick(r, "", "1-1", "11", "2")
	}
	if edit.SetEmail {
		edit.Email = pick(r, "", "X", "x", "2")
	}
	if edit.SetAddress {
		edit.Address = pick(r, nil, &fhir.Address{Text: "A"}, &fhir.Address{Text: "a."}, &fhir.Address{Text: "B"})
	}
	return edit
}

// randomTruth has a PUT land or not, and others write before and after it. false:
// nothing was to be sent.
func randomTruth(t *testing.T, r *rand.Rand) (h truth, sent bool) {
	t.Helper()
	h.versioned = pick(r, true, false)
	add := func(body []byte) {
		v := fhir.Resource{ID: "p", JSON: body}
		if h.versioned {
			v.ETag = fmt.Sprintf(`W/"%d"`, len(h.versions)+1)
		}
		h.versions = append(h.versions, v)
	}
	others := func() {
		for range pick(r, 0, 0, 0, 1) {
			add(randomPatient(r))
		}
	}
	add(randomPatient(r))
	base, edit := h.versions[0], randomEdit(r)
	body, _, err := fhir.EditContact(base.JSON, edit, at, "")
	if err != nil {
		t.Fatal(err)
	}
	was, err := fhir.ContactOf(base.JSON, at)
	if err != nil {
		t.Fatal(err)
	}
	if h.put, err = NewPut(base, was, body, edit, at, ""); err != nil {
		t.Fatal(err)
	}
	h.body = body
	others()
	if h.landed = pick(r, true, false) && (!h.versioned || len(h.versions) == 1); h.landed {
		stored := body
		if pick(r, true, false) { // the server keeps values in its own form
			stored = []byte(strings.NewReplacer("1-1", "11", `"a."`, `"A"`, `"X"`, `"x"`).Replace(string(body)))
		}
		add(stored)
		if h.made, err = fhir.ContactOf(stored, at); err != nil {
			t.Fatal(err)
		}
		h.unseen = len(fhir.Differing(h.made, was, edit.Fields())) == 0
		others()
	}
	return h, string(body) != string(base.JSON)
}

// look is what is seen of it, by whoever asks, however it was answered.
func (h truth) look(t *testing.T, r *rand.Rand) Case {
	t.Helper()
	c := Case{Heard: pick(r, Nothing, OK, Conflict, Refused, Denied), When: pick(r, AtOnce, Early, Late, VeryLate)}
	past := Past{History: Silent}
	if h.versioned && len(h.versions) > 1 {
		past = pick(r, Past{History: Told, Next: h.versions[1]}, Past{History: Silent}, Past{History: Failing}, Past{History: Unanswered})
	}
	known := h.versions[0].JSON
	if c.When != AtOnce {
		known = nil
	}
	s, err := h.put.See(h.versions[len(h.versions)-1], known, past, at)
	if err != nil {
		t.Fatal(err)
	}
	c.Read, c.Fate, c.Versions, c.Moved, c.History = s.Read, s.Fate, s.Versions, s.Moved, s.History
	return c
}

// misjudged says what is wrong with a ruling; "" if nothing is.
func (h truth) misjudged(t *testing.T, c Case, r Ruling) string {
	t.Helper()
	shown, still := false, false
	for n, v := range h.versions[1:] {
		missing, err := h.put.Missing(v.JSON)
		if err != nil {
			t.Fatal(err)
		}
		now, err := fhir.ContactOf(v.JSON, at)
		if err != nil {
			t.Fatal(err)
		}
		shown = shown || len(missing) == 0
		still = n == len(h.versions)-2 && len(missing) == 0 && len(fhir.Differing(now, h.made, h.put.Edit.Fields())) == 0
	}
	seen := h.landed && !h.unseen && (still || c.History == Told) // else it was overwritten and left no trace, see "Not promised"
	switch {
	case r.State == Applied && !shown && c.Fate != Alike:
		return "APPLIED, but no version shows the values"
	case seen && r.State == NotApplied:
		return "NOT_APPLIED, but it landed"
	case seen && r.Next == MergeAgain:
		return "merged again, but it landed"
	case seen && (r.State == Rejected && r.Why != WhyNotSaved || r.State == Conflicting):
		return "told as a failure, but it landed"
	case !h.landed && !h.versioned && (c.When == AtOnce || c.When == Early) && c.Heard == Nothing && r.State == NotApplied:
		return "NOT_APPLIED, but it may be under way"
	}
	return ""
}

// See and Decide over random histories.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	judged, failed := 0, 0
	for seed := range uint64(40000) {
		r := rand.New(rand.NewPCG(seed, 1))
		h, sent := randomTruth(t, r)
		c := h.look(t, r)
		if !sent || c.Heard == OK && !h.landed { // an OK that saved nothing is told as such
			continue
		}
		judged++
		ruling := Decide(c)
		if wrong := h.misjudged(t, c, ruling); wrong != "" {
			if failed++; failed < 5 {
				var versions []string
				for _, v := range h.versions {
					versions = append(versions, v.ETag+" "+string(v.JSON))
				}
				t.Errorf("seed %d: %s: %+v is ruled %s\n\tversions %s\n\tPUT %s", seed, wrong, c, ruling, versions, h.body)
			}
		}
	}
	if judged < 10000 {
		t.Errorf("only %d were judged", judged)
	}
}
