package fhir

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// edited makes an edit that must succeed.
func edited(t *testing.T, body []byte, e ContactEdit) ([]byte, Doubts) {
	t.Helper()
	after, doubts, err := EditContact(body, e, testNow, "")
	if err != nil {
		t.Fatal(err)
	}
	return after, doubts
}

func reported(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/shadow/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestMoved(t *testing.T) {
	t.Parallel()
	move := ContactEdit{SetAddress: true, Address: &Address{Lines: []string{"Strandgaten 201"}, City: "Bergen", PostalCode: "5004", Country: "NO"}}
	body := reported(t, "01-moved.json")
	after, doubts := edited(t, body, move)
	entries := elements(member(gjson.ParseBytes(after), "address"))
	if len(entries) != 1 {
		t.Fatalf("%d addresses", len(entries))
	}
	want := `{"extension":[{"url":"https://clinic.example/fhir/parking","valueCode":"rear-court"}],` +
		`"use":"home","line":["Strandgaten 201"],"city":"Bergen","postalCode":"5004","country":"NO","period":{"start":"2026-11-23"}}`
	if diff := cmp.Diff(tree(t, []byte(want)), tree(t, []byte(entries[0].Raw))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Doubts{Extensions: []string{"https://clinic.example/fhir/parking"}}, doubts); diff != "" {
		t.Error(diff)
	}
	undated := removeMember(body, listed(body, "address")[0], "period")
	if after, _ := edited(t, undated, move); strings.Contains(string(after), "period") {
		t.Errorf("a period was made: %s", after)
	}
}

// Each extension that describes a value goes with it, in any version, and stays
// with a value that stays; the others stay and are named.
func TestExtensionsOfValues(t *testing.T) {
	t.Parallel()
	for url := range valueExtensions {
		for _, url := range []string{url, strings.Replace(url, "http:", "https:", 1), url + "|1.0"} {
			url = strings.Replace(url, "*", "streetName", 1)
			entry := `{"extension":[{"url":` + quote(url) + `,"valueString":"x"}],"system":"phone","value":"1","line":["1"],"rank":1}`
			body := patientJSON("p", `"telecom":[`+entry+`],"address":[`+entry+`]`)
			after, doubts := edited(t, body, ContactEdit{SetPhone: true, Phone: "2", SetAddress: true, Address: &Address{Lines: []string{"2"}}})
			want := `{"system":"phone","value":"2","line":["1"],"rank":1}`
			moved := `{"system":"phone","value":"1","line":["2"],"rank":1}`
			if diff := cmp.Diff(string(patientJSON("p", `"telecom":[`+want+`],"address":[`+moved+`]`)), string(after)); diff != "" || len(doubts.Extensions) > 0 {
				t.Errorf("%s: %s %v", url, diff, doubts)
			}
			same, doubts := edited(t, body, ContactEdit{SetPhone: true, Phone: "1", SetAddress: true, Address: &Address{Lines: []string{"1"}, Text: "T"}})
			if n := strings.Count(string(same), quote(url)); n != 2 || len(doubts.Extensions) > 0 {
				t.Errorf("%s stays with its value: %d times, %v", url, n, doubts)
			}
		}
	}
	body := patientJSON("p", `"telecom":[{"system":"email","value":"a@b","extension":[{"url":"urn:oid:1.2"},{"url":"http://hl7.org/fhir/StructureDefinition/contactpoint-area"},`+
		`{"url":"https://x/?name=Kim"},{},null,{"url":"`+strings.Repeat("x", 300)+`"},{"url":"홍길동"},{"url":"urn:oid:1.2"}],"period":{"start":"2020","_start":{"id":"s"},"end":"2099"}}]`)
	after, doubts := edited(t, body, ContactEdit{SetEmail: true, Email: "c@d"})
	if diff := cmp.Diff([]string{"urn:oid:1.2", "(no URL of a definition)"}, doubts.Extensions); diff != "" {
		t.Error(diff)
	}
	entry := listed(after, "telecom")[0]
	if n := len(elements(member(entry, "extension"))); n != 7 {
		t.Errorf("%d extensions are left", n)
	}
	if got := member(entry, "period").Raw; got != `{"start":"2026-11-23","end":"2099"}` {
		t.Errorf("period %s", got)
	}
	var many []string
	for i := range 1000 {
		many = append(many, `{"url":"urn:x:`+strings.Repeat("y", i%200)+`"}`)
	}
	body = patientJSON("p", `"telecom":[{"system":"phone","value":"1","extension":[`+strings.Join(many, ",")+`]}]`)
	if _, doubts = edited(t, body, ContactEdit{SetPhone: true, Phone: "2"}); len(doubts.Extensions) != maxDoubts {
		t.Errorf("%d extensions named", len(doubts.Extensions))
	}
}

func TestNarrative(t *testing.T) {
	t.Parallel()
	body := reported(t, "02-narrative.json")
	edit := ContactEdit{SetEmail: true, Email: "rui@novo.example"}
	after, doubts := edited(t, body, edit)
	if member(gjson.ParseBytes(after), "text").Exists() || doubts.Narrative {
		t.Errorf("the narrative is left: %s", after)
	}
	for _, status := range []string{"extensions", "additional", "empty", "?"} {
		other := []byte(strings.Replace(string(body), `"generated"`, quote(status), 1))
		after, doubts := edited(t, other, edit)
		if got, want := member(gjson.ParseBytes(after), "text").Raw, member(gjson.ParseBytes(other), "text").Raw; got != want || !doubts.Narrative {
			t.Errorf("%s: %s, %v", status, got, doubts)
		}
	}
	after, doubts = edited(t, body, ContactEdit{SetPhone: true, Phone: "1"})
	if !member(gjson.ParseBytes(after), "text").Exists() || doubts.Narrative {
		t.Errorf("the phone is not in the narrative: %s", after)
	}
	if after, _ = edited(t, body, ContactEdit{SetEmail: true}); member(gjson.ParseBytes(after), "text").Exists() {
		t.Errorf("the narrative shows the email that was removed")
	}
}

func TestNarrativeShows(t *testing.T) {
	t.Parallel()
	phone := `"telecom":[{"system":"phone","value":"+82 10-1234-5678"}]`
	address := `"address":[{"use":"home","line":["12 Main St","Apt 4"],"city":"Kansas City","state":"KS","postalCode":"66104","country":"NO"}]`
	korean := `"address":[{"text":"서울특별시 강남구 테헤란로 152","line":["테헤란로 152"],"city":"서울특별시"}]`
	setPhone := ContactEdit{SetPhone: true, Phone: "1"}
	street := ContactEdit{SetAddress: true, Address: &Address{Lines: []string{"1 Elm St", "Apt 4"}, City: "Kansas City", State: "KS", PostalCode: "66104", Country: "NO"}}
	seoul := ContactEdit{SetAddress: true, Address: &Address{Lines: []string{"세종대로 1"}, City: "서울특별시"}}
	for _, tt := range []struct {
		data, div string
		edit      ContactEdit
		shows     bool
	}{
		{phone, `010-1234-5678`, setPhone, true},
		{phone, `<a href='tel:+821012345678'>call</a>`, setPhone, true},
		{phone, `(010) <b>1234</b>&#8209;５６７８`, setPhone, true},
		{`"telecom":[{"system":"phone","value":"٠٢-١١١١-٢٢٢٢"}]`, `02-1111-2222`, setPhone, true},
		{`"address":[{"line":["Große Straße 5"],"city":"Kiel"}]`, `GROßE STRASSE 5`, seoul, true},
		{phone, `0101234567`, setPhone, false},
		{phone, `01012345678901`, setPhone, false},
		{phone, ``, setPhone, false},
		{phone, strings.Repeat("x", 300<<10), setPhone, true},
		{address, `12 MAIN&nbsp;ST`, street, true},
		{address, `12<br/>Main St`, street, true},
		{address, `112 Main St`, street, false},
		{address, `12 Main Street`, street, false},
		{address, `Apt 4, Kansas City, KS 66104`, street, false}, // what stays
		{address, `no, KS`, ContactEdit{SetAddress: true}, false},
		{address, `lives in kansas city`, ContactEdit{SetAddress: true}, true},
		{korean, `주소: 서울특별시 강남구 테헤란로152에 삽니다`, seoul, true},
		{korean, `서울특별시`, seoul, false},
	} {
		body := patientJSON("p", `"text":{"status":"generated","div":`+quote(`<div xmlns="http://www.w3.org/1999/xhtml">`+tt.div+`</div>`)+`},`+tt.data)
		after, _ := edited(t, body, tt.edit)
		if gone := !member(gjson.ParseBytes(after), "text").Exists(); gone != tt.shows {
			t.Errorf("%.80s: taken out %v", tt.div, gone)
		}
	}
}

func TestComposedText(t *testing.T) {
	t.Parallel()
	fukuoka := Address{Lines: []string{"博多駅前2-1-1"}, District: "博多区", City: "福岡市", State: "福岡県", PostalCode: "812-0011", Country: "JP"}
	plano := Address{Lines: []string{"19 Larch Ct"}, City: "Plano", District: "Collin County", State: "TX", PostalCode: "75023"}
	patients := lines(t, "testdata/shadow/03-composed-text.ndjson")
	for i, want := range []struct {
		to   Address
		text string
	}{{fukuoka, "812-0011 福岡県福岡市博多区博多駅前2-1-1"}, {plano, "19 Larch Ct, Plano, TX 75023"}, {plano, ""}} {
		after, _ := edited(t, patients[i], ContactEdit{SetAddress: true, Address: &want.to})
		c, err := ContactOf(after, testNow)
		if err != nil || c.Address.Text != want.text || !c.Address.sameParts(want.to) {
			t.Errorf("%+v, want %q (%v)", c.Address, want.text, err)
		}
	}
}

func TestFirstOfItsKind(t *testing.T) {
	t.Parallel()
	after, _ := edited(t, reported(t, "04-bare.json"), ContactEdit{SetPhone: true, Phone: "1", SetEmail: true, Email: "a@b", SetAddress: true, Address: &Address{City: "C"}})
	doc := gjson.ParseBytes(after)
	if got := member(doc, "telecom").Raw; got != `[{"system":"phone","value":"1","use":"mobile"},{"system":"email","value":"a@b"}]` {
		t.Error(got)
	}
	if got := member(doc, "address").Raw; got != `[{"use":"home","city":"C"}]` {
		t.Error(got)
	}
}

func TestNotYetValid(t *testing.T) {
	t.Parallel()
	body := reported(t, "05-not-yet-valid.json")
	c, err := ContactOf(body, testNow)
	if err != nil || c.Email != "leila@ancien.example" || !slices.Equal(c.Address.Lines, []string{"31 rue Crébillon"}) {
		t.Errorf("%+v, %v", c, err)
	}
	after, _ := edited(t, body, ContactEdit{SetEmail: true, Email: "leila@autre.example", SetAddress: true, Address: &Address{City: "Brest"}})
	for _, list := range []string{"telecom", "address"} {
		was, is := listed(body, list), listed(after, list)
		if len(is) != 2 || is[0].Raw != was[0].Raw {
			t.Errorf("the entry of 2097 changed: %v", is)
		}
	}
	if got := str(listed(after, "telecom")[1], "value"); got != "leila@autre.example" {
		t.Error(got)
	}
	if got := member(listed(after, "address")[1], "period").Raw; !strings.Contains(got, `"2026-11-23"`) || !strings.Contains(got, `"2096-12-31"`) {
		t.Error(got)
	}
	name := patientJSON("p", `"name":[{"use":"official","family":"Next","period":{"start":"2097"}},{"use":"usual","family":"Now"}]`)
	if p, err := ParsePatient(name, testNow); err != nil || p.FamilyName != "Now" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestBlankAddress: an address of blanks is none, hides no other, and is filled.
func TestBlankAddress(t *testing.T) {
	t.Parallel()
	blank := `{"use":"home","line":[""],"city":"","state":" ","postalCode":"","period":{"start":"2020"}}`
	for entries, want := range map[string]string{
		blank:                                   "",
		blank + `,{"use":"work","city":"Oslo"}`: "Oslo",
		`{"use":"home","line":["",null],"city":"Oslo","state":""}`: "Oslo",
	} {
		c, err := ContactOf(patientJSON("p", `"address":[`+entries+`]`), testNow)
		if err != nil || (c.Address == nil) != (want == "") || c.Address != nil && (c.Address.City != want || len(c.Address.Lines) > 0) {
			t.Errorf("%s: %+v, %v", entries, c.Address, err)
		}
	}
	after, _ := edited(t, patientJSON("p", `"address":[`+blank+`]`), ContactEdit{SetAddress: true, Address: &Address{City: "Oslo"}})
	if got := member(gjson.ParseBytes(after), "address").Raw; got != `[{"use":"home","city":"Oslo","period":{"start":"2026-11-23"}}]` {
		t.Error(got)
	}
}
