package fhir

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestParsePatient(t *testing.T) {
	t.Parallel()
	got, err := ParsePatient(lines(t, "testdata/synthea.ndjson")[0], testNow)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID == "" || got.FamilyName == "" || got.BirthDate == "" || got.Contact.Phone == "" || got.Contact.Address.City == "" || len(got.Identifiers) < 3 {
		t.Errorf("%+v", got)
	}
	got, err = ParsePatient([]byte(`{"resourceType":"Patient","id":"p","meta":{"versionId":"3","lastUpdated":"2026-11-23T18:25:39.5+09:00"},
		"birthDate":"1949-11","gender":"UNK","name":[{"use":"old","family":"Old"},{"family":"Chalmers","given":["Jim",null,"E"]}],
		"identifier":[{"system":"s","value":"v"},{"system":"none"}],
		"telecom":[{"system":"email","value":"a@b"}],"address":[{"line":[null,"1"],"district":"D"}]}`), testNow)
	if err != nil {
		t.Fatal(err)
	}
	want := Patient{ID: "p", VersionID: "3", LastUpdated: time.Date(2026, 11, 23, 9, 25, 39, 5e8, time.UTC), FamilyName: "Chalmers",
		GivenName: "Jim E", FullName: "Jim E Chalmers", BirthDate: "1949-11", Gender: "unknown", Identifiers: []Identifier{{System: "s", Value: "v", Current: true}},
		Contact: Contact{Email: "a@b", Address: &Address{Lines: []string{"1"}, District: "D"}}, OtherNames: []Name{{Family: "Old"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		`[]`: "", `[{}]`: "", `[null]`: "",
		`[{"family":"홍","given":["길동"]}]`:                  "홍길동",
		`[{"family":"홍","given":["길","동"]}]`:               "홍길동",
		`[{"family":"山田","given":["さくら"]}]`:                "山田さくら",
		`[{"family":"홍","given":["Gil"]}]`:                 "Gil 홍",
		`[{"family":"Only"}]`:                              "Only",
		`[{"given":["Only"]}]`:                             "Only",
		`[{"text":"As Written","family":"X"}]`:             "As Written",
		`[{"family":"A"},{"family":"B","use":"official"}]`: "B",
		`[{"family":"A","use":"official","period":{"end":"2000"}},{"family":"B","use":"usual"}]`:    "B",
		`[{"family":"A","use":"maiden"},{"family":"B","use":"usual"},{"family":"C","use":"usual"}]`: "B",
		`[{"family":"A","use":"old","period":{"end":"2000"}},{"family":"B","use":"maiden"}]`:        "B",
		`[{"use":"official"},{"family":" ","use":"official"},{"family":"B","use":"usual"}]`:         "B",
		`[{"family":"Tanaka","ABC"},{"family":"田中","given":["蓮"],"IDE"},{"family":"タナカ","SYL"}]`:    "田中蓮",
		`[{"family":"Kim","use":"official","ABC"},{"family":"김","use":"official","IDE"}]`:           "김",
		`[{"family":"Kim","use":"official","ABC"},{"family":"김","IDE"}]`:                            "김",
		`[{"family":"タナカ","use":"usual","SYL"},{"family":"Tanaka","use":"usual","ABC"}]`:            "Tanaka",
		`[{"family":"Li","use":"official","ABC"},{"family":"李","use":"official"}]`:                  "李",
		`[{"family":"A","use":"official","ABC"},{"family":"旧","use":"maiden","IDE"}]`:               "A",
		`[{"family":"A","ABC"},{"family":"旧","IDE","period":{"end":"2020"}}]`:                       "A",
		`[{"family":"A"},{"family":"B","bogus"},{"family":"C","IDE"}]`:                              "C",
	} {
		for _, code := range []string{"ABC", "IDE", "SYL", "bogus"} {
			name = strings.ReplaceAll(name, `,"`+code+`"`, `,"extension":[{"url":"urn:x"},{"url":"`+representationURL+`","valueCode":"`+code+`"}]`)
		}
		p, err := ParsePatient(patientJSON("p", `"name":`+name), testNow)
		if err != nil || p.FullName != want {
			t.Errorf("%s: %q, %v", name, p.FullName, err)
		}
	}
}

// Whoever a patient was, and in whatever script, is searched for.
func TestEveryOtherNameIsKept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("가", 1<<20)
	p, err := ParsePatient(patientJSON("p", `"name":[{"use":"maiden","family":"Old"},{"use":"nickname","given":["Jimmy","J"]},{},null,
		{"use":"usual","text":"`+long+`"},{"use":"official","family":"Chalmers","given":["Jim"]},{"family":"Later","period":{"start":"2099"}}]`), testNow)
	want := []Name{{Text: long[:3*85]}, {Given: "Jimmy J"}, {Family: "Old"}, {Family: "Later"}}
	if diff := cmp.Diff(want, p.OtherNames); err != nil || diff != "" || p.FamilyName != "Chalmers" {
		t.Error(err, diff)
	}
	many := strings.Repeat(`{"family":"Other"},`, 10_000)
	p, err = ParsePatient(patientJSON("p", `"name":[`+many+`{"use":"official","family":"Chalmers"}]`), testNow)
	if err != nil || p.FamilyName != "Chalmers" || len(p.OtherNames) < 1000 || len(p.OtherNames) > maxOthers/5 {
		t.Errorf("%s and %d others, %v", p.FamilyName, len(p.OtherNames), err)
	}
}

func TestEveryOtherNumberIsKept(t *testing.T) {
	t.Parallel()
	p, err := ParsePatient(patientJSON("p", `"telecom":[{"system":"phone","value":"1","use":"old"},{"system":"phone","value":"2","use":"work"},
		{"system":"phone","value":"3","use":"mobile"},{"system":"sms","value":"4"},{"system":"fax","value":"5"},{"system":"pager","value":"6"},
		{"system":"email","value":"7"},{"system":"url","value":"8"},{"value":"9"},{"system":"phone"},{"system":"phone","value":" "},null,
		{"system":"phone","value":"10","use":"temp"},{"system":"phone","value":"11","period":{"end":"2020"}},
		{"system":"phone","value":"12","period":{"start":"2097"}},{"system":"phone","value":"3"},
		{"system":"phone","value":"`+strings.Repeat("1", 1<<20)+`","use":"work"}]`), testNow)
	if diff := cmp.Diff([]string{"2", "4", "5", "6", "10", "12"}, p.OtherPhones); err != nil || diff != "" || p.Contact.Phone != "3" {
		t.Error(err, diff)
	}
	many := strings.Repeat(`{"system":"phone","value":"555-0100"},`, 10_000)
	p, err = ParsePatient(patientJSON("p", `"telecom":[`+many+`{"system":"phone","value":"3","use":"mobile"}]`), testNow)
	if err != nil || p.Contact.Phone != "3" || len(p.OtherPhones) != maxOthers/8 {
		t.Errorf("%s and %d others, %v", p.Contact.Phone, len(p.OtherPhones), err)
	}
}

func TestOddValuesCountAsAbsent(t *testing.T) {
	t.Parallel()
	for _, rest := range []string{`"birthDate":"14/11/1949"`, `"birthDate":1949`, `"birthDate":"1949-02-30"`, `"gender":"Female?"`, `"gender":null`,
		`"meta":{"lastUpdated":"yesterday","versionId":7}`, `"name":"Jim"`, `"telecom":null`, `"address":[{"use":"home"}]`, `"identifier":[{"system":"s"}]`} {
		p, err := ParsePatient(patientJSON("p", rest), testNow)
		if diff := cmp.Diff(Patient{ID: "p"}, p); diff != "" || err != nil {
			t.Errorf("%s: %v %s", rest, err, diff)
		}
	}
}

func TestWhichEntryIsThePhone(t *testing.T) {
	t.Parallel()
	phone := func(value, rest string) string { return fmt.Sprintf(`{"system":"phone","value":%q%s},`, value, rest) }
	for entries, want := range map[string]string{
		`{"system":"fax","value":"1"},`:                                              "",
		`{"value":"1"},`:                                                             "",
		`{"system":"phone","use":"home"},`:                                           "",
		`{"system":"phone","value":" "},`:                                            "",
		`{"system":"phone","value":5},`:                                              "",
		phone("old", `,"use":"old"`) + phone("temp", `,"use":"temp"`):                "",
		phone("a", `,"use":"work"`) + phone("b", `,"use":"home"`):                    "b",
		phone("a", `,"use":"home"`) + phone("b", `,"use":"mobile"`):                  "b",
		phone("a", ``) + phone("b", `,"use":"work"`):                                 "b",
		phone("a", `,"use":"bogus"`) + phone("b", ``):                                "b",
		phone("a", `,"use":"home"`) + phone("b", `,"use":"home"`):                    "a",
		phone("a", `,"use":"mobile"`) + phone("b", `,"use":"work","rank":9`):         "b",
		phone("a", `,"rank":2`) + phone("b", `,"rank":1`) + phone("c", `,"rank":10`): "b",
		phone("a", `,"rank":0`) + phone("b", `,"use":"home"`):                        "b",
		phone("a", `,"period":{"end":"2026-11-23T11:59:59Z"}`) + phone("b", ``):      "b",
		phone("a", `,"period":{"end":"2026-11-23T13:59:59+02:00"}`) + phone("b", ``): "b",
		phone("a", `,"period":{"end":"2026-11-23T12:00:00Z"}`) + phone("b", ``):      "a",
		phone("a", `,"period":{"end":"2026-11-22"}`) + phone("b", ``):                "b",
		phone("a", `,"period":{"end":"2026-11-23"}`) + phone("b", ``):                "a",
		phone("a", `,"period":{"end":"2026-10"}`) + phone("b", ``):                   "b",
		phone("a", `,"period":{"end":"2026-11"}`) + phone("b", ``):                   "a",
		phone("a", `,"period":{"end":"2025"}`) + phone("b", ``):                      "b",
		phone("a", `,"period":{"end":"2026"}`) + phone("b", ``):                      "a",
		phone("a", `,"period":{"start":"2027"}`) + phone("b", ``):                    "b",
		phone("a", `,"period":{"start":"2026-12"}`) + phone("b", ``):                 "b",
		phone("a", `,"period":{"start":"2026-11-24"}`) + phone("b", ``):              "b",
		phone("a", `,"period":{"start":"2026-11-23"}`) + phone("b", ``):              "a",
		phone("a", `,"period":{"start":"2026-11-23T12:00:01Z"}`) + phone("b", ``):    "b",
		phone("a", `,"period":{"start":"2026-11-23T12:00:00Z"}`) + phone("b", ``):    "a",
		phone("a", `,"period":{"start":"soon"}`) + phone("b", ``):                    "a",
		phone("a", `,"period":{"start":"2027"}`):                                     "",
		phone("a", `,"period":{"end":"someday"}`) + phone("b", ``):                   "a",
	} {
		got, err := ContactOf(patientJSON("p", `"telecom":[`+entries+`null]`), testNow)
		if err != nil || got.Phone != want {
			t.Errorf("%s: %q, want %q (%v)", entries, got.Phone, want, err)
		}
	}
}

func TestWhichEntryIsTheAddress(t *testing.T) {
	t.Parallel()
	for entries, want := range map[string]int{
		``: -1, `null`: -1, `{}`: -1, `{"use":"home"}`: -1, `{"use":"old","city":"A"}`: -1, `{"use":"temp","city":"A"}`: -1,
		`{"use":"work","city":"A"},{"use":"home","city":"B"}`:                         1,
		`{"use":"work","city":"A"},{"use":"home","city":"B","period":{"end":"2020"}}`: 0,
		`{"use":"work","city":"A"},{"use":"home","extension":[]}`:                     0,
		`{"use":"billing","type":"postal","text":"A"},{"use":"work","text":"B"}`:      0,
		`{"use":"old","city":"A"},{"line":["B"]},{"line":["C"]}`:                      1,
		`{"use":"home","country":"A"},{"use":"home","country":"B"}`:                   0,
		`{"use":"home","line":[""],"city":"","text":" "},{"city":"B"}`:                1,
		`{"use":"home","line":["",null,"\u3000"],"city":""}`:                          -1,
		`{"use":"home","city":"A","period":{"start":"2099"}},{"city":"B"}`:            1,
	} {
		got := pickAddress(elements(gjson.Parse("["+entries+"]")), testNow)
		if got != want {
			t.Errorf("%s: %d, want %d", entries, got, want)
		}
	}
}

// An entry of system phone that holds an email address is no phone: it is not
// shown, and setting the phone leaves it.
func TestAnEmailAddressIsNoPhone(t *testing.T) {
	t.Parallel()
	wrong := `{"system":"phone","value":"ana@correo.example","use":"mobile","rank":1}`
	body := patientJSON("p", `"telecom":[`+wrong+`,{"system":"phone","value":"555 0100","use":"work"}]`)
	if c, err := ContactOf(body, testNow); err != nil || c.Phone != "555 0100" || c.Email != "" {
		t.Errorf("%+v, %v", c, err)
	}
	alone := patientJSON("p", `"telecom":[`+wrong+`]`)
	after, _ := edited(t, alone, ContactEdit{SetPhone: true, Phone: "555 0101"})
	if got := member(gjson.ParseBytes(after), "telecom").Raw; got != `[`+wrong+`,{"system":"phone","value":"555 0101","use":"mobile"}]` {
		t.Error(got)
	}
	if same, _ := edited(t, alone, ContactEdit{SetPhone: true}); string(same) != string(alone) {
		t.Errorf("clearing a phone that is none: %s", same)
	}
}

// What shows nothing is no value, whatever it is made of, and hides no other.
func TestWhatShowsNothingIsNoValue(t *testing.T) {
	t.Parallel()
	for _, nothing := range []string{"\u200b", " ", "\u00a0\u2060", "\u3164", "\u2800", "\ufeff\t", "\u200e\u200f"} {
		n := string(gjson.AppendJSONString(nil, nothing))
		body := patientJSON("p", `"name":[{"use":"official","family":`+n+`},{"use":"usual","family":"Echt"}],"telecom":[{"system":"phone","value":`+n+`,"use":"mobile"},`+
			`{"system":"phone","value":"555-0102","use":"home"},{"system":"email","value":`+n+`}],"address":[{"use":"home","line":[`+n+`],"city":`+n+`},{"use":"work","city":"Bonn"}]`)
		p, err := ParsePatient(body, testNow)
		if err != nil || p.FamilyName != "Echt" || p.Contact.Phone != "555-0102" || p.Contact.Email != "" || p.Contact.Address.City != "Bonn" {
			t.Errorf("%q: %+v, %v", nothing, p, err)
		}
	}
}

// One reading for two times: each sees the phone that was current then.
func TestParsePatientAsOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	then := now.AddDate(-1, 0, 0)
	record := func(old string) []byte {
		return []byte(`{"resourceType":"Patient","telecom":[{"system":"phone","value":"` + old + `","period":{"end":"2025-06-01"}},{"system":"phone","value":"2"}]}`)
	}
	body := record("1")
	p, was, err := ParsePatientAsOf(body, now, then)
	if err != nil || p.Contact.Phone != "2" || was.Phone != "1" {
		t.Errorf("%q, then %q (%v)", p.Contact.Phone, was.Phone, err)
	}
	if apart, err := ContactOf(body, then); err != nil || !reflect.DeepEqual(apart, was) {
		t.Errorf("%+v, want %+v (%v)", was, apart, err)
	}
	if _, _, err := ParsePatientAsOf(record(strings.Repeat("1", maxShown+1)), now, then); !errors.Is(err, errShowsTooMuch) {
		t.Errorf("then it showed too much: %v", err)
	}
}
