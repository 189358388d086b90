package fhir

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestEditContact(t *testing.T) {
	t.Parallel()
	const dar = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
	phone := func(s string) ContactEdit { return ContactEdit{SetPhone: true, Phone: s} }
	address := func(a *Address) ContactEdit { return ContactEdit{SetAddress: true, Address: a} }
	tests := []struct {
		name, body string
		edit       ContactEdit
		want       string // "" = the body, unchanged
	}{
		{"value alone changes", `"telecom":[{"use":"home","value":"1","system":"phone","rank":1}],"x":1.0`, phone("2"),
			`"telecom":[{"use":"home","value":"2","system":"phone","rank":1}],"x":1.0`},
		{"same value", `"telecom":[ {"system":"phone","value":"1"} ]`, phone("1"), ``},
		{"same value, escaped", `"telecom":[{"system":"phone","value":"\u0031"}]`, phone("1"), ``},
		{"nothing asked", `"telecom":[{"system":"phone","value":"1"}]`, ContactEdit{Phone: "9", Email: "9"}, ``},
		{"none: appended", `"telecom":[{"system":"fax","value":"1"}]`, phone("2"),
			`"telecom":[{"system":"fax","value":"1"},{"system":"phone","value":"2","use":"mobile"}]`},
		{"no telecom", `"active":true`, phone("2"), `"active":true,"telecom":[{"system":"phone","value":"2","use":"mobile"}]`},
		{"keys are case-sensitive", `"Telecom":[{"system":"phone","value":"1"}],"telecom":[{"System":"phone","system":"phone","value":"1","Value":"1"}]`, phone("2"),
			`"Telecom":[{"system":"phone","value":"1"}],"telecom":[{"System":"phone","system":"phone","value":"2","Value":"1"}]`},
		{"empty telecom", `"telecom":[ ]`, phone("2"), `"telecom":[{"system":"phone","value":"2","use":"mobile"} ]`},
		{"null telecom", `"telecom":null`, phone("2"), `"telecom":[{"system":"phone","value":"2","use":"mobile"}]`},
		{"an ended one is left", `"telecom":[{"system":"phone","value":"1","period":{"end":"2020"}}]`, phone("2"),
			`"telecom":[{"system":"phone","value":"1","period":{"end":"2020"}},{"system":"phone","value":"2","use":"mobile"}]`},
		{"an absent value stays absent", `"telecom":[{"system":"phone","_value":{"extension":[{"url":"` + dar + `","valueCode":"masked"}]}}]`, phone("2"),
			`"telecom":[{"system":"phone","_value":{"extension":[{"url":"` + dar + `","valueCode":"masked"}]}},{"system":"phone","value":"2","use":"mobile"}]`},
		{"what is said of the old value goes", `"telecom":[{"system":"phone","value":"1","_value":{"id":"i","extension":[{"url":"u"}]}}]`, phone("2"),
			`"telecom":[{"system":"phone","value":"2"}]`},
		{"a first email has no use", `"active":true`, ContactEdit{SetEmail: true, Email: "a@b"}, `"active":true,"telecom":[{"system":"email","value":"a@b"}]`},
		{"clear the first", `"telecom":[{"system":"phone","value":"1"},{"system":"fax","value":"2"}]`, phone(""),
			`"telecom":[{"system":"fax","value":"2"}]`},
		{"clear a later one", `"telecom":[{"system":"fax","value":"2"} , {"system":"phone","value":"1"} ]`, phone(""),
			`"telecom":[{"system":"fax","value":"2"} ]`},
		{"clear the only one", `"telecom":[{"system":"phone","value":"1"}],"x":1`, phone(""), `"x":1`},
		{"clear none", `"telecom":[{"system":"fax","value":"2"}]`, phone(""), ``},
		{"phone and email at once", `"telecom":[{"system":"phone","value":"1"}]`, ContactEdit{SetPhone: true, SetEmail: true, Email: "a@b"},
			`"telecom":[{"system":"email","value":"a@b"}]`},

		{"text takes the parts away", `"address":[{"use":"home","type":"both","line":["1"],"_line":[null],"city":"C","_city":{"id":"i"},"country":"US","period":{"start":"2020"}}]`, address(&Address{Text: "T"}),
			`"address":[{"use":"home","type":"both","period":{"start":"2026-11-23"},"text":"T"}]`},
		{"the same text changes nothing", `"address":[{"text":"T","city":"C"}]`, address(&Address{Text: "T"}), ``},
		{"parts: exactly those", `"address":[{"line":["1","2"],"city":"C","district":"D","state":"S","extension":[{"url":"u"}]}]`, address(&Address{Lines: []string{"1", "2"}, City: "X", PostalCode: "9"}),
			`"address":[{"line":["1","2"],"city":"X","extension":[{"url":"u"}],"postalCode":"9"}]`},
		{"a part that stays keeps its sibling", `"address":[{"line":["1"],"_line":[{"id":"l"}],"city":"C","_city":{"id":"c"}}]`, address(&Address{Lines: []string{"1"}, City: "X"}),
			`"address":[{"line":["1"],"_line":[{"id":"l"}],"city":"X"}]`},
		{"parts refresh the text", `"address":[{"text":"old","city":"C"}]`, address(&Address{Lines: []string{"1 A St"}, City: "X", State: "MA", PostalCode: "01101"}),
			`"address":[{"text":"1 A St, X, MA 01101","city":"X","line":["1 A St"],"state":"MA","postalCode":"01101"}]`},
		{"parts and text", `"address":[{"city":"C"}]`, address(&Address{Text: "T", City: "X"}), `"address":[{"city":"X","text":"T"}]`},
		{"same parts keep their text", `"address":[{"text":"my words","city":"C"}]`, address(&Address{City: "C"}), ``},
		{"same parts, other text", `"address":[{"text":"my words","city":"C"}]`, address(&Address{Text: "T", City: "C"}), `"address":[{"text":"T","city":"C"}]`},
		{"no address", `"address":[{"use":"old","city":"C"}]`, address(&Address{Lines: []string{"", "1"}, City: "X"}),
			`"address":[{"use":"old","city":"C"},{"use":"home","line":["1"],"city":"X"}]`},
		{"no array", `"x":1`, address(&Address{Text: "T"}), `"x":1,"address":[{"use":"home","text":"T"}]`},
		{"home before an earlier one", `"address":[{"use":"work","city":"W"},{"use":"home","city":"H"}]`, address(nil), `"address":[{"use":"work","city":"W"}]`},
		{"blank parts are none", `"address":[{"text":"T","city":"C"}]`, address(&Address{Lines: []string{" ", "1"}, City: "\t", State: "\u2028"}), `"address":[{"text":"1","line":["1"]}]`},
		{"a home address of blanks is filled", `"address":[{"use":"work","line":[""]},{"use":"home","line":[""],"city":""}]`, address(&Address{Lines: []string{"1"}, State: "S"}),
			`"address":[{"use":"work","line":[""]},{"use":"home","line":["1"],"state":"S"}]`},
		{"a blank line beside another is left", `"address":[{"line":["1",""],"city":"C"}]`, address(&Address{Lines: []string{"1"}, City: "C"}), ``},
		{"blank clears", `"address":[{"text":"T","city":"C"}]`, address(&Address{Lines: []string{" "}, State: "\u2028"}), `-`},
		{"empty clears too", `"address":[{"city":"W"}]`, address(&Address{Lines: []string{""}}), `-`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body := patientJSON("p", tt.body)
			want := patientJSON("p", strings.TrimPrefix(tt.want, "-"))
			if tt.want == "" {
				want = body
			}
			before := bytes.Clone(body)
			got, _, err := EditContact(body, tt.edit, testNow, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
			if !bytes.Equal(before, body) {
				t.Error("the argument was written to")
			}
		})
	}
}

func TestEditContactRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"empty":            ``,
		"truncated":        `{"resourceType":"Patient","id":"p"`,
		"two values":       `{"resourceType":"Patient"} {"resourceType":"Patient"}`,
		"an array":         `[{"resourceType":"Patient"}]`,
		"BOM":              "\ufeff" + `{"resourceType":"Patient"}`,
		"bad UTF-8":        `{"resourceType":"Patient","x":"` + "\xff" + `"}`,
		"key twice":        `{"resourceType":"Patient","telecom":[],"telecom":[]}`,
		"key twice, deep":  `{"resourceType":"Patient","x":[{"a":{"b":1,"b":1}}]}`,
		"twice by escape":  `{"resourceType":"Patient","a":1,"\u0061":1}`,
		"too deep":         `{"resourceType":"Patient","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		"no Patient":       `{"resourceType":"Observation"}`,
		"only a part":      `{"resourceType":"Patient","meta":{"tag":[{"code":"SUBSETTED"}]}}`,
		"telecom no array": `{"resourceType":"Patient","telecom":{"system":"phone","value":"1"}}`,
		"address a string": `{"resourceType":"Patient","address":"here"}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := EditContact([]byte(body), ContactEdit{SetPhone: true, Phone: "1"}, testNow, "")
			asError(t, err, Unusable)
			_, err = ParsePatient([]byte(body), testNow)
			asError(t, err, Unusable)
		})
	}
}

// checkLossless decodes both sides independently and compares all that the
// edit was not asked to change: keys, order, digits, extensions, unknowns.
func checkLossless(t checker, before, after []byte, e ContactEdit) {
	t.Helper()
	// Edits of several fields are the sum of their single ones.
	step := before
	for _, single := range []ContactEdit{
		{SetPhone: e.SetPhone, Phone: e.Phone}, {SetEmail: e.SetEmail, Email: e.Email}, {SetAddress: e.SetAddress, Address: e.Address},
	} {
		next, _, err := EditContact(step, single, testNow, "")
		if err != nil {
			t.Fatalf("edit: %v", err)
		}
		b, a := tree(t, step), tree(t, next)
		if !bytes.Equal(step, next) {
			cutOut(t, step, &b, &a, single)
		}
		if !reflect.DeepEqual(b, a) {
			t.Fatalf("more changed than was asked:\n%s\n%s\n%s", step, next, cmp.Diff(b, a))
		}
		step = next
	}
	if !bytes.Equal(step, after) {
		t.Fatalf("the edits one by one give another result:\n%s\n%s", step, after)
	}
}

// cutOut removes from both trees what the edit may change.
func cutOut(t checker, body []byte, before, after *node, e ContactEdit) {
	t.Helper()
	doc := gjson.ParseBytes(body)
	list, index := "telecom", -1
	edited := []string{"value", "_value"}
	clears := false
	switch {
	case e.SetPhone:
		index, clears = pickTelecom(elements(member(doc, list)), "phone", testNow), strings.TrimSpace(e.Phone) == ""
	case e.SetEmail:
		index, clears = pickTelecom(elements(member(doc, list)), "email", testNow), strings.TrimSpace(e.Email) == ""
	case e.SetAddress:
		list = "address"
		index = pickAddress(elements(member(doc, list)), testNow)
		clears = e.Address == nil || blankAddress(*e.Address)
		if index < 0 && !clears {
			index = blankHome(elements(member(doc, list)), testNow)
		}
		edited = []string{"text", "_text"}
		for _, name := range partNames {
			edited = append(edited, name, "_"+name)
		}
	}
	switch {
	case clears:
		entries, was := before.child(list), elements(member(doc, list))
		for i, entry := range slices.Backward(was) {
			if i == index || alike(list, entry, was[index]) {
				entries.Kids = slices.Delete(entries.Kids, i, i+1)
			}
		}
		if len(entries.Kids) == 0 {
			before.drop(list)
		}
	case index < 0:
		entries := after.child(list)
		entries.Kids = entries.Kids[:len(entries.Kids)-1]
		if len(entries.Kids) == 0 {
			before.drop(list)
			after.drop(list)
		} else if len(entries.Kids) > 0 && before.child(list) == nil {
			t.Fatalf("more than one entry appended to %s", body)
		}
		entries = after.child(list)
		if entries != nil && len(entries.Kids) == 0 {
			entries.Kids = nil
		}
	case list == "address" && onlyGainsText(addressOf(elements(member(doc, list))[index]), *e.Address):
		before.child(list).Kids[index].drop("text", "_text")
		after.child(list).Kids[index].drop("text", "_text")
	default:
		cutShadow(t, &before.child(list).Kids[index], &after.child(list).Kids[index], edited)
	}
	if text := before.child("text"); text != nil && after.child("text") == nil {
		if status := text.child("status"); status == nil || status.Value != "string:generated" {
			t.Fatalf("a narrative that was not generated is gone: %s", body)
		}
		before.drop("text")
	}
}

// alike reports whether two entries of a list hold the same value.
func alike(list string, a, b gjson.Result) bool {
	if list == "address" {
		x, y := addressOf(a), addressOf(b)
		return SameValue(FieldAddress, Contact{Address: &x}, Contact{Address: &y}, "")
	}
	x, y := Contact{Phone: str(a, "value"), Email: str(a, "value")}, Contact{Phone: str(b, "value"), Email: str(b, "value")}
	return str(a, "system") == str(b, "system") && SameValue(str(a, "system"), x, y, "")
}

// onlyGainsText reports whether an address stays the same place.
func onlyGainsText(have, want Address) bool {
	return have.Text == "" && have.sameParts(want.withoutBlanks())
}

// cutShadow removes the edited members and what described their old value; none
// of that may be left.
func cutShadow(t checker, before, after *node, edited []string) {
	t.Helper()
	for _, entry := range []*node{before, after} {
		entry.drop(edited...)
		if list := entry.child("extension"); list != nil {
			list.Kids = slices.DeleteFunc(list.Kids, func(n node) bool {
				url := n.child("url")
				shadow := url != nil && strings.HasPrefix(url.Value, "string:http://hl7.org/fhir/StructureDefinition/")
				if shadow && entry == after {
					t.Fatalf("%s is left", url.Value)
				}
				return shadow
			})
			if entry == before && len(list.Kids) == 0 && after.child("extension") == nil {
				entry.drop("extension")
			}
		}
	}
	was, is := before.child("period"), after.child("period")
	if was == nil || was.child("start") == nil || !strings.HasPrefix(was.child("start").Value, "string:") {
		return
	}
	if got := is.child("start").Value; got != "string:"+testNow.Format(time.DateOnly) {
		t.Fatalf("period.start is %s", got)
	}
	was.drop("start", "_start")
	is.drop("start", "_start")
}

func blankAddress(a Address) bool {
	all := a.Text + strings.Join(a.Lines, "") + a.City + a.District + a.State + a.PostalCode + a.Country
	return strings.TrimSpace(all) == ""
}

var sampleEdits = []ContactEdit{
	{SetPhone: true, Phone: "010-9999-8888"},
	{SetPhone: true},
	{SetEmail: true, Email: `"odd \ 'quoted'"@example.org`},
	{SetEmail: true},
	{SetAddress: true, Address: &Address{Text: "서울특별시 강남구 <테헤란로> 1 😀"}},
	{SetAddress: true, Address: &Address{Lines: []string{"1 New St", "Apt 2"}, City: "Springfield", PostalCode: "01101"}},
	{SetAddress: true},
	{SetPhone: true, Phone: "1", SetEmail: true, Email: "a@b", SetAddress: true, Address: &Address{City: "X"}},
}

func TestEditContactIsLossless(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"testdata/synthea.ndjson", "testdata/nasty.ndjson"} {
		for _, body := range lines(t, file) {
			for _, e := range sampleEdits {
				after, _, err := EditContact(body, e, testNow, "")
				if err != nil {
					t.Fatalf("%v: %s", err, body)
				}
				checkLossless(t, body, after, e)
				checkShows(t, body, after, e)
			}
		}
	}
}

// checkShows reads the edited Patient back: it must show what was asked, or
// after a clearing the next in order.
func checkShows(t checker, before, after []byte, e ContactEdit) {
	t.Helper()
	was, err := ContactOf(before, testNow)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePatient(after, testNow)
	if err != nil {
		t.Fatalf("%v: %s", err, after)
	}
	if got := p.Contact.Phone; !e.SetPhone && got != was.Phone || e.SetPhone && strings.TrimSpace(e.Phone) != "" && got != e.Phone {
		t.Fatalf("phone %q after %+v on %s", got, e, before)
	}
	if got := p.Contact.Email; !e.SetEmail && got != was.Email || e.SetEmail && strings.TrimSpace(e.Email) != "" && got != e.Email {
		t.Fatalf("email %q after %+v on %s", got, e, before)
	}
	got := p.Contact.Address
	if !e.SetAddress {
		if !sameAddress(got, was.Address, Address.equal) {
			t.Fatalf("address %+v after %+v", got, e)
		}
		return
	}
	if e.Address == nil || blankAddress(*e.Address) {
		return
	}
	want := e.Address.withoutBlanks()
	switch {
	case got == nil:
		t.Fatalf("no address after %+v", e)
	case !want.hasParts() && was.Address != nil && was.Address.Text == want.Text:
		if !sameAddress(got, was.Address, Address.equal) {
			t.Fatalf("the same text changed %+v to %+v", was.Address, got)
		}
	case !want.hasParts() && (got.Text != want.Text || got.hasParts()):
		t.Fatalf("address %+v after %+v", got, want)
	case want.hasParts() && (!got.sameParts(want) || want.Text != "" && got.Text != want.Text):
		t.Fatalf("address %+v after %+v", got, want)
	}
}

func BenchmarkEditContact(b *testing.B) {
	body := lines(b, "testdata/synthea.ndjson")[0]
	for b.Loop() {
		if _, _, err := EditContact(body, ContactEdit{SetPhone: true, Phone: "1"}, testNow, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// Clearing takes out every entry with the value, in whatever form, and leaves the
// bytes of the others; the next one is the phone then.
func TestClearingRemovesTheSameValueEverywhere(t *testing.T) {
	t.Parallel()
	entry := func(system, value, use string) string {
		return `{"system":"` + system + `", "value":"` + value + `","use":"` + use + `"}`
	}
	sms, work := entry("sms", "010-1111-2222", "mobile"), entry("phone", "02-555-0100", "work")
	abroad := entry("phone", "+82 10 1111 2222", "home")
	same := []string{entry("phone", "010-1111-2222", "mobile"), entry("phone", "01011112222", "home"), entry("phone", "010 1111 2222", "old")}
	for _, c := range []struct{ region, telecom, want, shown string }{
		{"", same[0] + " ,\n" + same[1] + ",\t" + sms + " , " + work + "," + same[2], sms + " , " + work, "02-555-0100"},
		{"", sms + ", " + same[0] + "," + same[2], sms, ""},
		{"", same[0] + "," + abroad, abroad, "+82 10 1111 2222"},
		{"KR", same[0] + "," + abroad + " , " + work, work, "02-555-0100"},
		{"", same[1] + "," + same[0], "", ""},
	} {
		body := patientJSON("p", `"telecom":[ `+c.telecom+` ]`)
		want := patientJSON("p", `"telecom":[ `+c.want+` ]`)
		if c.want == "" {
			want = patientJSON("p", "")
		}
		got, _, err := EditContact(body, ContactEdit{SetPhone: true}, testNow, c.region)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s\nis %s\nnot %s (%v)", body, got, want, err)
		}
		if shown, _ := ContactOf(got, testNow); shown.Phone != c.shown {
			t.Errorf("the phone is %s, want %s", shown.Phone, c.shown)
		}
	}
}
